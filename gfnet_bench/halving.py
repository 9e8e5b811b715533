"""How many images fit into memory at a time, found by halving when it runs out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

import torch

from gfnet_bench.bars import tqdm
from gfnet_bench.errors import GfnetBenchError, out_of_memory

T = TypeVar("T")


class Fitting:
    """A batch size that gets smaller when memory runs out, and stays so.

    Attributes:
        size: images at a time.
        device: whose memory it is.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.size = size
        self.device = device

    def run(self, attempt: Callable[[int], T]) -> T:
        """What `attempt` returns for as many images as fit, `size` or fewer; it is called again with half of them.

        Raises:
            GfnetBenchError: if one image alone does not fit.
        """
        while True:
            try:
                return attempt(self.size)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if self.size == 1:
                    cause = error.with_traceback(None)
                    raise GfnetBenchError(
                        f"one image does not fit into the memory of {self.device}: {error}"
                    ) from cause
            # Only here: the error, which the `except` holds, holds every tensor of what failed.
            self.size //= 2
            tqdm.write(f"out of memory; going on with {self.size} images at a time", file=sys.stderr)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
