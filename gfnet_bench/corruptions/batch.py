"""One corruption of a batch of images: what goes in is checked, and the random numbers are seeded image by image."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from operator import index

import torch
from torch import Tensor

from gfnet_bench.catalog import CORRUPTIONS, SEVERITIES
from gfnet_bench.corruptions.base import RECIPES, apply, divided
from gfnet_bench.corruptions.draws import CounterDraws
from gfnet_bench.corruptions.jpeg_compression import jpeg
from gfnet_bench.errors import GfnetBenchError, UsageError, acquit
from gfnet_bench.randomness import image_seed

SMALLEST = 32  # pixels; below, some of the blurs have no room for their kernels
BLOCK = 224 * 224  # pixels corrupted at a time on a CPU, where what fits the cache is worth more than a large batch
GPU_BLOCK = 256 * BLOCK  # elsewhere, where a large batch pays: 0.3 GB in double precision, of which some need several


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
        name: in `gfnet_bench.corruptions.CORRUPTIONS`.
        severity: 1 to 5.
        recipe: one of `RECIPES`; they differ in constants, in algorithms, and in a final JPEG.
        seeds: b integers; name and severity change the random numbers too, the recipe does not.

    Returns:
        Shape, type and device of `images`.

    Raises:
        UsageError: if the name, the severity or the recipe is unknown.
        GfnetBenchError: if the images are not of that shape, type or range, or the seeds not b, or the corruption
            has no constants in that recipe.
        MissingError: if a texture of `frost` cannot be had.
    """
    quality = RECIPES[recipe].jpeg_quality
    corrupted = uncoded(images, name, severity, recipe=recipe, seeds=seeds)
    if quality is not None and len(images):
        corrupted = jpeg(corrupted, quality)
    if images.dtype != torch.uint8:
        corrupted = divided(corrupted.to(images.dtype), 255)
    return corrupted.to(images.device)


def uncoded(images: Tensor, name: str, severity: int, *, recipe: str, seeds: Sequence[int] | Tensor) -> Tensor:
    """`corrupt` as far as the recipe's final JPEG, for those who save the file themselves: (b, 3, h, w) uint8."""
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
    return given.to(torch.int64) ^ image_seed(name, severity)
