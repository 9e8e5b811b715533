"""Published beside measured, a verdict each: does what we have agree with what was printed, and if not, why?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gfnet_bench.reports.base import Report
from gfnet_bench.reports.drawing.tables import RECORDS, Column, Row, Table, decimals
from gfnet_bench.reports.reading.differences import EXPLAINED

WITHIN, PRINTED, DIFFERS = "within interval", "as printed", "differs"

_COUNTS = {"params": ("Params, M", 1e6), "macs": ("GMACs", 1e9)}
"""What is counted, with nothing drawn: it can agree to the last digit that was printed."""


def verdict(value: float, low: float | None, high: float | None, published: float) -> str:
    """Of a number with an interval, which the published one may miss by half of its last digit, a tenth of a point."""
    within = low is not None and high is not None and low - 0.05 <= published <= high + 0.05
    return WITHIN if within or round(value, 1) == round(published, 1) else DIFFERS


def counted(value: float, published: float, unit: float) -> str:
    """Of a count: whether it rounds to what was printed, in the unit and with the digits that it was printed with."""
    text = f"{published / unit:g}"
    digits = len(text.partition(".")[2])
    return PRINTED if abs(value / unit - published / unit) <= 0.5 * 10.0**-digits + 1e-9 else DIFFERS


def against_published(reports: Iterable[Report]) -> Table | None:
    """Every figure that was both published and measured; None where there is none."""
    rows = [row for report in reports for row in (*_scores(report), *_costs(report))]
    if not rows:
        return None
    counts = {word: sum(row["verdict"] == word for row in rows) for word in (WITHIN, PRINTED, DIFFERS)}
    notes = [f"{word}: {meaning}" for word, meaning in _MEANINGS.items() if counts[word]]
    said = {word for row in rows for word in row["why"].split(", ") if word}
    notes += [f"{word}: {meaning}" for word, meaning in EXPLAINED.items() if word in said]
    rows.sort(key=lambda row: row["verdict"] != DIFFERS)
    return Table("against_published", "Published beside measured, in short", _COLUMNS, rows, notes)


_MEANINGS = {
    WITHIN: "the published figure lies in the 95 % interval of ours, or is the same as far as it was printed",
    PRINTED: "our count rounds to the published one, in its unit and to its digits",
    DIFFERS: "neither",
}

_COLUMNS = [
    Column("model", "Model"),
    Column("quantity", "Quantity"),
    Column("ours", "Ours", digits=None, align="right", show=lambda row: row["_ours"]),
    Column("published", "Published", digits=None, align="right", show=lambda row: row["_published"]),
    Column("verdict", "Verdict"),
    Column("why", "Why", show=lambda row: row["why"] or None),
]


def summary(table: Table) -> str:
    """How many agree, in one sentence."""
    agree = sum(row["verdict"] != DIFFERS for row in table.rows)
    differ = len(table.rows) - agree
    unexplained = sum(row["verdict"] == DIFFERS and row["why"] in ("", "no") for row in table.rows)
    told = f"Of {len(table.rows)} published figures that are measured here, {agree} agree and {differ} differ"
    return told + (f", {unexplained} of them for no reason that the records tell." if unexplained else ".")


def _scores(report: Report) -> Iterator[dict[str, Any]]:
    for table in report.tables:
        if not (table.name.startswith("robustness_") and table.name.endswith("_published")):
            continue
        for row in table.rows:
            value, low, high = row["ours_percent"], row["ours_percent_low"], row["ours_percent_high"]
            said = verdict(value, low, high, row["published_percent"])
            ends = "" if low is None else f" ({decimals(low)} to {decimals(high)})"
            yield {
                **_about(row, row["model"], row["column"], "ours_percent"),
                "ours": value,
                "_ours": decimals(value) + ends,
                "published": row["published_percent"],
                "_published": f"{decimals(row['published_percent'])}{row['mark'] or ''}",
                "verdict": said,
                "why": row["explained"] if said == DIFFERS else "",
            }


def _costs(report: Report) -> Iterator[dict[str, Any]]:
    done = set()
    for table in report.tables:
        for row in table.rows:
            for key, (title, unit) in _COUNTS.items():
                value, published = row.get(key), row.get(f"{key}_published")
                name = table.columns[0].text(row)
                known = name, row.get("side_px"), title, published
                if value is None or published is None or known in done:
                    continue
                done.add(known)
                said = counted(value, published, unit)
                yield {
                    **_about(row, name, title, key),
                    "ours": value / unit,
                    "_ours": f"{value / unit:.4g}",
                    "published": published / unit,
                    "_published": f"{published / unit:g}{row.get(f'{key}_published_mark') or ''}",
                    "verdict": said,
                    "why": f"{100 * (value / published - 1):+.1f} %" if said == DIFFERS else "",
                }


def _about(row: Row, name: str, quantity: str, key: str) -> dict[str, Any]:
    behind = row.get(RECORDS, {}).get(key, ())
    return {"model": name, "quantity": quantity, RECORDS: {"ours": behind}}
