"""The global filter as one fused kernel for NVIDIA GPUs: it reads its input once and writes its result once.

A program holds all tokens of one image for a few channels and transforms them by products with small real matrices,
padded to powers of two. Both spectra are packed so that padding wastes nothing more, as much as there are tokens:

- along w, slot v of the planes (real, imaginary) holds frequency v; slot 0 of the imaginary plane, always zero for
  real input, holds the real column of frequency w / 2 where w is even;
- along h, slot u of the planes (cosine, sine) holds that coefficient; slot 0 of the sine plane holds frequency h / 2.

With C and S the coefficients of a column at u, filtering by W(u) and W(-u) gives E C - O S and O C + E S, where
E = W(u) + W(-u) and O = i (W(u) - W(-u)); see `by_torch.dense`. In real columns only real parts of E and O act.
"""

# mypy: disable-error-code="no-untyped-def"
# (the compiler of the kernels reads annotations in its own way)

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from gfnet_bench.models.global_filter.tiles import LAUNCH, LEAST, PRECISIONS, complex_weights, dot, swapped

# Beyond, a tile of whole grids no longer fits the registers of a program.
SIDES = 64
# Two transforms at once take twice the registers.
GRADIENT_SIDES = 32
# Images whose gradients for the weight one program adds up.
IMAGES = 8


@triton.jit
def _matrix(pointer, ROWS: constexpr, COLUMNS: constexpr):
    return tl.load(pointer + tl.arange(0, ROWS)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :])


@triton.jit
def _transposed(pointer, ROWS: constexpr, COLUMNS: constexpr):
    return tl.load(pointer + tl.arange(0, ROWS)[None, :] * COLUMNS + tl.arange(0, COLUMNS)[:, None])


@triton.jit
def _token_offsets(h: constexpr, w: constexpr, c, HP: constexpr, WP: constexpr, BC: constexpr):
    """Where the tokens of an image lie from its first, (BC, HP, WP), and which of the padded tile exist."""
    channel = (tl.program_id(0) % tl.cdiv(c, BC) * BC + tl.arange(0, BC))[:, None, None]
    y = tl.arange(0, HP)[None, :, None]
    x = tl.arange(0, WP)[None, None, :]
    return (y * w + x) * c + channel, (y < h) & (x < w) & (channel < c)


@triton.jit
def _spectrum(
    pointer,
    along_h,
    along_w,
    h: constexpr,
    w: constexpr,
    c,
    HP: constexpr,
    WP: constexpr,
    BC: constexpr,
    PRECISION: constexpr,
):
    """Cosine and sine coefficients along h of the real and imaginary planes along w: four of (BC * WP / 2, HP / 2)."""
    U: constexpr = HP // 2
    V: constexpr = WP // 2
    offsets, inside = _token_offsets(h, w, c, HP, WP, BC)
    tile = tl.load(pointer + offsets, mask=inside, other=0.0).to(tl.float32).reshape(BC * HP, WP)
    real = swapped(dot(tile, _matrix(along_w, WP, V), PRECISION), BC, HP, V)
    imag = swapped(dot(tile, _matrix(along_w + WP * V, WP, V), PRECISION), BC, HP, V)
    cosine, sine = _matrix(along_h, HP, U), _matrix(along_h + HP * U, HP, U)
    return (
        dot(real, cosine, PRECISION),
        dot(imag, cosine, PRECISION),
        dot(real, sine, PRECISION),
        dot(imag, sine, PRECISION),
    )


@triton.jit
def _slots(c, BC: constexpr, U: constexpr, V: constexpr):
    """Channel, u and v of every place of a plane, (BC, V, U)."""
    channel = (tl.program_id(0) % tl.cdiv(c, BC) * BC + tl.arange(0, BC))[:, None, None]
    return channel, tl.arange(0, U)[None, None, :], tl.arange(0, V)[None, :, None]


@triton.jit
def _coefficients(weight, v, c, h: constexpr, w: constexpr, BC: constexpr, U: constexpr, V: constexpr):
    """E of the cosine plane, E of the sine plane and O, real and imaginary, each (BC * V, U); `v` is (1, V, 1)."""
    half: constexpr = w // 2 + 1
    channel, u, _ = _slots(c, BC, U, V)
    exists = (2 * u < h) & (v < half) & (channel < c)
    pr, pi = complex_weights(weight, u, v, channel, exists, half, c)
    mr, mi = complex_weights(weight, tl.where(u == 0, h // 2, h - u), v, channel, exists, half, c)
    alone = u == 0  # slot 0 holds two frequencies without a partner
    er, ei = tl.where(alone, pr, pr + mr), tl.where(alone, pi, pi + mi)
    sr, si = tl.where(alone, mr, pr + mr), tl.where(alone, mi, pi + mi)
    odd_r, odd_i = tl.where(alone, 0.0, mi - pi), tl.where(alone, 0.0, pr - mr)
    R: constexpr = BC * V
    return (
        er.reshape(R, U),
        ei.reshape(R, U),
        sr.reshape(R, U),
        si.reshape(R, U),
        odd_r.reshape(R, U),
        odd_i.reshape(R, U),
    )


@triton.jit
def _filter_kernel(
    x,
    weight,
    out,
    along_h,
    along_w,
    c,
    h: constexpr,
    w: constexpr,
    HP: constexpr,
    WP: constexpr,
    BC: constexpr,
    PRECISION: constexpr,
):
    U: constexpr = HP // 2
    V: constexpr = WP // 2
    image = (tl.program_id(0) // tl.cdiv(c, BC)).to(tl.int64) * (h * w * c)
    cr, ci, sr, si = _spectrum(x + image, along_h, along_w, h, w, c, HP, WP, BC, PRECISION)

    v = tl.arange(0, V)[None, :, None]
    er, ei, fr, fi, o_r, o_i = _coefficients(weight, v, c, h, w, BC, U, V)
    # The imaginary plane of slot 0 is another real column; elsewhere both planes share their coefficients.
    v_of_imag = tl.where(v == 0, (w // 2) * (1 - w % 2), v)
    er2, _, fr2, _, o_r2, _ = _coefficients(weight, v_of_imag, c, h, w, BC, U, V)
    pairs = (tl.arange(0, BC * V) % V != 0)[:, None]
    ei, fi, o_i = tl.where(pairs, ei, 0.0), tl.where(pairs, fi, 0.0), tl.where(pairs, o_i, 0.0)

    new_cr = er * cr - ei * ci - o_r * sr + o_i * si
    new_ci = er2 * ci + ei * cr - o_r2 * si - o_i * sr
    new_sr = fr * sr - fi * si + o_r * cr - o_i * ci
    new_si = fr2 * si + fi * sr + o_r2 * ci + o_i * cr

    cosine, sine = _transposed(along_h, HP, U), _transposed(along_h + HP * U, HP, U)
    real = dot(new_sr, sine, PRECISION, dot(new_cr, cosine, PRECISION))
    imag = dot(new_si, sine, PRECISION, dot(new_ci, cosine, PRECISION))
    counts = tl.where(tl.arange(0, V) == 0, 1.0, 2.0)[:, None]  # all but real columns stand for their mirror images too
    real_back = _transposed(along_w, WP, V) * counts
    imag_back = _transposed(along_w + WP * V, WP, V) * counts
    tile = dot(swapped(real, BC, V, HP), real_back, PRECISION)
    tile = dot(swapped(imag, BC, V, HP), imag_back, PRECISION, tile)
    offsets, inside = _token_offsets(h, w, c, HP, WP, BC)
    tl.store(out + image + offsets, tile.reshape(BC, HP, WP), mask=inside)


@triton.jit
def _store_pair(out, plus, minus, u, exists, h: constexpr, er, ei, fr, fi, o_r, o_i):
    """Gradients of E and O to those of W(u) = (E - iO) and W(-u) = (E + iO), by their places in complex numbers."""
    alone = u == 0
    tl.store(out + 2 * plus, tl.where(alone, er, er + fr + o_i), mask=exists)
    tl.store(out + 2 * plus + 1, tl.where(alone, ei, ei + fi - o_r), mask=exists)
    partner = exists & ((u > 0) | (h % 2 == 0))
    tl.store(out + 2 * minus, tl.where(alone, fr, er + fr - o_i), mask=partner)
    tl.store(out + 2 * minus + 1, tl.where(alone, fi, ei + fi + o_r), mask=partner)


@triton.jit(do_not_specialize=["images"])  # one machine code for every batch, the one that is checked
def _weight_gradient_kernel(
    x,
    grad,
    out,
    along_h,
    along_w,
    images,
    c,
    h: constexpr,
    w: constexpr,
    HP: constexpr,
    WP: constexpr,
    BC: constexpr,
    IMAGES: constexpr,
    PRECISION: constexpr,
):
    U: constexpr = HP // 2
    V: constexpr = WP // 2
    half: constexpr = w // 2 + 1
    real_column = (tl.arange(0, BC * V) % V == 0)[:, None]
    er = tl.zeros((BC * V, U), tl.float32)
    ei, fr, fi, o_r, o_i = er, er, er, er, er
    first = tl.program_id(1) * IMAGES
    x += first.to(tl.int64) * (h * w * c)
    grad += first.to(tl.int64) * (h * w * c)
    for _ in range(min(images - first, IMAGES)):
        cr, ci, sr, si = _spectrum(x, along_h, along_w, h, w, c, HP, WP, BC, PRECISION)
        gcr, gci, gsr, gsi = _spectrum(grad, along_h, along_w, h, w, c, HP, WP, BC, PRECISION)
        x += h * w * c
        grad += h * w * c
        # In slot 0 the planes are two real columns, whose gradients stay apart in the real and imaginary sums.
        er += cr * gcr + tl.where(real_column, 0.0, ci * gci)
        ei += tl.where(real_column, ci * gci, cr * gci - ci * gcr)
        fr += sr * gsr + tl.where(real_column, 0.0, si * gsi)
        fi += tl.where(real_column, si * gsi, sr * gsi - si * gsr)
        o_r += cr * gsr - sr * gcr + tl.where(real_column, 0.0, ci * gsi - si * gci)
        o_i += tl.where(real_column, ci * gsi - si * gci, cr * gsi - ci * gsr - sr * gci + si * gcr)

    channel, u, v = _slots(c, BC, U, V)
    counts = tl.where(v == 0, 1.0, 2.0)
    er, ei = er.reshape(BC, V, U) * counts, ei.reshape(BC, V, U) * counts
    fr, fi = fr.reshape(BC, V, U) * counts, fi.reshape(BC, V, U) * counts
    o_r, o_i = o_r.reshape(BC, V, U) * counts, o_i.reshape(BC, V, U) * counts
    out += tl.program_id(1).to(tl.int64) * (2 * h * half * c)
    plus = (u * half + v) * c + channel
    minus = (tl.where(u == 0, h // 2, h - u) * half + v) * c + channel
    exists = (2 * u < h) & (2 * v < w) & (channel < c)
    complex_column = v != 0
    _store_pair(
        out,
        plus,
        minus,
        u,
        exists,
        h,
        er,
        tl.where(complex_column, ei, 0.0),
        fr,
        tl.where(complex_column, fi, 0.0),
        o_r,
        tl.where(complex_column, o_i, 0.0),
    )
    if w % 2 == 0:
        last: constexpr = w // 2
        zero = tl.zeros_like(er)
        mask = exists & (v == 0)
        _store_pair(out, plus + last * c, minus + last * c, u, mask, h, ei, zero, fi, zero, o_i, zero)


@lru_cache(maxsize=64)
def _bases(n: int, padded: int, device: torch.device, sign: int = 1) -> Tensor:
    """(2, padded, padded / 2) float32: cosines, then `sign` times the sines, zero where padded.

    Slot 0 of the sines holds frequency n / 2. The imaginary part of a half spectrum is minus the sine coefficient.
    """
    slots = torch.arange((n + 1) // 2)
    angle = (torch.arange(n)[:, None] * slots % n).double() * (2 * math.pi / n)
    planes = torch.zeros(2, padded, padded // 2, dtype=torch.float64)
    planes[:, :n, : len(slots)] = torch.stack((angle.cos(), sign * angle.sin())) / math.sqrt(n)
    if n % 2 == 0:
        planes[1, :n, 0] = (1 - 2 * (torch.arange(n) % 2)) / math.sqrt(n)
    return planes.float().to(device)


class _Plan(NamedTuple):
    """How one grid is cut: padded sides, channels of a program, warps."""

    height: int
    width: int
    channels: int
    warps: int


def plan(h: int, w: int, way: str) -> _Plan:
    """Tiles of 16 to 64 KB, the largest whose registers hardly spill when compiled for sm_90."""
    least = 2 * LEAST[way]  # products along half a side
    height, width = (max(least, triton.next_power_of_2(side)) for side in (h, w))
    channels = 1 << (16 - (height * width - 1).bit_length()) // 2
    return _Plan(height, width, channels, 4 if channels * height * width <= 2**13 else 8)


def global_filter(x: Tensor, weight: Tensor, way: str = "triton") -> Tensor:
    """(b, h, w, c) contiguous float32 to the same; weight (h, w // 2 + 1, c, 2); `way` names the precision."""
    b, h, w, c = x.shape
    out = torch.empty_like(x)
    tile = plan(h, w, way)
    with torch.cuda.device_of(x):
        _filter_kernel[triton.cdiv(c, tile.channels) * b,](
            x,
            weight.view(torch.int64),
            out,
            _bases(h, tile.height, x.device),
            _bases(w, tile.width, x.device, -1),
            c,
            h,
            w,
            tile.height,
            tile.width,
            tile.channels,
            PRECISIONS[way],
            num_warps=tile.warps,
            **LAUNCH,
        )
    return out


def weight_gradient(x: Tensor, grad: Tensor, way: str = "triton") -> Tensor:
    """Gradient for the weight, (h, w // 2 + 1, c, 2), from input and output gradient, (b, h, w, c) float32."""
    b, h, w, c = x.shape
    tile = plan(h, w, way)
    chunks = triton.cdiv(b, IMAGES)
    # Summed in a second pass rather than by atomics, whose order would change the last digits from run to run.
    parts = x.new_empty(chunks, h, w // 2 + 1, c, 2)
    with torch.cuda.device_of(x):
        _weight_gradient_kernel[triton.cdiv(c, tile.channels), chunks](
            x,
            grad,
            parts,
            _bases(h, tile.height, x.device),
            _bases(w, tile.width, x.device, -1),
            b,
            c,
            h,
            w,
            tile.height,
            tile.width,
            tile.channels,
            IMAGES,
            PRECISIONS[way],
            num_warps=8,  # it holds two transforms at once
            **LAUNCH,
        )
    return parts.sum(0)
