"""Square: random squares that are kept where they lower the margin; it needs no gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gfnet_bench.attacks.base import ATTACKS, Predict, check_counts, check_epsilon, check_norm
from gfnet_bench.attacks.losses import margin
from gfnet_bench.attacks.standing import Standing
from gfnet_bench.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from gfnet_bench.ball import Ball

HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries after which the area of a square is halved; so many whatever the number of queries, as in AutoAttack."""
START = 2**40
"""What is added to a seed for the first image, whose numbers are then no query's."""


@ATTACKS.register("square")
@dataclass(frozen=True)
class Square:
    """Random search by squares on the margin of the true class, an image by itself (Andriushchenko et al. 2020).

    An image leaves once it is classified wrongly; the others come back with the least margin that was found. Where
    squares lie is drawn for each image, not for a batch.

    Attributes:
        epsilon: radius of the ball, in units of the pixel range [0, 1]; of an L2 ball 0.5 where it is made by name.
        queries: how often the network is asked; 5,000 in AutoAttack.
        area: share of the image that the first squares cover.
        norm: `linf` or `l2`.
        budget: forward passes that an image may take.
    """

    name: ClassVar[str] = "square"
    title: ClassVar[str] = "Square"
    cites: ClassVar[tuple[str, ...]] = ("andriushchenko2020square",)

    epsilon: float = 1 / 255
    queries: int = 5000
    area: float = 0.8
    norm: str = "linf"
    budget: int | None = None

    def __post_init__(self) -> None:
        check_norm(self.name, self.norm)
        check_epsilon(self.epsilon, self.norm)
        check_counts(self.name, queries=self.queries, budget=self.budget)
        if not 0 < self.area <= 1:
            raise UsageError(f"{self.name}: expected area above 0, up to 1, found {self.area:g}")

    def __call__(self, predict: Predict, images: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
        """See `Attack`."""
        from gfnet_bench.ball import Ball
        from gfnet_bench.watch import watched

        images, ball = images.detach(), Ball(self.norm, self.epsilon)
        change, first = (_square, _stripes) if self.norm == "linf" else (_bump, _bumps)
        height, width = images.shape[2:]
        with watched(predict, images, labels) as watch:
            standing = Standing(watch, images, labels, seeds, self.budget)
            x = first(images, seeds + START, ball) if len(images) else images
            least = images.new_full((len(images),), math.inf)
            for query in range(self.queries):
                if not standing.affords(1):
                    break
                tried = x
                if query:
                    share = self.area / 2 ** sum(query > count for count in HALVED_AFTER)
                    side = max(round(math.sqrt(share * height * width)), 1)
                    tried = change(x, standing.images, standing.seeds, query, min(side, height, width), ball)
                logits = standing.logits(tried)
                found = -margin(logits, standing.labels)
                standing.note(tried, -found)
                better = found < least
                x, least = tried.where(better[:, None, None, None], x), found.where(better, least)
                stay = standing.leave(tried, logits)
                x, least = x[stay], least[stay]
        return standing.result


def _stripes(images: Tensor, seeds: Tensor, ball: Ball) -> Tensor:
    """Every column of every channel at one edge of the ball."""
    from gfnet_bench.randomness import uniform

    _, channels, _, width = images.shape
    return ball.project(images + 2 * _radius(ball) * _signs(uniform(seeds, (channels, 1, width))), images)


def _square(x: Tensor, images: Tensor, seeds: Tensor, query: int, side: int, ball: Ball) -> Tensor:
    """One square of every image moved to an edge of the ball, each channel to its own."""
    import torch

    from gfnet_bench.randomness import uniform

    drawn = uniform(seeds, (2 + x.shape[1],), query)
    inside = x.new_ones(len(x), 1, 1, 1, dtype=torch.bool)
    for axis, place in ((2, drawn[:, 0]), (3, drawn[:, 1])):
        start = _start(place, x.shape[axis], side)[:, None]
        at = torch.arange(x.shape[axis], device=x.device)
        within = (at >= start) & (at < start + side)
        inside = inside & within.reshape(len(x), 1, *((-1, 1) if axis == 2 else (1, -1)))
    moved = x + 2 * _radius(ball) * _signs(drawn[:, 2:, None, None]) * inside
    return ball.project(moved, images)


def _bumps(images: Tensor, seeds: Tensor, ball: Ball) -> Tensor:
    """Five by five bumps in every channel, each up or down, on the sphere."""
    import torch

    from gfnet_bench.randomness import uniform

    b, channels, height, width = images.shape
    side = max(min(height, width) // 5, 1)
    rows, columns = height // side, width // side
    signs = _signs(uniform(seeds, (channels, rows, columns)))
    bumps = torch.kron(signs.reshape(-1, rows, columns), _bump_of(side, images)[None])
    moved = torch.zeros_like(images)
    top, left = (height - rows * side) // 2, (width - columns * side) // 2
    moved[..., top : top + rows * side, left : left + columns * side] = bumps.reshape(b, channels, *bumps.shape[1:])
    return (images + _radius(ball) * ball.ascent(moved)).clamp(0, 1)


def _bump(x: Tensor, images: Tensor, seeds: Tensor, query: int, side: int, ball: Ball) -> Tensor:
    """One window of every image gets a new bump, with the length that another window and the ball have to give.

    Source: Andriushchenko et al. 2020, algorithm 3.
    """
    import torch

    from gfnet_bench.ball import TINY, length
    from gfnet_bench.randomness import uniform

    side = min(max(side, 3) | 1, x.shape[2], x.shape[3])
    drawn = uniform(seeds, (5 + x.shape[1],), query)
    moved = x - images
    at = torch.arange(side, device=x.device)
    batch = torch.arange(len(x), device=x.device)[:, None, None, None]
    channel = torch.arange(x.shape[1], device=x.device)[None, :, None, None]

    def window(first: int) -> tuple[Tensor, ...]:
        top, left = (_start(drawn[:, first + i], x.shape[2 + i], side) for i in (0, 1))
        return batch, channel, (top[:, None] + at)[:, None, :, None], (left[:, None] + at)[:, None, None, :]

    new, other = window(0), window(2)
    both = torch.zeros_like(x, dtype=torch.bool)
    both[new] = both[other] = True
    given = (moved * both).square().sum((2, 3), keepdim=True)
    free = (_radius(ball) ** 2 - length(moved).square()).clamp_min(0)
    upright = _bump_of(side, x)
    bump = torch.where((drawn[:, 4] < 0.5)[:, None, None], upright, upright.T)[:, None]
    old = moved[new]
    old = old / torch.linalg.vector_norm(old, dim=(2, 3), keepdim=True).clamp_min(TINY)
    made = bump * _signs(drawn[:, 5:, None, None]) + old
    made = made / torch.linalg.vector_norm(made, dim=(2, 3), keepdim=True).clamp_min(TINY)
    moved[other] = 0.0
    moved[new] = made * (free / x.shape[1] + given).sqrt()
    return (images + _radius(ball) * ball.ascent(moved)).clamp(0, 1)


def _bump_of(side: int, like: Tensor) -> Tensor:
    """(side, side) of length 1: a pyramid above, its negative below; one pixel is itself."""
    if side < 2:
        return like.new_ones(side, side)
    upper = _pyramid(side // 2, side, like)
    lower = _pyramid(side - side // 2, side, like)
    both = like.new_zeros(side, side)
    both[: side // 2], both[side // 2 :] = upper, -lower
    return both / both.norm()


def _pyramid(height: int, width: int, like: Tensor) -> Tensor:
    """(height, width) of length 1, centred rectangles laid on one another, each 1 / n**2 high."""
    flat = like.new_zeros(height, width)
    middle_y, middle_x = height // 2, width // 2
    for ring in range(max(middle_y, middle_x) + 1):
        rows = slice(max(middle_y - ring, 0), middle_y + ring + 1)
        flat[rows, max(middle_x - ring, 0) : middle_x + ring + 1] += 1 / (ring + 1) ** 2
    return flat / flat.norm()


def _radius(ball: Ball) -> float:
    return ball.radius or 0.0


def _signs(uniform: Tensor) -> Tensor:
    return (uniform < 0.5).to(uniform.dtype) * 2 - 1


def _start(uniform: Tensor, size: int, side: int) -> Tensor:
    """(b,) int64, where a window begins."""
    return (uniform * (size - side + 1)).long()
