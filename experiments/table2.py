"""What does Semantic FPN cost over each backbone? The complexity columns of the paper's Table 2.

Run:      python experiments/table2.py --count-only        (a minute on one core; nothing is allocated)
Then:     gfnet-bench report segmentation
Outcome:  2026-11-22, results/tables/table2.md. Parameters agree with the published ones to the printed digit once they
          are counted as their papers did: PVT with a position embedding for 224 pixels, GFNet-H with its classifier.
"""

from __future__ import annotations

import sys

import _checkout  # noqa: F401  (the package of this checkout)

from gfnet_bench.cli import main as command


def main() -> int:
    """Measure what is missing, and draw it."""
    return command(["paper", "table2", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
