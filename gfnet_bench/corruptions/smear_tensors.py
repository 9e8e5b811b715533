"""Pixels smeared along a line, by tensors: the sum of weighted pixels at some steps from each."""

from __future__ import annotations

import torch
from torch import Tensor


def smeared(values: Tensor, down: Tensor, right: Tensor, weights: Tensor, start: Tensor) -> Tensor:
    """Images (b, c, h, w) that each go their own way: down, right and weights are (b, n)."""
    _, c, h, w = values.shape
    pixels, total = values.to(start.dtype).flatten(2), start.flatten(2)
    rows, columns = (torch.arange(size, device=values.device) for size in (h, w))
    for y, x, weight in zip(down.T, right.T, weights.to(start.dtype).T, strict=True):
        row, column = (rows + y[:, None]).clamp_(0, h - 1), (columns + x[:, None]).clamp_(0, w - 1)
        places = (row.mul_(w)[:, None, :, None] + column[:, None, None]).flatten(2)
        total.addcmul_(pixels.gather(2, places.expand(-1, c, -1)), weight[:, None, None])
    return start


def smeared_together(values: Tensor, down: Tensor, right: Tensor, weights: Tensor, start: Tensor) -> Tensor:
    """`smeared` of one image on a CPU: its pixels move together, as slices of the image with a wider border."""
    h, w = values.shape[2:]
    steps = list(zip(*(numbers[0].tolist() for numbers in (down, right, weights)), strict=True))
    top, left = (max(0, -int(numbers.min())) for numbers in (down, right))
    below, beyond = (max(0, int(numbers.max())) for numbers in (down, right))
    padded = _padded(values, start.dtype, (top, below, left, beyond))
    for y, x, weight in steps:
        start.add_(padded[:, :, top + y : top + y + h, left + x : left + x + w], alpha=weight)
    return start


def _padded(values: Tensor, dtype: torch.dtype, margins: tuple[int, int, int, int]) -> Tensor:
    """Values (b, c, h, w) with the border repeated so many rows above and below, columns to the left and right."""
    top, bottom, left, right = margins
    b, c, h, w = values.shape
    padded = values.new_empty((b, c, top + h + bottom, left + w + right), dtype=dtype)
    rows = padded[:, :, top : top + h]
    rows[..., left : left + w] = values
    rows[..., :left], rows[..., left + w :] = rows[..., left, None], rows[..., left + w - 1, None]
    padded[:, :, :top], padded[:, :, top + h :] = rows[:, :, :1], rows[:, :, -1:]
    return padded
