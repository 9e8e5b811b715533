"""What a kernel of Triton or Gluon becomes on a GPU, compiled and read without one."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

CAPABILITY = 90
"""Of a Hopper GPU, H100 or H200."""


class Code(NamedTuple):
    """Machine code of a kernel.

    Attributes:
        instructions: how many a thread issues, where nothing loops.
        registers: of a thread.
        stack: bytes of a thread that did not fit them.
        shared: bytes of shared memory of a program.
    """

    instructions: int
    registers: int
    stack: int
    shared: int


def compiled(kernel: Any, sizes: Mapping[str, Any], types: Mapping[str, str], warps: int, fusion: bool = True) -> Any:
    """A kernel as Triton compiles it for a Hopper GPU; `asm` and `metadata` of the result say what came out.

    Args:
        kernel: decorated by `triton.jit` or `gluon.jit`.
        sizes: its constants, and what others may know too.
        types: of arguments, as Triton spells them (`*fp32`, `i32`); those that are not named are pointers to float32.
            What is specialised counts as a multiple of 16, as pointers and usual widths are.
        warps: of a program.
        fusion: whether a product and a sum may be rounded as one.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.experimental.gluon._runtime import GluonASTSource, GluonJITFunction

    constants = {p.name: sizes[p.name] for p in kernel.params if p.is_constexpr}
    kinds = {name: "constexpr" if name in constants else types.get(name, "*fp32") for name in kernel.arg_names}
    special = (i for i, p in enumerate(kernel.params) if not (p.is_constexpr or p.do_not_specialize))
    aligned = {(i,): [["tt.divisibility", 16]] for i in special}
    source = GluonASTSource if isinstance(kernel, GluonJITFunction) else triton.compiler.ASTSource
    options = {"num_warps": warps, "num_stages": 1, "enable_fp_fusion": fusion}
    target = GPUTarget("cuda", CAPABILITY, 32)
    return triton.compile(source(kernel, kinds, constants, aligned), target=target, options=options)


def read(kernel: Any) -> Code:
    """What `compiled` gave, counted by the tools that come with Triton."""
    import triton

    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        listing, usage = (
            subprocess.run([tools / tool, option, file.name], capture_output=True, text=True, check=True).stdout
            for tool, option in (("nvdisasm", "-c"), ("cuobjdump", "-res-usage"))
        )
    names = re.findall(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\d+\s+)?([A-Z][A-Z0-9]*)", listing, re.MULTILINE)
    used = {name: int(number) for name, number in re.findall(r"(REG|STACK|SHARED):(\d+)", usage)}
    return Code(sum(name != "NOP" for name in names), used["REG"], used["STACK"], used["SHARED"])
