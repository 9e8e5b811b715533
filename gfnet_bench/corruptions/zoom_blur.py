"""Zoom blur: the mean of an image and its enlargements."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gfnet_bench.corruptions.base import Draws, corruption, divided
from gfnet_bench.corruptions.kernels import kernel


def clipped_zoom(planes: Tensor, factor: float, *, centred: bool) -> Tensor:
    """Planes enlarged linearly and cut to their size, as the reference scripts do with `scipy.ndimage.zoom`.

    A crop about the middle is enlarged to a little more than the size of the plane. The published scripts keep the
    middle of that; imagecorruptions keeps the top left corner, which moves the picture by up to half a pixel or so.

    Args:
        planes: (b, c, h, w) float; fastest where w is the slower axis in memory.
        factor: 1 or more.
        centred: whether to keep the middle.

    Returns:
        (b, c, h, w), type of `planes`.
    """
    # Along w in memory where w is slow, then along h where h is slow: whole rows are copied, never single pixels.
    across = _lerp_rows(planes.mT, factor, centred)
    return _lerp_rows(across.mT.contiguous(), factor, centred)


def _lerp_rows(planes: Tensor, factor: float, centred: bool) -> Tensor:
    """(b, c, n, m) enlarged along n."""
    above, below, weights = _sent(planes.shape[2], factor, centred, planes.device)
    rows = planes.index_select(2, above)
    rows.lerp_(planes.index_select(2, below), weights.to(planes.dtype))
    if places(planes.shape[2], factor, centred).outside:
        rows[:, :, -1] = 0
    return rows


class Places(NamedTuple):
    """For each row of an enlarged plane of `size` rows, NumPy arrays.

    Attributes:
        above: (size,) the row above it.
        below: (size,) the row below it.
        weights: (size,) float64, of the latter.
        outside: whether the last row is black. In scipy's arithmetic it can lie beyond the last row of the crop, by the
            last bit of a float64, which makes it so. Sides of 32, 64 and 224 pixels have none such in any recipe; one
            of 36 pixels has, for a factor of 1.2.
    """

    above: NDArray[np.int64]
    below: NDArray[np.int64]
    weights: NDArray[np.float64]
    outside: bool


@lru_cache(maxsize=256)
def places(size: int, factor: float, centred: bool) -> Places:
    """What `clipped_zoom` makes the rows of its result of."""
    crop = math.ceil(size / factor)
    enlarged = round(crop * factor)
    found: NDArray[np.float64] = np.arange(enlarged, dtype=np.float64) * ((crop - 1) / (enlarged - 1))
    start = (enlarged - size) // 2 if centred else 0
    found = found[start : start + size]
    above = found.astype(np.int64)
    offset = (size - crop) // 2
    below = np.minimum(above + 1, crop - 1) + offset
    return Places(above + offset, below, found - above, bool(found[-1] > crop - 1))


@lru_cache(maxsize=256)
def _sent(size: int, factor: float, centred: bool, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """`places` on a device, weights (size, 1)."""
    line = places(size, factor, centred)
    above, below, weights = (torch.from_numpy(array).to(device) for array in (line.above, line.below, line.weights))
    return above, below, weights[:, None]


def zoomed(images: Tensor, factors: tuple[float, ...], centred: bool) -> Tensor:
    """The mean of images (b, 3, h, w) uint8 and their enlargements by `factors`."""
    # float32, one layer after the other, as in the scripts: on flat areas the byte hangs on their rounding.
    levels = divided(images.mT.to(torch.float32, memory_format=torch.contiguous_format), 255).mT
    total = clipped_zoom(levels, factors[0], centred=centred)
    for factor in factors[1:]:
        total += clipped_zoom(levels, factor, centred=centred)
    mean = divided(total.add_(levels), len(factors) + 1)
    return mean.clamp_(0, 1).mul_(255).to(torch.int16).to(torch.uint8)


def _factors(*stops_and_steps: tuple[float, float]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(np.arange(1, stop, step).tolist()) for stop, step in stops_and_steps)


_LARGE = _factors((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))
_SMALL = _factors((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01))


def _zoom_blur(images: Tensor, factors: tuple[float, ...], centred: bool) -> Tensor:
    made = kernel("zoom", images.device)
    return (made.zoom if made else zoomed)(images, factors, centred)


@corruption("zoom_blur", imagenet_c=_LARGE, cifar_c=_SMALL, tiny_imagenet_c=_SMALL)
def zoom_blur(images: Tensor, factors: tuple[float, ...], draws: Draws) -> Tensor:
    """The mean of the image and its enlargements by `factors`, each about the middle."""
    return _zoom_blur(images, factors, centred=True)


@corruption("zoom_blur", imagecorruptions=_LARGE)
def shifted_zoom_blur(images: Tensor, factors: tuple[float, ...], draws: Draws) -> Tensor:
    """`zoom_blur` with enlargements that are cut at the top left instead of the middle."""
    return _zoom_blur(images, factors, centred=False)
