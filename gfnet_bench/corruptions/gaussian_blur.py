"""Gaussian blur, and the separable Gaussian that other corruptions are built on.

The reference scripts truncate what scipy's filter returns, and on a flat area of grey v scipy returns v plus or minus
the last bit of a float64: the byte is v or v - 1, by the order of its sums. Here a blur is a few matrix products,
whose last bits are nobody's promise. So each grey level is first shifted by next to nothing, to the side on which the
reference ends; that decides flat areas, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gfnet_bench.corruptions.base import Draws, corruption, divided
from gfnet_bench.corruptions.kernels import kernel

SHIFT = 1e-12  # grey levels: above the rounding of a blur (1e-13), below the least weight a pixel has in one (1e-11)
BAND = 48  # pixels of one matrix product: fewer skip more of the zeros, more run faster


def gaussian(planes: Tensor, sigma: float | tuple[float, float], mode: str = "nearest", truncate: float = 4) -> Tensor:
    """Each plane blurred, as `skimage.filters.gaussian` does it up to rounding.

    Args:
        planes: (b, c, h, w) float.
        sigma: standard deviation in pixels, one for both axes or (along h, along w); 0 leaves an axis alone.
        mode: what lies beyond the border: `nearest` repeats the last pixel, `reflect` mirrors (d c b a | a b c d).
        truncate: where the kernel ends, in standard deviations.

    Returns:
        (b, c, h, w) float64.
    """
    b, c, h, w = planes.shape
    down, across = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    # Products per image, so that one image's sums do not depend on how many there are.
    lines = planes.to(torch.float64).reshape(b, c * h, w)
    blurred = torch.empty_like(lines)
    for band, seen, weights in _bands(w, across, mode, truncate, planes.device):
        torch.bmm(lines[:, :, seen], weights.expand(b, -1, -1), out=blurred[:, :, band])
    columns = blurred.view(b * c, h, w)
    blurred = torch.empty_like(columns)
    for band, seen, weights in _bands(h, down, mode, truncate, planes.device):
        torch.bmm(weights.mT.expand(b * c, -1, -1), columns[:, seen], out=blurred[:, band])
    return blurred.view(b, c, h, w)


@lru_cache(maxsize=64)
def _bands(
    size: int, sigma: float, mode: str, truncate: float, device: torch.device
) -> list[tuple[slice, slice, Tensor]]:
    """The blur of a line in pieces: pixels of the result, the pixels they are made of, and the weights of these."""
    matrix = _matrix(size, sigma, mode, truncate)
    bands = []
    for start in range(0, size, BAND):
        band = slice(start, min(start + BAND, size))
        used = np.flatnonzero(matrix[:, band].any(1))
        seen = slice(int(used[0]), int(used[-1]) + 1)
        bands.append((band, seen, torch.from_numpy(matrix[seen, band].copy()).to(device)))
    return bands


def _matrix(size: int, sigma: float, mode: str, truncate: float) -> NDArray[np.float64]:
    """(size, size) float64: column i has the weights of the pixels that pixel i is made of."""
    half = _half_kernel(sigma, truncate)
    kernel = np.concatenate([half[:0:-1], half])
    matrix = np.zeros((size, size))
    for i in range(size):
        pixels = np.arange(i - len(half) + 1, i + len(half))
        if mode == "nearest":
            pixels = pixels.clip(0, size - 1)
        else:
            pixels %= 2 * size
            pixels = np.minimum(pixels, 2 * size - 1 - pixels)
        np.add.at(matrix[:, i], pixels, kernel)
    return matrix


def _half_kernel(sigma: float, truncate: float) -> NDArray[np.float64]:
    """Weights at distance 0, 1, 2 ... of a kernel of sum 1."""
    radius = int(truncate * sigma + 0.5)
    distances = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 / (sigma * sigma) * distances**2) if sigma else np.ones(1)
    return (weights / weights.sum())[radius:]


def gaussian_as_scipy_sums(images: Tensor, sigma: float) -> Tensor:
    """`gaussian` to the last bit, as scipy does it on a float64; slower than the products for a wide kernel.

    Args:
        images: (b, h, w, c) float64.
        sigma: standard deviation in pixels.

    Returns:
        (b, h, w, c) float64.
    """
    half = _half_kernel(sigma, 4).tolist()
    made = kernel("blur", images.device)
    return (made.sums if made else summed)(images, half)


def summed(images: Tensor, half: Sequence[float]) -> Tensor:
    """Images (b, h, w, c) float64 blurred along h and w by a kernel of weights at distance 0, 1, 2 ..."""
    radius = len(half) - 1
    for axis in (1, 2):
        size = images.shape[axis]
        pixels = torch.arange(-radius, size + radius, device=images.device).clamp_(0, size - 1)
        padded = images.index_select(axis, pixels)
        images = padded.narrow(axis, radius, size) * half[0]
        # The middle, then pairs from the outermost in; a fused multiplication and addition would round once too little.
        for k in range(radius, 0, -1):
            pairs = padded.narrow(axis, radius - k, size) + padded.narrow(axis, radius + k, size)
            images += pairs.mul_(half[k])
    return images


@lru_cache(maxsize=64)
def _shifted_levels(sigma: float, device: torch.device) -> Tensor:
    """(256,) float64: the grey levels, each shifted to the side on which the reference ends on a flat area."""
    levels = torch.arange(256, dtype=torch.float64)
    flat = gaussian_as_scipy_sums(divided(levels.clone(), 255).view(-1, 1, 1, 1), sigma).view(-1)
    ends_below = (flat * 255).clamp_(max=255).floor() < levels
    return (levels + SHIFT - 2 * SHIFT * ends_below).to(device)


@corruption(
    "gaussian_blur",
    imagenet_c=(1, 2, 3, 4, 6),
    imagecorruptions=(1, 2, 3, 4, 6),
    cifar_c=(0.4, 0.6, 0.7, 0.8, 1),
    tiny_imagenet_c=(0.5, 0.75, 1, 1.25, 1.5),
)
def gaussian_blur(images: Tensor, sigma: float, draws: Draws) -> Tensor:
    """Blurred by a Gaussian of `sigma` pixels, the border pixels repeated beyond the border."""
    table = _shifted_levels(sigma, images.device)
    levels = table.index_select(0, images.reshape(-1).int()).view(images.shape)
    return gaussian(levels, sigma).to(torch.int16).to(torch.uint8)  # straight to uint8 is slower
