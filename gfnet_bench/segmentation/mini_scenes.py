"""Small scenes of embedded images on textured grounds, made by seed when they are read: nothing is shipped.

Clothes of the `mini` suite (Fashion-MNIST, ten classes), enlarged, coloured and laid over one another on a ground of
noise. A pixel's label is what was painted on it last, so that masks are exact. Training scenes are made of other images
than validation scenes.
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
from numpy.typing import NDArray

from gfnet_bench.datasets.mini import sample
from gfnet_bench.randomness import image_seeds
from gfnet_bench.scene_sets import MINI_SCENES
from gfnet_bench.segmentation.scenes import Scene, Scenes

NAME, SIDE = MINI_SCENES.name, MINI_SCENES.side
BACKGROUND = MINI_SCENES.names.index("background")
SOURCES = {"training": "mini_v2", "validation": "mini"}
"""Which images of the package each subset is made of; they share none."""

VERSION = 1
"""Raise it with any change of a pixel."""

_ITEMS = (1, 2)
_ENLARGED = (32, 56)  # pixels; the images have 28
_VISIBLE = 16  # grey levels from which a pixel is of the item and not around it


def scenes(subset: str) -> Scenes:
    """The scenes of a subset; scene number i is the same in a shorter set."""
    ids = tuple(f"{NAME}/{subset}/{number:05d}" for number in range(MINI_SCENES.images[subset]))
    fingerprint = hashlib.sha256(f"{NAME} {subset} {VERSION}".encode()).hexdigest()
    return Scenes(NAME, subset, ids, MINI_SCENES.names, compose, fingerprint)


@cache
def compose(name: str) -> Scene:
    """The scene of an id."""
    _, subset, _ = name.split("/")
    rng = np.random.default_rng(int(image_seeds([name], VERSION)[0]))
    image, labels = _ground(rng), np.full((SIDE, SIDE), BACKGROUND, np.uint8)
    members = sample().members[SOURCES[subset]]
    for _ in range(rng.integers(_ITEMS[0], _ITEMS[1] + 1)):
        source, label = members[rng.integers(len(members))]
        item = _enlarged(sample().images[source], int(rng.integers(_ENLARGED[0], _ENLARGED[1] + 1)))
        item = item[:, ::-1] if rng.random() < 0.5 else item
        top, left = rng.integers(0, SIDE - len(item) + 1, 2)
        place = slice(top, top + len(item)), slice(left, left + len(item))
        visible, colour = item >= _VISIBLE, rng.uniform(0.4, 1, 3)
        image[place][visible] = (item[visible, None] * colour).astype(np.uint8)
        labels[place][visible] = label
    return Scene(image, labels)


def _enlarged(item: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Each pixel repeated, so that what is of the item stays so."""
    rows = np.arange(side) * len(item) // side
    return item[rows[:, None], rows]


def _ground(rng: np.random.Generator) -> NDArray[np.uint8]:
    """(side, side, 3): noise of four scales around a colour."""
    level = np.zeros((SIDE, SIDE))
    for cells in (4, 8, 16, 32):
        level += rng.uniform(-1, 1, (cells, cells)).repeat(SIDE // cells, 0).repeat(SIDE // cells, 1) * 45 / cells**0.5
    colour = rng.uniform(50, 205, 3)
    return np.clip(colour + level[..., None] * rng.uniform(0.5, 1, 3), 0, 255).astype(np.uint8)
