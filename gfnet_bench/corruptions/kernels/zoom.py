"""Zoom blur in one kernel: a thread has a pixel, and goes through all enlargements that are added up there."""

# mypy: disable-error-code="no-untyped-def"
# (the compiler of the kernels reads annotations in its own way)

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from gfnet_bench.corruptions.zoom_blur import places, zoomed

PIXELS = 512  # of a program


def zoom(images: Tensor, factors: tuple[float, ...], centred: bool) -> Tensor:
    """`zoom_blur.zoomed` in one launch, on a CUDA device."""
    images = images.contiguous()
    h, w = images.shape[2:]
    out = torch.empty_like(images)
    down, across = (_lines(size, factors, centred, images.device) for size in (h, w))
    # Products and sums round one by one where it is not said, as on a CPU.
    options = {"PIXELS": PIXELS, "num_warps": 4, "enable_fp_fusion": False}
    zoom_kernel[triton.cdiv(out.numel(), PIXELS),](
        images, out, *down, *across, out.numel(), h, w, len(factors), **options
    )
    return out


def agrees(device: torch.device) -> bool:
    """Whether noise, light and dark areas come out as a CPU has them."""
    noise = torch.randint(0, 256, (2, 3, 36, 47), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = torch.cat([noise, noise[:, :, :1, :1].expand_as(noise)])
    cases = (((1.0, 1.01, 1.2), True), ((1.0, 1.03, 1.3), False))
    return all(torch.equal(zoom(images.to(device), *case).cpu(), zoomed(images, *case)) for case in cases)


@lru_cache(maxsize=64)
def _lines(size: int, factors: tuple[float, ...], centred: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each factor and row (factors, size): the two rows it lies between, -1 where it is black, and how far."""
    found = [places(size, factor, centred) for factor in factors]
    rows = np.stack([np.stack([line.above, line.below], -1) for line in found]).astype(np.int32)
    rows[[line.outside for line in found], -1] = -1
    weights = np.stack([line.weights for line in found]).astype(np.float32)
    return torch.from_numpy(rows).to(device), torch.from_numpy(weights).to(device)


@triton.jit
def _level(images, place, inside):
    return tl.div_rn(tl.load(images + place, mask=inside, other=0).to(tl.float32), 255.0)


@triton.jit
def _between(a, b, weight):
    """`torch.lerp`, whose product and sum are rounded as one."""
    return tl.where(weight < 0.5, tl.fma(weight, b - a, a), tl.fma(weight - 1.0, b - a, b))


@triton.jit(do_not_specialize=("count", "h", "w", "factors"))
def zoom_kernel(images, out, down, down_weights, across, across_weights, count, h, w, factors, PIXELS: constexpr):
    """The mean of images (b, c, h, w) uint8 and their enlargements."""
    place = tl.program_id(0).to(tl.int64) * PIXELS + tl.arange(0, PIXELS)
    inside = place < count
    x, y = (place % w).to(tl.int32), (place // w % h).to(tl.int32)
    start = place - y * w - x
    total = tl.zeros((PIXELS,), tl.float32)
    for factor in range(factors):
        row, column = factor * h + y, factor * w + x
        above, below = tl.load(down + 2 * row), tl.load(down + 2 * row + 1)
        left, right = tl.load(across + 2 * column), tl.load(across + 2 * column + 1)
        lit = inside & (above >= 0) & (left >= 0)
        beside = tl.load(across_weights + column)
        high = _between(
            _level(images, start + above * w + left, lit), _level(images, start + above * w + right, lit), beside
        )
        low = _between(
            _level(images, start + below * w + left, lit), _level(images, start + below * w + right, lit), beside
        )
        total += _between(high, low, tl.load(down_weights + row))
    mean = tl.div_rn(total + _level(images, place, inside), (factors + 1).to(tl.float32))
    level = (tl.minimum(tl.maximum(mean, 0.0), 1.0) * 255.0).to(tl.int32)
    tl.store(out + place, level.to(tl.uint8), mask=inside)
