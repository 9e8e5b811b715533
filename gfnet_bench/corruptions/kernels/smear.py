"""Pixels smeared along a line in one kernel, where tensors take five passes for every pixel of the line."""

# mypy: disable-error-code="no-untyped-def"
# (the compiler of the kernels reads annotations in its own way)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from gfnet_bench.corruptions.motion_blur import smeared

PIXELS = 1024  # of a program


def smear(values: Tensor, down: Tensor, right: Tensor, weights: Tensor, start: Tensor) -> Tensor:
    """`motion_blur.smeared` in one launch, on a CUDA device."""
    b, c, h, w = values.shape
    grid = (triton.cdiv(c * h * w, PIXELS), b)
    line = [numbers.contiguous() for numbers in (down, right, weights)]
    options = {"PIXELS": PIXELS, "num_warps": 4, "enable_fp_fusion": True}
    smear_kernel[grid](values.contiguous(), *line, start, c, h, w, down.shape[1], **options)
    return start


def agrees(device: torch.device, values: torch.dtype, sums: torch.dtype) -> bool:
    """Whether noise goes where `smeared` has it, beyond all four borders too."""
    generator = torch.Generator(device).manual_seed(0)
    images = torch.randint(0, 256, (3, 3, 33, 47), device=device, generator=generator).to(values)
    down, right, weights = torch.randint(-40, 41, (3, 3, 9), device=device, generator=generator)
    start = torch.full_like(images, 5, dtype=sums)
    found, expected = (way(images, down, right, weights, start.clone()) for way in (smear, smeared))
    return torch.equal(found, expected)


@triton.jit(do_not_specialize=("c", "h", "w", "steps"))
def smear_kernel(values, down, right, weights, total, c, h, w, steps, PIXELS: constexpr):
    """Adds to images (b, c, h, w) what lies along the lines (b, steps) from each pixel, times its weight."""
    place = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = place < c * h * w
    image = tl.program_id(1)
    start = image.to(tl.int64) * c * h * w
    plane, y, x = place // (h * w), place // w % h, place % w
    so_far = tl.load(total + start + place, mask=inside, other=0)
    for step in range(steps):
        row = tl.minimum(tl.maximum(y + tl.load(down + image * steps + step).to(tl.int32), 0), h - 1)
        column = tl.minimum(tl.maximum(x + tl.load(right + image * steps + step).to(tl.int32), 0), w - 1)
        pixel = tl.load(values + start + (plane * h + row) * w + column, mask=inside, other=0)
        so_far += pixel.to(so_far.dtype) * tl.load(weights + image * steps + step).to(so_far.dtype)
    tl.store(total + start + place, so_far, mask=inside)
