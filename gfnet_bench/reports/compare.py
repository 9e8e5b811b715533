"""Two results folders beside each other: two runs, or two machines. Which numbers differ, surely or by chance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gfnet_bench import metrics
from gfnet_bench.errors import MissingError
from gfnet_bench.inputs import IMAGES, differing
from gfnet_bench.records import Record
from gfnet_bench.reports.base import Report
from gfnet_bench.reports.drawing.tables import RECORDS, Column, Row, Table, decimals
from gfnet_bench.reports.reading.describe import describe
from gfnet_bench.reports.reading.family import P, correct
from gfnet_bench.store import Store

_SHARES = {
    "real": "real_percent",
    "top1": "top1_percent",
    "clean_error": "clean_error_percent",
    "mean_error": "mean_error_percent",
}
_HEADLINES = {**_SHARES, "macs": "macs", "latency_s": "latency_s", "peak_bytes": "peak_bytes"}
"""Values that have a row of their own, and what they are called there; of the others only the names are told where
they differ."""

_OF_THE_MOMENT = ("started", "seconds", "before", "after")
"""Provenance that differs between any two runs and explains nothing."""


def _side(side: str, title: str) -> Column:
    """The value in one of the runs, which has a column of its own for programs."""
    fields = [*(f"{quantity}_{side}" for quantity in _HEADLINES.values()), f"status_{side}"]

    def shown(row: Row) -> str | None:
        value = row.get(side)
        if value is None:
            return row[f"status_{side}"]
        return f"{value:.2f}" if row["value"] in _SHARES else f"{value:.5g}"

    return Column(side, title, show=shown, fields=fields, align="right")


def _difference(row: Row) -> str | None:
    for key, unit in (("difference_points", "points"), ("change_percent", "%")):
        if row.get(key) is not None:
            return f"{decimals(row[key], 2)} {unit}"
    return None


_ROWS = [
    Column("cell", "Cell"),
    Column("value", "Value"),
    _side("first", "A"),
    _side("second", "B"),
    Column("difference", "B - A", show=_difference, fields=("difference_points", "change_percent"), align="right"),
    Column("difference_points_low", "Low", digits=2, align="right"),
    Column("difference_points_high", "High", digits=2, align="right"),
    *P,
    Column("images", "Images", align="right"),
    Column("changed_images", "Changed", align="right"),
    Column("unpaired", "Not paired"),
    Column("others", "Other values"),
    Column("provenance", "Differs in"),
]
_LONG = [Column("study", "study"), Column("model", "model"), *_ROWS]
_NOTES = [
    "B - A: of accuracies in points, with its 95 % interval and McNemar mid-p test where both runs kept predictions of "
    "the same images in the same order; of costs in percent of A. Changed: images that only one of the two has right.",
    "Other values: of the same cell that differ. Differs in: fields of the provenance.",
]


class Comparison(NamedTuple):
    """The outcome.

    Attributes:
        report: tables for people, all rows as data.
        records: those of both runs, by `A:<sha256>` and `B:<sha256>`, as the rows name them.
        same: whether both runs hold the same cells with the same values.
    """

    report: Report
    records: dict[str, Record]
    same: bool


class _Pair(NamedTuple):
    """One cell in both runs."""

    first: Record
    second: Record
    rows: list[dict[str, Any]]
    same: bool


def compare(first: Store, second: Store) -> Comparison:
    """Compare by cell: equal cells are the same measurement.

    Raises:
        MissingError: if one of them holds no records.
    """
    runs = {"A": first, "B": second}
    loaded = {name: _load(store) for name, store in runs.items()}
    a, b = ({r.cell: r for r in loaded[name].records} for name in runs)
    pairs = [_pair(a[cell], b[cell], first, second) for cell in a if cell in b]
    alone = [("A", a[cell]) for cell in a if cell not in b] + [("B", b[cell]) for cell in b if cell not in a]
    rows = [row for pair in pairs for row in pair.rows]
    corrected = correct(rows, "in both runs")
    different = [row for pair in pairs if not pair.same for row in pair.rows]
    same = not different and not alone
    tables = [_summary(runs, pairs, alone, [p for one in loaded.values() for p in one.problems])]
    if different:
        title = "Cells whose values differ"
        tables.append(Table("compare_differences", title, _ROWS, different, [*_NOTES, *corrected]))
    tables += [table for table in (_provenance(pairs), _only(alone)) if table.rows]
    data = Table("compare_long", "All cells in both runs, a row for each value", _LONG, rows)
    records = {f"{name}:{cell.sha256}": record for name, of in (("A", a), ("B", b)) for cell, record in of.items()}
    return Comparison(Report(tables, data), records, same)


def _load(store: Store) -> Any:
    loaded = store.load()
    if not loaded.records:
        raise MissingError(f"compare: expected records in {Path(store.folder) / 'records'}, found none.")
    return loaded


def _pair(a: Record, b: Record, first: Store, second: Store) -> _Pair:
    cell = a.cell
    names = [name for name in _HEADLINES if name in a.values or name in b.values]
    # A value that one of them is too old to have is no difference.
    differing = sorted(k for k in a.values.keys() & b.values.keys() if a.values[k] != b.values[k])
    right = _right(a, b, first, second)
    alike = (
        right not in (_OTHER_IMAGES, _OTHER_LABELS) if isinstance(right, str) else bool((right[0] == right[1]).all())
    )
    about: dict[str, Any] = {
        "study": cell.study,
        "model": cell.model,
        "cell": f"{cell.model} {describe(a)}",
        "others": ", ".join(k for k in differing if k not in names) or None,
        "provenance": ", ".join(_differing(a, b)) or None,
        RECORDS: {"first": (f"A:{cell.sha256}",), "second": (f"B:{cell.sha256}",)},
    }
    rows: list[dict[str, Any]] = []
    for name in names or [""]:
        row = {**about, "value": name or None, **_values(a, b, name)}
        if name in _SHARES and name == names[0] and a.error is None and b.error is None:
            row |= {"unpaired": right} if isinstance(right, str) else _paired(*right)
        rows.append(row)
    return _Pair(a, b, rows, a.error == b.error and not differing and alike)


def _values(a: Record, b: Record, name: str) -> dict[str, Any]:
    """Entries of a row: one value in both runs, and what it differs by."""
    row: dict[str, Any] = {}
    for side, record in (("first", a), ("second", b)):
        value = record.values.get(name) if record.error is None else None
        row[f"status_{side}"] = "failed" if record.error is not None else "other" if not name else "measured"
        if value is not None:
            row[side] = row[f"{_HEADLINES[name]}_{side}"] = 100 * value if name in _SHARES else value
    x, y = row.get("first"), row.get("second")
    if x is not None and y is not None:
        if name in _SHARES:
            row |= {"difference": y - x, "difference_points": y - x}
        elif x:
            row |= dict.fromkeys(("difference", "change_percent"), 100 * (y / x - 1))
    return row


def _paired(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> dict[str, Any]:
    d = metrics.compare(second, first)
    low, high = (100 * end for end in d.interval)
    counts = {"images": len(first), "changed_images": d.only_first + d.only_second}
    return {"difference_points_low": low, "difference_points_high": high, "p": d.p, **counts}


_OTHER_IMAGES = "different images, or another order"
_OTHER_LABELS = "the same images with other labels"


def _right(a: Record, b: Record, first: Store, second: Store) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | str:
    """(n,) which images are right in each run, or why they cannot be compared one by one."""
    ids = a.provenance.get("ids_sha256"), b.provenance.get("ids_sha256")
    if None in ids:
        return "which images were seen is not recorded"
    if ids[0] != ids[1]:
        return _OTHER_IMAGES
    try:
        x, y = first.arrays(a), second.arrays(b)
        if not np.array_equal(x["labels"], y["labels"]):
            return _OTHER_LABELS
        if differing(a.provenance, b.provenance, IMAGES):
            return _OTHER_IMAGES
        right = metrics.headline(x), metrics.headline(y)
    except (MissingError, KeyError):
        return "no per-image predictions"
    return right if len(right[0]) == len(right[1]) else _OTHER_LABELS


def _differing(a: Record, b: Record) -> list[str]:
    keys = sorted({*a.provenance, *b.provenance} - set(_OF_THE_MOMENT))
    return [key for key in keys if a.provenance.get(key) != b.provenance.get(key)]


def _summary(
    runs: Mapping[str, Store], pairs: list[_Pair], alone: list[tuple[str, Record]], problems: list[str]
) -> Table:
    same = sum(pair.same for pair in pairs)
    counts = {
        "in both runs": len(pairs),
        "of these the same": same,
        "of these different": len(pairs) - same,
        "in A alone": sum(name == "A" for name, _ in alone),
        "in B alone": sum(name == "B" for name, _ in alone),
    }
    if not pairs:
        verdict = "The runs have no cell in common."
    elif same == len(pairs):
        verdict = f"The {same} cells in both runs are identical."
    else:
        verdict = f"{len(pairs) - same} of the {len(pairs)} cells in both runs differ."
    notes = [verdict, *(f"{name}: {store.folder}" for name, store in runs.items()), *problems]
    columns = [Column("cells", "Cells"), Column("count", "Count", align="right")]
    rows = [{"cells": key, "count": count} for key, count in counts.items()]
    return Table("compare", "Two runs compared", columns, rows, notes)


def _provenance(pairs: list[_Pair]) -> Table:
    """What differs between the runs beside their numbers."""
    counts: dict[str, list[_Pair]] = {}
    for pair in pairs:
        for key in _differing(pair.first, pair.second):
            counts.setdefault(key, []).append(pair)
    rows = [
        {
            "field": key,
            "first": _listed(pair.first.provenance.get(key) for pair in those),
            "second": _listed(pair.second.provenance.get(key) for pair in those),
            "cells": len(those),
        }
        for key, those in sorted(counts.items())
    ]
    columns = [
        Column("field", "Field"),
        Column("first", "A"),
        Column("second", "B"),
        Column("cells", "Cells", align="right"),
    ]
    return Table("compare_provenance", "What the runs differ in", columns, rows)


def _listed(values: Iterable[Any]) -> str:
    """Up to three different ones."""
    found = list(dict.fromkeys("not recorded" if value is None else str(value) for value in values))
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def _only(alone: list[tuple[str, Record]]) -> Table:
    rows = [
        {
            "cell": f"{record.cell.model} {describe(record)}",
            "study": record.cell.study,
            "run": name,
            RECORDS: {"cell": (f"{name}:{record.cell.sha256}",)},
        }
        for name, record in alone
    ]
    columns = [Column("cell", "Cell"), Column("study", "Study"), Column("run", "In")]
    return Table("compare_only", "Cells in one run alone", columns, rows)
