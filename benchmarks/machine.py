"""What a number was measured on."""

from __future__ import annotations

import datetime
import os
import platform

import torch


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
