"""The global filter of grids beyond 16 tokens a side in three kernels, in place in the result: rows, columns, rows.

A thread holds one channel of one line, or every second token of it, and transforms it by straight-line code. Threads
side by side take channels side by side: memory is read as it lies, nothing is padded, and nothing goes through shared
memory. Memory is touched six times, twice in each kernel, without a buffer beside the result, where torch.fft touches
it 18 to 22 times: it copies to channel-first and back on both ways, scales in passes of its own, and cuFFT needs one or
two passes a transform. The three kernels issue 46 instructions a number at side 28, 53 at 56 and 75 at 112, which take
less time than memory does (results/tables/gpu_budget.md).

Rows come in pairs, 2 j as real and 2 j + 1 as imaginary part of one complex row, whose spectrum Z lies where they lay:
nothing but complex transforms is needed. The spectra of the two are (Z[v] + conj Z[w - v]) / 2 and
(Z[v] - conj Z[w - v]) / 2i; the kernel of columns, which takes those of v and w - v together, parts and joins them on
its way. The last row of an odd number has no partner: frequency v has its real part in slot v and its imaginary part in
slot w - v ("halfcomplex" order, as FFTW calls it).

Long lines are shared by two threads of a warp, which take even and odd tokens, and in between the lower and upper half
of the frequencies.
"""

# mypy: disable-error-code="no-untyped-def, assignment, misc, annotation-unchecked"
# (the compiler of the kernels reads annotations in its own way, and knows the length of a tuple)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gfnet_bench.models.global_filter.codelets import PRIMES, transform, turned
from gfnet_bench.models.global_filter.language import INTERPRETED, LAUNCH, constexpr, gl, jit

# A thread has 255 registers, and two numbers for each token of its line: beyond, two threads share a line.
TOKENS = 64
# The most that a thread is given, at side 182, the largest of Figure 2. From 154 on some kernels spill, 320 B at most.
MOST = 91
# Numbers of a program that adds up products, and programs that fill a GPU.
NUMBERS, PROGRAMS = 512, 1024

if INTERPRETED:

    @jit
    def _lanes():
        """The 32 threads of a program, which are one warp."""
        return gl.arange(0, 32)

else:

    @jit
    def _lanes():
        """The 32 threads of a program, which are one warp."""
        layout: constexpr = gl.BlockedLayout([1], [32], [1], [0])
        return gl.arange(0, 32, layout=layout)


@jit
def _other(x):
    """What the other thread of the line has."""
    return gl.gather(x, _lanes() ^ 16, 0)


@jit
def _crossed(re, im, part):
    """For each number, the sum over both threads in the first, the difference in the second."""
    sign = (1 - 2 * part).to(gl.float32)
    out_re = ()
    out_im = ()
    for k in gl.static_range(0, len(re)):
        out_re += (re[k] * sign + _other(re[k]),)
        out_im += (im[k] * sign + _other(im[k]),)
    return out_re, out_im


@jit
def _turned_in_second(re, im, part, M: constexpr):
    """Number k times exp(-2 pi i k / 2 M) in the second thread of a line."""
    out_re = ()
    out_im = ()
    for k in gl.static_range(0, M):
        turned_re, turned_im = turned(re[k], im[k], k, 2 * M)
        out_re += (gl.where(part == 0, re[k], turned_re),)
        out_im += (gl.where(part == 0, im[k], turned_im),)
    return out_re, out_im


@jit
def _to_frequencies(re, im, part, N: constexpr, T: constexpr):
    """Tokens T t + part of each thread to frequencies t + N / T part."""
    re, im = transform(re, im, N // T)
    if T == 2:
        re, im = _turned_in_second(re, im, part, N // T)
        re, im = _crossed(re, im, part)
    return re, im


@jit
def _to_tokens(re, im, part, N: constexpr, T: constexpr):
    """The inverse of `_to_frequencies`, but for a factor N."""
    if T == 2:
        re, im = _crossed(re, im, part)
        im, re = _turned_in_second(im, re, part, N // T)
    im, re = transform(im, re, N // T)
    return re, im


@jit
def _place(c: constexpr, T: constexpr):
    """Which image or pair of rows this program has; which thread of a line and which channel its lanes are."""
    channels: constexpr = 32 // T
    tiles: constexpr = (c + channels - 1) // channels
    program, lane = gl.program_id(0), _lanes()
    return program // tiles, lane // channels, program % tiles * channels + lane % channels


@jit
def _rows(c: constexpr, h: constexpr, w: constexpr, T: constexpr):
    """Of this program's two rows: thread, place of the first, which channels exist, whether there is a second."""
    pair, part, channel = _place(c, T)
    pairs: constexpr = (h + 1) // 2
    y = pair % pairs * 2 + gl.zeros_like(channel)
    return part, ((pair // pairs).to(gl.int64) * h + y) * (w * c) + channel, channel < c, y + 1 < h


@jit
def _rows_kernel(x, out, c: constexpr, h: constexpr, w: constexpr, T: constexpr):
    """Tokens of two rows to the spectrum of the complex row that they are."""
    M: constexpr = w // T
    part, place, inside, both = _rows(c, h, w, T)
    re = ()
    im = ()
    for t in gl.static_range(0, M):
        token = place + (T * t + part) * c
        re += (gl.load(x + token, mask=inside, other=0.0),)
        im += (gl.load(x + token + w * c, mask=inside & both, other=0.0),)
    re, im = _to_frequencies(re, im, part, w, T)
    for k in gl.static_range(0, M):
        v = k + M * part
        real = re[k]
        if h % 2 == 1:
            real = gl.where(both | (2 * v <= w), re[k], -im[k])
        gl.store(out + place + v * c, real, mask=inside)
        gl.store(out + place + (v + w) * c, im[k], mask=inside & both)


@jit
def _rows_back_kernel(x, c: constexpr, h: constexpr, w: constexpr, T: constexpr):
    """The inverse of `_rows_kernel`, in place, but for a factor w."""
    M: constexpr = w // T
    part, place, inside, both = _rows(c, h, w, T)
    re = ()
    im = ()
    for k in gl.static_range(0, M):
        v = k + M * part
        if h % 2 == 0:
            re += (gl.load(x + place + v * c, mask=inside, other=0.0),)
            im += (gl.load(x + place + (v + w) * c, mask=inside, other=0.0),)
        else:
            below = 2 * v <= w
            half = gl.where(below, v, w - v)
            imag = gl.load(
                x + place + gl.where(both, v + w, w - half) * c, mask=inside & (both | (half > 0)), other=0.0
            )
            re += (gl.load(x + place + gl.where(both, v, half) * c, mask=inside, other=0.0),)
            im += (gl.where(both, imag, gl.where(2 * half == w, 0.0, gl.where(below, imag, -imag))),)
    re, im = _to_tokens(re, im, part, w, T)
    for t in gl.static_range(0, M):
        token = place + (T * t + part) * c
        gl.store(x + token, re[t], mask=inside)
        gl.store(x + token + w * c, im[t], mask=inside & both)


@jit
def _column(c: constexpr, h: constexpr, w: constexpr, T: constexpr):
    """Image, thread, channel, places of frequencies v and w - v in row 0, and which exist."""
    image, part, channel = _place(c, T)
    v = gl.program_id(1) + gl.zeros_like(channel)
    row = image.to(gl.int64) * (h * w * c) + channel
    inside = channel < c
    return image, part, channel, row + v * c, row + (w - v) % w * c, inside, inside & (v > 0) & (2 * v < w)


@jit
def _column_tokens(x, c: constexpr, h: constexpr, w: constexpr, T: constexpr):
    """Frequency v of every row, twice: each thread's (h / T)."""
    _, part, _, one, other, inside, paired = _column(c, h, w, T)
    re = ()
    im = ()
    for j in gl.static_range(0, h // 2):
        a = gl.load(x + one + 2 * j * w * c, mask=inside, other=0.0)
        b = gl.load(x + one + (2 * j + 1) * w * c, mask=inside, other=0.0)
        a2 = gl.load(x + other + 2 * j * w * c, mask=inside, other=0.0)
        b2 = gl.load(x + other + (2 * j + 1) * w * c, mask=inside, other=0.0)
        if T == 1:
            re += (a + a2, b + b2)
            im += (b - b2, a2 - a)
        else:
            re += (gl.where(part == 0, a + a2, b + b2),)
            im += (gl.where(part == 0, b - b2, a2 - a),)
    if h % 2 == 1:
        a = gl.load(x + one + (h - 1) * w * c, mask=inside, other=0.0)
        b = gl.load(x + other + (h - 1) * w * c, mask=paired, other=0.0)
        re += (a + a,)
        im += (b + b,)
    return re, im


@jit
def _columns_kernel(x, weight, c: constexpr, h: constexpr, w: constexpr, T: constexpr):
    """Columns to frequencies, times the weights, and back, in place."""
    M: constexpr = h // T
    _, part, channel, one, other, inside, paired = _column(c, h, w, T)
    re, im = _column_tokens(x, c, h, w, T)
    re, im = _to_frequencies(re, im, part, h, T)
    out_re = ()
    out_im = ()
    for k in gl.static_range(0, M):
        place = ((k + M * part) * (w // 2 + 1) + gl.program_id(1)) * c + channel
        bits = gl.load(weight + place, mask=inside, other=0)
        real = (bits & 0xFFFFFFFF).to(gl.int32).to(gl.float32, bitcast=True) * (0.5 / (h * w))
        imag = (bits >> 32).to(gl.int32).to(gl.float32, bitcast=True) * (0.5 / (h * w))
        out_re += (re[k] * real - im[k] * imag,)
        out_im += (re[k] * imag + im[k] * real,)
    re, im = _to_tokens(out_re, out_im, part, h, T)
    for j in gl.static_range(0, M // (3 - T)):
        upper, lower = 2 * j * w * c, (2 * j + 1) * w * c
        # A real row has no imaginary part where its frequency is its own conjugate.
        if T == 1:
            a, b = re[2 * j], gl.where(paired, im[2 * j], 0.0)
            a2, b2 = re[2 * j + 1], gl.where(paired, im[2 * j + 1], 0.0)
            gl.store(x + one + upper, a - b2, mask=inside)
            gl.store(x + one + lower, b + a2, mask=inside)
            gl.store(x + other + upper, a + b2, mask=paired)
            gl.store(x + other + lower, a2 - b, mask=paired)
        else:
            a, b = re[j], gl.where(paired, im[j], 0.0)
            real, imag = a - _other(b), b + _other(a)
            place = gl.where(part == 0, one, other)
            exists = inside & ((part == 0) | paired)
            gl.store(x + place + upper, gl.where(part == 0, real, imag), mask=exists)
            gl.store(x + place + lower, gl.where(part == 0, imag, real), mask=exists)
    if h % 2 == 1:
        gl.store(x + one + (h - 1) * w * c, re[h - 1], mask=inside)
        gl.store(x + other + (h - 1) * w * c, im[h - 1], mask=paired)


@jit
def _spectrum_kernel(x, out, c: constexpr, h: constexpr, w: constexpr, T: constexpr):
    """Columns to frequencies, in planes of real and imaginary parts; twice what they are."""
    M: constexpr = h // T
    plane: constexpr = h * (w // 2 + 1) * c
    image, part, channel, _, _, inside, _ = _column(c, h, w, T)
    re, im = _column_tokens(x, c, h, w, T)
    re, im = _to_frequencies(re, im, part, h, T)
    out += image.to(gl.int64) * (2 * plane)
    for k in gl.static_range(0, M):
        place = ((k + M * part) * (w // 2 + 1) + gl.program_id(1)) * c + channel
        gl.store(out + place, re[k], mask=inside)
        gl.store(out + plane + place, im[k], mask=inside)


@triton.jit(do_not_specialize=["images", "part"])  # one machine code for every batch, the one that is checked
def _products_kernel(x, grad, out, images, part, c: constexpr, h: constexpr, w: constexpr, N: constexpr):
    """Spectra of input and output gradient to the gradient for the weight, over a part of the images."""
    half: constexpr = w // 2 + 1
    plane: constexpr = h * half * c
    place = tl.program_id(0) * N + tl.arange(0, N)
    inside = place < plane
    first = tl.program_id(1) * part
    x += first.to(tl.int64) * (2 * plane)
    grad += first.to(tl.int64) * (2 * plane)
    real = tl.zeros((N,), tl.float32)
    imag = tl.zeros((N,), tl.float32)
    for _ in range(min(images - first, part)):
        re = tl.load(x + place, mask=inside, other=0.0)
        im = tl.load(x + plane + place, mask=inside, other=0.0)
        grad_re = tl.load(grad + place, mask=inside, other=0.0)
        grad_im = tl.load(grad + plane + place, mask=inside, other=0.0)
        real += re * grad_re + im * grad_im
        imag += re * grad_im - im * grad_re
        x += 2 * plane
        grad += 2 * plane
    v = place // c % half
    # Columns that are no conjugate of another stand for their mirror images too.
    factor = tl.where((v == 0) | (2 * v == w), 0.25, 0.5) / (h * w)
    out += 2 * (tl.program_id(1).to(tl.int64) * plane + place)
    tl.store(out, real * factor, mask=inside)
    tl.store(out + 1, imag * factor, mask=inside)


def threads(n: int) -> int | None:
    """How many threads share a line of n tokens; None where there is no kernel for it."""
    shared = 1 if n <= TOKENS or n % 2 else 2
    rest = n
    for prime in PRIMES:
        while rest % prime == 0:
            rest //= prime
    return shared if n <= TOKENS or (rest == 1 and n <= shared * MOST) else None


def fits(h: int, w: int) -> bool:
    """Whether there are kernels for a grid."""
    return threads(h) is not None and threads(w) is not None


def _launch(kernel, columns: bool, x: Tensor, *more: Tensor) -> None:
    """Start a kernel: a program for every 32 threads, which take a line, two rows or a column, of some channels."""
    b, h, w, c = x.shape
    T = threads(h if columns else w)
    assert T is not None
    tiles = triton.cdiv(c * T, 32)
    grid = (tiles * b, w // 2 + 1) if columns else (tiles * b * triton.cdiv(h, 2),)
    with torch.cuda.device_of(x):
        kernel[grid](x, *more, c, h, w, T, num_warps=1, **LAUNCH)


def _rows_of(x: Tensor) -> Tensor:
    """The spectra of pairs of rows, (b, h, w, c)."""
    out = torch.empty_like(x)
    _launch(_rows_kernel, False, x, out)
    return out


def global_filter(x: Tensor, weight: Tensor) -> Tensor:
    """(b, h, w, c) contiguous float32 to the same; weight (h, w // 2 + 1, c, 2)."""
    out = _rows_of(x)
    _launch(_columns_kernel, True, out, weight.view(torch.int64))
    _launch(_rows_back_kernel, False, out)
    return out


def _spectrum(x: Tensor) -> Tensor:
    """Twice the half spectra of maps (b, h, w, c), not normalised: (b, 2, h, w // 2 + 1, c)."""
    b, h, w, c = x.shape
    out = x.new_empty(b, 2, h, w // 2 + 1, c)
    _launch(_spectrum_kernel, True, _rows_of(x), out)
    return out


def weight_gradient(x: Tensor, grad: Tensor) -> Tensor:
    """Gradient for the weight, (h, w // 2 + 1, c, 2), from input and output gradient, (b, h, w, c) float32."""
    b, h, w, c = x.shape
    of_x, of_grad = _spectrum(x), _spectrum(grad)
    blocks = triton.cdiv(h * (w // 2 + 1) * c, NUMBERS)
    # As many parts of the sum over images as fill a GPU, added up in a second pass: atomics would add in any order.
    part = triton.cdiv(b, max(1, min(b // 2, PROGRAMS // blocks)))
    parts = x.new_empty(triton.cdiv(b, part), h, w // 2 + 1, c, 2)
    with torch.cuda.device_of(x):
        _products_kernel[blocks, len(parts)](of_x, of_grad, parts, b, part, c, h, w, NUMBERS, num_warps=4, **LAUNCH)
    return parts.sum(0)
