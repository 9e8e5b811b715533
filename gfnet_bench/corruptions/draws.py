"""Random numbers for corruptions, from the counter-based generator: one stream an image, read from call to call."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gfnet_bench.corruptions.poisson import WORD, poisson_table
from gfnet_bench.randomness import bits


class CounterDraws:
    """`Draws` keyed by image. A call takes the next numbers of every stream, never one that was taken before.

    Each number comes from 32 random bits, two to an output of the generator. Words are the same on every device, and
    with them `integers`, `poisson` and, in the unit interval, `uniform`; a `normal` may differ in its last bits.
    """

    def __init__(self, seeds: Tensor) -> None:
        """Streams for seeds (b,) int64, on the device the numbers are wanted on."""
        self._seeds = seeds
        self._taken = 0

    def uniform(self, low: float, high: float, shape: Sequence[int]) -> Tensor:
        """(b, *shape) float32 in [low, high): 2**24 equally likely values, evenly apart."""
        numbers = self._words(shape).bitwise_right_shift_(8).to(torch.float32)  # -2**23 to 2**23 - 1
        return numbers.mul_((high - low) * 2.0**-24).add_((low + high) / 2)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """(b, *shape) float32 of mean 0 and standard deviation 1: 2**24 equally likely quantiles, up to 5.4 away."""
        # Odd multiples of 2**-24 between -1 and 1: never an end, where the inverse of the error function is infinite.
        numbers = self._words(shape).bitwise_right_shift_(8).to(torch.float32).add_(0.5).mul_(2.0**-23)
        return numbers.erfinv_().mul_(math.sqrt(2))

    def integers(self, low: int, high: int | Tensor, shape: Sequence[int]) -> Tensor:
        """(b, *shape) int64 in [low, high), at most 2**31 values, each with its probability to 2**-32.

        Where the shape is (), `high` may be (b,), a bound for each image.
        """
        words = self._words(shape).to(torch.int64)
        # The upper half of a word times the number of values.
        return words.add_(1 << (WORD - 1)).mul_(high - low).bitwise_right_shift_(WORD).add_(low)

    def poisson(self, levels: Tensor, scale: float) -> Tensor:
        """Poisson numbers of mean levels / 255 * scale: (b, ...) uint8 to (b, ...) int32. See `poisson_table`."""
        table, width = poisson_table(scale, levels.device)
        words, lower = self._words(levels.shape[1:]), (1 << (WORD - width)) - 1
        columns = (words >> (WORD - width)).bitwise_and_((1 << width) - 1)
        entries = table.index_select(0, columns.add_(levels.to(torch.int32) << width).flatten()).view_as(words)
        # All ones where the word stays in its column. (`torch.where` takes longer than the rest of this together.)
        stays = (words & lower).sub_(entries & lower).bitwise_right_shift_(31)
        chosen = words.bitwise_xor_(entries).bitwise_and_(stays).bitwise_xor_(entries)
        return chosen.bitwise_right_shift_(WORD - width).bitwise_and_((1 << width) - 1)

    def _words(self, shape: Sequence[int]) -> Tensor:
        """(b, *shape) int32, all 32 bits random."""
        count = math.prod(shape)
        outputs = (count + 1) // 2
        words = bits(self._seeds, outputs, self._taken).view(torch.int32)
        self._taken += outputs
        return words[:, :count].reshape(-1, *shape)
