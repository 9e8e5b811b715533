"""The embedded suite, a sample of Fashion-MNIST in the package: small enough for a CPU, and not ImageNet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gfnet_bench.datasets.base import DATASETS, Corruption, DatasetSpec, Found
from gfnet_bench.datasets.layouts import sorted_items
from gfnet_bench.mini import images_path

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_HELP = "It is part of gfnet-bench."

PADDING = 2  # 28 pixels become 32, of which the patch sizes are divisors


class Sample(NamedTuple):
    """The packaged file: its images by id, and the ids and labels of each subset."""

    images: dict[str, NDArray[np.uint8]]
    members: dict[str, list[tuple[str, int]]]


@cache
def sample() -> Sample:
    """Read the packaged file; ids are positions in Fashion-MNIST's test set."""
    import numpy as np

    with np.load(images_path()) as file:
        ids = [f"fashion-mnist/test/{index:05d}" for index in file["index"].tolist()]
        images = dict(zip(ids, file["images"], strict=True))
        members: dict[str, list[tuple[str, int]]] = {}
        for image, label, subset in zip(ids, file["labels"].tolist(), file["subset"].tolist(), strict=True):
            members.setdefault(subset, []).append((image, label))
    return Sample(images, members)


def read(spec: DatasetSpec, data_dirs: Sequence[Path], corruption: Corruption | None) -> Found:
    """List the images of a subset; the file they are all in stands for their paths."""
    path = images_path()
    rows = [(image, label, path) for image, label in sample().members[spec.name]]
    return Found(path.parent, "part of the package", sorted_items(spec.name, rows), pixels)


def pixels(ids: Sequence[str]) -> NDArray[np.uint8]:
    """The images as 32 pixel RGB: (n, 32, 32, 3), black around, grey in all three channels."""
    import numpy as np

    grey = np.stack([sample().images[image] for image in ids])
    padded = np.pad(grey, ((0, 0), (PADDING, PADDING), (PADDING, PADDING)))
    return np.repeat(padded[..., None], 3, axis=3)


for _name, _short, _place, _what, _images in (
    ("mini", "", 0, "Fashion-MNIST mini", 1000),
    ("mini_v2", "mini-V2", 3, "Fashion-MNIST mini, a second sample", 700),
    ("mini_a", "mini-A", 2, "Fashion-MNIST mini, filtered by another network's errors", 300),
):
    DATASETS.add(
        _name,
        DatasetSpec(
            name=_name,
            title=f"{_what} (not ImageNet)",
            images=_images,
            short=_short,
            place=_place,
            cites=("xiao2017fashion",),
            read=read,
            control=None if _name == "mini" else "mini",
            suite="mini",
            help=_HELP,
            ships=True,
        ),
    )
DATASETS.add(
    "mini_c",
    DatasetSpec(
        name="mini_c",
        title="Fashion-MNIST mini, corrupted (not ImageNet)",
        images=1000,
        short="mini-C",
        place=1,
        cites=("hendrycks2019benchmarking", "xiao2017fashion"),
        images_of="mini",
        control="mini",
        recipe="cifar_c",
        suite="mini",
        help=_HELP,
    ),
)
