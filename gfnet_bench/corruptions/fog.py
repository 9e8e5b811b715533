"""Fog: a random landscape of grey added to the image, which is then scaled back to its own brightness."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from gfnet_bench.corruptions.base import Draws, corruption, divided

ROUGHNESS = 100  # of the coarsest level; only its ratio to the finer ones shows, as the map is scaled to [0, 1]


@corruption(
    "fog",
    imagenet_c=((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    imagecorruptions=((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    cifar_c=((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    tiny_imagenet_c=((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
)
def fog(images: Tensor, constant: tuple[float, float], draws: Draws) -> Tensor:
    """Fog of a density over the image; its roughness falls by a factor from one scale to the next, half as wide."""
    density, decay = constant
    height, width = images.shape[2:]
    thickness = plasma(max(height, width), decay, draws)[:, None, :height, :width] * density
    brightest = divided(images.amax((1, 2, 3), keepdim=True).to(torch.float64), 255)
    # float64 and the scripts' order of operations: then every byte is theirs.
    total = divided(images.contiguous().to(torch.float64), 255)
    total.add_(thickness).mul_(brightest).div_(brightest + density)
    return total.clamp_(max=1).mul_(255).to(torch.int32).to(torch.uint8)  # twice as fast as in one step


def plasma(side: int, decay: float, draws: Draws) -> Tensor:
    """Random landscapes by the diamond-square algorithm, on a torus.

    Args:
        side: of what is needed of them, in pixels.
        decay: the roughness of a scale divided by that of the next finer one.
        draws: all numbers are taken in one call, in the order in which the scripts' loop takes them.

    Returns:
        (b, s, s) float64, least 0 and greatest 1; s is the power of 2 from `side` up.
    """
    size = 1 << (side - 1).bit_length()
    roughness = _roughness(size, decay, draws)
    land = roughness.new_zeros((len(roughness), size + 1, size + 1))
    middles = roughness.new_empty((len(roughness), size // 2 + 1, size // 2 + 1))
    if land.device.type == "cpu":
        _fill(land.numpy(), middles.numpy(), roughness.numpy())  # the same memory, less overhead
    else:
        _fill(land, middles, roughness)
    land = land[:, :-1, :-1]
    land = land - land.amin((1, 2), keepdim=True)
    return land.div_(land.amax((1, 2), keepdim=True))


def _fill(land: Any, middles: Any, roughness: Any) -> None:
    """Fill (b, s + 1, s + 1) `land`, in which the first row and column come again as the last; arrays or tensors.

    `middles` is room for the new points in the middle of squares, after a copy of their last row and column.
    """
    step, taken = land.shape[1] - 1, 0
    while step > 1:
        half, n = step // 2, (land.shape[1] - 1) // step
        rough = roughness[:, taken : taken + 3 * n * n].reshape(-1, 3, n, n)
        old, new = land[:, ::step, ::step], middles[:, : n + 1, : n + 1]
        down, across = old[:, :-1] + old[:, 1:], old[:, :-1, :-1] + old[:, :-1, 1:]
        new[:, 1:, 1:] = (down[:, :, :-1] + down[:, :, 1:]) * 0.25 + rough[:, 0]
        new[:, 0], new[:, :, 0] = new[:, -1], new[:, :, -1]
        land[:, half::step, half::step] = new[:, 1:, 1:]
        land[:, :-1:step, half::step] = (new[:, 1:, 1:] + new[:, :-1, 1:] + across) * 0.25 + rough[:, 1]
        land[:, half::step, :-1:step] = (new[:, 1:, 1:] + new[:, 1:, :-1] + down[:, :, :-1]) * 0.25 + rough[:, 2]
        land[:, -1], land[:, :, -1] = land[:, 0], land[:, :, 0]
        step, taken = half, taken + 3 * n * n


def _roughness(size: int, decay: float, draws: Draws) -> Tensor:
    """(b, size * size - 1) float64: what is added to the mean of its neighbours at each point, in order of making."""
    numbers = draws.uniform(0, 1, (size * size - 1,)).to(torch.float64)
    widths = _widths(size, decay, numbers.device)
    # As NumPy scales a uniform number, so that each is the scripts' own to the last bit.
    return numbers.mul_(widths * 2).sub_(widths).mul_(widths)


@lru_cache(maxsize=32)
def _widths(size: int, decay: float, device: torch.device) -> Tensor:
    """(size * size - 1,) float64: the roughness of the level that each point belongs to."""
    widths, width, count = [], float(ROUGHNESS), 1
    while count < size:
        widths.append(torch.full((3 * count * count,), width, dtype=torch.float64))
        width, count = width / decay, 2 * count
    return torch.cat(widths).to(device)
