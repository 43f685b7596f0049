"""What a row says of where it was trained."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch


def describe(device: str) -> str:
    """Processor or GPU, and torch's version. ValueError if there is no such device."""
    if device == "cuda":
        if not torch.cuda.is_available():
            raise ValueError("--device cuda, but torch sees no CUDA device: give --device cpu")
        name = torch.cuda.get_device_name()
    else:
        name = f"{_processor()}, {os.cpu_count()} cores"
    return f"{name}, torch {torch.__version__}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
