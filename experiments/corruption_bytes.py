"""How many bytes of our corruptions are those of imagecorruptions, with the same random numbers?

Run:      python experiments/corruption_bytes.py     (about 20 minutes on two cores; --limit 1 for two)
Data:     photographs in the folder that GFNET_BENCH_TEST_DATA names.
Outcome:  2026-11-26, results/tables/corruption_bytes.md: none is further than one level. 12 of 18 are the same in every
          byte; frost, defocus, zoom and motion blur and elastic transform in 99.99 % of all and 99.90 % of every single
          picture; snow in 99.99 % of colour, 99.90 % of grey, 98.75 % of the grey picture where it is least.
          With the code that OpenCV, torch and NumPy have for old processors (OPENCV_IPP=disabled ...): frost 97.7 %,
          95.9 % where it is least; snow 99.99 % in grey too; the same 12, and defocus blur, in every byte.

Photographs in colour and in grey (repeated in three channels), at small, odd and large sizes, all severities. The
shares are of one machine: OpenCV, which imagecorruptions calls, rounds by the code it has for the processor.
`tests/test_corruptions*.py` holds what is claimed on every machine.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import _checkout  # noqa: F401  (the package of this checkout)
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from gfnet_bench.catalog import CORRUPTIONS, SEVERITIES
from gfnet_bench.corruptions.base import apply
from gfnet_bench.corruptions.reference import NumpyDraws, corrupt_reference
from gfnet_bench.datasets.decode import decode
from gfnet_bench.processes import pool

RESULT = Path(__file__).parents[1] / "results" / "tables" / "corruption_bytes.md"
SIZES = ((32, 32), (33, 47), (64, 64), (96, 130), (224, 224), (299, 299), (384, 512))  # height and width
NAMES = [name for name in CORRUPTIONS if name != "impulse_noise"]  # whose generator takes no numbers from outside
COLOURS = ("colour", "grey")


class Picture(NamedTuple):
    """One photograph, corrupted.

    Attributes:
        colour: one of `COLOURS`.
        size: height and width in pixels.
        severity: 1 to 5.
        same: the share of its bytes that is identical.
        furthest: levels between the two bytes that are furthest apart.
    """

    colour: str
    size: tuple[int, int]
    severity: int
    same: float
    furthest: int


def pictures(file: Path) -> dict[tuple[str, tuple[int, int]], NDArray[np.uint8]]:
    """A photograph in colour and in grey at every size: (h, w, 3)."""
    image = Image.fromarray(decode(file.read_bytes()))
    versions = {"colour": image, "grey": image.convert("L").convert("RGB")}
    return {
        (colour, size): np.asarray(version.resize(size[::-1], Image.Resampling.BICUBIC))
        for colour, version in versions.items()
        for size in SIZES
    }


def compare(name: str, file: Path) -> list[Picture]:
    """One corruption of one photograph, by us and by them."""
    torch.set_num_threads(1)
    found = []
    for (colour, size), image in pictures(file).items():
        tensor = torch.from_numpy(image[None].copy()).permute(0, 3, 1, 2)
        for severity in SEVERITIES:
            (theirs,) = corrupt_reference(image[None], name, severity, [severity])
            (ours,) = apply(tensor, name, severity, recipe="imagecorruptions", draws=NumpyDraws([severity]))
            apart = np.abs(ours.permute(1, 2, 0).numpy().astype(int) - theirs)
            found.append(Picture(colour, size, severity, float((apart == 0).mean()), int(apart.max())))
    return found


def row(name: str, found: list[Picture]) -> str:
    """The line of one corruption: the share that is identical in all bytes, and in the picture where it is least."""
    cells = []
    for colour in COLOURS:
        of_colour = [picture for picture in found if picture.colour == colour]
        least = min(of_colour, key=lambda picture: picture.same)
        sizes = [picture.size[0] * picture.size[1] for picture in of_colour]
        where = "" if least.same == 1 else f" ({least.size[0]} x {least.size[1]}, severity {least.severity})"
        mean = float(np.average([picture.same for picture in of_colour], weights=sizes))
        cells += [percent(mean), percent(least.same) + where]
    return f"| {name} | {' | '.join(cells)} | {max(picture.furthest for picture in found)} |"


def percent(part: float) -> str:
    """A share near 1, rounded down so that only all is 100 %."""
    return "100 %" if part > 1 - 1e-12 else f"{np.floor(part * 1e6) / 1e4:.4f} %"


def main() -> None:
    """Count, print and keep the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--limit", type=int, default=10, help="photographs (default: 10)")
    parser.add_argument("--corruption", nargs="+", choices=NAMES, default=NAMES, help="these alone; prints only")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    if "GFNET_BENCH_TEST_DATA" not in os.environ:
        parser.error("GFNET_BENCH_TEST_DATA must name the folder of photographs")
    files = sorted(Path(os.environ["GFNET_BENCH_TEST_DATA"], "photos").iterdir())[: arguments.limit]
    with pool(arguments.workers) as workers:
        jobs = [workers.map(partial(compare, name), files) for name in arguments.corruption]
        rows = [row(name, [*chain(*found)]) for name, found in zip(arguments.corruption, tqdm(jobs), strict=True)]
    sizes = ", ".join(f"{h} x {w}" for h, w in SIZES)
    text = "\n".join(
        [
            "# Bytes of our corruptions that are those of imagecorruptions, with the same random numbers",
            "",
            f"`python experiments/corruption_bytes.py`: {len(files)} photographs in colour and in grey, at {sizes}, "
            "five severities each.",
            "Shares are rounded down; the least is that of one picture.",
            "",
            "| corruption | colour | least | grey | least | furthest apart, levels |",
            "| --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )
    print(text, end="")
    if arguments.corruption == NAMES:
        RESULT.write_text(text)


if __name__ == "__main__":
    main()
