"""Random numbers keyed by image, so that batch size, order, workers and resumption cannot change a result.

A counter-based generator in integer arithmetic (the finaliser of SplitMix64, Steele et al. 2014): number `i` of
an image depends on that image's seed and on `i` alone, and is the same on every device.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)


def image_seed(image: str, *salt: object) -> int:
    """One seed for an image, from its id and whatever else should change the draw (seed, attack, severity).

    Args:
        image: its id as the data set names it; the machine and the folder must not be part of it.
        salt: anything with a stable `str`.

    Returns:
        A number in [0, 2**63).
    """
    text = "\x1f".join((*(str(part) for part in salt), image))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def image_seeds(ids: Sequence[str], *salt: object) -> Tensor:
    """`image_seed` of every image: (len(ids),) int64 on the CPU."""
    return torch.tensor([image_seed(image, *salt) for image in ids], dtype=torch.int64)


def bits(seeds: Tensor, count: int, start: int = 0) -> Tensor:
    """Numbers `start` to `start + count` of each seed's stream, 64 random bits each.

    Args:
        seeds: (b,) int64, one per image, on the device the numbers are wanted on.
        count: how many.
        start: how many come before them.

    Returns:
        (b, count) int64 on the device of `seeds`; the same on every device.
    """
    counter = torch.arange(1, 1 + count, dtype=torch.int64, device=seeds.device)
    z = counter.add_(start).mul_(_GOLDEN) + seeds[:, None]  # int64 wraps around, as the generator wants
    shifted = z >> 30  # int64 has a sign, whose copies the masks take away
    z.bitwise_xor_(shifted.bitwise_and_((1 << 34) - 1)).mul_(_MIX_1)
    torch.bitwise_right_shift(z, 27, out=shifted)
    z.bitwise_xor_(shifted.bitwise_and_((1 << 37) - 1)).mul_(_MIX_2)
    torch.bitwise_right_shift(z, 31, out=shifted)
    z.bitwise_xor_(shifted.bitwise_and_((1 << 33) - 1))
    return z


def uniform(seeds: Tensor, shape: Sequence[int], stream: int = 0) -> Tensor:
    """Uniform numbers in [0, 1), float32, multiples of 2**-24.

    Args:
        seeds: (b,) int64, one per image, on the device the numbers are wanted on.
        shape: the shape of one image's numbers.
        stream: a further set of numbers for the same seeds (a restart of an attack, say).

    Returns:
        (b, *shape) float32 on the device of `seeds`; bit-identical on CPU and CUDA.
    """
    count = math.prod(shape)
    upper = (bits(seeds, count, stream * count) >> 40) & ((1 << 24) - 1)
    return (upper.to(torch.float32) * 2.0**-24).reshape(-1, *shape)


def normal(seeds: Tensor, shape: Sequence[int], stream: int = 0) -> Tensor:
    """Normal numbers of mean 0 and deviation 1, float32; see `uniform`, but last bits may differ between devices."""
    middles = uniform(seeds, shape, stream) + 2.0**-25  # never 0, where the inverse of the error function is infinite
    return (2 * middles - 1).clamp_(2.0**-23 - 1, 1 - 2.0**-23).erfinv_() * math.sqrt(2)
