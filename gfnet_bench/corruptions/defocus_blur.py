"""Defocus blur: every point of light becomes a disk."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gfnet_bench.corruptions.base import Draws, corruption


def disk(radius: float, alias: float) -> NDArray[np.float32]:
    """The kernel of the reference scripts: a disk of sum 1 whose edge is softened by a small Gaussian.

    Args:
        radius: of the disk, in pixels; larger ones than 8 are whole numbers.
        alias: standard deviation of the Gaussian, cut to 3 x 3 pixels, or 5 x 5 for a radius above 8.

    Returns:
        (k, k) float32, k = 17 or 2 * radius + 1. In float32 the sum is not quite 1, and the bytes of flat areas, which
        are truncated, show on which side of 1 it is; hence OpenCV's types and order of sums here.
    """
    reach, taps = (8, 1) if radius <= 8 else (int(radius), 2)
    places = np.arange(-reach, reach + 1)
    kernel = (places**2 + places[:, None] ** 2 <= radius**2).astype(np.float32)
    kernel /= kernel.sum()
    weights = np.exp(-0.5 / alias**2 * np.arange(-taps, taps + 1) ** 2)
    half = (weights / weights.sum()).astype(np.float32)[taps:]
    for _ in range(2):  # rows, then columns
        padded = np.pad(kernel, [(0, 0), (taps, taps)], mode="reflect")
        width = kernel.shape[1]
        kernel = padded[:, taps : taps + width] * half[0]
        for k in range(1, taps + 1):
            kernel = kernel + (padded[:, taps - k :][:, :width] + padded[:, taps + k :][:, :width]) * half[k]
        kernel = kernel.T
    return kernel


def _fast_size(size: int) -> int:
    """The next size that has no prime factor above 5, for which Fourier transforms are fast."""
    while math.gcd(size, 30**20) != size:
        size += 1
    return size


@lru_cache(maxsize=32)
def _spectrum(radius: float, alias: float, size: tuple[int, int], device: torch.device) -> Tensor:
    kernel = torch.from_numpy(disk(radius, alias)).to(device, torch.float64)
    return torch.fft.rfft2(kernel, s=size).conj().resolve_conj()  # conjugate: a correlation, not a convolution


@corruption(
    "defocus_blur",
    imagenet_c=((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    imagecorruptions=((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    cifar_c=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    tiny_imagenet_c=((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
)
def defocus_blur(images: Tensor, constants: tuple[float, float], draws: Draws) -> Tensor:
    """Correlated with `disk(radius, alias)`; beyond the border the image is mirrored about its last pixel."""
    radius, alias = constants
    h, w = images.shape[2:]
    reach = max(8, int(radius))
    levels = F.pad(images.to(torch.float64, memory_format=torch.contiguous_format), [reach] * 4, mode="reflect")
    size = _fast_size(h + 2 * reach), _fast_size(w + 2 * reach)
    spectra = torch.fft.rfft2(levels, s=size).mul_(_spectrum(radius, alias, size, images.device))
    blurred = torch.fft.irfft(torch.fft.ifft(spectra, dim=2), size[1])  # faster than irfft2
    return blurred[:, :, :h, :w].to(torch.int16).clamp_(0, 255).to(torch.uint8)
