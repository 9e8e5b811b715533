"""Interactive plots of the complexity report: what a token costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from gfnet_bench.records import Record
from gfnet_bench.reports import plots
from gfnet_bench.reports.base import Report
from gfnet_bench.reports.tables import Column, Row, Table

if TYPE_CHECKING:
    from bokeh.plotting import figure as Figure

_COSTS = {
    "macs": ("Multiply-adds of one image", "GMACs", 1e9),
    "latency_s": ("Latency", "ms", 1e-3),
    "peak_memory_bytes": ("Peak memory beside weights", "MB", 1e6),
}
_SETUP = ("subject", "width", "device", "threads", "batch", "dtype", "mode", "cuda_graphs", "filter_way")


def cost_plots(report: Report, records: Iterable[Record] = ()) -> list[plots.Plot]:
    """Multiply-adds, latency and memory of one setup, on logarithmic axes."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in report.data.rows if report.data else ():
        if row.get("tokens"):
            groups.setdefault(tuple(row.get(key) for key in _SETUP), []).append(row)
    found = []
    for i, (setup, rows) in enumerate(groups.items()):
        shown = [
            {
                "name": row["name"],
                "tokens": row["tokens"],
                **{k: row[k] / c[2] for k, c in _COSTS.items() if row.get(k)},
            }
            for row in rows
        ]
        panels = [key for key in _COSTS if len({row["tokens"] for row in shown if key in row}) > 1]
        if not panels:
            continue
        columns = [Column("name", "Name"), Column("tokens", "Tokens", align="right")]
        process = any(row.get("memory_mode") == "process" for row in rows)  # which is good to a few MB
        digits = {key: 0 if process and key == "peak_memory_bytes" else 3 for key in panels}
        columns += [Column(key, _COSTS[key][0], _COSTS[key][1], digits[key], "right") for key in panels]
        words = [
            str(value)
            for key, value in zip(_SETUP, setup, strict=True)
            if value and key in ("subject", "device", "dtype")
        ]
        titles = ", ".join(_COSTS[key][0].lower() for key in panels)
        found.append(
            plots.Plot(
                f"costs_{i}",
                f"Cost against tokens, {', '.join(words)}",
                f"Lines on logarithmic axes: {titles}, against the number of tokens.",
                Table(f"costs_{i}", "The points of this plot", columns, shown),
                partial(_draw, digits, shown),
            )
        )
    return found


def _draw(digits: dict[str, int], rows: Sequence[Row]) -> list[Figure]:
    return [_costs(key, of, rows) for key, of in digits.items()]


def _costs(key: str, digits: int, rows: Sequence[Row]) -> Figure:
    from bokeh.models import ColumnDataSource

    title, unit, _ = _COSTS[key]
    rows = [row for row in rows if key in row]
    tokens, costs = [row["tokens"] for row in rows], [row[key] for row in rows]
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
        columns = {"tokens": [row["tokens"] for row in own], "cost": [row[key] for row in own]}
        source = ColumnDataSource({**columns, "name": [name] * len(own)})
        panel.line("tokens", "cost", source=source, line_color=style.colour, line_width=2)
        drawn.append(
            panel.scatter(
                "tokens", "cost", source=source, marker=plots.MARKERS[style.marker], size=6, color=style.colour
            )
        )
        ends.append((own[-1]["tokens"], own[-1][key], name))
    plots.hover(
        panel, drawn, [("", "@name"), ("tokens", "@tokens"), (unit, "@cost{0.000 a}" if digits else "@cost{0,0}")]
    )
    low, high = math.log10(0.6 * min(costs)), math.log10(1.7 * max(costs))
    x, y, names = zip(*ends, strict=True)
    middles = plots.apart([math.log10(value) for value in y], low, high)
    plots.write_names(panel, x, [10**m for m in middles], names)
    return panel
