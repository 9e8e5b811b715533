"""The ILSVRC 2012 validation set, in every layout it is found in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gfnet_bench.datasets.base import DATASETS, Corruption, DatasetSpec, Found, Items
from gfnet_bench.datasets.classes import AGREES, agreement, class_index, file_number
from gfnet_bench.datasets.ground_truth import read_labels
from gfnet_bench.datasets.layouts import (
    class_folders,
    find_folder,
    image_id,
    image_names,
    index_label,
    items_of_folders,
    sorted_items,
    wnid_label,
)
from gfnet_bench.errors import GfnetBenchError

BY_WNID = "class folders named by WordNet id"
BY_INDEX = "class folders named by class index"
FLAT = "all images in one folder"

LEAST_IMAGES = 100  # that have to be compared with ReaL before anything follows from it


def read(spec: DatasetSpec, data_dirs: Sequence[Path], corruption: Corruption | None) -> Found:
    """Find and list the validation images, and prove that their labels are in the order models are trained on."""

    def recognise(folder: Path) -> str | None:
        # A data folder may hold anything, so there the official file names are asked for as well.
        return layout_of(folder, official_names=folder in data_dirs and folder.name not in spec.folders)

    folder, layout = find_folder(spec, data_dirs, recognise)
    return read_folder(spec.name, folder, layout, data_dirs)


def read_folder(name: str, folder: Path, layout: str, data_dirs: Sequence[Path]) -> Found:
    """List the images of a folder, and prove the order of their labels.

    Args:
        name: of the data set, for messages.
        folder: holds the images.
        layout: how, as `layout_of` calls it.
        data_dirs: the search for label files goes up from `folder` to one of these.

    Raises:
        GfnetBenchError: if they cannot be labelled, or the order of the labels is another one or none that can be told.
    """
    if layout == FLAT:
        items, source = _read_flat(name, folder, data_dirs)
        layout = f"{layout}, labels of {source}"
    else:
        label_of = wnid_label if layout == BY_WNID else index_label
        items = items_of_folders(name, folder, label_of, range(1000))
    _check_order(name, folder, layout, items)
    return Found(folder, layout, items)


def layout_of(folder: Path, official_names: bool) -> str | None:
    """How validation images lie in a folder, in words; None if it holds none that are known by place or by name."""
    subs = class_folders(folder)
    for layout, known in (
        (BY_WNID, [sub for sub in subs if sub in class_index()]),
        (BY_INDEX, [sub for sub in subs if sub.isdecimal()]),
    ):
        if known:
            names = image_names(subs[known[0]]) if official_names else []
            return layout if not official_names or any(file_number(name) for name in names) else None
    return FLAT if any(file_number(name) for name in image_names(folder)) else None


def _read_flat(name: str, folder: Path, data_dirs: Sequence[Path]) -> tuple[Items, str]:
    files = {number: file for file in image_names(folder) if (number := file_number(file)) is not None}
    inside = {sub: label for file in files.values() if (label := wnid_label(sub := Path(file).stem[-9:])) is not None}
    if len(inside) == 1000:  # the names carry the WordNet id: ILSVRC2012_val_00000293_n01440764.JPEG
        labels = {number: inside[Path(file).stem[-9:]] for number, file in files.items()}
        source = "their file names"
    else:
        labels, source = read_labels(name, folder, data_dirs)
    if lacking := sorted(files.keys() - labels.keys()):
        raise GfnetBenchError(
            f"{name}: expected a label for each of {len(files)} images in {folder}, found none for {len(lacking)} "
            f"({files[lacking[0]]} is the first) in {source}"
        )
    return sorted_items(
        name, [(image_id("", file), labels[number], folder / file) for number, file in files.items()]
    ), source


def _check_order(name: str, folder: Path, layout: str, items: Items) -> None:
    numbers = [file_number(image) for image in items.ids]
    labels = items.labels.tolist()
    share, known = agreement(numbers, labels)
    if known >= LEAST_IMAGES and share >= AGREES:
        return
    if known < LEAST_IMAGES and layout != BY_INDEX:
        return
    if known < LEAST_IMAGES:
        raise GfnetBenchError(
            f"{name}: {folder} has {layout}, whose order cannot be told because the files do not have their official "
            "names (ILSVRC2012_val_00000293.JPEG); name the folders by WordNet id"
        )
    by_text = sorted(range(1000), key=str)
    guess = "a wrong mapping, perhaps the devkit's class order"
    if agreement(numbers, [by_text[label] for label in labels])[0] >= AGREES:
        guess = "folders numbered in the order of their names as text: folder 2 holds class 10"
    raise GfnetBenchError(
        f"{name}: expected labels in the order of the sorted WordNet ids in {folder} ({layout}), found that only "
        f"{share:.0%} of {known} agree with the ReaL labels (right ones: 90%); it looks like {guess}. Sort the images "
        "into folders named by WordNet id"
    )


DATASETS.add(
    "imagenet",
    DatasetSpec(
        name="imagenet",
        title="ImageNet",
        images=50000,
        folders=(
            "val",
            "validation",
            "imagenet/val",
            "imagenet/validation",
            "ImageNet/val",
            "ILSVRC2012/val",
            "ILSVRC2012_img_val",
            "ILSVRC/Data/CLS-LOC/val",
            "imagenet/ILSVRC/Data/CLS-LOC/val",
            ".",
        ),
        read=read,
        help="Get ILSVRC2012_img_val.tar with an account at image-net.org (its licence forbids a download from here).",
    ),
)
