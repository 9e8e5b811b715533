"""What Table 1 and Figure 2 say in closed form, to hold against what is counted."""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

import torch

from gfnet_bench.errors import UsageError
from gfnet_bench.profiling.flops import CONVENTIONS, Transform, count
from gfnet_bench.profiling.mixers import KERNEL, MIXERS, MLP_RATIO


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
    rule = CONVENTIONS[convention]
    cost = mixer_operators(mixer, tokens, width, convention)
    cost["linear"] += rule.per_mac * 2 * MLP_RATIO * tokens * width**2
    if MIXERS.canonical(mixer) != "spatial_mlp":  # which has no LayerNorm
        cost["layer_norm"] += 2 * rule.layer_norm * tokens * width
    return dict(+cost)


def mixer_operators(mixer: str, tokens: int, width: int = 384, convention: str = "table1") -> Counter[str]:
    """The same of the mixer alone."""
    rule, side = CONVENTIONS[convention], math.isqrt(tokens)
    if side**2 != tokens:
        raise UsageError(
            f"expected a square number of tokens, found {tokens}; near ones are {side**2} and {(side + 1) ** 2}."
        )
    n, d = tokens, width
    attention = Counter(linear=4 * n * d**2, attention=2 * n**2 * d)
    macs = {
        MIXERS["self_attention"]: attention,
        MIXERS["self_attention_fused"]: attention,
        MIXERS["spatial_mlp"]: Counter(linear=n**2 * d),
        MIXERS["depthwise_conv"]: Counter(convolution=KERNEL**2 * n * d),
    }
    if MIXERS[mixer] not in macs:
        return filter_operators((side, side), d, convention)
    return Counter({kind: rule.per_mac * value for kind, value in macs[MIXERS[mixer]].items()})


def filter_operators(grid: tuple[int, int], width: int, convention: str) -> Counter[str]:
    """The same of a global filter on any grid of (h, w) tokens."""
    rule = CONVENTIONS[convention]
    points, half = grid[0] * grid[1], grid[0] * (grid[1] // 2 + 1)
    transforms = (Transform("r2c", points, points, width), Transform("c2r", half, points, width))
    return Counter(
        fft=sum(round(rule.transform(fft)) for fft in transforms), complex_product=rule.complex_product * half * width
    )


_SYMBOLIC = {
    "depthwise_conv": ("k^2 HWD", "k^2 D"),
    "self_attention": ("4 HWD^2 + 2 H^2 W^2 D", "4 D^2"),
    "spatial_mlp": ("H^2 W^2 D", "H^2 W^2"),
    "global_filter": ("HWD ceil(log2(HW)) + HWD", "2 H (floor(W/2) + 1) D"),
}


def table1(tokens: int = 196, width: int = 384) -> list[Operation]:
    """The rows of Table 1, in the order of the paper.

    The paper drops constants (`HWD^2 + H^2 W^2 D` for attention) and writes HWD for the filter's parameters; here both
    are exact, so that the two columns must agree.

    Raises:
        UsageError: if `tokens` is not a square number.
    """
    side, rows = math.isqrt(tokens), []
    params = {
        "depthwise_conv": KERNEL**2 * width,
        "self_attention": 4 * width**2,
        "spatial_mlp": tokens**2,
        "global_filter": 2 * side * (side // 2 + 1) * width,
    }
    for mixer, (complexity, params_formula) in _SYMBOLIC.items():
        formula_macs = sum(mixer_operators(mixer, tokens, width).values())
        with torch.device("meta"):
            module = MIXERS[mixer](side, width)
        counted = count(module, (1, tokens, width), convention="table1").total
        learned = sum(value.numel() for value in module.parameters() if value.ndim > 1)
        rows.append(Operation(mixer, complexity, params_formula, formula_macs, counted, params[mixer], learned))
    return rows
