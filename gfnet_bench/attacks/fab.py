"""FAB: the nearest wrong image, by projections onto the boundary to one wrong class after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gfnet_bench.attacks.apgd import likeliest_wrong
from gfnet_bench.attacks.base import ATTACKS, Predict, check_counts, check_epsilon, check_norm
from gfnet_bench.attacks.losses import cross_entropy
from gfnet_bench.attacks.standing import Standing

if TYPE_CHECKING:
    from torch import Tensor

BEYOND = 1.05
"""How far a step goes, in units of the way to the boundary: the other side is what is wanted."""
MOST_BACK = 0.1
"""Of a step, at most this share is taken from the original, the rest from where the search stands."""
BACK = 0.9
"""Where a wrong image was found, the search goes on from this share of the way to it."""


@ATTACKS.register("fab_t")
@dataclass(frozen=True)
class FABT:
    """Targeted fast adaptive boundary attack (Croce and Hein 2020), which looks for the least distance.

    An image leaves once it is classified wrongly inside the ball; the others come back as the best image of the search,
    brought back into it.

    Attributes:
        epsilon: radius of the ball, in units of the pixel range [0, 1]; of an L2 ball 0.5 where it is made by name.
        steps: projections for each class; 100 in AutoAttack.
        targets: so many classes, the likeliest wrong ones at the image; all where there are fewer.
        norm: `linf` or `l2`.
        budget: forward and backward passes that an image may take.
    """

    name: ClassVar[str] = "fab_t"
    title: ClassVar[str] = "FAB-T"
    cites: ClassVar[tuple[str, ...]] = ("croce2020minimally",)

    epsilon: float = 1 / 255
    steps: int = 100
    targets: int = 9
    norm: str = "linf"
    budget: int | None = None

    def __post_init__(self) -> None:
        check_norm(self.name, self.norm)
        check_epsilon(self.epsilon, self.norm)
        check_counts(self.name, steps=self.steps, targets=self.targets, budget=self.budget)

    def __call__(self, predict: Predict, images: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
        """See `Attack`; nothing is drawn."""
        from gfnet_bench.watch import watched

        images = images.detach()
        with watched(predict, images, labels) as watch:
            standing = Standing(watch, images, labels, seeds, self.budget)
            ranked = likeliest_wrong(standing, self.targets)
            for column in range(ranked.shape[1]):
                self._search(standing, ranked[standing.rows, column])
        return standing.result

    def _search(self, standing: Standing, aims: Tensor) -> None:
        """The boundary to one class, (b,)."""
        from gfnet_bench.ball import ORDERS, Ball

        ball = Ball(self.norm, self.epsilon)

        def gap(logits: Tensor, labels: Tensor) -> Tensor:
            """How far the true class leads."""
            true, target = (logits.gather(1, c[:, None])[:, 0] for c in (labels, aims))
            return true - target

        def size(x: Tensor) -> Tensor:
            return x.flatten(1).norm(ORDERS[self.norm], dim=1)[:, None, None, None]

        x = standing.images
        for _ in range(self.steps):
            if not standing.affords(3):
                return
            images = standing.images
            seen = standing.look(x, gap)
            lead = seen.losses + (seen.gradient * (images - x)).flatten(1).sum(
                1
            )  # of the linear model, at the original
            here = nearest(x, -seen.gradient, seen.losses, self.norm)
            there = nearest(images, -seen.gradient, lead, self.norm)
            share = (size(here) / (size(here) + size(there)).clamp_min(1e-12)).clamp(0, MOST_BACK)
            x = ((x + BEYOND * here) * (1 - share) + (images + BEYOND * there) * share).clamp(0, 1)
            logits = standing.logits(x)
            fooled, within = logits.argmax(1) != standing.labels, size(x - images)[:, 0, 0, 0] <= self.epsilon
            inside = ball.project(x, images)
            standing.note(inside, cross_entropy(logits, standing.labels))
            x = (images + BACK * (x - images)).where(fooled[:, None, None, None], x)
            stay = standing.leave(inside, logits, within)
            x, aims = x[stay], aims[stay]


def nearest(images: Tensor, weight: Tensor, lack: Tensor, norm: str) -> Tensor:
    """The least step inside the box [0, 1] after which a linear function has risen by what it lacks.

    All values move together, each as fast as it pays, until they meet the edge of the box: how far is found by sorting
    where each meets it. Where the box does not hold enough, all go to its edge.

    Args:
        images: (b, 3, h, w).
        weight: (b, 3, h, w), of the linear function.
        lack: (b,); below 0 the function has to fall.
        norm: which step is the least, `linf` or `l2`.

    Returns:
        (b, 3, h, w).
    """
    import torch

    side = lack.sign()[:, None]
    slope = weight.flatten(1) * side
    pixels = images.flatten(1)
    room = torch.where(slope > 0, 1 - pixels, pixels) * (slope != 0)
    steep = slope.abs()
    pace = torch.ones_like(steep) if norm == "linf" else steep
    meets = room / pace.clamp_min(1e-30)  # how long each value moves
    order = meets.argsort(1)
    meets_in_order = meets.gather(1, order)
    full = (steep * room).gather(1, order).cumsum(1)  # gained by those that have met the edge
    rate = (steep * pace).gather(1, order)
    moving = rate.sum(1, keepdim=True) - rate.cumsum(1)  # gained a unit of time by those that have not
    gained = full + moving * meets_in_order
    wanted = lack.abs()[:, None]
    first = (gained < wanted).sum(1, keepdim=True)  # so many have met the edge before it is enough
    last = first.clamp(max=order.shape[1] - 1)
    before = (last - 1).clamp_min(0)
    done = full.gather(1, before) * (last > 0)
    speed = torch.where(last > 0, moving.gather(1, before), rate.sum(1, keepdim=True))
    time = ((wanted - done) / speed.clamp_min(1e-30)).clamp_min(0)
    time = torch.where(first < order.shape[1], time, meets.amax(1, keepdim=True))
    return (torch.minimum(time * pace, room) * slope.sign()).view_as(images)
