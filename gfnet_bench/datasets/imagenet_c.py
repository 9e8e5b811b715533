"""ImageNet-C as published, a set of files per corruption and severity, and the images a generated one is made from."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from gfnet_bench.catalog import CORRUPTIONS, IMAGENET_C, SEVERITIES
from gfnet_bench.datasets.base import DATASETS, Corruption, DatasetSpec, Found, Items
from gfnet_bench.datasets.classes import file_number
from gfnet_bench.datasets.layouts import (
    class_folders,
    find_folder,
    image_names,
    items_of_folders,
    sorted_items,
    wnid_label,
)
from gfnet_bench.downloads.download import Download
from gfnet_bench.errors import GfnetBenchError, MissingError

MANIFEST = "corrupt.json"  # what `gfnet-bench corrupt` leaves in a folder, beside the corruptions


def severity_folders(folder: Path) -> dict[Corruption, list[Path]]:
    """The folders with class folders in an ImageNet-C folder, with or without the archive's groups between."""
    found: dict[Corruption, list[Path]] = {}
    for name, severity in itertools.product(CORRUPTIONS, SEVERITIES):
        for place in (folder, folder / CORRUPTIONS[name].group):
            if (place / name / str(severity)).is_dir():
                found.setdefault(Corruption(name, severity), []).append(place / name / str(severity))
    return found


def read(spec: DatasetSpec, data_dirs: Sequence[Path], corruption: Corruption | None) -> Found:
    """Find the set, and list the images of one corruption and severity."""

    def items(root: Path, cell: Path, label: str) -> Items:
        return items_of_folders(label, cell, wnid_label, _classes(label, root, cell))

    return read_severities(spec, data_dirs, corruption, items)


def read_severities(
    spec: DatasetSpec,
    data_dirs: Sequence[Path],
    corruption: Corruption | None,
    items_of: Callable[[Path, Path, str], Items],
) -> Found:
    """Find a set with a folder per corruption and severity, and list the images of one of them.

    Args:
        spec: of the set.
        data_dirs: where to look.
        corruption: which folder; None only finds the set.
        items_of: lists the images of a folder, told that of the set, its own, and what to call it in messages.

    Raises:
        MissingError: if it is not there.
        GfnetBenchError: if it is there twice.
    """

    def recognise(folder: Path) -> str | None:
        there = severity_folders(folder)
        return f"{len({c.name for c in there})} corruptions, {len(there)} severities in all" if there else None

    folder, layout = find_folder(spec, data_dirs, recognise)
    if corruption is None:
        return Found(folder, layout, sorted_items(spec.name, []))
    there = severity_folders(folder)
    match there.get(corruption, []):
        case []:
            known = ", ".join(sorted({c.name for c in there}))
            raise MissingError(
                f"{spec.name}: expected {corruption.name}/{corruption.severity} in {folder}, found {known}. {spec.help}"
            )
        case [one]:
            return Found(one, layout, items_of(folder, one, f"{spec.name} {corruption.name} {corruption.severity}"))
        case several:
            places = " and ".join(map(str, several))
            raise GfnetBenchError(f"{spec.name}: expected one copy, found {places}; remove one")


def _classes(label: str, folder: Path, cell: Path) -> Collection[int]:
    """The classes that must be there: all of them in what comes as an archive, those there are in what we made.

    A part of the validation set may be corrupted too, and then the number of images says so.

    Raises:
        GfnetBenchError: if we made it of images whose classes nobody could tell.
    """
    names = class_folders(cell)
    there = {class_index for name in names if (class_index := wnid_label(name)) is not None}
    if (folder / MANIFEST).is_file():
        if not there:
            raise GfnetBenchError(
                f"{label}: expected class folders named by WordNet id in {cell}, found none: it was made of images "
                "whose classes could not be told. Put them into such folders, or their label file beside them, and run "
                "`gfnet-bench corrupt` with another DST"
            )
        if all(file_number(image) for name in names for image in image_names(cell / name)):
            return there
    return range(1000)


# mCE is relative to AlexNet.
CITES = ("hendrycks2019benchmarking", "krizhevsky2012alexnet", "russakovsky2015imagenet")

# Gigabytes (rounded) and md5 as several public loaders of Zenodo record 2235448 have them.
ARCHIVES = {
    "noise": (21, "e80562d7f6c3f8834afb1ecf27252745"),
    "blur": (7, "2d8e81fdd8e07fef67b9334fa635e45c"),
    "weather": (12, "33ffea4db4d93fe4a428c40a6ce0c25d"),
    "digital": (7, "89157860d7b10d5797849337ca2e5c03"),
    "extra": (15, "d492dfba5fc162d8ec2c3cd8ee672984"),
}

DATASETS.add(
    "imagenet_c",
    DatasetSpec(
        name="imagenet_c",
        title="ImageNet-C",
        images=50000,
        short="IN-C",
        place=1,
        cites=CITES,
        downloads=tuple(
            Download(
                tuple(f"https://zenodo.org/{page}/2235448/files/{group}.tar" for page in ("record", "records")),
                gives=tuple(f"imagenet-c/{corruption}" for corruption in IMAGENET_C[group]),
                size=gigabytes * 10**9,
                md5=md5,
                group=group,
                on_request=group == "extra",  # mCE leaves them out
            )
            for group, (gigabytes, md5) in ARCHIVES.items()
        ),
        folders=("imagenet-c", "."),
        read=read,
        control="imagenet",
        cells=severity_folders,
        file_side=224,
        help="`gfnet-bench data get imagenet_c` fetches it; --dataset imagenet_c_generated makes it from imagenet.",
    ),
)
DATASETS.add(
    "imagenet_c_generated",
    DatasetSpec(
        name="imagenet_c_generated",
        title="ImageNet-C (generated)",
        images=50000,
        short="IN-C generated",
        place=1,
        cites=CITES,
        images_of="imagenet",
        control="imagenet",
        recipe="imagenet_c",
        help="The images are those of imagenet.",
    ),
)
