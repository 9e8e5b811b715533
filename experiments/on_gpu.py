"""Everything that waits for a GPU, in one call: tests, filter, Figure 2, corruptions, the evaluation loop.

Run:      python experiments/on_gpu.py                        (about 30 minutes on one GPU)
          python experiments/on_gpu.py filter figure2         (the efficiency of the paper: less than 10 minutes)
Result:   results/tables/*_cuda.md, results/records/complexity, results/figures
Outcome:  not run yet.

Each part runs in a process of its own, so that one that fails does not keep the others from running. Figure 2
continues where it was stopped; the others start over, and write their tables row by row.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SIDES = ("8", "14", "28", "42", "56", "112", "182")
LOOP = ("--output", "results/tables/evaluate_speed_cuda.md")
PARTS = {
    "tests": ("-m", "pytest", "-q", "-m", "gpu"),
    "filter": ("experiments/filter_speed.py", "--device", "cuda", "--sides", *SIDES),
    "figure2": ("experiments/figure2.py", "--device", "cuda"),
    "corruptions": ("experiments/corruption_speed.py", "--device", "cuda"),
    "loop": ("experiments/evaluate_speed.py", "--model", "gfnet_s", "--images", "8192", "--device", "cuda", *LOOP),
}


def main() -> int:
    """Run the parts; the exit status is the number of those that failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    names = parser.parse_args().parts or list(PARTS)
    if unknown := set(names) - set(PARTS):
        parser.error(f"expected {', '.join(PARTS)}, found {', '.join(sorted(unknown))}")
    failed = 0
    for name in names:
        started = time.monotonic()
        status = subprocess.run([sys.executable, *PARTS[name]], cwd=ROOT, check=False).returncode
        print(f"{name}: status {status} after {time.monotonic() - started:.0f} s", file=sys.stderr)
        failed += status != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
