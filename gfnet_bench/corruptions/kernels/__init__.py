"""Corruptions as kernels of Triton, for CUDA: what tensors take dozens of passes for, in one or two, to the same byte.

They were checked in Triton's interpreter and on an H200. Where one is first wanted for a case, it is compared with the
tensors on the device, and they are taken if it fails.
"""

from __future__ import annotations

import os
from functools import lru_cache
from importlib import import_module
from types import ModuleType

import torch

from gfnet_bench.trusted import trusted

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def kernel(name: str, device: torch.device, *case: object) -> ModuleType | None:
    """The file of this folder to take in place of tensors; None on a CPU, and where `works` finds against it."""
    return import_module(f"{__name__}.{name}") if device.type != "cpu" and works(name, device, *case) else None


@lru_cache(maxsize=256)
def works(kernel: str, device: torch.device, *case: object) -> bool:
    """Whether the kernel of a file of this folder gives on a device what tensors give; asked once a case."""
    if not INTERPRETED and (device.type != "cuda" or not torch.cuda.is_available()):
        return False
    try:
        module = import_module(f"{__name__}.{kernel}")
    except ImportError:  # no Triton
        return False

    def agrees() -> bool:
        with torch.inference_mode():
            return bool(module.agrees(device, *case))

    return trusted(f"corruptions: the kernel {kernel} for {case}", agrees, device, "tensors")
