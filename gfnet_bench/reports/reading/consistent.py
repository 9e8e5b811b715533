"""Numbers of one row rest on the same images and weights: which records do, and a sentence about the others."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

from gfnet_bench.datasets import files_of
from gfnet_bench.inputs import IMAGES, NOTED, PLUGINS, WEIGHTS, differing
from gfnet_bench.perturbations import published_files
from gfnet_bench.records import Record
from gfnet_bench.suites.own import is_own

Row = Callable[[Record], Hashable]
Places = Callable[[Record], Mapping[Hashable, Sequence[str]]]


class Consistent(NamedTuple):
    """Records that may stand together, and what is to be said about them and about those that may not.

    Attributes:
        records: in the order they came.
        notes: sentences.
    """

    records: list[Record]
    notes: list[str]


def consistent(
    records: Iterable[Record], row: Row, shown: Callable[[Record], bool] = lambda record: True
) -> Consistent:
    """The newest records of every row, and the older ones that rest on the same images and weights.

    Args:
        records: of one study.
        row: equal for records whose numbers stand in one row.
        shown: the records that anything is said about.
    """
    records = list(records)
    odd = _odd(records, lambda record: {(row(record), *key): kinds for key, kinds in _places(record).items()})
    left_out = {record.cell for of in odd.values() for record in of}
    kept = [record for record in records if record.cell not in left_out]
    other_rows = _odd(kept, lambda record: {key: kinds for key, kinds in _places(record).items() if kinds is IMAGES})
    # What is published stays what it is; under the name of a folder there may be quite another one.
    others = {what: [r for r in of if is_own(r.cell.settings["dataset"])] for what, of in other_rows.items()}
    other_rows = {what: of[:0] if others[what] else of for what, of in other_rows.items()}
    left_out |= {record.cell for of in others.values() for record in of}
    kept = [record for record in kept if record.cell not in left_out]
    sentences = {
        **{f"left out, measured on other {what} than newer numbers of their row": of for what, of in odd.items()},
        **{f"left out, measured on other {what} than newer ones of this name": of for what, of in others.items()},
        **{f"measured on other {what} than newer numbers of other rows": of for what, of in other_rows.items()},
        **{f"on which {what} they were measured was not noted": of for what, of in _silent(kept).items()},
    }
    notes = [
        f"{_named(told)}: {sentence}." for sentence, of in sentences.items() if (told := [r for r in of if shown(r)])
    ]
    return Consistent(kept, notes)


def _places(record: Record) -> dict[tuple[Hashable, ...], Sequence[str]]:
    """Where a record may meet others, and the kinds of input that must then agree."""
    s = record.cell.settings
    found: dict[tuple[Hashable, ...], Sequence[str]] = {("weights",): WEIGHTS}
    if "dataset" in s:
        found[files_of(s["dataset"]), published_files(record.cell), s["limit"], s["seed"]] = IMAGES
    return {**found, **{("plug-in", name): PLUGINS for name in record.provenance.get("plugins") or ()}}


def _odd(records: Iterable[Record], places: Places) -> dict[str, list[Record]]:
    """The records whose inputs differ from those of a newer one at the same place, by what differs."""
    measured = [record for record in records if record.error is None]
    first: dict[Hashable, Record] = {}
    odd: dict[str, list[Record]] = {}
    for record in sorted(measured, key=lambda r: str(r.provenance.get("started", "")), reverse=True):
        at = places(record)
        met = [(first[place], kinds) for place, kinds in at.items() if place in first]
        differs = {kind: None for r, kinds in met for kind in differing(r.provenance, record.provenance, kinds)}
        if differs:
            odd.setdefault(" and ".join(differs), []).append(record)
        else:
            first = {**dict.fromkeys(at, record), **first}
    return odd


def _silent(records: Iterable[Record]) -> dict[str, list[Record]]:
    """The records that do not say what they rest on."""
    silent: dict[str, list[Record]] = {}
    for record in records:
        for kinds in _places(record).values() if record.error is None else ():
            if not any(record.provenance.get(name) for kind in kinds for name in NOTED[kind]):
                silent.setdefault(kinds[0], []).append(record)
    return silent


def _named(records: Sequence[Record]) -> str:
    """How many, and the first of them."""
    more = f" and {len(records) - 1} more" if len(records) > 1 else ""
    return f"{records[0].cell}{more}"
