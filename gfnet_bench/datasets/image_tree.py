"""The images below a folder, by their paths in it, and the class folders that ImageNet-C has them in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePath

from gfnet_bench.datasets import imagenet
from gfnet_bench.datasets.classes import wnids
from gfnet_bench.datasets.layouts import IMAGE_SUFFIXES
from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.suites import DEFAULT, SUITES

LABELS_ABOVE = 4  # folders up from the images that a label file may lie: ILSVRC/Data/CLS-LOC/val is the deepest known

Inode = tuple[int, int]


def images_below(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """What is called an image in a folder and its subfolders: its path in the folder, with forward slashes.

    Names that begin with a dot are leftovers of other systems. A link to a folder it lies in is not followed.

    Raises:
        GfnetBenchError: if a folder cannot be read; there are no images in one that does not exist.
    """
    waiting: list[tuple[str, frozenset[Inode]]] = [("", frozenset())]
    while waiting:
        inside, above = waiting.pop()
        try:
            status = (folder / inside).stat()
            inode = status.st_dev, status.st_ino
            if inode in above:
                continue
            with os.scandir(folder / inside) as entries:
                visible = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise GfnetBenchError(f"cannot read {folder / inside} ({error.strerror}); make it readable") from None
        for entry in visible:
            if PurePath(entry.name).suffix.lower() in IMAGE_SUFFIXES:
                yield inside + entry.name, entry
            if _is_folder(entry):
                waiting.append((f"{inside}{entry.name}/", above | {inode}))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def class_folders_of_imagenet(folder: Path) -> dict[str, str]:
    """Image -> WordNet id, for validation images that are not in folders of such names yet.

    Empty for all other images, and if they are in such folders already.

    Raises:
        GfnetBenchError: if they are validation images whose classes cannot be told; the text says why.
    """
    folder = folder.absolute()
    layout = imagenet.layout_of(folder, official_names=True)
    if layout is None or layout == imagenet.BY_WNID:
        return {}
    highest = [folder, *folder.parents][: 1 + LABELS_ABOVE][-1]
    items = imagenet.read_folder(SUITES[DEFAULT].main, folder, layout, [highest]).items
    return {
        path.relative_to(folder).as_posix(): wnids()[label]
        for path, label in zip(items.paths, items.labels.tolist(), strict=True)
    }
