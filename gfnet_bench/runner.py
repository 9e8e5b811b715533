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
from typing import Any

from numpy.typing import NDArray

from gfnet_bench import planning
from gfnet_bench.bars import tqdm
from gfnet_bench.errors import GfnetBenchError, sentence
from gfnet_bench.inputs import Inputs, plugins_of
from gfnet_bench.interrupts import doing
from gfnet_bench.leases import LEASE_S, Leases
from gfnet_bench.logs import Log
from gfnet_bench.records import Cell, Record
from gfnet_bench.store import Store

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
    limit_s: float | None = None,
) -> list[Record]:
    """Measure what is missing, cell after cell, saving each before the next begins.

    Args:
        cells: what the command asks for.
        measure: one cell to its outcome; what it raises becomes the record's error.
        store: where records are looked for and kept.
        overwrite: see `planning.plan`.
        inputs: see `planning.plan`.
        progress: a bar over the cells, with the time that is left, on stderr; failures are told either way.
        label: what tables are to call the model, of what is measured and of what was.
        claim: what neighbours have in common that one command is to take together, as a network that is trained for
            them; each cell is for itself without.
        limit_s: seconds that a cell may take; one that does not end ends this process, so that whoever comes next tries
            it once more, and gives it up after that.

    Returns:
        One record a cell, in the order of `cells`.

    Raises:
        GfnetBenchError: if a record cannot be written (a full disk, say); all earlier ones are on disk. Where none
            can be, it is found out before anything is measured.
    """
    how: dict[str, Any] = {"overwrite": overwrite, "inputs": inputs, "progress": progress}
    one_by_one = functools.partial(run_together, cells, lambda group: [measure(group[0])], lambda cell: cell, store)
    return one_by_one(label=label, claim=claim, limit_s=limit_s, **how)


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
    limit_s: float | None = None,
    weight: Callable[[Cell], float] | None = None,
) -> list[Record]:
    """`run` for cells that share work: neighbours of equal `key` are measured in one call.

    Args:
        cells: see `run`.
        measure: such cells to one outcome each, or the exception that one of them met; what it raises is met by all.
        key: what cells that are measured together have in common.
        store: see `run`.
        overwrite: see `planning.plan`.
        inputs: see `planning.plan`.
        progress: see `run`.
        told: reasons of failures that are known already, and not told again.
        label: see `run`.
        claim: see `run`; as `key` without.
        limit_s: see `run`; cells that are measured together have as much time as they would have alone.
        weight: about how long a cell takes beside others, where several workers share them: long ones come first, so
            that none is left for the end.

    Returns:
        See `run`. Cells that were measured together share their time equally.
    """
    kept, before, notes = planning.plan(cells, store, overwrite, inputs, progress=progress)
    to_do = list(before)
    for note in notes:
        tqdm.write(note, file=sys.stderr)
    store.prepare(to_do)
    records = {record.cell: record for record in kept}
    known = set(told)
    with (
        Leases(store.folder) as leases,
        Log(store.folder) as log,
        tqdm(total=len(to_do), desc="cells", unit="cell", disable=not progress, position=0, tells=True) as bar,
    ):
        shared = _Shared(store, before, leases)
        wanted = list(_neighbours([to_do], claim or key))
        if weight is not None:
            wanted.sort(key=lambda group: -sum(map(weight, group)))
        taken = _neighbours(shared.groups(wanted), key)
        for group in _apart(taken, leases):
            started, clock = datetime.now(timezone.utc), time.monotonic()
            log.note("started", cells=[str(cell) for cell in group])
            with doing(f"measuring {group[0]}, cell {len(to_do) - shared.left + 1} of {len(to_do)}"):
                outcomes = _measured(group, measure, leases, limit_s)
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
                state = "measured" if error is None else "failed"
                log.note(state, cell=str(cell), sha256=cell.sha256, seconds=run_of["seconds"], error=error)
                shared.finished(cell)
            bar.set_postfix_str(f"{group[0]}{' and others' * (len(group) > 1)}", refresh=False)
            bar.update(len(to_do) - shared.left - bar.n)
        bar.update(len(to_do) - bar.n)
    records |= shared.of_others
    if label is not None:
        unlike = [r for r in (*kept, *shared.of_others.values()) if r.provenance.get("label") != label]
        records |= {record.cell: store.relabel(record, label) for record in unlike}
    return [records[cell] for cell in cells]


TRIES = 2
"""So many workers may run out of time over a cell before it is given up."""


def _apart(groups: Iterable[list[Cell]], leases: Leases) -> Iterator[list[Cell]]:
    """Groups without the cells that a worker before ran out of time over, each of which is one by itself."""
    for group in groups:
        late = [cell for cell in group if leases.stood(_lease(cell))]
        yield from filter(None, [[cell for cell in group if cell not in late], *([cell] for cell in late)])


def _measured(
    group: Sequence[Cell],
    measure: Callable[[Sequence[Cell]], Sequence[Outcome | Exception]],
    leases: Leases,
    limit_s: float | None,
) -> Sequence[Outcome | Exception]:
    """An outcome or failure of each cell of a group: any failure is a result, and the cells after it still run."""
    places = leases.stood(_lease(group[0]))
    if len(places) >= TRIES:
        return [TimeoutError(f"{len(places)} workers ran out of time over it; the last one stood at {places[-1]}")]
    limit = None if limit_s is None else limit_s * len(group)
    again = "the same command tries it once more, and goes on without it after that"
    try:
        with leases.within(
            limit, [_lease(cell) for cell in group], f"gfnet-bench: {group[0]} is not done after {limit} s; {again}"
        ):
            return measure(group)
    except Exception as problem:
        return [problem] * len(group)


def _lease(cell: Cell) -> str:
    """The name of a cell's lease, short enough for any file system."""
    return cell.sha256[:32]


def _neighbours(groups: Iterable[Iterable[Cell]], key: Callable[[Cell], Hashable]) -> Iterator[list[Cell]]:
    """Groups cut where neighbours differ in `key`."""
    for group in groups:
        for _, cells in itertools.groupby(group, key):
            yield list(cells)


POLLS_S = 0.2, 5.0
"""So long a command that has nothing left but what others measure waits before it looks again, at first and at last."""

RESCUE_S = LEASE_S
"""So often a worker that has cells of its own looks whether those that it left to others are free: their worker may be
dead, and a long group that waits for the end of the list makes the run twice as long."""

_sleep, _now = time.sleep, time.monotonic


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
            before, looked = self.left, _now()
            for group in waiting:
                yield from self._mine(group, others, whole=first)
                if others and _now() - looked >= RESCUE_S:
                    again, others, looked = others, [], _now()
                    for left in again:
                        yield from self._mine(left, others, whole=True)
            waiting = others
            if waiting and not first and self.left == before:
                _sleep(pause)
                pause = min(2 * pause, POLLS_S[1])
            elif waiting and first:
                tqdm.write(f"waiting for {sum(map(len, waiting))} cells that others measure", file=sys.stderr)
            first = False

    def _mine(self, group: list[Cell], others: list[list[Cell]], whole: bool) -> Iterator[list[Cell]]:
        """What can be taken of a group; what others have of it is added to theirs."""
        mine, held = self._take(group, whole)
        if mine:
            yield mine
        others += [held] if held else []

    def _take(self, group: list[Cell], whole: bool) -> tuple[list[Cell], list[Cell]]:
        """The cells that are taken now, and those that others have."""
        mine: list[Cell] = []
        held: list[Cell] = []
        for cell in group:
            if self._is_done(cell):
                self.left -= 1
            elif (whole and held) or not self._leases.take(_lease(cell), str(cell)):
                held.append(cell)
            elif self._is_done(cell):  # its last worker ended just now
                self.finished(cell)
            else:
                mine.append(cell)
        return mine, held

    def _is_done(self, cell: Cell) -> bool:
        """Whether another made a record of it meanwhile, which is kept then."""
        record = self._store.find(cell)
        if record is None or record == self._before[cell]:
            return False
        self.of_others[cell] = record
        return True

    def finished(self, cell: Cell) -> None:
        """There is a record now, or it could not be measured."""
        self._leases.give_back(_lease(cell))
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
