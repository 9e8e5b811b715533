"""The 1000 classes, the sub-sets of them that count, and ReaL labels: read from timm's wheel without importing timm."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

AGREES = 0.8  # of labels in the right order about 0.9 agree with ReaL, in any other order hardly 0.01

VAL_IMAGE = re.compile(r"ILSVRC2012_val_(\d{8})", re.IGNORECASE)


def timm_info(file: str) -> str:
    """A text that lies in timm's wheel."""
    spec = importlib.util.find_spec("timm")  # a top-level name is found without running the package
    assert spec is not None and spec.submodule_search_locations, "timm is a dependency of gfnet-bench"
    return (Path(spec.submodule_search_locations[0]) / "data" / "_info" / file).read_text()


@functools.cache
def wnids() -> tuple[str, ...]:
    """The WordNet ids of the 1000 classes; the position is the class index that models are trained on."""
    return tuple(timm_info("imagenet_synsets.txt").split())


@functools.cache
def class_index() -> dict[str, int]:
    """WordNet id -> class index."""
    return {wnid: index for index, wnid in enumerate(wnids())}


@functools.cache
def subset(name: str) -> tuple[int, ...]:
    """The class indices, ascending, of `imagenet_a` or `imagenet_r`."""
    return tuple(sorted(class_index()[wnid] for wnid in timm_info(f"{name}_synsets.txt").split()))


@functools.cache
def real_labels() -> tuple[tuple[int, ...], ...]:
    """ReaL: the right answers of each validation image, by file number less one; some images have none.

    Source: Beyer et al. 2020, "Are we done with ImageNet?".
    """
    return tuple(tuple(answers) for answers in json.loads(timm_info("imagenet_real_labels.json")))


def file_number(name: str) -> int | None:
    """293 for `ILSVRC2012_val_00000293`, with whatever stands around it; None for other names."""
    found = VAL_IMAGE.search(name)
    return int(found[1]) if found else None


def agreement(numbers: Sequence[int | None], labels: Iterable[int]) -> tuple[float, int]:
    """How far labels agree with ReaL, which tells the order of the classes they were counted in.

    Labels in the order of the sorted WordNet ids agree for about nine images in ten, in any other order for hardly
    one in a hundred, so this decides between orders without a look at an image.

    Args:
        numbers: the file number of each image; None where the name has none.
        labels: the class index of each image.

    Returns:
        The share of images whose label is among its ReaL answers, and how many images could be compared.
    """
    real = real_labels()
    known = [
        label in real[number - 1]
        for number, label in zip(numbers, labels, strict=True)
        if number is not None and 0 < number <= len(real) and real[number - 1]
    ]
    return (sum(known) / len(known) if known else 0.0), len(known)
