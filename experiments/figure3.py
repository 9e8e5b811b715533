"""At equal cost, are global filters as accurate as attention and spatial MLPs? The paper's Figure 3.

Run:      python experiments/figure3.py --data-dir DATA    (about an hour on one GPU)
Then:     gfnet-bench report accuracy
Outcome:  2026-11-22, multiply-adds counted, in results/tables/figure3.md; accuracies need ImageNet.
"""

from __future__ import annotations

import sys

import _checkout  # noqa: F401  (the package of this checkout)

from gfnet_bench.cli import main as command


def main() -> int:
    """Measure what is missing, and draw it."""
    return command(["paper", "figure3", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
