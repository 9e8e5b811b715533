"""Tiny ImageNet's validation images as its archive has them or in class folders, and Tiny-ImageNet-C as published."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from gfnet_bench.datasets.base import DATASETS, Corruption, DatasetSpec, Found, Items
from gfnet_bench.datasets.image_files import BadFile, printable, read_file
from gfnet_bench.datasets.imagenet_c import read_severities, severity_folders
from gfnet_bench.datasets.layouts import class_folders, find_folder, image_names, sorted_items
from gfnet_bench.errors import GfnetBenchError

ANNOTATIONS, IMAGES = "val_annotations.txt", "images"
CLASSES = 200
WNID, OFFICIAL = re.compile(r"n\d{8}"), re.compile(r"val_\d+")
CITES = (
    """@misc{le2015tiny,
  title = {Tiny {ImageNet} Visual Recognition Challenge},
  author = {Le, Ya and Yang, Xuan},
  howpublished = {Stanford CS 231N},
  year = {2015}
}""",
)


def read(spec: DatasetSpec, data_dirs: Sequence[Path], corruption: Corruption | None) -> Found:
    """Find and list the validation images; classes are counted in the order of the sorted WordNet ids."""

    def recognise(folder: Path) -> str | None:
        if (folder / ANNOTATIONS).is_file() and (folder / IMAGES).is_dir() and image_names(folder / IMAGES):
            return f"all images in one folder, labels of {ANNOTATIONS}"
        return "class folders named by WordNet id" if any(map(WNID.fullmatch, class_folders(folder))) else None

    folder, layout = find_folder(spec, data_dirs, recognise)
    annotated = layout.endswith(ANNOTATIONS)
    return Found(folder, layout, _annotated(spec.name, folder) if annotated else items_of(folder, folder, spec.name))


def read_corrupted(spec: DatasetSpec, data_dirs: Sequence[Path], corruption: Corruption | None) -> Found:
    """Find the set, and list the images of one corruption and severity."""
    return read_severities(spec, data_dirs, corruption, items_of)


def items_of(root: Path, folder: Path, label: str) -> Items:
    """The images of class folders, whether they lie in them or in an `images` each has.

    Args:
        root: of the whole set.
        folder: holds the class folders.
        label: what it is called in messages.
    """
    found = {}
    for wnid, place in class_folders(folder).items():
        inner = place / IMAGES
        found.update({(inner if inner.is_dir() else place) / name: wnid for name in image_names(place)})
        if inner.is_dir():
            found.update({inner / name: wnid for name in image_names(inner)})
    return _items(label, folder, {path: wnid for path, wnid in found.items() if WNID.fullmatch(wnid)})


def _annotated(label: str, folder: Path) -> Items:
    """The images of the archive, labelled by the lines `val_0.JPEG<tab>n03444034<tab>0<tab>32<tab>44<tab>62`."""
    try:
        lines = read_file(folder / ANNOTATIONS).decode("utf-8", "replace").splitlines()
    except BadFile as error:
        raise GfnetBenchError(f"{label}: cannot read {folder / ANNOTATIONS}: {error}") from None
    wnids = {fields[0]: fields[1] for line in lines if len(fields := line.split()) > 1}
    names = image_names(folder / IMAGES)
    if lacking := [name for name in names if name not in wnids]:
        raise GfnetBenchError(
            f"{label}: expected a line for each of {len(names)} images in {folder / ANNOTATIONS}, found none for "
            f"{len(lacking)} ({printable(lacking[0])} is the first)"
        )
    return _items(label, folder, {folder / IMAGES / name: wnids[name] for name in names})


def _items(label: str, folder: Path, wnids: dict[Path, str]) -> Items:
    """Labelled images; one with its official name is called by that in every layout."""
    classes = sorted(set(wnids.values()))
    if len(classes) != CLASSES:
        raise GfnetBenchError(
            f"{label}: expected images of {CLASSES} classes in {folder}, found those of {len(classes)}; unpack the "
            "whole archive"
        )
    index = {wnid: label for label, wnid in enumerate(classes)}
    rows = [
        (path.stem if OFFICIAL.fullmatch(path.stem) else printable(f"{wnid}/{path.name}"), index[wnid], path)
        for path, wnid in wnids.items()
    ]
    return sorted_items(label, rows)


DATASETS.add(
    "tiny_imagenet",
    DatasetSpec(
        name="tiny_imagenet",
        title="Tiny ImageNet",
        images=10000,
        short="",
        place=0,
        cites=CITES,
        folders=("tiny-imagenet-200", "tiny-imagenet-200/val", "tiny-imagenet", "tiny-imagenet/val"),
        archives=("tiny-imagenet-200",),
        read=read,
        suite="tiny_imagenet",
        help="Get tiny-imagenet-200.zip at http://cs231n.stanford.edu/tiny-imagenet-200.zip.",
    ),
)
DATASETS.add(
    "tiny_imagenet_c",
    DatasetSpec(
        name="tiny_imagenet_c",
        title="Tiny-ImageNet-C",
        images=10000,
        short="Tiny-IN-C",
        place=1,
        cites=("hendrycks2019benchmarking", *CITES),
        folders=("tiny-imagenet-c",),
        read=read_corrupted,
        control="tiny_imagenet",
        cells=severity_folders,
        file_side=64,
        suite="tiny_imagenet",
        help="Get Tiny-ImageNet-C.tar at https://zenodo.org/records/2536630.",
    ),
)
DATASETS.add(
    "tiny_imagenet_c_generated",
    DatasetSpec(
        name="tiny_imagenet_c_generated",
        title="Tiny-ImageNet-C (generated)",
        images=10000,
        short="Tiny-IN-C generated",
        place=1,
        cites=("hendrycks2019benchmarking", *CITES),
        images_of="tiny_imagenet",
        control="tiny_imagenet",
        recipe="tiny_imagenet_c",
        suite="tiny_imagenet",
        help="The images are those of tiny_imagenet.",
    ),
)
