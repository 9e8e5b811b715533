"""The four noises. Every byte of an image gets its own number, drawn row by row, pixel by pixel, red, green, blue."""

from __future__ import annotations

import torch
from torch import Tensor

from gfnet_bench.corruptions.base import Draws, corruption


@corruption(
    "gaussian_noise",
    imagenet_c=(0.08, 0.12, 0.18, 0.26, 0.38),
    imagecorruptions=(0.08, 0.12, 0.18, 0.26, 0.38),
    cifar_c=(0.04, 0.06, 0.08, 0.09, 0.10),
    tiny_imagenet_c=(0.04, 0.08, 0.12, 0.15, 0.18),
)
def gaussian_noise(images: Tensor, scale: float, draws: Draws) -> Tensor:
    """Normal numbers of standard deviation `scale` (of the range) added."""
    levels = images.permute(0, 2, 3, 1)
    return _bytes(draws.normal(levels.shape[1:]).mul_(255 * scale).add_(levels))


@corruption(
    "speckle_noise",
    imagenet_c=(0.15, 0.2, 0.35, 0.45, 0.6),
    imagecorruptions=(0.15, 0.2, 0.35, 0.45, 0.6),
    cifar_c=(0.06, 0.1, 0.12, 0.16, 0.2),
    tiny_imagenet_c=(0.15, 0.2, 0.25, 0.3, 0.35),
)
def speckle_noise(images: Tensor, scale: float, draws: Draws) -> Tensor:
    """Every level multiplied by 1 plus a normal number of standard deviation `scale`."""
    levels = images.permute(0, 2, 3, 1)
    return _bytes(draws.normal(levels.shape[1:]).mul_(scale).add_(1).mul_(levels))


@corruption(
    "shot_noise",
    imagenet_c=(60, 25, 12, 5, 3),
    imagecorruptions=(60, 25, 12, 5, 3),
    cifar_c=(500, 250, 100, 75, 50),
    tiny_imagenet_c=(250, 100, 50, 30, 15),
)
def shot_noise(images: Tensor, photons: int, draws: Draws) -> Tensor:
    """Every level counted in photons, `photons` to white, of which a Poisson number arrives."""
    arrived = draws.poisson(images.permute(0, 2, 3, 1), photons).clamp_(max=photons)
    shares = torch.arange(1 + photons, dtype=torch.float64, device=images.device) / photons
    levels = (shares * 255).to(torch.uint8)
    return levels.index_select(0, arrived.flatten()).view(arrived.shape).permute(0, 3, 1, 2)


@corruption(
    "impulse_noise",
    imagenet_c=(0.03, 0.06, 0.09, 0.17, 0.27),
    imagecorruptions=(0.03, 0.06, 0.09, 0.17, 0.27),
    cifar_c=(0.01, 0.02, 0.03, 0.05, 0.07),
    tiny_imagenet_c=(0.01, 0.02, 0.05, 0.08, 0.14),
)
def impulse_noise(images: Tensor, amount: float, draws: Draws) -> Tensor:
    """Every byte with probability `amount` replaced, by 0 or by 255 with equal chances."""
    levels = images.permute(0, 2, 3, 1)
    numbers = draws.uniform(0, 1, levels.shape[1:])
    kept, white = _mask(numbers >= amount), _mask(numbers < amount / 2)
    return kept.bitwise_and_(levels).bitwise_or_(white).permute(0, 3, 1, 2)


def _bytes(levels: Tensor) -> Tensor:
    """Levels (b, h, w, 3), cut to 0..255 and truncated as the published scripts do, as images (b, 3, h, w)."""
    # Through int32, since torch has a fast way from there to bytes and from floats only a slow one.
    return levels.clamp_(0, 255).to(torch.int32).to(torch.uint8).permute(0, 3, 1, 2)


def _mask(chosen: Tensor) -> Tensor:
    """255 where true, 0 elsewhere."""
    return chosen.view(torch.uint8).neg_()
