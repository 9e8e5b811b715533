"""Pixelation: an image averaged down to a smaller size, and its pixels enlarged again.

On a CPU Pillow does it; elsewhere matrix products do the same arithmetic, to the byte: means of whole pixels with
weights in 22-bit fractions, rounded to bytes after the columns and again after the rows.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gfnet_bench.corruptions.base import Draws, corruption, picture

_FRACTION = 22  # bits


@corruption(
    "pixelate",
    imagenet_c=(0.6, 0.5, 0.4, 0.3, 0.25),
    cifar_c=(0.95, 0.9, 0.85, 0.75, 0.65),
    tiny_imagenet_c=(0.9, 0.8, 0.7, 0.6, 0.5),
)
def pixelate(images: Tensor, factor: float, draws: Draws) -> Tensor:
    """Both ways by Pillow's box filter."""
    return _pixelated(images, factor, Image.Resampling.BOX)


@corruption("pixelate", imagecorruptions=(0.6, 0.5, 0.4, 0.3, 0.25))
def pixelate_nearest(images: Tensor, factor: float, draws: Draws) -> Tensor:
    """Back by the nearest pixel, which is another one than by the box filter only where two are as near."""
    return _pixelated(images, factor, Image.Resampling.NEAREST)


def _pixelated(images: Tensor, factor: float, back: Image.Resampling) -> Tensor:
    if images.device.type != "cpu":
        return pixelated_by_products(images, factor, back)
    h, w = images.shape[2:]
    out = np.empty((len(images), h, w, 3), dtype=np.uint8)
    for i, image in enumerate(images):
        # One side at a time: from version 13 on, Pillow would begin with the rows of tall images (python-pillow #9549).
        narrow = picture(image).resize((int(w * factor), h), Image.Resampling.BOX)
        small = narrow.resize((int(w * factor), int(h * factor)), Image.Resampling.BOX)
        out[i] = np.asarray(small.resize((w, h), back))
    return torch.from_numpy(out).permute(0, 3, 1, 2)


def pixelated_by_products(images: Tensor, factor: float, back: Image.Resampling) -> Tensor:
    """The corruption without Pillow, for any device: images (b, 3, h, w) uint8 and their sides' factor, below 1."""
    h, w = images.shape[2:]
    rows, columns = (_weights(side, int(side * factor), images.device) for side in (h, w))
    # Sums below 2**31, exact in float64.
    x = _rounded(images.to(torch.float64) @ columns.T)
    x = _rounded(rows @ x)
    for axis, side in ((2, h), (3, w)):
        x = x.index_select(axis, _sources(int(side * factor), side, back, images.device))
    return x.to(torch.uint8)


def _rounded(sums: Tensor) -> Tensor:
    return sums.add_(2 ** (_FRACTION - 1)).mul_(2.0**-_FRACTION).floor_()


@lru_cache(maxsize=64)
def _weights(size: int, new: int, device: torch.device) -> Tensor:
    """(new, size) float64: the weights by which Pillow's box filter makes `new` pixels of `size`, times 2**22."""
    scale = size / new
    width = max(scale, 1.0)
    weights = np.zeros((new, size))
    for i in range(new):
        centre = (i + 0.5) * scale
        first, last = int(max(centre - width / 2 + 0.5, 0)), int(min(centre + width / 2 + 0.5, size))
        inside = [j for j in range(first, last) if -0.5 < (j - centre + 0.5) * (1 / width) <= 0.5]
        weights[i, inside] = int(0.5 + 1 / len(inside) * 2**_FRACTION)
    return torch.from_numpy(weights).to(device)


@lru_cache(maxsize=64)
def _sources(size: int, new: int, resampling: Image.Resampling, device: torch.device) -> Tensor:
    """(new,) int64: the pixel of `size` that each of `new` shows when enlarged."""
    if resampling == Image.Resampling.BOX:
        return _weights(size, new, device).argmax(1)
    scale = size / new
    places = np.cumsum([scale / 2] + [scale] * (new - 1)).astype(np.int64)  # step by step, as Pillow
    return torch.from_numpy(places).to(device)
