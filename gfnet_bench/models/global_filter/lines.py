"""The global filter of large grids in three kernels, in place in the result: rows, columns, rows.

A whole grid no longer fits one program, a line of tokens for a few channels does. The first kernel transforms every row
and keeps its half spectrum in as many numbers as the row has tokens: frequency v has its real part in slot v and its
imaginary part in slot w - v ("halfcomplex" order, as FFTW calls it). The second takes a column of frequencies,
transforms it, multiplies by the weights and goes back; the third turns rows into tokens again. Memory is touched six
times, twice in each kernel, without a buffer beside the result, where torch.fft touches it 18 to 22 times: it copies
to channel-first and back on both ways, scales in passes of its own, and cuFFT needs one or two passes a transform.

A transform of n = a b tokens is done in two levels, which takes a + b products a token instead of n. With token
t = b t1 + t2 and frequency k = k1 + a k2,

    X[k1 + a k2] = sum over t2 of F_b[t2, k2] turn[t2, k1] sum over t1 of F_a[t1, k1] x[b t1 + t2],

where F_n[t, k] = exp(-2 pi i t k / n) / sqrt(n) and turn[t2, k1] = exp(-2 pi i t2 k1 / n). The sides of a tile are
padded to powers of two. A real row needs k1 to a / 2 alone: k and n - k hold conjugates.
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

# A side is cut into two factors no larger: beyond, a program holds too few channels.
FACTORS = 16
# Numbers in the tile of a program: as many as its registers hold when compiled for sm_90.
ROW_NUMBERS, COLUMN_NUMBERS = 2**12, 2**11
# Programs that fill a GPU.
PROGRAMS = 512


@triton.jit
def _table(pointer, ROWS: constexpr, COLUMNS: constexpr, STRIDE: constexpr, PLANE: constexpr):
    """Cosines and negated sines, the two planes of a table, each (ROWS, COLUMNS)."""
    places = pointer + tl.arange(0, ROWS)[:, None] * STRIDE + tl.arange(0, COLUMNS)[None, :]
    return tl.load(places), tl.load(places + PLANE)


@triton.jit
def _fourier(re, im, matrix, N: constexpr, PRECISION: constexpr):
    """Complex (R, N) times the symmetric complex (N, N)."""
    cosine, sine = _table(matrix, N, N, N, N * N)
    return (
        dot(im, -sine, PRECISION, dot(re, cosine, PRECISION)),
        dot(im, cosine, PRECISION, dot(re, sine, PRECISION)),
    )


@triton.jit
def _turned(re, im, cosine, sine, BC: constexpr, M: constexpr, N: constexpr):
    """Complex (BC * M, N) times (M, N), element by element."""
    re, im = re.reshape(BC, M, N), im.reshape(BC, M, N)
    return (
        (re * cosine[None] - im * sine[None]).reshape(BC * M, N),
        (re * sine[None] + im * cosine[None]).reshape(BC * M, N),
    )


@triton.jit
def _two_levels(
    re,
    im,
    matrix_m,
    matrix_n,
    turn,
    ROW: constexpr,
    COLUMN: constexpr,
    BC: constexpr,
    M: constexpr,
    N: constexpr,
    PRECISION: constexpr,
):
    """Complex (BC * M, N) to (BC * N, M): over N, turned, over M; ROW and COLUMN are the strides of `turn`."""
    re, im = _fourier(re, im, matrix_n, N, PRECISION)
    places = turn + tl.arange(0, M)[:, None] * ROW + tl.arange(0, N)[None, :] * COLUMN
    re, im = _turned(re, im, tl.load(places), tl.load(places + M * N), BC, M, N)
    return _fourier(swapped(re, BC, M, N), swapped(im, BC, M, N), matrix_m, M, PRECISION)


@triton.jit
def _row_tokens(w: constexpr, c, a: constexpr, b: constexpr, A: constexpr, B: constexpr, BC: constexpr):
    """Where the tokens of this program's row lie, (BC, B, A), and which exist."""
    tiles = tl.cdiv(c, BC)
    channel = (tl.program_id(0) % tiles * BC + tl.arange(0, BC))[:, None, None]
    t2, t1 = tl.arange(0, B)[None, :, None], tl.arange(0, A)[None, None, :]
    row = (tl.program_id(0) // tiles).to(tl.int64) * (w * c)
    return row + (b * t1 + t2) * c + channel, (t1 < a) & (t2 < b) & (channel < c)


@triton.jit
def _row_slots(w: constexpr, c, a: constexpr, b: constexpr, H: constexpr, B: constexpr, BC: constexpr):
    """Where the frequencies k1 + a k2 of this program's row lie, (BC, H, B).

    Slots of real and imaginary part, sign of the latter, which frequencies exist, which of these have an imaginary
    part, and which are not the conjugate of another one here.
    """
    tiles = tl.cdiv(c, BC)
    channel = (tl.program_id(0) % tiles * BC + tl.arange(0, BC))[:, None, None]
    k1, k2 = tl.arange(0, H)[None, :, None], tl.arange(0, B)[None, None, :]
    k = k1 + a * k2
    below = 2 * k <= w
    real = tl.where(below, k, w - k)
    row = (tl.program_id(0) // tiles).to(tl.int64) * (w * c) + channel
    exists = (2 * k1 <= a) & (k2 < b) & (channel < c)
    paired = (real > 0) & (2 * real < w)
    first = below | ((k1 > 0) & (2 * k1 < a))
    return row + real * c, row + (w - real) * c, tl.where(below, 1.0, -1.0), exists, paired, first


@triton.jit
def _rows_kernel(
    x,
    out,
    matrix_a,
    matrix_b,
    turn,
    c,
    w: constexpr,
    a: constexpr,
    b: constexpr,
    A: constexpr,
    B: constexpr,
    H: constexpr,
    BC: constexpr,
    PRECISION: constexpr,
):
    """Tokens of a row to its half spectrum."""
    places, inside = _row_tokens(w, c, a, b, A, B, BC)
    tile = tl.load(x + places, mask=inside, other=0.0).reshape(BC * B, A)
    cosine, sine = _table(matrix_a, A, H, A, A * A)
    turn_re, turn_im = _table(turn, B, H, A, A * B)
    re, im = _turned(dot(tile, cosine, PRECISION), dot(tile, sine, PRECISION), turn_re, turn_im, BC, B, H)
    re, im = _fourier(swapped(re, BC, B, H), swapped(im, BC, B, H), matrix_b, B, PRECISION)
    real, imag, sign, exists, paired, first = _row_slots(w, c, a, b, H, B, BC)
    tl.store(out + real, re.reshape(BC, H, B), mask=exists & first)
    tl.store(out + imag, im.reshape(BC, H, B) * sign, mask=exists & first & paired)


@triton.jit
def _rows_back_kernel(
    x,
    matrix_a,
    matrix_b,
    turn,
    c,
    w: constexpr,
    a: constexpr,
    b: constexpr,
    A: constexpr,
    B: constexpr,
    H: constexpr,
    BC: constexpr,
    PRECISION: constexpr,
):
    """Half spectrum of a row to its tokens, in place.

    Forward transforms serve backward: exchanging real and imaginary parts before and after conjugates them.
    """
    real, imag, sign, exists, paired, _ = _row_slots(w, c, a, b, H, B, BC)
    re = tl.load(x + real, mask=exists, other=0.0).reshape(BC * H, B)
    im = (tl.load(x + imag, mask=exists & paired, other=0.0) * sign).reshape(BC * H, B)
    im, re = _fourier(im, re, matrix_b, B, PRECISION)
    turn_re, turn_im = _table(turn, B, H, A, A * B)
    im, re = _turned(swapped(im, BC, H, B), swapped(re, BC, H, B), turn_re, turn_im, BC, B, H)
    k1 = tl.arange(0, H)
    counts = tl.where(2 * k1 > a, 0.0, tl.where((k1 == 0) | (2 * k1 == a), 1.0, 2.0))[:, None]
    columns = matrix_a + tl.arange(0, H)[:, None] + tl.arange(0, A)[None, :] * A
    tile = dot(re, tl.load(columns) * counts, PRECISION)
    tile = dot(im, tl.load(columns + A * A) * counts, PRECISION, tile)
    places, inside = _row_tokens(w, c, a, b, A, B, BC)
    tl.debug_barrier()  # no warp may write what another one has yet to read
    tl.store(x + places, tile.reshape(BC, B, A), mask=inside)


@triton.jit
def _column_slots(
    c,
    w: constexpr,
    a: constexpr,
    b: constexpr,
    A: constexpr,
    B: constexpr,
    BC: constexpr,
):
    """Of this program's column v, (BC, B, A): places of real and imaginary parts within an image, and which exist."""
    v = tl.full((1, 1, 1), tl.program_id(1), tl.int32)
    channel = (tl.program_id(0) % tl.cdiv(c, BC) * BC + tl.arange(0, BC))[:, None, None]
    t2, t1 = tl.arange(0, B)[None, :, None], tl.arange(0, A)[None, None, :]
    row = (b * t1 + t2) * w
    exists = (t1 < a) & (t2 < b) & (channel < c)
    return (row + v) * c + channel, (row + w - v) * c + channel, exists, exists & (v > 0) & (2 * v < w)


@triton.jit
def _column_frequencies(c, a: constexpr, b: constexpr, A: constexpr, B: constexpr, BC: constexpr):
    """Frequency u and channel of the transformed column, (BC, A, B), and which exist."""
    channel = (tl.program_id(0) % tl.cdiv(c, BC) * BC + tl.arange(0, BC))[:, None, None]
    k1, k2 = tl.arange(0, A)[None, :, None], tl.arange(0, B)[None, None, :]
    return k1 + a * k2, channel, (k1 < a) & (k2 < b) & (channel < c)


@triton.jit
def _columns_kernel(
    x,
    weight,
    matrix_a,
    matrix_b,
    turn,
    c,
    h: constexpr,
    w: constexpr,
    a: constexpr,
    b: constexpr,
    A: constexpr,
    B: constexpr,
    BC: constexpr,
    PRECISION: constexpr,
):
    """Columns to frequencies, times the weights, and back, in place."""
    x += (tl.program_id(0) // tl.cdiv(c, BC)).to(tl.int64) * (h * w * c)
    real, imag, inside, paired = _column_slots(c, w, a, b, A, B, BC)
    re = tl.load(x + real, mask=inside, other=0.0).reshape(BC * B, A)
    im = tl.load(x + imag, mask=paired, other=0.0).reshape(BC * B, A)
    re, im = _two_levels(re, im, matrix_b, matrix_a, turn, A, 1, BC, B, A, PRECISION)
    u, channel, exists = _column_frequencies(c, a, b, A, B, BC)
    wr, wi = complex_weights(weight, u, tl.program_id(1), channel, exists, w // 2 + 1, c)
    wr, wi = wr.reshape(BC * A, B), wi.reshape(BC * A, B)
    re, im = re * wr - im * wi, re * wi + im * wr
    # Backward as in `_rows_back_kernel`.
    im, re = _two_levels(im, re, matrix_a, matrix_b, turn, 1, A, BC, A, B, PRECISION)
    tl.debug_barrier()
    tl.store(x + real, re.reshape(BC, B, A), mask=inside)
    tl.store(x + imag, im.reshape(BC, B, A), mask=paired)


@triton.jit(do_not_specialize=["images", "part"])  # one machine code for every batch, the one that is checked
def _weight_gradient_kernel(
    x,
    grad,
    out,
    matrix_a,
    matrix_b,
    turn,
    images,
    part,
    c,
    h: constexpr,
    w: constexpr,
    a: constexpr,
    b: constexpr,
    A: constexpr,
    B: constexpr,
    BC: constexpr,
    PRECISION: constexpr,
):
    """Half spectra of rows, of input and output gradient, to one column of the gradient for the weight."""
    real, imag, inside, paired = _column_slots(c, w, a, b, A, B, BC)
    total_re = tl.zeros((BC * A, B), tl.float32)
    total_im = total_re
    first = tl.program_id(2) * part
    x += first.to(tl.int64) * (h * w * c)
    grad += first.to(tl.int64) * (h * w * c)
    for _ in range(min(images - first, part)):
        re = tl.load(x + real, mask=inside, other=0.0).reshape(BC * B, A)
        im = tl.load(x + imag, mask=paired, other=0.0).reshape(BC * B, A)
        re, im = _two_levels(re, im, matrix_b, matrix_a, turn, A, 1, BC, B, A, PRECISION)
        grad_re = tl.load(grad + real, mask=inside, other=0.0).reshape(BC * B, A)
        grad_im = tl.load(grad + imag, mask=paired, other=0.0).reshape(BC * B, A)
        grad_re, grad_im = _two_levels(grad_re, grad_im, matrix_b, matrix_a, turn, A, 1, BC, B, A, PRECISION)
        total_re += re * grad_re + im * grad_im
        total_im += re * grad_im - im * grad_re
        x += h * w * c
        grad += h * w * c
    v = tl.program_id(1)
    count = tl.where((v == 0) | (2 * v == w), 1.0, 2.0)  # the other columns stand for their mirror images too
    u, channel, exists = _column_frequencies(c, a, b, A, B, BC)
    out += tl.program_id(2).to(tl.int64) * (2 * h * (w // 2 + 1) * c)
    places = out + 2 * ((u * (w // 2 + 1) + v) * c + channel)
    tl.store(places, (total_re * count).reshape(BC, A, B), mask=exists)
    tl.store(places + 1, (total_im * count).reshape(BC, A, B), mask=exists)


class _Line(NamedTuple):
    """How a side is cut: n = a b, the padded sides A and B of a tile, and what k1 to a / 2 is padded to."""

    a: int
    b: int
    A: int
    B: int
    H: int


@lru_cache(maxsize=256)
def cut(n: int, least: int) -> _Line | None:
    """The cheapest way to cut a side, where products take `least` terms; None if it is no product of two `FACTORS`."""

    def padded(terms: int) -> int:
        return max(least, triton.next_power_of_2(terms))

    lines = [
        _Line(a, n // a, padded(a), padded(n // a), padded(a // 2 + 1))
        for a in range(1, FACTORS + 1)
        if n % a == 0 and n // a <= FACTORS
    ]
    # Products of a complex transform, then of a real one.
    return min(lines, key=lambda line: (line.A * line.B * (line.A + line.B), line.H * line.B), default=None)


@lru_cache(maxsize=64)
def _matrix(n: int, padded: int, device: torch.device) -> Tensor:
    """F_n: (2, padded, padded) float32, cosines and negated sines, zero where padded."""
    planes = torch.zeros(2, padded, padded, dtype=torch.float64)
    planes[:, :n, :n] = _turns(n, n, n) / math.sqrt(n)
    return planes.float().to(device)


@lru_cache(maxsize=64)
def _turn(line: _Line, device: torch.device) -> Tensor:
    """(2, B, A) float32, padded like a tile."""
    return _turns(line.a * line.b, line.B, line.A).float().to(device)


def _turns(n: int, rows: int, columns: int) -> Tensor:
    """exp(-2 pi i r c / n) of every row r and column c: (2, rows, columns) float64."""
    # Exact integers reduced before the cosine: large angles would lose digits.
    angle = (torch.arange(rows)[:, None] * torch.arange(columns) % n).double() * (2 * math.pi / n)
    return torch.stack((angle.cos(), -angle.sin()))


class _Program(NamedTuple):
    """What a kernel wants to know of a side: tables, channels of a program, how the side is cut."""

    tables: tuple[Tensor, Tensor, Tensor]
    channels: int
    line: _Line


def _program(n: int, numbers: int, way: str, device: torch.device) -> _Program:
    line = cut(n, LEAST[way])
    assert line is not None
    tables = _matrix(line.a, line.A, device), _matrix(line.b, line.B, device), _turn(line, device)
    # Fewer channels would not fill the sectors that memory is read in.
    return _Program(tables, max(16, numbers // (line.A * line.B)), line)


def fits(h: int, w: int) -> bool:
    """Whether both sides can be cut."""
    return cut(h, FACTORS) is not None and cut(w, FACTORS) is not None


def global_filter(x: Tensor, weight: Tensor, way: str = "triton") -> Tensor:
    """(b, h, w, c) contiguous float32 to the same; weight (h, w // 2 + 1, c, 2); `way` names the precision."""
    b, h, w, c = x.shape
    row, column = _program(w, ROW_NUMBERS, way, x.device), _program(h, COLUMN_NUMBERS, way, x.device)
    with torch.cuda.device_of(x):
        out = _half_spectrum(x, row, way)
        _columns_kernel[triton.cdiv(c, column.channels) * b, w // 2 + 1](
            out,
            weight.view(torch.int64),
            *column.tables,
            c,
            h,
            w,
            *column.line[:4],
            column.channels,
            PRECISIONS[way],
            num_warps=4,
            **LAUNCH,
        )
        _rows_back_kernel[triton.cdiv(c, row.channels) * b * h,](
            out,
            *row.tables,
            c,
            w,
            *row.line,
            row.channels,
            PRECISIONS[way],
            num_warps=4,
            **LAUNCH,
        )
    return out


def weight_gradient(x: Tensor, grad: Tensor, way: str = "triton") -> Tensor:
    """Gradient for the weight, (h, w // 2 + 1, c, 2), from input and output gradient, (b, h, w, c) float32."""
    b, h, w, c = x.shape
    row, column = _program(w, ROW_NUMBERS, way, x.device), _program(h, COLUMN_NUMBERS, way, x.device)
    tiles = triton.cdiv(c, column.channels)
    # As many parts of the sum over images as fill a GPU, added up in a second pass: atomics would add in any order.
    part = triton.cdiv(b, max(1, min(b // 2, PROGRAMS // (tiles * (w // 2 + 1)))))
    parts = x.new_empty(triton.cdiv(b, part), h, w // 2 + 1, c, 2)
    with torch.cuda.device_of(x):
        _weight_gradient_kernel[tiles, w // 2 + 1, len(parts)](
            _half_spectrum(x, row, way),
            _half_spectrum(grad, row, way),
            parts,
            *column.tables,
            b,
            part,
            c,
            h,
            w,
            *column.line[:4],
            column.channels,
            PRECISIONS[way],
            num_warps=8,  # it holds two transforms at once
            **LAUNCH,
        )
    return parts.sum(0)


def _half_spectrum(x: Tensor, row: _Program, way: str) -> Tensor:
    b, h, w, c = x.shape
    out = torch.empty_like(x)
    _rows_kernel[triton.cdiv(c, row.channels) * b * h,](
        x,
        out,
        *row.tables,
        c,
        w,
        *row.line,
        row.channels,
        PRECISIONS[way],
        num_warps=4,
        **LAUNCH,
    )
    return out
