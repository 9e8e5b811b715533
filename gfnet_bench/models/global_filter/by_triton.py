"""The way `triton`: which kernels take a grid, and whether they can be trusted on a device."""

from __future__ import annotations

from functools import lru_cache, partial

import torch
from torch import Tensor

from gfnet_bench.errors import UsageError
from gfnet_bench.models.global_filter import by_torch, lines, unrolled
from gfnet_bench.models.global_filter.language import INTERPRETED
from gfnet_bench.trusted import trusted


def fits(h: int, w: int) -> bool:
    """Whether there are kernels for a grid."""
    return lines.fits(h, w)


def global_filter(x: Tensor, weight: Tensor) -> Tensor:
    """(b, h, w, c) contiguous float32 to the same; weight (h, w // 2 + 1, c, 2).

    Raises:
        UsageError: if there is no kernel for such a tensor.
    """
    h, w = x.shape[1:3]
    if x.dtype != torch.float32 or not (x.is_cuda or INTERPRETED):
        raise UsageError(
            f"way triton: expected float32 on a CUDA device, found {x.dtype} on {x.device}; take way auto."
        )
    if not fits(h, w):
        raise UsageError(
            f"way triton: expected sides to {lines.TOKENS}, or even ones to {2 * lines.MOST} whose prime factors are "
            f"{lines.PRIMES[-1]} at most, found {h} x {w}; take way auto."
        )
    return (unrolled if max(h, w) <= unrolled.SIDES else lines).global_filter(x, weight)


def weight_gradient(x: Tensor, grad: Tensor) -> Tensor:
    """Gradient for the weight, (h, w // 2 + 1, c, 2), from input and output gradient, (b, h, w, c) float32."""
    return lines.weight_gradient(x, grad)


@lru_cache(maxsize=64)
def works(h: int, w: int, c: int, device: torch.device) -> bool:
    """Whether the kernels build on this device and give the result of torch.fft; asked once a grid and width.

    The width is the one that is used: every width has machine code of its own, and nothing compiles twice.
    """
    if not fits(h, w) or (device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0)):
        return False  # Triton knows no older ones
    with torch.inference_mode(False), torch.enable_grad():
        generator = torch.Generator(device).manual_seed(0)
        draw = partial(torch.randn, device=device, dtype=torch.float32, generator=generator)
        x, grad = draw(2, 4, h, w, c)  # of small grids, two parts of a sum over images
        weight = draw(h, w // 2 + 1, c, 2)
        exact = x.double().requires_grad_(), weight.double().requires_grad_()
        expected = by_torch.with_torch_fft(*exact)
        expected_gradients = torch.autograd.grad(expected, exact, grad.double())

    def agrees() -> bool:
        backwards = weight * torch.tensor([1.0, -1.0], device=device)
        found = global_filter(x, weight), global_filter(grad, backwards), weight_gradient(x, grad)
        pairs = zip(found, (expected.detach(), *expected_gradients), strict=True)
        return all(bool((y - truth).abs().max() <= 1e-5 * truth.abs().max()) for y, truth in pairs)

    return trusted(f"global filter: the kernel for {h} x {w} of width {c}", agrees, device, "torch.fft")
