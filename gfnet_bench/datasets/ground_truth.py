"""The labels of validation images that all lie in one folder, and the proof of the class order they are written in.

Two orders are about: the numbers of the development kit (1 to 1000) and the positions of the sorted WordNet ids (0 to
999), which models are trained on. A list of numbers does not say which it is in; the ReaL labels do.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from gfnet_bench.datasets.classes import AGREES, agreement, class_index, file_number
from gfnet_bench.errors import GfnetBenchError, MissingError

_BESIDE = (".", "ILSVRC2012_devkit_t12/data", "devkit/data", "meta")

Labels = dict[int, int]  # file number -> class index


def read_labels(name: str, folder: Path, data_dirs: Sequence[Path]) -> tuple[Labels, str]:
    """The labels of a flat folder of validation images.

    Args:
        name: of the data set, for messages.
        folder: holds the images.
        data_dirs: the search for label files goes up from `folder` to one of these.

    Returns:
        File number -> class index, and where they are from, in words.

    Raises:
        MissingError: if there is no label file, or the development kit's lacks its class list.
        GfnetBenchError: if there are label files, but none in an order that can be told.
    """
    places = [place / sub for place in _upwards(folder, data_dirs) for sub in _BESIDE]
    rejected = []
    for file, reader in _READERS.items():
        for path in (place / file for place in places if (place / file).is_file()):
            for order, labels in reader(path, places):
                share, _ = agreement(list(labels), labels.values())
                if share >= AGREES:
                    return labels, f"{path} ({order}; {share:.0%} agree with ReaL)"
                rejected.append(
                    f"{path} read as {order} ({share:.0%} of its labels agree with ReaL, expected about 90%)"
                )
    if not rejected:
        raise MissingError(
            f"{name}: {folder} holds the images without class folders, and no label file lies beside it; expected "
            f"{' or '.join(_READERS)} (the third is in ILSVRC2012_devkit_t12.tar.gz at image-net.org)"
        )
    raise GfnetBenchError(
        f"{name}: the class order of {'; '.join(rejected)} is none that is known here. The development kit's numbers "
        "need its class list: put meta.mat (read through scipy) or map_clsloc.txt beside its ground truth"
    )


def _upwards(folder: Path, data_dirs: Sequence[Path]) -> list[Path]:
    for data_dir in data_dirs:
        if folder.is_relative_to(data_dir):
            steps = len(folder.relative_to(data_dir).parts)
            return [folder, *list(folder.parents)[: max(steps, 1)]]
    return [folder]


def _read_kaggle(path: Path, places: Sequence[Path]) -> Iterable[tuple[str, Labels]]:
    """Rows such as `ILSVRC2012_val_00048981,n03995372 85 1 499 272`."""
    with path.open(newline="") as file:
        rows = [(file_number(row[0]), row[1].split()[:1]) for row in csv.reader(file) if len(row) == 2]
    yield (
        "WordNet ids",
        {number: class_index()[wnid[0]] for number, wnid in rows if number and wnid and wnid[0] in class_index()},
    )


def _read_wnid_lines(path: Path, places: Sequence[Path]) -> Iterable[tuple[str, Labels]]:
    """One WordNet id per line, line 293 for image 293."""
    lines = path.read_text().split()
    yield "WordNet ids", {n: class_index()[wnid] for n, wnid in enumerate(lines, 1) if wnid in class_index()}


def _read_devkit(path: Path, places: Sequence[Path]) -> Iterable[tuple[str, Labels]]:
    """One number from 1 to 1000 per line, line 293 for image 293."""
    numbers = [int(word) for word in path.read_text().split()]
    devkit = _devkit_classes(places)
    if devkit:
        yield "development kit numbers", {n: devkit[i] for n, i in enumerate(numbers, 1) if i in devkit}
    yield "positions of the sorted WordNet ids, from 1", {n: i - 1 for n, i in enumerate(numbers, 1)}


def _read_pairs(path: Path, places: Sequence[Path]) -> Iterable[tuple[str, Labels]]:
    """Rows such as `ILSVRC2012_val_00000001.JPEG 65`."""
    rows = [line.rsplit(maxsplit=1) for line in path.read_text().splitlines() if line.strip()]
    pairs = {number: int(row[1]) for row in rows if (number := file_number(row[0])) and row[-1].isdecimal()}
    yield "positions of the sorted WordNet ids, from 0", pairs
    devkit = _devkit_classes(places)
    if devkit:
        yield "development kit numbers", {n: devkit[i] for n, i in pairs.items() if i in devkit}


_READERS: dict[str, Callable[[Path, Sequence[Path]], Iterable[tuple[str, Labels]]]] = {
    "LOC_val_solution.csv": _read_kaggle,
    "imagenet_2012_validation_synset_labels.txt": _read_wnid_lines,
    "ILSVRC2012_validation_ground_truth.txt": _read_devkit,
    "val.txt": _read_pairs,
}


def _devkit_classes(places: Sequence[Path]) -> dict[int, int]:
    """Development kit number -> class index, or nothing if its class list is not there."""
    for place in places:
        if (place / "map_clsloc.txt").is_file():
            rows = [line.split() for line in (place / "map_clsloc.txt").read_text().splitlines()]
            return {int(row[1]): class_index()[row[0]] for row in rows if row and row[0] in class_index()}
        if (place / "meta.mat").is_file():
            return _read_meta_mat(place / "meta.mat")
    return {}


def _read_meta_mat(path: Path) -> dict[int, int]:
    try:
        from scipy.io import loadmat
    except ImportError:
        raise MissingError(
            f"{path} is read through scipy, which is not installed: install it, or put map_clsloc.txt beside the file"
        ) from None
    synsets = loadmat(path, squeeze_me=True)["synsets"]
    return {
        int(row["ILSVRC2012_ID"]): class_index()[str(row["WNID"])]
        for row in synsets
        if str(row["WNID"]) in class_index()
    }
