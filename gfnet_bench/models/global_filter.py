"""The global filter, y = irfft2(rfft2(x) * weight): one operation, several ways to compute it.

| way | what it does | where `auto` takes it |
| --- | --- | --- |
| `reference` | torch.fft on channel-last maps, as the authors do | devices other than CPU and CUDA |
| `fft` | torch.fft on channel-first blocks that fit the cache, its scale folded into the weight | larger grids |
| `dense` | the transforms as products with real matrices | CPU, sides to 48 |
| `triton` | one fused kernel (`global_filter_triton`) that touches memory twice | CUDA, sides to 64 |
| `triton_tf32`, `triton_bf16` | the kernel with coarser products: errors near 1e-3, 1e-2 of the maximum | nowhere |

The choice depends on grid and device only, never on batch size or threads. On a CPU the result of an image was found
to be the same to the bit in every batch; another number of threads may alter a last digit. All ways but the last two
agree with float64 to 1e-6 of the maximum; `dense` follows torch's float32 matmul precision where a user lowers that.
The kernel was checked in Triton's interpreter and compiled for sm_80 and sm_90, not yet run: the first use of a grid
compares it with torch.fft, and warns and takes `fft` if that fails.

The environment variable `GFNET_BENCH_FILTER`, or `filter_way`, sets one way for the whole process and those it starts.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gfnet_bench.errors import MissingError, UsageError

WAYS = ("auto", "reference", "fft", "dense", "triton", "triton_tf32", "triton_bf16")
# Measured with experiments/filter_speed.py: products win while matrices are small, whatever the factors of the side.
DENSE_SIDES = 48
# Numbers in a block of images, for each CPU thread: few enough for its cache, enough that calls cost little.
CPU_BLOCK = 2**18
# Beyond, a tile of whole grids no longer fits the registers of a program.
TRITON_SIDES = 64
# Two transforms at once take twice the registers.
TRITON_GRADIENT_SIDES = 32

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


def way_taken(grid: tuple[int, int], device: torch.device) -> str:
    """The way in which float32 maps of a (h, w) grid are filtered on `device`, under that setting; never `auto`."""
    if _is_reference(_setting, device):
        return "reference"
    return _resolved(_setting, torch.empty(1, *grid, 1, device=device))


def global_filter(x: Tensor, weight: Tensor, way: str | None = None) -> Tensor:
    """Multiply the 2-D spectrum of every channel by complex weights.

    Args:
        x: (b, h, w, c) or (b, h * w, c) float. Computed in float32, or float64 for float64 input.
        weight: (h, w // 2 + 1, c, 2), real and imaginary parts over the half spectrum, orthonormal convention.
        way: one of `WAYS`; None for the one that is set for the process.

    Returns:
        Shape and dtype of x. First derivatives exist in every way, second ones in `reference`.

    Raises:
        UsageError: if there is no such way, or not on this device.
        ValueError: if x and weight do not belong together.
        MissingError: if `triton` was asked for and is not installed.
    """
    way = _setting if way is None else way
    if way not in WAYS:
        raise UsageError(f"global filter: expected one of {', '.join(WAYS)}, found {way!r}.")
    h, half, c, _ = weight.shape
    n = math.prod(x.shape[1:-1])
    w = n // h
    if x.shape[-1] != c or h * w != n or w // 2 + 1 != half or (x.ndim == 4 and x.shape[1] != h):
        raise ValueError(f"a filter of shape {tuple(weight.shape)} does not fit tokens of shape {tuple(x.shape)}")
    if not len(x):  # which MKL of some versions refuses
        return x.clone()
    dtype = torch.promote_types(x.dtype, torch.float32)
    maps, weight = x.to(dtype).reshape(x.shape[0], h, w, c), weight.to(dtype)
    if _is_reference(way, x.device):
        y = with_torch_fft(maps, weight)
    else:
        y = _GlobalFilter.apply(maps, weight, way)
    return y.reshape(x.shape).to(x.dtype)


def _is_reference(way: str, device: torch.device) -> bool:
    return way == "reference" or (way == "auto" and device.type not in ("cpu", "cuda"))


def with_torch_fft(x: Tensor, weight: Tensor) -> Tensor:
    """The way `reference`, (b, h, w, c): as the authors wrote the layer."""
    spectrum = torch.fft.rfft2(x, dim=(1, 2), norm="ortho") * torch.view_as_complex(weight)
    return torch.fft.irfft2(spectrum, s=x.shape[1:3], dim=(1, 2), norm="ortho")


class _GlobalFilter(torch.autograd.Function):
    """Linear in x and in weight: backward is the filter with conjugate weights, and a product of two spectra."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, way: str) -> Tensor:
        ctx.way = way
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight if ctx.needs_input_grad[0] else None)
        return torch.ops.gfnet_bench.global_filter(x, weight, way)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        (grad,) = grads
        grad_x = grad_weight = None
        if weight is not None:
            conjugate = torch.view_as_real(torch.view_as_complex(weight).conj().resolve_conj())
            grad_x = torch.ops.gfnet_bench.global_filter(grad, conjugate, ctx.way)
        if x is not None:
            grad_weight = torch.ops.gfnet_bench.global_filter_weight_gradient(x, grad, ctx.way)
        return grad_x, grad_weight, None


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
    with torch.autocast(x.device.type, enabled=False):
        if way.startswith("triton"):
            return _kernels().global_filter(x, weight, way)
        return (_dense if way == "dense" else _fft)(x, weight)


@torch.library.impl(_LIBRARY, "global_filter_weight_gradient", "CompositeExplicitAutograd")
def _weight_gradient(x: Tensor, grad: Tensor, way: str) -> Tensor:
    x, grad, way = x.contiguous(), grad.contiguous(), _resolved(way, x)
    if way.startswith("triton") and max(x.shape[1:3]) <= TRITON_GRADIENT_SIDES:
        return _kernels().weight_gradient(x, grad, way)
    h, w, c = x.shape[1:]
    total = torch.zeros(h, w // 2 + 1, c, dtype=torch.promote_types(x.dtype, torch.complex32), device=x.device)
    for part, grad_part in _blocks(x, grad):
        of_x, of_grad = (torch.fft.rfft2(t, dim=(1, 2), norm="ortho") for t in (part, grad_part))
        total += (of_x.conj() * of_grad).sum(0)
    total[:, 1 : (w + 1) // 2] *= 2  # these columns stand for their mirror images too
    return torch.view_as_real(total)


def _resolved(way: str, x: Tensor) -> str:
    """The way to take; asked inside the operators, so that torch.compile sees one call."""
    h, w = x.shape[1:3]
    if way != "auto":
        return way
    if not x.is_cuda:
        return "dense" if max(h, w) <= DENSE_SIDES else "fft"
    fused = max(h, w) <= TRITON_SIDES and x.dtype == torch.float32 and find_spec("triton") is not None
    return "triton" if fused and _kernels().works(h, w, x.device) else "fft"


def _kernels() -> ModuleType:
    """Triton exists for Linux and Windows only, and takes a second to import."""
    try:
        from gfnet_bench.models import global_filter_triton
    except ImportError as error:
        raise MissingError(f"way triton needs the package triton ({error}); install it or take way auto.") from error
    return global_filter_triton


def _blocks(x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Images to take at once: on a CPU what its caches hold; else all, since a launch costs more than a pass."""
    cached = CPU_BLOCK * torch.get_num_threads() // x.shape[1:].numel()
    images = max(1, cached if x.device.type == "cpu" else len(x))
    return zip(x.split(images), y.split(images), strict=True)


def _fft(x: Tensor, weight: Tensor) -> Tensor:
    """Channel-first, where torch.fft copies nothing; the scale goes with the weight."""
    h, w = x.shape[1:3]
    planes = torch.view_as_complex(weight / (h * w)).flatten(0, 1).t().contiguous().unflatten(1, (h, -1))
    out = torch.empty_like(x)
    for part, result in _blocks(x, out):
        spectrum = torch.fft.rfft2(part.flatten(1, 2).mT.contiguous().unflatten(2, (h, w)))
        y = torch.fft.irfft2(spectrum.mul_(planes), s=(h, w), norm="forward")
        result.flatten(1, 2).copy_(y.flatten(2).mT)
    return out


class _Bases(NamedTuple):
    """Real matrices that transform along one side, orthonormal convention.

    `half` (2 * (n // 2 + 1), n) gives real parts, then imaginary parts, of the half spectrum, and `from_half` undoes
    that; `full` (n, n) gives cosine coefficients 0 .. n // 2, then sine coefficients 1 .. (n - 1) // 2.
    """

    half: Tensor
    from_half: Tensor
    full: Tensor


@lru_cache(maxsize=64)
def _bases(n: int, dtype: torch.dtype, device: torch.device) -> _Bases:
    k = torch.arange(n // 2 + 1)[:, None]
    # Exact integers reduced before the cosine: large angles would lose digits.
    angle = (k * torch.arange(n) % n).double() * (2 * math.pi / n)
    cos, sin = angle.cos() / math.sqrt(n), angle.sin() / math.sqrt(n)
    half = torch.cat((cos, -sin))
    counts = torch.where((k > 0) & (2 * k < n), 2.0, 1.0).repeat(2, 1)
    full = torch.cat((cos, sin[1 : (n + 1) // 2]))
    return _Bases(*(t.to(device, dtype).contiguous() for t in (half, (half * counts).t(), full)))


def _dense(x: Tensor, weight: Tensor) -> Tensor:
    """Half spectrum along w, cosines and sines along h, the filter, and back: four products.

    With C and S the cosine and sine coefficients of a column at frequency u, its spectrum is C - iS at u and C + iS at
    -u. Filtering both by W(u) and W(-u) gives the coefficients E C - O S and O C + E S of the result, with
    E = W(u) + W(-u) and O = i (W(u) - W(-u)). Real matrices therefore do for the complex columns.
    """
    h, w, c = x.shape[1:]
    half = w // 2 + 1
    cosine_rows, sine_rows = slice(1, (h + 1) // 2), slice(h // 2 + 1, h)  # u from 1, as far as it comes in pairs
    along_w, along_h = _bases(w, x.dtype, x.device), _bases(h, x.dtype, x.device)
    plus, minus = weight[cosine_rows], weight[sine_rows].flip(0)
    even = torch.cat((weight[:1], plus + minus, weight[h // 2 : h // 2 + 1 - h % 2], plus + minus))
    even_real, even_imag = even.movedim(-1, 0).contiguous()
    odd_imag, odd_real = (plus - minus).movedim(-1, 0).contiguous()
    odd_real.neg_()
    out = torch.empty_like(x)
    buffers: list[Tensor] = []
    for part, result in _blocks(x, out):
        if not buffers:
            buffers = [x.new_empty(len(part), h, 2, half, c) for _ in range(2)]
        first, second = (buffer[: len(part)] for buffer in buffers)

        _product(along_w.half, part.view(-1, w, c), first.view(-1, 2 * half, c))
        _product(along_h.full, first.flatten(2), second.flatten(2))
        torch.mul(second, even_real[:, None], out=first)
        first[:, :, 0].addcmul_(second[:, :, 1], even_imag, value=-1)
        first[:, :, 1].addcmul_(second[:, :, 0], even_imag)
        for rows, partners, sign in ((cosine_rows, sine_rows, -1), (sine_rows, cosine_rows, 1)):
            target, source = first[:, rows], second[:, partners]
            target.addcmul_(source, odd_real[:, None], value=sign)
            target[:, :, 0].addcmul_(source[:, :, 1], odd_imag, value=-sign)
            target[:, :, 1].addcmul_(source[:, :, 0], odd_imag, value=sign)
        _product(along_h.full.t(), first.flatten(2), second.flatten(2))
        _product(along_w.from_half, second.view(-1, 2 * half, c), result.view(-1, w, c))
    return out


def _product(matrix: Tensor, columns: Tensor, out: Tensor) -> None:
    torch.bmm(matrix.expand(len(columns), -1, -1), columns, out=out)
