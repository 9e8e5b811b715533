"""Pictures that are not 8 bits of grey or colour: depths, palettes, transparency, inks, several in one file."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gfnet_bench.datasets.decode import BadImage, decode

rng = np.random.default_rng(0)
RGB = np.asarray(Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize((120, 90)))
GREY = RGB[..., 0]
DEEP = GREY.astype(np.uint16)
OTHER = Image.fromarray(255 - RGB)


def saved(pixels: np.ndarray | Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, form, **options)
    return file.getvalue()


def tiff(levels: np.ndarray, bits: int, order: str = "<", white: int = 1, kind: int = 1, width: int = 120) -> bytes:
    """A grey TIFF of one strip; `white` 0 has it as 0, `kind` is 1 for unsigned, 2 for signed numbers, 3 for floats."""
    data = levels.tobytes()
    tags = {256: width, 257: 90, 258: bits, 259: 1, 262: white, 273: 8, 277: 1, 278: 90, 279: len(data), 339: kind}
    entries = b"".join(
        struct.pack(f"{order}HHI", tag, 3, 1) + struct.pack(f"{order}HH", value, 0)
        if value < 1 << 16
        else struct.pack(f"{order}HHII", tag, 4, 1, value)
        for tag, value in tags.items()
    )
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, 8 + len(data))
    return head + data + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


def twelve_bits() -> bytes:
    """Three bytes hold two levels."""
    first, second = (DEEP << 4).reshape(-1, 2).T
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1)
    return tiff(packed.astype(np.uint8), 12)


DEPTHS = {
    "png": saved(DEEP * 257, "PNG"),
    "png, the upper byte alone": saved(DEEP << 8, "PNG"),
    "png, one level transparent": saved(DEEP * 257, "PNG", transparency=257),
    "jpeg 2000": saved(DEEP * 257, "JPEG2000"),
    "grey map": b"P5 120 90 65535 " + (DEEP * 257).astype(">u2").tobytes(),
    "tiff": saved(DEEP * 257, "TIFF"),
    "tiff, compressed": saved(DEEP * 257, "TIFF", compression="tiff_lzw"),
    "tiff, high byte first": tiff((DEEP * 257).astype(">u2"), 16, ">"),
    "tiff, white is 0": tiff((255 - DEEP) * 257, 16, white=0),
    "tiff, 12 bits": twelve_bits(),
    "tiff, 32 bits, levels": tiff(GREY.astype("<u4"), 32),
    "tiff, 32 bits, signed levels": tiff(GREY.astype(">i4"), 32, ">", kind=2),
    "tiff, 32 bits, floating levels": tiff(GREY.astype("<f4"), 32, kind=3),
    "tiff, 32 bits, fractions": tiff(GREY.astype("<f4") / 255, 32, kind=3),
}


@pytest.mark.parametrize("data", DEPTHS.values(), ids=DEPTHS.keys())
def test_grey_of_many_bits_is_the_picture_it_was_made_of(data: bytes) -> None:
    np.testing.assert_array_equal(decode(data), np.repeat(GREY[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (tiff(GREY.astype("<u4") * 257, 32), "int32 levels from"),
        (tiff(GREY.astype("<i4") - 200, 32, kind=2), "int32 levels from -"),
        (tiff(GREY.astype("<i2") * 100, 16, kind=2), "int32 levels from"),
        (tiff(GREY.astype("<f4") * 2, 32, kind=3), "float32 levels from"),
        (tiff(GREY.astype("<f4") - 1, 32, kind=3), "float32 levels from -"),
        (tiff(GREY.astype("<f4") * np.nan, 32, kind=3), "float32 levels from nan to nan"),
    ],
)
def test_grey_whose_white_no_file_tells_is_refused_not_cut_off(data: bytes, found: str) -> None:
    with pytest.raises(BadImage, match=rf"{found}.*, expected 0 to 255; save it with 8 or 16 bits"):
        decode(data)


PALETTE = Image.fromarray(RGB).quantize(200)
COLOURS = np.array(PALETTE.convert("RGB"))
OTHERS = {
    "one bit": (saved(GREY > 128, "PNG"), np.uint8(255) * (GREY > 128)),
    "one bit, fax": (saved(GREY > 128, "TIFF", compression="group4"), np.uint8(255) * (GREY > 128)),
    "transparent grey": (saved(np.dstack([GREY, 255 - GREY]), "PNG"), GREY),
    "transparent": (saved(np.dstack([RGB, GREY]), "PNG"), RGB),
    "transparent webp": (saved(np.dstack([RGB, GREY]), "WEBP", lossless=True, exact=True), RGB),
    "one colour transparent": (saved(RGB, "PNG", transparency=tuple(RGB[0, 0].tolist())), RGB),
    "palette": (saved(PALETTE, "PNG"), COLOURS),
    "palette, one transparent": (saved(PALETTE, "PNG", transparency=3), COLOURS),
    "palette, all transparent": (saved(PALETTE, "PNG", transparency=bytes(range(200))), COLOURS),
    "gif": (saved(PALETTE, "GIF", transparency=3), COLOURS),
    "inks": (saved(Image.fromarray(RGB).convert("CMYK"), "TIFF"), RGB),
    "16 bits of colour": (b"P6 120 90 65535 " + (RGB.astype(">u2") * 257).tobytes(), RGB),
    "two pages": (saved(RGB, "TIFF", save_all=True, append_images=[OTHER]), RGB),
    "moving": (saved(RGB, "PNG", save_all=True, append_images=[OTHER]), RGB),
    "moving webp": (saved(RGB, "WEBP", lossless=True, save_all=True, append_images=[OTHER]), RGB),
}


@pytest.mark.parametrize(("data", "expected"), OTHERS.values(), ids=OTHERS.keys())
def test_other_pictures_are_what_torchvisions_folders_show(data: bytes, expected: np.ndarray) -> None:
    shown = expected if expected.ndim == 3 else np.repeat(expected[..., None], 3, axis=2)
    np.testing.assert_array_equal(decode(data), shown)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_which_side_is_up_is_ignored_where_torchvisions_folders_ignore_it(form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(RGB, form, exif=exif)
    np.testing.assert_array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    if form != "TIFF":  # which Pillow turns as it is read
        np.testing.assert_array_equal(decode(data), decode(saved(RGB, form)))
