"""Edges grown along weak ones in one kernel, where tensors ask the device after every step whether one was the last."""

# mypy: disable-error-code="no-untyped-def"
# (the compiler of the kernels reads annotations in its own way)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from gfnet_bench.corruptions.spatter import grown

PIXELS = 1024  # of a step


def grow(edges: Tensor, thin: Tensor) -> Tensor:
    """`spatter.grown` in one launch, on a CUDA device."""
    b, h, w = edges.shape
    out = edges.to(torch.uint8)
    grow_kernel[b,](out, thin.contiguous().view(torch.uint8), h, w, PIXELS=PIXELS, num_warps=8, enable_fp_fusion=True)
    return out.view(torch.bool)


def agrees(device: torch.device) -> bool:
    """Whether mazes of weak edges are followed to their ends as `grown` does it."""
    generator = torch.Generator(device).manual_seed(0)
    thin = torch.rand(2, 29, 37, device=device, generator=generator) < 0.42
    edges = thin & (torch.rand(2, 29, 37, device=device, generator=generator) < 0.02)
    return torch.equal(grow(edges, thin), grown(edges, thin))


@triton.jit(do_not_specialize=("h", "w"))
def grow_kernel(edges, thin, h, w, PIXELS: constexpr):
    """A program takes an image, and goes over it until nothing changes.

    Pixels only ever become edges, by a neighbour that is one: whatever a step sees of what others write at that time,
    the end is the same.
    """
    start = tl.program_id(0).to(tl.int64) * h * w
    changed = 1
    while changed > 0:
        changed = 0
        for first in range(0, h * w, PIXELS):
            place = first + tl.arange(0, PIXELS)
            inside = place < h * w
            y, x = place // w, place % w
            weak = tl.load(thin + start + place, mask=inside, other=0)
            before = tl.load(edges + start + place, mask=inside, other=1)
            beside = before
            for down in tl.static_range(-1, 2):
                for right in tl.static_range(-1, 2):
                    there = inside & (y + down >= 0) & (y + down < h) & (x + right >= 0) & (x + right < w)
                    beside |= tl.load(edges + start + place + down * w + right, mask=there, other=0)
            new = inside & (before == 0) & (weak & beside > 0)
            tl.store(edges + start + place, tl.full((PIXELS,), 1, tl.uint8), mask=new)
            changed += tl.sum(new.to(tl.int32))
        tl.debug_barrier()  # the next round sees what all threads wrote
