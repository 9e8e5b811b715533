"""Finding a data set's folder, and reading the two common layouts: one folder per class, or all files in one."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from gfnet_bench.datasets.base import Corruption, DatasetSpec, Found, Items, Reader
from gfnet_bench.datasets.classes import class_index, file_number
from gfnet_bench.datasets.image_files import BadFile, file_status, printable
from gfnet_bench.errors import GfnetBenchError, MissingError

# Those of torchvision's folders.
IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def find_folder(
    spec: DatasetSpec, data_dirs: Sequence[Path], recognise: Callable[[Path], str | None]
) -> tuple[Path, str]:
    """The one folder that holds a data set, in the first data folder that has any.

    Args:
        spec: names the folders to look for.
        data_dirs: where to look.
        recognise: the layout of a folder in words, None if it holds no such data set.

    Returns:
        The folder and its layout.

    Raises:
        MissingError: if there is none.
        GfnetBenchError: if one data folder has several.
    """
    unlike = []
    for data_dir in data_dirs:
        hits: dict[tuple[int, int], tuple[Path, str]] = {}  # by inode: links, and names that differ in case, are one
        for folder in candidates(spec.folders, data_dir):
            layout = recognise(folder)
            if layout is not None:
                status = folder.stat()
                hits.setdefault((status.st_dev, status.st_ino), (folder, layout))
            elif folder != data_dir:
                unlike.append(str(folder))
        if len(hits) > 1:
            copies = " and ".join(f"{folder} ({layout})" for folder, layout in hits.values())
            raise GfnetBenchError(f"{spec.name}: expected one copy, found {copies}; name the right one with --data-dir")
        if hits:
            return hits.popitem()[1]
    raise MissingError(_missing(spec, data_dirs, unlike))


def candidates(folders: Sequence[str], data_dir: Path) -> Iterator[Path]:
    """The folders that exist under these names; a data folder that itself has one of the names counts too."""
    for name in folders:
        if (data_dir / name).is_dir():
            yield data_dir / name
    if any(
        data_dir.absolute().parts[-len(parts) :] == parts for parts in (Path(name).parts for name in folders) if parts
    ):
        yield data_dir


def _missing(spec: DatasetSpec, data_dirs: Sequence[Path], unlike: Sequence[str]) -> str:
    if not data_dirs:
        return f"{spec.name}: no data folder was named; pass --data-dir or set GFNET_BENCH_DATA. {spec.help}"
    where = ", ".join(f"{d}" if d.is_dir() else f"{d} (which does not exist)" for d in data_dirs)
    names = " or ".join(name for name in spec.folders if name != ".")
    text = f"{spec.name}: expected a folder {names} in {where}, found none"
    if unlike:
        text += f" that holds its images ({', '.join(unlike)} does not)"
    return f"{text}. {spec.help}"


def class_folders(folder: Path) -> dict[str, Path]:
    """The visible folders in a folder, by name."""
    with os.scandir(folder) as entries:
        return {e.name: folder / e.name for e in entries if not e.name.startswith(".") and _is_folder(e)}


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def image_names(folder: Path) -> list[str]:
    """The images in a folder, by name; files whose name starts with a dot are leftovers of other systems."""
    with os.scandir(folder) as entries:
        return sorted(
            e.name
            for e in entries
            if os.path.splitext(e.name)[1].lower() in IMAGE_SUFFIXES and not e.name.startswith(".")  # noqa: PTH122
        )


def image_id(folder: str, file: str) -> str:
    """A name that is the same on every machine and in every layout; a validation image keeps its official one."""
    number = file_number(file)
    if number is not None:
        return f"ILSVRC2012_val_{number:08d}"
    return printable(f"{int(folder) if folder.isdecimal() else folder}/{file}")


def wnid_label(folder: str) -> int | None:
    """The class index of a folder named by WordNet id."""
    return class_index().get(folder)


def index_label(folder: str) -> int | None:
    """The class index of a folder named by number; as text, 10 would come before 2."""
    return int(folder) if folder.isdecimal() else None


def items_of_folders(
    name: str, folder: Path, label_of: Callable[[str], int | None], expected: Collection[int]
) -> Items:
    """The images of a folder with one folder per class.

    Args:
        name: of the data set, for messages.
        folder: holds the class folders; folders that name no class are passed over (the doctor lists them).
        label_of: the class index a folder name stands for.
        expected: the classes that must be there, no more and no fewer.

    Raises:
        GfnetBenchError: if classes are missing, foreign or there twice.
    """
    labels = {sub: label for sub in class_folders(folder) if (label := label_of(sub)) is not None}
    present = set(labels.values())
    if present != set(expected) or len(labels) != len(present):
        raise GfnetBenchError(f"{name}: {_class_mismatch(folder, labels, expected)}")
    return sorted_items(name, [row for sub, label in labels.items() for row in _rows_of_class(folder / sub, label)])


def _rows_of_class(folder: Path, label: int) -> list[tuple[str, int, Path]]:
    try:
        return [(image_id(folder.name, file), label, folder / file) for file in image_names(folder)]
    except OSError:  # stands for its images, so that they are missed by name
        return [(folder.name, label, folder)]


def _class_mismatch(folder: Path, labels: dict[str, int], expected: Collection[int]) -> str:
    present = set(labels.values())
    foreign = sorted(sub for sub, label in labels.items() if label not in expected)
    known = present & set(expected)
    if foreign:
        return (
            f"expected the {len(expected)} class folders of this set in {folder}, found {len(known)} of them and "
            f"{len(foreign)} others ({', '.join(foreign[:3])}); this is another data set, or two mixed"
        )
    if len(known) < len(expected):
        return f"expected {len(expected)} class folders in {folder}, found {len(known)}; unpack the whole archive"
    return f"expected one folder per class in {folder}, found {len(labels)} for {len(present)} classes"


def sorted_items(name: str, rows: list[tuple[str, int, Path]]) -> Items:
    """Items in the order of their ids, which is the same in every layout.

    Args:
        name: of the data set, for messages.
        rows: id, class index and file of each image.

    Raises:
        GfnetBenchError: if an image is there twice.
    """
    import numpy as np

    rows = sorted(rows)
    twice = {image for (image, *_), (following, *_) in itertools.pairwise(rows) if image == following}
    # What cannot be read is no second copy: it goes by its place instead.
    rows = sorted((_place(row[2]), *row[1:]) if row[0] in twice and _is_odd(row[2]) else row for row in rows)
    for (image, _, path), (following, _, other) in itertools.pairwise(rows):
        if image == following:
            raise GfnetBenchError(
                f"{name}: expected each image once, found {printable(path)} and {printable(other)}; remove one"
            )
    labels = np.array([label for _, label, _ in rows], dtype=np.int64)
    return Items(tuple(path for _, _, path in rows), labels, tuple(image for image, _, _ in rows))


def _place(path: Path) -> str:
    return printable(f"{path.parent.name}/{path.name}")


def _is_odd(path: Path) -> bool:
    try:
        file_status(path)
    except BadFile:
        return True
    return False


def read_class_folders(
    label_of: Callable[[str], int | None], classes: Callable[[], Collection[int]], layout: str
) -> Reader:
    """How to read a set that always comes with one folder per class.

    Args:
        label_of: the class index a folder name stands for.
        classes: the classes the set has.
        layout: the layout in words.
    """

    def read(spec: DatasetSpec, data_dirs: Sequence[Path], corruption: Corruption | None) -> Found:
        def recognise(folder: Path) -> str | None:
            return layout if any(label_of(sub) is not None for sub in class_folders(folder)) else None

        folder, _ = find_folder(spec, data_dirs, recognise)
        return Found(folder, layout, items_of_folders(spec.name, folder, label_of, classes()))

    return read
