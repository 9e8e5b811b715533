"""Tiny trees in the layouts of the real data sets: all classes, one small flat image each unless told otherwise.

The file numbers are chosen so that the labels agree with ReaL, as those of the real validation set do.
"""

from __future__ import annotations

import functools
import io
import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from gfnet_bench.datasets.classes import real_labels, wnids


@functools.cache
def photo(label: int, width: int = 48, height: int = 40) -> bytes:
    """A JPEG of one colour that tells the class: red and green hold it in steps that survive the coding."""
    import simplejpeg

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


def _bomb(width: int, height: int, form: str) -> bytes:
    """A small file whose header promises so many pixels."""
    data = bytearray(encoded(np.zeros((8, 8), np.uint8), form, "L"))
    if form == "JPEG":
        start = data.index(b"\xff\xc0") + 5
        data[start : start + 4] = struct.pack(">HH", height, width)
    else:
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def _strip(width: int, height: int, form: str) -> bytes:
    return encoded(np.zeros((height, width), np.uint8), form, "L")


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(3 << 30)


def _socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # a socket's address is short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(before)


# What people's disks have under the name of an image, and a word of why each is none.
ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder": (Path.mkdir, "a folder"),
    "dangling": (lambda path: path.symlink_to("nowhere"), "a link to nothing"),
    "loop": (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
    "fifo": (os.mkfifo, "a FIFO"),
    "link to a fifo": (lambda path: (os.mkfifo(path.parent / "pipe"), path.symlink_to("pipe")), "a FIFO"),
    "socket": (_socket, "a socket"),
    "endless device": (lambda path: path.symlink_to("/dev/zero"), "a device"),
    "link to a folder": (lambda path: ((path.parent / "sub").mkdir(), path.symlink_to("sub")), "a folder"),
    "wide": (lambda path: path.write_bytes(_strip(65000, 1, "JPEG")), "16640000 x 256 pixels after resizing"),
    "high": (lambda path: path.write_bytes(_strip(1, 65000, "JPEG")), "256 x 16640000 pixels after resizing"),
    "wide PNG": (lambda path: path.write_bytes(_strip(65000, 1, "PNG")), "16640000 x 256 pixels after resizing"),
    "large": (lambda path: path.write_bytes(_bomb(14000, 14000, "JPEG")), "14000 x 14000 pixels, expected from 1 to"),
    "large PNG": (lambda path: path.write_bytes(_bomb(14000, 14000, "PNG")), "exceeds limit of 178956970 pixels"),
    "huge PNG": (lambda path: path.write_bytes(_bomb(2**31 - 1, 2**31 - 1, "PNG")), "exceeds limit"),
    "empty": (lambda path: path.write_bytes(b""), "the file is empty"),
    "zeros": (lambda path: path.write_bytes(bytes(100)), "no image: it begins with"),
    "web page": (lambda path: path.write_bytes(b"<!DOCTYPE html>"), "no image: it begins with b'<!DOCTYPE"),
    "Git-LFS pointer": (lambda path: path.write_bytes(b"version https://git-lfs"), "begins with b'version https:"),
    "half": (lambda path: path.write_bytes(truncated(photo(7, 200, 150))), "truncated"),
    "half a PNG": (
        lambda path: path.write_bytes(truncated(encoded(np.arange(48000, dtype=np.uint8).reshape(100, 160, 3), "PNG"))),
        "runcated",
    ),
    "gigabytes": (_sparse, "3.2 GB, expected an image"),
}
STRANGE_NAMES = [b"caf\xe9", b"\xff\xfe", b"new\nline", b"tab\there", b"red\x1b[31m", b"bell\x07", b"nul\xc2\x80"]


def write_odd(folder: Path, name: Callable[[int], str]) -> dict[Path, str]:
    """Put every kind of odd file into a folder, as `name(0)`, `name(1)` ...; path -> a word of the reason."""
    reasons = {}
    for n, (make, reason) in enumerate(ODD.values()):
        make(folder / name(n))
        reasons[folder / name(n)] = reason
    return reasons


def truncated(data: bytes) -> bytes:
    """The first half of a file."""
    return data[: len(data) // 2]


def encoded(pixels: np.ndarray, form: str = "JPEG", mode: str = "RGB", **options: object) -> bytes:
    """Pixels as a file that Pillow writes."""
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, form, **options)
    return file.getvalue()
