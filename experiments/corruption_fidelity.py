"""Does a real network lose the same accuracy under our corruptions as under those of imagecorruptions?

Run:      python experiments/corruption_fidelity.py     (about 10 minutes on two cores; --limit 8 for a minute)
          --corruption shot_noise --limit 500           (a second look at one: seconds to minutes)
Data:     `photos`, `photos.csv` and the weights of ViT-Ti in the folder that GFNET_BENCH_TEST_DATA names.
Outcome:  2026-11-22, results/tables/corruption_fidelity.md: mean over the 75 cells of mCE 48.97 % against 49.15 %. One
          of 95 intervals misses zero (shot_noise 2); on all 500 photographs it does not: 68.2 % against 68.4 %.

Both corrupt the same photographs, cut as the network wants them, with random numbers of their own. In each of the 95
cells the two accuracies are compared in pairs. Of 95 true differences of zero, about five 95 % intervals miss the
zero by chance; fewer do here, because many cells have the same bytes and the interval is a cautious one.
"""

from __future__ import annotations

import argparse
import csv
import os
from pathlib import Path
from typing import NamedTuple

import _checkout  # noqa: F401  (the package of this checkout)
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from gfnet_bench.catalog import CORRUPTIONS, MCE_NAMES, SEVERITIES, Transform
from gfnet_bench.corruptions import corrupt
from gfnet_bench.corruptions.reference import corrupt_reference
from gfnet_bench.datasets.decode import read_image
from gfnet_bench.metrics import Paired, compare
from gfnet_bench.models import Asked, Model, load_model
from gfnet_bench.processes import pool
from gfnet_bench.randomness import image_seeds

NETWORK, WEIGHTS = "vit_tiny_patch16_224", "weights/vit_tiny_patch16_224.safetensors"
PUBLISHED = Transform("imagenet_c", 224, 224, 256, "bilinear")  # the cut of ImageNet-C
PUBLISHED_SEVERITY = 3  # of recipe imagenet_c, which is shown for information
RESULT = Path(__file__).parents[1] / "results" / "tables" / "corruption_fidelity.md"
SHARE = 5  # photographs a process takes at a time

Cell = tuple[str, int]
CELLS = [(name, severity) for name in CORRUPTIONS for severity in SEVERITIES]


class Photo(NamedTuple):
    """A file and its class index."""

    file: Path
    label: int


class Outcomes(NamedTuple):
    """(n,) whether each photograph was classified correctly; by cell where it was corrupted."""

    clean: NDArray[np.bool_]
    ours: dict[Cell, NDArray[np.bool_]]
    theirs: dict[Cell, NDArray[np.bool_]]
    published: dict[Cell, NDArray[np.bool_]]


_model: Model
_cells: list[Cell]


def prepare(data: Path, cells: list[Cell]) -> None:
    """Load the network, once a process."""
    global _model, _cells
    _cells = cells
    torch.set_num_threads(1)
    _model = load_model(NETWORK, Asked(checkpoint=data / WEIGHTS), transform="model")


def outcomes(photos: list[Photo]) -> Outcomes:
    """Every cell of some photographs."""
    labels = torch.tensor([photo.label for photo in photos])
    seeds = image_seeds([photo.file.name for photo in photos], 0)
    images, cut = (
        torch.from_numpy(np.stack([read_image(photo.file, transform) for photo in photos])).permute(0, 3, 1, 2)
        for transform in (_model.transform, PUBLISHED)
    )

    def correct(pixels: Tensor) -> NDArray[np.bool_]:
        with torch.inference_mode():
            return (_model(pixels.float() / 255).argmax(1) == labels).numpy()

    found = Outcomes(correct(images), {}, {}, {})
    for name, severity in _cells:
        ours = corrupt(images, name, severity, recipe="imagecorruptions", seeds=seeds)
        arrays = corrupt_reference(images.permute(0, 2, 3, 1).numpy(), name, severity, seeds.tolist())
        theirs = torch.from_numpy(arrays).permute(0, 3, 1, 2)
        found.ours[name, severity] = correct(ours)
        same = torch.equal(ours, theirs)  # what is the same needs no second look
        found.theirs[name, severity] = found.ours[name, severity] if same else correct(theirs)
        if severity == PUBLISHED_SEVERITY:
            found.published[name, severity] = correct(corrupt(cut, name, severity, seeds=seeds))
    return found


def gather(parts: list[Outcomes]) -> Outcomes:
    """All photographs together."""

    def joined(dicts: list[dict[Cell, NDArray[np.bool_]]]) -> dict[Cell, NDArray[np.bool_]]:
        return {cell: np.concatenate([d[cell] for d in dicts]) for cell in dicts[0]}

    clean = np.concatenate([part.clean for part in parts])
    return Outcomes(
        clean, joined([p.ours for p in parts]), joined([p.theirs for p in parts]), joined([p.published for p in parts])
    )


def table(found: Outcomes) -> str:
    """The result as Markdown."""
    paired: dict[Cell, Paired] = {cell: compare(found.ours[cell], found.theirs[cell]) for cell in found.ours}
    outside = [f"{name} {s}" for (name, s), p in paired.items() if not p.interval.low <= 0 <= p.interval.high]
    common = [cell for cell in found.ours if cell[0] in MCE_NAMES] or list(found.ours)
    ours, theirs = (np.mean([side[cell].mean() for cell in common]) for side in (found.ours, found.theirs))
    rows = []
    for (name, severity), p in paired.items():
        cell = name, severity
        published = f"{100 * found.published[cell].mean():.1f}" if cell in found.published else ""
        rows.append(
            f"| {name} | {severity} | {100 * found.ours[cell].mean():.1f} | {100 * found.theirs[cell].mean():.1f} "
            f"| {100 * p.difference:+.1f} | {100 * p.interval.low:+.1f} to {100 * p.interval.high:+.1f} "
            f"| {p.only_first} / {p.only_second} | {published} |"
        )
    return "\n".join(
        [
            "# Accuracy under our corruptions and under those of imagecorruptions",
            "",
            f"`python experiments/corruption_fidelity.py`: ViT-Ti/16 on {len(found.clean)} photographs, top-1 in "
            f"percent; clean {100 * found.clean.mean():.1f}. Recipe imagecorruptions on both sides, random numbers of",
            "their own; 95 % intervals of the difference on the same photographs. The last column is recipe "
            f"imagenet_c at severity {PUBLISHED_SEVERITY}, other pixels by design (its cut, its constants, its JPEG).",
            "",
            f"Mean over the {len(common)} cells of mCE: {100 * ours:.2f} against {100 * theirs:.2f}. Intervals without "
            f"zero: {len(outside)} of {len(paired)} (about {0.05 * len(paired):.0f} would be chance)"
            f"{': ' + ', '.join(outside) if outside else ''}.",
            "",
            "| corruption | severity | ours | imagecorruptions | difference | 95 % interval "
            "| right only with ours / theirs | imagenet_c |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def main() -> None:
    """Measure, print and keep the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--limit", type=int, default=80, help="photographs (default: 80 of 500)")
    parser.add_argument("--corruption", nargs="+", choices=list(CORRUPTIONS), help="these alone; prints only")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    if "GFNET_BENCH_TEST_DATA" not in os.environ:
        parser.error("GFNET_BENCH_TEST_DATA must name the folder of photographs and weights")
    data = Path(os.environ["GFNET_BENCH_TEST_DATA"])
    with (data / "photos.csv").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["file"])[: arguments.limit]
    photos = [Photo(data / "photos" / row["file"], int(row["imagenet_class"])) for row in rows]
    shares = [photos[i : i + SHARE] for i in range(0, len(photos), SHARE)]
    cells = [cell for cell in CELLS if cell[0] in (arguments.corruption or CORRUPTIONS)]
    with pool(arguments.workers, prepare, data, cells) as workers:
        parts = list(tqdm(workers.map(outcomes, shares), total=len(shares), unit=f" x {SHARE} photographs"))
    text = table(gather(parts))
    print(text, end="")
    if arguments.corruption is None:
        RESULT.write_text(text)


if __name__ == "__main__":
    main()
