"""Does another device give the same answers, image by image?

Run:      python experiments/devices.py RESULTS        (seconds; RESULTS holds records that another device measured)
Result:   results/tables/devices.md
Outcome:  2026-11-27, `robustness --suite mini` on an H200 against results/, of a CPU: of 316,000 first
          answers none differs.

Each cell of RESULTS is held against the same cell of results/. `nll` is the cell's mean negative log-likelihood, which
sees what accuracy does not: it moves with the last digits.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import _checkout
import numpy as np

from gfnet_bench.metrics.agreement import Agreement, agreement
from gfnet_bench.store import Store

RESULTS = _checkout.ROOT / "results"
HEAD = "| model | perturbation | cells | images | other first answers | top-1 differs by at most | nll by at most |"


class Pair(NamedTuple):
    """One cell on two devices: its answers, and by how much two values differ."""

    answers: Agreement
    top1: float
    nll: float


def pairs(there: Store, here: Store) -> tuple[dict[tuple[str, str], list[Pair]], set[str]]:
    """The cells that both have, by model and perturbation; the devices of `there`."""
    found: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    devices = set()
    for one in there:
        other = here.find(one.cell) if one.cell.study == "robustness" else None
        if other is None or one.error or other.error:
            continue
        then, now = here.arrays(other), there.arrays(one)
        moved = [abs(float(one.values[name]) - float(other.values[name])) for name in ("top1", "nll")]
        name = one.cell.settings["perturbation"]["name"]
        found[one.cell.model, name].append(Pair(agreement(then, now, np.arange(len(then["top5"]))), *moved))
        devices.add(str(one.provenance["device"]))
    return dict(found), devices


def main() -> None:
    """Compare, write the table and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path, help="folder with records of another device")
    parser.add_argument("--output", type=Path, default=RESULTS / "tables" / "devices.md")
    arguments = parser.parse_args()
    found, devices = pairs(Store(arguments.results), Store(RESULTS))
    rows = [
        f"| {model} | {name} | {len(cells)} | {sum(c.answers.images for c in cells):,} "
        f"| {sum(c.answers.images - c.answers.alike for c in cells)} | {max(c.top1 for c in cells):.4f} "
        f"| {max(c.nll for c in cells):.1e} |"
        for (model, name), cells in found.items()
    ]
    made = f"Made by `experiments/devices.py`: records of {', '.join(sorted(devices))} against those of `results/`."
    text = "\n".join(["# The same cells on two devices", "", made, "", HEAD, "| --- " * 7 + "|", *rows]) + "\n"
    arguments.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
