"""The token mixers of Table 1 and, with a feed-forward network, the one-block networks of Figure 2.

All take and return (b, n, d) tokens of a square grid, n = side * side, row by row.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfnet_bench.registry import Registry

HEADS = 6
KERNEL = 7
MLP_RATIO = 4

FilterLayer = Callable[[int, tuple[int, int]], nn.Module]
"""(d, (h, w)) to a global filter on (b, h, w, d), such as `gfnet_bench.models.gfnet.GlobalFilter`."""

MIXERS: Registry[Callable[[int, int], nn.Module]] = Registry("mixer")
"""(side, width) to a mixer."""


class FourierFilter(nn.Module):
    """Learned complex weights on the spectrum of every channel, by plain torch.fft: (b, h, w, d) to the same."""

    def __init__(self, dim: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.complex_weight = nn.Parameter(torch.randn(grid[0], grid[1] // 2 + 1, dim, 2) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(b, h, w, d) to (b, h, w, d)."""
        spectrum = torch.fft.rfft2(x, dim=(1, 2), norm="ortho") * torch.view_as_complex(self.complex_weight)
        return torch.fft.irfft2(spectrum, s=self.grid, dim=(1, 2), norm="ortho")


@MIXERS.register("global_filter")
class GlobalFilterMixer(nn.Module):
    """GFNet's: a global filter on the grid the tokens come from."""

    def __init__(self, side: int, width: int, filter_layer: FilterLayer = FourierFilter) -> None:
        super().__init__()
        self.grid = (side, side)
        self.filter = filter_layer(width, self.grid)

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, d) to (b, n, d)."""
        return self.filter(x.unflatten(1, self.grid)).flatten(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention with six heads, its n x n matrices written to memory as the paper's were, or fused."""

    def __init__(self, width: int, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, d) to (b, n, d)."""
        q, k, v = self.qkv(x).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(dim=-1) @ v
        return self.proj(y.transpose(1, 2).flatten(2))


@MIXERS.register("self_attention")
def self_attention(side: int, width: int) -> nn.Module:
    """ViT's, as in the paper."""
    return Attention(width, fused=False)


@MIXERS.register("self_attention_fused")
def self_attention_fused(side: int, width: int) -> nn.Module:
    """ViT's, as it is run today."""
    return Attention(width, fused=True)


@MIXERS.register("spatial_mlp")
class SpatialMLP(nn.Module):
    """ResMLP's: one linear layer over the tokens, shared by all channels."""

    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(side * side, side * side)

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, d) to (b, n, d)."""
        return self.linear(x.transpose(1, 2)).transpose(1, 2)


@MIXERS.register("depthwise_conv")
class DepthwiseConv(nn.Module):
    """A 7 x 7 convolution of every channel by itself, the largest of the paper's ablation."""

    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        self.grid = (side, side)
        self.conv = nn.Conv2d(width, width, KERNEL, padding=KERNEL // 2, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, d) to (b, n, d)."""
        return self.conv(x.transpose(1, 2).unflatten(2, self.grid)).flatten(2).transpose(1, 2)


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


def block(mixer: str, side: int, width: int = 384, filter_layer: FilterLayer | None = None) -> nn.Module:
    """One block of Figure 2: mixer and feed-forward network of ratio 4, with the norms and residuals of its own kind.

    GFNet's for a global filter, ResMLP's (without its LayerScale) for a spatial MLP, ViT's for the others. Built under
    `torch.device("meta")` it takes no memory, enough to count it.

    Args:
        mixer: a name in `MIXERS`.
        side: s of the s * s tokens.
        width: features d; a multiple of six, the number of attention heads.
        filter_layer: makes the global filter; None for plain torch.fft.

    Raises:
        UsageError: if there is no such mixer.
    """
    make = MIXERS[mixer]
    if make is GlobalFilterMixer:
        mixing = GlobalFilterMixer(side, width, filter_layer or FourierFilter)
        return Block(mixing, width, _layer_norm, one_residual=True)
    return Block(make(side, width), width, Affine if make is SpatialMLP else _layer_norm, one_residual=False)


def _layer_norm(width: int) -> nn.Module:
    return nn.LayerNorm(width, eps=1e-6)
