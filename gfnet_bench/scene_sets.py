"""The sets of scenes that segmentation is measured on: what is known of each without its images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class SceneSet:
    """A set of images with a class for each pixel.

    Attributes:
        name: as cells and tables say it.
        classes: k.
        images: how many each subset has.
        side: of the square that training cuts out, pixels.
        box: longest long and short side that validation images are fitted into; None where they stay as they are.
        corrupted_by: the recipe of corruptions for images of that size.
        cites: BibTeX keys.
        note: what a table has to say of it.
    """

    name: str
    classes: int
    images: Mapping[str, int]
    side: int
    box: tuple[int, int] | None
    corrupted_by: str
    cites: tuple[str, ...]
    note: str = ""


ADE20K = SceneSet(
    name="ade20k",
    classes=150,
    images={"training": 20210, "validation": 2000},
    side=512,
    box=(2048, 512),
    corrupted_by="imagenet_c",
    cites=("zhou2017scene",),
)
MINI_SCENES = SceneSet(
    name="mini_scenes",
    classes=11,
    images={"training": 2000, "validation": 300},
    side=64,
    box=None,
    corrupted_by="tiny_imagenet_c",
    cites=("xiao2017fashion",),
    note="scenes composed of embedded images by seed, 10 classes and background; not ADE20K.",
)
SCENE_SETS = {scenes.name: scenes for scenes in (ADE20K, MINI_SCENES)}
