"""A run as a file, `run.json`: what a command measures, so that any number of workers can measure it together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gfnet_bench.errors import GfnetBenchError, UsageError, acquit
from gfnet_bench.files import shown, write_atomic
from gfnet_bench.records import Cell, Record, canonical_json
from gfnet_bench.schemas import Unfit, read_json
from gfnet_bench.schemas.kinds import SHA256, TEXT, Fields, check, check_plain, having, list_of, object_of, whole, word

LAYOUT = 2
"""Of the file; another one is refused."""

_CELL: Fields = {"sha256": SHA256, "name": TEXT}
_RUN: Fields = {
    "run": word(LAYOUT),
    "words": list_of(TEXT),
    "folder": TEXT,
    "cells": list_of(having(_CELL)),
    "again": object_of(SHA256),
    "versions": object_of(TEXT),
    "pieces": whole(1),
}


@dataclass(frozen=True)
class Run:
    """What a command measures.

    Attributes:
        words: its command line; a worker makes the same cells of it by the same code.
        folder: where it was given; relative names are relative to that.
        cells: sha256 and short name of each.
        again: cells that have a record which is to be measured again, with the sha256 of that record: another one is a
            worker's, and counts.
        versions: of gfnet-bench and libraries, for people.
        pieces: into how many each cell is cut first, so that there is work for all of many workers.
    """

    words: list[str]
    folder: str
    cells: list[dict[str, str]]
    again: dict[str, str]
    versions: dict[str, str]
    pieces: int

    @property
    def name(self) -> str:
        """Short, and the same for the same cells by the same command line."""
        return hashlib.sha256(canonical_json([self.words, self.folder, self.cells]).encode()).hexdigest()[:12]

    def check_cells(self, cells: Iterable[Cell]) -> None:
        """Raise GfnetBenchError unless these are its cells."""
        planned, found = {cell["sha256"] for cell in self.cells}, {cell.sha256 for cell in cells}
        if planned != found:
            raise GfnetBenchError(
                f"expected the {len(planned)} cells of the run, found that its command now asks for {len(found)}, "
                f"{len(planned & found)} of them the same: another version, device, checkpoint or option file; "
                "plan it anew with --plan-only"
            )


def fingerprint(record: Record) -> str:
    """What tells a record from one that was measured later."""
    return hashlib.sha256(canonical_json(record.to_json()).encode()).hexdigest()


def write(path: Path, run: Run) -> None:
    """Write the file, whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"run": LAYOUT, **asdict(run)}
    write_atomic(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def read(path: Path) -> Run:
    """The run in a file.

    Raises:
        UsageError: if it cannot be read, or holds anything else.
    """
    try:
        content: Any = read_json(path)
        check_plain(content)
        if not isinstance(content, dict):
            raise Unfit("found something else than an object")
        check(content, _RUN)
    except (OSError, Unfit) as error:
        acquit(error)
        reason = str(error) if isinstance(error, Unfit) else error.strerror or str(error)
        raise UsageError(
            f"{shown(path)}: expected a run, {reason}; write one with --plan-only, by this version of gfnet-bench"
        ) from error
    return Run(**{name: content[name] for name in _RUN if name != "run"})
