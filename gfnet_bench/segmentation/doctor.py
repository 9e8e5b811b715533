"""What of the sets of scenes is on this machine, and what is wrong with it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gfnet_bench.bars import tqdm
from gfnet_bench.datasets.decode import decode, size_of
from gfnet_bench.datasets.doctor import SAMPLE, Finding, Status, some
from gfnet_bench.datasets.image_files import BadFile, printable, read_file
from gfnet_bench.errors import MissingError
from gfnet_bench.scene_sets import ADE20K, SCENE_SETS, SceneSet
from gfnet_bench.segmentation import ade20k

MANY = 20  # files that are named with what is wrong with them


def there(data_dirs: Sequence[Path]) -> list[str]:
    """The sets that are part of the package, and those whose folder is there, whatever is wrong with it."""
    embedded = [name for name in SCENE_SETS if not SCENE_SETS[name].downloads]
    try:
        ade20k.find(data_dirs)
    except MissingError:
        return embedded
    return [ADE20K.name, *embedded]


def status(data_dirs: Sequence[Path]) -> list[Status]:
    """An overview: how many images have a mask, of how many."""
    return [_status(SCENE_SETS[name], data_dirs) for name in SCENE_SETS]


def _status(scenes: SceneSet, data_dirs: Sequence[Path]) -> Status:
    expected = sum(scenes.images.values())
    if not scenes.downloads:
        return Status(scenes.name, scenes.title, expected, expected, "images", "gfnet-bench", "made by seed when read")
    try:
        folder = ade20k.find(data_dirs)
    except MissingError:
        how = f"`gfnet-bench data get {scenes.name}` fetches it."
        return Status(scenes.name, scenes.title, 0, expected, "images", "", how)
    kinds = [ade20k.files(folder, subset) for subset in scenes.images]
    found = sum(len(pictures.keys() & masks.keys()) for pictures, masks in kinds)
    return Status(scenes.name, scenes.title, found, expected, "images", str(folder), "images with masks")


def examine(name: str, data_dirs: Sequence[Path], *, deep: bool = False, workers: int = 0) -> list[Finding]:
    """What is wrong with a set of scenes.

    Args:
        name: of the set.
        data_dirs: folders to look in.
        deep: read every image and mask instead of some masks.
        workers: threads that read.

    Returns:
        At least one finding; a single `ok` if nothing is wrong.
    """
    scenes = SCENE_SETS[name]
    if not scenes.downloads:
        return [Finding("ok", name, f"{sum(scenes.images.values())} images, part of gfnet-bench: made by seed")]
    try:
        folder = ade20k.find(data_dirs)
    except MissingError as error:
        return [Finding("warning", name, str(error))]
    findings = [found for subset in scenes.images for found in _examine(scenes, folder, subset, deep, workers)]
    counts = ", ".join(f"{count:,} of {subset}" for subset, count in scenes.images.items())
    zero = "level 0 of a mask is what is of none of the classes and does not count, levels 1 to 150 are labels 0 to 149"
    return findings or [Finding("ok", name, f"{counts} images with masks in {folder}; {zero}")]


def _examine(scenes: SceneSet, folder: Path, subset: str, deep: bool, workers: int) -> list[Finding]:
    pictures, masks = ade20k.files(folder, subset)
    texts = []
    for kind, found in (("images", pictures), ("annotations", masks)):
        if len(found) != scenes.images[subset]:
            texts.append(f"expected {scenes.images[subset]} files in {folder / kind / subset}, found {len(found)}")
    for what, lacking, names in (
        ("images", "mask", pictures.keys() - masks.keys()),
        ("masks", "image", masks.keys() - pictures.keys()),
    ):
        if names:
            texts.append(f"{len(names)} {what} of {subset} have no {lacking}: {some(sorted(names))}; unpack it again")
    both = {name: (pictures[name], masks[name]) for name in pictures if name in masks}
    chosen = list(both)
    if not deep:
        chosen.sort(key=lambda name: hashlib.blake2b(name.encode(), digest_size=8).digest())
        del chosen[SAMPLE:]
    texts += _of_pairs({name: both[name] for name in sorted(chosen)}, subset, deep, workers)
    return [Finding("error", scenes.name, text) for text in texts]


def _of_pairs(pairs: Mapping[str, tuple[Path, Path]], subset: str, deep: bool, workers: int) -> list[str]:
    """A sentence for each kind of defect among these images and masks."""
    told: dict[str, list[str]] = {}
    with ThreadPoolExecutor(max(1, workers)) as pool:
        found = pool.map(lambda pair: _defect(pair[0], pair[1], deep), pairs.values())
        for name, defect in zip(pairs, tqdm(found, f"reading {subset}", len(pairs), disable=not deep), strict=True):
            if defect is not None:
                told.setdefault(defect[0], []).append(f"{printable(name)} ({defect[1]})")
    return [f"{len(names)} {kind}: {some(names, MANY)}" for kind, names in told.items()]


def _defect(picture: Path, mask: Path, deep: bool) -> tuple[str, str] | None:
    """The kind of defect and what it is, of an image and its mask."""
    try:
        labels = ade20k.mask(read_file(mask))
    except BadFile as error:
        return f"masks in {mask.parent} cannot be used", str(error)
    try:
        data = read_file(picture)
        size = decode(data).shape[:2] if deep else size_of(data)
    except BadFile as error:
        return f"images in {picture.parent} cannot be read", str(error)
    if size != labels.shape:
        height, width = labels.shape
        what = f"{width} x {height} for {size[1]} x {size[0]}"
        return f"masks in {mask.parent} are of another size than their images", what
    return None
