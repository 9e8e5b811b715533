"""Two results folders beside each other: two runs, or two machines. Which numbers differ, surely or by chance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gfnet_bench import metrics
from gfnet_bench.errors import MissingError
from gfnet_bench.records import Record, Store
from gfnet_bench.reports.base import Report
from gfnet_bench.reports.page.provenance import describe
from gfnet_bench.reports.tables import RECORDS, Column, Row, Table

_SHARES = ("real", "top1", "clean_error", "mean_error")
_HEADLINES = (*_SHARES, "macs", "latency_s", "peak_bytes")
"""Values that have a row of their own; of the others only the names are told where they differ."""

_OF_THE_MOMENT = ("started", "seconds", "before", "after")
"""Provenance that differs between any two runs and explains nothing."""

_ROWS = [
    Column("cell", "Cell"),
    Column("value", "Value"),
    Column("first", "A", align="right"),
    Column("second", "B", align="right"),
    Column("difference", "B - A", digits=2, align="right"),
    Column("unit", "Unit"),
    Column("low", "Low", digits=2, align="right"),
    Column("high", "High", digits=2, align="right"),
    Column("p", "p", digits=4, align="right"),
    Column("images", "Images", align="right"),
    Column("changed", "Changed", align="right"),
    Column("others", "Other values"),
    Column("provenance", "Differs in"),
]
_LONG = [Column("study", "study"), Column("model", "model"), *_ROWS]
_NOTES = [
    "B - A: of accuracies in points, with its 95 % interval and McNemar mid-p test where both runs kept predictions of "
    "the same images; of costs in percent of A. Changed: images that only one of the two has right.",
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
    rows: list[Row]
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
    different = [row for pair in pairs if not pair.same for row in pair.rows]
    same = not different and not alone
    tables = [_summary(runs, pairs, alone, [p for one in loaded.values() for p in one.problems])]
    if different:
        title = "Cells whose values differ"
        tables.append(Table("compare_differences", title, _shown(different), different, _NOTES))
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
    differing = sorted(k for k in {*a.values, *b.values} if a.values.get(k) != b.values.get(k))
    right = _right(a, b, first, second)
    same = a.error == b.error and not differing and (right is None or bool((right[0] == right[1]).all()))
    about: dict[str, Any] = {
        "study": cell.study,
        "model": cell.model,
        "cell": f"{cell.model} {describe(a)}",
        "others": ", ".join(k for k in differing if k not in names) or None,
        "provenance": ", ".join(_differing(a, b)) or None,
        RECORDS: {"first": (f"A:{cell.sha256}",), "second": (f"B:{cell.sha256}",)},
    }
    rows: list[Row] = []
    for name in names or [""]:
        row = {**about, "value": name or None, "first": _text(a, name), "second": _text(b, name)}
        x, y = (r.values.get(name) for r in (a, b))
        if isinstance(x, (int, float)) and isinstance(y, (int, float)):
            if name in _SHARES:
                row |= {"difference": 100 * (y - x), "unit": "points"}
            elif x:
                row |= {"difference": 100 * (y / x - 1), "unit": "%"}
        if right is not None and name == names[0]:
            d = metrics.compare(right[1], right[0])
            low, high = (100 * end for end in d.interval)
            counts = {"images": len(right[0]), "changed": d.only_first + d.only_second}
            row |= {"low": low, "high": high, "p": d.p, **counts}
        rows.append(row)
    return _Pair(a, b, rows, same)


def _right(a: Record, b: Record, first: Store, second: Store) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """(n,) which images are right in each run; None where that was not kept, or they saw different images."""
    if a.provenance.get("ids_sha256") != b.provenance.get("ids_sha256"):
        return None
    try:
        return _of_arrays(first.arrays(a)), _of_arrays(second.arrays(b))
    except (MissingError, KeyError):
        return None


def _of_arrays(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    if "real" in arrays:
        return np.asarray(arrays["real"][arrays["real"] >= 0] == 1)
    return metrics.is_correct(arrays["top5"], arrays["labels"])


def _text(record: Record, name: str) -> str | None:
    if record.error is not None:
        return "failed"
    value = record.values.get(name)
    if value is None:
        return None if name else "other"
    return f"{100 * value:.2f}" if name in _SHARES else f"{value:.5g}"


def _differing(a: Record, b: Record) -> list[str]:
    keys = sorted({*a.provenance, *b.provenance} - set(_OF_THE_MOMENT))
    return [key for key in keys if a.provenance.get(key) != b.provenance.get(key)]


def _shown(rows: Iterable[Row]) -> list[Column]:
    """The columns that say anything."""
    rows = list(rows)
    return [c for c in _ROWS if any(row.get(c.key) not in (None, "") for row in rows)]


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
