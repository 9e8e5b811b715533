"""Corruptions as kernels of Triton, for CUDA: what tensors take dozens of passes for, in one or two, to the same byte.

They were checked in Triton's interpreter and compiled for sm_90, not yet run: where one is first wanted for a case, it
is compared with the tensors on the device, and they are taken if it fails.
"""

from __future__ import annotations

import os
import warnings
from functools import lru_cache
from importlib import import_module

import torch

from gfnet_bench.errors import out_of_memory

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


@lru_cache(maxsize=256)
def works(kernel: str, device: torch.device, *case: object) -> bool:
    """Whether the kernel of a file of this folder builds on a device and gives what tensors give; asked once a case.

    A compiler that fails, or a result that is wrong, costs speed here, never a byte.
    """
    if not INTERPRETED and (device.type != "cuda" or not torch.cuda.is_available()):
        return False
    try:
        module = import_module(f"{__name__}.{kernel}")
    except ImportError:  # no Triton
        return False
    try:
        with torch.inference_mode():
            if module.agrees(device, *case):
                return True
        reason = f"gives other bytes on {device}"
    except Exception as error:  # whatever a compiler for a device unknown here may raise
        if out_of_memory(error):  # which says nothing of the kernel
            raise
        reason = f"does not run on {device}: {error}"
    warnings.warn(f"corruptions: the kernel {kernel} for {case} {reason}; using tensors", stacklevel=2)
    return False
