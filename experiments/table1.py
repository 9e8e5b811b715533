"""What do four token mixers cost, in symbols and counted? The paper's Table 1.

Run:      python experiments/table1.py --count-only        (seconds)
Then:     gfnet-bench report complexity
Outcome:  2026-11-22, formulas and counter agree to the last multiply-add.
"""

from __future__ import annotations

import sys

import _checkout  # noqa: F401  (the package of this checkout)

from gfnet_bench.cli import main as command


def main() -> int:
    """Measure what is missing, and draw it."""
    return command(["paper", "table1", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
