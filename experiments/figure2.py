"""How do multiply-adds, latency and memory grow with the number of tokens on today's hardware? The paper's Figure 2.

Run:      python experiments/figure2.py                    (about 5 minutes on one GPU, at most 10; on two CPU cores,
                                                            where it measures 196 to 4,096 tokens, about 5 minutes)
Result:   results/records/complexity, results/tables/complexity_*.md, results/figures/complexity_*.pdf
Outcome:  2026-11-22, two CPU cores, batch 8: results/figures/complexity_block_*.png. At 4,096 tokens attention takes 9
          times the global filter's time and 12 times its memory, fused attention 3 times its time. No GPU yet.

On a GPU: all 13 sizes of the paper, batch 32, float32 without TF32, forward and forward + backward, then the forward
pass again as CUDA graphs, which shows the points that launches held up, and two whole models at three sizes. Where
memory runs out, that is the result. The command continues where it was stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import _checkout  # noqa: F401  (the package of this checkout)
import torch

from gfnet_bench import cli

RESULTS = Path(__file__).parents[1] / "results"

GPU = (
    ("--tokens", "paper", "--backward"),
    ("--tokens", "paper", "--cuda-graphs"),
    ("--model", "gfnet_s", "deit_small", "--img-size", "224", "384", "1024"),
)
CPU = (("--tokens", "196..4096"),)


def commands(device: str, results: Path, budget: float) -> list[list[str]]:
    """The words of each command line."""
    shared = ["--device", device, "--published", "--time-budget", str(budget), "--output-dir", str(results)]
    return [["complexity", *words, *shared] for words in (GPU if device.startswith("cuda") else CPU)]


def main() -> int:
    """Measure, then write every table and figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output-dir", type=Path, default=RESULTS, metavar="DIR")
    parser.add_argument("--time-budget", type=float, metavar="S", help="seconds a latency (default: 0.6, on a CPU 3)")
    arguments = parser.parse_args()
    budget = arguments.time_budget or (0.6 if arguments.device.startswith("cuda") else 3.0)
    status = max(cli.main(words) for words in commands(arguments.device, arguments.output_dir, budget))
    cli.main(["report", "complexity", "--write", "md", "csv", "--output-dir", str(arguments.output_dir)])
    return status


if __name__ == "__main__":
    raise SystemExit(main())
