"""Does the attack beat what knows less: a random direction, another model's gradient, a search without one?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gfnet_bench.attacks.base import ATTACKS, Attack
from gfnet_bench.attacks.checks.base import SUSPICIOUS, Check, Make, measured, with_radius
from gfnet_bench.attacks.checks.sample import at, mean_and_error

if TYPE_CHECKING:
    from torch import Tensor

    from gfnet_bench.attacks.checks.sample import Sample
    from gfnet_bench.ball import Ball

LED = 0.05
"""Of the images, by which a rival may be ahead."""

QUERIES = 50
"""Of the search: enough to find what a gradient that is cut off leaves standing, few enough to cost little."""


def _beats_random_direction(sample: Sample, make: Make, ball: Ball) -> tuple[bool, str]:
    """On at least 90 % of the images the attack gets further than a random corner of the same ball.

    Counted by image, since a few images near the boundary make up most of a confident model's mean loss. The ball of an
    attack without a radius is as large as the attack made it.

    An image that comes back as it was, as from attacks that keep their successes alone, is tried again with a large
    epsilon, which it must not stand; without a radius it does not count.
    """
    import torch

    adversarial = sample.attacked(make(**at(ball)))
    moved, fooled = adversarial - sample.images, ~sample.right(adversarial)
    size: Tensor | float = torch.linalg.vector_norm(moved, dim=(1, 2, 3), keepdim=True) / math.sqrt(sample.values)
    if ball.radius is not None:
        size = ball.radius * sample.reach(ball)
    attacked, random = sample.losses(adversarial), sample.losses(sample.corner(size))
    won, back = (attacked > random) | fooled, (moved == 0).flatten(1).all(1) & ~fooled
    again = ""
    if back.any() and ball.radius is not None:
        won |= back & ~sample.right(sample.attacked(make(epsilon=sample.large(ball))))
        again = f"; {int(back.sum())} that came back as they were judged at a large epsilon"
    elif back.any():
        won = won[~back]
        again = f"; {int(back.sum())} came back as they were and do not count"
    if not len(won):
        return False, f"all {len(back)} images came back as they were"
    share = float(won.float().mean())
    found = (
        f"mean loss {float(attacked.mean()):.3f} against {float(random.mean()):.3f}, won at {share:.1%} of the images"
    )
    return share >= 0.9, found + again


def _beats_transfer(sample: Sample, make: Make, ball: Ball) -> tuple[bool, str]:
    """What fools another model fools this one less often than what was made for this one."""
    assert sample.beside.other is not None
    name, predict = sample.beside.other
    attack = make(**at(ball))
    own, transferred = (~sample.right(s.attacked(attack)) for s in (sample, sample.of(slice(None), predict)))
    lead, error = mean_and_error(transferred.float() - own.float())
    found = f"fooled {float(own.float().mean()):.1%}, by images made for {name} {float(transferred.float().mean()):.1%}"
    return lead <= max(LED, 2 * error), found


def _needs_other(sample: Sample, ball: Ball) -> str | None:
    return with_radius(sample, ball) or (None if sample.beside.other else "no other model for these images is at hand")


def _beats_search(sample: Sample, make: Make, ball: Ball) -> tuple[bool, str]:
    """Hardly an image that the attack leaves right falls to a search that sees the logits alone."""
    adversarial = sample.attacked(make(**at(ball)))
    left = sample.right(adversarial)
    if not left.any():
        return True, "the attack leaves no image right"
    rest = sample.of(left)
    found = int((~rest.right(rest.attacked(_search(ball)))).sum())
    share = found / len(left)
    words = f"of {int(left.sum())} images that the attack leaves right, {found} fall to {QUERIES} queries of Square"
    return share <= LED, f"{words}, {share:.1%} of all"


def _search(ball: Ball) -> Attack:
    from gfnet_bench.attacks.make import fields_of, make_attack

    known = fields_of("square")
    wanted = {"epsilon": ball.radius, "norm": ball.norm, "queries": QUERIES, "steps": QUERIES}
    return make_attack("square", **{key: value for key, value in wanted.items() if key in known})


def _needs_search(sample: Sample, ball: Ball) -> str | None:
    if "square" not in ATTACKS:
        return "there is no attack called square here"
    return with_radius(sample, ball) or (None if ball.norm in ("linf", "l2") else "Square knows no such norm")


RANDOM = Check("beats a random direction", _beats_random_direction, measured)
TRANSFER = Check("beats another model's adversarial images", _beats_transfer, _needs_other, SUSPICIOUS)
SEARCH = Check("leaves little to a search without gradients", _beats_search, _needs_search, SUSPICIOUS)
