"""A 7 x 7 convolution of every channel by itself, the largest of the paper's ablation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gfnet_bench.conventions import Convention
from gfnet_bench.families import PURPLE, Look
from gfnet_bench.mixers.base import MIXERS, Formula, Mixer

if TYPE_CHECKING:
    from torch import Tensor, nn

KERNEL = 7


def build(side: int, width: int) -> nn.Module:
    """(b, n, d) to (b, n, d)."""
    from torch import nn

    class DepthwiseConv(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(width, width, KERNEL, padding=KERNEL // 2, groups=width)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x.transpose(1, 2).unflatten(2, (side, side))).flatten(2).transpose(1, 2)

    return DepthwiseConv()


def operators(side: int, width: int, rule: Convention) -> dict[str, int]:
    """See `Mixer`."""
    return {"convolution": rule.per_mac * KERNEL**2 * side**2 * width}


MIXERS.add(
    "depthwise_conv",
    Mixer(
        title="depthwise conv",
        place=4,
        build=build,
        operators=operators,
        look=Look(PURPLE, "v"),
        formula=Formula("k^2 HWD", "k^2 D", lambda side, width: KERNEL**2 * width),
    ),
)
