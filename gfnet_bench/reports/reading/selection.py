"""What a report is asked for: these records, of this suite, of these models."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from gfnet_bench.catalog import MODELS
from gfnet_bench.datasets import suite_of
from gfnet_bench.errors import MissingError
from gfnet_bench.records import Record
from gfnet_bench.reports.reading.scores import Setup
from gfnet_bench.store import Loaded, Store

_NAMED = 12
"""So many models are listed in a message."""


@dataclass(frozen=True)
class Chosen:
    """The records of one study that are meant.

    Attributes:
        models: names in the order of the words that asked for them; None for all.
        unknown: the words that stand for nothing.
        shown: the records.
        problems: sentences about what is not shown.
        measured: names of the models that there is anything of, in the suite that was asked for or else in any.
        store: where records were looked for, if anywhere.
        suite: that was asked for, where there are records of the study.
    """

    models: list[str] | None
    unknown: list[str]
    shown: list[Record]
    problems: list[str]
    measured: list[str] = field(repr=False)
    store: Store | None = None
    suite: str | None = None

    def absent(self, report: str, start: str) -> MissingError:
        """The error that nothing of what was asked for is measured; `start` is the command that would do it."""
        wanted = ", ".join(self.unknown)
        wanted = f"{wanted or 'anything'} in the suite {self.suite}" if self.suite else wanted
        of, where = (f" of {wanted}" if wanted else ""), (f" in {self.store.folder}" if self.store else "")
        names = sorted(set(self.measured))
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        found = f"only those of {', '.join(names[:_NAMED])}{more}" if names else "none"
        return MissingError(f"{report}: expected records{of}{where}, found {found}; start with: {start}")


@dataclass(frozen=True)
class Selection:
    """These records, of this suite, of these models.

    Attributes:
        asked: the records to show; a store shows all it holds.
        beside: where arrays lie, and records that others are relative to; not needed where a store is asked for.
        suite: the name of one, for its alone; None for all.
        models: names in any spelling that the registry forgives, shell patterns, or what `--name` called a model; None
            for all. The order is that of rows.
    """

    asked: Store | Iterable[Record] = ()
    beside: Store | None = None
    suite: str | None = None
    models: Sequence[str] | None = None

    @property
    def store(self) -> Store | None:
        """Where arrays lie, if anywhere."""
        return self.asked if isinstance(self.asked, Store) else self.beside

    @cached_property
    def loaded(self) -> Loaded:
        """All that the store holds, and what is wrong with it."""
        return self.store.load() if self.store else Loaded([], [])

    @cached_property
    def records(self) -> Sequence[Record]:
        """Those to show, of every suite and model."""
        return self.loaded.records if isinstance(self.asked, Store) else list(self.asked)

    def of(
        self, study: str, *, is_meant: Callable[[Record], bool] = lambda record: True, any_suite: bool = False
    ) -> Chosen:
        """The records of one study.

        Args:
            study: its name.
            is_meant: for reports about a part of it.
            any_suite: for a study whose numbers belong to no images.
        """
        own = [r for r in self.records if r.cell.study == study and is_meant(r)]
        of_suite = own if any_suite else [r for r in own if self.suite in (None, _suite(r))]
        models, unknown, shown = _choose(self.models, of_suite)
        problems = [f"No records of {', '.join(unknown)}."] if unknown else []
        return Chosen(
            models,
            unknown,
            shown,
            [*problems, *self.loaded.problems],
            [r.cell.model for r in of_suite or own],
            self.store,
            self.suite if own and not any_suite else None,
        )


def _suite(record: Record) -> str:
    """That of the images; of filters alone, which belong to none, that of the network."""
    s = record.cell.settings
    return suite_of(s["dataset"]).name if "dataset" in s else Setup.usual(record.cell.model).suite


def _choose(words: Sequence[str] | None, records: Sequence[Record]) -> tuple[list[str] | None, list[str], list[Record]]:
    """The measured models that words stand for, the words that stand for none, and the records that are meant."""
    if words is None:
        return None, [], list(records)
    there = dict.fromkeys(record.cell.model for record in records)

    def meant(word: str) -> list[Record]:
        exact = [name for name in (word, MODELS.canonical(word)) if name in there]
        names = exact[:1] or fnmatch.filter(there, word)
        return [r for r in records if r.cell.model in names or r.provenance.get("label") == word]

    found = {word: meant(word) for word in words}
    shown = {record.cell: record for those in found.values() for record in those}
    models = {name: None for those in found.values() for name in there if name in {r.cell.model for r in those}}
    return list(models), [w for w, r in found.items() if not r], [r for r in records if r.cell in shown]
