"""Which network stands first in a column, whether that is sure, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from gfnet_bench.metrics import LEVEL, Interval
from gfnet_bench.perturbations import CLEAN, Attacked, Corrupted, Corruptions
from gfnet_bench.reports.base import Report
from gfnet_bench.reports.drawing.intervals import with_interval
from gfnet_bench.reports.drawing.tables import Row
from gfnet_bench.reports.reading.scores import SCORE

_NAMED = 2
"""So many networks are named that the first is not told apart from; of more their number is said."""


class First(NamedTuple):
    """The network that stands first in a column.

    Attributes:
        row: of the data of the report.
        among: how many networks have the number.
        unsure: the others that paired tests do not tell it from.
        tested: whether every other one was tested against it.
    """

    row: Row
    among: int
    unsure: Sequence[str]
    tested: bool

    @property
    def number(self) -> str:
        """With its interval, as people read it."""
        low, high = self.row["ours_percent_low"], self.row["ours_percent_high"]
        interval = None if low is None else Interval(low, high)
        return with_interval(self.row["ours_percent"], interval, self.row[SCORE].measure.digits)

    @property
    def certainty(self) -> str:
        """What the paired tests say of its place; nothing where they were not made."""
        if self.unsure:
            few = " and ".join(self.unsure) if len(self.unsure) <= _NAMED else f"{len(self.unsure)} others"
            return f", not told apart from {few}"
        return ", told apart from all others" if self.tested and self.among > 1 else ""


def columns_of(report: Report, suite: str) -> dict[str, list[Row]]:
    """The numbers in per cent that the tables of a suite show, by column.

    Those of samples stand aside where there are others: they are about other images.
    """
    listed = {column.title for table in report.tables for column in table.columns}
    rows = [row for row in (report.data.rows if report.data else ()) if row["suite"] == suite]
    rows = [row for row in rows if row.get("ours_percent") is not None and row["column"] in listed]
    whole = [row for row in rows if row["limit_images"] is None] or rows
    columns: dict[str, list[Row]] = {}
    for row in whole:
        columns.setdefault(row["column"], []).append(row)
    return columns


def robust_first(columns: Mapping[str, Sequence[Row]]) -> list[Sequence[Row]]:
    """The columns about anything but the clean images: attacks, the strongest first, then corruptions, then the rest.

    Of attacks the one that was made on most networks leads, of equals the one that leaves the least.
    """
    found = [those for those in columns.values() if _is_robust(those[0])]

    def place(those: Sequence[Row]) -> tuple[bool, bool, int, float]:
        score, mean = those[0][SCORE], sum(row["ours_percent"] for row in those) / len(those)
        attacked = isinstance(score.perturbation, Attacked)
        return not attacked, not score.over_corruptions, -len(those), mean if attacked else 0.0

    return sorted(found, key=place)


def _is_robust(row: Row) -> bool:
    score = row[SCORE]
    clean = (score.dataset, score.perturbation) == (score.suite.main, CLEAN)
    one_of_many = isinstance(score.perturbation, Corrupted | Corruptions) and not score.over_corruptions
    return not (score.measure.on_request or clean or one_of_many)


def first_of(rows: Sequence[Row], pairs: Iterable[Row]) -> First:
    """The best of a column, held against the others by the paired tests of its table."""
    higher = rows[0][SCORE].measure.higher_is_better
    best = (max if higher else min)(rows, key=lambda row: row["ours_percent"])
    own = [p for p in pairs if p["column"] == best["column"] and best["row"] in (p["first"], p["second"])]
    p: dict[str, Any] = {}
    for pair in own:
        p[pair["second"] if pair["first"] == best["row"] else pair["first"]] = pair.get("p_holm")
    others = [row["row"] for row in rows if row["row"] != best["row"]]
    known = {name: p[name] for name in others if p.get(name) is not None}
    return First(best, len(rows), [name for name in known if known[name] >= LEVEL], len(known) == len(others))


def sentence(report: Report, suite: str) -> str:
    """The result: who is most accurate, who most robust, and how sure that is; empty without numbers."""
    columns = columns_of(report, suite)
    pairs = [row for t in report.details if t.name == f"robustness_{suite}_paired" for row in t.rows]
    clean = next((those for those in columns.values() if _is_top1(those[0])), None)
    if not clean:
        return ""
    title = clean[0][SCORE].suite.title
    best = first_of(clean, pairs)
    images = f"{best.row['images']:,} images"
    if len(clean) == 1:
        parts = [f"{best.row['row']} has {best.number} % of {images} right"]
        parts += [f"{those[0]['column']} {first_of(those, ()).number}" for those in robust_first(columns)]
        return f"On {title}, {', '.join(parts)}."
    parts = [
        f"{best.row['row']} is the most accurate of {best.among} networks ({best.number} % of {images}{best.certainty})"
    ]
    said = best.row["row"]
    for those in _leading(robust_first(columns)):
        first = first_of(those, pairs)
        name = "" if first.row["row"] == said else f"{first.row['row']} "
        parts.append(f"{name}{_leads(first)} ({first.number}{_unit(first)}{first.certainty})")
        said = first.row["row"]
    told = ", ".join(parts[:-1]) + f" and {parts[-1]}" if len(parts) > 1 else parts[0]
    return f"On {title}, {told}."


def _is_top1(row: Row) -> bool:
    score = row[SCORE]
    return (score.dataset, score.perturbation, score.metric) == (score.suite.main, CLEAN, "top1")


def _leading(columns: Sequence[Sequence[Row]]) -> list[Sequence[Row]]:
    """One attack, and all corruptions together: what a sentence has room for."""
    several = [those for those in columns if len(those) > 1]
    attacks = [those for those in several if isinstance(those[0][SCORE].perturbation, Attacked)]
    return attacks[:1] + [those for those in several if those[0][SCORE].over_corruptions][:1]


def _leads(first: First) -> str:
    score, column = first.row[SCORE], first.row["column"]
    return f"loses least under corruption, {column}" if score.over_corruptions else f"keeps most under {column}"


def _unit(first: First) -> str:
    return "" if first.row[SCORE].over_corruptions else " %"
