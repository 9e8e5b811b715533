"""A Gaussian blur summed as scipy sums it, a kernel an axis, where tensors take three passes for every two pixels."""

# mypy: disable-error-code="no-untyped-def"
# (the compiler of the kernels reads annotations in its own way)

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from gfnet_bench.corruptions.base import on_device
from gfnet_bench.corruptions.gaussian_blur import summed

PIXELS = 512  # of a program


def sums(images: Tensor, half: Sequence[float]) -> Tensor:
    """`gaussian_blur.summed` in two launches, on a CUDA device."""
    _, h, w, c = images.shape
    weights = on_device(tuple(half), torch.float64, images.device)
    for size, stride in ((h, w * c), (w, c)):
        images, out = images.contiguous(), torch.empty_like(images, memory_format=torch.contiguous_format)
        # Products and sums round one by one, as on a CPU.
        options = {"PIXELS": PIXELS, "num_warps": 4, "enable_fp_fusion": False}
        grid = (triton.cdiv(out.numel(), PIXELS),)
        blur_kernel[grid](images, weights, out, out.numel(), size, stride, len(half) - 1, **options)
        images = out
    return images


def agrees(device: torch.device) -> bool:
    """Whether noise comes out as a CPU has it, with a kernel that is wider than the image too."""
    images = torch.rand(2, 9, 13, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    halves = ((0.4, 0.2, 0.1), tuple(0.5**k for k in range(1, 13)))
    return all(torch.equal(sums(images.to(device), half).cpu(), summed(images, half)) for half in halves)


@triton.jit(do_not_specialize=("count", "size", "stride", "radius"))
def blur_kernel(x, weights, out, count, size, stride, radius, PIXELS: constexpr):
    """Along an axis of `size` numbers that lie `stride` apart: the middle, then pairs from the outermost in."""
    place = tl.program_id(0).to(tl.int64) * PIXELS + tl.arange(0, PIXELS)
    inside = place < count
    step = (place // stride % size).to(tl.int32)
    total = tl.load(x + place, mask=inside, other=0.0) * tl.load(weights)
    for outer in range(radius):
        k = radius - outer
        before = place + (tl.maximum(step - k, 0) - step) * stride
        after = place + (tl.minimum(step + k, size - 1) - step) * stride
        pair = tl.load(x + before, mask=inside, other=0.0) + tl.load(x + after, mask=inside, other=0.0)
        total += pair * tl.load(weights + k)
    tl.store(out + place, total, mask=inside)
