"""Figure 2 of the paper in our own hand: multiply-adds, latency and peak memory against the number of tokens."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gfnet_bench.catalog import MODELS
from gfnet_bench.published import rows as published_rows
from gfnet_bench.reports import figures
from gfnet_bench.reports.costs import Point
from gfnet_bench.reports.figures import Drawing, Label
from gfnet_bench.reports.growth import Growth, growth
from gfnet_bench.reports.tables import Column, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {
    "global_filter": "global filter",
    "global_filter_fast": "fast filter",
    "self_attention": "self-attention",
    "self_attention_fused": "fused attention",
    "spatial_mlp": "spatial MLP",
    "depthwise_conv": "depthwise conv",
}
"""Mixers, as figures and tables for people call them."""

_PAPER = {"GFNet": "global_filter", "ViT": "self_attention", "ResMLP": "spatial_mlp"}
"""The paper's curves and our names."""

_PAPER_LOOKS = {"GFNet": ("-", "solid"), "ViT": ("-.", "dash-dotted"), "ResMLP": ("--", "dashed")}


class Panel(NamedTuple):
    """One of the three.

    Attributes:
        title: above it.
        short: beside its axis.
        units: largest first, with their size in ours.
        column: of the published figure.
        published_unit: the size of that column's unit in ours.
        reading_error: of that column, in its unit; points below twice this are left out.
    """

    title: str
    short: str
    units: Sequence[tuple[str, float]]
    column: str
    published_unit: float
    reading_error: float


_PANELS = {
    "count": Panel("Multiply-adds of one image", "MACs", [("G", 1e9), ("M", 1e6)], "gflops_read", 1e9, 2.0),
    "latency": Panel("Latency of one batch", "latency", [("s", 1.0), ("ms", 1e-3)], "latency_s_read", 1.0, 0.004),
    "memory": Panel("Peak memory without weights", "memory", [("GB", 1e9), ("MB", 1e6)], "memory_gb_read", 1e9, 0.1),
}


class Curve(NamedTuple):
    """One series of one panel.

    Attributes:
        name: mixer or model.
        points: what was measured, by growing tokens.
        costs: of the points: multiply-adds, seconds or bytes.
        beyond: tokens at which memory ran out.
        fit: through the larger sizes measured; None if they are too few.
    """

    name: str
    points: Sequence[Point]
    costs: Sequence[float]
    beyond: Sequence[int]
    fit: Growth | None

    @property
    def tokens(self) -> list[int]:
        """Of the points."""
        return [point.tokens or 0 for point in self.points]


def drawings(points: Sequence[Point], published: bool = False) -> list[Drawing]:
    """The figure of one table, on linear axes and log-log; none where nothing was measured at two sizes.

    Args:
        points: of one setup.
        published: add what was read off the paper's figure, thin and grey.
    """
    panels = {measure: found for measure in _PANELS if (found := curves(points, measure))}
    if not panels:
        return []
    setup, shown = points[0].setup, " and ".join(_PANELS[measure].title.lower() for measure in panels)
    title = f"{shown[0].upper()}{shown[1:].replace(' and ', ', ', len(panels) - 2)} against the number of tokens"
    drawn = []
    for log, axes in ((False, "linear"), (True, "logarithmic")):
        name = f"complexity_{setup.slug}{'_loglog' * log}"
        data = _data(name, f"{title}, {setup.title}, {axes} axes", panels, published)
        drawn.append(Drawing(name, partial(_draw, panels, points, log, published), data))
    return drawn


def curves(points: Sequence[Point], measure: str) -> list[Curve]:
    """The curves of one panel; mixers that differ in the way of computing alone share one of multiply-adds."""
    found: list[Curve] = []
    for name in dict.fromkeys(point.name for point in points):
        own = sorted((p for p in points if p.name == name and p.tokens), key=lambda p: p.tokens or 0)
        measured = [p for p in own if p.value(measure) is not None]
        costs = [p.value(measure) or 0.0 for p in measured]
        if not costs or (measure == "count" and any(costs == list(other.costs) for other in found)):
            continue
        tokens = [p.tokens or 0 for p in measured]
        beyond = [p.tokens or 0 for p in own if p.status(measure) == "out of memory" and (p.tokens or 0) > tokens[-1]]
        if len(costs) > 1 or beyond:  # one size is no curve
            found.append(Curve(name, measured, costs, beyond, growth(tokens, costs)))
    return found


def _draw(panels: Mapping[str, Sequence[Curve]], points: Sequence[Point], log: bool, published: bool) -> Figure:
    """Panels in a row, each with the names of its curves at its right, and the caption below."""
    slot, left, right, top, height = figures.PAGE / max(2, len(panels)), 0.45, 1.06, 0.22, 1.75
    wide = slot * len(panels)
    lines = [line for text in _caption(panels, points, published) for line in textwrap.wrap(text, int(22 * wide))]
    caption, bottom = "\n".join(lines), 0.42 + 0.11 * len(lines)
    high = bottom + height + top
    figure = figures.new_figure(wide, high)
    for i, (measure, found) in enumerate(panels.items()):
        axes = figure.add_axes(
            ((i * slot + left) / wide, bottom / high, (slot - left - right) / wide, height / high),
            title=f"({'abc'[i]}) {_PANELS[measure].title}",
            xlabel="number of tokens",
        )
        axes.title.set_x(-0.2)
        _panel(axes, measure, found, log, published)
    figure.text(0.1 / wide, 0.04 / high, caption, fontsize=figures.FONT - 1, linespacing=1.2)
    return figure


def _last(found: Sequence[Curve]) -> int:
    """The largest size in a panel: more can be counted than timed."""
    return max(n for curve in found for n in (*curve.tokens, *curve.beyond))


def _panel(axes: Axes, measure: str, found: Sequence[Curve], log: bool, published: bool) -> None:
    panel, last = _PANELS[measure], _last(found)
    highest = max(cost for curve in found for cost in curve.costs)
    unit, scale = next((u for u in panel.units if highest >= u[1]), panel.units[-1])
    # Linear axes end a little above what was measured: an estimate far beyond would flatten all of it.
    ceiling = math.inf if log else 1.25 * highest
    top = highest
    for paper, tokens, costs in _published(measure, found, last) if published else ():
        y = [cost / scale for cost in costs]
        axes.plot(tokens, y, _PAPER_LOOKS[paper][0], color=figures.GREY, linewidth=0.7, zorder=2)
    labels = []
    for curve in found:
        look = figures.look(MODELS[curve.name].family if curve.name in MODELS else curve.name)
        y = [cost / scale for cost in curve.costs]
        axes.plot(curve.tokens, y, color=look.colour, zorder=3)
        for n, cost, p in zip(curve.tokens, y, curve.points, strict=True):
            hollow = measure == "latency" and p.launch_bound
            face = "white" if hollow else look.colour
            axes.plot(n, cost, look.marker, color=look.colour, markerfacecolor=face, markeredgewidth=0.7, zorder=4)
        if measure == "latency":
            low, high = ([q / scale for q in ends] for ends in zip(*(p.quartiles for p in curve.points), strict=True))
            axes.vlines(curve.tokens, low, high, look.colour, linewidth=0.9, zorder=3)
            top = max(top, min(max(high) * scale, 1.25 * highest))
        end, text = (curve.tokens[-1], y[-1]), TITLES.get(curve.name, curve.name)
        if log and curve.fit:
            text += f" $N^{{{curve.fit.exponent:.2f}}}$"
        if curve.beyond and curve.fit:
            there = np.geomspace(curve.tokens[-1], curve.beyond[-1], 50)
            there = there[(curve.fit.at(there) <= ceiling) | (there == there[0])]
            axes.plot(there, curve.fit.at(there) / scale, color=look.colour, linestyle=":", zorder=3)
            end = (there[-1], curve.fit.at(there[-1]) / scale)
            top = max(top, end[1] * scale)
            text = f"{TITLES.get(curve.name, curve.name)}\nestimate $N^{{{curve.fit.exponent:.2f}}}$"
            text += f"\n($R^2$ = {curve.fit.r2:.4f})"
        labels.append(Label(*end, text, look.colour))
    axes.set_ylabel(f"{panel.short} ({unit})", labelpad=2)
    _scales(axes, found, last, log, 1.04 * top / scale)
    figures.name_curves(axes, labels)


def _scales(axes: Axes, found: Sequence[Curve], last: int, log: bool, top: float) -> None:
    """Limits and ticks that are read at a glance."""
    from matplotlib.ticker import (
        FixedLocator,
        FuncFormatter,
        LogFormatterMathtext,
        LogLocator,
        MaxNLocator,
        NullLocator,
    )

    plain = FuncFormatter(lambda value, _: f"{value:,.12g}")
    if log:
        axes.set(xscale="log", yscale="log")
        sizes = sorted({n for curve in found for n in (*curve.tokens, *curve.beyond)})
        middle = min(sizes, key=lambda n: abs(math.log(n * n / (sizes[0] * sizes[-1]))))
        axes.xaxis.set_major_locator(FixedLocator([sizes[0], middle, sizes[-1]]))
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 50 else (1.0,), numticks=12))
        axes.yaxis.set_major_formatter(plain if high / low < 50 else LogFormatterMathtext())
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(0, last * 1.03)
        axes.set_ylim(0, top)
        axes.xaxis.set_major_locator(MaxNLocator(2, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(plain)
    axes.xaxis.set_major_formatter(plain)


def _published(measure: str, found: Sequence[Curve], last: int) -> Iterator[tuple[str, list[int], list[float]]]:
    """The paper's curves of the mixers that are drawn, as far as our axis goes: name, tokens, costs in our unit."""
    panel = _PANELS[measure]
    for paper, mixer in _PAPER.items():
        rows = [r for r in published_rows("fig2_efficiency") if r["model"] == paper and r[panel.column]]
        rows = [r for r in rows if int(r["tokens"]) <= last and float(r[panel.column]) >= 2 * panel.reading_error]
        if rows and any(curve.name == mixer for curve in found):
            costs = [float(r[panel.column]) * panel.published_unit for r in rows]
            yield paper, [int(r["tokens"]) for r in rows], costs


def _caption(panels: Mapping[str, Sequence[Curve]], points: Sequence[Point], published: bool) -> list[str]:
    title = points[0].setup.title
    lines, notes = [title[0].upper() + title[1:] + "."], []
    if "latency" in panels:
        notes.append("Latency: medians, bars from first to third quartile.")
        if any(point.launch_bound for point in points):
            notes.append("Hollow: held up by launches, not by the GPU.")
    if any(curve.beyond and curve.fit for found in panels.values() for curve in found):
        notes.append("Dotted: out of memory, an estimate by the power law named.")
    lines += [" ".join(notes)] if notes else []
    if published:
        listed = ", ".join(f"{name} {text}" for name, (_, text) in _PAPER_LOOKS.items())
        lines.append(f"Grey: read off the paper's figure, batch 32 on its GPU ({listed}).")
    return lines


_COLUMNS = [Column(key, key) for key in ("measure", "name", "tokens", "value", "low", "high", "unit", "kind", "note")]


def _data(name: str, title: str, panels: Mapping[str, Sequence[Curve]], published: bool) -> Table:
    """What is drawn, a row each; `kind` tells counted and measured from estimated and published."""
    rows: list[dict[str, Any]] = []
    for measure, found in panels.items():
        unit = {"measure": measure, "unit": {"count": "MACs", "latency": "s", "memory": "bytes"}[measure]}
        for curve in found:
            for point, cost in zip(curve.points, curve.costs, strict=True):
                row = {**unit, "name": curve.name, "tokens": point.tokens, "value": cost, "kind": "measured"}
                if measure == "count":
                    row["kind"] = "counted"
                if measure == "latency":
                    row["low"], row["high"] = point.quartiles
                    row["note"] = "launch-bound" if point.launch_bound else None
                rows.append(row)
            if curve.fit:
                estimate = {**unit, "name": curve.name, "kind": "estimate", "note": curve.fit.text}
                rows += [{**estimate, "tokens": n, "value": curve.fit.at(n)} for n in curve.beyond]
        for paper, tokens, costs in _published(measure, found, _last(found)) if published else ():
            quoted = {**unit, "name": paper, "kind": "published"}
            rows += [{**quoted, "tokens": n, "value": cost} for n, cost in zip(tokens, costs, strict=True)]
    return Table(name, title, _COLUMNS, rows)
