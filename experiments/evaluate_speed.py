"""Does the evaluation loop keep the device busy? Clean evaluation against the model alone on resident data.

Run:      python experiments/evaluate_speed.py                           (a minute on two cores: gfnet_mini)
          python experiments/evaluate_speed.py --model gfnet_s --images 8192 --device cuda     (a minute on one GPU)
Goal:     at least 90 % of the model's own throughput.
Outcome:  results/tables/evaluate_speed.md. On an H200, 2026-11-27 (evaluate_speed_*_cuda.md): 96 % in float32, 93 % in
          tf32, 88 % in bfloat16 (97, 79 and 73 % before the loop fed the device).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _checkout  # noqa: F401  (the package of this checkout)
import numpy as np
import torch

from gfnet_bench.datasets.images import Rows
from gfnet_bench.datasets.pixel_file import PixelFile
from gfnet_bench.evaluation import evaluate, precision
from gfnet_bench.models import load_model


def seconds(function: Callable[[], object], device: torch.device) -> float:
    """Wall time of one call, the device's queue included."""
    start = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def main() -> None:
    """Time both in turns and write the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="gfnet_mini")
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=Path("results/tables/evaluate_speed.md"))
    args = parser.parse_args()
    device = torch.device(args.device)
    model = load_model(args.model, device=device, pretrained=False)
    height, width = model.transform.height, model.transform.width
    resident = torch.rand(args.batch_size, 3, height, width, device=device)
    labels, ids = np.zeros(args.images, dtype=np.int64), [str(i) for i in range(args.images)]

    with tempfile.TemporaryDirectory() as folder:
        file = PixelFile.create(Path(folder), (args.images, height, width, 3))
        image = np.random.default_rng(0).integers(0, 256, file.shape[1:], dtype=np.uint8)
        for row in range(args.images):
            file.write(row, image, origin=0)
        pixels: Any = Rows(file, np.arange(args.images))

        def alone() -> None:
            with precision(args.dtype, device) as scoring, torch.no_grad(), scoring():
                for _ in range(args.images // args.batch_size):
                    model(resident)

        def whole() -> None:
            how = {"batch_size": args.batch_size, "device": device, "dtype": args.dtype}
            evaluate(model, pixels, labels, ids, classes=None, **how)

        times: list[tuple[float, float]] = []
        for _ in range(args.rounds + 1):
            times.append((seconds(alone, device), seconds(whole, device)))
    times = times[1:]  # the first round warms up
    share = statistics.median(a / w for a, w in times)
    name = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device}, {torch.get_num_threads()} threads"
    )
    count = args.images // args.batch_size * args.batch_size
    args.output.write_text(
        "# Evaluation against the model alone\n\n"
        f"`python experiments/evaluate_speed.py`, torch {torch.__version__}, {args.dtype}, batch {args.batch_size}, "
        f"{args.images} images in a file, {args.rounds} rounds in turns. The goal is 90 %.\n\n"
        "| device | model | model alone, images/s | evaluation, images/s | share, median of rounds |\n"
        "| --- | --- | --- | --- | --- |\n"
        f"| {name} | {args.model} | {count / min(a for a, _ in times):.0f} | "
        f"{args.images / min(w for _, w in times):.0f} | {share:.1%} |\n"
    )
    print(args.output.read_text())


if __name__ == "__main__":
    main()
