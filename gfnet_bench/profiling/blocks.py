"""The one-block networks of Figure 2: a token mixer and a feed-forward network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gfnet_bench.mixers import MIXERS

MLP_RATIO = 4


class Affine(nn.Module):
    """ResMLP's stand-in for a norm: scale and shift every feature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(width))
        self.beta = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, d) to (b, n, d)."""
        return torch.addcmul(self.beta, self.alpha, x)


class Block(nn.Module):
    """Mixer and feed-forward network, each normed and under a residual of its own, or both under one as in GFNet."""

    def __init__(self, mixer: nn.Module, width: int, norm: Callable[[int], nn.Module], one_residual: bool) -> None:
        super().__init__()
        self.norm1, self.mixer, self.norm2 = norm(width), mixer, norm(width)
        hidden = MLP_RATIO * width
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.one_residual = one_residual

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, d) to (b, n, d)."""
        y = self.mixer(self.norm1(x))
        if self.one_residual:
            return x + self.mlp(self.norm2(y))
        x = x + y
        return x + self.mlp(self.norm2(x))


def block(mixer: str, side: int, width: int = 384) -> nn.Module:
    """One block of Figure 2: mixer and feed-forward network of ratio 4, with the norms and residuals of its own kind.

    GFNet's for a global filter, ResMLP's (without its LayerScale) for a spatial MLP, ViT's for the others. Built under
    `torch.device("meta")` it takes no memory, enough to count it.

    Args:
        mixer: a name in `MIXERS`.
        side: s of the s * s tokens.
        width: features d; a multiple of six, the number of attention heads.

    Raises:
        UsageError: if there is no such mixer.
    """
    spec = MIXERS[mixer]
    return Block(spec.build(side, width), width, Affine if spec.affine else _layer_norm, spec.one_residual)


def _layer_norm(width: int) -> nn.Module:
    return nn.LayerNorm(width, eps=1e-6)
