"""The global filter, y = irfft2(rfft2(x) * weight): one operation, several ways to compute it.

| way | what it does | where `auto` takes it |
| --- | --- | --- |
| `reference` | torch.fft on channel-last maps, as the authors do | devices other than CPU and CUDA |
| `fft` | torch.fft on channel-first blocks that fit the cache, its scale folded into the weight | other grids |
| `dense` | the transforms as products with real matrices | CPU, sides to 48 |
| `triton` | our kernels, see below | CUDA, where they take the grid |

On CUDA one kernel that touches memory twice takes sides to 16 (`unrolled`): on an H200 it had 10 times the speed of
torch.fft and took twice as long as a copy. Beyond, three kernels touch it six times (`lines`): all sides to 64, even
ones to 182 and odd ones to 91 without large prime factors, so all of the paper's Figure 2. They had 6.3 times the speed
of torch.fft at 28 and 5.1 times at 56, in the time of 3 and 4 copies (`experiments/filter_speed.py`). Other grids,
Triton before 3.6 and GPUs before sm_80 take `fft`. The choice depends on grid and device only, never on batch size or
threads. On a CPU the result of an image was found to be the same to the bit in every batch; another number of threads
may alter a last digit. All ways agree with float64 to 1e-6 of the maximum; `dense` follows torch's float32 matmul
precision where a user lowers that.

The kernels were checked in Triton's interpreter and on an H200. Where `auto` first takes them for a grid and width, it
compares them with torch.fft in float64, gradients too, and warns and takes `fft` if that fails. The LayerNorm before
the filter stays apart: to fold it into the load, a pass over all channels of a token would still have to find mean and
deviation, which saves one of the 27 times that a block of GFNet touches its tokens (filter 2, two norms 4, MLP
5 + 8 + 5, residual 3).

The environment variable `GFNET_BENCH_FILTER`, or `filter_way`, sets one way for the whole process and those it starts.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from gfnet_bench.errors import MissingError, UsageError
from gfnet_bench.models.global_filter import by_torch
from gfnet_bench.models.global_filter.by_torch import with_torch_fft

WAYS = ("auto", "reference", "fft", "dense", "triton")
# Measured with experiments/filter_speed.py: products win while matrices are small, whatever the factors of the side.
DENSE_SIDES = 48

_VARIABLE = "GFNET_BENCH_FILTER"
_setting = os.environ.get(_VARIABLE, "auto")


@contextmanager
def filter_way(way: str) -> Iterator[None]:
    """Compute every global filter in one way; one of `WAYS`, for all threads of the process and those it starts."""
    global _setting
    before = _setting
    _setting = os.environ[_VARIABLE] = way
    try:
        yield
    finally:
        _setting = os.environ[_VARIABLE] = before


def current_way() -> str:
    """The way that is set for the process; `auto` unless somebody chose another."""
    return _setting


def way_taken(grid: tuple[int, int], channels: int, device: torch.device) -> str:
    """The way in which float32 maps of a (h, w) grid are filtered on `device`, under that setting; never `auto`."""
    if _is_reference(_setting, device):
        return "reference"
    return _resolved(_setting, torch.empty(1, *grid, channels, device=device))


def global_filter(x: Tensor, weight: Tensor, way: str | None = None) -> Tensor:
    """Multiply the 2-D spectrum of every channel by complex weights.

    Args:
        x: (b, h, w, c) or (b, h * w, c) float. Computed in float32, or float64 for float64 input.
        weight: (h, w // 2 + 1, c, 2), real and imaginary parts over the half spectrum, orthonormal convention.
        way: one of `WAYS`; None for the one that is set for the process.

    Returns:
        Shape and dtype of x. Derivatives of every order exist in every way.

    Raises:
        UsageError: if there is no such way, or not on this device.
        ValueError: if x and weight do not belong together.
        MissingError: if `triton` was asked for and is not installed.
    """
    way = _setting if way is None else way
    if way not in WAYS:
        raise UsageError(f"global filter: expected one of {', '.join(WAYS)}, found {way!r}.")
    if _leaves_the_house():
        return with_torch_fft(x.float(), weight.float()).to(x.dtype)
    h, half, c, parts = weight.shape if weight.ndim == 4 else (0, 0, 0, 0)
    n = math.prod(x.shape[1:-1])
    w = n // h if h else 0
    fits = x.shape[-1] == c and h * w == n and w // 2 + 1 == half and parts == 2
    if not (fits and x.is_floating_point() and (x.ndim == 3 or (x.ndim == 4 and x.shape[1] == h))):
        raise ValueError(
            f"{x.dtype} tokens of shape {tuple(x.shape)} do not fit a filter of shape {tuple(weight.shape)}: "
            "expected floats (b, h, w, c) or (b, h * w, c), and a filter (h, w // 2 + 1, c, 2)"
        )
    if not len(x):  # which MKL of some versions refuses
        return x.clone()
    dtype = torch.promote_types(x.dtype, torch.float32)
    maps, weight = x.to(dtype).reshape(x.shape[0], h, w, c), weight.to(dtype).contiguous()
    if _is_reference(way, x.device):
        y = with_torch_fft(maps, weight)
    else:
        y = _GlobalFilter.apply(maps, weight, way)
    return y.reshape(x.shape).to(x.dtype)


def _leaves_the_house() -> bool:
    """Whether what is computed now is written down for other programs, or seen by transforms of torch.func.

    Neither knows our operators: traces, exported programs and ONNX files are to run without this package, and
    vmap, jvp and their like have rules for torch's own operations.
    """
    return (
        torch.jit.is_tracing()
        or torch.compiler.is_exporting()
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
    )


def _is_reference(way: str, device: torch.device) -> bool:
    return way == "reference" or (way == "auto" and device.type not in ("cpu", "cuda"))


class _GlobalFilter(torch.autograd.Function):
    """Linear in x and in weight: backward is the filter with conjugate weights, and a product of two spectra."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, way: str) -> Tensor:
        ctx.way = way
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight if ctx.needs_input_grad[0] else None)
        return torch.ops.gfnet_bench.global_filter(x, weight, way)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        (grad,) = grads
        grad_x = None if weight is None else _GlobalFilter.apply(grad, _conjugate(weight), ctx.way)
        grad_weight = None if x is None else _WeightGradient.apply(x, grad, ctx.way)
        return grad_x, grad_weight, None


class _WeightGradient(torch.autograd.Function):
    """Linear in both again, with <v, gradient(x, grad)> = <filter(x, v), grad>: its own backward is two filters."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grad: Tensor, way: str) -> Tensor:
        ctx.way = way
        ctx.save_for_backward(x, grad)
        return torch.ops.gfnet_bench.global_filter_weight_gradient(x, grad, way)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        x, grad = ctx.saved_tensors
        (v,) = grads
        return _GlobalFilter.apply(grad, _conjugate(v), ctx.way), _GlobalFilter.apply(x, v, ctx.way), None


def _conjugate(weight: Tensor) -> Tensor:
    real, imag = weight.unbind(-1)
    return torch.stack((real, -imag), -1)


# Operators of their own are opaque to torch.compile, which would unroll the loop over images and cannot fuse FFTs.
_LIBRARY = torch.library.Library("gfnet_bench", "DEF")
_LIBRARY.define("global_filter(Tensor x, Tensor weight, str way) -> Tensor")
_LIBRARY.define("global_filter_weight_gradient(Tensor x, Tensor grad, str way) -> Tensor")
_LIBRARY.impl(
    "global_filter", lambda x, weight, way: torch.empty_like(x, memory_format=torch.contiguous_format), "Meta"
)
_LIBRARY.impl(
    "global_filter_weight_gradient",
    lambda x, grad, way: x.new_empty(x.shape[1], x.shape[2] // 2 + 1, x.shape[3], 2),
    "Meta",
)


@torch.library.impl(_LIBRARY, "global_filter", "CompositeExplicitAutograd")
def _filter(x: Tensor, weight: Tensor, way: str) -> Tensor:
    x, weight, way = x.contiguous(), weight.contiguous(), _resolved(way, x)
    if weight.storage_offset() % 2:  # where no complex numbers can lie
        weight = weight.clone()
    with torch.autocast(x.device.type, enabled=False):
        if way == "triton":
            return kernels().global_filter(x, weight)
        return (by_torch.dense if way == "dense" else by_torch.fft)(x, weight)


@torch.library.impl(_LIBRARY, "global_filter_weight_gradient", "CompositeExplicitAutograd")
def _weight_gradient(x: Tensor, grad: Tensor, way: str) -> Tensor:
    x, grad, way = x.contiguous(), grad.contiguous(), _resolved(way, x)
    if way == "triton":
        return kernels().weight_gradient(x, grad)
    return by_torch.weight_gradient(x, grad)


def _resolved(way: str, x: Tensor) -> str:
    """The way to take; asked inside the operators, so that torch.compile sees one call."""
    h, w, c = x.shape[1:]
    if way != "auto":
        return way
    if not x.is_cuda:
        return "dense" if max(h, w) <= DENSE_SIDES else "fft"
    try:
        trusted = x.dtype == torch.float32 and kernels().works(h, w, c, x.device)
    except MissingError:
        trusted = False
    return "triton" if trusted else "fft"


def kernels() -> ModuleType:
    """`by_triton`, the module of our kernels.

    Raises:
        MissingError: if Triton is not here, or too old.
    """
    kernels, error = _import()
    if kernels is None:
        raise MissingError(f"way triton: {error}; install Triton 3.6 or later, or take way auto.")
    return kernels


@lru_cache(maxsize=1)
def _import() -> tuple[ModuleType | None, str]:
    """Our kernels, or why there are none: Triton exists for Linux and Windows only, and takes a second to import."""
    try:
        from gfnet_bench.models.global_filter import by_triton
    except ImportError as error:
        return None, str(error)
    return by_triton, ""
