"""What bad days do to a run: kills by the hundred, drivers that die, folders that vanish, disks that fill up.

Run:      python experiments/reliability.py     (about 20 minutes on two cores, of which the kills take 10)
          python experiments/reliability.py --kills 100 --without-tests
Result:   results/reliability.md
Outcome:  2026-11-27: a thousand kills lost no number, doubled none and changed none. They showed three faults, mended
          since: a cell that another finished while this one planned was measured once more, results that were removed
          under a run ended it, and what killed workers held stayed behind.

The kills are made here: workers, and drivers that start workers, of cells that take a few hundredths of a second, ended
by SIGKILL at random moments and replaced at once, until a round's cells are all there. After each round

- every cell has its record, with the number and the arrays of an undisturbed run, and the table of them has its bytes;
- no cell was measured more often than once and once more for each kill that met it in flight;
- nothing else is left in the folder but what was being written at a kill, which later writers remove once it is old.

The other faults are injected by tests, which this runs and counts: a row names what they do, and they say how.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import _checkout  # noqa: F401  (the package of this checkout)
import numpy as np

from gfnet_bench import runner
from gfnet_bench.engines import read_engine
from gfnet_bench.engines.drive import drive
from gfnet_bench.records import Cell, canonical_json
from gfnet_bench.store import Store

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "results" / "reliability.md"

CELLS, SECONDS = int(os.environ.get("BAD_DAYS_CELLS", "200")), 0.04
"""Of a round: how many, in tests fewer, and how long one takes."""


def cells() -> list[Cell]:
    """Those of a round."""
    return [Cell("of_bad_days", 1, "tiny", {"dataset": "mini", "seed": seed}) for seed in range(CELLS)]


def measure(cell: Cell, log: Path) -> runner.Outcome:
    """A number and an array that only this cell has; that it was measured is noted."""
    with log.open("a") as file:
        file.write(f"{cell.settings['seed']}\n")
    time.sleep(SECONDS)
    seed = int(cell.settings["seed"])
    return runner.Outcome({"top1": seed / CELLS}, {"top5": np.arange(1000) * seed})


def work(folder: Path) -> None:
    """Be a worker of a round."""
    runner.run(cells(), lambda cell: measure(cell, folder / "measured"), Store(folder / "results"), progress=False)


def lead(folder: Path) -> None:
    """Be a driver of a round: three workers until nothing is left."""
    store = Store(folder / "results")
    command = [sys.executable, __file__, "--work", str(folder)]
    drive(
        read_engine("local:3"), command, [], folder / "logs", lambda: sum(store.find(c) is None for c in cells()), False
    )


class Round(NamedTuple):
    """What a round came to.

    Attributes:
        kills: how many there were.
        more: measurements beyond one a cell.
        table: the bytes of what is on disk.
        left: files that are no record and no array of one.
    """

    kills: int
    more: int
    table: bytes
    left: list[str]


def table(folder: Path) -> bytes:
    """What is on disk, provenance left out, a line a cell; a damaged record is missing in it."""
    store = Store(folder / "results")
    lines = []
    for record in store:
        arrays = {name: array.tolist() for name, array in sorted(store.arrays(record).items())}
        lines.append(canonical_json([record.cell.to_json(), record.values, record.error, arrays]))
    return "\n".join(sorted(lines)).encode()


def strangers(folder: Path) -> list[str]:
    """Files in the results that are no record, no array of one, no log, and not in the making when their maker died."""
    results = folder / "results"
    known = {results / cell.path.with_suffix(end) for cell in cells() for end in (".json", ".npz")}
    there = (p for p in results.rglob("*") if p.is_file() and p.parent.name != "log" and p.suffix != ".tmp")
    return sorted(str(path.relative_to(results)) for path in there if path not in known)


def begin(folder: Path, role: str) -> subprocess.Popen[bytes]:
    """Start a worker or a driver in a session of its own."""
    command = [sys.executable, __file__, role, str(folder)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)


def play(folder: Path, role: str, count: int, chance: random.Random, most: int) -> Round:
    """One round: so many processes of a role, killed at random and replaced as long as there are cells to do.

    Args:
        folder: empty.
        role: `--work` or `--lead`.
        count: processes at a time.
        chance: when, and which.
        most: kills, at most.
    """
    kills, going = 0, [begin(folder, role) for _ in range(count)]
    while any(process.poll() is None for process in going):
        time.sleep(chance.uniform(0.05, 0.5))
        alive = [number for number, process in enumerate(going) if process.poll() is None]
        if alive and kills < most and len(list(folder.glob("results/records/*/*/*.json"))) < CELLS:
            number = chance.choice(alive)
            going[number].send_signal(signal.SIGKILL)
            going[number].wait()
            going[number] = begin(folder, role)
            kills += 1
    _await_orphans(folder)
    measured = (folder / "measured").read_text().split()
    return Round(kills, len(measured) - CELLS, table(folder), strangers(folder))


def _await_orphans(folder: Path) -> None:
    """Workers outlive a driver that is killed: they end when there is nothing left."""
    mine = str(folder).encode()
    while any(mine in _command(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        time.sleep(0.1)


def _command(entry: Path) -> bytes:
    try:
        return b"" if int(entry.name) == os.getpid() else (entry / "cmdline").read_bytes()
    except OSError:  # it has ended
        return b""


def rounds(role: str, count: int, kills: int, seed: int) -> Iterator[Round]:
    """Rounds until there were so many kills; each is held against an undisturbed one."""
    chance, done = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "calm").mkdir()
        work(Path(folder, "calm"))
        calm = table(Path(folder, "calm"))
    while done < kills:
        with tempfile.TemporaryDirectory() as folder:
            found = play(Path(folder), role, count, chance, kills - done)
        done += found.kills
        in_flight = found.kills * (1 if role == "--work" else 0) + (count if role == "--lead" else 0)
        if found.table != calm or found.left or found.more > in_flight:
            raise SystemExit(
                f"round of {role}: {found.more} measured again after {found.kills} kills, left {found.left}"
            )
        yield found


class Fault(NamedTuple):
    """A row: what goes wrong, how it is brought about, and the tests that do."""

    name: str
    how: str
    tests: tuple[str, ...]


FAULTS = (
    Fault(
        "disk full while a record is written",
        "write fails with ENOSPC",
        ("test_runner.py::test_a_full_disk_ends_the_run_and_keeps_what_was_saved",),
    ),
    Fault(
        "disk full while the prepared cache is written",
        "allocation or write fails with ENOSPC",
        (
            "test_prepared.py::test_a_full_disk_is_said_beforehand",
            "test_prepared.py::test_a_disk_that_fills_up_meanwhile_ends_the_run_with_a_sentence",
            "test_prepared.py::test_the_room_for_pixels_is_taken_before_anything_is_decoded",
        ),
    ),
    Fault(
        "read-only results",
        "folder that takes no file",
        ("test_runner.py::test_results_that_cannot_be_written_are_noticed_before_anything_is_measured",),
    ),
    Fault(
        "damaged, truncated, foreign, newer or wrong-typed record, or its arrays",
        "bytes flipped, cut, values of other kinds, links, pipes, folders in their place",
        ("test_damage.py",),
    ),
    Fault(
        "prepared cache damaged, in every file",
        "each file cut, flipped, emptied, removed",
        (
            "test_prepared.py::test_a_damaged_set_heals_itself_and_says_so",
            "test_prepared.py::test_a_set_that_serves_a_smaller_one_heals_as_well",
            "test_prepared.py::test_if_no_image_is_whole_the_set_is_refused",
        ),
    ),
    Fault("clocks apart", "workers an hour and thirty years apart, frozen, come back", ("test_leases.py",)),
    Fault(
        "memory of the device runs out",
        "a device that counts bytes",
        (
            "test_evaluation.py::test_out_of_memory_halves_the_batch_to_what_fits_and_loses_nothing",
            "test_evaluation.py::test_memory_that_runs_out_in_an_attack_changes_no_number",
        ),
    ),
    Fault("a worker that hangs, in Python or in native code", "a cell that never ends", ("test_timelimits.py",)),
    Fault(
        "logits that are NaN or of a wrong shape",
        "networks that return them",
        (
            "test_evaluation.py::test_logits_that_are_not_finite_are_named",
            "test_evaluation.py::test_one_models_bad_logits_leave_the_others_alone",
            "test_evaluation.py::test_what_is_no_logits_is_refused_in_one_sentence",
        ),
    ),
    Fault(
        "images or checkpoint that change",
        "files replaced, added, removed",
        ("test_present.py", "test_runner.py::test_what_was_measured_on_other_inputs_is_measured_again"),
    ),
    Fault(
        "results folder removed under a run; 1, then 8, then 3 workers; two drivers in one second; what other run "
        "managers lost",
        "as it says",
        ("test_reliability.py",),
    ),
    Fault("a worker or its cluster's actor ends", "SIGKILL of one of an engine's", ("test_engines.py",)),
)


def tried(fault: Fault) -> Counter[str]:
    """How the tests of a fault ended: passed, failed, skipped."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rA", "--no-header"]
    names = [str(ROOT / "tests" / name) for name in fault.tests]
    said = subprocess.run([*command, *names], capture_output=True, text=True, cwd=ROOT, check=False)
    ends = Counter(
        line.split()[0] for line in said.stdout.splitlines() if line.startswith(("PASSED", "FAILED", "ERROR"))
    )
    if not ends:
        raise SystemExit(f"{fault.name}: expected tests, found none\n{said.stdout[-2000:]}{said.stderr[-2000:]}")
    return ends


def kills_row(role: str, count: int, kills: int, seed: int) -> str:
    """A row of the table for kills of one role."""
    start, found = time.monotonic(), []
    for one in rounds(role, count, kills, seed):
        found.append(one)
        print(f"{role}: {sum(r.kills for r in found)} of {kills} kills, {one.more} measured again", file=sys.stderr)
    done, more = sum(r.kills for r in found), sum(r.more for r in found)
    who = (
        "SIGKILL of a worker, four at work" if role == "--work" else "SIGKILL of a driver, two with three workers each"
    )
    took = f"{len(found)} rounds of {CELLS} cells, {time.monotonic() - start:.0f} s"
    outcome = f"all tables as undisturbed; {more} of {len(found) * CELLS} cells measured once more, each in flight"
    return f"| {who} | at random moments, replaced at once ({took}) | {done} | {outcome} |"


def main() -> None:
    """Do all of it and write the table after every row."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without-tests", action="store_true")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--lead", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work or arguments.lead:
        return work(arguments.work) if arguments.work else lead(arguments.lead)
    lines = [
        "# What bad days do to a run",
        "",
        "Made by `experiments/reliability.py`, which says what is held against what after each. A test counts as often "
        "as it is tried.",
        "",
        "| fault | how | times | outcome |",
        "| --- | --- | ---: | --- |",
    ]
    drivers = arguments.kills // 10
    for role, count, kills in (("--work", 4, arguments.kills - drivers), ("--lead", 2, drivers)):
        lines.append(kills_row(role, count, kills, arguments.seed))
        RESULT.write_text("\n".join(lines) + "\n")
    for fault in () if arguments.without_tests else FAULTS:
        ends = tried(fault)
        outcome = "as the tests demand" if set(ends) == {"PASSED"} else json.dumps(ends)
        lines.append(f"| {fault.name} | {fault.how} | {ends.total()} | {outcome} |")
        print(lines[-1], flush=True)
        RESULT.write_text("\n".join(lines) + "\n")
    return None


if __name__ == "__main__":
    main()
