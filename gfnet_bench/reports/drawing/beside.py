"""Columns of tables where published figures stand: beside ours, or alone."""

from __future__ import annotations

from typing import Any

from gfnet_bench.published import is_verified
from gfnet_bench.reports.drawing.tables import GAP, Column, Row, decimals

FROM_MEMORY = "†"
"""The mark of a published figure that was not seen at a public source."""

MARKS = {FROM_MEMORY: "published, but quoted from memory", "‡": "published, quoted from memory and uncertain even so"}
"""What the marks of published figures mean."""


def entries(published: dict[str, str], column: str, key: str, scale: float = 1.0) -> dict[str, Any]:
    """A published figure as entries of a row: the number, and its mark beside it.

    Args:
        published: a row of a published table.
        column: of it.
        key: of our column.
        scale: of the published unit in ours, 1e6 for millions in a count.
    """
    if not published[column]:
        return {}
    value = round(float(published[column]) * scale, 6)
    number = int(value) if scale > 1 else value
    mark = None if is_verified(published, column) else FROM_MEMORY
    return {f"{key}_published": number, f"{key}_published_mark": mark}


def beside(key: str, title: str, unit: str = "", *, scale: float = 1.0, digits: int = 1) -> Column:
    """Ours, and in brackets what was published as it was printed: `15.4 (15.5†)`."""

    def shown(row: Row) -> str:
        ours = row.get(key)
        return f"{GAP if ours is None else decimals(ours * scale, digits)} ({_quoted(row, key, scale) or GAP})"

    fields = (key, f"{key}_published", f"{key}_published_mark")
    return Column(key, title, unit, align="right", show=shown, fields=fields)


def quoted(key: str, title: str, unit: str = "", *, scale: float = 1.0, digits: int | None = None) -> Column:
    """What was published, where nothing here measures it."""

    def shown(row: Row) -> str | None:
        return _quoted(row, key, scale, digits)

    fields = (f"{key}_published", f"{key}_published_mark")
    return Column(fields[0], title, unit, align="right", show=shown, fields=fields)


def _quoted(row: Row, key: str, scale: float, digits: int | None = None) -> str | None:
    value = row.get(f"{key}_published")
    if value is None:
        return None
    number = f"{value * scale:g}" if digits is None else decimals(value * scale, digits)
    return number + (row.get(f"{key}_published_mark") or "")
