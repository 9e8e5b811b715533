"""The photographs of ice that `frost` lays over images: where they come from, and how they are made to fit.

They are the five that the published scripts choose from. Resizing follows OpenCV, which those scripts call; it is done
here because OpenCV is not a dependency.
"""

from __future__ import annotations

import math
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gfnet_bench.downloads.checksum import sha256_of
from gfnet_bench.downloads.fetching import cache_dir, fetch
from gfnet_bench.errors import MissingError

SOURCE = "https://raw.githubusercontent.com/hendrycks/robustness/master/ImageNet-C/create_c/"
FILES = {  # in the order the scripts number them, and the sha256 of each
    "frost1.png": "ff9f907860bd7a835d459e32f9d588062b7f61ee267343cc7222b56753a14755",
    "frost2.png": "fe211a89b336999c207a852ce05818d4545d0b57c5beadd824b4cc9d9a9b6137",
    "frost3.png": "2d0d50b4a9bb213f38b024ef7768731bb83cc08d2f26b5766bbc167cdfa0e504",
    "frost4.jpg": "3f8b91ca1a9fa7167b09e773da53f5ae60d0a1fd88f02a783f6e328a72887f6e",
    "frost5.jpg": "5fc6a19df4a429ba68abdcc8f8a4278d4c9f81c9ccafd2c92ab0c8cf8992ebd2",
}
COEFFICIENT = 1 << 11  # what OpenCV counts the weights of a linear resize in
SHARPNESS = -0.75  # the parameter of OpenCV's cubic


class Textures(NamedTuple):
    """The five textures in one tensor, each in the top left corner of its own part.

    Attributes:
        pixels: (5, h, w, 3) uint8 RGB, 0 beyond a texture's own size.
        heights: (5,) int64.
        widths: (5,) int64.
    """

    pixels: Tensor
    heights: Tensor
    widths: Tensor


@lru_cache(maxsize=16)
def textures(height: int, width: int, scale: float | None, device: torch.device) -> Textures:
    """The textures, each larger than an image of height x width pixels.

    Args:
        height: of the images, in pixels.
        width: likewise.
        scale: resize to this part of the original, linearly; None to choose as imagecorruptions does: 1.1 times the
            original, or 1.1 times what covers the image, by a cubic. A texture that would come out too small for the
            images goes that way as well, which is never so at the sizes the published sets have.
        device: where to put them.

    Raises:
        MissingError: if they are nowhere to be found.
        GfnetBenchError: if a file in the cache is not the one expected.
    """
    images = [_fitted(name, height, width, scale) for name in FILES]
    heights, widths = ([image.shape[axis] for image in images] for axis in (0, 1))
    pixels = torch.zeros((len(images), max(heights), max(widths), 3), dtype=torch.uint8)
    for part, image in zip(pixels, images, strict=True):
        part[: image.shape[0], : image.shape[1]] = torch.tensor(image)
    return Textures(pixels.to(device), torch.tensor(heights, device=device), torch.tensor(widths, device=device))


def texture_file(name: str) -> Path:
    """Where a texture is: in an installed imagecorruptions, else in the cache, fetched first if need be.

    Raises:
        MissingError: if it cannot be had.
        GfnetBenchError: if the file in the cache is not the one expected.
    """
    try:
        package = metadata.distribution("imagecorruptions")
    except metadata.PackageNotFoundError:
        package = None
    if package:
        path = Path(str(package.locate_file(f"imagecorruptions/frost/{name}")))
        if path.is_file() and sha256_of(path) == FILES[name]:
            return path
    try:
        target = cache_dir() / "textures" / name
        return fetch([SOURCE + name], target, label=name, sha256=FILES[name], expect="image", progress=False)
    except MissingError as error:
        raise MissingError(f'{error} Or run: pip install "gfnet-bench[reference]", which brings it along.') from error


@lru_cache(maxsize=len(FILES))
def _decoded(name: str) -> NDArray[np.uint8]:
    """(h, w, 3) RGB, any transparency ignored."""
    with Image.open(texture_file(name)) as image:
        return np.asarray(image.convert("RGB"))


def _fitted(name: str, height: int, width: int, scale: float | None) -> NDArray[np.uint8]:
    image = _decoded(name)
    rows, columns = image.shape[:2]
    if scale is not None:
        smaller = round(rows * scale), round(columns * scale)
        if smaller[0] > height and smaller[1] > width:
            return image if scale == 1 else resize_linear(image, *smaller, 1 / scale)
    factor = 1.1 * max(1, height / rows, width / columns)
    return resize_cubic(image, math.ceil(rows * factor), math.ceil(columns * factor))


def resize_linear(image: NDArray[np.uint8], height: int, width: int, step: float) -> NDArray[np.uint8]:
    """Linear interpolation as `cv2.resize` does it on bytes, without antialiasing: (h, w, c) to (height, width, c).

    Args:
        image: (h, w, c).
        height: rows of the result.
        width: columns of the result.
        step: pixels of the image to a pixel of the result, on both axes.
    """

    def neighbours(size: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        places, offsets = _places(count, step, np.float32)
        offsets = np.where((places < 0) | (places >= size - 1), 0, offsets).astype(np.float32)
        weights = np.rint(np.stack([1 - offsets, offsets]) * COEFFICIENT).astype(np.int64)
        return np.stack([places, places + 1]).clip(0, size - 1), weights

    (above, below), down = neighbours(len(image), height)
    (left, right), across = neighbours(image.shape[1], width)
    pixels = image.astype(np.int64)
    rows = pixels[:, left] * across[0, :, None] + pixels[:, right] * across[1, :, None]
    rows >>= 4
    upper, lower = (rows[r] * d[:, None, None] >> 16 for r, d in ((above, down[0]), (below, down[1])))
    return ((upper + lower + 2) >> 2).astype(np.uint8)


def resize_cubic(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Cubic interpolation as `cv2.resize` does it, rounded to bytes: (h, w, c) to (height, width, c).

    In double precision, which is the same on every machine. OpenCV's own bytes are not: how it rounds is up to the code
    it finds for the processor. With Intel's (IPP) about 8 bytes in a million of a texture are a level off these, with
    code of its own 1 in 26; none is further.
    """

    def neighbours(size: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        places, t = _places(count, size / count, np.float64)
        u, a = 1 - t, SHARPNESS
        outer = [a * (((x + 1) - 5) * (x + 1) + 8) * (x + 1) - 4 * a for x in (t, u)]
        inner = [((a + 2) * x - (a + 3)) * x * x + 1 for x in (t, u)]
        weights = np.stack([outer[0], inner[0], inner[1], outer[1]])
        return (places + np.arange(-1, 3)[:, None]).clip(0, size - 1), weights

    columns, across = neighbours(image.shape[1], width)
    rows, down = neighbours(len(image), height)
    wide = sum(image[:, c] * w[:, None] for c, w in zip(columns, across, strict=True))
    both = sum(wide[r] * w[:, None, None] for r, w in zip(rows, down, strict=True))
    return np.rint(both).clip(0, 255).astype(np.uint8)


def _places(count: int, step: float, precision: type[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """For each of `count` pixels, the source pixel at or before its middle, and how far beyond that it lies."""
    middles = ((np.arange(count) + 0.5) * step - 0.5).astype(precision)
    places = np.floor(middles)
    return places.astype(np.int64), middles - places
