"""How much of a data set a number is about: images that are missing and files that could not be read, told apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gfnet_bench.datasets.images import taken
from gfnet_bench.perturbations import published_files
from gfnet_bench.records import Record


class Coverage(NamedTuple):
    """What was seen of a data set; of several passes over it the least.

    Attributes:
        images: how many were scored.
        expected: how many there should have been: the whole set, or the limit.
        unreadable: files that could not be read and are left out.
        available: images that were there before a limit drew from them, where these were not the whole set.
        whole: images of the whole set, known where `available` is.
    """

    images: int
    expected: int
    unreadable: int
    available: int | None = None
    whole: int | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.images >= self.expected and self.available is None

    @property
    def text(self) -> str:
        """`500 of 50,000 images`, of a sample perhaps `100 images drawn from 500 of 50,000`."""
        if self.available is not None and self.images >= self.expected:
            return f"{self.images:,} images drawn from {self.available:,} of {self.whole:,}"
        return f"{self.images:,} of {self.expected:,} images"


def coverage(records: Sequence[Record]) -> Coverage:
    """Of the passes behind a number; a file that several of them share is counted once."""
    each = [_of(record) for record in records]
    unreadable: dict[tuple[str, int] | None, int] = {}
    for record, one in zip(records, each, strict=True):
        key = published_files(record.cell)  # files of its own; other cells share those of their set
        unreadable[key] = max(unreadable.get(key, 0), one.unreadable)
    least = min(each, key=lambda one: (one.complete, one.images / one.expected if one.expected else 0.0))
    return least._replace(unreadable=sum(unreadable.values()))


def parts_of_sets(records: Iterable[Record]) -> list[str]:
    """A sentence for each data set of which some passes saw a part, about the least of them."""
    by_set: dict[str, list[Record]] = {}
    for record in records:
        if record.error is None and "images" in record.values and "dataset" in record.cell.settings:
            by_set.setdefault(record.cell.settings["dataset"], []).append(record)
    seen = {name: coverage(those) for name, those in by_set.items()}
    return [f"Part of the set: {name}: {one.text}" for name, one in seen.items() if not one.complete]


def _of(record: Record) -> Coverage:
    """Of one pass. Older records tell the size of an incomplete set among the unreadable images, as if it were one."""
    settings, values = record.cell.settings, record.values
    limit, images, unreadable = settings.get("limit"), int(values["images"]), int(values.get("excluded") or 0)
    told = [found for entry in record.provenance.get("excluded") or () if (found := _told(settings["dataset"], entry))]
    if not told:
        available, whole = record.provenance.get("available") or (None, None)
        return Coverage(images, values.get("expected") or images + unreadable, unreadable, available, whole)
    whole, available = told[0]
    unreadable -= len(told)
    if limit is None:
        return Coverage(images, whole, unreadable)
    return Coverage(images, taken(limit, whole), unreadable, available, whole)


def _told(dataset: str, entry: object) -> tuple[int, int] | None:
    """How many images the set has and how many were there, if an entry among the unreadable images says so."""
    if not (isinstance(entry, (list, tuple)) and len(entry) == 2 and entry[0] == dataset):
        return None
    found = re.fullmatch(r"expected (\d+) images, found (\d+)", str(entry[1]))
    return (int(found[1]), int(found[2])) if found else None
