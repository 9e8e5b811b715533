"""One step of a network, as latency and memory are measured of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Workload:
    """A network, its input, and what a step is.

    Attributes:
        module: what is run.
        make_input: its input, made when a step is prepared.
        backward: whether a step computes gradients too: to the weights, and to the input if that takes one.
        autocast: half precision to run in; None for that of the weights.
    """

    module: nn.Module
    make_input: Callable[[], Tensor]
    backward: bool = False
    autocast: torch.dtype | None = None

    @property
    def weights_bytes(self) -> int:
        """Parameters and buffers."""
        return sum(t.nbytes for t in (*self.module.parameters(), *self.module.buffers()))

    def step(self) -> Callable[[], object]:
        """A call to be repeated, always on the same input."""
        x = self.make_input()
        wanted = [t for t in (x, *self.module.parameters()) if t.requires_grad]

        def forward() -> Tensor:
            half = self.autocast
            with contextlib.nullcontext() if half is None else torch.autocast(x.device.type, half):
                return self.module(x)

        def forward_backward() -> object:
            out = forward()
            return torch.autograd.grad(out, wanted, torch.ones_like(out), allow_unused=True)

        return forward_backward if self.backward else torch.inference_mode()(forward)


Build = Callable[[torch.device], Workload]
"""Makes a workload on a device, the meta device included."""
