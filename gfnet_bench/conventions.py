"""What is charged where counters of multiply-adds disagree: FFTs, complex products and norms."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gfnet_bench.registry import Registry


class Transform(NamedTuple):
    """One call of an FFT.

    Attributes:
        kind: `r2c`, `c2r` or `c2c`.
        seen: points of one channel of its input: half the grid where that is the spectrum of a real grid.
        points: points of the whole grid.
        channels: how many grids are transformed, batch included.
    """

    kind: str
    seen: int
    points: int
    channels: int


@dataclass(frozen=True)
class Convention:
    """What is charged beside matrix products and convolutions.

    Attributes:
        name: as in a record.
        per_mac: 1 where multiply-adds are counted, 2 where each is two operations.
        text: the rule, to be printed with every table.
        transform: the charge of one FFT, in `unit`.
        layer_norm: the charge of one element of a LayerNorm, in `unit`.
        batch_norm: the same of a batch norm.
        complex_product: the charge of one complex product, in `unit`.
    """

    name: str
    per_mac: int
    text: str
    transform: Callable[[Transform], float]
    layer_norm: int = 0
    batch_norm: int = 0
    complex_product: int = 0

    @property
    def unit(self) -> str:
        """`MACs` or `FLOPs`."""
        return "MACs" if self.per_mac == 1 else "FLOPs"


CONVENTIONS: Registry[Convention] = Registry("FFT convention")


def _log2_up(points: int) -> int:
    return (points - 1).bit_length()


def _authors(fft: Transform) -> float:
    return fft.channels * fft.seen * _log2_up(fft.seen)


def _table1(fft: Transform) -> float:
    return fft.channels * fft.points * (1 if fft.kind == "c2r" else _log2_up(fft.points))


def _standard(fft: Transform) -> float:
    return fft.channels * fft.points * math.log2(fft.points) * (5 if fft.kind == "c2c" else 2.5)


def _free(fft: Transform) -> float:
    return 0


for _convention in (
    Convention(
        "authors",
        1,
        "C N ceil(log2 N) for rfft2 and again for irfft2, which sees half the spectrum; 5 per element of a LayerNorm, "
        "2 of a batch norm (what the counter that the GFNet authors released charges GFNet; other norms, pooling and "
        "resampling, which it charges too, are free)",
        _authors,
        layer_norm=5,
        batch_norm=2,
    ),
    Convention(
        "table1",
        1,
        "C N ceil(log2 N) for rfft2, C N for the product with the filter, nothing for irfft2 and norms "
        "(the paper's Table 1 and Figure 2)",
        _table1,
    ),
    Convention(
        "standard",
        2,
        "2.5 C N log2 N for each real 2-D FFT, 6 for each complex product, 2 for each multiply-add, nothing for norms",
        _standard,
        complex_product=6,
    ),
    Convention(
        "none",
        1,
        "nothing for FFTs; 5 per element of a LayerNorm, 2 of a batch norm (as fvcore, but for fused attention, which "
        "it misses, and other norms, adaptive pooling and resampling, which it charges and are free here)",
        _free,
        layer_norm=5,
        batch_norm=2,
    ),
):
    CONVENTIONS.add(_convention.name, _convention)
