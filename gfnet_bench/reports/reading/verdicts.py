"""What attack-check said of robust accuracies, for the tables that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gfnet_bench.metrics import TOP1
from gfnet_bench.perturbations import CLEAN, Attacked, of_cell
from gfnet_bench.records import Record, canonical_json
from gfnet_bench.reports.reading.scores import Score, Setup, setup_of

STUDY = "attack_check"


class Verdict(NamedTuple):
    """What is known of one robust accuracy.

    Attributes:
        word: `pass`, `suspicious` or `fail`.
        power: share of the planted adversarial examples that the attack found; None where none were planted.
        planted: how many there were.
        images: how many were looked at.
        odd: names of the checks that do not hold.
    """

    word: str
    power: float | None
    planted: int
    images: int
    odd: tuple[str, ...]

    @classmethod
    def of(cls, record: Record) -> Verdict:
        """What a record says."""
        v = record.values
        odd = [c for c in v["checks"] if c["outcome"] in ("suspicious", "fail")]
        odd.sort(key=lambda c: c["outcome"] != "fail")
        return cls(v["verdict"], v["power"], v["planted"], v["images"], tuple(c["name"] for c in odd))

    @property
    def reasons(self) -> str:
        """`power 100.0 % (48 of 48 planted adversarial examples found)`, and what does not hold."""
        found = []
        if self.power is not None:
            of = f"{round(self.power * self.planted)} of {self.planted} planted adversarial examples found"
            found.append(f"power {100 * self.power:.1f} % ({of})")
        if self.odd:
            found.append(f"does not hold: {', '.join(self.odd)}")
        return "; ".join(found) or f"no power known, {self.images} images"

    @property
    def words(self) -> str:
        """`pass, power 100.0 %`, or `fail, power 12.5 %: gradient reaches the pixels`."""
        power = "" if self.power is None else f", power {100 * self.power:.1f} %"
        return f"{self.word}{power}{': ' if self.odd else ''}{', '.join(self.odd)}"


def verdict_notes(records: Iterable[Record], setups: Iterable[Setup], columns: Mapping[Score, str]) -> list[str]:
    """A footnote for each attacked column of which anything is known, with what is said of each row.

    Args:
        records: of any study; the newest verdict on a robust accuracy counts, on however many images.
        setups: the rows.
        columns: the columns, with their headings.
    """
    known: dict[tuple[Setup, str, Attacked], Verdict] = {}
    for record in sorted(records, key=lambda r: str(r.provenance.get("started", ""))):
        done = of_cell(record.cell) if record.cell.study == STUDY else CLEAN
        if isinstance(done, Attacked) and record.error is None:
            known[_without_limit(setup_of(record.cell)), record.cell.settings["dataset"], done] = Verdict.of(record)
    rows = {setup.label: _without_limit(setup) for setup in setups}
    notes = []
    for score, title in columns.items():
        if score.measure is not TOP1 or not isinstance(score.perturbation, Attacked):
            continue
        of_row = {label: known.get((row, score.dataset, score.perturbation)) for label, row in rows.items()}
        told = [f"{label} {verdict.words}" for label, verdict in of_row.items() if verdict]
        if told:
            notes.append(f"{title}, attack-check: {'; '.join(told)}.")
    return notes


def _without_limit(setup: Setup) -> Setup:
    """A row, of however many images."""
    return Setup(setup.model, canonical_json({**setup.settings, "limit": None}))
