"""What Table 1 and Figure 2 say in closed form, to hold against what is counted."""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

import torch

from gfnet_bench.conventions import CONVENTIONS
from gfnet_bench.errors import UsageError
from gfnet_bench.mixers import MIXERS
from gfnet_bench.profiling.blocks import MLP_RATIO
from gfnet_bench.profiling.flops import count


class Operation(NamedTuple):
    """A row of Table 1: one token mixer, symbolic and counted side by side.

    Attributes:
        mixer: its name in `MIXERS`.
        complexity: multiply-adds on one image as a formula of H, W, D and k, with all constants.
        params: numbers it learns as a formula, biases left out.
        formula_macs: `complexity` worked out.
        counted_macs: what the counter says, under the convention `table1`.
        formula_params: `params` worked out.
        counted_params: what the module has, biases left out.
    """

    mixer: str
    complexity: str
    params: str
    formula_macs: int
    counted_macs: int
    formula_params: int
    counted_params: int


def block_macs(mixer: str, tokens: int, width: int = 384) -> int:
    """Multiply-adds of one block of Figure 2 on one image, by the formulas the figure was drawn from.

    Raises:
        UsageError: as `block_operators`.
    """
    return sum(block_operators(mixer, tokens, width).values())


def block_operators(mixer: str, tokens: int, width: int = 384, convention: str = "table1") -> dict[str, int]:
    """The cost of one block of Figure 2 on one image, by kind of operator.

    Args:
        mixer: a name in `MIXERS`.
        tokens: n, a square number.
        width: features d.
        convention: a name in `CONVENTIONS`; `table1` is that of Figure 2.

    Returns:
        As `Count.operators`, in the convention's unit.

    Raises:
        UsageError: if there is no such mixer or convention, or `tokens` is not a square number.
    """
    rule, side, spec = CONVENTIONS[convention], math.isqrt(tokens), MIXERS[mixer]
    if side**2 != tokens:
        raise UsageError(
            f"expected a square number of tokens, found {tokens}; near ones are {side**2} and {(side + 1) ** 2}."
        )
    cost = Counter(spec.operators(side, width, rule))
    cost["linear"] += rule.per_mac * 2 * MLP_RATIO * tokens * width**2
    if not spec.affine:
        cost["layer_norm"] += 2 * rule.layer_norm * tokens * width
    return dict(+cost)


def table1(mixer: str, side: int = 14, width: int = 384) -> Operation:
    """One row of Table 1.

    The paper drops constants (`HWD^2 + H^2 W^2 D` for attention) and writes HWD for the filter's parameters; here both
    are exact, so that the two columns must agree.

    Raises:
        UsageError: if there is no such mixer, or it has no formula.
    """
    spec = MIXERS[mixer]
    if spec.formula is None:
        known = ", ".join(name for name in MIXERS if MIXERS[name].formula)
        raise UsageError(f"{mixer}: expected a mixer that has a formula ({known})")
    with torch.device("meta"):
        module = spec.build(side, width)
    return Operation(
        mixer,
        spec.formula.complexity,
        spec.formula.params,
        formula_macs=sum(spec.operators(side, width, CONVENTIONS["table1"]).values()),
        counted_macs=count(module, (1, side**2, width), convention="table1").total,
        formula_params=spec.formula.learned(side, width),
        counted_params=sum(value.numel() for value in module.parameters() if value.ndim > 1),
    )
