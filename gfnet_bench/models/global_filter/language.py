"""The language of the kernels: Triton, and Gluon where its interpreter is not asked for.

Triton decides for each access to memory how a tile is spread over threads, in a time that grows with the third power of
the length of the code. In Gluon, its language of explicit layouts, that is said, and long code builds in seconds. Gluon
has no interpreter: there the same source is Triton's, which has the same names for what is used here.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import triton

_VERSION = tuple(int(number) for number in triton.__version__.split(".")[:2])
if _VERSION < (3, 6):
    raise ImportError(f"found Triton {triton.__version__}")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
# Numbers fill the registers: nothing is loaded ahead. Products and sums are one, whatever a later Triton does.
LAUNCH = {"num_stages": 1, "enable_fp_fusion": True}

gl: Any = import_module("triton.language" if INTERPRETED else "triton.experimental.gluon.language")
jit: Any = triton.jit if INTERPRETED else import_module("triton.experimental.gluon").jit
constexpr = gl.constexpr
