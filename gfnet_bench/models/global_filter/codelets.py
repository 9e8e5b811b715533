"""Fourier transforms as straight-line code on tuples of numbers, with constant factors: what one thread computes.

A transform of n = a b numbers is b of a, turned, then a of b: with token t = b t1 + t2 and frequency k = k1 + a k2,

    X[k1 + a k2] = sum over t2 of F_b[t2, k2] turn[t2, k1] sum over t1 of F_a[t1, k1] x[b t1 + t2],

where F_n[t, k] = exp(-2 pi i t k / n) and turn[t2, k1] = exp(-2 pi i t2 k1 / n). Prime numbers take the formula.
"""

# mypy: disable-error-code="no-untyped-def, assignment, misc"
# (the compiler of the kernels reads annotations in its own way, and knows the length of a tuple)

from __future__ import annotations

import math

import triton

from gfnet_bench.models.global_filter.language import constexpr, gl, jit

PRIMES = 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31
"""Factors that a transform is cut into; the formula for the next takes longer than memory does."""


@triton.constexpr_function
def cosine(k, n):
    """Of k steps of n around the circle."""
    return math.cos(2 * math.pi * (k % n) / n)


@triton.constexpr_function
def sine(k, n):
    """Of k steps of n around the circle."""
    return math.sin(2 * math.pi * (k % n) / n)


@triton.constexpr_function
def _factor(n):
    """What n is cut by."""
    return 4 if n % 4 == 0 else next((prime for prime in PRIMES if n % prime == 0), n)


@jit
def turned(re, im, K: constexpr, N: constexpr):
    """A number times exp(-2 pi i K / N)."""
    if 4 * K % N != 0:
        return re * cosine(K, N) + im * sine(K, N), im * cosine(K, N) - re * sine(K, N)
    elif 4 * K // N % 4 == 0:
        return re, im
    elif 4 * K // N % 4 == 1:
        return im, -re
    elif 4 * K // N % 4 == 2:
        return -re, -im
    else:
        return -im, re


@jit
def _by_formula(re, im, N: constexpr):
    """For odd N: sums of tokens t and N - t times cosines, their differences times sines."""
    sums = ()
    differences = ()
    first = re[0], im[0]
    for t in gl.static_range(1, (N + 1) // 2):
        sums += ((re[t] + re[N - t], im[t] + im[N - t]),)
        differences += ((re[t] - re[N - t], im[t] - im[N - t]),)
        first = first[0] + sums[t - 1][0], first[1] + sums[t - 1][1]
    low = ()
    high = ()
    for k in gl.static_range(1, (N + 1) // 2):
        even = re[0], im[0]
        odd = differences[0][1] * sine(k, N), differences[0][0] * sine(k, N)
        for t in gl.static_range(1, (N + 1) // 2):
            even = even[0] + sums[t - 1][0] * cosine(k * t, N), even[1] + sums[t - 1][1] * cosine(k * t, N)
        for t in gl.static_range(2, (N + 1) // 2):
            odd = odd[0] + differences[t - 1][1] * sine(k * t, N), odd[1] + differences[t - 1][0] * sine(k * t, N)
        low += ((even[0] + odd[0], even[1] - odd[1]),)
        high = ((even[0] - odd[0], even[1] + odd[1]),) + high  # noqa: RUF005 (Triton unpacks no tuples)
    return _planes((first,) + low + high)  # noqa: RUF005


@jit
def _planes(numbers):
    """Pairs of real and imaginary parts to a tuple of each."""
    re = ()
    im = ()
    for k in gl.static_range(0, len(numbers)):
        re += (numbers[k][0],)
        im += (numbers[k][1],)
    return re, im


@jit
def _of_four(re, im):
    even_re, even_im, odd_re, odd_im = re[0] + re[2], im[0] + im[2], re[1] + re[3], im[1] + im[3]
    a_re, a_im, b_re, b_im = re[0] - re[2], im[0] - im[2], re[1] - re[3], im[1] - im[3]
    return (
        (even_re + odd_re, a_re + b_im, even_re - odd_re, a_re - b_im),
        (even_im + odd_im, a_im - b_re, even_im - odd_im, a_im + b_re),
    )


@jit
def transform(re, im, N: constexpr):
    """N real and N imaginary parts to those of the spectrum, not normalised.

    Exchanging real and imaginary parts before and after gives the inverse.
    """
    B: constexpr = _factor(N)
    A: constexpr = N // B
    if N == 1:
        return re, im
    elif N == 2:
        return (re[0] + re[1], re[0] - re[1]), (im[0] + im[1], im[0] - im[1])
    elif N == 4:
        return _of_four(re, im)
    elif A == 1:
        return _by_formula(re, im, N)
    else:
        level = ()
        for t2 in gl.static_range(0, B):
            level += (transform(_every(re, t2, B), _every(im, t2, B), A),)
        columns = ()
        for k1 in gl.static_range(0, A):
            column = ()
            for t2 in gl.static_range(0, B):
                column += (turned(level[t2][0][k1], level[t2][1][k1], t2 * k1, N),)
            column_re, column_im = _planes(column)
            columns += (transform(column_re, column_im, B),)
        out_re = ()
        out_im = ()
        for k in gl.static_range(0, N):
            out_re += (columns[k % A][0][k // A],)
            out_im += (columns[k % A][1][k // A],)
        return out_re, out_im


@jit
def _every(x, START: constexpr, STEP: constexpr):
    out = ()
    for t in gl.static_range(START, len(x), STEP):
        out += (x[t],)
    return out
