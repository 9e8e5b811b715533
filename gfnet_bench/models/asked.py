"""What is asked of a model beside its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Asked(NamedTuple):
    """What people say of a model; None leaves it to the model.

    Attributes:
        img_size: side in pixels or (height, width); else the size its weights were trained at.
        checkpoint: a file to take the weights from instead of the published ones.
        weights_key: which weights of that file, where it holds several; see `load_weights`.
        mean: of each channel or of all, pixels in [0, 1], instead of what its weights came with.
        std: the same.
        num_classes: how many it must tell apart; told to a factory that wants to know.
    """

    img_size: int | tuple[int, int] | None = None
    checkpoint: Path | None = None
    weights_key: str | None = None
    mean: Sequence[float] | float | None = None
    std: Sequence[float] | float | None = None
    num_classes: int | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width), where a size is asked for."""
        return (self.img_size, self.img_size) if isinstance(self.img_size, int) else self.img_size


NOTHING = Asked()
