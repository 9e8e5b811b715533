"""Run the cells that have no record which holds; a failure becomes a record too, and nothing measured is ever lost."""

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

from gfnet_bench.bars import tqdm
from gfnet_bench.errors import GfnetBenchError, sentence
from gfnet_bench.inputs import NOTED, Inputs, differing, plugins_of, same
from gfnet_bench.interrupts import doing
from gfnet_bench.records import Cell, Record, Store

OVERWRITE = ("never", "failed", "always")

# What a number may depend on beside our own code.
LIBRARIES = (
    "torch",
    "triton",
    "torchvision",
    "timm",
    "transformers",
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
    """The cells of a command, split by what is already on disk.

    Attributes:
        done: records that hold.
        to_do: cells without one.
        notes: sentences about records whose images, weights or plug-ins changed, or may have.
    """

    done: list[Record]
    to_do: list[Cell]
    notes: list[str]


def plan(
    cells: Iterable[Cell],
    store: Store,
    overwrite: str = "failed",
    inputs: Callable[[Record], Inputs] | None = None,
    *,
    progress: bool = False,
) -> Plan:
    """Decide which cells still want measuring.

    Args:
        cells: what the command asks for; the order is kept.
        store: the records on disk.
        overwrite: `never` keeps failures too, `failed` measures those again, `always` measures everything again.
        inputs: what a record's cell would be measured on now, where it rests on images or weights: a record that was
            measured on others is measured again, as is one whose plug-ins were other code. What cannot be told is kept,
            with a note.
        progress: a bar on stderr, where that takes long.

    Raises:
        GfnetBenchError: if records were measured on other images, weights or plug-ins and none may be measured again.
    """
    done, to_do = [], []
    found = _Compared(inputs)
    for cell in tqdm(cells, "comparing with what is there", unit="cell", delay=2, leave=False, disable=not progress):
        record = None if overwrite == "always" else store.find(cell)
        again = record is None or (overwrite == "failed" and record.error is not None)
        if record is None or again or (record.error is None and not found.holds(record)):
            to_do.append(cell)
        else:
            done.append(record)
    if overwrite == "never" and found.changed:
        raise GfnetBenchError(
            f"{_named(found.changed)}: measured on other images, weights or code than there are now, and --overwrite "
            "never keeps them; name another --output-dir, or measure them again with --overwrite failed"
        )
    return Plan(done, to_do, found.notes())


class _Compared:
    """Records held against what is there now."""

    def __init__(self, inputs: Callable[[Record], Inputs] | None) -> None:
        self._inputs = inputs
        self.changed: list[Record] = []
        self._notes: dict[str, list[Record]] = {}

    def holds(self, record: Record) -> bool:
        """Whether nothing is known to have changed."""
        now = Inputs({}, {}) if self._inputs is None else self._inputs(record)
        now = now._replace(noted={**now.noted, **plugins_of(record.cell)})
        if changed := differing(record.provenance, now.noted):
            self.changed.append(record)
            self._note(f"measured again, on other {' and '.join(changed)}", record)
            return False
        for kind, names in NOTED.items():
            there = any(now.noted.get(name) is not None for name in names)
            if kind in now.unknown or (there and same(kind, record.provenance, now.noted) is None):
                reason = now.unknown.get(kind, "it was not noted when it was measured")
                self._note(f"kept, though whether other {kind} are there now cannot be told ({reason})", record)
        return True

    def _note(self, text: str, record: Record) -> None:
        self._notes.setdefault(text, []).append(record)

    def notes(self) -> list[str]:
        """A sentence for each thing to say."""
        return [f"{_named(records)}: {text}" for text, records in self._notes.items()]


def _named(records: Sequence[Record]) -> str:
    """How many, and the first of them."""
    more = f" and {len(records) - 1} more" if len(records) > 1 else ""
    return f"{records[0].cell}{more}"


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
    inputs: Callable[[Record], Inputs] | None = None,
    progress: bool = True,
    label: str | None = None,
) -> list[Record]:
    """Measure what is missing, cell after cell, saving each before the next begins.

    Args:
        cells: what the command asks for.
        measure: one cell to its outcome; what it raises becomes the record's error.
        store: where records are looked for and kept.
        overwrite: see `plan`.
        inputs: see `plan`.
        progress: a bar over the cells, with the time that is left, on stderr; failures are told either way.
        label: what tables are to call the model, of what is measured and of what was.

    Returns:
        One record a cell, in the order of `cells`.

    Raises:
        GfnetBenchError: if a record cannot be written (a full disk, say); all earlier ones are on disk. Where none
            can be, it is found out before anything is measured.
    """
    how: dict[str, Any] = {"overwrite": overwrite, "inputs": inputs, "progress": progress, "label": label}
    return run_together(cells, lambda group: [measure(group[0])], lambda cell: cell, store, **how)


def run_together(
    cells: Sequence[Cell],
    measure: Callable[[Sequence[Cell]], Sequence[Outcome | Exception]],
    key: Callable[[Cell], Hashable],
    store: Store,
    *,
    overwrite: str = "failed",
    inputs: Callable[[Record], Inputs] | None = None,
    progress: bool = True,
    told: Iterable[str] = (),
    label: str | None = None,
) -> list[Record]:
    """`run` for cells that share work: neighbours of equal `key` are measured in one call.

    Args:
        cells: see `run`.
        measure: such cells to one outcome each, or the exception that one of them met; what it raises is met by all.
        key: what cells that are measured together have in common.
        store: see `run`.
        overwrite: see `plan`.
        inputs: see `plan`.
        progress: see `run`.
        told: reasons of failures that are known already, and not told again.
        label: see `run`.

    Returns:
        See `run`. Cells that were measured together share their time equally.
    """
    kept, to_do, notes = plan(cells, store, overwrite, inputs, progress=progress)
    for note in notes:
        tqdm.write(note, file=sys.stderr)
    store.prepare(to_do)
    if label is not None:
        kept = [r if r.provenance.get("label") == label else store.relabel(r, label) for r in kept]
    records = {record.cell: record for record in kept}
    known = set(told)
    measured = 0
    with tqdm(total=len(to_do), desc="cells", unit="cell", disable=not progress, position=0, tells=True) as bar:
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
                **({} if label is None else {"label": label}),
                "started": started.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "seconds": round((time.monotonic() - clock) / len(group), 3),
            }
            for cell, outcome in zip(group, outcomes, strict=True):
                error = f"{type(outcome).__name__}: {outcome}" if isinstance(outcome, Exception) else None
                if error is not None and str(outcome) not in known:  # 75 cells that lack a folder say so once
                    before = "; what was measured before is kept" if _is_measured(store, cell) else ""
                    tqdm.write(f"failed: {cell}: {error}{before}", file=sys.stderr)
                    known.add(str(outcome))
                records[cell] = _save(store, cell, outcome, error, run_of)
            measured += len(group)
            bar.set_postfix_str(f"{group[0]}{' and others' * (len(group) > 1)}", refresh=False)
            bar.update(len(group))
    return [records[cell] for cell in cells]


def _save(store: Store, cell: Cell, outcome: Outcome | Exception, error: str | None, run_of: dict[str, Any]) -> Record:
    found = Outcome({}) if isinstance(outcome, Exception) else outcome
    provenance = {**run_of, **plugins_of(cell), **found.provenance}
    record = Record(cell=cell, values=found.values, error=error, artifacts=(), provenance=provenance)
    if error is not None and _is_measured(store, cell):
        return record  # not on disk: a failure takes no number away
    try:
        return store.save(record, found.arrays)
    except OSError as problem:
        raise GfnetBenchError(
            f"the record of {cell} is not written, what was measured before is kept: {sentence(problem)}"
        ) from problem


def _is_measured(store: Store, cell: Cell) -> bool:
    record = store.find(cell)
    return record is not None and record.error is None
