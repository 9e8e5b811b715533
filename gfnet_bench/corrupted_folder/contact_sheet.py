"""One image under every corruption at every severity, on one sheet."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gfnet_bench.catalog import CORRUPTIONS, SEVERITIES
from gfnet_bench.corrupted_folder.folder import TRANSFORMS, transformed
from gfnet_bench.corruptions import RECIPES, corrupt, made_by
from gfnet_bench.datasets.decode import BadImage, decode
from gfnet_bench.datasets.image_files import BadFile, read_file
from gfnet_bench.errors import GfnetBenchError, MissingError, UsageError
from gfnet_bench.randomness import image_seeds

TILE, GAP, MARGIN, NAMES, HEAD = 224, 6, 24, 250, 76  # pixels; names stand left of the tiles, the head above them
INK, FAINT, PAPER = "#1a1a1a", "#767676", "#ffffff"


def draw(image: Path, file: Path, *, recipe: str = "imagenet_c", seed: int = 0) -> None:
    """Write the sheet as PNG: a row for each corruption of the recipe, its columns the clean image and five severities.

    An image is brought to the recipe's size, by a recipe without one to that of ImageNet-C. Small ones are shown
    enlarged, pixel for pixel.

    Raises:
        UsageError: if the sheet would take the place of the image, or of something that is no file.
        MissingError: if there is no such image.
        GfnetBenchError: if it cannot be decoded, or the sheet cannot be written.
    """
    if file.exists() and file.samefile(image):
        raise UsageError(f"the sheet would take the place of {image}; name another file after it")
    if file.exists() and not file.is_file():
        raise UsageError(
            f"{file}: expected the name of a file to write, found a folder or a device; choose another DST"
        )
    clean = _read(image, recipe)
    pixels = torch.from_numpy(clean).permute(2, 0, 1)[None]
    seeds = image_seeds([image.name], seed)
    columns, names = 1 + len(SEVERITIES), made_by(RECIPES[recipe].name)
    width = MARGIN + NAMES + columns * (TILE + GAP) - GAP + MARGIN
    sheet = Image.new("RGB", (width, HEAD + len(names) * (TILE + GAP) - GAP + MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(28), ImageFont.load_default(20)

    pen.text((MARGIN, HEAD / 2), recipe, INK, large, anchor="lm")
    for column in range(columns):
        heading = f"severity {SEVERITIES[column - 1]}" if column else "clean"
        pen.text((_left(column) + TILE / 2, HEAD / 2), heading, INK, large, anchor="mm")
    for row, name in enumerate(names):
        top = HEAD + row * (TILE + GAP)
        pen.text((MARGIN, top + TILE / 2 - 14), name.replace("_", " "), INK, large, anchor="lm")
        pen.text((MARGIN, top + TILE / 2 + 20), CORRUPTIONS[name].group, FAINT, small, anchor="lm")
        tiles = [corrupt(pixels, name, severity, recipe=recipe, seeds=seeds) for severity in SEVERITIES]
        for column, tile in enumerate([pixels, *tiles]):
            picture = Image.fromarray(tile[0].permute(1, 2, 0).numpy())
            sheet.paste(picture.resize((TILE, TILE), Image.Resampling.NEAREST), (_left(column), top))
    file = Path(os.path.realpath(file))  # behind a link
    part = file.with_name(f".{os.getpid()}.partial")
    try:
        sheet.save(part, "PNG", optimize=True)
        part.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise GfnetBenchError(f"cannot write {file} ({error.strerror or error}); choose another DST") from None


def _left(column: int) -> int:
    """Where a column begins."""
    return MARGIN + NAMES + column * (TILE + GAP)


def _read(image: Path, recipe: str) -> NDArray[np.uint8]:
    """The image as large as the recipe's, (h, w, 3)."""
    try:
        transform = TRANSFORMS.get(RECIPES[recipe].name, TRANSFORMS["imagenet_c"])
        return transformed(decode(read_file(image)), transform)
    except BadImage as error:
        raise GfnetBenchError(f"{image}: expected an image, found a damaged one ({error})") from None
    except BadFile as error:
        raise MissingError(f"expected an image, found none that can be read: {image} ({error})") from None
