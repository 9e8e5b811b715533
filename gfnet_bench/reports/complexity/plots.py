"""Interactive plots of the complexity report: what a token costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING

from gfnet_bench.records import Record
from gfnet_bench.reports.base import Report
from gfnet_bench.reports.complexity.results import Setup
from gfnet_bench.reports.drawing import plots
from gfnet_bench.reports.drawing.tables import Column, Row, Table

if TYPE_CHECKING:
    from bokeh.plotting import figure as Figure

_COSTS = {
    "macs": ("Multiply-adds of one image", "GMACs", 1e9),
    "latency_s": ("Latency", "ms", 1e-3),
    "peak_memory_bytes": ("Peak memory beside weights", "MB", 1e6),
}


def cost_plots(report: Report, records: Iterable[Record] = ()) -> list[plots.Plot]:
    """Multiply-adds, latency and memory of one setup, on logarithmic axes."""
    groups: dict[Setup, list[Row]] = {}
    for row in report.data.rows if report.data else ():
        if row.get("tokens"):
            setup = Setup(**{f.name: row[f.name] for f in fields(Setup)})
            groups.setdefault(replace(setup, cuda_graphs=bool(setup.cuda_graphs)), []).append(row)
    found = []
    for i, (setup, rows) in enumerate(groups.items()):
        panels = [key for key in _COSTS if len({row["tokens"] for row in rows if row[key]}) > 1]
        if not panels:
            continue
        process = any(row["memory_mode"] in ("process", "resident") for row in rows)  # of whole pages
        digits = {key: 0 if process and key == "peak_memory_bytes" else 3 for key in panels}
        columns = [Column("name", "Name"), Column("tokens", "Tokens", align="right")]
        columns += [Column(key, *_COSTS[key][:2], digits[key], "right", 1 / _COSTS[key][2]) for key in panels]
        titles = ", ".join(_COSTS[key][0].lower() for key in panels)
        found.append(
            plots.Plot(
                f"costs_{i}",
                f"Cost against tokens, {setup.title}",
                f"On logarithmic axes, points joined by name: {titles}, against the number of tokens.",
                Table(f"costs_{i}", "The points of this plot", columns, rows),
                partial(_draw, digits, rows),
            )
        )
    return found


def _draw(digits: dict[str, int], rows: Sequence[Row]) -> list[Figure]:
    return [_costs(key, of, rows) for key, of in digits.items()]


def _costs(key: str, digits: int, rows: Sequence[Row]) -> Figure:
    from bokeh.models import ColumnDataSource

    title, unit, scale = _COSTS[key]
    rows = [{"name": row["name"], "tokens": row["tokens"], "cost": row[key] / scale} for row in rows if row[key]]
    tokens, costs = [row["tokens"] for row in rows], [row["cost"] for row in rows]
    panel = plots.panel(
        title,
        "tokens",
        unit,
        x_axis_type="log",
        y_axis_type="log",
        x_range=(0.8 * min(tokens), 1.25 * max(tokens) * (max(tokens) / min(tokens)) ** 0.55),
        y_range=(0.6 * min(costs), 1.7 * max(costs)),
    )
    drawn, ends = [], []
    for name in dict.fromkeys(row["name"] for row in rows):
        own = sorted((row for row in rows if row["name"] == name), key=lambda row: row["tokens"])
        style = plots.look(name)
        columns = {"tokens": [row["tokens"] for row in own], "cost": [row["cost"] for row in own]}
        source = ColumnDataSource({**columns, "name": [name] * len(own)})
        panel.line("tokens", "cost", source=source, line_color=style.colour, line_width=2)
        drawn.append(
            panel.scatter(
                "tokens", "cost", source=source, marker=plots.MARKERS[style.marker], size=6, color=style.colour
            )
        )
        ends.append((own[-1]["tokens"], own[-1]["cost"], name))
    plots.hover(
        panel, drawn, [("", "@name"), ("tokens", "@tokens"), (unit, "@cost{0.000 a}" if digits else "@cost{0,0}")]
    )
    low, high = math.log10(0.6 * min(costs)), math.log10(1.7 * max(costs))
    x, y, names = zip(*ends, strict=True)
    middles = plots.apart([math.log10(value) for value in y], low, high)
    plots.write_names(panel, x, [10**m for m in middles], names)
    return panel
