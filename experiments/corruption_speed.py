"""How much faster than other packages are our corruptions, on one core and on a GPU?

Run:      python experiments/corruption_speed.py                     (about 10 minutes on one core)
          python experiments/corruption_speed.py --imaug FOLDER      (against the living fork as well: 12 minutes)
          python experiments/corruption_speed.py --device cuda       (about 5 minutes, one GPU and 16 processes)
          --quick takes one image and one round, and prints the table without keeping it.
Data:     photographs in the folder that GFNET_BENCH_TEST_DATA names, else generated ones; 224 x 224 pixels. The fork
          has the import name of the package it is a fork of, so it needs a folder of its own:
          pip install --no-deps --target FOLDER imagecorruptions-imaug==1.1.5 numba llvmlite
Goals:    one core: no corruption slower than in the fastest package that makes it; glass_blur 30 times, zoom_blur 8
          times, the 15 of mCE together 9 times imagecorruptions.
          GPU: the 15 together 100 times against 16 processes, at most 15 % of GFNet-S's own time (bfloat16); JPEG 20
          times Pillow on one core.
Outcome:  2026-11-26, results/tables/corruption_speed.md, 6 images on a busy machine: the 15 of mCE 25 times
          imagecorruptions (88 in glass_blur; 6.1 without it) and 5.2 times its living fork (6.2 without glass_blur).
          Slower than the fork in pixelate (0.87), defocus_blur (0.93) and jpeg_compression (0.95).
          CUDA: an H200, 2026-11-27, results/tables/corruption_speed_cuda.md: the 15 of mCE 443 times 16 processes, JPEG
          628 times Pillow. 14.0 % of GFNet-S's time, 15.5 % with the JPEG of imagenet_c, but of batches of 128, eager,
          which the launches of a slow core hold up; of what evaluation lets it do (60 us an image), 24 and 27 %. fog,
          glass_blur and snow take 42 % of what the 15 take.

All sides take turns, severity by severity, so that a busy minute meets all of them. On a CPU processor time is counted,
which other jobs disturb less, on a GPU time on the clock. Reading, cutting and writing files is not part of it.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

import _checkout  # noqa: F401  (the package of this checkout)
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gfnet_bench.catalog import CORRUPTIONS, MCE_NAMES, SEVERITIES, Transform
from gfnet_bench.corruptions import corrupt
from gfnet_bench.corruptions.jpeg_compression import jpeg
from gfnet_bench.corruptions.reference import VERSION, corrupt_reference
from gfnet_bench.datasets.decode import read_image
from gfnet_bench.models import load_model
from gfnet_bench.processes import pool
from gfnet_bench.randomness import image_seeds

TABLES = Path(__file__).parents[1] / "results" / "tables"
CUT = Transform("imagenet_c", 224, 224, 256, "bilinear")
PROCESSES = 16
GROUPS = {"the 15 of mCE": MCE_NAMES, "all 19": tuple(CORRUPTIONS)}
GLASS = "glass_blur"  # slow enough in imagecorruptions to hide all the others in a sum
LABELS = {"ours": "recipe imagecorruptions", "published": "recipe imagenet_c", "compiled": "recipe imagenet_c compiled"}

Pixels = NDArray[np.uint8]
Times = dict[str, list[list[float]]]  # corruption -> severity -> round -> milliseconds per image


def images(count: int) -> Pixels:
    """(count, 224, 224, 3) photographs, or clouds of all scales where there are none."""
    data = os.environ.get("GFNET_BENCH_TEST_DATA")
    if data:
        files = sorted(Path(data, "photos").iterdir())
        return np.stack([read_image(files[i % len(files)], CUT) for i in range(count)])
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        grids = [rng.integers(0, 256, (2 << k, 2 << k, 3), dtype=np.uint8) for k in range(6)]
        layers = [np.asarray(Image.fromarray(grid).resize((224, 224), 2), dtype=float) for grid in grids]
        made.append(np.average(layers, axis=0, weights=[2.0**-k for k in range(6)]).astype(np.uint8))
    return np.stack(made)


def milliseconds(call: Callable[[], object], count: int, device: str) -> float:
    """Per image, of one call on `count` of them."""
    if device == "cpu":
        start = time.process_time()
        call()
        return 1000 * (time.process_time() - start) / count
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start) / count


def total(times: Times, names: Sequence[str]) -> list[float]:
    """Round -> milliseconds per image for all severities of these corruptions."""
    return [sum(parts) for parts in zip(*(rounds for name in names for rounds in times[name]), strict=True)]


def ratio(first: Sequence[float], second: Sequence[float]) -> float:
    """Of two times, the median over the rounds."""
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


def ratio_and_spread(first: Sequence[float], second: Sequence[float]) -> str:
    """The median over the rounds, and the least and the greatest."""
    each = [a / b for a, b in zip(first, second, strict=True)]
    return f"{ratio(first, second):.2f} ({min(each):.2f} to {max(each):.2f})"


def mean(times: Times, name: str) -> float:
    """Milliseconds per image, best round, mean over the severities."""
    return statistics.mean(min(rounds) for rounds in times[name])


def bold(name: str, *cells: str) -> str:
    """A row of a sum."""
    return "| " + " | ".join(f"**{cell}**" if cell else "" for cell in (name, *cells)) + " |"


def one_thread() -> None:
    """For this process, which has a core to itself."""
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def living_fork(folder: Path) -> tuple[str, Callable[[Pixels, str, int], object]]:
    """imagecorruptions-imaug as it is, and its name with the version."""
    (installed,) = metadata.distributions(name="imagecorruptions-imaug", path=[str(folder)])
    sys.path.insert(0, str(folder))  # before the package it is a fork of, which is loaded from its file
    from imagecorruptions import corrupt as corrupt_one

    return f"imagecorruptions-imaug {installed.version}", lambda pixels, name, severity: [
        corrupt_one(image, severity, name) for image in pixels
    ]


def on_one_core(pixels: Pixels, rounds: int, imaug: Path | None) -> list[str]:
    """Ours against other packages, all pinned to one core with one thread."""
    import cv2

    one_thread()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    seeds = image_seeds([str(i) for i in range(len(pixels))])
    others: dict[str, Callable[[Pixels, str, int], object]] = {
        f"imagecorruptions {VERSION}": partial(corrupt_reference, seeds=seeds.tolist())
    }
    if imaug:
        title, corrupt_them = living_fork(imaug)
        others[title] = corrupt_them
    ways: dict[str, Callable[[str, int], object]] = {
        **{title: partial(other, pixels) for title, other in others.items()},
        "ours": lambda name, severity: corrupt(batch, name, severity, recipe="imagecorruptions", seeds=seeds),
        "published": lambda name, severity: corrupt(batch, name, severity, recipe="imagenet_c", seeds=seeds),
    }
    times: dict[str, Times] = {way: {name: [[] for _ in SEVERITIES] for name in CORRUPTIONS} for way in ways}
    for name in CORRUPTIONS:
        for severity in SEVERITIES:
            for way in ways.values():
                way(name, severity)  # tables, textures and compiled code are made once
            for _ in range(rounds):
                for key, run in ways.items():
                    taken = milliseconds(partial(run, name, severity), len(pixels), "cpu")
                    times[key][name][severity - 1].append(taken)

    def columns(names: Sequence[str], per: int) -> list[str]:
        ours = total(times["ours"], names)
        cells = [f"{statistics.median(ours) / per:.2f}"]
        for title in others:
            theirs = total(times[title], names)
            cells += [f"{statistics.median(theirs) / per:.2f}", ratio_and_spread(theirs, ours)]
        return [*cells, f"{statistics.median(total(times['published'], names)) / per:.2f}"]

    lines = [f"| {name} | {' | '.join(columns([name], len(SEVERITIES)))} |" for name in CORRUPTIONS]
    for title, names in GROUPS.items():
        lines.append(bold(f"{title}, 5 severities", *columns(names, 1)))
        rest = [name for name in names if name != GLASS]
        lines.append(bold(f"{title} without {GLASS}", *columns(rest, 1)))
    heads = ["corruption", "ours, ms", *(f"{title}, ms | ratio to ours" for title in others), "imagenet_c, ms"]
    return [
        f"# Corruptions on one core: gfnet-bench against other packages, {len(pixels)} images of 224 x 224",
        "",
        f"`python experiments/corruption_speed.py{' --imaug FOLDER' if imaug else ''}` with torch {torch.__version__}, "
        f"opencv {cv2.__version__}, numpy {np.__version__}, Pillow {metadata.version('pillow')}.",
        f"Milliseconds of processor time per image, median of {rounds} rounds in turns: the mean over the severities, "
        "in the last rows the sum over them.",
        "Ratios are theirs / ours, ours by recipe imagecorruptions: the median of the rounds (the least to the "
        "greatest). The last column is recipe imagenet_c, its JPEG included.",
        "The others are called image by image, as they are made to be; imagecorruptions is spared reading the textures "
        "of frost anew each time.",
        "",
        f"| {' | '.join(heads)} |",
        f"|{' --- |' * (3 + 2 * len(others))}",
        *lines,
    ]


def reference_of(name: str, severities: Sequence[int], pixels: Pixels) -> None:
    """What one process does at a time."""
    for severity in severities:
        corrupt_reference(pixels, name, severity, range(len(pixels)))


def on_a_gpu(pixels: Pixels, rounds: int, device: str, compiled: bool, share: int) -> list[str]:
    """A resident batch against imagecorruptions in 16 processes of the same machine, then against GFNet-S."""
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(device)
    seeds = image_seeds([str(i) for i in range(len(pixels))]).to(device)
    ways = ["ours", "published", *(["compiled"] if compiled else [])]
    times: dict[str, Times] = {
        way: {name: [[] for _ in SEVERITIES] for name in CORRUPTIONS} for way in (*ways, "theirs")
    }
    with pool(PROCESSES, one_thread) as processes:
        chunk = pixels[:share]
        list(processes.map(reference_of, ["fog"] * PROCESSES, [[1]] * PROCESSES, [chunk] * PROCESSES))  # they start
        for name in CORRUPTIONS:
            for way in ways:
                for severity in SEVERITIES:
                    run = _way(way, batch, name, severity, seeds)
                    for _ in range(3):
                        run()
                    for _ in range(rounds):
                        times[way][name][severity - 1].append(milliseconds(run, len(batch), device))
            for severity in SEVERITIES:
                for _ in range(rounds):
                    start = time.perf_counter()
                    jobs = [processes.submit(reference_of, name, [severity], chunk) for _ in range(PROCESSES)]
                    for job in jobs:
                        job.result()
                    taken = 1000 * (time.perf_counter() - start) / (PROCESSES * len(chunk))
                    times["theirs"][name][severity - 1].append(taken)
    forward = _forward(device, len(pixels), rounds)
    theirs, ours = times["theirs"], times["ours"]
    extra = [" compiled, us |" if compiled else "", " --- |" if compiled else ""]
    lines = []
    for name in CORRUPTIONS:
        columns = [f"{1000 * mean(times[way], name):.1f}" for way in ways]
        lines.append(
            f"| {name} | {1000 * mean(theirs, name):.0f} | {columns[0]} "
            f"| {ratio(total(theirs, [name]), total(ours, [name])):.0f} | {' | '.join(columns[1:])} |"
        )
    sums = []
    for title, names in GROUPS.items():
        best = {way: min(total(times[way], names)) for way in times}
        columns = [f"{1000 * best[way]:.0f}" for way in ways[1:]]
        cells = (f"{1000 * best['theirs']:.0f}", f"{1000 * best['ours']:.0f}")
        lines.append(
            bold(f"{title}, 5 severities", *cells, f"{ratio(total(theirs, names), total(ours, names)):.0f}", *columns)
        )
        shares = ", ".join(
            f"{LABELS[way]} {100 * best[way] / (len(names) * len(SEVERITIES) * forward):.1f} %" for way in ways
        )
        sums.append(f"- Time to corrupt as a share of GFNet-S's forward pass, {title}: {shares}.")
    ours_jpeg, pillow = _jpeg(batch, pixels, rounds, device)
    return [
        f"# Corruptions on {torch.cuda.get_device_name(device)}: gfnet-bench against imagecorruptions",
        "",
        f"`python experiments/corruption_speed.py --device {device}` with torch {torch.__version__}; {len(pixels)} "
        "images of 224 x 224 on the device,",
        f"imagecorruptions in {PROCESSES} processes on {os.cpu_count()} cores of the same machine, {len(chunk)} images "
        f"each. Best of {rounds} rounds, ratios: median of rounds.",
        "Microseconds per image and severity (the last rows: sums over all severities).",
        "",
        f"| corruption | imagecorruptions, us | ours, us | ratio | imagenet_c, us |{extra[0]}",
        f"| --- | --- | --- | --- | --- |{extra[1]}",
        *lines,
        "",
        f"- GFNet-S forward, bfloat16 autocast, eager, the same batch: {1000 * forward:.1f} us per image.",
        *sums,
        f"- JPEG at quality 10: {1000 * ours_jpeg:.1f} us per image, Pillow on one core {1000 * pillow:.0f} us, ratio "
        f"{pillow / ours_jpeg:.0f}.",
    ]


def _way(way: str, batch: Tensor, name: str, severity: int, seeds: Tensor) -> Callable[[], Tensor]:
    """One call; `compiled` is recipe imagenet_c through torch.compile, for which each one is a program of its own."""
    recipe = "imagecorruptions" if way == "ours" else "imagenet_c"
    run = partial(corrupt, batch, name, severity, recipe=recipe, seeds=seeds)
    if way != "compiled":
        return run
    torch.compiler.reset()
    torch._dynamo.config.trace_numpy = False  # NumPy makes tables, to the last bit: nothing to compile
    return torch.compile(lambda: corrupt(batch, name, severity, recipe=recipe, seeds=seeds), dynamic=False)


def _forward(device: str, count: int, rounds: int) -> float:
    """Milliseconds per image of GFNet-S."""
    model = load_model("gfnet_s", device=device, pretrained=False)
    shown = torch.rand(count, 3, 224, 224, device=device)
    with torch.inference_mode(), torch.autocast(torch.device(device).type, torch.bfloat16):
        for _ in range(3):
            model(shown)
        return min(milliseconds(lambda: model(shown), count, device) for _ in range(rounds))


def _jpeg(batch: Tensor, pixels: Pixels, rounds: int, device: str) -> tuple[float, float]:
    """Milliseconds per image of the JPEG round trip: ours on the device, Pillow's on one core."""
    few = pixels[:32]

    def pillow() -> None:
        for image in few:
            file = io.BytesIO()
            Image.fromarray(image).save(file, "JPEG", quality=10)
            np.asarray(Image.open(file))

    jpeg(batch, 10)
    ours = min(milliseconds(lambda: jpeg(batch, 10), len(batch), device) for _ in range(rounds))
    return ours, min(milliseconds(pillow, len(few), "cpu") for _ in range(rounds))


def main() -> None:
    """Measure, print and keep the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, help="default: 20 on a CPU, 256 on a GPU")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--imaug", type=Path, metavar="FOLDER", help="where imagecorruptions-imaug is installed")
    parser.add_argument("--compile", action="store_true", help="also through torch.compile, on a GPU")
    parser.add_argument("--output", type=Path, help="default: results/tables/corruption_speed[_cuda].md")
    parser.add_argument("--quick", action="store_true", help="one image, one round; prints only")
    arguments = parser.parse_args()
    on_cpu = arguments.device == "cpu"
    count = 1 if arguments.quick else arguments.images or (20 if on_cpu else 256)
    rounds = 1 if arguments.quick else arguments.rounds
    if on_cpu:
        lines = on_one_core(images(count), rounds, arguments.imaug)
    else:
        share = 1 if arguments.quick else 4
        lines = on_a_gpu(images(count), rounds, arguments.device, arguments.compile, share)
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if not arguments.quick:
        (arguments.output or TABLES / f"corruption_speed{'' if on_cpu else '_cuda'}.md").write_text(text)


if __name__ == "__main__":
    main()
