"""Claims about multiply-adds, latency, memory and parameters: how they grow, how they compare, what was printed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from gfnet_bench.catalog import MODELS
from gfnet_bench.errors import MissingError
from gfnet_bench.metrics import Interval, Z
from gfnet_bench.published import is_verified, rows
from gfnet_bench.reports.claims.base import CONTRADICTED, REPRODUCED, UNDECIDED, Evidence, Finding, by_interval
from gfnet_bench.reports.complexity.growth import growth
from gfnet_bench.reports.complexity.results import Point, Setup

Cost = Literal["count", "latency", "memory"]
Law = Literal["log-linear", "quadratic"]

WIDTH = 384
"""Features of the blocks that the claims are about, those of Figure 2."""

_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""The 0.975 quantiles of Student's t with 1 to 10 degrees of freedom."""


def student(free: int) -> float:
    """The 0.975 quantile of Student's t with so many degrees of freedom."""
    if free <= len(_STUDENT):
        return _STUDENT[free - 1]
    return Z + (Z**3 + Z) / (4 * free) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * free**2)  # Fisher's expansion


_UNMEASURED = {
    "count": "gfnet-bench paper figure2 --count-only",
    "latency": "gfnet-bench paper figure2",
    "memory": "gfnet-bench paper figure2",
}


_BLOCKS: Mapping[str, Callable[[int], float]] = {
    "global_filter": lambda n: 8 * n * WIDTH + n * (math.ceil(math.log2(n)) + 1),
    "spatial_mlp": lambda n: 8 * n * WIDTH + n**2,
    "self_attention": lambda n: 12 * n * WIDTH + 2 * n**2,
}
"""Multiply-adds of a block by its tokens, a WIDTHth: the feed-forward network, and Table 1 with all constants."""


class Bound(NamedTuple):
    """The exponents that two laws have over the same sizes, and the middle between them."""

    slow: float
    fast: float

    @property
    def middle(self) -> float:
        """Where one law is as near as the other."""
        return (self.slow + self.fast) / 2


def of_laws(tokens: Sequence[int]) -> Bound:
    """N log n, fitted over these sizes, and n squared."""
    return Bound(_exponent(tokens, lambda n: n * math.log2(n)), 2.0)


def of_blocks(tokens: Sequence[int], mixer: str) -> Bound:
    """What the multiply-adds of whole blocks grow by over these sizes: of a global filter's, and of a quadratic one's.

    At small sizes the feed-forward network, which is linear, is the larger part of any block: no latency of one could
    show n squared there. The quadratic block of a global filter's latency is the slower of the two.
    """
    fast = "spatial_mlp" if mixer == "global_filter" else mixer
    return Bound(_exponent(tokens, _BLOCKS["global_filter"]), _exponent(tokens, _BLOCKS[fast]))


def _exponent(tokens: Sequence[int], cost: Callable[[int], float]) -> float:
    law = growth(tokens, [cost(n) for n in tokens])
    assert law is not None
    return law.exponent


def slope(tokens: Sequence[int], costs: Sequence[float]) -> Interval:
    """95 % interval of the exponent of a power law: of the slope of a least-squares line in log-log."""
    x, y = np.log(np.array(tokens, dtype=float)), np.log(np.array(costs, dtype=float))
    exponent, offset = np.polyfit(x, y, 1)
    free = len(x) - 2
    residual = float(((y - offset - exponent * x) ** 2).sum())
    half = student(free) * math.sqrt(residual / free / float(((x - x.mean()) ** 2).sum()))
    return Interval(float(exponent) - half, float(exponent) + half)


def grows(mixer: str, cost: Cost, law: Law, *, alone: bool = False) -> Callable[[Evidence], Finding]:
    """How a cost grows: the exponent, on which side of the middle between two laws it lies.

    The laws are n log n and n squared; of latencies the growth of whole blocks' multiply-adds over the same sizes.

    Args:
        mixer: of the block.
        cost: which.
        law: that is claimed.
        alone: of the mixing without the feed-forward network, which operations can be told apart by.
    """
    return partial(_grows, mixer=mixer, cost=cost, law=law, alone=alone)


def _grows(evidence: Evidence, mixer: str, cost: Cost, law: Law, alone: bool) -> Finding:
    found = _sweep(evidence, mixer, cost)
    tokens = [p.tokens for p in found if p.tokens]
    costs = [_mixing(p) if alone else float(p.value(cost) or 0) for p in found]
    law_found = growth(tokens, costs)
    if law_found is None:
        raise MissingError(f"expected three sizes or more of {mixer}, found {len(tokens)}: {_UNMEASURED[cost]}")
    fitted = [(p, c) for p, c in zip(found, costs, strict=True) if p.tokens in law_found.tokens]
    interval = slope(law_found.tokens, [c for _, c in fitted])
    bound = of_blocks(law_found.tokens, mixer) if cost == "latency" else of_laws(law_found.tokens)
    laws = "the multiply-adds of blocks have" if cost == "latency" else "n log n and n squared have"
    what = "mixing alone" if alone else _subject(found[0].setup, cost)
    low, high = law_found.tokens[0], law_found.tokens[-1]
    return Finding(
        by_interval(interval, bound.middle, above=law == "quadratic"),
        law_found.exponent,
        interval,
        "exponent",
        digits=2,
        subject=f"{what}, {low} to {high} tokens",
        reason=f"over these sizes {laws} {bound.slow:.2f} and {bound.fast:.2f}, middle {bound.middle:.2f}",
        records=tuple(p.records[cost] for p, _ in fitted),
    )


def cheaper(rival: str, cost: Cost, mixer: str = "global_filter") -> Callable[[Evidence], Finding]:
    """How many times a rival's block costs what a global filter's does, at the largest size that both have."""
    return partial(_cheaper, rival=rival, cost=cost, mixer=mixer)


def _cheaper(evidence: Evidence, rival: str, cost: Cost, mixer: str) -> Finding:
    ours = {(p.setup, p.tokens): p for p in _sweep(evidence, mixer, cost)}
    theirs = {(p.setup, p.tokens): p for p in _sweep(evidence, rival, cost)}
    both = sorted(ours.keys() & theirs.keys(), key=lambda key: key[1] or 0)
    settled = [key for key in both if math.isfinite(half_width(ours[key], theirs[key]))]
    both = settled or both if cost == "latency" else both
    if not both:
        raise MissingError(f"{mixer} and {rival} are measured at no common size: {_UNMEASURED[cost]}")
    a, b = ours[both[-1]], theirs[both[-1]]
    ratio = float(b.value(cost) or 0) / float(a.value(cost) or 1)
    half = half_width(a, b) if cost == "latency" else math.inf
    interval = Interval(ratio * math.exp(-half), ratio * math.exp(half)) if math.isfinite(half) else None
    exact = REPRODUCED if ratio > 1 else CONTRADICTED
    return Finding(
        (by_interval(interval, 1) if interval else UNDECIDED) if cost == "latency" else exact,
        ratio,
        interval,
        "times",
        digits=2,
        subject=f"{_subject(a.setup, cost)}, {a.tokens} tokens",
        reason="times the cost of the global filter's block" if interval or cost != "latency" else "of too few repeats",
        records=(a.records[cost], b.records[cost]),
    )


def half_width(a: Point, b: Point) -> float:
    """Half of the 95 % interval of the logarithm of a ratio of two latencies; infinite where one has no quartiles.

    Of three to thirty repeats it holds the truth 93 to 98 times of a hundred, where the normal quantile does 80 to 94.
    """
    error = math.hypot(_error(a), _error(b))
    if not math.isfinite(error):
        return math.inf
    return student(min(int(p.latency["repeats"]) for p in (a, b) if p.latency) - 1) * error


def _error(point: Point) -> float:
    """Standard error of the logarithm of a median latency, from its quartiles, as of normal repeats."""
    if point.quartiles is None or point.latency is None:
        return math.inf
    low, high = point.quartiles
    return (
        math.sqrt(math.pi / 2) * (high - low) / 1.349 / point.latency["latency_s"] / math.sqrt(point.latency["repeats"])
    )


def out_of_memory(mixer: str, rival: str) -> Callable[[Evidence], Finding]:
    """Whether a rival's block does not fit at a size at which the global filter's does."""
    return partial(_out_of_memory, mixer=mixer, rival=rival)


def _out_of_memory(evidence: Evidence, mixer: str, rival: str) -> Finding:
    fits = {(p.setup, p.tokens): p for p in _sweep(evidence, mixer, "memory")}
    failed = [p for p in evidence.costs if p.name == rival and p.status("memory") == "out of memory"]
    told = [p for p in failed if (p.setup, p.tokens) in fits]
    largest = max(n for _, n in fits if n)
    if not told:
        raise MissingError(f"at the sizes measured, up to {largest} tokens, both fit: gfnet-bench paper figure2")
    first = min(told, key=lambda p: p.tokens or 0)
    both = (first.records["memory"], fits[first.setup, first.tokens].records["memory"])
    return Finding(
        REPRODUCED,
        float(first.tokens or 0),
        unit="tokens",
        digits=0,
        subject=_subject(first.setup, "memory"),
        reason="the smallest size at which only the global filter's block fits",
        records=both,
    )


def three_operations(evidence: Evidence) -> Finding:
    """The share of what is not the feed-forward network that is transforms and the product, of a global filter."""
    found = _sweep(evidence, "global_filter", "count")[0]
    operators = (found.count or {})["operators"]
    share = 100 * operators.get("fft", 0) / _mixing(found)
    exact = set(operators) == {"fft", "linear"} and operators["linear"] == _feed_forward(found)
    return Finding(
        REPRODUCED if exact else CONTRADICTED,
        share,
        unit="percent",
        subject=f"one block of width {WIDTH}, {found.tokens} tokens",
        reason="of the multiply-adds of mixing are transforms and the product; a transform counts once, as in Table 1",
        records=(found.records["count"],),
    )


def only_mixing_differs(evidence: Evidence) -> Finding:
    """Whether a global filter's block and attention's differ in the parameters of the mixing alone; what stays."""
    filters, attention = (
        {p.tokens: p for p in _sweep(evidence, name, "count")} for name in ("global_filter", "self_attention")
    )
    sizes = sorted(n for n in filters.keys() & attention.keys() if n)
    if not sizes:
        raise MissingError(f"both blocks are counted at no common size: {_UNMEASURED['count']}")
    a, b = filters[sizes[0]], attention[sizes[0]]
    side = math.isqrt(sizes[0])
    rest = (a.count or {})["params"] - 2 * side * (side // 2 + 1) * WIDTH
    same = rest == (b.count or {})["params"] - 4 * WIDTH * (WIDTH + 1)  # query, key, value and projection, with biases
    return Finding(
        REPRODUCED if same else CONTRADICTED,
        100 * rest / (b.count or {})["params"],
        unit="percent",
        subject=f"one block of width {WIDTH}, {sizes[0]} tokens",
        reason="of an attention block's parameters stay; GFNet also has one residual in place of two",
        records=(a.records["count"], b.records["count"]),
    )


def smaller(ours: str, rival: str, key: Literal["macs", "params"]) -> Callable[[Evidence], Finding]:
    """What a network of the same width and depth costs, in parts of its rival's."""

    def judge(evidence: Evidence) -> Finding:
        a, b = (_network(evidence, name, 224) for name in (ours, rival))
        share = 100 * (a.count or {})[key] / (b.count or {})[key]
        return Finding(
            REPRODUCED if share < 100 else CONTRADICTED,
            share,
            unit="percent",
            subject=f"{MODELS[ours].title} and {MODELS[rival].title}, both of width 384 and depth 12",
            reason=f"of its {'multiply-adds' if key == 'macs' else 'parameters'}",
            records=(a.records["count"], b.records["count"]),
        )

    return judge


def as_printed(
    table: str, column: str, *, families: Sequence[str] = (), others: bool = False, side: int = 224
) -> Callable[[Evidence], Finding]:
    """Whether counts are what was printed, to one unit of the last digit, since papers cut off as well as round.

    Args:
        table: of the published figures.
        column: `params_m` or `flops_g`.
        families: beginnings of titles.
        others: of all networks but these.
        side: of the images in pixels.
    """

    def judge(evidence: Evidence) -> Finding:
        printed = _printed(table, column, side)
        meant = {t: row for t, row in printed.items() if t.startswith(tuple(families)) != others}
        off: dict[str, tuple[float, str]] = {}
        for title, row in meant.items():
            spec = next((MODELS[name] for name in MODELS if MODELS[name].title == title), None)
            points = [p for p in _networks(evidence, side) if spec is not None and p.name == spec.name]
            if points and points[0].count:
                ours = points[0].count["params"] / 1e6 if column == "params_m" else points[0].count["macs"] / 1e9
                last = 10.0 ** -len(row[column].partition(".")[2])
                off[title] = (ours - float(row[column])) / last, points[0].records["count"]
        if not off:
            raise MissingError("not counted: gfnet-bench paper figure3 figure4")
        worst = max(off, key=lambda title: abs(off[title][0]))
        return Finding(
            REPRODUCED if abs(off[worst][0]) <= 1 else CONTRADICTED,
            off[worst][0],
            unit="last digits",
            digits=2,
            subject=f"{len(off)} of {len(meant)} networks",
            reason=f"{worst}, which is off by most ({meant[worst][column]} printed"
            f"{'' if is_verified(meant[worst], column) else ', quoted from memory'})",
            records=tuple(record for _, record in off.values()),
        )

    return judge


def formulas(counted: str, formula: str) -> Callable[[Evidence], Finding]:
    """Whether every operation of Table 1 costs what its formula says, with all constants."""

    def judge(evidence: Evidence) -> Finding:
        if not evidence.table1:
            raise MissingError("not counted: gfnet-bench paper table1")
        off = max(abs(r.values[counted] / r.values[formula] - 1) for r in evidence.table1)
        return Finding(
            REPRODUCED if off == 0 else CONTRADICTED,
            100 * off,
            unit="percent",
            digits=2,
            subject=f"{len(evidence.table1)} operations, width {WIDTH}",
            reason="the largest difference between formula and count",
            records=tuple(r.cell.sha256 for r in evidence.table1),
        )

    return judge


def as_read(evidence: Evidence) -> Finding:
    """The curves of Figure 2 (a) at their last points, within 1 %, which is what can be read off a figure."""
    names = {"GFNet": "global_filter", "ResMLP": "spatial_mlp", "ViT": "self_attention"}
    last = {row["model"]: row for row in rows("fig2_efficiency") if row["gflops_read"]}
    off: dict[str, tuple[float, str]] = {}
    for curve, name in names.items():
        for p in _sweep(evidence, name, "count"):
            if p.tokens == int(last[curve]["tokens"]):
                read = float(last[curve]["gflops_read"])
                off[curve] = 100 * (float(p.value("count") or 0) / 1e9 / read - 1), p.records["count"]
    if len(off) < len(names):
        raise MissingError(f"not every curve is counted at its last size: {_UNMEASURED['count']}")
    worst = max(off, key=lambda curve: abs(off[curve][0]))
    return Finding(
        REPRODUCED if abs(off[worst][0]) <= 1 else CONTRADICTED,
        off[worst][0],
        unit="percent",
        digits=2,
        subject=f"one block of width {WIDTH}, {last[worst]['tokens']} tokens",
        reason=f"the largest difference from what was read off the figure, of {worst}",
        records=tuple(record for _, record in off.values()),
    )


def _sweep(evidence: Evidence, mixer: str, cost: Cost) -> list[Point]:
    """A mixer's block by size, as in Figure 2; of several machines the one that went furthest."""
    own = [
        p
        for p in evidence.costs
        if (p.setup.subject, p.setup.width, p.name) == ("block", WIDTH, mixer) and p.value(cost) is not None
    ]
    if cost != "count":
        own = [p for p in own if p.setup.mode == "forward" and p.setup.dtype == "float32"]
        own = [p for p in own if not p.setup.cuda_graphs and p.setup.filter_way is None]
    tables: dict[Setup, list[Point]] = {}
    for point in own:
        tables.setdefault(point.setup, []).append(point)
    if not tables:
        raise MissingError(f"{cost} of {mixer} is not measured: {_UNMEASURED[cost]}")
    return sorted(max(tables.values(), key=lambda of: max(p.tokens or 0 for p in of)), key=lambda p: p.tokens or 0)


def _subject(setup: Setup, cost: Cost) -> str:
    threads = f", {setup.threads} threads" if setup.threads else ""
    return "one block" if cost == "count" else f"one block, {setup.device}{threads}, batch {setup.batch}"


def _feed_forward(point: Point) -> int:
    """Multiply-adds of the two layers between D and 4 D features."""
    return 8 * (point.tokens or 0) * WIDTH**2


def _mixing(point: Point) -> float:
    return float(point.value("count") or 0) - _feed_forward(point)


def _networks(evidence: Evidence, side: int) -> list[Point]:
    return [p for p in evidence.costs if p.setup.subject == "model" and p.img_size == (side, side)]


def _network(evidence: Evidence, name: str, side: int) -> Point:
    found = [p for p in _networks(evidence, side) if p.name == name and p.count]
    if not found:
        raise MissingError(f"{name} is not counted: gfnet-bench paper figure3 figure4")
    return found[0]


def _printed(table: str, column: str, side: int) -> Mapping[str, dict[str, str]]:
    return {
        row["model"].partition("@")[0]: row for row in rows(table) if int(row["resolution"]) == side and row[column]
    }
