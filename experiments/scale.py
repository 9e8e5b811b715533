"""A study of a thousand models: what it costs, where it first gets stuck, and how close its workers come to the bound.

Run:      python experiments/scale.py     (about 5 minutes on one CPU core, half a GB of disk)
          python experiments/scale.py --price 2 --workers 256 --without-records
Result:   results/tables/scale.md
Outcome:  2026-11-27: 9,700 GPU hours, most of it PGD of many steps. Longest first comes within 0.1 % of the bound where
          nobody dies, in order within 7 %; with a death a day and worker groups must be cut (1.1 %), else one long
          group that dies is the makespan. A million records take 106 MB and four minutes on a busy core, not seconds.

Three parts. **On paper**: 1,000 models by 200 cells, from what an H200 measured of GFNet-S (evaluate_speed_*_cuda.md,
corruption_speed_cuda.md), in GPU hours, bytes and money. **Simulated**: workers that take groups of cells as ours do
(the first in the list that nobody has), that die at random and are replaced, whose groups go to others when the lease
ends; the makespan beside the bound that no schedule can beat, which is the larger of work divided by workers and the
longest group. **Measured**: a million records in one packed file, streamed and tabulated.
"""

from __future__ import annotations

import argparse
import heapq
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import _checkout  # noqa: F401  (the package of this checkout)
import numpy as np

from gfnet_bench.leases import LEASE_S
from gfnet_bench.packed_records import FILE, Packed, lines, order
from gfnet_bench.records import Cell, Record
from gfnet_bench.store import Store

RESULT = Path(__file__).parents[1] / "results" / "tables" / "scale.md"

IMAGES_S = 4160.0
"""Images a second of GFNet-S in float32, evaluate_speed_float32_cuda.md; a backward pass counts as 1.15 forward."""

CORRUPT_S = 26.7e-6
"""Of an image on the same device, the mean of the fifteen (2,001 microseconds for 75), corruption_speed_cuda.md."""

RECORD_B, ARRAYS_B = 2_500, 50_000 * (5 * 2 + 3 * 4)
"""Of a record, and of the arrays beside it: five classes of two bytes and three floats for each of 50,000 images."""

LOOK, SERVER = 2, 10_000
"""File operations of a look at a cell that another has done, and what a file server takes of them in a second."""

RESTART_S = 30.0
"""Until a worker that died is replaced."""


class Kind(NamedTuple):
    """Cells of one kind, of one model: how many, forward and backward passes an image, whether images are corrupted."""

    name: str
    cells: int
    forward: float
    backward: float
    corrupted: bool = False

    def seconds(self, images: int = 50_000) -> float:
        """Of one cell on one GPU."""
        passes = self.forward + 1.15 * self.backward
        return images * (passes / IMAGES_S + CORRUPT_S * self.corrupted)


STUDY = (
    Kind("clean sets", 20, 1, 0),
    Kind("FGSM, 20 radii", 20, 2, 1),
    Kind("PGD of 5 to 100 steps", 40, 21, 20),
    Kind("corrupted sets, 24 by 5", 119, 1, 0, corrupted=True),
    Kind("AutoAttack, a twelfth of a full run of 10,600 passes", 1, 500, 380),
)
"""Two hundred cells a model."""


class Played(NamedTuple):
    """What a simulated run came to.

    Attributes:
        makespan: seconds until the last group is done.
        done: how often each group was done.
        deaths: of workers.
    """

    makespan: float
    done: list[int]
    deaths: int


def play(
    seconds: Sequence[float], workers: int, *, longest_first: bool, death_s: float = float("inf"), seed: int = 0
) -> Played:
    """Simulate a run.

    Args:
        seconds: of each group.
        workers: all there from the start.
        longest_first: the order of the list; else as given.
        death_s: mean time between two deaths of a worker; what it was at is taken up once its lease has ended.
        seed: of the deaths.
    """
    chance = np.random.default_rng(seed)
    order = sorted(range(len(seconds)), key=lambda n: -seconds[n]) if longest_first else range(len(seconds))
    position = {group: place for place, group in enumerate(order)}
    free = list(range(len(seconds)))  # places in the list, the first first
    freed: list[tuple[float, int]] = []  # when a dead worker's group may be taken
    idle = [(0.0, worker) for worker in range(workers)]
    groups, done, deaths, makespan = list(order), [0] * len(seconds), 0, 0.0
    while free or freed:
        now, worker = heapq.heappop(idle)
        while freed and freed[0][0] <= now:
            heapq.heappush(free, heapq.heappop(freed)[1])
        if not free:
            heapq.heappush(idle, (max(freed[0][0], now), worker))
            continue
        group = groups[heapq.heappop(free)]
        lives = chance.exponential(death_s) if np.isfinite(death_s) else np.inf
        if lives < seconds[group]:
            deaths += 1
            heapq.heappush(freed, (now + lives + LEASE_S, position[group]))
            heapq.heappush(idle, (now + lives + RESTART_S, worker))
        else:
            done[group] += 1
            makespan = max(makespan, now + seconds[group])
            heapq.heappush(idle, (now + seconds[group], worker))
    return Played(makespan, done, deaths)


def bound(seconds: Sequence[float], workers: int) -> float:
    """Seconds that no schedule can beat."""
    return max(sum(seconds) / workers, max(seconds))


def cut(seconds: Sequence[float], longest: float) -> list[float]:
    """Groups in pieces that take at most so long."""
    return [each / n for each in seconds for n in [int(-(-each // longest))] for _ in range(n)]


def on_paper(models: int, price: float) -> list[str]:
    """Rows of what it costs."""
    rows = ["| cells | of a model | seconds each | GPU hours | of all |", "| --- | ---: | ---: | ---: | ---: |"]
    hours = {kind.name: kind.cells * kind.seconds() * models / 3600 for kind in STUDY}
    total = sum(hours.values())
    for kind in STUDY:
        share = f"{hours[kind.name]:,.0f} | {hours[kind.name] / total:.0%}"
        rows.append(f"| {kind.name} | {kind.cells} | {kind.seconds():,.0f} | {share} |")
    count = models * sum(kind.cells for kind in STUDY)
    kept = count * (RECORD_B + ARRAYS_B)
    rows += [
        "",
        f"Together {total:,.0f} GPU hours: {price * total:,.0f} USD at {price:g} USD an hour, {total / 24 / 1000:.1f} "
        f"days on 1,000 GPUs; {count:,} records of {RECORD_B / 1e3:g} kB and arrays of {ARRAYS_B / 1e6:.1f} MB beside "
        f"each, {kept / 1e9:,.0f} GB in all. Every model is reckoned as GFNet-S in float32.",
    ]
    return rows


def simulated(models: int, workers: int) -> list[str]:
    """Rows of how close workers come to the bound, and how often they touch the shared folder."""
    chance = np.random.default_rng(0)
    sizes = chance.lognormal(0, 0.7, models)  # models differ
    alone = [kind.seconds() * size for size in sizes for kind in STUDY if not kind.corrupted for _ in range(kind.cells)]
    shared = [kind.seconds() * sizes.sum() for kind in STUDY if kind.corrupted for _ in range(kind.cells)]
    together = [*alone, *shared]
    plans = {
        "a corrupted set with all models is one group": together,
        "the same, groups cut to an hour": cut(together, 3600),
        "every cell by itself": [*alone, *cut(shared, sum(shared) / len(shared) / models)],
    }
    rows = [
        "| groups | how many | order | deaths | bound, h | makespan, h | over the bound |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for name, seconds in plans.items():
        for longest_first in (False, True):
            for death_s in (float("inf"), 24 * 3600.0):
                found = play(seconds, workers, longest_first=longest_first, death_s=death_s)
                assert set(found.done) == {1}, "every group is done once"
                least = bound(seconds, workers)
                order = "longest first" if longest_first else "as planned"
                over = f"{least / 3600:.1f} | {found.makespan / 3600:.1f} | {found.makespan / least - 1:.1%}"
                rows.append(f"| {name} | {len(seconds):,} | {order} | {found.deaths:,} | {over} |")
    count, hours = len(plans["every cell by itself"]), bound(plans["every cell by itself"], workers) / 3600
    operations = LOOK * count * workers
    rate = operations / hours / 3600
    rows += [
        "",
        f"A worker dies once a day and is replaced after {RESTART_S:g} s; what it was at is free after {LEASE_S:g} s. "
        f"The first bottleneck is the shared folder: each worker looks at each cell once at least, {count * workers:,} "
        f"looks of {LOOK} file operations, {rate:,.0f} a second over {hours:.1f} hours. A file server of {SERVER:,} a "
        f"second takes {workers * SERVER / rate:,.0f} workers of one such run. Runs of some of the models each, with a "
        "folder of their own, are the way around it; their packed files go into one table.",
    ]
    return rows


def records(count: int) -> list[str]:
    """A line on so many records in one file, made, streamed and tabulated by a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        subprocess.run([sys.executable, __file__, "--make", str(count), folder], check=True, capture_output=True)
        middle = time.monotonic()
        read = subprocess.run([sys.executable, __file__, "--read", folder], check=True, capture_output=True, text=True)
        size = Path(folder, FILE).stat().st_size
        seconds, peak, mean = read.stdout.split()
    made, peak_mb = middle - start, float(peak) / 1e6
    return [
        f"{count:,} records in a packed file of {size / 1e9:.2f} GB (made in {made:.0f} s): streamed and tabulated, a "
        f"mean a model, in {float(seconds):.0f} s with {peak_mb:.0f} MB at the peak; their mean is {float(mean):.4f}.",
    ]


def make(count: int, folder: Path) -> None:
    """A packed file of synthetic records."""
    with (folder / FILE).open("wb") as file:
        file.writelines(lines(packed(count)))


def packed(count: int) -> Iterator[Packed]:
    """So many records of 200 cells a model, in the order of a packed file."""
    for first in range(0, count, 200):
        some = []
        for number in range(first, min(first + 200, count)):
            settings = {"dataset": "imagenet", "limit": None, "seed": number % 200, "dtype": "float32"}
            cell = Cell("of_a_simulation", 1, f"model_{number // 200:05}", settings)
            record = Record(cell, {"top1": number / count}, provenance={"device": "none", "seconds": 1.0})
            some.append(Packed(PurePosixPath(cell.path), record.to_json(), None))
        yield from sorted(some, key=lambda one: order(one.path))


def read(folder: Path) -> None:
    """Stream the records into a mean a model; prints seconds, peak bytes and the mean of all."""
    start, sums = time.monotonic(), dict[str, tuple[float, int]]()
    for record in Store(folder).stream():
        total, count = sums.get(record.cell.model, (0.0, 0))
        sums[record.cell.model] = total + record.values["top1"], count + 1
    mean = sum(total for total, _ in sums.values()) / sum(count for _, count in sums.values())
    print(time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, mean)


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--price", type=float, default=3.0, help="USD an hour of a GPU")
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        return make(int(arguments.make[0]), Path(arguments.make[1]))
    if arguments.read:
        return read(arguments.read)
    text = ["# A study of a thousand models", "", "Made by `experiments/scale.py`.", ""]
    text += [f"## What it costs: {arguments.models:,} models", "", *on_paper(arguments.models, arguments.price), ""]
    text += [f"## How {arguments.workers:,} workers share it", "", *simulated(arguments.models, arguments.workers), ""]
    text += ["## What its records weigh", "", *records(arguments.records)]
    RESULT.write_text("\n".join(text) + "\n")
    print("\n".join(text))
    return None


if __name__ == "__main__":
    main()
