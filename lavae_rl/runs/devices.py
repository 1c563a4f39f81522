"""Devices that programs compute on: their ``--device``."""

from collections.abc import Sequence

import torch

DEVICES: Sequence[str] = ("auto", "cpu", "cuda")


def choose_device(name: str) -> str:
    """Turn one of ``DEVICES`` into one that exists: "auto" is a GPU if there is one; "cuda" is refused if not."""
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise ValueError("--device cuda: PyTorch sees no CUDA device here; use --device cpu")
    return name if name != "auto" else "cuda" if found else "cpu"
