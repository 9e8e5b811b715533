"""What the kernels of the global filter share: products in a chosen precision, and reading complex weights."""

# mypy: disable-error-code="no-untyped-def"
# (the compiler of the kernels reads annotations in its own way)

from __future__ import annotations

import os

import triton
import triton.language as tl
from triton.language import constexpr

_VERSION = tuple(int(number) for number in triton.__version__.split(".")[:2])
if _VERSION < (3, 6):
    raise ImportError(f"found Triton {triton.__version__}")
# "tf32x3" splits each factor into two tf32 numbers and keeps three of their four products: as exact as float32.
PRECISIONS = {"triton": "tf32x3", "triton_tf32": "tf32", "triton_bf16": "bf16"}
# Terms that a product takes at least; Triton 3.8 is the first to take 8 of float32.
LEAST = {way: 8 if _VERSION >= (3, 8) and way != "triton_bf16" else 16 for way in PRECISIONS}
# Tiles fill the registers: nothing is loaded ahead. Products and sums are one operation, whatever a later Triton does.
LAUNCH = {"num_stages": 1, "enable_fp_fusion": True}
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


@triton.jit
def _high(a):
    """The nearest number of ten bits after the leading one, which is what tf32 reads."""
    return ((a.to(tl.int32, bitcast=True) + 4096) & -8192).to(tl.float32, bitcast=True)


@triton.jit
def dot(a, b, PRECISION: constexpr, total=None):
    """Product of two float32 matrices, added to `total` if there is one; summed in float32."""
    if PRECISION == "bf16":
        return tl.dot(a.to(tl.bfloat16), b.to(tl.bfloat16), total)
    elif PRECISION == "tf32":
        return tl.dot(a, b, total, input_precision="tf32")
    else:
        a_high, b_high = _high(a), _high(b)
        total = tl.dot(a - a_high, b_high, total, input_precision="tf32")
        total = tl.dot(a_high, b - b_high, total, input_precision="tf32")
        return tl.dot(a_high, b_high, total, input_precision="tf32")


@triton.jit
def swapped(tile, BC: constexpr, M: constexpr, N: constexpr):
    """(BC * M, N) to (BC * N, M)."""
    return tile.reshape(BC, M, N).permute(0, 2, 1).reshape(BC * N, M)


@triton.jit
def complex_weights(pointer, row, column, channel, exists, half: constexpr, c):
    """One load of 8 bytes for real and imaginary part, so that channels are read side by side."""
    bits = tl.load(pointer + (row * half + column) * c + channel, mask=exists, other=0)
    real = (bits & 0xFFFFFFFF).to(tl.int32).to(tl.float32, bitcast=True)
    return real, (bits >> 32).to(tl.int32).to(tl.float32, bitcast=True)
