"""Contrast: every channel drawn towards its mean."""

from __future__ import annotations

import torch
from torch import Tensor

from gfnet_bench.corruptions.base import Draws, corruption, divided


@corruption(
    "contrast",
    imagenet_c=(0.4, 0.3, 0.2, 0.1, 0.05),
    imagecorruptions=(0.4, 0.3, 0.2, 0.1, 0.05),
    cifar_c=(0.75, 0.5, 0.4, 0.3, 0.15),
    tiny_imagenet_c=(0.4, 0.3, 0.2, 0.1, 0.05),
)
def contrast(images: Tensor, factor: float, draws: Draws) -> Tensor:
    """Distances to the mean of the image's channel multiplied by `factor`."""
    levels = images.permute(0, 2, 3, 1)
    b, h, w, c = levels.shape
    sums = levels.reshape(b, h, w * c).sum(1, dtype=torch.int32).view(b, w, c).sum(1)
    # A level becomes the same everywhere in a channel: a table for each of them, in float64 as the reference. Where the
    # result is a whole number, in an image of one colour say, that may be a level lower, by the rounding of its mean.
    means = divided(sums.view(-1, 1).to(torch.float64), 255 * h * w)
    shares = divided(torch.arange(256, dtype=torch.float64, device=images.device), 255)
    table = ((shares - means) * factor + means).mul_(255).to(torch.uint8).flatten()
    row = torch.arange(0, b * c * 256, 256, dtype=torch.int32, device=images.device).view(b, 1, 1, c)
    return table.index_select(0, (levels + row).flatten()).view(levels.shape).permute(0, 3, 1, 2)
