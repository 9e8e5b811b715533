"""What a corruption is, which recipes there are, and `corrupt`, which applies one to a batch.

A corruption is a function of a batch of 8-bit images, one constant and random draws. Its constants stand beside it as
data, five for each recipe that uses it:

    @corruption("contrast", imagenet_c=(0.4, 0.3, 0.2, 0.1, 0.05), cifar_c=(0.75, 0.5, 0.4, 0.3, 0.15))
    def contrast(images, factor, draws): ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from operator import index
from typing import Any, Protocol, TypeVar

import torch
from PIL import Image
from torch import Tensor

from gfnet_bench.catalog import CORRUPTIONS, SEVERITIES
from gfnet_bench.errors import GfnetBenchError, UsageError, acquit
from gfnet_bench.randomness import image_seeds
from gfnet_bench.registry import Registry

SMALLEST = 32  # pixels; below, some of the blurs have no room for their kernels
BLOCK = 224 * 224  # pixels corrupted at a time on a CPU, where what fits the cache is worth more than a large batch
GPU_BLOCK = 256 * BLOCK  # elsewhere, where a large batch pays: 0.3 GB in double precision, of which some need several


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

_FUNCTIONS: dict[tuple[str, str], tuple[Function, tuple[Any, ...]]] = {}


def corruption(name: str, **constants: tuple[Any, ...]) -> Callable[[F], F]:
    """Make a function the corruption `name` in the recipes it has constants for, one for each severity.

    The function takes images (b, 3, h, w) uint8, the constant and `Draws`, and returns (b, 3, h, w) uint8. Image i of
    its result depends on image i and on stream i of the draws alone, to the last bit.
    """

    def add(function: F) -> F:
        for recipe, values in constants.items():
            assert len(values) == len(SEVERITIES) and recipe in RECIPES
            _FUNCTIONS[recipe, CORRUPTIONS[name].name] = function, values
        return function

    return add


def apply(images: Tensor, name: str, severity: int, *, recipe: str, draws: Draws) -> Tensor:
    """One corruption with given random numbers, without the recipe's final JPEG: (b, 3, h, w) uint8 in and out."""
    function, constants = _FUNCTIONS[recipe, name]
    return function(images, constants[severity - 1], draws)


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


def check_severity(severity: int) -> None:
    """Refuse a severity there is not.

    Raises:
        UsageError: if it is not 1, 2, 3, 4 or 5.
    """
    if not isinstance(severity, Integral) or severity not in SEVERITIES:
        raise UsageError(f"severity: expected 1, 2, 3, 4 or 5, found {severity!r}")


def corrupt(
    images: Tensor, name: str, severity: int, *, recipe: str = "imagenet_c", seeds: Sequence[int] | Tensor
) -> Tensor:
    """Corrupted images. Each depends on its own pixels and seed alone, whatever the batch it stands in.

    An image is 8-bit, as the files of the published sets are: float images are rounded to the nearest of the 256
    levels first, and the result lies on those levels.

    Args:
        images: (b, 3, h, w) RGB, uint8 or float in [0, 1], sides of 32 pixels or more, on any device.
        name: one of the 19 of `gfnet_bench.corruptions.CORRUPTIONS`.
        severity: 1 to 5.
        recipe: one of `RECIPES`; they differ in constants, in algorithms, and in a final JPEG.
        seeds: b integers; name and severity change the random numbers too, the recipe does not.

    Returns:
        Shape, type and device of `images`.

    Raises:
        UsageError: if the name, the severity or the recipe is unknown.
        GfnetBenchError: if the images are not of that shape, type or range, or the seeds not b.
        MissingError: if a texture of `frost` cannot be had.
    """
    from gfnet_bench.corruptions.jpeg_compression import jpeg

    quality = RECIPES[recipe].jpeg_quality
    corrupted = uncoded(images, name, severity, recipe=recipe, seeds=seeds)
    if quality is not None and len(images):
        corrupted = jpeg(corrupted, quality)
    if images.dtype != torch.uint8:
        corrupted = divided(corrupted.to(images.dtype), 255)
    return corrupted.to(images.device)


def uncoded(images: Tensor, name: str, severity: int, *, recipe: str, seeds: Sequence[int] | Tensor) -> Tensor:
    """`corrupt` as far as the recipe's final JPEG, for those who save the file themselves: (b, 3, h, w) uint8."""
    from gfnet_bench.corruptions.draws import CounterDraws

    name, recipe = CORRUPTIONS[name].name, RECIPES[recipe].name
    check_severity(severity)
    pixels = _bytes(images, name)
    if pixels.device.type == "mps":  # it has no float64: the CPU does it, where the result stays
        pixels = pixels.cpu()
    streams = _streams(seeds, len(pixels), name, int(severity)).to(pixels.device)
    if not len(pixels):
        return pixels
    block = BLOCK if pixels.device.type == "cpu" else GPU_BLOCK
    size = max(1, block // (pixels.shape[2] * pixels.shape[3]))
    blocks = [
        apply(part, name, severity, recipe=recipe, draws=CounterDraws(keys))
        for part, keys in zip(pixels.split(size), streams.split(size), strict=True)
    ]
    return torch.cat(blocks)


def _bytes(images: Tensor, name: str) -> Tensor:
    """The images as uint8, or what is wrong with them."""
    wanted = f"{name}: expected images (b, 3, h, w), uint8 or float in [0, 1], with sides of {SMALLEST} pixels or more"
    if not isinstance(images, Tensor):
        raise GfnetBenchError(f"{wanted}, as a tensor, found {type(images).__name__}. Convert them first.")
    if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < SMALLEST:
        hint = "Convert grey or transparent images to RGB, and resize small ones."
        raise GfnetBenchError(f"{wanted}, found {tuple(images.shape)}. {hint}")
    if images.dtype == torch.uint8:
        return images
    if not images.dtype.is_floating_point:
        raise GfnetBenchError(f"{wanted}, found {images.dtype}. Convert them with .to(torch.uint8).")
    if images.numel() and not (images.min() >= 0 and images.max() <= 1):  # NaN fails this too
        found = f"values from {images.min().item():.4g} to {images.max().item():.4g}"
        raise GfnetBenchError(f"{wanted}, found {found}. Undo the normalisation, or divide 0..255 by 255.")
    return (images.float() * 255).round().to(torch.uint8)


def _streams(seeds: Sequence[int] | Tensor, count: int, name: str, severity: int) -> Tensor:
    """One key an image: its seed, changed by the corruption's name and severity."""
    wanted = f"{name}: expected {count} integer seeds, one an image"
    try:
        given = seeds if isinstance(seeds, Tensor) else torch.tensor([index(s) for s in seeds], dtype=torch.int64)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # no sequence, no integers, beyond 64 bits
        acquit(error)
        raise GfnetBenchError(f"{wanted}, found {type(seeds).__name__} ({error})") from None
    if given.shape != (count,) or given.dtype.is_floating_point:
        raise GfnetBenchError(f"{wanted}, found {tuple(given.shape)} {given.dtype}")
    return given.to(torch.int64) ^ image_seeds([name], severity).to(given.device)
