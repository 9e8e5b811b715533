"""How much faster are two workers than one?

Run:      python experiments/engine_speed.py     (about 4 minutes on two quiet cores)
Result:   results/tables/engine_speed.md
Outcome:  OUTCOME

Eight cells of two networks under attacks, measured by the workers of an engine from nothing to the table, time on the
clock: one worker, then two, each with one thread, in turns. What starting takes (Python, torch, the networks) is in it,
and so is the table at the end.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _checkout  # noqa: F401  (the package of this checkout)

RESULT = Path(__file__).parents[1] / "results" / "tables" / "engine_speed.md"
WORDS = "robustness -m vit_mini resmlp_mini --dataset mini mini_v2 --attack pgd:steps=20 pgd:steps=20,norm=l2".split()
WORDS += "--device cpu -j 0 --no-progress --format json".split()
CELLS = 8


def seconds(engine: str) -> tuple[float, str]:
    """Of one run from nothing, and its table."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "gfnet_bench", *WORDS, "--engine", engine, "--output-dir", folder]
        start = time.monotonic()
        said = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        took = time.monotonic() - start
    if said.returncode:
        raise SystemExit(said.stderr)
    return took, said.stdout


def main() -> None:
    """Take turns and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--engine", default="local", choices=("local", "ray"))
    arguments = parser.parse_args()
    runs = [[seconds(f"{arguments.engine}:{n}") for n in (1, 2)] for _ in range(arguments.repeats)]
    assert len({table for turn in runs for _, table in turn}) == 1, "all tables have the same bytes"
    ratios = [one[0] / two[0] for one, two in runs]
    lines = [
        "# Two workers beside one",
        "",
        f"`--engine {arguments.engine}:1` and `:2`, {CELLS} cells, one thread each, {os.cpu_count()} cores; "
        f"{arguments.repeats} turns, all tables with the same bytes. Made by `experiments/engine_speed.py`.",
        "",
        "| one worker, s | two workers, s | times faster |",
        "| ---: | ---: | ---: |",
        *(f"| {one[0]:.1f} | {two[0]:.1f} | {one[0] / two[0]:.2f} |" for one, two in runs),
        "",
        f"Median {statistics.median(ratios):.2f}.",
    ]
    RESULT.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
