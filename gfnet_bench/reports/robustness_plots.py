"""Interactive plots of the robustness report: everything against accuracy, and errors by corruption and severity."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from gfnet_bench import metrics
from gfnet_bench.published import corruptions
from gfnet_bench.records import Record
from gfnet_bench.reports import plots
from gfnet_bench.reports.base import Report
from gfnet_bench.reports.outcomes import Results
from gfnet_bench.reports.scores import SEVERITIES
from gfnet_bench.reports.tables import Column, Row, Table

if TYPE_CHECKING:
    from bokeh.plotting import figure as Figure


def robustness_plots(report: Report, records: Iterable[Record]) -> list[plots.Plot]:
    """All of them, as far as there are numbers for them."""
    own = [r for r in records if r.cell.study == "robustness"]
    return [*_against_accuracy(report), *_by_corruption(own)]


_POINTS = [
    Column("model", "Model"),
    Column("column", "Column"),
    Column("top1", "Top-1", "%", align="right"),
    Column("value", "Value", align="right"),
    Column("low", "Low", align="right"),
    Column("high", "High", align="right"),
]


def _against_accuracy(report: Report) -> list[plots.Plot]:
    """Accuracy on clean images against everything else, one panel each."""
    found = []
    rows = [row for row in (report.data.rows if report.data else ()) if row["ours"] is not None]
    for suite in dict.fromkeys(row["suite"] for row in rows):
        of_suite = [row for row in rows if row["suite"] == suite]
        clean = {row["row"]: row for row in of_suite if row["column"] == "Top-1"}
        points = [
            {
                "row": row["row"],
                "name": row["model"],
                "model": row["row"],
                "column": row["column"],
                "top1": clean[row["row"]]["ours"],
                "value": row["ours"],
                "low": row["ours"] if row["low"] is None else row["low"],
                "high": row["ours"] if row["high"] is None else row["high"],
                "metric": row["metric"],
            }
            for row in of_suite
            if row["row"] in clean and row["column"] not in ("Top-1", "Top-5") and row["metric"] != "relative_mce"
        ]
        columns = {
            column: those
            for column in dict.fromkeys(p["column"] for p in points)
            if len(those := [p for p in points if p["column"] == column]) > 1
        }
        if columns:
            shown = [p for those in columns.values() for p in those]
            names = ", ".join(columns)
            found.append(
                plots.Plot(
                    f"{suite}_against_accuracy",
                    f"Robustness against accuracy, {suite}",
                    f"Scatter plots of {names} against top-1 accuracy on clean images, a point for each model, "
                    "with 95 % intervals.",
                    Table(f"{suite}_against_accuracy", "The points of this plot", _POINTS, shown),
                    lambda columns=columns: [_scatter(column, those) for column, those in columns.items()],  # type: ignore[misc]
                )
            )
    return found


def _scatter(column: str, points: Sequence[Row]) -> Figure:
    from bokeh.models import ColumnDataSource

    is_error = points[0]["metric"] == "mce"
    x = [p["top1"] for p in points]
    x_range = plots.limits(x, x, 0.45)
    y_range = plots.limits([p["low"] for p in points], [p["high"] for p in points])
    unit = "lower is better" if is_error else "%"
    panel = plots.panel(column, "clean top-1, %", f"{column}, {unit}", x_range=x_range, y_range=y_range)
    drawn = []
    for p in points:
        style = plots.look(p["name"])
        source = ColumnDataSource({key: [value] for key, value in p.items()})
        panel.segment("top1", "low", "top1", "high", source=source, line_color=style.colour, line_width=1.5)
        drawn.append(
            panel.scatter(
                "top1", "value", source=source, marker=plots.MARKERS[style.marker], size=9, color=style.colour
            )
        )
    tips = [("", "@model"), ("clean top-1", "@top1{0.0} %"), (column, "@value{0.0} (@low{0.0} to @high{0.0})")]
    plots.hover(panel, drawn, tips)
    if len(points) <= plots.MOST_NAMES:
        y = [p["value"] for p in points]
        plots.write_names(panel, x, plots.apart(y, *y_range), [p["model"] for p in points])
    return panel


# Errors by corruption and severity

_ERRORS = [
    Column("model", "Model"),
    Column("corruption", "Corruption"),
    Column("severity", "Severity", align="right"),
    Column("error", "Error", "%", align="right"),
    Column("low", "Low", align="right"),
    Column("high", "High", align="right"),
]
_MEAN = "mean of all"


def _by_corruption(records: Sequence[Record]) -> list[plots.Plot]:
    results = Results(records)
    scores = {score: None for setup in results.setups for score in results.scores(setup) if score.metric == "mce"}
    found = []
    for score in sorted(scores, key=lambda s: s.order):
        rows: list[dict[str, Any]] = []
        for setup in results.setups:
            if set(results.errors(setup, score)) < set(corruptions()):
                continue
            for record in results.records(setup, score):
                p, values = record.cell.settings["perturbation"], record.values
                if record.error is None and p["name"] in corruptions():
                    n = int(values["images"])
                    low, high = metrics.wilson_interval(round((1 - values["top1"]) * n), n)
                    error = {"error": 100 * (1 - values["top1"]), "low": 100 * low, "high": 100 * high}
                    about = {"model": setup.label, "name": setup.model, "corruption": p["name"]}
                    rows.append({**about, "severity": p["severity"], **error})
        if not rows:
            continue
        place = {name: i for i, name in enumerate(corruptions())}
        rows.sort(key=lambda row: (row["model"], place[row["corruption"]], row["severity"]))
        title = score.title.removesuffix(" mCE")
        name = "_".join([score.dataset, *map(str, score.settings.values()), "errors"])
        found.append(
            plots.Plot(
                name,
                f"Errors under corruption, {title}",
                "Top-1 error against severity, a line for each model, for the corruption that is chosen; beside it the "
                "error of each corruption, averaged over the severities; with 95 % intervals.",
                Table(name, "The points of this plot", _ERRORS, rows),
                lambda rows=rows: [_severities(rows), _corruptions(rows)],  # type: ignore[misc]
                (_MEAN, *corruptions()),
            )
        )
    return found


def _mean(rows: Sequence[Row]) -> dict[str, float]:
    """The mean error; its interval as if all of them were wrong on the same images, so never too narrow."""
    return {key: sum(row[key] for row in rows) / len(rows) for key in ("error", "low", "high")}


def _severities(rows: Sequence[Row]) -> Figure:
    from bokeh.models import ColumnDataSource

    panel = plots.panel("by severity", "severity", "top-1 error, %", x_range=(0.8, 5.2), y_range=(0, 100))
    panel.xaxis.ticker = list(SEVERITIES)
    drawn, names = [], []
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        style = plots.look(own[0]["name"])
        data: dict[str, Any] = {"severity": list(SEVERITIES), "model": [model] * len(SEVERITIES)}
        for choice in (_MEAN, *corruptions()):
            chosen = [row for row in own if choice in (_MEAN, row["corruption"])]
            means = [_mean([row for row in chosen if row["severity"] == s]) for s in SEVERITIES]
            for key in ("error", "low", "high"):
                data[f"{key}@{choice}"] = [round(mean[key], 3) for mean in means]
        data |= {key: data[f"{key}@{_MEAN}"] for key in ("error", "low", "high")}
        source = ColumnDataSource(data)
        panel.line("severity", "error", source=source, line_color=style.colour, line_width=2)
        panel.segment("severity", "low", "severity", "high", source=source, line_color=style.colour, line_width=1.5)
        drawn.append(
            panel.scatter(
                "severity", "error", source=source, marker=plots.MARKERS[style.marker], size=6, color=style.colour
            )
        )
        names.append(model)
    plots.hover(
        panel, drawn, [("", "@model"), ("severity", "@severity"), ("error", "@error{0.0} % (@low{0.0} to @high{0.0})")]
    )
    _legend(panel, drawn, names)
    return panel


def _corruptions(rows: Sequence[Row]) -> Figure:
    from bokeh.models import ColumnDataSource
    from bokeh.transform import dodge

    shown = [name.replace("_", " ") for name in corruptions()]
    panel = plots.panel("by corruption", "", "top-1 error, %", x_range=shown, y_range=(0, 100))
    panel.xaxis.major_label_orientation = math.pi / 3
    panel.xgrid.grid_line_color = None
    models = list(dict.fromkeys(row["model"] for row in rows))
    drawn = []
    for i, model in enumerate(models):
        own = [row for row in rows if row["model"] == model]
        style = plots.look(own[0]["name"])
        means = [_mean([row for row in own if row["corruption"] == name]) for name in corruptions()]
        columns = {key: [round(mean[key], 3) for mean in means] for key in ("error", "low", "high")}
        source = ColumnDataSource({"corruption": shown, "model": [model] * len(shown), **columns})
        at = dodge("corruption", 0.7 * ((i + 0.5) / len(models) - 0.5), range=panel.x_range)
        panel.segment(at, "low", at, "high", source=source, line_color=style.colour, line_width=1.5)
        drawn.append(
            panel.scatter(at, "error", source=source, marker=plots.MARKERS[style.marker], size=5, color=style.colour)
        )
    plots.hover(
        panel, drawn, [("", "@model"), ("", "@corruption"), ("error", "@error{0.0} % (@low{0.0} to @high{0.0})")]
    )
    return panel


def _legend(panel: Figure, drawn: Sequence[Any], names: Sequence[str]) -> None:
    from bokeh.models.annotations import Legend, LegendItem

    items = [LegendItem(label={"value": name}, renderers=[one]) for name, one in zip(names, drawn, strict=True)]
    legend = Legend(
        items=items,
        background_fill_color=None,
        border_line_color=None,
        label_text_font_size="11px",
        orientation="horizontal",
        spacing=8,
        margin=0,
    )
    panel.add_layout(legend, "below")
