"""What stands out in a table: the best number of a column, and the second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gfnet_bench.reports.drawing.tables import Column, Row

Places = Mapping[tuple[int, str], int]
"""(row, key of its column) -> 1 for the best, 2 for the second."""

ASIDE = "_aside"
"""An entry of a row that no column shows: its numbers are of other images than most, in no order with theirs."""

NOTE = "Best in bold, second underlined; whether a difference is real is for the paired tests to say."


def places(rows: Sequence[Row], columns: Sequence[Column]) -> Places:
    """The best and the second of each column that has a better and a worse side.

    Numbers that people read as equal share a place. Where all are equal none is the best, and of two numbers the lesser
    is no second.
    """
    found: dict[tuple[int, str], int] = {}
    for column in columns:
        if column.better:
            read = {i: column.rounded(row) for i, row in enumerate(rows) if not row.get(ASIDE)}
            ranked = sorted({v for v in read.values() if v is not None}, reverse=column.better == "higher")
            first = ranked[: min(2, len(ranked) - 1)]
            found |= {(i, column.key): first.index(v) + 1 for i, v in read.items() if v is not None and v in first}
    return found
