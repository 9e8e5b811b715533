"""A report: records to named tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Protocol

from gfnet_bench.errors import UsageError
from gfnet_bench.files import write_atomic
from gfnet_bench.records import Record
from gfnet_bench.registry import Registry
from gfnet_bench.reports.drawing.tables import FORMATS, Table, filed, render
from gfnet_bench.reports.reading.selection import Selection
from gfnet_bench.store import Store
from gfnet_bench.terminal import FILE, Screen


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

    def __repr__(self) -> str:
        drawn = f" and {len(self.figures)} figures" if self.figures else ""
        return f"Report: {len(self.tables)} tables{drawn} ({', '.join(t.name for t in self.tables[:3])} ...)"

    def _repr_html_(self) -> str:
        return self.render("html")

    def render(self, format: str, *, details: bool = False, screen: Screen = FILE) -> str:
        """What the command prints: one list of rows, `data`, in CSV and JSON; in formats to read, the other tables."""
        if format not in FORMATS:
            raise UsageError(f"unknown format {format!r}; expected one of {', '.join(FORMATS)}.")
        tables = [*self.tables, *(self.details if details else ())]
        if format in ("csv", "json"):
            data = self.data or tables[0]
            return render(data.rows, data.columns, format)
        return "\n".join(table.render(format, screen) for table in tables)

    def write(self, results: Path, formats: Sequence[str] = ("md", "csv")) -> list[Path]:
        """Save everything under `<results>/tables` and `<results>/figures`; the paths of the files."""
        folder = results / "tables"
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for table in (*self.tables, *self.details, *([self.data] if self.data else [])):
            for format in formats:
                content = table.render(format).encode()
                written.append(folder / f"{filed(table.name)}.{FORMATS[format].ending}")
                write_atomic(written[-1], content)
        for figure in self.figures:
            (results / "figures").mkdir(parents=True, exist_ok=True)
            written += figure.write(results / "figures")
        return written


class _Reports(Registry[Callable[..., Report]]):
    """Functions of a `Selection`, which are called with what one is made of."""

    def add(self, name: str, thing: Callable[..., Report]) -> Callable[..., Report]:
        """Enter a report: `thing(selection, **keywords)`."""

        @wraps(thing)
        def of_records(
            records: Store | Iterable[Record] = (),
            *,
            store: Store | None = None,
            suite: str | None = None,
            models: Sequence[str] | None = None,
            **more: Any,
        ) -> Report:
            return thing(Selection(records, store, suite, models), **more)

        return super().add(name, of_records)


REPORTS = _Reports("report", "reports")
