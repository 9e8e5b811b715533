"""Brightness and saturation: the value or the saturation of every pixel changed, its hue kept.

Of a pixel's three levels, the largest and the smallest change in a way that those two alone decide: 65,536 pairs, so
a table. Only the one between them depends on the hue. All in float64 and in scikit-image's order of operations, since
truncation to bytes makes a whole level of the last bit wherever the result is a whole number, as it is in all pixels
that reach white.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from gfnet_bench.corruptions.base import Draws, corruption, divided


@corruption(
    "brightness",
    imagenet_c=(0.1, 0.2, 0.3, 0.4, 0.5),
    imagecorruptions=(0.1, 0.2, 0.3, 0.4, 0.5),
    cifar_c=(0.05, 0.1, 0.15, 0.2, 0.3),
    tiny_imagenet_c=(0.1, 0.2, 0.3, 0.4, 0.5),
)
def brightness(images: Tensor, lift: float, draws: Draws) -> Tensor:
    """`lift` (of the range) added to the value."""
    return _recolour(images, _tables(lift, 1, 0, images.device))


@corruption(
    "saturate",
    imagenet_c=((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    imagecorruptions=((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    cifar_c=((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
    tiny_imagenet_c=((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)),
)
def saturate(images: Tensor, factor_and_term: tuple[float, float], draws: Draws) -> Tensor:
    """The saturation multiplied by a factor, and a term added."""
    return _recolour(images, _tables(0, *factor_and_term, images.device))


class _Tables(NamedTuple):
    """What becomes of a pixel by its largest and smallest level: (65536,) at 256 * largest + smallest."""

    value: Tensor  # float64 in [0, 1], as changed
    saturation: Tensor  # float64 in [0, 1], as changed
    largest: Tensor  # uint8
    smallest: Tensor  # uint8


@lru_cache(maxsize=16)
def _tables(lift: float, factor: float, term: float, device: torch.device) -> _Tables:
    levels = divided(torch.arange(256, dtype=torch.float64, device=device), 255)
    largest, smallest = (pair.flatten() for pair in torch.meshgrid(levels, levels, indexing="ij"))
    spread = largest - smallest
    saturation = torch.where(spread == 0, spread, spread / largest)
    value = (largest + lift).clamp_(0, 1)
    saturation = (saturation * factor + term).clamp_(0, 1)
    return _Tables(value, saturation, _bytes(value.clone()), _bytes(value * (1 - saturation)))


def _recolour(images: Tensor, tables: _Tables) -> Tensor:
    red, green, blue = (channel.contiguous() for channel in images.unbind(1))
    largest = torch.maximum(torch.maximum(red, green), blue)
    smallest = torch.minimum(torch.minimum(red, green), blue)
    middle = red ^ green ^ blue ^ largest ^ smallest

    pairs = largest.to(torch.int32).mul_(256).add_(smallest).flatten()
    value, saturation, most, least = (table.index_select(0, pairs).view(red.shape) for table in tables)

    # The hue runs from 0 to 6: 0, 2 or 4 by the largest channel, then up or down by the one in the middle.
    from_red = (green == largest).view(torch.uint8) * 2 + (blue == largest).view(torch.uint8) * 4
    down = ((red == largest) & (blue == middle)) | ((green == largest) & (red == middle))
    down |= (blue == largest) & (green == middle)
    direction = 1 - 2 * down.view(torch.int8)
    low, mid, high = (divided(levels.to(torch.float64), 255) for levels in (smallest, middle, largest))
    hue = mid.sub_(low).div_(high.sub_(low)).mul_(direction).add_(from_red)
    hue = divided(hue, 6).remainder_(1).mul_(6)  # looks idle, and is part of the rounding
    hue -= hue.floor()
    share = hue.mul_(-direction).add_(~down)  # of the saturation that the middle channel gets
    between = _bytes(value * (1 - share * saturation))

    # In ties a channel is the largest, but of a grey pixel, whose hue is 0, only red is: the others are the smallest.
    red_out = _choose(red == largest, most, _choose(red == smallest, least, between))
    others = (_choose(c == smallest, least, _choose(c == largest, most, between)) for c in (green, blue))
    return torch.stack((red_out, *others), dim=1)


def _choose(condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """`torch.where` for bytes, several times as fast on a CPU."""
    return (yes ^ no).bitwise_and_(condition.view(torch.uint8).neg_()).bitwise_xor_(no)


def _bytes(shares: Tensor) -> Tensor:
    """Shares of the range, truncated to bytes."""
    return shares.mul_(255).to(torch.int32).to(torch.uint8)
