"""Images with a class for each pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Scene(NamedTuple):
    """An image and its truth.

    Attributes:
        image: (h, w, 3) uint8 RGB.
        labels: (h, w) uint8, class indices; 255 where a pixel does not count.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class Scenes:
    """A set of scenes, each read when it is asked for.

    Attributes:
        name: of the data set, as records say it.
        subset: `training` or `validation`.
        ids: one name an image, the same on every machine.
        classes: their names.
        read: an id to its scene.
        fingerprint: changes with the files.
    """

    name: str
    subset: str
    ids: tuple[str, ...]
    classes: tuple[str, ...]
    read: Callable[[str], Scene]
    fingerprint: str

    def select(self, rows: Sequence[int]) -> Scenes:
        """Some of them."""
        return replace(self, ids=tuple(self.ids[row] for row in rows))
