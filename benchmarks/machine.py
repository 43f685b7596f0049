"""What a number was measured on, and how much memory was in use.

python -m benchmarks.machine FILE    describes the machine, in words and in JSON
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import gc
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import torch

from scripts.runs.complete_files import write
from scripts.runs.options import output_file

# Environment of a process in which every allocation is a mapping of its own, which the kernel gets
# back at once when it is freed: what the C library keeps of freed memory is then not counted, as
# torch does not count it on a GPU.
EXACT = {"MALLOC_MMAP_THRESHOLD_": "65536"}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=describe_machine.__doc__)
    parser.add_argument("file", type=output_file, help="JSON")
    file = parser.parse_args().file
    machine = describe_machine()
    print(in_words(machine))
    write(file, json.dumps(machine, indent=1) + "\n")


def describe_machine() -> dict[str, str]:
    """Hardware, threads, versions of what drives the GPU, torch's version and the date."""
    machine = {"CPU": f"{processor()}, {torch.get_num_threads()} threads"}
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        machine["GPU"] = f"{torch.cuda.get_device_name()}, {memory:.0f} GiB"
        machine["driver"] = _driver()
        machine["CUDA"] = str(torch.version.cuda)
    machine["torch"] = torch.__version__
    machine["date"] = datetime.date.today().isoformat()
    return machine


def in_words(machine: dict[str, str]) -> str:
    """The description as a line."""
    return " ".join(f"{key}: {value}." for key, value in machine.items())


def processor() -> str:
    """The model of the processor and how many cores there are."""
    cpu = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as lines:
            models = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
        cpu = models[0] if models else cpu
    return f"{cpu}, {os.cpu_count()} cores"


def _driver() -> str:
    """Version of the NVIDIA driver, or why it is not known."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except FileNotFoundError:
        return "unknown (no nvidia-smi)"
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown ({error})"
    return done.stdout.strip().partition("\n")[0]


def start_over(cuda: bool) -> None:
    """Let :func:`peak_bytes` count from now on, in a process that has done something else before.

    On a CPU where the kernel has no such reset, the peak stays that of all the process has done.
    """
    gc.collect()
    if cuda:
        torch.cuda.init()  # type: ignore[no-untyped-call]  # before that there are no numbers to reset
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return
    release()
    forget = Path("/proc/self/clear_refs")
    if os.access(forget, os.W_OK):
        forget.write_text("5")  # proc(5): VmHWM becomes VmRSS


def release() -> None:
    """Give memory that was freed on the CPU back to the system, where the C library can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def peak_bytes(before: int, cuda: bool) -> int:
    """Highest memory in use so far, by torch's allocator on a GPU, by this process on a CPU.

    To be asked in a process that does nothing else, or after :func:`start_over`: what was in use
    and given back before the model was built counts as highest on a CPU, and freed memory that is
    used again does not count at all.

    Args:
        before: :func:`bytes_in_use` before the model was built, which is what Python, torch and the
            data take by themselves. It is subtracted.
        cuda: whether the work was done on a GPU.
    """
    highest = torch.cuda.max_memory_allocated() if cuda else resident_bytes("VmHWM")
    return highest - before


def bytes_in_use(cuda: bool) -> int:
    """Memory in use now, as :func:`peak_bytes` counts it."""
    return torch.cuda.memory_allocated() if cuda else resident_bytes("VmRSS")


def resident_bytes(key: str) -> int:
    """VmRSS (now) or VmHWM (highest so far) of this process, as the kernel counts it."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith(key))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
