"""Run the cells that have no record yet; a failure becomes a record too, and nothing measured is ever lost."""

from __future__ import annotations

import functools
import itertools
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray
from tqdm import tqdm

from gfnet_bench.errors import GfnetBenchError, sentence
from gfnet_bench.interrupts import doing
from gfnet_bench.records import Cell, Record, Store

OVERWRITE = ("never", "failed", "always")

# What a number may depend on beside our own code.
LIBRARIES = (
    "torch",
    "triton",
    "torchvision",
    "timm",
    "numpy",
    "pillow",
    "simplejpeg",
    "torchattacks",
    "imagecorruptions",
)


@dataclass
class Outcome:
    """What measuring a cell gives: its values, arrays to keep beside the record, and where they came from."""

    values: dict[str, Any]
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


class Plan(NamedTuple):
    """The cells of a command, split by what is already on disk."""

    done: list[Record]
    to_do: list[Cell]


def plan(cells: Iterable[Cell], store: Store, overwrite: str = "failed") -> Plan:
    """Decide which cells still want measuring.

    Args:
        cells: what the command asks for; the order is kept.
        store: the records on disk.
        overwrite: `never` keeps failures too, `failed` measures those again, `always` measures everything again.
    """
    done, to_do = [], []
    for cell in cells:
        record = None if overwrite == "always" else store.find(cell)
        if record is None or (record.error is not None and overwrite == "failed"):
            to_do.append(cell)
        else:
            done.append(record)
    return Plan(done, to_do)


@functools.cache
def environment() -> dict[str, Any]:
    """Versions, machine and commit: the part of the provenance that is the same for every cell of a run."""
    versions: dict[str, Any] = {}
    for name in ("gfnet-bench", *LIBRARIES):
        try:
            versions[name.replace("-", "_")] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {**versions, "python": platform.python_version(), "machine": platform.machine(), **_commit()}


def _commit() -> dict[str, Any]:
    """The commit of the checkout the package runs from; nothing for an installed package."""
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return {}

    def git(*args: str) -> str:
        return subprocess.run(["git", *args], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {
            "commit": git("rev-parse", "--short", "HEAD"),
            "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.CalledProcessError):
        return {}


def run(
    cells: Sequence[Cell],
    measure: Callable[[Cell], Outcome],
    store: Store,
    *,
    overwrite: str = "failed",
    progress: bool = True,
) -> list[Record]:
    """Measure what is missing, cell after cell, saving each before the next begins.

    Args:
        cells: what the command asks for.
        measure: one cell to its outcome; what it raises becomes the record's error.
        store: where records are looked for and kept.
        overwrite: see `plan`.
        progress: a bar over the cells, with the time that is left, on stderr; failures are told either way.

    Returns:
        One record a cell, in the order of `cells`.

    Raises:
        GfnetBenchError: if a record cannot be written (a full disk, say); all earlier ones are on disk. Where none
            can be, it is found out before anything is measured.
    """
    return run_together(
        cells, lambda group: [measure(group[0])], lambda cell: cell, store, overwrite=overwrite, progress=progress
    )


def run_together(
    cells: Sequence[Cell],
    measure: Callable[[Sequence[Cell]], Sequence[Outcome | Exception]],
    key: Callable[[Cell], Hashable],
    store: Store,
    *,
    overwrite: str = "failed",
    progress: bool = True,
    told: Iterable[str] = (),
) -> list[Record]:
    """`run` for cells that share work: neighbours of equal `key` are measured in one call.

    Args:
        cells: see `run`.
        measure: such cells to one outcome each, or the exception that one of them met; what it raises is met by all.
        key: what cells that are measured together have in common.
        store: see `run`.
        overwrite: see `run`.
        progress: see `run`.
        told: reasons of failures that are known already, and not told again.

    Returns:
        See `run`. Cells that were measured together share their time equally.
    """
    kept, to_do = plan(cells, store, overwrite)
    store.prepare(to_do)
    records = {record.cell: record for record in kept}
    known = set(told)
    measured = 0
    with tqdm(total=len(to_do), desc="cells", unit="cell", disable=not progress, position=0) as bar:
        for _, neighbours in itertools.groupby(to_do, key):
            group = list(neighbours)
            started, clock = datetime.now(timezone.utc), time.monotonic()
            outcomes: Sequence[Outcome | Exception]
            try:
                with doing(f"measuring {group[0]}, cell {measured + 1} of {len(to_do)}"):
                    outcomes = measure(group)
            except Exception as problem:  # any failure is a result; the cells after it still run
                outcomes = [problem] * len(group)
            run_of = {
                **environment(),
                "started": started.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "seconds": round((time.monotonic() - clock) / len(group), 3),
            }
            for cell, outcome in zip(group, outcomes, strict=True):
                error = f"{type(outcome).__name__}: {outcome}" if isinstance(outcome, Exception) else None
                if error is not None and str(outcome) not in known:  # 75 cells that lack a folder say so once
                    tqdm.write(f"failed: {cell}: {error}", file=sys.stderr)
                    known.add(str(outcome))
                records[cell] = _save(store, cell, outcome, error, run_of)
            measured += len(group)
            bar.update(len(group))
    return [records[cell] for cell in cells]


def _save(store: Store, cell: Cell, outcome: Outcome | Exception, error: str | None, run_of: dict[str, Any]) -> Record:
    found = Outcome({}) if isinstance(outcome, Exception) else outcome
    provenance = {**run_of, **found.provenance}
    record = Record(cell=cell, values=found.values, error=error, artifacts=(), provenance=provenance)
    try:
        return store.save(record, found.arrays)
    except OSError as problem:
        raise GfnetBenchError(
            f"the record of {cell} is not written, what was measured before is kept: {sentence(problem)}"
        ) from problem
