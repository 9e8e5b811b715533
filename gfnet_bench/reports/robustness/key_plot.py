"""The plot a page opens with: accuracy, robustness and cost of every network in one view."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gfnet_bench.perturbations import CLEAN
from gfnet_bench.records import Record
from gfnet_bench.reports.base import Report
from gfnet_bench.reports.drawing import plots
from gfnet_bench.reports.drawing.tables import Column, Row, Table, decimals
from gfnet_bench.reports.reading.scores import SCORE, Score
from gfnet_bench.reports.robustness.standing import columns_of, robust_first

if TYPE_CHECKING:
    from bokeh.plotting import figure as Figure

_SMALLEST, _LARGEST = 8.0, 22.0
"""Pixels across of the cheapest and the dearest network; areas between them are as costs are."""


class Cost(NamedTuple):
    """What networks cost, in one unit.

    Attributes:
        key: of the column in the table of the plot.
        title: of the axis.
        unit: what a number of it is.
        of: by model.
    """

    key: str
    title: str
    unit: str
    of: Mapping[str, float]


def key_plots(report: Report, records: Iterable[Record]) -> list[plots.Plot]:
    """One for each suite in which at least two networks were scored on clean images and otherwise."""
    records = list(records)
    return [plot for suite in _suites(report) if (plot := _plot(report, suite, records))]


def _suites(report: Report) -> list[str]:
    return list(dict.fromkeys(row["suite"] for row in report.data.rows)) if report.data else []


def _plot(report: Report, suite: str, records: Sequence[Record]) -> plots.Plot | None:
    columns = columns_of(report, suite)
    main = Score(next(iter(columns.values()))[0][SCORE].suite.main, CLEAN, "top1") if columns else None
    clean = {row["row"]: row for those in columns.values() for row in those if row[SCORE] == main}
    robust = {
        heading(those[0]): kept
        for those in robust_first(columns)
        if len(kept := [row for row in those if row["row"] in clean]) > 1
    }
    if not robust:
        return None
    shown = [row for name, row in clean.items() if any(r["row"] == name for those in robust.values() for r in those)]
    cost = cost_of(dict.fromkeys(row["model"] for row in shown), records)
    points = [_point(row, robust, cost) for row in shown]
    first = next(iter(robust))
    size = f"; the larger a mark, the more {cost.title}" if cost else ""
    return plots.Plot(
        f"{suite}_key",
        f"Accuracy, robustness and cost, {suite}",
        f"A point for each network: {first} (or what the menu says) against top-1 accuracy on clean images"
        f"{f', and against {cost.title}' if cost else ''}{size}.",
        Table(f"{suite}_key", "The points of this plot", _columns(robust, cost), points),
        lambda: _draw(points, list(robust), cost),
        tuple(robust),
        "Robustness",
    )


def heading(row: Row) -> str:
    """A column as the menu calls it, with the direction where less is better."""
    better = row[SCORE].measure.higher_is_better
    return f"{row['column']}, %" if better else f"{row['column']}, less is better"


def cost_of(models: Iterable[str], records: Iterable[Record]) -> Cost | None:
    """Multiply-adds where they were counted of all these models, else parameters, else nothing."""
    models, macs, params = list(models), dict[str, float](), dict[str, float]()
    for record in records:
        s = record.cell.settings
        if record.error is None and s.get("measure") == "count" and s.get("subject") == "model":
            macs[record.cell.model] = min(record.values["macs"], macs.get(record.cell.model, math.inf))
        if record.cell.study == "robustness" and (count := record.provenance.get("params")):
            params[record.cell.model] = count
    for key, title, unit, of in (("macs", "multiply-adds", "MACs", macs), ("params", "parameters", "", params)):
        if all(of.get(model) for model in models):
            return Cost(key, title, unit, {model: of[model] for model in models})
    return None


def _columns(robust: Iterable[str], cost: Cost | None) -> list[Column]:
    found = [Column("model", "Model"), Column("top1_percent", "Top-1", "%", align="right", better="higher")]
    if cost:
        title = "MACs" if cost.key == "macs" else "Params"
        found.append(Column(cost.key, title, "M", scale=1e-6, digits=2, align="right"))
    return [*found, *(Column(f"value_{name}", name, align="right") for name in robust)]


def _point(row: Row, robust: Mapping[str, Sequence[Row]], cost: Cost | None) -> dict[str, Any]:
    values = {name: next((r for r in those if r["row"] == row["row"]), None) for name, those in robust.items()}
    point = {"name": row["model"], "model": row["row"], "top1_percent": row["ours_percent"]}
    point |= {cost.key: cost.of[row["model"]]} if cost else {}
    for name, found in values.items():
        if found:
            ends = {end: found[f"ours_percent{end}"] for end in ("_low", "_high")}
            point |= {f"value_{name}": found["ours_percent"], **{f"value_{name}{e}": v for e, v in ends.items()}}
    return point


def _draw(points: Sequence[Row], choices: Sequence[str], cost: Cost | None) -> list[Figure]:
    against = [("top1_percent", "clean top-1, %", False)]
    against += [(cost.key, f"{cost.title} (log scale)", True)] if cost else []
    return [_panel(points, choices, cost, *axis) for axis in against]


def _panel(points: Sequence[Row], choices: Sequence[str], cost: Cost | None, key: str, title: str, log: bool) -> Figure:
    """One panel; what it shows of the first choice lies in `y`, of every choice in `y@<choice>`."""
    from bokeh.models import ColumnDataSource, DataRange1d, NumeralTickFormatter

    x = [p[key] for p in points]
    ends = tuple(math.exp(e) for e in plots.limits([math.log(v) for v in x], [math.log(v) for v in x], 0.45))
    x_range = ends if log else plots.limits(x, x, 0.45)
    name = "Robustness against cost" if log else "Robustness against accuracy"
    panel = plots.panel(
        name, title, choices[0], x_range=x_range, y_range=DataRange1d(range_padding=0.12),
        x_axis_type="log" if log else "linear",
    )  # fmt: skip
    panel.yaxis.tags = ["chosen"]
    if log:
        panel.xaxis.formatter = NumeralTickFormatter(format="0.[0]a")
    looks = [plots.look(p["name"]) for p in points]
    data: dict[str, Any] = {
        "x": x,
        "model": [p["model"] for p in points],
        "clean": [decimals(p["top1_percent"]) for p in points],
        "cost": [f"{p[cost.key] / 1e6:,.2f} M" for p in points] if cost else [""] * len(points),
        "size": _sizes([p[cost.key] for p in points]) if cost else [10.0] * len(points),
        "colour": [look.colour for look in looks],
        "marker": [plots.MARKERS[look.marker] for look in looks],
    }
    for choice in choices:
        data |= {f"{column}@{choice}": values for column, values in _values(points, choice).items()}
    data |= {column: data[f"{column}@{choices[0]}"] for column in ("y", "low", "high", "says")}
    source = ColumnDataSource(data)
    panel.segment("x", "low", "x", "high", source=source, line_color="colour", line_width=1.5)
    style: dict[str, Any] = {"size": "size", "marker": "marker", "color": "colour", "fill_alpha": 0.75}
    drawn = panel.scatter("x", "y", source=source, **style)
    tips = [("", "@model"), ("clean top-1", "@clean %"), ("chosen", "@says")]
    plots.hover(panel, [drawn], [*tips, *([(cost.title, "@cost")] if cost else [])])
    if len(points) <= plots.MOST_NAMES:
        _write_names(panel, points, x, choices)
    return panel


def _values(points: Sequence[Row], choice: str) -> dict[str, list[Any]]:
    """Columns of the source for one choice; a network that lacks the number has no place."""
    key = f"value_{choice}"
    columns: dict[str, list[Any]] = {"y": [], "low": [], "high": [], "says": []}
    for p in points:
        value, low, high = (p.get(f"{key}{end}") for end in ("", "_low", "_high"))
        for column, found in (("y", value), ("low", low), ("high", high)):
            columns[column].append(math.nan if found is None else round(found, 3))
        exact = "" if value is None else decimals(value)
        says = exact if low is None or high is None else f"{exact} ({decimals(low)} to {decimals(high)})"
        columns["says"].append(says)
    return columns


def _sizes(costs: Sequence[float]) -> list[float]:
    """Diameters whose squares stand as the costs do, as far as the smallest can still be seen."""
    most = max(costs)
    return [round(max(_SMALLEST, _LARGEST * math.sqrt(cost / most)), 1) for cost in costs]


def _write_names(panel: Figure, points: Sequence[Row], x: Sequence[float], choices: Sequence[str]) -> None:
    from bokeh.models import ColumnDataSource
    from bokeh.models.annotations import LabelSet

    data: dict[str, Any] = {"x": list(x), "name": [plots.plain(p["model"]) for p in points]}
    for choice in choices:
        key = f"value_{choice}"
        there = [i for i, p in enumerate(points) if p.get(key) is not None]
        values = [points[i][key] for i in there]
        ends = [points[i].get(f"{key}_{end}") for i in there for end in ("low", "high")]
        shown = [*values, *(end for end in ends if end is not None)]
        low, high = plots.limits(shown, shown)
        placed = dict(zip(there, plots.apart(values, low, high), strict=True))
        data[f"y@{choice}"] = [placed.get(i, math.nan) for i in range(len(points))]
    data["y"] = data[f"y@{choices[0]}"]
    panel.add_layout(
        LabelSet(
            x="x", y="y", text="name", source=ColumnDataSource(data), x_offset=12, text_font_size="11px",
            text_baseline="middle",
        )
    )  # fmt: skip
