"""Interactive plots of the robustness report: everything against accuracy, and errors by corruption and severity."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from gfnet_bench import metrics
from gfnet_bench.catalog import SEVERITIES
from gfnet_bench.perturbations import CLEAN, Corrupted, Corruptions
from gfnet_bench.published import corruptions
from gfnet_bench.records import Record
from gfnet_bench.reports.base import Report
from gfnet_bench.reports.drawing import plots
from gfnet_bench.reports.drawing.tables import Column, Row, Table, decimals
from gfnet_bench.reports.reading.coverage import coverage
from gfnet_bench.reports.reading.scores import SCORE, Score, scores_of
from gfnet_bench.reports.robustness.results import Results, corruption_of

if TYPE_CHECKING:
    from bokeh.plotting import figure as Figure


def robustness_plots(report: Report, records: Iterable[Record]) -> list[plots.Plot]:
    """All of them, as far as there are numbers for them."""
    own = [r for r in records if r.cell.study == "robustness"]
    return [*_against_accuracy(report), *_by_corruption(own)]


_POINTS = [
    Column("model", "Model"),
    Column("column", "Column"),
    Column("top1_percent", "Top-1", "%", align="right"),
    Column("value_percent", "Value", "%", align="right"),
    Column("value_percent_low", "Low", align="right"),
    Column("value_percent_high", "High", align="right"),
    Column("images", "Images", align="right"),
    Column("expected_images", "Of", align="right"),
]


_KEYS_OF_A_POINT = ("value_percent", "value_percent_low", "value_percent_high")


def _against_accuracy(report: Report) -> list[plots.Plot]:
    """Accuracy on clean images against everything else, one panel each."""
    found = []
    listed = {column.title for table in report.tables for column in table.columns}  # a sweep has curves of its own
    rows = [row for row in (report.data.rows if report.data else ()) if row.get("ours_percent") is not None]
    rows = [row for row in rows if row["column"] in listed]
    for suite in dict.fromkeys(row["suite"] for row in rows):
        of_suite = [row for row in rows if row["suite"] == suite]
        main = Score(of_suite[0][SCORE].suite.main, CLEAN, "top1")
        clean = {row["row"]: row["ours_percent"] for row in of_suite if row[SCORE] == main}
        points = [_point(row, clean[row["row"]]) for row in of_suite if row["row"] in clean and _is_drawn(row[SCORE])]
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
                    f"Scatter plots of {names} against top-1 accuracy on clean images, a point for each model"
                    f"{_of_intervals(shown)}.",
                    Table(f"{suite}_against_accuracy", "The points of this plot", _POINTS, shown),
                    lambda columns=columns: [_scatter(column, those) for column, those in columns.items()],  # type: ignore[misc]
                )
            )
    return found


def _of_intervals(points: Sequence[Row]) -> str:
    """What the lines through the points are, as far as there are any."""
    exact = dict.fromkeys(f"{p['column']} of {p['model']}" for p in points if p["value_percent_low"] is None)
    if len(exact) == len(points):
        return ""
    return ", with 95 % intervals" + (f"; {', '.join(exact)} has none" if exact else "")


def _is_drawn(score: Score) -> bool:
    """Accuracies on other images than the clean ones, and mCE, which stands for all corrupted ones."""
    of_corrupted = isinstance(score.perturbation, Corrupted | Corruptions)
    is_clean = (score.dataset, score.perturbation) == (score.suite.main, CLEAN)
    return not score.measure.on_request and (score.over_corruptions or not (of_corrupted or is_clean))


def _point(row: Row, clean: float) -> dict[str, Any]:
    value, seen = row["ours_percent"], f"{row['images']:,} of {row['expected_images']:,} images"
    return {
        "name": row["model"],
        "model": row["row"] if row["images"] >= row["expected_images"] else f"{row['row']}, {seen}",
        "column": row["column"],
        "top1_percent": clean,
        "value_percent": value,
        "value_percent_low": row["ours_percent_low"],
        "value_percent_high": row["ours_percent_high"],
        "images": row["images"],
        "expected_images": row["expected_images"],
        "metric": row["metric"],
    }


def _scatter(column: str, points: Sequence[Row]) -> Figure:
    from bokeh.models import ColumnDataSource

    is_error = not metrics.METRICS[points[0]["metric"]].higher_is_better
    x = [p["top1_percent"] for p in points]
    x_range = plots.limits(x, x, 0.45)
    shown = [p[key] for p in points for key in _KEYS_OF_A_POINT if p[key] is not None]
    y_range = plots.limits(shown, shown)
    unit = "lower is better" if is_error else "%"
    panel = plots.panel(column, "clean top-1, %", f"{column}, {unit}", x_range=x_range, y_range=y_range)
    drawn = []
    for p in points:
        style = plots.look(p["name"])
        says = decimals(p["value_percent"])
        source = ColumnDataSource({"says": [says], **{key: [value] for key, value in p.items()}})
        if p["value_percent_low"] is not None:
            source.data["says"] = [
                f"{says} ({decimals(p['value_percent_low'])} to {decimals(p['value_percent_high'])})"
            ]
            ends: dict[str, Any] = {
                "x0": "top1_percent",
                "x1": "top1_percent",
                "y0": "value_percent_low",
                "y1": "value_percent_high",
            }
            panel.segment(**ends, source=source, line_color=style.colour, line_width=1.5)
        look: dict[str, Any] = {"marker": plots.MARKERS[style.marker], "size": 9, "color": style.colour}
        drawn.append(panel.scatter("top1_percent", "value_percent", source=source, **look))
    tips = [("", "@model"), ("clean top-1", "@top1_percent{0.0} %"), (column, "@says")]
    plots.hover(panel, drawn, tips)
    if len(points) <= plots.MOST_NAMES:
        y = [p["value_percent"] for p in points]
        plots.write_names(panel, x, plots.apart(y, *y_range), [p["model"] for p in points])
    return panel


# Errors by corruption and severity

_ERRORS = [
    Column("model", "Model"),
    Column("corruption", "Corruption"),
    Column("severity", "Severity", align="right"),
    Column("error_percent", "Error", "%", align="right"),
    Column("error_percent_low", "Low", align="right"),
    Column("error_percent_high", "High", align="right"),
]
_MEAN = "mean of all"
_KEYS = ("error_percent", "error_percent_low", "error_percent_high")


def _by_corruption(records: Sequence[Record]) -> list[plots.Plot]:
    results = Results(records)
    scores = {score for record in records for score in scores_of(record.cell) if score.measure is metrics.MCE}
    found = []
    for score in sorted(scores, key=lambda s: s.order):
        rows: list[dict[str, Any]] = []
        for setup in results.setups:
            if not set(corruptions()) <= set(results.errors(setup, score)):
                continue  # a mean over fewer is another number
            measured = [r for r in results.records(setup, score) if r.error is None]
            seen = coverage(measured)
            label = setup.label if seen.complete else f"{setup.label}, {seen.text}"
            rows += [_error(r, label) for r in measured if corruption_of(r).name in corruptions()]
        if not rows:
            continue
        place = {name: i for i, name in enumerate(corruptions())}
        rows.sort(key=lambda row: (row["model"], place[row["corruption"]], row["severity"]))
        title = score.title.removesuffix(" mCE")
        name = "_".join([score.dataset, *map(str, score.perturbation.settings.values()), "errors"])
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


def _error(record: Record, label: str) -> dict[str, Any]:
    p, error, n = corruption_of(record), 1 - record.values["top1"], int(record.values["images"])
    low, high = metrics.wilson_interval(round(error * n), n)
    about = {"model": label, "name": record.cell.model, "corruption": p.name, "severity": p.severity}
    return {**about, "error_percent": 100 * error, "error_percent_low": 100 * low, "error_percent_high": 100 * high}


def _mean(rows: Sequence[Row]) -> dict[str, float]:
    """The mean error; its interval as if all of them were wrong on the same images, so never too narrow."""
    return {key: sum(row[key] for row in rows) / len(rows) for key in _KEYS}


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
            for key in _KEYS:
                data[f"{key}@{choice}"] = [round(mean[key], 3) for mean in means]
        data |= {key: data[f"{key}@{_MEAN}"] for key in _KEYS}
        source = ColumnDataSource(data)
        panel.line("severity", "error_percent", source=source, line_color=style.colour, line_width=2)
        panel.segment(
            "severity",
            "error_percent_low",
            "severity",
            "error_percent_high",
            source=source,
            line_color=style.colour,
            line_width=1.5,
        )
        drawn.append(
            panel.scatter(
                "severity",
                "error_percent",
                source=source,
                marker=plots.MARKERS[style.marker],
                size=6,
                color=style.colour,
            )
        )
        names.append(model)
    plots.hover(
        panel,
        drawn,
        [
            ("", "@model"),
            ("severity", "@severity"),
            ("error", "@error_percent{0.0} % (@error_percent_low{0.0} to @error_percent_high{0.0})"),
        ],
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
        columns = {key: [round(mean[key], 3) for mean in means] for key in _KEYS}
        source = ColumnDataSource({"corruption": shown, "model": [model] * len(shown), **columns})
        at = dodge("corruption", 0.7 * ((i + 0.5) / len(models) - 0.5), range=panel.x_range)
        panel.segment(
            at, "error_percent_low", at, "error_percent_high", source=source, line_color=style.colour, line_width=1.5
        )
        drawn.append(
            panel.scatter(
                at, "error_percent", source=source, marker=plots.MARKERS[style.marker], size=5, color=style.colour
            )
        )
    plots.hover(
        panel,
        drawn,
        [
            ("", "@model"),
            ("", "@corruption"),
            ("error", "@error_percent{0.0} % (@error_percent_low{0.0} to @error_percent_high{0.0})"),
        ],
    )
    return panel


def _legend(panel: Figure, drawn: Sequence[Any], names: Sequence[str]) -> None:
    from bokeh.models.annotations import Legend, LegendItem

    items = [
        LegendItem(label={"value": plots.plain(name)}, renderers=[one]) for name, one in zip(names, drawn, strict=True)
    ]
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
