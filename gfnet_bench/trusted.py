"""Whether a kernel can be relied on: it is tried out on a device where it is first wanted, and left out if it fails."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch

from gfnet_bench.errors import out_of_memory


def trusted(kernel: str, agrees: Callable[[], bool], device: torch.device, instead: str) -> bool:
    """Whether a kernel builds on a device and gives what it should.

    A compiler that fails, or a result that is wrong, costs speed, never a number: a warning says so.

    Args:
        kernel: what it is called, for people.
        agrees: runs it and compares.
        device: where.
        instead: what is used if it fails, for people.

    Raises:
        Exception: if memory ran out, which says nothing of the kernel.
    """
    try:
        if agrees():
            return True
        reason = f"gives wrong numbers on {device}"
    except Exception as error:  # whatever a compiler for a device unknown here may raise
        if out_of_memory(error):
            raise
        reason = f"does not run on {device}: {error}"
    warnings.warn(f"{kernel} {reason}; using {instead}", stacklevel=3)
    return False
