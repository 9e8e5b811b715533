"""What a corruption is, and which recipes there are.

A corruption is a function of a batch of 8-bit images, one constant and random draws. Its constants stand beside it as
data, five for each recipe that uses it:

    @corruption("contrast", imagenet_c=(0.4, 0.3, 0.2, 0.1, 0.05), cifar_c=(0.75, 0.5, 0.4, 0.3, 0.15))
    def contrast(images, factor, draws): ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import torch
from PIL import Image
from torch import Tensor

from gfnet_bench import plugins
from gfnet_bench.catalog import CORRUPTIONS, SEVERITIES, CorruptionName
from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.registry import Registry


class Draws(Protocol):
    """Random numbers for a batch of images, one stream an image; every call gives the next numbers of each stream."""

    def uniform(self, low: float, high: float, shape: Sequence[int]) -> Tensor:
        """(b, *shape) floats in [low, high)."""
        ...

    def normal(self, shape: Sequence[int]) -> Tensor:
        """(b, *shape) floats of mean 0 and standard deviation 1."""
        ...

    def integers(self, low: int, high: int | Tensor, shape: Sequence[int]) -> Tensor:
        """(b, *shape) int64 in [low, high); `high` may be (b,), a bound for each image, where the shape is ()."""
        ...

    def poisson(self, levels: Tensor, scale: float) -> Tensor:
        """Poisson numbers of mean levels / 255 * scale: (b, ...) uint8 to (b, ...) integers."""
        ...


Function = Callable[[Tensor, Any, Draws], Tensor]
F = TypeVar("F", bound=Function)


@dataclass(frozen=True)
class Recipe:
    """One way to make a corrupted set.

    Attributes:
        name: what options and records call it.
        title: which set it makes, for people.
        jpeg_quality: of the file each image is saved as at last, the loss of which is part of the set; None for none.
    """

    name: str
    title: str
    jpeg_quality: int | None


RECIPES: Registry[Recipe] = Registry("recipe")
for _recipe in (
    Recipe("imagenet_c", "ImageNet-C as published (Hendrycks and Dietterich 2019)", jpeg_quality=85),
    Recipe("imagecorruptions", "the package imagecorruptions 1.1.2", jpeg_quality=None),
    Recipe("cifar_c", "CIFAR-10-C as published, for images of 32 pixels", jpeg_quality=None),
    Recipe("tiny_imagenet_c", "Tiny-ImageNet-C as published, for images of 64 pixels", jpeg_quality=85),
):
    RECIPES.add(_recipe.name, _recipe)

_MADE: Registry[tuple[Function, tuple[Any, ...]]] = Registry("corruption")
"""`fog by imagenet_c`: the function, and a constant for each severity."""
plugins.joins("made", _MADE)


def corruption(name: str, *, group: str | None = None, **constants: tuple[Any, ...]) -> Callable[[F], F]:
    """Make a function the corruption `name` in the recipes it has constants for, one for each severity.

    One that ImageNet-C does not have says which group it belongs to, as its second word: `catalog` reads both there.
    The function takes images (b, 3, h, w) uint8, the constant and `Draws`, and returns (b, 3, h, w) uint8. Image i of
    its result depends on image i and on stream i of the draws alone, to the last bit.
    """
    if name not in CORRUPTIONS:
        if group is None:
            raise ValueError(f"{name}: expected group=..., since ImageNet-C has no such corruption, found none")
        CORRUPTIONS.add(name, CorruptionName(name, group))

    def add(function: F) -> F:
        for recipe, values in constants.items():
            if len(values) != len(SEVERITIES):
                raise ValueError(
                    f"{name}: expected a constant for each of 5 severities of {recipe}, found {len(values)}"
                )
            _MADE.add(f"{CORRUPTIONS[name].name} by {RECIPES[recipe].name}", (function, values))
        return function

    return add


def made_by(recipe: str) -> list[str]:
    """The corruptions that have constants in a recipe, in the order of the catalogue."""
    return [name for name in CORRUPTIONS if f"{name} by {recipe}" in _MADE]


def apply(images: Tensor, name: str, severity: int, *, recipe: str, draws: Draws) -> Tensor:
    """One corruption with given random numbers, without the recipe's final JPEG: (b, 3, h, w) uint8 in and out.

    Raises:
        GfnetBenchError: if it has no constants in that recipe.
    """
    if name not in made_by(recipe):
        known = ", ".join(other for other in RECIPES if name in made_by(other))
        raise GfnetBenchError(f"{name}: expected a recipe that it has constants for ({known}), found {recipe}")
    function, constants = _MADE[f"{name} by {recipe}"]
    return function(images, constants[severity - 1], draws)


@lru_cache(maxsize=64)
def on_device(numbers: Sequence[Any], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers, in tuples, on a device: sent there once, since the host would wait for that; not to be changed."""
    return torch.tensor(numbers, dtype=dtype, device=device)


def divided(x: Tensor, by: float) -> Tensor:
    """`x.div_(by)` as it is rounded on a CPU; CUDA would multiply by 1 / `by`, and be off by the last bit.

    Where levels are truncated to bytes at the end, whole ones come out a level lower by that.
    """
    return x.div_(torch.full((), by, dtype=x.dtype, device=x.device))


def picture(image: Tensor) -> Image.Image:
    """(3, h, w) uint8 on the CPU as Pillow has it."""
    levels = image.permute(1, 2, 0)
    if levels.is_contiguous():
        return Image.fromarray(levels.numpy())
    return Image.merge("RGB", [Image.fromarray(plane.numpy()) for plane in image])  # four times as fast as a copy
