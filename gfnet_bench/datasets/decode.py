"""One image file to pixels: what Pillow would give, at well over twice its speed.

simplejpeg decodes bit for bit like Pillow; PyTorch's antialiased resize of bytes stays within two grey levels of
Pillow's (`experiments/decode_speed.py` measures both). EXIF orientation is ignored, as torchvision's folders do (but
for TIFF, which Pillow turns).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gfnet_bench.catalog import Transform
from gfnet_bench.datasets.image_files import BadFile, read_file
from gfnet_bench.errors import acquit

PIXELS = 2 * 89_478_485  # of one image, decoded or resized: where Pillow, too, stops to believe that it is one

if TYPE_CHECKING:
    from PIL import Image

BITS, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # tags of TIFF, and a value


class BadImage(BadFile):
    """The bytes are no whole image; the text says what is wrong with them."""


def read_image(path: Path, transform: Transform) -> NDArray[np.uint8]:
    """A file as a model is to be shown it: (height, width, 3).

    Raises:
        BadFile: if it cannot be read, is truncated, damaged or no image, or does not suit the transform.
        MemoryError: if there is too little for any image.
    """
    return resize_and_crop(decode(read_file(path)), transform)


def decode(data: bytes) -> NDArray[np.uint8]:
    """Bytes of an image file to (h, w, 3) RGB; grey is repeated.

    Raises:
        BadImage: if the image is truncated, damaged, too large, or none.
    """
    import simplejpeg

    if not data:
        raise BadImage("the file is empty")
    if data.startswith(b"\xff\xd8"):
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
            check_size(height, width)
            # Four inks reach RGB by several conventions; Pillow's is the one everybody's numbers were made with.
            if colours not in ("CMYK", "YCCK"):
                return simplejpeg.decode_jpeg(data)
        except ValueError as error:
            if "remature end" in str(error):  # Pillow would pad some of these with grey
                raise BadImage(f"truncated: {error}") from None
            # Anything else may be harmless: ImageNet has files with a stray byte before the end marker.
    with _opened(data) as image:
        return _rgb(image)


def check(data: bytes, transform: Transform) -> None:
    """A glance at an image file, of which no pixel is decoded.

    Raises:
        BadImage: if it is no image, or one that the transform makes too large.
    """
    if not data:
        raise BadImage("the file is empty")
    with _opened(data) as image:
        check_size(*_sides(image.height, image.width, transform), " after resizing")


def size_of(data: bytes) -> tuple[int, int]:
    """Height and width of an image file, of which no pixel is decoded.

    Raises:
        BadImage: if it is no image.
    """
    if not data:
        raise BadImage("the file is empty")
    with _opened(data) as image:
        return image.height, image.width


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """An image file as Pillow opens it.

    Raises:
        BadImage: if it is none, or what is done with it in the block fails.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            check_size(image.height, image.width)
            yield image
    except BadImage:
        raise
    except UnidentifiedImageError:  # its text names our buffer, and that by its address
        raise BadImage(f"no image: it begins with {data[:16]!r}") from None
    except Exception as error:  # on damaged files Pillow's plugins raise whatever they happen to meet
        acquit(error)
        raise BadImage(str(error) or type(error).__name__) from None


def check_size(height: int, width: int, when: str = "") -> None:
    """Keep a few bytes that promise gigabytes of pixels from taking the memory of a machine.

    Raises:
        BadImage: if an image of this size is none that is decoded or made here.
    """
    if not 0 < height * width <= PIXELS:
        raise BadImage(f"{width} x {height} pixels{when}, expected from 1 to {PIXELS:,} in all")


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    """As `convert("RGB")`, what torchvision's folders do; but grey of more than 8 bits keeps its range.

    Of several pictures in a file this is the first, of transparent pixels the colour beneath.
    """
    image.info.pop("transparency", None)  # of a palette Pillow would warn that it is lost
    if image.mode[0] in "IF":
        return np.repeat(_grey(image)[..., None], 3, axis=2)
    return np.array(image.convert("RGB"))


def _grey(image: Image.Image) -> NDArray[np.uint8]:
    """Grey of 16 or 32 bits as bytes, where Pillow would cut off what is above 255: white where it should be grey.

    Of 16 bits these are the upper 8, as Pillow takes them of 16-bit colours. Where white is in 32 bits no file says:
    fractions from 0 to 1 are of the range, and levels from 0 to 255 are themselves.

    Raises:
        BadImage: if there are others.
    """
    levels = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    if image.mode.startswith("I;") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        bytes_ = (levels >> (tags.get(BITS, (16,))[0] - 8)).astype(np.uint8)
        return ~bytes_ if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else bytes_
    low, high = levels.min(), levels.max()
    if not (low >= 0 and high <= 255):  # NaN fails this too
        raise BadImage(f"{levels.dtype} levels from {low:g} to {high:g}, expected 0 to 255; save it with 8 or 16 bits")
    if image.mode == "F" and high <= 1:
        levels = np.rint(levels * 255)
    return levels.astype(np.uint8)


def resize_and_crop(image: NDArray[np.uint8], transform: Transform) -> NDArray[np.uint8]:
    """Resize and cut out the centre, with the rounding of torchvision and timm.

    Args:
        image: (h, w, 3).
        transform: see `Transform`.

    Raises:
        BadImage: if the crop does not fit, since padding it would add a border that no published number has; or if the
            resized image would be far larger than the crop.
    """
    if transform.resize is not None:
        image = _resize(image, _sides(image.shape[0], image.shape[1], transform), transform.interpolation)
    if transform.fill is not None:
        image = _padded(image, transform)
    height, width = image.shape[:2]
    if height < transform.height or width < transform.width:
        raise BadImage(
            f"{width} x {height} pixels after resizing, expected at least {transform.width} x {transform.height}"
        )
    top = round((height - transform.height) / 2)
    left = round((width - transform.width) / 2)
    return np.ascontiguousarray(image[top : top + transform.height, left : left + transform.width])


def _sides(height: int, width: int, transform: Transform) -> tuple[int, int]:
    """Height and width after the resize."""
    wanted = transform.resize
    if wanted is None:
        return height, width
    if isinstance(wanted, int):  # torchvision's shorter side
        return (wanted, int(wanted * width / height)) if height <= width else (int(wanted * height / width), wanted)
    if transform.mode == "squash":
        return wanted
    ratios = height / wanted[0], width / wanted[1]
    ratio = max(ratios) if transform.mode == "border" else min(ratios)
    return round(height / ratio), round(width / ratio)


def _padded(image: NDArray[np.uint8], transform: Transform) -> NDArray[np.uint8]:
    """The image with a border where the crop is larger, half of it (rounded down) above and to the left."""
    missing = max(0, transform.height - image.shape[0]), max(0, transform.width - image.shape[1])
    if missing == (0, 0):
        return image
    padded = np.empty((image.shape[0] + missing[0], image.shape[1] + missing[1], 3), np.uint8)
    padded[:] = transform.fill
    top, left = missing[0] // 2, missing[1] // 2
    padded[top : top + image.shape[0], left : left + image.shape[1]] = image
    return padded


def _resize(image: NDArray[np.uint8], sides: tuple[int, int], interpolation: str) -> NDArray[np.uint8]:
    """(h, w, 3) to (*sides, 3)."""
    height, width = sides
    if image.shape[:2] == sides:
        return image
    check_size(height, width, " after resizing")
    if interpolation not in ("bicubic", "bilinear"):
        from PIL import Image

        return np.array(Image.fromarray(image).resize((width, height), Image.Resampling[interpolation.upper()]))
    import torch

    # The view has its channels last, for which PyTorch has a fast path on bytes.
    batch = torch.from_numpy(image).permute(2, 0, 1)[None]
    try:
        resized = torch.nn.functional.interpolate(batch, (height, width), mode=interpolation, antialias=True)
    except RuntimeError as error:
        acquit(error)
        raise
    return resized[0].permute(1, 2, 0).numpy()
