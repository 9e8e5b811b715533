"""The ILSVRC 2012 validation set, in every layout it is found in."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from gfnet_bench.datasets.base import DATASETS, Corruption, DatasetSpec, Found, Items
from gfnet_bench.datasets.classes import AGREES, agreement, file_number
from gfnet_bench.datasets.ground_truth import orders, places_beside, read_labels
from gfnet_bench.datasets.image_files import BadFile, printable
from gfnet_bench.datasets.layouts import (
    BY_INDEX,
    BY_WNID,
    class_folders,
    find_folder,
    image_id,
    image_names,
    index_label,
    is_called,
    items_of_folders,
    sorted_items,
    wnid_label,
)
from gfnet_bench.errors import GfnetBenchError

FLAT = "all images in one folder"

LEAST_IMAGES = 100  # that have to be compared with ReaL before anything follows from it


def read(spec: DatasetSpec, data_dirs: Sequence[Path], corruption: Corruption | None) -> Found:
    """Find and list the validation images, and prove that their labels are in the order models are trained on."""

    def recognise(folder: Path) -> str | None:
        # A data folder may hold anything, so there the official file names are asked for as well.
        return layout_of(folder, official_names=folder in data_dirs and not is_called(folder, spec.folders))

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
    elif layout == BY_INDEX:
        items, layout = _read_by_index(name, folder, data_dirs)
    else:
        items = items_of_folders(name, folder, wnid_label, range(1000))
    _check_order(name, folder, layout, items)
    return Found(folder, layout, items)


def layout_of(folder: Path, official_names: bool) -> str | None:
    """How validation images lie in a folder, in words; None if it holds none that are known by place or by name."""
    subs = class_folders(folder)
    for layout, known in (
        (BY_WNID, [sub for sub in subs if wnid_label(sub) is not None]),
        (BY_INDEX, [sub for sub in subs if sub.isdecimal()]),
    ):
        if known:
            return layout if not official_names or any(map(_has_official_name, (subs[sub] for sub in known))) else None
    return FLAT if any(file_number(name) for name in image_names(folder)) else None


def _has_official_name(folder: Path) -> bool:
    try:
        return any(file_number(name) for name in image_names(folder))
    except OSError:
        return False


def _read_flat(name: str, folder: Path, data_dirs: Sequence[Path]) -> tuple[Items, str]:
    files = {file: number for file in image_names(folder) if (number := file_number(file)) is not None}
    # Names may carry the WordNet id, as the hub has them: ILSVRC2012_val_00000293_n01440764.JPEG.
    in_names = ((number, wnid_label(Path(file).stem[-9:])) for file, number in files.items())
    labels = {number: label for number, label in in_names if label is not None}
    source = "their file names"
    if len(labels) < len(files) / 2:
        labels, source = read_labels(name, folder, files.values(), data_dirs)
    if lacking := [file for file, number in files.items() if number not in labels]:
        raise GfnetBenchError(
            f"{name}: expected a label for each of {len(files)} images in {folder}, found none for {len(lacking)} "
            f"({printable(lacking[0])} is the first) in {source}"
        )
    rows = [(image_id("", file), labels[number], folder / file) for file, number in files.items()]
    return sorted_items(name, rows), source


def _read_by_index(name: str, folder: Path, data_dirs: Sequence[Path]) -> tuple[Items, str]:
    """Images in numbered folders, labelled in the order that is proven; as they are numbered if none is."""
    import numpy as np

    first = 0 if any(index_label(sub) == 0 for sub in class_folders(folder)) else 1
    items = items_of_folders(name, folder, index_label, range(first, first + 1000), class_name=str)
    of_image = dict(zip(map(file_number, items.ids), items.labels.tolist(), strict=True))
    numbers = {number: label for number, label in of_image.items() if number is not None}
    with contextlib.suppress(BadFile):  # a class list that cannot be read proves nothing
        for order, labels in orders(numbers, places_beside(folder, data_dirs)):
            share, known = agreement(list(labels), labels.values())
            if known >= LEAST_IMAGES and share >= AGREES:
                class_of = {numbers[number]: label for number, label in labels.items()}
                in_order = np.array([class_of[n] for n in items.labels.tolist()], dtype=np.int64)
                return items._replace(labels=in_order), f"{BY_INDEX}, {order}"
    return items, BY_INDEX


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
    by_text = dict(enumerate(sorted(range(1000), key=str)))
    guess = "a wrong mapping, perhaps the development kit's order, whose meta.mat or map_clsloc.txt is not beside it"
    if agreement(numbers, [by_text.get(label, -1) for label in labels])[0] >= AGREES:
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
        short="",
        place=0,
        cites=("russakovsky2015imagenet",),
        folders=("val", "validation", "ILSVRC2012_img_val", "ILSVRC2012_val", "imagenet-val", "imagenet1k-val", "."),
        archives=(
            "imagenet-validation",
            "imagenet1k-validation",
            "imagenet-1k-validation",
            "imagenet-1k-val",
            "imagenet-object-localization-challenge",
            "ILSVRC2012_devkit_t12",
        ),
        read=read,
        help="Get ILSVRC2012_img_val.tar with an account at https://image-net.org/download.php (its licence forbids a "
        "download from here).",
    ),
)
