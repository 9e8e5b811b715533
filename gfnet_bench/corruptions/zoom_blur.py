"""Zoom blur: the mean of an image and its enlargements."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from gfnet_bench.corruptions.base import Draws, corruption
from gfnet_bench.corruptions.kernels import works
from gfnet_bench.corruptions.zoom_tensors import zoomed


def _factors(*stops_and_steps: tuple[float, float]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(np.arange(1, stop, step).tolist()) for stop, step in stops_and_steps)


_LARGE = _factors((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))
_SMALL = _factors((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01))


def _zoom_blur(images: Tensor, factors: tuple[float, ...], centred: bool) -> Tensor:
    if images.device.type != "cpu" and works("zoom", images.device):
        from gfnet_bench.corruptions.kernels.zoom import zoom

        return zoom(images, factors, centred)
    return zoomed(images, factors, centred)


@corruption("zoom_blur", imagenet_c=_LARGE, cifar_c=_SMALL, tiny_imagenet_c=_SMALL)
def zoom_blur(images: Tensor, factors: tuple[float, ...], draws: Draws) -> Tensor:
    """The mean of the image and its enlargements by `factors`, each about the middle."""
    return _zoom_blur(images, factors, centred=True)


@corruption("zoom_blur", imagecorruptions=_LARGE)
def shifted_zoom_blur(images: Tensor, factors: tuple[float, ...], draws: Draws) -> Tensor:
    """`zoom_blur` with enlargements that are cut at the top left instead of the middle."""
    return _zoom_blur(images, factors, centred=False)
