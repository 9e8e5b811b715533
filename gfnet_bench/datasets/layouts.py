"""Finding a data set's folder, and reading the two common layouts: one folder per class, or all files in one."""

from __future__ import annotations

import itertools
import os
import re
import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from gfnet_bench.datasets.base import Corruption, DatasetSpec, Found, Items, Reader
from gfnet_bench.datasets.classes import class_index, file_number, wnids
from gfnet_bench.datasets.image_files import BadFile, file_status, printable
from gfnet_bench.errors import GfnetBenchError, MissingError, acquit

# Those of torchvision's folders.
IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

BY_WNID = "class folders named by WordNet id"
BY_INDEX = "class folders named by class index"

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip", ".parquet")

DEPTH = 6  # folders within folders: DATA/imagenet/ILSVRC/Data/CLS-LOC/val

# Folders that data sets lie in by habit, those of Kaggle, the hub and CoOp among them, written as `_folded` does.
LEADING = frozenset(
    "imagenet imagenet1k imagenet2012 ilsvrc ilsvrc2012 clsloc imagenetobjectlocalizationchallenge images data "
    "datasets imagenetadversarial imageneta imagenetrendition imagenetr imagenetsketch imagenetv2 imagenetc".split()
)


class NowhereError(MissingError):
    """A data set is in none of the data folders; other sets that are missing lack a part."""


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
        NowhereError: if there is none.
        GfnetBenchError: if one data folder has several.
    """
    unlike = []
    for data_dir in data_dirs:
        hits: dict[tuple[int, int], tuple[Path, str]] = {}  # by inode: links, and names that differ in case, are one
        for folder in places(spec.folders, data_dir):
            if not is_called(folder, spec.folders) and not (folder == data_dir and "." in spec.folders):
                continue
            layout = recognise(folder)
            if layout is not None:
                status = folder.stat()
                hits.setdefault((status.st_dev, status.st_ino), (folder, layout))
            elif folder != data_dir:
                unlike.append(folder)
        if len(hits) > 1:
            copies = " and ".join(f"{folder} ({layout})" for folder, layout in hits.values())
            raise GfnetBenchError(f"{spec.name}: expected one copy, found {copies}; name the right one with --data-dir")
        if hits:
            return hits.popitem()[1]
    raise NowhereError(_missing(spec, data_dirs, unlike))


def places(names: Collection[str], data_dir: Path) -> Iterator[Path]:
    """A data folder and those folders below it that have one of some names, or one that is known to lead there."""
    if not data_dir.is_dir():
        return
    known = {_folded(Path(name).name) for name in names} | LEADING
    level = [data_dir]
    for _ in range(DEPTH):
        yield from level
        level = [folder for place in level for folder in _subfolders(place) if _folded(folder.name) in known]


def _subfolders(place: Path) -> list[Path]:
    try:
        return [folder for _, folder in sorted(class_folders(place).items())]
    except PermissionError:  # somebody else's
        return []


def is_called(folder: Path, names: Collection[str]) -> bool:
    """Whether a folder has one of these names, which may include those of the folders it is in, in any spelling."""
    parts = [_folded(part) for part in folder.absolute().parts]
    return any(parts[-len(Path(name).parts) :] == [_folded(part) for part in Path(name).parts] for name in names)


def _folded(name: str) -> str:
    """What the spellings of a name have in common: `ImageNet_A` is `imagenet-a`."""
    return re.sub("[-_. ]", "", name.lower())


def archives_of(names: Collection[str], data_dirs: Sequence[Path]) -> dict[Path, str]:
    """The archives in the data folders that are called like a data set, or like parts of it: file -> name."""
    words = {name: _words(name) for name in names if name != "."}
    found: dict[Path, str] = {}
    for file in (file for data_dir in data_dirs for place in places(names, data_dir) for file in _archives(place)):
        fitting = [name for name, prefix in words.items() if _words(file.name)[: len(prefix)] == prefix]
        if fitting:
            found[file] = max(fitting, key=len)
    return found


def _archives(place: Path) -> list[Path]:
    try:
        with os.scandir(place) as entries:
            return sorted(place / e.name for e in entries if e.name.lower().endswith(ARCHIVES) and not _is_folder(e))
    except PermissionError:
        return []


def _words(name: str) -> list[str]:
    return re.findall("[a-z0-9]+", name.lower())


def how_to_unpack(name: str, data_dirs: Sequence[Path], names: Collection[str]) -> str:
    """The end of a message that something is missing, if it lies there packed; else nothing."""
    found = list(archives_of(names, data_dirs))
    if not found:
        return ""
    data_dir = next(d for d in data_dirs if found[0].is_relative_to(d))
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return (
        f", which lies there packed ({printable(found[0])}{more}): `gfnet-bench data get {name} --data-dir "
        f"{shlex.quote(str(data_dir))}` unpacks it"
    )


def _missing(spec: DatasetSpec, data_dirs: Sequence[Path], unlike: Sequence[Path]) -> str:
    if not data_dirs:
        return f"{spec.name}: no data folder was named; pass --data-dir or set GFNET_BENCH_DATA. {spec.help}"
    where = ", ".join(f"{printable(d)}{_why_not(d)}" for d in data_dirs)
    names = " or ".join(name for name in spec.folders if name != ".")
    text = f"{spec.name}: expected a folder {names} in {where}, found none"
    if unlike:
        text += f" that holds its images ({', '.join(f'{printable(f)} has {_content(f)}' for f in unlike)})"
    packed = how_to_unpack(spec.name, data_dirs, (*spec.folders, *spec.archives))
    return f"{text}{packed}" if packed else f"{text}. {spec.help}"


def _why_not(data_dir: Path) -> str:
    if data_dir.is_dir():
        return ""
    return " (which is no folder)" if os.path.lexists(data_dir) else " (which does not exist)"


def _content(folder: Path) -> str:
    """What lies in a folder, in a few words."""
    names = sorted(os.listdir(folder))  # noqa: PTH208
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(printable, names[:3])) + more or "nothing"


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


def image_id(class_name: str, file: str) -> str:
    """A name that is the same on every machine and in every layout; a validation image keeps its official one."""
    number = file_number(file)
    return f"ILSVRC2012_val_{number:08d}" if number is not None else printable(f"{class_name}/{file}")


def wnid_label(folder: str) -> int | None:
    """The class index of a folder named by WordNet id."""
    return class_index().get(folder.lower())


def index_label(folder: str) -> int | None:
    """The class index of a folder named by number; as text, 10 would come before 2."""
    return int(folder) if folder.isdecimal() else None


def wnid_or_index_label(folder: str) -> int | None:
    """The class index of a folder named either way: no WordNet id is a number."""
    return class_index().get(folder.lower(), index_label(folder))


def items_of_folders(
    name: str,
    folder: Path,
    label_of: Callable[[str], int | None],
    expected: Collection[int],
    class_name: Callable[[int], str] = lambda label: wnids()[label],
) -> Items:
    """The images of a folder with one folder per class.

    Args:
        name: of the data set, for messages.
        folder: holds the class folders; folders that name no class are passed over (the doctor lists them).
        label_of: the class index a folder name stands for.
        expected: the classes that must be there, no more and no fewer.
        class_name: what ids call a class, however its folder is called.

    Raises:
        GfnetBenchError: if classes are missing, foreign or there twice.
    """
    labels = {sub: label for sub in class_folders(folder) if (label := label_of(sub)) is not None}
    present = set(labels.values())
    if present != set(expected) or len(labels) != len(present):
        raise GfnetBenchError(f"{name}: {_class_mismatch(folder, labels, expected)}")
    rows = [row for sub, label in labels.items() for row in _rows_of_class(folder / sub, label, class_name)]
    return sorted_items(name, rows)


def _rows_of_class(folder: Path, label: int, class_name: Callable[[int], str]) -> list[tuple[str, int, Path]]:
    try:
        return [(image_id(class_name(label), file), label, folder / file) for file in image_names(folder)]
    except OSError as error:  # stands for its images, so that they are missed by name
        acquit(error)
        return [(class_name(label), label, folder)]


def _class_mismatch(folder: Path, labels: dict[str, int], expected: Collection[int]) -> str:
    present = set(labels.values())
    foreign = sorted(sub for sub, label in labels.items() if label not in expected)
    known = present & set(expected)
    if foreign:
        what = "this is another data set, or two mixed"
        if present == {label + 1 for label in expected}:
            what = "they are counted from 1, in an order that no file name tells; if it is the usual one, rename 1 to 0"
        return (
            f"expected the {len(expected)} class folders of this set in {folder}, found {len(known)} of them and "
            f"{len(foreign)} others ({', '.join(foreign[:3])}); {what}"
        )
    if len(known) < len(expected):
        odd = [wnids()[label] for label in expected if os.path.lexists(folder / wnids()[label]) and label not in known]
        what = f" ({odd[0]} is there, but no folder)" if odd else ""
        return f"expected {len(expected)} class folders in {folder}, found {len(known)}{what}; unpack the whole archive"
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
    label_of: Callable[[str], int | None],
    classes: Callable[[], Collection[int]],
    class_name: Callable[[int], str] = lambda label: wnids()[label],
) -> Reader:
    """How to read a set that always comes with one folder per class.

    Args:
        label_of: the class index a folder name stands for.
        classes: the classes the set has.
        class_name: see `items_of_folders`.
    """

    def read(spec: DatasetSpec, data_dirs: Sequence[Path], corruption: Corruption | None) -> Found:
        def recognise(folder: Path) -> str | None:
            named = next((sub for sub in class_folders(folder) if label_of(sub) is not None), None)
            return None if named is None else BY_INDEX if wnid_label(named) is None else BY_WNID

        folder, layout = find_folder(spec, data_dirs, recognise)
        return Found(folder, layout, items_of_folders(spec.name, folder, label_of, classes(), class_name))

    return read
