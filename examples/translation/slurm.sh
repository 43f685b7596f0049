#!/usr/bin/env bash
# Trains with scripts/train.sh on all nodes of a Slurm job: one torchrun per node, one process per GPU.
# The lines below are defaults: edit them, or overrule them on sbatch's command line.
#SBATCH --job-name=lrdrop
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail

usage() {
    cat <<'USAGE'
Usage, in the root of the repository: sbatch [sbatch options] examples/translation/slurm.sh ARGUMENTS

  ARGUMENTS       those of scripts/train.sh, which prints them when it is run without any. DATA and DIR must be
                  on a file system that all nodes share.
  sbatch options  for example --nodes 2 --gpus-per-node 4 --time 12:00:00 --partition NAME; --ntasks-per-node
                  stays 1. Without GPUs one process runs on each node.

Example, eight processes:
  sbatch --nodes 2 --gpus-per-node 4 examples/translation/slurm.sh data --method lrdrop --preset wmt \
      --save-dir checkpoints -- --save-interval-updates 1000

A job that is requeued goes on from its last checkpoint; so does the same command submitted again when the time
was up. --save-interval-updates N saves every N updates, not at the ends of epochs only.
USAGE
}

# Slurm runs a copy of this script, so the repository is the folder in which sbatch was called.
if [[ ! -f scripts/common.sh ]]; then
    printf 'slurm.sh: error: %s is not the root of the repository: call sbatch there\n\n' "$PWD" >&2
    usage >&2
    exit 2
fi
# shellcheck source-path=SCRIPTDIR source=../../scripts/common.sh
source scripts/common.sh

if (($# == 0)); then usage_error; fi
if [[ "$1" == -h || "$1" == --help ]]; then usage; exit 0; fi
if [[ -z "${SLURM_JOB_ID:-}" ]]; then usage_error "this is no Slurm job: submit it with sbatch"; fi
command -v torchrun >/dev/null ||
    die "torchrun is not on PATH: run scripts/install.sh, or activate the environment that has torch"

nodes="$SLURM_JOB_NUM_NODES"
processes="${SLURM_GPUS_ON_NODE:-1}" # on each node; Slurm counts the GPUs of the first one
hosts="$(scontrol show hostnames "$SLURM_JOB_NODELIST")"
first="${hosts%%$'\n'*}"
# The processes meet on the first node. Jobs that share it have ports of their own, below the range that the
# kernel gives to outgoing connections.
port=$((20000 + SLURM_JOB_ID % 10000))

# srun does not take over the job's --cpus-per-task by itself since Slurm 22.05.
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"
note "job $SLURM_JOB_ID: $processes process(es) on each of $nodes node(s), which meet at $first:$port"
exec srun --nodes "$nodes" --ntasks "$nodes" --ntasks-per-node 1 --kill-on-bad-exit=1 \
    torchrun --nnodes "$nodes" --nproc-per-node "$processes" \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$first:$port" \
    --no-python scripts/train.sh "$@"
