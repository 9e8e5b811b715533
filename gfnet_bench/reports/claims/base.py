"""What a claim is: a sentence, what would show it, and a function of the records that says whether it holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from gfnet_bench.metrics import Interval
from gfnet_bench.records import Record
from gfnet_bench.registry import Registry
from gfnet_bench.reports.complexity.results import Point, points
from gfnet_bench.reports.filters.results import Network, read
from gfnet_bench.reports.reading.consistent import consistent
from gfnet_bench.reports.reading.scores import OF_THE_NETWORK, setup_of
from gfnet_bench.reports.reading.selection import Selection
from gfnet_bench.reports.robustness.results import Results

REPRODUCED = "reproduced"
CONTRADICTED = "contradicted"
UNDECIDED = "not told apart"
UNTESTED = "cannot be tested here"
VERDICTS = (REPRODUCED, CONTRADICTED, UNDECIDED, UNTESTED)

UNITS = {
    "": "{}",
    "percent": "{} %",
    "points": "{} points",
    "tokens": "{} tokens",
    "times": "{} times",
    "exponent": "n^{}",
    "last digits": "{} last digits",
}
"""Unit of a number -> how people read it."""


@dataclass(frozen=True)
class Finding:
    """What the records say.

    Attributes:
        verdict: one of `VERDICTS`.
        value: the number it rests on, in `unit`.
        interval: 95 %, in the same; None of a number that is exact.
        unit: one of `UNITS`.
        digits: decimals shown.
        subject: what was measured, for people.
        stands_in: whether small networks stand in for the paper's, of which the verdict then is.
        reason: what else must be known: why it cannot be tested, or what the number leaves out.
        records: identities of those behind the number.
    """

    verdict: str
    value: float | None = None
    interval: Interval | None = None
    unit: str = ""
    digits: int = 1
    subject: str = ""
    stands_in: bool = False
    reason: str = ""
    records: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """One thing a paper says that can be measured.

    Attributes:
        name: for programs.
        place: where it stands: `abstract`, `Figure 2 (a)`.
        says: the claim in our own few words.
        shown_by: the number, and when it counts as reproduced.
        judge: makes the finding; raises MissingError, whose text is why it cannot be tested here.
    """

    name: str
    place: str
    says: str
    shown_by: str
    judge: Callable[[Evidence], Finding]


@dataclass(frozen=True)
class Paper:
    """A paper's claims, in its own order.

    Attributes:
        title: for people.
        source: where its sentences were read.
        claims: each with a name of its own.
    """

    title: str
    source: str
    claims: Sequence[Claim]


PAPERS: Registry[Paper] = Registry("paper")


class Evidence:
    """The records as claims ask for them, each study read when it is asked for.

    Args:
        selection: records of every study.
    """

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self.suite = selection.suite

    def _of(self, study: str) -> list[Record]:
        return [r for r in self._selection.records if r.cell.study == study]

    @cached_property
    def costs(self) -> list[Point]:
        """One for each mixer or network and size."""
        return points(r for r in self._of("complexity") if r.cell.settings["subject"] in ("block", "model"))

    @cached_property
    def table1(self) -> list[Record]:
        """Of mixers, formulas worked out beside counts."""
        return [r for r in self._of("complexity") if r.cell.settings["measure"] == "table1" and r.error is None]

    @cached_property
    def results(self) -> Results:
        """Scores on images, of inputs that agree."""
        found = consistent(self._of("robustness"), row=lambda r: setup_of(r.cell))
        return Results(found.records, self._selection.store)

    @cached_property
    def networks(self) -> list[Network]:
        """Learned filters; none without the folder that their arrays are in."""
        if self._selection.store is None:
            return []
        spectra = [r for r in self._of("filters") if r.cell.settings["measure"] == "spectra"]
        own = consistent(
            spectra, row=lambda r: (r.cell.model, *(str(r.cell.settings.get(key)) for key in OF_THE_NETWORK))
        )
        return read(own.records, self._selection.store).networks


def by_interval(interval: Interval | None, bound: float, *, above: bool = True) -> str:
    """The verdict of a number that has to be above a bound, or below: all of its interval on one side, or neither."""
    if interval is None:
        return UNDECIDED
    if interval.low > bound:
        return REPRODUCED if above else CONTRADICTED
    if interval.high < bound:
        return CONTRADICTED if above else REPRODUCED
    return UNDECIDED
