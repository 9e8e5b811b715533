"""Run the cells that have no record which holds; a failure becomes a record too, and nothing measured is ever lost.

Several commands on one results folder share the work: each takes a lease of a cell before it measures it.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
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
from gfnet_bench.leases import Leases
from gfnet_bench.records import Cell, Record
from gfnet_bench.runs import fingerprint
from gfnet_bench.store import Store

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
    overwrite: str | Mapping[str, str] = "failed",
    inputs: Callable[[Record], Inputs] | None = None,
    *,
    progress: bool = False,
) -> Plan:
    """Decide which cells still want measuring.

    Args:
        cells: what the command asks for; the order is kept.
        store: the records on disk.
        overwrite: `never` keeps failures too, `failed` measures those again, `always` measures everything again;
            of a run, the records that are to be measured again and no others (`Run.again`).
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
        if record is not None and isinstance(overwrite, Mapping):
            again = overwrite.get(cell.sha256) == fingerprint(record)
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


def _who() -> dict[str, str]:
    """Who measures, where they say so: nothing is read from the machine."""
    name = os.environ.get("GFNET_BENCH_MEASURED_BY", "").strip()
    return {"measured_by": name} if name else {}


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
    overwrite: str | Mapping[str, str] = "failed",
    inputs: Callable[[Record], Inputs] | None = None,
    progress: bool = True,
    label: str | None = None,
    claim: Callable[[Cell], Hashable] | None = None,
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
        claim: what neighbours have in common that one command is to take together, as a network that is trained for
            them; each cell is for itself without.

    Returns:
        One record a cell, in the order of `cells`.

    Raises:
        GfnetBenchError: if a record cannot be written (a full disk, say); all earlier ones are on disk. Where none
            can be, it is found out before anything is measured.
    """
    how: dict[str, Any] = {"overwrite": overwrite, "inputs": inputs, "progress": progress}
    one_by_one = functools.partial(run_together, cells, lambda group: [measure(group[0])], lambda cell: cell, store)
    return one_by_one(label=label, claim=claim, **how)


def run_together(
    cells: Sequence[Cell],
    measure: Callable[[Sequence[Cell]], Sequence[Outcome | Exception]],
    key: Callable[[Cell], Hashable],
    store: Store,
    *,
    overwrite: str | Mapping[str, str] = "failed",
    inputs: Callable[[Record], Inputs] | None = None,
    progress: bool = True,
    told: Iterable[str] = (),
    label: str | None = None,
    claim: Callable[[Cell], Hashable] | None = None,
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
        claim: see `run`; as `key` without.

    Returns:
        See `run`. Cells that were measured together share their time equally.
    """
    kept, to_do, notes = plan(cells, store, overwrite, inputs, progress=progress)
    for note in notes:
        tqdm.write(note, file=sys.stderr)
    store.prepare(to_do)
    before = {cell: store.find(cell) for cell in to_do}
    records = {record.cell: record for record in kept}
    known = set(told)
    with (
        Leases(store.folder) as leases,
        tqdm(total=len(to_do), desc="cells", unit="cell", disable=not progress, position=0, tells=True) as bar,
    ):
        shared = _Shared(store, before, leases)
        for group in _neighbours(shared.groups(_neighbours([to_do], claim or key)), key):
            started, clock = datetime.now(timezone.utc), time.monotonic()
            outcomes: Sequence[Outcome | Exception]
            try:
                with doing(f"measuring {group[0]}, cell {len(to_do) - shared.left + 1} of {len(to_do)}"):
                    outcomes = measure(group)
            except Exception as problem:  # any failure is a result; the cells after it still run
                outcomes = [problem] * len(group)
            run_of = {
                **environment(),
                **({} if label is None else {"label": label}),
                **_who(),
                "started": started.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "seconds": round((time.monotonic() - clock) / len(group), 3),
            }
            for cell, outcome in zip(group, outcomes, strict=True):
                error = f"{type(outcome).__name__}: {outcome}" if isinstance(outcome, Exception) else None
                if error is not None and str(outcome) not in known:  # 75 cells that lack a folder say so once
                    kept_too = "; what was measured before is kept" if _is_measured(store, cell) else ""
                    tqdm.write(f"failed: {cell}: {error}{kept_too}", file=sys.stderr)
                    known.add(str(outcome))
                records[cell] = _save(store, before[cell], cell, outcome, error, run_of)
                shared.finished(cell)
            bar.set_postfix_str(f"{group[0]}{' and others' * (len(group) > 1)}", refresh=False)
            bar.update(len(to_do) - shared.left - bar.n)
        bar.update(len(to_do) - bar.n)
    records |= shared.of_others
    if label is not None:
        unlike = [r for r in (*kept, *shared.of_others.values()) if r.provenance.get("label") != label]
        records |= {record.cell: store.relabel(record, label) for record in unlike}
    return [records[cell] for cell in cells]


def _neighbours(groups: Iterable[Iterable[Cell]], key: Callable[[Cell], Hashable]) -> Iterator[list[Cell]]:
    """Groups cut where neighbours differ in `key`."""
    for group in groups:
        for _, cells in itertools.groupby(group, key):
            yield list(cells)


POLLS_S = 0.2, 5.0
"""So long a command that has nothing left but what others measure waits before it looks again, at first and at last."""

_sleep = time.sleep


class _Shared:
    """Cells that other commands may want as well.

    Attributes:
        of_others: records that others made meanwhile.
        left: how many cells have no record yet.
    """

    def __init__(self, store: Store, before: dict[Cell, Record | None], leases: Leases) -> None:
        self._store, self._before, self._leases = store, before, leases
        self.of_others: dict[Cell, Record] = {}
        self.left = len(before)

    def groups(self, waiting: Iterable[list[Cell]]) -> Iterator[list[Cell]]:
        """Groups of cells that are this command's to measure, until every cell has a record.

        A group that another has begun is left to it at first, so that what it shares is not made twice.
        """
        first, pause, waiting = True, POLLS_S[0], list(waiting)
        while waiting:
            others: list[list[Cell]] = []
            before = self.left
            for group in waiting:
                mine, held = self._take(group, whole=first)
                if mine:
                    yield mine
                others += [held] if held else []
            waiting = others
            if waiting and not first and self.left == before:
                _sleep(pause)
                pause = min(2 * pause, POLLS_S[1])
            elif waiting and first:
                tqdm.write(f"waiting for {sum(map(len, waiting))} cells that others measure", file=sys.stderr)
            first = False

    def _take(self, group: list[Cell], whole: bool) -> tuple[list[Cell], list[Cell]]:
        """The cells that are taken now, and those that others have."""
        mine: list[Cell] = []
        held: list[Cell] = []
        for cell in group:
            if (whole and held) or not self._leases.take(cell.sha256[:32], str(cell)):
                held.append(cell)
                continue
            record = self._store.find(cell)  # once more: its last worker may have ended just now
            if record is None or record == self._before[cell]:
                mine.append(cell)
            else:
                self.of_others[cell] = record
                self.finished(cell)
        return mine, held

    def finished(self, cell: Cell) -> None:
        """There is a record now, or it could not be measured."""
        self._leases.give_back(cell.sha256[:32])
        self.left -= 1


def _save(
    store: Store,
    before: Record | None,
    cell: Cell,
    outcome: Outcome | Exception,
    error: str | None,
    run_of: dict[str, Any],
) -> Record:
    found = Outcome({}) if isinstance(outcome, Exception) else outcome
    provenance = {**run_of, **plugins_of(cell), **found.provenance}
    record = Record(cell=cell, values=found.values, error=error, artifacts=(), provenance=provenance)
    there = store.find(cell)
    if there is not None and there.error is None and there != before:  # by one that took this process for dead
        if error is None and (odd := disagreement(there, record)):
            tqdm.write(f"{cell}: measured twice, and not the same: {odd}; the first is kept", file=sys.stderr)
        return there
    if error is not None and there is not None and there.error is None:
        return record  # not on disk: a failure takes no number away
    try:
        return store.save(record, found.arrays)
    except OSError as problem:
        raise GfnetBenchError(
            f"the record of {cell} is not written, what was measured before is kept: {sentence(problem)}"
        ) from problem


ROUNDING = 1e-5
"""Two devices may differ by so much, as a share of the number."""


def disagreement(first: Record, second: Record) -> str:
    """Where two measurements of a cell differ by more than rounding, `top1 0.5 and 0.6`; times and bytes always may."""
    if first.cell.settings.get("measure") in ("latency", "memory"):
        return ""
    pairs = ((name, value, second.values.get(name)) for name, value in first.values.items())
    numbers = ((name, a, b) for name, a, b in pairs if isinstance(a, (int, float)) and isinstance(b, (int, float)))
    return ", ".join(
        f"{n} {a} and {b}" for n, a, b in numbers if not math.isclose(a, b, rel_tol=ROUNDING, abs_tol=1e-9)
    )


def _is_measured(store: Store, cell: Cell) -> bool:
    record = store.find(cell)
    return record is not None and record.error is None
