"""How robust and how general are GFNet-S and its baselines at equal cost? The paper's Table 3.

Run:      python experiments/table3.py --data-dir DATA     (hours on one GPU with the published ImageNet-C)
          python experiments/table3.py --suite mini        (minutes on two cores; not ImageNet)
Then:     gfnet-bench report robustness
Outcome:  2026-11-22, ImageNet not measured yet; the mini suite is in results/tables/robustness_mini.md.
"""

from __future__ import annotations

import sys

import _checkout  # noqa: F401  (the package of this checkout)

from gfnet_bench.cli import main as command


def main() -> int:
    """Measure what is missing, and draw it."""
    return command(["paper", "table3", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
