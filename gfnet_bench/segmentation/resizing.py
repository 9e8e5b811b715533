"""Sizes and resizing of the recipe: into (2048, 512) with the ratio kept, then both sides up to a multiple of 32.

mmsegmentation's whole mode upsamples logits twice, to the network's input and from there to the image as it was, which
is not the same as once.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

DIVISOR = 32
Box = tuple[int, int]
"""Longest long side and longest short side, pixels."""

Size = tuple[int, int]
"""(height, width), pixels."""


def fitted(size: Size, box: Box) -> Size:
    """The largest size of that ratio whose long side and short side fit into `box`; halves round up, as in mmcv."""
    scale = min(max(box) / max(size), min(box) / min(size))
    return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)


def aligned(size: Size, divisor: int = DIVISOR) -> Size:
    """Both sides rounded up to a multiple."""
    return math.ceil(size[0] / divisor) * divisor, math.ceil(size[1] / divisor) * divisor


def resize_image(image: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """(h, w, 3) to (*size, 3), bilinear without antialiasing, as OpenCV does within a grey level."""
    if image.shape[:2] == size:
        return image
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    resized = F.interpolate(batch, size, mode="bilinear", align_corners=False)
    return resized.round_().to(torch.uint8)[0].permute(1, 2, 0).numpy()


def resize_labels(labels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """(h, w) to `size`, each pixel that of the place its upper left corner falls on, as OpenCV's nearest."""
    rows = np.minimum(np.arange(size[0]) * labels.shape[0] // size[0], labels.shape[0] - 1)
    columns = np.minimum(np.arange(size[1]) * labels.shape[1] // size[1], labels.shape[1] - 1)
    return labels[rows[:, None], columns]


def prepared(image: NDArray[np.uint8], box: Box | None) -> NDArray[np.uint8]:
    """An image as the network is to be shown it: resized once with its ratio kept, and once more to round up."""
    kept = image if box is None else resize_image(image, fitted(image.shape[:2], box))
    return resize_image(kept, aligned(kept.shape[:2]))


def labels_of(logits: Tensor, shown: Size, original: Size) -> Tensor:
    """(b, k, h, w) logits of images shown at one size to (b, *original) class indices, int64."""
    logits = F.interpolate(logits.float(), shown, mode="bilinear", align_corners=False)
    if shown != original:
        logits = F.interpolate(logits, original, mode="bilinear", align_corners=False)
    return logits.argmax(dim=1)
