"""The global filter of small grids as one kernel of unrolled transforms: memory is touched twice, products are float32.

A thread holds a whole row of tokens, one number in each element of a tuple, and transforms it by straight-line code
with constant factors; shared memory is used only to exchange rows for columns. At 14 x 14 that takes half the
instructions of products on tensor cores, and is more exact, being plain float32. The time of the compiler grows with
the third power of a side, which bounds them.

Real numbers do throughout. A transform of n numbers has cosine coefficients 0 to n // 2 and sine coefficients 1 to
(n - 1) // 2. Along w these are the planes (real, imaginary): slot 0 of the imaginary plane, always zero for real input,
holds the real column of frequency w / 2 where w is even. Columns of both planes are transformed in the same way. With C
and S the coefficients of a column at u, filtering by W(u) and W(-u) gives E C - O S and O C + E S, where
E = W(u) + W(-u) and O = i (W(u) - W(-u)); see `by_torch.dense`. In real columns only real parts of E and O act.
"""

# mypy: disable-error-code="no-untyped-def, assignment, misc"
# (the compiler of the kernels reads annotations in its own way, and knows the length of a tuple)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from gfnet_bench.models.global_filter.codelets import cosine, sine
from gfnet_bench.models.global_filter.language import LAUNCH

# At 28, the compiler takes a minute.
SIDES = 16
# Channels of a program: 128 bytes, a line of the cache.
CHANNELS = 32
WARPS = 4


@triton.jit
def _fold(x, N: constexpr):
    """Cosine coefficients 0 to N // 2 and sine coefficients 1 to (N - 1) // 2: N-tuples of sums and differences."""
    sums = (x[0],)
    differences = ()
    for t in tl.static_range(1, (N + 1) // 2):
        sums += (x[t] + x[N - t],)
        differences += (x[t] - x[N - t],)
    if N % 2 == 0:
        sums += (x[N // 2],)
    cosines = ()
    for k in tl.static_range(0, N // 2 + 1):
        total = sums[0]
        for t in tl.static_range(1, N // 2 + 1):
            total += sums[t] * cosine(k * t, N)
        cosines += (total,)
    sines = ()
    for k in tl.static_range(1, (N + 1) // 2):
        total = differences[0] * sine(k, N)
        for t in tl.static_range(2, (N + 1) // 2):
            total += differences[t - 1] * sine(k * t, N)
        sines += (total,)
    return cosines, sines


@triton.jit
def _unfold(cosines, sines, N: constexpr, PAIR: constexpr, SCALE: constexpr):
    """SCALE times the sum of all waves, those of frequencies that come in pairs times PAIR."""
    even = ()
    for t in tl.static_range(0, N // 2 + 1):
        total = cosines[0] * SCALE
        for k in tl.static_range(1, (N + 1) // 2):
            total += cosines[k] * (PAIR * SCALE * cosine(k * t, N))
        if N % 2 == 0:
            total += cosines[N // 2] * (SCALE if t % 2 == 0 else -SCALE)
        even += (total,)
    odd = ()
    for t in tl.static_range(1, (N + 1) // 2):
        total = sines[0] * (PAIR * SCALE * sine(t, N))
        for k in tl.static_range(2, (N + 1) // 2):
            total += sines[k - 1] * (PAIR * SCALE * sine(k * t, N))
        odd += (total,)
    x = (even[0],)
    for t in tl.static_range(1, N):
        if 2 * t < N:
            x += (even[t] + odd[t - 1],)
        elif 2 * t == N:
            x += (even[t],)
        else:
            x += (even[N - t] - odd[N - t - 1],)
    return x


@triton.jit
def _forward(x, N: constexpr):
    """Like `_fold`; 2 M numbers, M odd, as two transforms of M (Good and Thomas: no factors between them)."""
    M: constexpr = N // 2
    if N % 4 != 2 or N == 2:
        return _fold(x, N)
    else:
        sums = ()
        differences = ()
        for t in tl.static_range(0, M):
            sums += (x[2 * t % N] + x[(2 * t + M) % N],)
            differences += (x[2 * t % N] - x[(2 * t + M) % N],)
        even_cosines, even_sines = _fold(sums, M)
        odd_cosines, odd_sines = _fold(differences, M)
        cosines = ()
        sines = ()
        for k in tl.static_range(0, M + 1):
            # Frequency k is k % M of the sums or differences; beyond M / 2 it is the conjugate of another one.
            if k % 2 == 0:
                cosines += (even_cosines[k % M if 2 * (k % M) < M else M - k % M],)
            else:
                cosines += (odd_cosines[k % M if 2 * (k % M) < M else M - k % M],)
        for k in tl.static_range(1, M):
            if 2 * k < M:
                sines += (even_sines[k - 1] if k % 2 == 0 else odd_sines[k - 1],)
            else:
                sines += (-(even_sines[M - k - 1] if k % 2 == 0 else odd_sines[M - k - 1]),)
        return cosines, sines


@triton.jit
def _backward(cosines, sines, N: constexpr, PAIR: constexpr, SCALE: constexpr):
    """Like `_unfold`; cut as in `_forward`."""
    M: constexpr = N // 2
    if N % 4 != 2 or N == 2:
        return _unfold(cosines, sines, N, PAIR, SCALE)
    else:
        even_cosines = (cosines[0],)
        odd_cosines = (cosines[M],)
        even_sines = ()
        odd_sines = ()
        for k in tl.static_range(1, (M + 1) // 2):
            if k % 2 == 0:
                even_cosines += (cosines[k],)
                even_sines += (sines[k - 1],)
                odd_cosines += (cosines[M - k],)
                odd_sines += (-sines[M - k - 1],)
            else:
                odd_cosines += (cosines[k],)
                odd_sines += (sines[k - 1],)
                even_cosines += (cosines[M - k],)
                even_sines += (-sines[M - k - 1],)
        sums = _unfold(even_cosines, even_sines, M, PAIR, SCALE)
        differences = _unfold(odd_cosines, odd_sines, M, PAIR, SCALE)
        x = ()
        for t in tl.static_range(0, N):
            if t % 2 == 0:
                x += (sums[t // 2] + differences[t // 2],)
            else:
                x += (sums[(t + M) % N // 2] - differences[(t + M) % N // 2],)
        return x


@triton.jit
def _joined(x, N: constexpr):
    """A tuple of N tensors to one, whose last dimensions are the place in the tuple in binary."""
    if N == 1:
        return x[0]
    else:
        pairs = ()
        for i in tl.static_range(0, N // 2):
            pairs += (tl.join(x[i], x[i + N // 2]),)
        return _joined(pairs, N // 2)


@triton.jit
def _parted(x, N: constexpr, R: constexpr, C: constexpr):
    """Tensors (R, C, N) to a tuple along N."""
    if N == 1:
        parts = ()
        for i in tl.static_range(0, len(x)):
            parts += (x[i].reshape(R, C),)
        return parts
    else:
        evens = ()
        odds = ()
        for i in tl.static_range(0, len(x)):
            even, odd = tl.split(x[i].reshape(R, C, N // 2, 2))
            evens += (even,)
            odds += (odd,)
        return _parted(evens + odds, N // 2, R, C)


@triton.jit
def _exchanged(x, R: constexpr, N: constexpr, M: constexpr):
    """A tuple of at most N tensors (R, M) to one of M tensors (R, N)."""
    for _ in tl.static_range(len(x), N):
        x += (tl.zeros_like(x[0]),)
    return _parted((_joined(x, N).reshape(R, M, N).permute(0, 2, 1),), M, R, N)


@triton.jit
def _complex_weights(pointer, row, column, channel, exists, half: constexpr, c):
    """One load of 8 bytes for real and imaginary part, so that channels are read side by side."""
    bits = tl.load(pointer + (row * half + column) * c + channel, mask=exists, other=0)
    real = (bits & 0xFFFFFFFF).to(tl.int32).to(tl.float32, bitcast=True)
    return real, (bits >> 32).to(tl.int32).to(tl.float32, bitcast=True)


@triton.jit
def _filter_kernel(x, weight, out, c, h: constexpr, w: constexpr, HP: constexpr, VP: constexpr, BC: constexpr):
    V: constexpr = (w + 1) // 2
    half: constexpr = w // 2 + 1
    tiles = tl.cdiv(c, BC)
    channel = tl.program_id(0) % tiles * BC + tl.arange(0, BC)[:, None]
    y = tl.arange(0, HP)[None, :]
    image = (tl.program_id(0) // tiles).to(tl.int64) * (h * w * c)
    places = y * (w * c) + channel
    inside = (y < h) & (channel < c)
    row = ()
    for i in tl.static_range(0, w):
        row += (tl.load(x + image + places + i * c, mask=inside, other=0.0),)
    cosines, sines = _forward(row, w)
    real = (cosines[0],)
    imag = (cosines[w // 2] if w % 2 == 0 else tl.zeros_like(row[0]),)
    for v in tl.static_range(1, V):
        real += (cosines[v],)
        imag += (-sines[v - 1],)
    cr, sr = _forward(_exchanged(real, BC, VP, HP), h)
    ci, si = _forward(_exchanged(imag, BC, VP, HP), h)

    v = tl.arange(0, VP)[None, :]
    exists = (v < V) & (channel < c)
    pairs = v > 0
    # The plane of sines holds another real column in slot 0; elsewhere both planes share their coefficients.
    v_of_imag = tl.where(pairs, v, (w // 2) * (1 - w % 2))
    new_cr = ()
    new_ci = ()
    new_sr = ()
    new_si = ()
    for u in tl.static_range(0, h // 2 + 1):
        pr, pi = _complex_weights(weight, u, v, channel, exists, half, c)
        pr2, pi2 = _complex_weights(weight, u, v_of_imag, channel, exists, half, c)
        if u == 0 or 2 * u == h:  # frequencies without a partner
            ei = tl.where(pairs, pi, 0.0)
            new_cr += (pr * cr[u] - ei * ci[u],)
            new_ci += (pr2 * ci[u] + ei * cr[u],)
        else:
            mr, mi = _complex_weights(weight, h - u, v, channel, exists, half, c)
            mr2, mi2 = _complex_weights(weight, h - u, v_of_imag, channel, exists, half, c)
            er, er2, ei = pr + mr, pr2 + mr2, tl.where(pairs, pi + mi, 0.0)
            o_r, o_r2, o_i = mi - pi, mi2 - pi2, tl.where(pairs, pr - mr, 0.0)
            new_cr += (er * cr[u] - ei * ci[u] - o_r * sr[u - 1] + o_i * si[u - 1],)
            new_ci += (er2 * ci[u] + ei * cr[u] - o_r2 * si[u - 1] - o_i * sr[u - 1],)
            new_sr += (er * sr[u - 1] - ei * si[u - 1] + o_r * cr[u] - o_i * ci[u],)
            new_si += (er2 * si[u - 1] + ei * sr[u - 1] + o_r2 * ci[u] + o_i * cr[u],)

    # E and O stand for both frequencies of a pair already; those of half a spectrum count twice.
    real = _exchanged(_backward(new_cr, new_sr, h, 1, 1 / h), BC, HP, VP)
    imag = _exchanged(_backward(new_ci, new_si, h, 1, 1 / h), BC, HP, VP)
    cosines = (real[0],)
    sines = ()
    for i in tl.static_range(1, V):
        cosines += (real[i],)
        sines += (-imag[i],)
    if w % 2 == 0:
        cosines += (imag[0],)
    row = _backward(cosines, sines, w, 2, 1 / w)
    for i in tl.static_range(0, w):
        tl.store(out + image + places + i * c, row[i], mask=inside)


def global_filter(x: Tensor, weight: Tensor) -> Tensor:
    """(b, h, w, c) contiguous float32 to the same; weight (h, w // 2 + 1, c, 2)."""
    b, h, w, c = x.shape
    out = torch.empty_like(x)
    with torch.cuda.device_of(x):
        _filter_kernel[triton.cdiv(c, CHANNELS) * b,](
            x,
            weight.view(torch.int64),
            out,
            c,
            h,
            w,
            triton.next_power_of_2(h),
            triton.next_power_of_2((w + 1) // 2),
            CHANNELS,
            num_warps=WARPS,
            **LAUNCH,
        )
    return out
