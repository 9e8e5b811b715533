"""A report: records to named tables and figures."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from gfnet_bench.catalog import MODELS
from gfnet_bench.errors import MissingError, UsageError
from gfnet_bench.files import write_atomic
from gfnet_bench.records import Record, Store
from gfnet_bench.registry import Registry
from gfnet_bench.reports.drawing.tables import FORMATS, Table, render


class Figure(Protocol):
    """A named drawing."""

    name: str

    def write(self, folder: Path) -> list[Path]:
        """Save the drawing and its data as CSV in `folder`; the paths of the files."""
        ...


@dataclass(frozen=True)
class Report:
    """Tables and figures about one study.

    Attributes:
        tables: for people, in the order of printing.
        details: tables too long to print unasked; saved with the others.
        data: one row per number, for programs.
        figures: drawings.
    """

    tables: Sequence[Table]
    data: Table | None = None
    figures: Sequence[Figure] = ()
    details: Sequence[Table] = ()

    def render(self, format: str, *, details: bool = False) -> str:
        """What the command prints: one list of rows, `data`, in CSV and JSON; in formats to read, the other tables."""
        if format not in FORMATS:
            raise UsageError(f"unknown format {format!r}; expected one of {', '.join(FORMATS)}.")
        tables = [*self.tables, *(self.details if details else ())]
        if format in ("csv", "json"):
            data = self.data or tables[0]
            return render(data.rows, data.columns, format)
        return "\n".join(table.render(format) for table in tables)

    def write(self, results: Path, formats: Sequence[str] = ("md", "csv")) -> list[Path]:
        """Save everything under `<results>/tables` and `<results>/figures`; the paths of the files."""
        folder = results / "tables"
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for table in (*self.tables, *self.details, *([self.data] if self.data else [])):
            for format in formats:
                content = table.render(format).encode()
                written.append(folder / f"{table.name}.{FORMATS[format].ending}")
                write_atomic(written[-1], content)
        for figure in self.figures:
            (results / "figures").mkdir(parents=True, exist_ok=True)
            written += figure.write(results / "figures")
        return written


REPORTS: Registry[Callable[..., Report]] = Registry("report")
"""Functions of a `Store`; keywords narrow down what is shown."""


class Chosen(NamedTuple):
    """What the words of a command line stand for.

    Attributes:
        models: names in the order of the words; None for all.
        unknown: the words that stand for nothing.
        shown: the records that are meant.
    """

    models: list[str] | None
    unknown: list[str]
    shown: list[Record]


def choose(words: Sequence[str] | None, records: Sequence[Record]) -> Chosen:
    """The measured models that the words of a command line stand for.

    Args:
        words: names in any spelling that the registry forgives, shell patterns, or what `--name` called a model; None
            stands for all.
        records: what is measured.
    """
    if words is None:
        return Chosen(None, [], list(records))
    there = dict.fromkeys(record.cell.model for record in records)

    def meant(word: str) -> list[Record]:
        exact = [name for name in (word, MODELS.canonical(word)) if name in there]
        names = exact[:1] or fnmatch.filter(there, word)
        return [r for r in records if r.cell.model in names or r.provenance.get("label") == word]

    found = {word: meant(word) for word in words}
    shown = {record.cell: record for those in found.values() for record in those}
    models = {name: None for those in found.values() for name in there if name in {r.cell.model for r in those}}
    return Chosen(list(models), [w for w, r in found.items() if not r], [r for r in records if r.cell in shown])


_NAMED = 12
"""So many models are listed in a message."""


def absent(report: str, store: Store | None, wanted: str, measured: Iterable[str], start: str) -> MissingError:
    """The error that nothing of what was asked for is measured.

    Args:
        report: its name.
        store: where records were looked for, if anywhere.
        wanted: what was asked for, `gfnet_s`; empty for anything.
        measured: names of models that do have records of this study.
        start: what to do next.
    """
    where = f" in {store.folder}" if store else ""
    of = f" of {wanted}" if wanted else ""
    names = sorted(set(measured))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    found = f"only those of {', '.join(names[:_NAMED])}{more}" if names else "none"
    return MissingError(f"{report}: expected records{of}{where}, found {found}; {start}")
