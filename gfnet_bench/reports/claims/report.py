"""The claims report: every claim of a paper with its verdict, the number it rests on, and the records behind that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from gfnet_bench.errors import MissingError
from gfnet_bench.metrics import Interval
from gfnet_bench.reports.base import REPORTS, Report
from gfnet_bench.reports.claims.base import PAPERS, UNITS, UNTESTED, VERDICTS, Claim, Evidence, Finding, Paper
from gfnet_bench.reports.claims.figure import ledger
from gfnet_bench.reports.drawing.intervals import with_interval
from gfnet_bench.reports.drawing.tables import RECORDS, Column, Row, Table
from gfnet_bench.reports.reading.selection import Selection

TEXT = "_text"
VERDICT = "_verdict"
"""Entries that no column shows: the number and the verdict as people read them."""

_NUMBER = ["finding", "finding_low", "finding_high", "finding_unit"]
_COLUMNS = [
    Column("says", "Claim"),
    Column("place", "Place"),
    Column("verdict", "Verdict", show=lambda row: row[VERDICT], fields=["verdict", "stands_in"]),
    Column("finding", "Number", show=lambda row: row[TEXT], fields=_NUMBER, align="right"),
    Column("subject", "Measured on"),
]
_DATA = [
    Column("paper", "Paper"),
    Column("claim", "Name"),
    *_COLUMNS,
    Column("shown_by", "Shown by"),
    Column("reason", "What the number is"),
]


@REPORTS.register("claims")
def claims(selection: Selection, *, papers: Sequence[str] | None = None) -> Report:
    """What a paper says that can be measured: each claim reproduced, contradicted, not told apart, or not testable.

    Args:
        selection: records of every study; of a suite's accuracies and filters those alone. Without one, small networks
            stand in where the paper's are not measured, and the rows say so.
        papers: names of `PAPERS`; None for all.
    """
    papers = list(PAPERS) if papers is None else papers
    evidence = Evidence(selection)
    tables, lines = [], list[Row]()
    for name in papers:
        rows = [_row(name, claim, _finding(claim, evidence)) for claim in PAPERS[name].claims]
        tables.append(
            Table(
                _called("claims", name), f"Claims of {PAPERS[name].title}", _COLUMNS, rows, _notes(PAPERS[name], rows)
            )
        )
        lines += rows
    details = [_evidence(name, [row for row in lines if row["paper"] == name]) for name in papers]
    return Report(
        tables,
        Table("claims_long", "Claims, one row each", _DATA, lines),
        [ledger(table, _DATA) for table in tables],
        details,
    )


def _called(table: str, paper: str) -> str:
    return table if paper == "gfnet" else f"{table}_{paper}"


def _finding(claim: Claim, evidence: Evidence) -> Finding:
    try:
        return claim.judge(evidence)
    except MissingError as error:
        return Finding(UNTESTED, reason=str(error).splitlines()[0])


def _row(paper: str, claim: Claim, found: Finding) -> dict[str, Any]:
    low, high = found.interval or (None, None)
    return {
        RECORDS: dict.fromkeys(("finding", "verdict"), found.records),
        TEXT: _text(found),
        VERDICT: f"{found.verdict}, small networks" if found.stands_in else found.verdict,
        "paper": paper,
        "claim": claim.name,
        "place": claim.place,
        "says": claim.says,
        "shown_by": claim.shown_by,
        "verdict": found.verdict,
        "stands_in": found.stands_in,
        "finding": found.value,
        "finding_low": low,
        "finding_high": high,
        "finding_unit": found.unit or None,
        "subject": found.subject or None,
        "reason": found.reason or None,
    }


def _text(found: Finding) -> str | None:
    if found.value is None:
        return None
    interval = None if found.interval is None else Interval(*found.interval)
    return UNITS[found.unit].format(with_interval(found.value, interval, found.digits))


def _notes(paper: Paper, rows: Sequence[Row]) -> list[str]:
    counts = Counter(row["verdict"] for row in rows)
    verdicts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
    notes = [
        f"{len(rows)} claims: {verdicts}. Source: {paper.source}.",
        "A number has its 95 % interval where it is not exact. Reproduced: all of the interval is on the claim's side "
        "of the bound; contradicted: all of it is on the other; else not told apart. No correction for the number of "
        "claims.",
        "What would show each claim, and what its number is: report claims --details, and claims_long.csv.",
    ]
    if any(row["stands_in"] for row in rows):
        notes.append(
            "Small networks are stand-ins trained on Fashion-MNIST, of unequal sizes: the verdict is about them, not "
            "about the paper's networks, which need ImageNet: gfnet-bench paper claims --data-dir DATA"
        )
    return notes


def _evidence(paper: str, rows: Sequence[Row]) -> Table:
    columns = [
        Column("says", "Claim"),
        Column("shown_by", "Shown by"),
        Column("finding", "Number", show=lambda row: row[TEXT], fields=_NUMBER, align="right"),
        Column("reason", "What the number is, or why there is none"),
    ]
    title = f"Claims of {PAPERS[paper].title}: what would show each"
    return Table(_called("claims_evidence", paper), title, columns, rows)
