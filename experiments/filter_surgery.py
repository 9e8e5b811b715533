"""Which frequencies of its learned filters does a GFNet need, clean, corrupted and attacked? And which hurt it?

Filters lose what lies above or below a radius, in all layers or in one, and nothing is retrained. Beside it stand
Fourier heat maps of the same network and its rivals: the frequencies of noise that each of them cannot bear.

Run:      python experiments/filter_surgery.py                   (about four minutes on two cores: the mini suite)
          python experiments/filter_surgery.py --model gfnet_s --surgery --heatmap --data-dir DATA   (hours on one GPU)
Then:     gfnet-bench report filters
Outcome:  see results/tables/filters_surgery_*.md and filters_heatmap.md
"""

from __future__ import annotations

import sys

from gfnet_bench.cli import main as command


def main() -> int:
    """Measure it."""
    words = sys.argv[1:]
    return command(["filters", *([] if "--model" in words else ["--suite", "mini"]), *words])


if __name__ == "__main__":
    sys.exit(main())
