"""What have the filters of a GFNet learned? The paper's Figure 5, for any of its networks.

Run:      python experiments/figure5.py                          (seconds; fetches the weights of GFNet-XS)
          python experiments/figure5.py --model gfnet_mini       (seconds; needs no network)
Then:     gfnet-bench report filters
Outcome:  2026-11-22, gfnet_mini: most channels of the first three layers pass all frequencies but the lowest about
          evenly, as they were drawn; the last layer keeps zero frequency and a few single ones.
"""

from __future__ import annotations

import sys

import _checkout  # noqa: F401  (the package of this checkout)

from gfnet_bench.cli import main as command


def main() -> int:
    """Draw it."""
    return command(["filters", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
