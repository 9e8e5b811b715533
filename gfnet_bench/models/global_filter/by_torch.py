"""The global filter in torch's own operations: the authors' formulation, channel-first FFTs, and dense products."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

# Numbers in a block of images, for each CPU thread: few enough for its cache, enough that calls cost little.
CPU_BLOCK = 2**18


def with_torch_fft(x: Tensor, weight: Tensor) -> Tensor:
    """The way `reference`, (b, h, w, c): as the authors wrote the layer."""
    spectrum = torch.fft.rfft2(x, dim=(1, 2), norm="ortho") * torch.view_as_complex(weight)
    return torch.fft.irfft2(spectrum, s=x.shape[1:3], dim=(1, 2), norm="ortho")


def weight_gradient(x: Tensor, grad: Tensor) -> Tensor:
    """Gradient for the weight, (h, w // 2 + 1, c, 2), from input and output gradient, (b, h, w, c)."""
    h, w, c = x.shape[1:]
    total = torch.zeros(h, w // 2 + 1, c, dtype=torch.promote_types(x.dtype, torch.complex32), device=x.device)
    for part, grad_part in _blocks(x, grad):
        of_x, of_grad = (torch.fft.rfft2(t, dim=(1, 2), norm="ortho") for t in (part, grad_part))
        total += (of_x.conj() * of_grad).sum(0)
    total[:, 1 : (w + 1) // 2] *= 2  # these columns stand for their mirror images too
    return torch.view_as_real(total)


def _blocks(x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Images to take at once: on a CPU what its caches hold; else all, since a launch costs more than a pass."""
    cached = CPU_BLOCK * torch.get_num_threads() // x.shape[1:].numel()
    images = max(1, cached if x.device.type == "cpu" else len(x))
    return zip(x.split(images), y.split(images), strict=True)


def fft(x: Tensor, weight: Tensor) -> Tensor:
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


def dense(x: Tensor, weight: Tensor) -> Tensor:
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
