"""JPEG compression by tensors: the arithmetic of a file's loss, which is integer throughout, for any device.

What packs the numbers into the file loses nothing and is left out. The steps are those of libjpeg 6b (T. Lane,
Independent JPEG Group), of which libjpeg-turbo gives the bytes: colours to luma and chroma, chroma to half the size,
cosine transform, rounding, and all of it back.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

# The example tables of the JPEG standard (ITU-T T.81, K.1 and K.2), by row.
LUMA = """16 11 10 16 24 40 51 61  12 12 14 19 26 58 60 55  14 13 16 24 40 57 69 56  14 17 22 29 51 87 80 62
    18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92  49 64 78 87 103 121 120 101  72 92 95 98 112 100 103 99"""
CHROMA = """17 18 24 47 99 99 99 99  18 21 26 66 99 99 99 99  24 26 56 99 99 99 99 99  47 66 99 99 99 99 99 99
    99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99"""

# The left half of the cosine transform in 13-bit fractions, as libjpeg's sums of rounded constants make it. The right
# half is its mirror image, with the opposite sign in odd rows.
COSINES = (
    (8192, 8192, 8192, 8192),
    (11363, 9633, 6437, 2260),
    (10703, 4433, -4433, -10703),
    (9633, -2259, -11362, -6436),
    (8192, -8192, -8192, 8192),
    (6437, -11362, 2261, 9633),
    (4433, -10704, 10704, -4433),
    (2260, -6436, 9633, -11363),
)


def jpeg_of_tensors(images: Tensor, quality: int) -> Tensor:
    """Images (b, 3, h, w) uint8 as a JPEG file of this quality would have them, to the byte, without the file."""
    h, w = images.shape[2:]
    red, green, blue = images.to(torch.int32).unbind(1)
    half, middle = 1 << 15, (128 << 16) + (1 << 15) - 1  # 16-bit fractions here and on the way back
    luma = (19595 * red + 38470 * green + 7471 * blue + half) >> 16
    chroma = torch.stack(
        [
            (-11059 * red - 21709 * green + 32768 * blue + middle) >> 16,
            (32768 * red - 27439 * green - 5329 * blue + middle) >> 16,
        ],
        dim=1,
    )

    luma = _quantised(luma[:, None], steps_of(LUMA, quality, images.device))[:, 0]
    chroma = _quantised(_halved(chroma), steps_of(CHROMA, quality, images.device))[..., : (w + 1) // 2]
    chroma = _doubled(chroma)[..., :h, :w]
    blueness, redness = (chroma - 128).unbind(1)
    channels = [
        luma + ((91881 * redness + half) >> 16),
        luma + ((-22554 * blueness - 46802 * redness + half) >> 16),
        luma + ((116130 * blueness + half) >> 16),
    ]
    return torch.stack(channels, dim=1).clamp_(0, 255).to(torch.uint8)


@lru_cache(maxsize=32)
def steps_of(standard: str, quality: int, device: torch.device) -> Tensor:
    """(8, 8) float64: the steps to multiples of which coefficients are rounded at this quality."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps = [(int(step) * percent + 50) // 100 for step in standard.split()]
    return torch.tensor(steps, dtype=torch.float64).clamp_(1, 255).view(8, 8).to(device)


@lru_cache(maxsize=8)
def _cosines(device: torch.device) -> Tensor:
    """(8, 8) float64: the cosine transform."""
    left = torch.tensor(COSINES, dtype=torch.float64)
    signs = torch.tensor((1, -1), dtype=torch.float64).repeat(4)[:, None]
    return torch.cat([left, left.flip(1) * signs], dim=1).to(device)


def _halved(planes: Tensor) -> Tensor:
    """Means of 2 x 2 pixels; halves and quarters go down and up in turn. Whole blocks across, (h + 1) // 2 rows."""
    h, w = planes.shape[2:]
    planes = _extended(planes, h + h % 2, -(-w // 16) * 16)  # columns are repeated before halving, rows after it
    rows = planes[:, :, ::2] + planes[:, :, 1::2]
    sums = rows[..., ::2] + rows[..., 1::2]
    return (sums + 1 + torch.arange(sums.shape[3], dtype=torch.int32, device=sums.device) % 2) >> 2


def _quantised(planes: Tensor, steps: Tensor) -> Tensor:
    """Planes (b, c, h, w) int32 of 0 to 255 after their cosine transform, in blocks of 8 x 8, is rounded to `steps`."""
    b, c, h, w = planes.shape
    down, across = -(-h // 8), -(-w // 8)
    blocks = _extended(planes, 8 * down, 8 * across).view(b, c, down, 8, across, 8).transpose(3, 4)
    forth = _cosines(planes.device)
    back = forth.T

    # Sums of integers far below 2**53 are exact in float64, for which every device has a matrix product.
    x = blocks.to(torch.float64) - 128
    x = _shifted(x @ forth.T, 11)
    x = _shifted(forth @ x, 15)
    x = x.sign() * ((x.abs() + 4 * steps) / (8 * steps)).floor() * steps
    x = _shifted(back @ x, 11)
    x = _shifted(x @ forth, 18) + 128
    return x.clamp_(0, 255).to(torch.int32).transpose(3, 4).reshape(b, c, 8 * down, 8 * across)[..., :h, :w]


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Whole numbers divided by 2**bits, rounded to the nearest, halves up."""
    return x.add_(2.0 ** (bits - 1)).mul_(2.0**-bits).floor_()


def _doubled(planes: Tensor) -> Tensor:
    """Twice the rows and columns: 3/4 of the nearest and 1/4 of the next, each way; eighths go up and down in turn."""
    h, w = planes.shape[2:]
    around = _extended(planes, h + 1, w + 1, start=-1)
    near = 3 * around[:, :, 1:-1]
    rows = torch.stack([near + around[:, :, :-2], near + around[:, :, 2:]], dim=3).flatten(2, 3)
    near = 3 * rows[..., 1:-1]
    columns = torch.stack([near + rows[..., :-2] + 8, near + rows[..., 2:] + 7], dim=4).flatten(3, 4)
    return columns >> 4


def _extended(planes: Tensor, h: int, w: int, start: int = 0) -> Tensor:
    """Rows `start` to h and columns `start` to w, where there are none the nearest there is."""
    rows = torch.arange(start, h, device=planes.device).clamp_(0, planes.shape[2] - 1)
    columns = torch.arange(start, w, device=planes.device).clamp_(0, planes.shape[3] - 1)
    return planes[:, :, rows][..., columns]
