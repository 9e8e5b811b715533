"""How fast does this device copy and multiply at most? What every other figure of it is held against.

Run:      python experiments/ceilings.py                       (seconds on one GPU)
Result:   results/tables/ceilings_cuda.md
Outcome:  2026-11-26, H200: copy 4.3 TB/s, products 51 (float32), 372 (tf32) and 730 TFLOP/s (bfloat16).

A copy counts what is read and what is written. Products are of square matrices, two operations a multiply-add, in the
three precisions of `gfnet_bench.evaluation.precision`. Medians of repeats by the device's own clock.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import _checkout
import torch

from gfnet_bench.evaluation import precision
from gfnet_bench.profiling.devices import device_key
from gfnet_bench.profiling.latency import measure


def copy_rate(device: torch.device, numbers: int) -> float:
    """Bytes a second of copying so many float32 numbers."""
    x = torch.rand(numbers, device=device)
    y = torch.empty_like(x)
    return 2 * x.nbytes / measure(lambda: y.copy_(x), device, budget_s=0.5).median


def product_rate(device: torch.device, side: int, dtype: str) -> float:
    """Operations a second of a product of matrices."""
    a, b = torch.rand(2, side, side, device=device)
    if dtype == "bfloat16":
        a, b = a.bfloat16(), b.bfloat16()
    with precision(dtype, device):
        return 2 * side**3 / measure(lambda: a @ b, device, budget_s=0.5).median


def main() -> None:
    """Measure, print and keep the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bytes", type=int, default=2**30, help="of a large copy (1 GiB)")
    parser.add_argument("--side", type=int, default=8192, help="of the matrices (8192)")
    parser.add_argument("--output", type=Path, help="default: results/tables/ceilings_<device>.md")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    output = arguments.output or _checkout.ROOT / "results" / "tables" / f"ceilings_{device.type}.md"
    lines = [f"# Ceilings of {device_key(device)['name']}", "", "Made by `experiments/ceilings.py`.", ""]
    lines += ["| what | rate |", "| --- | --- |"]

    def write(name: str, rate: str) -> None:
        lines.append(f"| {name} | {rate} |")
        output.write_text("\n".join(lines) + "\n")

    for size in (arguments.bytes // 64, arguments.bytes // 8, arguments.bytes):
        write(f"copy of {size / 2**20:.0f} MiB", f"{copy_rate(device, size // 4) / 1e12:.3f} TB/s")
    for dtype in ("float32", "tf32", "bfloat16"):
        rate = product_rate(device, arguments.side, dtype)
        write(f"product of side {arguments.side}, {dtype}", f"{rate / 1e12:.1f} TFLOP/s")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
