"""ResMLP's: one linear layer over the tokens, shared by all channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gfnet_bench.conventions import Convention
from gfnet_bench.families import GREEN, Look
from gfnet_bench.mixers.base import MIXERS, Formula, Mixer

if TYPE_CHECKING:
    from torch import Tensor, nn


def build(side: int, width: int) -> nn.Module:
    """(b, n, d) to (b, n, d)."""
    from torch import nn

    class SpatialMLP(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(side * side, side * side)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x.transpose(1, 2)).transpose(1, 2)

    return SpatialMLP()


def operators(side: int, width: int, rule: Convention) -> dict[str, int]:
    """See `Mixer`."""
    return {"linear": rule.per_mac * side**4 * width}


MIXERS.add(
    "spatial_mlp",
    Mixer(
        title="spatial MLP",
        place=3,
        build=build,
        operators=operators,
        look=Look(GREEN, "^"),
        cites=("touvron2021resmlp",),
        formula=Formula("H^2 W^2 D", "H^2 W^2", lambda side, width: side**4),
        affine=True,
    ),
)
