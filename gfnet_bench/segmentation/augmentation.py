"""Training augmentation of mmsegmentation's ADE20K recipe: scale, crop, flip, colours, padding.

Every number that is drawn for a sample is decided by the seed and the sample's number in the run, so that workers,
processes and a resumed run see the same images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gfnet_bench.metrics.segmentation import IGNORED
from gfnet_bench.segmentation.resizing import Box, fitted, resize_image, resize_labels
from gfnet_bench.segmentation.scenes import Scene

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training sample.

    Attributes:
        crop: side of the square that is cut out, pixels.
        box: what images are fitted into, times a factor.
        factors: range of that factor.
        most: share of the counted pixels of a crop that its largest class may have; ten tries.
        colours: whether brightness, contrast, saturation and hue are changed.
    """

    crop: int = 512
    box: Box = (2048, 512)
    factors: tuple[float, float] = (0.5, 2.0)
    most: float = 0.75
    colours: bool = True

    def __call__(self, scene: Scene, rng: np.random.Generator) -> tuple[Floats, NDArray[np.uint8]]:
        """A scene to a (crop, crop, 3) image of levels 0 to 255, NaN in padding, and its (crop, crop) labels."""
        factor = rng.uniform(*self.factors)
        size = fitted(scene.labels.shape, (int(self.box[0] * factor), int(self.box[1] * factor)))
        image, labels = resize_image(scene.image, size), resize_labels(scene.labels, size)
        place = self._place(labels, rng)
        image, labels = image[place], labels[place]
        if rng.random() < 0.5:
            image, labels = image[:, ::-1], labels[:, ::-1]
        levels = image.astype(np.float32)
        return self._padded(distorted(levels, rng) if self.colours else levels, labels)

    def _place(self, labels: NDArray[np.uint8], rng: np.random.Generator) -> tuple[slice, slice]:
        """Where to cut: the first of ten places that shows more than one class, and none too much."""
        room = [max(0, side - self.crop) for side in labels.shape]
        for _ in range(10):
            top, left = rng.integers(0, room[0] + 1), rng.integers(0, room[1] + 1)
            place = slice(top, top + self.crop), slice(left, left + self.crop)
            counts = np.bincount(labels[place].ravel(), minlength=IGNORED + 1)[:IGNORED]
            if self.most >= 1 or ((counts > 0).sum() > 1 and counts.max() / counts.sum() < self.most):
                break
        return place

    def _padded(self, image: Floats, labels: NDArray[np.uint8]) -> tuple[Floats, NDArray[np.uint8]]:
        missing = [(0, self.crop - side) for side in labels.shape]
        padded = np.pad(image, (*missing, (0, 0)), constant_values=np.nan)  # 0 once it is normalised
        return padded, np.pad(labels, missing, constant_values=IGNORED)


def distorted(image: Floats, rng: np.random.Generator) -> Floats:
    """Brightness, contrast, saturation and hue, each in half of the images; contrast before or after the other two."""
    if rng.random() < 0.5:
        image = _levels(image + rng.uniform(-32, 32))
    contrast_first = rng.random() < 0.5
    if contrast_first and rng.random() < 0.5:
        image = _levels(image * rng.uniform(0.5, 1.5))
    saturation = rng.uniform(0.5, 1.5) if rng.random() < 0.5 else 1.0
    hue = rng.uniform(-18, 18) * 2 if rng.random() < 0.5 else 0.0  # OpenCV's hue has 180 steps
    if saturation != 1 or hue:
        image = recoloured(image, saturation, hue)
    if not contrast_first and rng.random() < 0.5:
        image = _levels(image * rng.uniform(0.5, 1.5))
    return image


def recoloured(image: Floats, saturation: float, hue: float) -> Floats:
    """(h, w, 3) levels with the saturation multiplied, up to 1, and the hue turned by degrees; the value is kept.

    By the closed form of HSV to RGB: channel n is v - v s max(0, min(k, 4 - k, 1)) with k = (n + hue / 60) mod 6.
    """
    value, low = image.max(axis=2), image.min(axis=2)
    spread = value - low
    with np.errstate(divide="ignore", invalid="ignore"):
        red, green, blue = np.moveaxis(image, 2, 0)
        angle = np.where(
            value == red,
            (green - blue) / spread,
            np.where(value == green, 2 + (blue - red) / spread, 4 + (red - green) / spread),
        )
        saturated = np.minimum(np.where(value > 0, spread / value, 0) * saturation, 1)
    angle = np.where(spread > 0, angle, 0) + hue / 60
    k = (np.array([5, 3, 1], np.float32) + angle[..., None]) % 6
    share = np.clip(np.minimum(k, 4 - k), 0, 1)
    return (value[..., None] * (1 - saturated[..., None] * share)).astype(np.float32)


def _levels(image: Floats) -> Floats:
    return np.clip(image, 0, 255).astype(np.float32)
