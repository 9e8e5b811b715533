"""Tables of the robustness report: the paper's Table 3, published beside ours, and a row for every number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gfnet_bench.metrics import TOP1, Metric
from gfnet_bench.reports.drawing import intervals
from gfnet_bench.reports.drawing.beside import MARKS
from gfnet_bench.reports.drawing.emphasis import ASIDE
from gfnet_bench.reports.drawing.tables import RECORDS, Column, Row, Table, data_columns, names_of
from gfnet_bench.reports.reading.differences import EXPLAINED, explained
from gfnet_bench.reports.reading.scores import (
    SCORE,
    Score,
    Setup,
)
from gfnet_bench.reports.robustness.results import PARTIAL, Outcome, Results
from gfnet_bench.suites import ALEXNET, Suite

_TEXT = "_text"
"""An entry of a row that no column shows: key of a column -> what people read there."""


def wide_table(
    suite: Suite,
    results: Results,
    setups: Sequence[Setup],
    columns: Mapping[Score, str],
    outcomes: Sequence[Outcome],
    problems: Sequence[str],
    *,
    is_ranked: bool = False,
) -> Table:
    """A row per model, as the paper prints it; ranked by the first column of accuracies if rows are in that order."""
    names = names_of(title.replace("Top-", "Top") for title in columns.values())
    keys = {score: _key(name, score.measure) for score, name in zip(columns, names.values(), strict=True)}
    rows: list[dict[str, Any]] = []
    sampled = all(setup.settings.get("limit") is not None for setup in setups)
    for setup in setups:
        behind = {key: results.behind(setup, score) for score, key in keys.items()}
        row: dict[str, Any] = {
            "model": setup.label,
            "params": results.noted(setup, "params"),
            _TEXT: {},
            RECORDS: behind,
            ASIDE: setup.settings.get("limit") is not None and not sampled,
        }
        for o in (o for o in outcomes if o.setup == setup):
            row |= {f"{keys[o.score]}{end}": value for end, value in _fields(o).items()}
            row[_TEXT][keys[o.score]] = o.text
        rows.append(row)
    heads = [Column("model", "Model"), Column("params", "Params", "M", scale=1e-6, align="right")]
    heads += [_column(keys[score], title, score) for score, title in columns.items()]
    notes = [*_explanations(suite, columns, outcomes), *_gaps(columns, outcomes), *problems]
    title, ranked = f"Robustness and generalisation, {suite.title}, %", next(iter(keys.values()), "")
    return Table(f"robustness_{suite.name}", title, heads, rows, notes, ranked if is_ranked else "")


def _column(key: str, title: str, score: Score) -> Column:
    ends = ["", "_low", "_high", "_images", "_expected_images", "_unreadable_images", "_status"]
    ends += ["_published", "_published_mark"] if score.published else []
    unit = "" if score.measure.unit == "percent" else score.measure.unit
    fields = [f"{key}{end}" for end in ends]
    better = "higher" if score.measure.higher_is_better else "lower"
    return Column(key, title, unit, show=lambda row: row[_TEXT].get(key), fields=fields, align="right", better=better)


def _key(name: str, metric: Metric) -> str:
    return f"{name}_{metric.unit}" if metric.unit else name


def _fields(o: Outcome) -> dict[str, Any]:
    """A number and what belongs to it, for programs: endings of the key of a column -> values."""
    low, high = o.interval or (None, None)
    images, expected, unreadable = o.coverage[:3] if o.coverage else (None, None, None)
    quoted = {"_published": o.published and o.published.value, "_published_mark": o.mark or None}
    seen = {"_images": images, "_expected_images": expected, "_unreadable_images": unreadable}
    return {"": o.value, "_low": low, "_high": high, **seen, "_status": o.status, **quoted}


_BESIDE = [
    Column("model", "Model"),
    Column("column", "Column"),
    Column(
        "images",
        "Images",
        show=lambda row: row[_TEXT],
        fields=("images", "expected_images", "unreadable_images"),
        align="right",
    ),
    Column("ours_percent", "Ours", align="right"),
    Column("ours_percent_low", "Low", align="right"),
    Column("ours_percent_high", "High", align="right"),
    Column("published_percent", "Published", align="right"),
    Column("difference_points", "Difference", "points", align="right"),
    Column("mark", "", show=lambda row: row["mark"] or ""),
    Column("explained", "Explained by"),
]


def beside_table(suite: Suite, results: Results, columns: Mapping[Score, str], outcomes: Sequence[Outcome]) -> Table:
    """What was published beside what was measured, with difference and interval."""
    rows: list[dict[str, Any]] = []
    for o in outcomes:
        if o.published is None or o.value is None or o.coverage is None:
            continue
        difference = o.value - o.published.value
        words = explained(difference, o.setup.settings, o.published, o.score.metric, complete=o.coverage.complete)
        low, high = o.interval or (None, None)
        rows.append(
            {
                "model": o.setup.label,
                "column": columns[o.score],
                **dict(zip(("images", "expected_images", "unreadable_images"), o.coverage[:3], strict=True)),
                _TEXT: f"{o.coverage.images} of {o.coverage.expected}" if o.is_partial else str(o.coverage.images),
                "ours_percent": o.value,
                "ours_percent_low": low,
                "ours_percent_high": high,
                "published_percent": o.published.value,
                "difference_points": difference,
                "mark": o.mark or None,
                "explained": words,
                RECORDS: dict.fromkeys(("ours_percent", "difference_points"), results.behind(o.setup, o.score)),
            }
        )
    title = f"Published beside measured, {suite.title}, %"
    notes = [f"{mark} {meaning}" for mark, meaning in MARKS.items() if any(row["mark"] == mark for row in rows)]
    said = {word for row in rows for word in row["explained"].split(", ")}
    notes += [f"{word}: {meaning}" for word, meaning in EXPLAINED.items() if word in said]
    return Table(f"robustness_{suite.name}_published", title, _BESIDE, rows, notes)


def _explanations(suite: Suite, columns: Mapping[Score, str], outcomes: Sequence[Outcome]) -> list[str]:
    """What a reader must know of the numbers that are there."""
    notes = [intervals.NOTE] if any(o.interval for o in outcomes) else []
    if any(o.published for o in outcomes):
        notes.append("In brackets: published, by timm for rows with the model's own transform, else by the paper.")
    notes += [f"{mark} {meaning}" for mark, meaning in MARKS.items() if any(o.mark == mark for o in outcomes)]
    notes += [f"{PARTIAL} not the whole set: {text}" for text in _grouped(columns, outcomes, _part)]
    notes += [f"Files that could not be read and are left out: {t}" for t in _grouped(columns, outcomes, _unreadable)]
    if suite.reference != ALEXNET and any(score.over_corruptions for score in columns):
        notes.append(f"mCE is relative to the errors of {suite.reference}, whose own is 100 by definition.")
    for score, title in columns.items():
        if score.over and score.measure is TOP1:
            notes.append(f"{title}: over {score.over}; relative to no network's errors, so no mCE.")
    return notes + [note for note in dict.fromkeys(score.measure.note for score in columns) if note]


def _part(o: Outcome) -> str:
    return o.coverage.text if o.coverage and o.is_partial else ""


def _unreadable(o: Outcome) -> str:
    return f"{o.coverage.unreadable:,}" if o.coverage and o.coverage.unreadable else ""


def _gaps(columns: Mapping[Score, str], outcomes: Sequence[Outcome]) -> list[str]:
    """A sentence for every reason that a number is not there."""
    return _grouped(columns, outcomes, lambda o: f"{o.status}: {o.reason}" if o.reason else "")


def _grouped(columns: Mapping[Score, str], outcomes: Iterable[Outcome], text_of: Callable[[Outcome], str]) -> list[str]:
    """For every text that some of the outcomes have, which those are: `Top-1, FGSM of a, b; PGD of c: <text>`."""
    having: dict[str, dict[str, list[str]]] = {}
    for o in outcomes:
        if text := text_of(o):
            having.setdefault(text, {}).setdefault(o.setup.label, []).append(columns[o.score])
    lines = []
    for text, rows in having.items():
        alike: dict[str, list[str]] = {}
        for label, those in rows.items():
            alike.setdefault(", ".join(those), []).append(label)
        lines.append("; ".join(f"{those} of {', '.join(labels)}" for those, labels in alike.items()) + f": {text}")
    return lines


_ABOUT = (
    "suite", "model", "row", "column", "dataset", "perturbation", "metric", "transform", "limit_images",
    "images", "expected_images", "unreadable_images",
)  # fmt: skip
_QUOTED = ("published_percent", "published_mark", "verified", "difference_points", "source", "status", "reason")


def long_columns(lines: Sequence[Row]) -> list[Column]:
    """The columns of the data: one of all numbers in percent, and one for each metric in another unit."""
    found = dict.fromkeys(["ours_percent", "nll_nats", *(_value_key(line[SCORE].measure) for line in lines)])
    ends = [f"{key}{end}" for key in found for end in ("", "_low", "_high")]
    return data_columns((*_ABOUT, *ends, *_QUOTED))


def _value_key(metric: Metric) -> str:
    return "ours_percent" if metric.unit == "percent" else _key(metric.name, metric)


def long_row(o: Outcome, title: str) -> Row:
    """One number for programs."""
    low, high = o.interval or (None, None)
    images, expected, unreadable = o.coverage[:3] if o.coverage else (None, None, None)
    quoted, key = o.published, _value_key(o.score.measure)
    return {
        SCORE: o.score,
        "suite": o.score.suite.name,
        "model": o.setup.model,
        "row": o.setup.label,
        "column": title,
        "dataset": o.score.dataset,
        "perturbation": o.score.description,
        "metric": o.score.metric,
        "transform": o.setup.settings.get("transform"),
        "limit_images": o.setup.settings.get("limit"),
        "images": images,
        "expected_images": expected,
        "unreadable_images": unreadable,
        key: o.value,
        f"{key}_low": low,
        f"{key}_high": high,
        "published_percent": quoted and quoted.value,
        "published_mark": o.mark or None,
        "verified": quoted and quoted.verified,
        "difference_points": o.value - quoted.value if quoted and o.value is not None else None,
        "source": quoted and quoted.source,
        "status": o.status,
        "reason": o.reason or None,
    }
