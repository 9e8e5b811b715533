"""Everything that waits for a GPU, in one call: tests, the fused filter, Figure 2, corruptions, the evaluation loop.

Run:      python experiments/on_gpu.py                 (about 30 minutes on one GPU; the first three about 10)
          python experiments/on_gpu.py --only 3        (the first three: tests, filter, Figure 2)
Result:   results/tables/*_cuda.md, results/records/complexity, results/figures
Outcome:  not run yet.

Each part runs in a process of its own, so that one that fails does not keep the others from running. What was
measured is not measured again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = (
    ("-m", "pytest", "-q", "-m", "gpu"),
    ("experiments/filter_speed.py", "--device", "cuda", "--sides", "8", "14", "28", "42", "56", "112", "182"),
    ("experiments/figure2.py", "--device", "cuda"),
    ("experiments/corruption_speed.py", "--device", "cuda"),
    ("experiments/evaluate_speed.py", "--model", "gfnet_s", "--images", "8192", "--device", "cuda"),
)


def main() -> int:
    """Run the parts; the exit status is the number of those that failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", type=int, default=len(PARTS), metavar="N", help="the first N parts")
    failed = []
    for part in PARTS[: parser.parse_args().only]:
        started = time.monotonic()
        status = subprocess.run([sys.executable, *part], cwd=ROOT, check=False).returncode
        print(f"{' '.join(part)}: status {status} after {time.monotonic() - started:.0f} s", file=sys.stderr)
        failed += [part] if status else []
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
