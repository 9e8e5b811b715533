"""ViT's multi-head self-attention, its n x n matrices written to memory as the paper's were, or fused as today."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gfnet_bench.conventions import Convention
from gfnet_bench.families import ORANGE, RED, Look
from gfnet_bench.mixers.base import MIXERS, Formula, Mixer

if TYPE_CHECKING:
    from torch import Tensor, nn

HEADS = 6


def build(side: int, width: int, fused: bool) -> nn.Module:
    """(b, n, d) to (b, n, d)."""
    import torch.nn.functional as F
    from torch import nn

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(width, 3 * width)
            self.proj = nn.Linear(width, width)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = self.qkv(x).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
            if fused:
                y = F.scaled_dot_product_attention(q, k, v)
            else:
                y = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(dim=-1) @ v
            return self.proj(y.transpose(1, 2).flatten(2))

    return Attention()


def operators(side: int, width: int, rule: Convention) -> dict[str, int]:
    """See `Mixer`."""
    n = side**2
    return {"linear": rule.per_mac * 4 * n * width**2, "attention": rule.per_mac * 2 * n**2 * width}


MIXERS.add(
    "self_attention",
    Mixer(
        title="self-attention",
        place=5,
        build=partial(build, fused=False),
        operators=operators,
        look=Look(RED, "s"),
        cites=("dosovitskiy2021image",),
        formula=Formula("4 HWD^2 + 2 H^2 W^2 D", "4 D^2", lambda side, width: 4 * width**2),
    ),
)
MIXERS.add(
    "self_attention_fused",
    Mixer(
        title="fused attention",
        place=6,
        build=partial(build, fused=True),
        operators=operators,
        look=Look(ORANGE, "D"),
        cites=("dosovitskiy2021image",),
    ),
)
