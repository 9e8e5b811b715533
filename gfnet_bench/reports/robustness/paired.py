"""Any two rows that differ in the model alone, compared image by image."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from gfnet_bench.errors import MissingError
from gfnet_bench.metrics import TOP1, Metric, smallest_shown
from gfnet_bench.reports.drawing.tables import RECORDS, Column, Row, Table
from gfnet_bench.reports.reading.family import P, correct
from gfnet_bench.reports.reading.scores import Score, Setup
from gfnet_bench.reports.robustness.results import Results
from gfnet_bench.suites import Suite

_NOTE = (
    "Difference: first minus second, with its 95 % interval. Accuracies of one pass: McNemar mid-p test; means over "
    "several and mCE (where less is better, and whose reference is measured on the same images): normal approximation "
    "over images."
)
_DRAWN = "What is no mean over images ({}): normal approximation over images drawn again."
_OTHER_UNIT = (
    "Difference: first minus second, where {} is better, with its 95 % interval: normal approximation over images."
)
_SMALLEST = (
    "Smallest: the difference that so many images show with 80 % power at p < 0.05, where the two disagree on as many "
    "as here (Connor 1987)."
)
_ALONE = "Alone: images that only the first, and only the second has right."


def paired(suite: Suite, results: Results, setups: Sequence[Setup], titles: Mapping[Score, str]) -> list[Table]:
    """Two models on the same images in the same order; pairs that are not are named.

    Args:
        suite: of the columns.
        results: the numbers.
        setups: rows.
        titles: columns.

    Returns:
        One table of differences in points, and one for each metric in another unit.
    """
    name, title = f"robustness_{suite.name}_paired", f"Paired comparisons on the same images, {suite.title}"
    groups: dict[Metric | None, dict[Score, str]] = {None: {}}
    for score, heading in titles.items():
        alone = None if score.measure.points == "points" else score.measure
        groups.setdefault(alone, {})[score] = heading
    tables = []
    for metric, columns in groups.items():
        rows, left_out = _rows(results, setups, columns)
        if metric is None:
            notes, drawn = [_NOTE, _ALONE], dict.fromkeys(s.measure.title for s in columns if not s.measure.per_image)
            notes += [_DRAWN.format(", ".join(drawn))] if drawn else []
        else:
            notes = [_OTHER_UNIT.format("more" if metric.higher_is_better else "less")]
        notes = [*notes, _SMALLEST, *correct(rows)] if rows else []
        notes += [f"Not compared: {', '.join(left_out)}."] if left_out else []
        called = (name, title) if metric is None else (f"{name}_{metric.name}", f"{title}, {metric.title}")
        tables.append(Table(*called, _columns(metric or TOP1), rows, notes))
    return tables


def _columns(metric: Metric) -> list[Column]:
    key, digits = _key(metric), 1 if metric.points == "points" else metric.digits + 1
    counts = ("only_first_images", "only_second_images")
    return [
        Column("column", "Column"),
        Column("first", "First"),
        Column("second", "Second"),
        Column("images", "Images", align="right"),
        Column(key, "Difference", metric.points, digits=digits, align="right"),
        Column(f"{key}_low", "Low", digits=digits, align="right"),
        Column(f"{key}_high", "High", digits=digits, align="right"),
        *([Column("alone", "Alone", show=_alone, fields=counts, align="right")] if metric.points == "points" else []),
        *P,
        Column(_key(metric, "smallest"), "Smallest", digits=digits, align="right"),
    ]


def _alone(row: Row) -> str | None:
    both = row.get("only_first_images"), row.get("only_second_images")
    return None if None in both else f"{both[0]} : {both[1]}"


def _key(metric: Metric, quantity: str = "difference") -> str:
    return "_".join(part for part in (quantity, metric.points) if part)


def _rows(
    results: Results, setups: Sequence[Setup], titles: Mapping[Score, str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """The pairs, and those that cannot be compared with the reason."""
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    for score, title in titles.items():
        there = [setup for setup in setups if results.outcome(setup, score).value is not None]
        for first, second in itertools.combinations(there, 2):
            if first.of("") != second.of(""):
                continue
            a, b = results.by_image(first, score), results.by_image(second, score)
            if isinstance(a, MissingError) or isinstance(b, MissingError):
                left_out.append(
                    f"{title} of {first.label} and {second.label} ({a if isinstance(a, MissingError) else b})"
                )
            elif (a.ids_sha256, a.images) != (b.ids_sha256, b.images) or not results.same_images(first, second, score):
                left_out.append(f"{title} of {first.label} and {second.label} (different images, or another order)")
            else:
                key, d = _key(score.measure), score.measure.paired(a.sample, b.sample)
                low, high = d.interval or (None, None)
                both = results.behind(first, score) + results.behind(second, score)
                row = {
                    "column": title,
                    "first": first.label,
                    "second": second.label,
                    "images": a.images,
                    key: d.difference,
                    f"{key}_low": low,
                    f"{key}_high": high,
                    "only_first_images": d.only_first,
                    "only_second_images": d.only_second,
                    "p": d.p,
                    _key(score.measure, "smallest"): smallest_shown(d, a.images, score.measure.scale),
                }
                known = {name: value for name, value in row.items() if value is not None}
                rows.append({**known, RECORDS: dict.fromkeys((key, "p"), both)})
    return rows, left_out
