"""What an attack on a network adds to images, by frequency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnet_bench import metrics, spectra

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Perturbed:
    """What an attack on one network adds to images.

    Attributes:
        model: the network.
        label: with what is not as usual.
        attack: for people.
        names: parts of file names, of network and attack.
        same: equal for those that may stand in one figure.
        dataset: whose images.
        image: (height, width) in pixels.
        arrays: of the record, see `schemas.filters`.
        classes: names by class index, where the images bring their own.
        record: identity of the record.
    """

    model: str
    label: str
    attack: str
    names: tuple[str, str]
    same: str
    dataset: str
    image: tuple[int, int]
    arrays: Mapping[str, NDArray[Any]]
    classes: Mapping[int, str]
    record: str

    @property
    def images(self) -> int:
        """How many were attacked."""
        return len(self.arrays["square"])

    @property
    def rms(self) -> float:
        """Root mean square of the change of a pixel value, in grey levels of 255."""
        return 255 * float(np.sqrt(self.arrays["square"].mean(dtype=np.float64)))

    @cached_property
    def cycles(self) -> Floats:
        """(rings,) radii in cycles per image, up to the Nyquist frequency of the shorter side."""
        return np.arange(self.arrays["radial"].shape[1], dtype=np.float64)

    @cached_property
    def relative(self) -> Floats:
        """(n, rings) energy of a frequency, in units of that of white noise of the same total; images that moved."""
        height, width = self.image
        return spectra.against_white_noise(self.arrays["radial"], self.arrays["square"], height * width)

    @cached_property
    def mean(self) -> Floats:
        """(rings,) the mean over the images."""
        return self.relative.mean(0) if len(self.relative) else np.zeros(len(self.cycles))

    @cached_property
    def ends(self) -> tuple[Floats, Floats]:
        """The 95 % intervals of the mean, (rings,) each."""
        if len(self.relative) < 2:
            return self.mean, self.mean
        half = 1.96 * self.relative.std(0, ddof=1) / np.sqrt(len(self.relative))
        return np.maximum(self.mean - half, 0), self.mean + half

    def word(self, index: int) -> str:
        """A class for people."""
        return self.classes.get(int(index), f"class {int(index)}")

    def band(self, number: int) -> tuple[float, metrics.Interval | None]:
        """The same over a third of the Nyquist frequency: the mean over its frequencies, 0 for the lowest third."""
        ring = np.rint(spectra.radii(*self.image) * min(self.image)).astype(int)
        counts = np.bincount(ring.ravel(), minlength=len(self.cycles))[: len(self.cycles)]
        third = np.minimum((self.cycles * 3 / max(self.cycles[-1], 1)).astype(int), 2) == number
        if not third.any() or not len(self.relative):
            return float("nan"), None
        of_image = (self.relative * counts)[:, third].sum(1) / counts[third].sum()
        return float(of_image.mean()), metrics.mean_interval(of_image)
