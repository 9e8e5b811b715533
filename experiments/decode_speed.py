"""Does a decoder faster than Pillow show models the same pixels?

Run:      python experiments/decode_speed.py [FOLDER]      (about two minutes on one core)
Data:     a folder of JPEGs, by default `photos` in GFNET_BENCH_TEST_DATA, else generated ones. Each is also taken at
          500 x 375, quality 92, 4:2:0, the size and coding that is usual in ImageNet.
Outcome:  results/tables/decode_speed.md. Between two and three times Pillow's speed at that size (bicubic, shorter
          side 256, crop 224, all one core), at most 2 grey levels apart: yes.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import _checkout  # noqa: F401  (the package of this checkout)
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from gfnet_bench.catalog import Transform
from gfnet_bench.datasets.decode import decode, resize_and_crop
from gfnet_bench.datasets.prepared import versions

FILTERS = ("bicubic", "bilinear")
Pixels = NDArray[np.uint8]


class Timing(NamedTuple):
    """Milliseconds per image: mean over images of the best, and of the median, of the repetitions."""

    best: float
    median: float


def ours(data: bytes, transform: Transform) -> Pixels:
    """What gfnet-bench does with a file."""
    return resize_and_crop(decode(data), transform)


def pillow(data: bytes, transform: Transform) -> Pixels:
    """What torchvision's Resize and CenterCrop do with a Pillow image."""
    assert isinstance(transform.resize, int)
    image = Image.open(io.BytesIO(data)).convert("RGB")
    side, (width, height) = transform.resize, image.size
    size = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
    image = image.resize(size, Image.Resampling[transform.interpolation.upper()])
    left, top = round((image.width - transform.width) / 2), round((image.height - transform.height) / 2)
    return np.array(image.crop((left, top, left + transform.width, top + transform.height)))


def generated(count: int) -> list[bytes]:
    """Noise of all scales, which is as hard to code as a photograph."""
    rng = np.random.default_rng(0)
    images = []
    for _ in range(count):
        layers = [
            Image.fromarray(rng.integers(0, 256, (375 >> k, 500 >> k, 3), dtype=np.uint8)).resize((500, 375), 2)
            for k in range(1, 7)
        ]
        images.append(_jpeg(Image.fromarray(np.mean([np.asarray(layer) for layer in layers], axis=0).astype(np.uint8))))
    return images


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=92)
    return file.getvalue()


def measure(images: Sequence[bytes], transform: Transform, repeats: int) -> list[Timing]:
    """Both loaders on each image in turn, so that a busy minute of the machine meets both."""
    loaders: list[Callable[[bytes, Transform], Pixels]] = [pillow, ours]
    times: list[list[list[float]]] = [[[] for _ in images] for _ in loaders]
    for _ in range(repeats):
        for number, data in enumerate(images):
            for loader, taken in zip(loaders, times, strict=True):
                start = time.perf_counter()
                loader(data, transform)
                taken[number].append(1000 * (time.perf_counter() - start))
    return [Timing(statistics.mean(map(min, taken)), statistics.mean(map(statistics.median, taken))) for taken in times]


def difference(images: Sequence[bytes], transform: Transform) -> tuple[int, float]:
    """The greatest and the mean distance between the two loaders, in grey levels."""
    gaps = [np.abs(ours(data, transform).astype(int) - pillow(data, transform)) for data in images]
    return max(int(gap.max()) for gap in gaps), float(np.mean([gap.mean() for gap in gaps]))


def row(name: str, images: Sequence[bytes], interpolation: str, repeats: int) -> str:
    """One line of the table."""
    transform = Transform("paper", 224, 224, 256, interpolation)
    theirs, own = measure(images, transform, repeats)
    greatest, mean = difference(images, transform)
    return (
        f"| {name} | {len(images)} | {interpolation} | {theirs.best:.2f} / {theirs.median:.2f} "
        f"| {own.best:.2f} / {own.median:.2f} | {theirs.best / own.best:.2f} / {theirs.median / own.median:.2f} "
        f"| {greatest} | {mean:.4f} |"
    )


def main() -> None:
    """Measure, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("GFNET_BENCH_TEST_DATA")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(data, "photos") if data else None)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--output", type=Path, default=Path("results/tables/decode_speed.md"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if args.folder is None:
        sets = {"generated, 500 x 375": generated(args.images)}
    else:
        files = [path.read_bytes() for path in sorted(args.folder.iterdir())[: args.images]]
        resized = [_jpeg(Image.open(io.BytesIO(file)).convert("RGB").resize((500, 375), 3)) for file in files]
        sets = {"photographs, 500 x 375": resized, "photographs, as they are": files}
    used = ", ".join(f"{name} {version}" for name, version in versions().items())
    lines = [
        "# Decode, resize, crop: gfnet-bench against Pillow, one core",
        "",
        f"`python experiments/decode_speed.py` with {used}.",
        f"Milliseconds per image, best / median of {args.repeats} interleaved repetitions; on a shared machine the",
        "ratio of the best is the sturdier one. Differences in grey levels.",
        "",
        "| images | number | filter | Pillow, ms | ours, ms | ratio | greatest difference | mean difference |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(row(name, images, f, args.repeats) for name, images in sets.items() for f in FILTERS),
    ]
    table = "\n".join(lines) + "\n"
    print(table, end="")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(table)


if __name__ == "__main__":
    main()
