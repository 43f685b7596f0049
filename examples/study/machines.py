"""What a row says of where it was trained."""

from __future__ import annotations

import torch

from benchmarks.machine import processor


def describe(device: str) -> str:
    """Processor or GPU, and torch's version. ValueError if there is no such device."""
    if device == "cuda":
        if not torch.cuda.is_available():
            raise ValueError("--device cuda, but torch sees no CUDA device: give --device cpu")
        name = torch.cuda.get_device_name()
    else:
        name = processor()
    return f"{name}, torch {torch.__version__}"
