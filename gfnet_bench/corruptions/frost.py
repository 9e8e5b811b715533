"""Frost: a photograph of ice laid over the image."""

from __future__ import annotations

import torch
from torch import Tensor

from gfnet_bench.corruptions.base import Draws, corruption
from gfnet_bench.corruptions.textures import textures

_LARGE = ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
_CIFAR = ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))
_TINY = ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55))


@corruption(
    "frost",
    imagenet_c=tuple((*shares, 1.0) for shares in _LARGE),
    imagecorruptions=tuple((*shares, None) for shares in _LARGE),
    cifar_c=tuple((*shares, 0.2) for shares in _CIFAR),
    tiny_imagenet_c=tuple((*shares, 0.3) for shares in _TINY),
)
def frost(images: Tensor, constant: tuple[float, float, float | None], draws: Draws) -> Tensor:
    """A share of the image plus a share of a random cut of a random texture.

    The constant is the share of the image, that of the texture, and the scale of the textures (see `textures`).
    """
    of_image, of_texture, scale = constant
    height, width = images.shape[2:]
    pixels, heights, widths = textures(height, width, scale, images.device)
    texture = draws.integers(0, len(pixels), ())
    top = draws.integers(0, heights[texture] - height, ())
    left = draws.integers(0, widths[texture] - width, ())
    if images.device.type == "cpu":  # views, where indexing would copy byte by byte
        places = zip(texture.tolist(), top.tolist(), left.tolist(), strict=True)
        cuts = torch.stack([pixels[i, y : y + height, x : x + width] for i, y, x in places]).permute(0, 3, 1, 2)
    else:
        cuts = pixels.unfold(1, height, 1).unfold(2, width, 1)[texture, top, left]
    # float64 and separate steps: on a byte's edge it is their rounding that decides.
    total = images.to(torch.float64).mul_(of_image)
    total.add_(torch.empty_like(total).copy_(cuts).mul_(of_texture)).clamp_(max=255)
    return total.to(torch.int32).to(torch.uint8)  # twice as fast as in one step
