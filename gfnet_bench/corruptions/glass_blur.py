"""Glass blur: pixels exchanged with near ones between two blurs."""

from __future__ import annotations

import torch
from torch import Tensor

from gfnet_bench.corruptions.base import Draws, corruption, divided
from gfnet_bench.corruptions.gaussian_blur import gaussian_as_scipy_sums

DOUBLINGS = 6  # chains of up to 2**6 copies; a step is taken with probability below 0.43, so no image has a longer one


def _sources(h: int, w: int, reach: int, draws: Draws) -> Tensor:
    """Which pixel each pixel shows after one pass of the reference's loop: (b * h * w) int32, in reading order.

    The loop goes backwards, from the bottom right to the top left, and at each pixel p means to exchange it with q,
    which is p plus a random offset of -reach to reach - 1 along either axis. In NumPy the statement for that copies q
    to p and leaves q alone. So where q comes before p, p gets what q has shown from the start; where q comes after,
    what q has been given already. The second is a chain of copies, followed here for all pixels at a time: the pointer
    of a pixel is replaced by the pointer it points to, which doubles the distance it has gone.
    """
    offsets = draws.integers(-reach, reach, (h - 2 * reach, w - 2 * reach, 2)).to(torch.int32).flip(1, 2)
    b = len(offsets)
    pixels = torch.arange(b * h * w, dtype=torch.int32, device=offsets.device)
    copied = pixels.clone()
    inside = copied.view(b, h, w)[:, reach + 1 : h - reach + 1, reach + 1 : w - reach + 1]
    inside += offsets[..., 1] * w + offsets[..., 0]
    last = torch.maximum(copied, pixels)
    for _ in range(DOUBLINGS):
        last = last.index_select(0, last)
    return copied.index_select(0, last)


@corruption(
    "glass_blur",
    imagenet_c=((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    imagecorruptions=((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    cifar_c=((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    tiny_imagenet_c=((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
)
def glass_blur(images: Tensor, constants: tuple[float, int, int], draws: Draws) -> Tensor:
    """Blurred by `sigma`, each pixel replaced by one at most `reach` away, `passes` times over, and blurred again."""
    sigma, reach, passes = constants
    b, c, h, w = images.shape
    blurred = _blurred(images.permute(0, 2, 3, 1), sigma)
    sources = _sources(h, w, reach, draws)
    for _ in range(passes - 1):  # a pass moves what the one before it has made of the image
        sources = sources.index_select(0, _sources(h, w, reach, draws))
    shuffled = blurred.view(-1, c).index_select(0, sources).view(b, h, w, c)
    return _blurred(shuffled, sigma).permute(0, 3, 1, 2)


def _blurred(images: Tensor, sigma: float) -> Tensor:
    """(b, h, w, 3) uint8 in and out. To the last bit: one byte in doubt would be seen again wherever it is moved to."""
    levels = divided(images.to(torch.float64, memory_format=torch.contiguous_format), 255)
    return gaussian_as_scipy_sums(levels, sigma).mul_(255).clamp_(max=255).to(torch.int16).to(torch.uint8)
