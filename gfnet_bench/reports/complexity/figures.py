"""Figure 2 of the paper in our own hand: multiply-adds, latency and peak memory against the number of tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gfnet_bench.catalog import MODELS
from gfnet_bench.mixers import MIXERS
from gfnet_bench.published import rows as published_rows
from gfnet_bench.reports.complexity.growth import Growth, growth
from gfnet_bench.reports.complexity.results import Point
from gfnet_bench.reports.drawing import figures
from gfnet_bench.reports.drawing.figures import Drawing, Label, inches
from gfnet_bench.reports.drawing.tables import Table, data_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PAPER = {"GFNet": "global_filter", "ViT": "self_attention", "ResMLP": "spatial_mlp"}
"""The paper's curves and our names."""

_PAPER_LOOKS = {"GFNet": ("-", "solid"), "ViT": ("-.", "dash-dotted"), "ResMLP": ("--", "dashed")}
_PAPER_WIDTH = 384  # features of the block
_PAPER_SETUP = "batch 32 on the paper's GPU"


class Panel(NamedTuple):
    """One of the three.

    Attributes:
        title: above it.
        short: beside its axis.
        key: entry of a row of the data.
        units: largest first, with their size in ours.
        column: of the published figure.
        published_unit: the size of that column's unit in ours.
        reading_error: of that column, in its unit; points below twice this are left out.
    """

    title: str
    short: str
    key: str
    units: Sequence[tuple[str, float]]
    column: str
    published_unit: float
    reading_error: float


_PANELS = {
    "count": Panel("Multiply-adds of one image", "MACs", "macs", [("G", 1e9), ("M", 1e6)], "gflops_read", 1e9, 2.0),
    "latency": Panel(
        "Latency of one batch", "latency", "latency_s", [("s", 1.0), ("ms", 1e-3)], "latency_s_read", 1.0, 0.004
    ),
    "memory": Panel(
        "Peak memory without weights", "memory", "peak_memory_bytes", [("GB", 1e9), ("MB", 1e6)], "memory_gb_read", 1e9,
        0.1,
    ),
}  # fmt: skip


class Quoted(NamedTuple):
    """A curve of the paper's figure.

    Attributes:
        name: in the paper.
        tokens: of the points that were read off.
        costs: in our unit.
    """

    name: str
    tokens: Sequence[int]
    costs: Sequence[float]


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
        published: add what was read off the paper's figure: multiply-adds thin and grey beside ours, and latency and
            memory, which are of another machine, in panels of their own.
    """
    panels = {measure: found for measure in _PANELS if (found := curves(points, measure))}
    if not panels:
        return []
    setup, shown = points[0].setup, " and ".join(_PANELS[measure].title.lower() for measure in panels)
    title = f"{shown[0].upper()}{shown[1:].replace(' and ', ', ', len(panels) - 2)} against the number of tokens"
    quoted = {m: _published(m, found) for m, found in panels.items() if published and setup.width == _PAPER_WIDTH}
    drawn = []
    for log, axes in ((False, "linear"), (True, "logarithmic")):
        name = f"complexity_{setup.slug}{'_loglog' * log}"
        data = _data(name, f"{title}, {setup.title}, {axes} axes", panels, quoted)
        drawn.append(Drawing(name, partial(_draw, panels, quoted, log), data))
    return drawn


def title_of(mixer: str) -> str:
    """As figures and tables for people call it; its name where it is not known here."""
    return MIXERS[mixer].title if mixer in MIXERS else mixer


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


def _draw(panels: Mapping[str, Sequence[Curve]], quoted: Mapping[str, Sequence[Quoted]], log: bool) -> Figure:
    """Panels in a row, each with the names of its curves at its right; below them those of the paper's own machine."""
    slot, left, right, top, bottom = figures.PAGE / max(2, len(panels)), 0.45, 1.06, 0.22, 0.42
    lines = max(sum(3 if c.beyond and c.fit else 1 + bool(log and c.fit) for c in of) for of in panels.values())
    height = max(1.75, 0.11 * lines)  # room for all names, one above the other
    below = {measure: of for measure, of in quoted.items() if measure != "count" and of}
    wide, line = slot * len(panels), bottom + height + top
    figure = figures.new_figure(wide, line * (2 if below else 1))
    letters = iter("abcde" if len(panels) + len(below) > 1 else [])

    def axes_at(measure: str, row: int, title: str) -> Axes:
        letter = next(letters, None)
        axes = inches(
            figure, list(panels).index(measure) * slot + left, row * line + bottom, slot - left - right, height
        )
        axes.set(xlabel="number of tokens", title=f"({letter}) {title}" if letter else title)
        return axes

    for measure, found in panels.items():
        beside = quoted.get(measure, []) if measure == "count" else []
        _panel(axes_at(measure, 1 if below else 0, _PANELS[measure].title), measure, found, beside, log)
    for measure, curves_of_paper in below.items():
        axes = axes_at(measure, 0, f"{_PANELS[measure].short.capitalize()}, as published")
        _panel_of_paper(axes, measure, curves_of_paper, log)
    return figure


def _unit(panel: Panel, highest: float) -> tuple[str, float]:
    return next((unit for unit in panel.units if highest >= unit[1]), panel.units[-1])


def _panel(axes: Axes, measure: str, found: Sequence[Curve], quoted: Sequence[Quoted], log: bool) -> None:
    panel = _PANELS[measure]
    highest = max(cost for curve in found for cost in curve.costs)
    unit, scale = _unit(panel, highest)
    # Linear axes end a little above what was measured: an estimate far beyond would flatten all of it.
    ceiling = math.inf if log else 1.25 * highest
    top = highest
    for paper in quoted:
        _quote(axes, paper, scale, "read off the paper's figure")
    labels = []
    for curve in found:
        look = figures.look(MODELS[curve.name].family if curve.name in MODELS else curve.name)
        y = [cost / scale for cost in curve.costs]
        axes.plot(curve.tokens, y, color=look.colour, zorder=3)
        for n, cost, p in zip(curve.tokens, y, curve.points, strict=True):
            hollow = measure == "latency" and p.launch_bound
            face = "white" if hollow else look.colour
            (mark,) = axes.plot(n, cost, look.marker, color=look.colour, markerfacecolor=face, markeredgewidth=0.7)
            mark.set_zorder(4)
            if hollow:
                figures.explain(mark, "Hollow", "held up by launches, not by the GPU")
        spread = [(p.tokens, *p.quartiles) for p in curve.points if measure == "latency" and p.quartiles]
        if visible := [(n, low, high) for n, low, high in spread if high > low]:
            at, low, high = zip(*visible, strict=True)
            bars = axes.vlines(
                at, [q / scale for q in low], [q / scale for q in high], look.colour, linewidth=0.9, zorder=3
            )
            figures.explain(bars, "Bars", "from first to third quartile of the repeats, around their median")
            top = max(top, min(max(high), 1.25 * highest))
        end, text = (curve.tokens[-1], y[-1]), figures.short(title_of(curve.name))
        exponent = f"$N^{{{curve.fit.exponent:.2f}}}$" if curve.fit else ""
        if curve.beyond and curve.fit:
            there = np.geomspace(curve.tokens[-1], curve.beyond[-1], 50)
            there = there[(curve.fit.at(there) <= ceiling) | (there == there[0])]
            (line,) = axes.plot(there, curve.fit.at(there) / scale, color=look.colour, linestyle=":", zorder=3)
            figures.explain(line, "Dotted", "out of memory, an estimate by the power law named")
            end = (there[-1], curve.fit.at(there[-1]) / scale)
            top = max(top, end[1] * scale)
            text += f"\nestimate {exponent}\n($R^2$ = {curve.fit.r2:.4f})"
        elif log and exponent:
            separator = " " if figures.width(text) < 48 else "\n"
            text += f"{separator}{exponent}"
        labels.append(Label(*end, text, look.colour))
    axes.set_ylabel(f"{panel.short} ({unit})", labelpad=2)
    _scales(axes, sorted({n for curve in found for n in (*curve.tokens, *curve.beyond)}), log, 1.04 * top / scale)
    figures.name_curves(axes, labels)


def _panel_of_paper(axes: Axes, measure: str, quoted: Sequence[Quoted], log: bool) -> None:
    """What the paper measured on its own machine."""
    panel, highest = _PANELS[measure], max(max(paper.costs) for paper in quoted)
    unit, scale = _unit(panel, highest)
    labels = []
    for paper in quoted:
        _quote(axes, paper, scale, f"read off the paper's figure, {_PAPER_SETUP}")
        labels.append(Label(paper.tokens[-1], paper.costs[-1] / scale, paper.name, figures.GREY))
    axes.set_ylabel(f"{panel.short} ({unit})", labelpad=2)
    _scales(axes, sorted({n for paper in quoted for n in paper.tokens}), log, 1.04 * highest / scale)
    figures.name_curves(axes, labels)


def _quote(axes: Axes, paper: Quoted, scale: float, what: str) -> None:
    """A curve of the paper, thin and grey; above our curves, which it may well coincide with, and below our marks."""
    style, word = _PAPER_LOOKS[paper.name]
    costs = [cost / scale for cost in paper.costs]
    (line,) = axes.plot(paper.tokens, costs, style, color=figures.GREY, linewidth=0.7, zorder=3.5)
    figures.explain(line, f"Grey, {what}", f"{paper.name} {word}")


def _scales(axes: Axes, sizes: Sequence[int], log: bool, top: float) -> None:
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
        middle = min(sizes, key=lambda n: abs(math.log(n * n / (sizes[0] * sizes[-1]))))
        axes.xaxis.set_major_locator(FixedLocator([sizes[0], middle, sizes[-1]]))
        low, high = axes.get_ylim()
        if high / low < 50:
            axes.yaxis.set_major_locator(FixedLocator(figures.log_ticks(low, high)))
            axes.yaxis.set_major_formatter(plain)
        else:
            axes.yaxis.set_major_locator(LogLocator(numticks=12))
            axes.yaxis.set_major_formatter(LogFormatterMathtext())
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(0, sizes[-1] * 1.03)
        axes.set_ylim(0, top)
        axes.xaxis.set_major_locator(MaxNLocator(2, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(plain)
    axes.xaxis.set_major_formatter(plain)


def _published(measure: str, found: Sequence[Curve]) -> list[Quoted]:
    """The paper's curves of the mixers that are drawn.

    Points within twice the reading error of nought are left out, and multiply-adds where our axis has ended.
    """
    panel = _PANELS[measure]
    last = max(n for curve in found for n in (*curve.tokens, *curve.beyond)) if measure == "count" else math.inf
    quoted = []
    for paper, mixer in _PAPER.items():
        read = [(int(r["tokens"]), float(r[panel.column] or 0)) for r in _rows_of(paper)]
        read = [(n, cost) for n, cost in read if n <= last and cost >= 2 * panel.reading_error]
        if len(read) > 1 and any(curve.name == mixer for curve in found):  # one point is no curve
            tokens, costs = zip(*read, strict=True)
            quoted.append(Quoted(paper, tokens, [cost * panel.published_unit for cost in costs]))
    return quoted


def _rows_of(paper: str) -> list[dict[str, str]]:
    return [row for row in published_rows("fig2_efficiency") if row["model"] == paper]


_COLUMNS = data_columns((
    "kind", "name", "tokens", "macs", "latency_s", "latency_q1_s", "latency_q3_s", "peak_memory_bytes",
    "launch_bound", "exponent", "r2",
))  # fmt: skip


def _data(
    name: str, title: str, panels: Mapping[str, Sequence[Curve]], quoted: Mapping[str, Sequence[Quoted]]
) -> Table:
    """What is drawn, a row each; `kind` tells counted and measured from estimated and published."""
    rows: list[dict[str, Any]] = []
    for measure, found in panels.items():
        key, kind = _PANELS[measure].key, "counted" if measure == "count" else "measured"
        for curve in found:
            for point, cost in zip(curve.points, curve.costs, strict=True):
                row = {"kind": kind, "name": curve.name, "tokens": point.tokens, key: cost}
                if measure == "latency":
                    row["launch_bound"] = point.launch_bound
                    row |= dict(zip(("latency_q1_s", "latency_q3_s"), point.quartiles or (), strict=False))
                rows.append(row)
            if curve.fit:
                law = {"exponent": curve.fit.exponent, "r2": curve.fit.r2}
                estimate = {"kind": "estimate", "name": curve.name, **law}
                rows += [{**estimate, "tokens": n, key: float(curve.fit.at(n))} for n in curve.beyond]
        for paper in quoted.get(measure, ()):
            read = zip(paper.tokens, paper.costs, strict=True)
            rows += [{"kind": "published", "name": paper.name, "tokens": n, key: cost} for n, cost in read]
    return Table(name, title, _COLUMNS, rows)
