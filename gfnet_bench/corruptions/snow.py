"""Snow: flakes blurred by their fall, over an image that is made paler first."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gfnet_bench.corruptions.base import Draws, corruption, divided
from gfnet_bench.corruptions.motion_blur import UNIT, line_of, magick_blur, smear

FINE = 1 << 23  # steps of unrounded snow from 0 to 1, where whole numbers are summed

Constant = tuple[float, float, float, float, int, float, float]

_LARGE = (
    (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
    (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
    (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
)
_CIFAR = (
    (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
    (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
    (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
    (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
    (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
)
_TINY = tuple((*row[:6], mix) for row, mix in zip(_CIFAR, (0.8, 0.8, 0.7, 0.65, 0.6), strict=True))


@corruption("snow", imagenet_c=_LARGE, cifar_c=_CIFAR, tiny_imagenet_c=_TINY)
def snow(images: Tensor, constant: Constant, draws: Draws) -> Tensor:
    """Snow whose flakes are bytes when ImageMagick blurs them.

    The constant is mean and standard deviation of the noise that flakes are made of, how much it is enlarged, what
    counts as a flake, radius and standard deviation of the blur in pixels, and the share of the image as it was.
    """
    *_, radius, sigma, mix = constant
    height, width = images.shape[2:]
    layer = _flakes(height, width, constant, draws)
    top, left = (layer.shape[2] - height) // 2, (layer.shape[3] - width) // 2
    layer = layer[:, :, top : top + height, left : left + width].mul(255).to(torch.uint8)
    return _fallen(images, magick_blur(layer, radius, sigma, draws.uniform(-135, -45, ())), mix)


@corruption("snow", imagecorruptions=_LARGE)
def shifted_snow(images: Tensor, constant: Constant, draws: Draws) -> Tensor:
    """`snow` as imagecorruptions makes it: blurred before it is rounded, and cut at the top left, not in the middle."""
    *_, radius, sigma, mix = constant
    height, width = images.shape[2:]
    layer = _flakes(height, width, constant, draws).mul_(FINE).round_().to(torch.int64)
    line = line_of(radius, sigma, draws.uniform(-135, -45, ()))
    layer = smear(layer, line, torch.zeros_like(layer), cut=True)[:, :, :height, :width]
    return _fallen(images, layer.to(torch.float64).mul_(255 / (FINE << UNIT)).round_().to(torch.uint8), mix)


def _flakes(height: int, width: int, constant: Constant, draws: Draws) -> Tensor:
    """(b, 1, h, w) float64 in [0, 1]: enlarged noise, 0 where there is no flake, of height x width or a little more."""
    mean, deviation, zoom, least, *_ = constant
    layer = draws.normal((height, width)).to(torch.float64).mul_(deviation).add_(mean)
    for size in (height, width):
        crop = math.ceil(size / zoom)
        count = round(crop * zoom)
        places = torch.arange(count, dtype=torch.float64, device=layer.device) * ((crop - 1) / (count - 1))
        above = places.to(torch.int64)
        layer = layer.narrow(1, (size - crop) // 2, crop)
        rows = layer.index_select(1, above)
        beyond = layer.index_select(1, (above + 1).clamp_(max=crop - 1)).sub_(rows).mul_((places - above)[:, None])
        layer = rows.add_(beyond).mT.contiguous()
    return layer.masked_fill_(layer < least, 0).clamp_(0, 1)[:, None]


def _fallen(images: Tensor, layer: Tensor, mix: float) -> Tensor:
    """Images (b, 3, h, w) made paler, under snow (b, 1, h, w) uint8 and the same upside down."""
    # float32 in the scripts' order of operations: where an image stays as it was, a byte hangs on their rounding.
    levels = divided(images.contiguous().to(torch.float32), 255)
    red, green, blue = levels.split(1, 1)
    grey = (red * 0.299).add_(green * 0.587).add_(blue * 0.114)
    pale = torch.maximum(levels, grey.mul_(1.5).add_(0.5)).mul_(1 - mix)
    total = levels.mul_(mix).add_(pale).to(torch.float64).mul_(255).to(torch.int32)
    layer = layer.to(torch.int32)
    return total.add_(layer + layer.flip(2, 3)).clamp_(max=255).to(torch.uint8)
