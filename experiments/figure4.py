"""At equal cost, is a pyramid of global filters as accurate as other pyramids? The paper's Figure 4.

Run:      python experiments/figure4.py --data-dir DATA    (about an hour on one GPU)
Then:     gfnet-bench report accuracy
Outcome:  2026-11-22, multiply-adds counted, in results/tables/figure4.md; accuracies need ImageNet.
"""

from __future__ import annotations

import sys

import _checkout  # noqa: F401  (the package of this checkout)

from gfnet_bench.cli import main as command


def main() -> int:
    """Measure what is missing, and draw it."""
    return command(["paper", "figure4", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
