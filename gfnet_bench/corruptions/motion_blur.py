"""Motion blur: the image smeared along a line, in a random direction.

A smeared pixel is a weighted sum of the pixels at whole-number steps along the line. The sums are whole numbers here:
weights count 2**-23, so that 8-bit pixels fill 31 bits, and one image gives the same bytes on every device. Where the
image is flat the sum is exact, and what the reference does there by its rounding is done on purpose.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gfnet_bench.corruptions.base import Draws, corruption
from gfnet_bench.corruptions.kernels import kernel

UNIT = 23  # weights are multiples of 2**-23
HALF_STEP = (1 << UNIT) // (2 * 257)  # half of a 16-bit level, in units of 8-bit levels

_LARGE = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))


class Line(NamedTuple):
    """What a smeared pixel is made of, for each image; all int64.

    Attributes:
        down: (b, n) rows to go down, n pixels each.
        right: (b, n) columns to go right.
        weights: (n,) of sum 2**23.
    """

    down: Tensor
    right: Tensor
    weights: Tensor


@corruption(
    "motion_blur",
    imagenet_c=_LARGE,
    cifar_c=((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    tiny_imagenet_c=((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
)
def motion_blur(images: Tensor, constant: tuple[float, float], draws: Draws) -> Tensor:
    """Smeared as ImageMagick does it, in a direction within 45 degrees of horizontal.

    The constant is the radius and the standard deviation of the kernel, in pixels.
    """
    return magick_blur(images, *constant, draws.uniform(-45, 45, ()))


@corruption("motion_blur", imagecorruptions=_LARGE)
def cut_motion_blur(images: Tensor, constant: tuple[int, float], draws: Draws) -> Tensor:
    """`motion_blur` as imagecorruptions does it: pixels as far away as the image is wide or high are left out."""
    line = line_of(*constant, draws.uniform(-45, 45, ()))
    images = images.contiguous()
    start = _flat_shift(*constant, images.device).index_select(0, images.reshape(-1).int()).view(images.shape)
    return (smear(images, line, start, cut=True) >> UNIT).to(torch.uint8)


def magick_blur(images: Tensor, radius: float, sigma: float, angles: Tensor) -> Tensor:
    """ImageMagick's motion blur of a PNG file, as the published scripts call it.

    ImageMagick computes in 16 bits, in which 8-bit level v is 257 v, rounds, and writes 8-bit PNG by rounding down.

    Args:
        images: (b, c, h, w) uint8.
        radius: of the kernel in pixels, which reaches twice as far, to one side.
        sigma: its standard deviation in pixels.
        angles: (b,) degrees from the direction to the right, clockwise.

    Returns:
        (b, c, h, w) uint8.
    """
    images = images.contiguous()
    start = torch.full_like(images, HALF_STEP, dtype=torch.int32)
    return (smear(images, line_of(radius, sigma, angles), start) >> UNIT).to(torch.uint8)


def line_of(radius: float, sigma: float, angles: Tensor) -> Line:
    """The line of ImageMagick's kernel of this radius and standard deviation, at angles (b,) in degrees."""
    steps, weights = _kernel_steps(radius, sigma, angles.device)
    # A pixel is the same one on every device: of the 2**24 angles that are drawn none but -60 and -120 leads nearer
    # than 3e-10 to the middle between two pixels, and sines of double precision differ by 1e-16. (There a device
    # whose cosine is off by more than its last bit may take the next pixel.)
    radians = torch.deg2rad(angles.to(torch.float64))[:, None]
    down, right = ((steps * part(radians) - 0.5).ceil_().to(torch.int64) for part in (torch.sin, torch.cos))
    return Line(down, right, weights)


def smear(values: Tensor, line: Line, start: Tensor, *, cut: bool = False) -> Tensor:
    """The sum of the pixels along a line from each pixel; what lies beyond the border is the border's pixel.

    Args:
        values: (b, c, h, w) integers; times 2**23 they must fit into the type of `start`.
        line: where the pixels lie.
        start: (b, c, h, w) integers to begin with; used up.
        cut: leave out pixels h or more rows or w or more columns away.

    Returns:
        (b, c, h, w), type of `start`, in units of 2**-23.
    """
    b, _, h, w = values.shape
    weights = line.weights.expand_as(line.down)
    if cut:
        weights = weights * ((line.down.abs() < h) & (line.right.abs() < w))
    if made := kernel("smear", values.device, values.dtype, start.dtype):
        return made.smear(values, line.down, line.right, weights, start)
    one = b == 1 and values.device.type == "cpu"
    return (smeared_together if one else smeared)(values, line.down, line.right, weights, start)


def smeared(values: Tensor, down: Tensor, right: Tensor, weights: Tensor, start: Tensor) -> Tensor:
    """Images (b, c, h, w) that each go their own way: down, right and weights are (b, n)."""
    _, c, h, w = values.shape
    pixels, total = values.to(start.dtype).flatten(2), start.flatten(2)
    rows, columns = (torch.arange(size, device=values.device) for size in (h, w))
    for y, x, weight in zip(down.T, right.T, weights.to(start.dtype).T, strict=True):
        row, column = (rows + y[:, None]).clamp_(0, h - 1), (columns + x[:, None]).clamp_(0, w - 1)
        places = (row.mul_(w)[:, None, :, None] + column[:, None, None]).flatten(2)
        total.addcmul_(pixels.gather(2, places.expand(-1, c, -1)), weight[:, None, None])
    return start


def smeared_together(values: Tensor, down: Tensor, right: Tensor, weights: Tensor, start: Tensor) -> Tensor:
    """`smeared` of one image on a CPU: its pixels move together, as slices of the image with a wider border."""
    h, w = values.shape[2:]
    steps = list(zip(*(numbers[0].tolist() for numbers in (down, right, weights)), strict=True))
    top, left = (max(0, -int(numbers.min())) for numbers in (down, right))
    below, beyond = (max(0, int(numbers.max())) for numbers in (down, right))
    padded = _padded(values, start.dtype, (top, below, left, beyond))
    for y, x, weight in steps:
        start.add_(padded[:, :, top + y : top + y + h, left + x : left + x + w], alpha=weight)
    return start


def _padded(values: Tensor, dtype: torch.dtype, margins: tuple[int, int, int, int]) -> Tensor:
    """Values (b, c, h, w) with the border repeated so many rows above and below, columns to the left and right."""
    top, bottom, left, right = margins
    b, c, h, w = values.shape
    padded = values.new_empty((b, c, top + h + bottom, left + w + right), dtype=dtype)
    rows = padded[:, :, top : top + h]
    rows[..., left : left + w] = values
    rows[..., :left], rows[..., left + w :] = rows[..., left, None], rows[..., left + w - 1, None]
    padded[:, :, :top], padded[:, :, top + h :] = rows[:, :, :1], rows[:, :, -1:]
    return padded


@lru_cache(maxsize=64)
def _kernel_steps(radius: float, sigma: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """(n,) float64 pixels to go, and (n,) int64 what they weigh, of sum 2**23."""
    count = 2 * math.ceil(radius) + 1
    # None is 0: a pixel too far away to show still tells that the image is not flat.
    weights = np.rint(_kernel(count, sigma) * (1 << UNIT)).astype(np.int64).clip(1)
    weights[0] += (1 << UNIT) - weights.sum()
    return torch.arange(count, dtype=torch.float64).to(device), torch.from_numpy(weights).to(device)


def _kernel(count: int, sigma: float) -> NDArray[np.float64]:
    """(count,) one side of a Gaussian, of sum 1."""
    weights = np.exp(-(np.arange(count) ** 2) / (2 * sigma**2)) / (np.sqrt(2 * np.pi) * sigma)
    return weights / weights.sum()


@lru_cache(maxsize=16)
def _flat_shift(radius: int, sigma: float, device: torch.device) -> Tensor:
    """(256,) int32: -1 for the levels that come out one lower on a flat area, where the reference truncates its sum."""
    levels, total = np.arange(256), np.zeros(256)
    for weight in _kernel(2 * radius + 1, sigma):
        total = total + weight * levels
    return torch.from_numpy(np.where(total < levels, -1, 0).astype(np.int32)).to(device)
