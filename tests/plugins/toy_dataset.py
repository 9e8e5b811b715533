"""Images that are made on the spot, and the same corrupted in memory."""

from pathlib import Path

from gfnet_bench.datasets import DATASETS, DatasetSpec
from gfnet_bench.datasets.base import Found
from gfnet_bench.datasets.layouts import sorted_items

CITES = """@misc{toy_images,
  title = {Images of Toys}
}"""


def pixels(ids):
    """(n, 32, 32, 3) uint8: a colour each, more or less, and noise."""
    import numpy as np  # where it is needed: names are listed without it

    numbers = [int(image.rpartition("/")[2]) for image in ids]
    tints = np.array([[1, -1, -1], [-1, 1, -1], [-1, -1, 1], [0, 0, 0]])[[n % 4 for n in numbers]]
    noise = np.stack([np.random.default_rng(n).normal(0, 40, (32, 32, 3)) for n in numbers])
    shift = np.stack([np.random.default_rng(-n % 1000).normal(0, 12, 3) for n in numbers])
    return np.clip(128 + (12 * tints + shift)[:, None, None] + noise, 0, 255).astype(np.uint8)


def read(spec, data_dirs, corruption):
    """The list of them; this file stands for their paths."""
    rows = [(f"toy/{n:02d}", n % 4, Path(__file__)) for n in range(60)]
    return Found(Path(__file__).parent, "made on the spot", sorted_items(spec.name, rows), pixels)


SHARED = {"images": 60, "help": "It is made on the spot.", "cites": (CITES,), "suite": "toy"}
DATASETS.add("toy", DatasetSpec(name="toy", title="Toys", short="", read=read, place=0, **SHARED))
DATASETS.add(
    "toy_c",
    DatasetSpec(
        name="toy_c",
        title="Toys, corrupted",
        short="toy-C",
        images_of="toy",
        control="toy",
        recipe="cifar_c",
        place=1,
        **SHARED,
    ),
)
