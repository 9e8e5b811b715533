"""Random numbers keyed by image, so that batch size, order, workers and resumption cannot change a result.

A counter-based generator in integer arithmetic (the finaliser of SplitMix64, Steele et al. 2014): number `i` of
an image depends on that image's seed and on `i` alone, and is the same on every device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)


def image_seeds(ids: Sequence[str], *salt: object) -> Tensor:
    """One seed per image, from its id and whatever else should change the draw (seed, attack, severity).

    Args:
        ids: image ids as the data set names them; the machine and the folder must not be part of them.
        salt: anything with a stable `str`.

    Returns:
        (len(ids),) int64 on the CPU, each in [0, 2**63).
    """
    prefix = "\x1f".join(str(part) for part in salt) + "\x1f"
    digests = (hashlib.blake2b((prefix + i).encode(), digest_size=8).digest() for i in ids)
    return torch.tensor([int.from_bytes(d, "little") >> 1 for d in digests], dtype=torch.int64)


def _shift_right(z: Tensor, bits: int) -> Tensor:
    """Logical shift: int64 has a sign, whose copies must not be shifted in."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def uniform(seeds: Tensor, shape: Sequence[int], stream: int = 0) -> Tensor:
    """Uniform numbers in [0, 1), float32, multiples of 2**-24.

    Args:
        seeds: (b,) int64, one per image, on the device the numbers are wanted on.
        shape: the shape of one image's numbers.
        stream: a further set of numbers for the same seeds (a restart of an attack, say).

    Returns:
        (b, *shape) float32 on the device of `seeds`; bit-identical on CPU and CUDA.
    """
    count = 1
    for side in shape:
        count *= side
    counter = torch.arange(1 + stream * count, 1 + (stream + 1) * count, dtype=torch.int64, device=seeds.device)
    z = seeds[:, None] + counter * _GOLDEN  # int64 wraps around, as the generator wants
    z = (z ^ _shift_right(z, 30)) * _MIX_1
    z = (z ^ _shift_right(z, 27)) * _MIX_2
    z = z ^ _shift_right(z, 31)
    return (_shift_right(z, 40).to(torch.float32) * 2.0**-24).reshape(-1, *shape)
