"""Poisson numbers whose mean is one of 256: a table, made once, from which one word of 32 bits draws one number."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

WORD = 32  # bits of a random word


@lru_cache(maxsize=32)
def poisson_table(scale: float, device: torch.device) -> tuple[Tensor, int]:
    """Alias tables (Walker 1977) of the Poisson laws of mean level / 255 * scale.

    Row `level` has one column for each of 2**width numbers. A random word's upper `width` bits choose a column, and
    the number is that column's, or the alias in the upper bits of the entry found there if the lower bits of the word
    are not below those of the entry. Word and entry are thus cut at the same place.

    Args:
        scale: mean of the number at level 255, at most 500 or so.
        device: where the table is wanted.

    Returns:
        (256 * 2**width,) int32, and width. Each number has its exact probability, rounded to multiples of 2**-32.
    """
    width = math.ceil(math.log2(scale + 7 * math.sqrt(scale) + 10))  # numbers beyond have less than 2**-33
    size, full = 1 << width, 1 << (WORD - width)
    numbers = torch.arange(size, dtype=torch.float64)
    rates = torch.arange(256, dtype=torch.float64)[:, None] / 255 * scale
    law = (torch.xlogy(numbers, rates) - rates - torch.lgamma(numbers + 1)).exp()
    weights = (law * 2.0**WORD).round().to(torch.int64)
    rows = torch.arange(256)
    weights[rows, weights.argmax(1)] += (1 << WORD) - weights.sum(1)  # the rounding, where it matters least

    # Columns in order of weight: each of the light ones is filled up by a heavy one, which may become light by it.
    weights, order = weights.sort(dim=1, stable=True)
    light, heavy = torch.zeros(256, dtype=torch.int64), (weights < full).sum(1)
    heavy = torch.minimum(heavy, torch.full_like(heavy, size - 1))
    threshold, alias = torch.zeros_like(weights), order.clone()
    left = weights.clone()
    for _ in range(size - 1):
        spent = left[rows, heavy] < full
        column = torch.where(spent, heavy, light)
        heavy = torch.where(spent, (heavy + 1).clamp_(max=size - 1), heavy)
        threshold[rows, column] = left[rows, column]
        alias[rows, column] = order[rows, heavy]
        left[rows, heavy] -= full - left[rows, column]
        light += ~spent
    entries = torch.zeros_like(weights)
    entries[rows[:, None], order] = (alias << (WORD - width)) | threshold
    return entries.to(torch.int32).flatten().to(device), width
