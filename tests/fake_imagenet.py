"""Tiny trees in the layouts of the real data sets: all classes, one small flat image each unless told otherwise.

The file numbers are chosen so that the labels agree with ReaL, as those of the real validation set do.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image

from gfnet_bench.datasets.classes import real_labels, wnids


@functools.cache
def photo(label: int, width: int = 48, height: int = 40) -> bytes:
    """A JPEG of one colour that tells the class: red and green hold it in steps that survive the coding."""
    colour = (8 * (label % 32), 8 * (label // 32), 128)
    return simplejpeg.encode_jpeg(np.full((height, width, 3), colour, dtype=np.uint8), quality=95)


def class_of(pixel: np.ndarray) -> int:
    """The class a pixel of such an image tells."""
    return round(int(pixel[0]) / 8) + 32 * round(int(pixel[1]) / 8)


@functools.cache
def file_numbers(per_class: int = 1) -> dict[int, list[int]]:
    """Class -> numbers of validation images of that class, in the sense of ReaL, none of them used twice."""
    numbers: dict[int, list[int]] = {label: [] for label in range(1000)}
    for number, answers in enumerate(real_labels(), 1):
        for label in answers[:1]:
            if len(numbers[label]) < per_class:
                numbers[label].append(number)
    assert all(len(found) == per_class for found in numbers.values())
    return numbers


def val_name(number: int) -> str:
    """The official file name."""
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def write_val(
    folder: Path,
    per_class: int = 1,
    folder_of: Callable[[int], str] | None = None,
    image: Callable[[int], bytes] = photo,
) -> Path:
    """Validation images in a folder per class, by default named by WordNet id; "" as name puts them side by side."""
    for label, numbers in file_numbers(per_class).items():
        place = folder / (wnids()[label] if folder_of is None else folder_of(label))
        place.mkdir(parents=True, exist_ok=True)
        for number in numbers:
            (place / val_name(number)).write_bytes(image(label))
    return folder


def rename_classes(val: Path, folder: Path, folder_of: Callable[[int], str]) -> Path:
    """The class folders of a validation set (links to them) under other names."""
    folder.mkdir(parents=True)
    for label, wnid in enumerate(wnids()):
        (folder / folder_of(label)).symlink_to(val / wnid)
    return folder


def write_classes(folder: Path, names: dict[str, int], per_class: int = 1) -> Path:
    """Images whose names are no validation images' in folders of these names and classes, as in A, R, V2 and Sketch."""
    for name, label in names.items():
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            (folder / name / f"image_{number}.jpg").write_bytes(photo(label))
    return folder


def write_c(folder: Path, corruption: str, severity: int, group: str = "", side: int = 224) -> Path:
    """One corruption and severity of ImageNet-C, whose files are of 224 pixels as published."""
    write_val(folder / group / corruption / str(severity), image=lambda label: photo(label, side, side))
    return folder


def truncated(data: bytes) -> bytes:
    """The first half of a file."""
    return data[: len(data) // 2]


def encoded(pixels: np.ndarray, form: str = "JPEG", mode: str = "RGB", **options: object) -> bytes:
    """Pixels as a file that Pillow writes."""
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, form, **options)
    return file.getvalue()
