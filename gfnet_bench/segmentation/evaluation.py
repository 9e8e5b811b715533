"""Whole-image evaluation: one image at a time at its own size, so that no number depends on a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gfnet_bench.bars import tqdm
from gfnet_bench.metrics.segmentation import Regions, confusion, regions
from gfnet_bench.segmentation.resizing import Box, Size, labels_of, prepared
from gfnet_bench.segmentation.scenes import Scenes

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, which backbones were trained on."""

Change = Callable[[NDArray[np.uint8], str], NDArray[np.uint8]]
"""What is done to an image (h, w, 3) of an id before it is resized."""


class Counts(NamedTuple):
    """What was counted.

    Attributes:
        regions: of each image.
        confusion: (k, k) int64 of all of them, true classes in rows.
    """

    regions: Regions
    confusion: NDArray[np.int64]


@dataclass(frozen=True)
class Evaluator:
    """How images are shown to a network.

    Attributes:
        sized: the network for images of a size, in evaluation mode.
        box: what images are fitted into; None to leave them as large as they are, up to rounding.
        device: where to compute.
        dtype: of the network's arithmetic: `float32`, or `bfloat16` by autocast.
    """

    sized: Callable[[Size], nn.Module]
    box: Box | None
    device: torch.device
    dtype: str = "float32"

    def predict(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(h, w, 3) to (h, w) class indices."""
        shown = prepared(image, self.box)
        height, width = shown.shape[:2]
        network = self.sized((height, width))
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == "bfloat16"):
            logits = network(normalised(torch.from_numpy(shown)[None].to(self.device)))
            return labels_of(logits, (height, width), image.shape[:2])[0].to(torch.uint8).cpu().numpy()

    def count(self, scenes: Scenes, change: Change | None = None, *, progress: bool = False) -> Counts:
        """Predict every scene and count."""
        k = len(scenes.classes)
        total, rows = np.zeros((k, k), np.int64), []
        for name in tqdm(scenes.ids, "evaluating", unit="image", disable=not progress, leave=False):
            scene = scenes.read(name)
            image = scene.image if change is None else change(scene.image, name)
            found = confusion(self.predict(image), scene.labels, k)
            total += found
            rows.append(regions(found[None]))
        return Counts(Regions(*(np.concatenate(parts) for parts in zip(*rows, strict=True))), total)


def normalised(images: Tensor) -> Tensor:
    """(b, h, w, 3) uint8 to (b, 3, h, w) float32 of ImageNet's mean and deviation."""
    mean, std = (torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (MEAN, STD))
    return ((images.permute(0, 3, 1, 2).float() / 255 - mean) / std).contiguous()


def sized(network: nn.Module, rebuilt: Callable[[Size], nn.Module] | None) -> Callable[[Size], nn.Module]:
    """The network for images of any size, the last one kept: sizes come in a row more often than not.

    Args:
        network: in evaluation mode.
        rebuilt: it for another size; None if it takes any.
    """
    kept: dict[Size, nn.Module] = {}

    def of(size: Size) -> nn.Module:
        if rebuilt is None:
            return network
        if size not in kept:
            kept.clear()
            kept[size] = rebuilt(size).eval()
        return kept[size]

    return of


def sample(scenes: Scenes, limit: int | None, seed: int) -> Iterator[int]:
    """Rows of a random sample for an early estimate, in their order; all without a limit."""
    n = len(scenes.ids)
    if limit is None or limit >= n:
        return iter(range(n))
    return iter(sorted(np.random.default_rng(seed).permutation(n)[:limit].tolist()))
