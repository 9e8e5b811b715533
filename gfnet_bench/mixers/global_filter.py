"""GFNet's: learned complex weights on the spectrum of every channel, by plain torch.fft or by our fast layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gfnet_bench.conventions import Convention, Transform
from gfnet_bench.families import BLUE, SKY, Look
from gfnet_bench.mixers.base import MIXERS, Formula, Mixer

if TYPE_CHECKING:
    from torch import Tensor, nn


def fourier_filter(width: int, grid: tuple[int, int]) -> nn.Module:
    """The filter by plain torch.fft: (b, h, w, d) to the same."""
    import torch
    from torch import nn

    class FourierFilter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.complex_weight = nn.Parameter(torch.randn(grid[0], grid[1] // 2 + 1, width, 2) * 0.02)

        def forward(self, x: Tensor) -> Tensor:
            spectrum = torch.fft.rfft2(x, dim=(1, 2), norm="ortho") * torch.view_as_complex(self.complex_weight)
            return torch.fft.irfft2(spectrum, s=grid, dim=(1, 2), norm="ortho")

    return FourierFilter()


def on_grid(layer: nn.Module, side: int) -> nn.Module:
    """A filter of (b, h, w, d) as a mixer: a global filter on the grid the tokens come from."""
    from torch import nn

    class GlobalFilterMixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.filter = layer

        def forward(self, x: Tensor) -> Tensor:
            return self.filter(x.unflatten(1, (side, side))).flatten(1, 2)

    return GlobalFilterMixer()


def build(side: int, width: int) -> nn.Module:
    """(b, n, d) to (b, n, d)."""
    return on_grid(fourier_filter(width, (side, side)), side)


def build_fast(side: int, width: int) -> nn.Module:
    """The same by the layer that our GFNets have."""
    from gfnet_bench.models.gfnet import GlobalFilter

    return on_grid(GlobalFilter(width, (side, side)), side)


def operators(side: int, width: int, rule: Convention) -> dict[str, int]:
    """See `Mixer`."""
    return filter_operators((side, side), width, rule)


def filter_operators(grid: tuple[int, int], width: int, rule: Convention) -> dict[str, int]:
    """The cost of a global filter on any grid of (h, w) tokens."""
    points, half = grid[0] * grid[1], grid[0] * (grid[1] // 2 + 1)
    transforms = (Transform("r2c", points, points, width), Transform("c2r", half, points, width))
    return {
        "fft": sum(round(rule.transform(fft)) for fft in transforms),
        "complex_product": rule.complex_product * half * width,
    }


MIXERS.add(
    "global_filter",
    Mixer(
        title="global filter",
        place=1,
        build=build,
        operators=operators,
        look=Look(BLUE, "o"),
        cites=("rao2021gfnet",),
        formula=Formula(
            "HWD ceil(log2(HW)) + HWD",
            "2 H (floor(W/2) + 1) D",
            lambda side, width: 2 * side * (side // 2 + 1) * width,
        ),
        one_residual=True,
    ),
)
MIXERS.add(
    "global_filter_fast",
    Mixer(
        title="fast filter",
        place=2,
        build=build_fast,
        operators=operators,
        look=Look(SKY, "X"),
        cites=("rao2021gfnet",),
        counted_as="global_filter",
        one_residual=True,
    ),
)
