"""The labels of validation images that all lie in one folder, and the proof of the class order they are written in.

Three orders are about: the numbers of the development kit, from 1 to 1000, and the positions of the sorted WordNet ids,
which models are trained on, from 0 or from 1. A list of numbers does not say which it is in; the ReaL labels do.
"""

from __future__ import annotations

import codecs
import io
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from gfnet_bench.datasets.classes import AGREES, agreement, class_index, file_number
from gfnet_bench.datasets.image_files import BadFile, printable, read_file
from gfnet_bench.datasets.layouts import how_to_unpack
from gfnet_bench.errors import GfnetBenchError, MissingError

UP = 4  # levels: from ILSVRC/Data/CLS-LOC/val to where Kaggle's archive puts its labels
_KIT = ("ILSVRC2012_devkit_t12", "data")
_BESIDE = (".", "/".join(_KIT), "/".join((_KIT[0], *_KIT)), "devkit/data", "data", "meta", "caffe_ilsvrc12")

Labels = dict[int, int]  # file number -> class index
Reading = tuple[str, Labels]  # the order that numbers are taken to be in, in words, and what they are then


def read_labels(name: str, folder: Path, numbers: Collection[int], data_dirs: Sequence[Path]) -> tuple[Labels, str]:
    """The labels of a flat folder of validation images.

    Args:
        name: of the data set, for messages.
        folder: holds the images.
        numbers: their file numbers; of several label files the one that has most of them is taken.
        data_dirs: the search for label files goes up from `folder` to one of these, or by `UP` levels.

    Returns:
        File number -> class index, and where they are from, in words.

    Raises:
        MissingError: if there is no label file.
        GfnetBenchError: if there are label files, but none in an order that can be told.
    """
    places = places_beside(folder, data_dirs)
    proven: list[tuple[Labels, str]] = []
    rejected = []
    for file, reader in _READERS.items():
        for path in (path for place in places if (path := place / file).exists()):
            try:
                for order, labels in reader(_text(path), places):
                    share, known = agreement(list(labels), labels.values())
                    if share < AGREES:
                        rejected.append(f"{path} read as {order} ({share:.0%} of {known} labels agree with ReaL)")
                        continue
                    proven.append((labels, f"{path} ({order}; {share:.0%} agree with ReaL)"))
                    if labels.keys() >= set(numbers):
                        return proven[-1]
            except BadFile as error:
                rejected.append(f"{path} ({error})")
    if proven:
        return max(proven, key=lambda one: len(one[0].keys() & set(numbers)))
    if rejected:
        raise GfnetBenchError(
            f"{name}: expected a label file beside {folder} of whose labels about 90% agree with ReaL, found "
            f"{printable('; '.join(rejected))}. The development kit's numbers need its class list: put meta.mat (read "
            "through scipy) or map_clsloc.txt beside its ground truth"
        )
    raise MissingError(
        f"{name}: {printable(folder)} holds the images without class folders, and no label file lies beside it; "
        f"expected {' or '.join(_READERS)} (the third is in ILSVRC2012_devkit_t12.tar.gz"
        f"{how_to_unpack(name, data_dirs, [_KIT[0]]) or ' at image-net.org'})"
    )


def orders(numbers: Mapping[int, int], places: Sequence[Path]) -> Iterator[Reading]:
    """What class numbers may be, one order after another.

    Args:
        numbers: file number -> class number.
        places: folders that may hold the development kit's class list.

    Raises:
        BadFile: last, if there is such a list and it cannot be read.
    """
    for first in (0, 1):
        known = {n: i - first for n, i in numbers.items() if 0 <= i - first < 1000}
        yield f"positions of the sorted WordNet ids, from {first}", known
    for reader, path in ((reader, place / file) for place in places for file, reader in _CLASS_LISTS.items()):
        if path.exists():
            kit = reader(path)
            yield f"development kit numbers, by {path.name}", {n: kit[i] for n, i in numbers.items() if i in kit}


def places_beside(folder: Path, data_dirs: Sequence[Path]) -> list[Path]:
    """Where files about the images in a folder may lie, the nearest first; links are followed back as well."""
    up = UP
    for data_dir in data_dirs:
        if folder.is_relative_to(data_dir):
            up = max(up, len(folder.relative_to(data_dir).parts))
    lines = (Path(os.path.abspath(folder)), Path(os.path.realpath(folder)))  # noqa: PTH100  # links stay as they are
    above = [place for level in range(up + 1) for line in lines for place in [line, *line.parents][level : level + 1]]
    return [place / beside for place in dict.fromkeys(above) for beside in _BESIDE]


def _text(path: Path) -> str:
    """A file of names and numbers, which are ASCII in whatever encoding somebody saved it."""
    data = read_file(path)
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if wide else "utf-8-sig", errors="replace")


def _read_rows(text: str, places: Sequence[Path]) -> Iterable[Reading]:
    """Rows that begin with a file and its class, `ILSVRC2012_val_00048981,n03995372 85 1 499 272` as Kaggle has it.

    Or a number instead of the WordNet id, `ILSVRC2012_val_00000001.JPEG 65`, as the list that Caffe distributed.
    """
    rows = [line.replace(",", " ").split()[:2] for line in text.splitlines()]
    words = {number: row[1] for row in rows if len(row) == 2 and (number := file_number(row[0]))}
    yield from _readings(words, places)


def _read_lines(text: str, places: Sequence[Path]) -> Iterable[Reading]:
    """One class per line, line 293 for image 293."""
    return _readings(dict(enumerate(text.split(), 1)), places)


def _readings(words: Mapping[int, str], places: Sequence[Path]) -> Iterator[Reading]:
    """What the words for classes may be: WordNet ids or numbers."""
    named = {n: class_index()[word] for n, word in words.items() if word in class_index()}
    numbers = {n: int(word) for n, word in words.items() if word.isdecimal() and len(word) <= 4}
    if named or not numbers:
        yield "WordNet ids", named
    else:
        yield from orders(numbers, places)


_READERS: dict[str, Callable[[str, Sequence[Path]], Iterable[Reading]]] = {
    "LOC_val_solution.csv": _read_rows,
    "imagenet_2012_validation_synset_labels.txt": _read_lines,
    "ILSVRC2012_validation_ground_truth.txt": _read_lines,
    "val.txt": _read_rows,
}


def _read_map_clsloc(path: Path) -> dict[int, int]:
    """Development kit number -> class index, from rows such as `n02119789 1 kit_fox`."""
    rows = [line.split() for line in _text(path).splitlines()]
    known = [row for row in rows if len(row) > 1 and row[0] in class_index() and row[1].isdecimal()]
    return {int(row[1][:9]): class_index()[row[0]] for row in known}


def _read_meta_mat(path: Path) -> dict[int, int]:
    """Development kit number -> class index, from its own file."""
    try:
        from scipy.io import loadmat
    except ImportError:
        raise BadFile(
            f"{path.name} is read through scipy, which is not installed: install it, or put map_clsloc.txt beside it"
        ) from None
    try:
        synsets = loadmat(io.BytesIO(read_file(path)), squeeze_me=True)["synsets"]
        known = [(int(row["ILSVRC2012_ID"]), str(row["WNID"])) for row in synsets]
    except MemoryError:
        raise
    except Exception as error:  # on damaged files its reader raises whatever it happens to meet
        raise BadFile(f"{path.name} cannot be read: {type(error).__name__}") from None
    return {number: class_index()[wnid] for number, wnid in known if wnid in class_index()}


_CLASS_LISTS: dict[str, Callable[[Path], dict[int, int]]] = {
    "map_clsloc.txt": _read_map_clsloc,
    "meta.mat": _read_meta_mat,
}
