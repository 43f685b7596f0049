"""What a number was measured on, and how much memory was in use."""

from __future__ import annotations

import datetime
import os
import platform

import torch

# Environment of a process in which every allocation is a mapping of its own, which the kernel gets
# back at once when it is freed: what the C library keeps of freed memory is then not counted, as
# torch does not count it on a GPU.
EXACT = {"MALLOC_MMAP_THRESHOLD_": "65536"}


def describe_machine() -> dict[str, str]:
    """Hardware, threads, torch's version and the date."""
    cpu = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as lines:
            models = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
        cpu = models[0] if models else cpu
    machine = {"CPU": f"{cpu}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"}
    if torch.cuda.is_available():
        machine["GPU"] = torch.cuda.get_device_name()
    machine["torch"] = torch.__version__
    machine["date"] = datetime.date.today().isoformat()
    return machine


def peak_bytes(before: int, cuda: bool) -> int:
    """Highest memory in use so far, by torch's allocator on a GPU, by this process on a CPU.

    To be asked in a process that does nothing else: what was in use and given back before the
    model was built counts as highest, and freed memory that is used again does not count at all.

    Args:
        before: ``resident_bytes("VmRSS")`` before the model was built, which is what Python,
            torch and the data take by themselves. It is subtracted on a CPU.
        cuda: whether the work was done on a GPU.
    """
    if cuda:
        return torch.cuda.max_memory_allocated()
    return resident_bytes("VmHWM") - before


def resident_bytes(key: str) -> int:
    """VmRSS (now) or VmHWM (highest so far) of this process, as the kernel counts it."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith(key))
    return int(line.split()[1]) * 1024
