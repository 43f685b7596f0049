"""scripts/train.sh in several processes: torchrun, and Slurm with programs that stand in for it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from tests.toy import write_data

ROOT = Path(__file__).resolve().parents[3]
SLURM = ROOT / "examples" / "translation" / "slurm.sh"
# Runs the command once for every node, all on this machine; waits for each of them.
SRUN = """#!/bin/bash
printf '%s ' "$@" >"$RECORD"
until [[ "$1" == torchrun ]]; do shift; done
for ((i = 0; i < SLURM_JOB_NUM_NODES; i++)); do "$@" & done
status=0
for job in $(jobs -p); do wait "$job" || status=$?; done
exit "$status"
"""
SCONTROL = """#!/bin/bash
[[ "$*" == "show hostnames node[1-2]" ]] && printf 'localhost\\nother\\n'
"""
NO_TRAINING = """#!/bin/bash
echo "$RANK trained" && echo "$RANK warned" >&2
"""


def executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def unused_job_id() -> int:
    """A job whose port (see slurm.sh) is free."""
    for job in range(os.getpid(), os.getpid() + 100):
        with socket.socket() as probe:
            if probe.connect_ex(("localhost", 20000 + job % 10000)) != 0:
                return job
    raise AssertionError("no free port")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a job on two nodes without a GPU."""
    folder = tmp_path / "bin"
    folder.mkdir()
    executable(folder / "srun", SRUN)
    executable(folder / "scontrol", SCONTROL)
    # Not of the job that these tests may run in.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    return {
        **outside,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": os.environ.get("VIRTUAL_ENV", str(tmp_path)),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "RECORD": str(tmp_path / "srun's arguments"),
        "SLURM_JOB_ID": str(unused_job_id()),
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_NODELIST": "node[1-2]",
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    lengths = [(1 + i % 7, 1 + i % 5) for i in range(40)]
    folder = write_data(tmp_path / "data with spaces", {"train": lengths, "valid": lengths[:6]})
    (folder / "prepare.json").write_text(json.dumps({"source_lang": "de", "target_lang": "en"}))
    return folder


def run(
    environment: dict[str, str], *command: object, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_torchrun_trains_and_a_slurm_job_resumes(
    environment: dict[str, str], data: Path, tmp_path: Path
) -> None:
    """Two processes of one torchrun, then one process of each of two."""
    save_dir = tmp_path / "save"
    train = [data, "--method", "lrdrop", "--preset", "multi30k", "--save-dir", save_dir]
    flags = (
        "-- --encoder-layers 1 --decoder-layers 1 --max-tokens 20 --log-interval 1 --num-workers 0 "
        "--disable-validation --lr-drop-start 0 --max-update"
    ).split()

    torchrun = ("torchrun", "--standalone", "--nproc-per-node=2", "--no-python", "scripts/train.sh")
    first = run(environment, *torchrun, *train, *flags, 3)
    assert first.returncode == 0, first.stderr
    assert first.stderr.count("train.sh: starting a new training") == 1
    assert first.stderr.count("train.sh: command:") == 1
    log = (save_dir / "train.log").read_text()
    assert first.stdout == log and "training on 2 devices" in log and "(rank 1)" not in log
    assert json.loads((save_dir / "train.json").read_text())["method"] == "lrdrop"

    second = run(environment, SLURM, *train, *flags, 5)
    assert second.returncode == 0, second.stderr
    assert second.stderr.count("resuming from") == 1 and "Loaded checkpoint" in second.stdout
    log = (save_dir / "train.log").read_text()
    assert log == first.stdout + second.stdout and log.count("training on 2 devices") == 2
    updates = re.findall(r"train_inner .* loss=.* hidden_loss=.* num_updates=(\d+)", log)
    assert updates == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("rank", [0, 1])
def test_what_a_process_writes(
    environment: dict[str, str], data: Path, tmp_path: Path, rank: int
) -> None:
    executable(tmp_path / "bin" / "fairseq-train", NO_TRAINING)
    environment |= dict(MASTER_ADDR="a", MASTER_PORT="1", WORLD_SIZE="2", RANK=str(rank))
    save_dir = tmp_path / "save"
    command = (ROOT / "scripts" / "train.sh", data, "--method", "plain", "--preset", "multi30k")
    done = run(environment, *command, "--save-dir", save_dir)
    assert done.returncode == 0 and f"{rank} warned\n" in done.stderr
    if rank == 0:
        assert (save_dir / "train.log").read_text() == done.stdout == "0 trained\n"
        assert (save_dir / "train.json").exists() and "--distributed-backend gloo" in done.stderr
    else:
        assert sorted(done.stderr.splitlines()) == ["1 trained", "1 warned"] and not done.stdout
        assert not save_dir.exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_every_process_refuses(
    environment: dict[str, str], data: Path, tmp_path: Path, rank: int
) -> None:
    environment |= dict(MASTER_ADDR="a", MASTER_PORT="1", WORLD_SIZE="2", RANK=str(rank))
    executable(tmp_path / "bin" / "fairseq-train", NO_TRAINING)
    (tmp_path / "train.json").write_text('{"method": "rdrop"}')
    (tmp_path / "checkpoint_last.pt").touch()
    command = (ROOT / "scripts" / "train.sh", data, "--method", "plain", "--preset", "multi30k")
    done = run(environment, *command, "--save-dir", tmp_path)
    assert done.returncode == 1 and "method 'rdrop' there, 'plain' now" in done.stderr
    (tmp_path / "train.json").unlink()
    done = run(environment, *command, "--save-dir", tmp_path)
    assert done.returncode == 1 and "no train.json" in done.stderr


def test_slurm_gives_every_gpu_a_process(environment: dict[str, str], tmp_path: Path) -> None:
    executable(tmp_path / "bin" / "torchrun", '#!/bin/bash\necho "$SRUN_CPUS_PER_TASK CPUs"\n')
    environment |= dict(SLURM_JOB_ID="31234", SLURM_GPUS_ON_NODE="4", SLURM_CPUS_PER_TASK="32")
    done = run(environment, SLURM, "data", "--method", "plain")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "32 CPUs\n" * 2
    record = Path(environment["RECORD"]).read_text()
    assert "--nodes 2 --ntasks 2 --ntasks-per-node 1 --kill-on-bad-exit=1 torchrun" in record
    assert "--nnodes 2 --nproc-per-node 4 --rdzv-id 31234 --rdzv-backend c10d" in record
    assert "--rdzv-endpoint localhost:21234 --no-python scripts/train.sh data --method " in record


def test_slurm_says_how_it_is_used(environment: dict[str, str], tmp_path: Path) -> None:
    wrong_folder = run(environment, SLURM, "data", cwd=tmp_path)
    assert "call sbatch there" in wrong_folder.stderr
    del environment["SLURM_JOB_ID"]
    no_job, no_arguments = run(environment, SLURM, "data"), run(environment, SLURM)
    assert "this is no Slurm job" in no_job.stderr
    for done in (wrong_folder, no_job, no_arguments):
        assert done.returncode == 2 and "sbatch [sbatch options]" in done.stderr
    assert run(environment, SLURM, "--help").returncode == 0
