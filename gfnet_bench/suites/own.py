"""Anyone's images as a suite that is made on the spot: its name, `images:brains`, is all that has to be known of it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from gfnet_bench.suites.base import SUITES, Filters, Suite

PREFIX = "images:"

CORRUPTED = ":corrupted"
"""What the name of the set that is corrupted in memory ends in; no name of a folder keeps a colon."""


class Usual(NamedTuple):
    """What images of a size are measured with unless something else is asked for.

    Attributes:
        recipe: of corruptions, whose constants are chosen for a size.
        epsilon: L-infinity radius of attacks, in pixel units.
        norm: of the noise of a heat map, as much in each pixel as Yin et al. 2019 add to images of that size.
    """

    recipe: str
    epsilon: float
    norm: float


_USUAL = {
    224: Usual("imagenet_c", 1 / 255, 15.7),
    64: Usual("tiny_imagenet_c", 4 / 255, 8.0),
    32: Usual("cifar_c", 4 / 255, 4.0),
}
"""By pixels a side."""


def usual(side: int) -> Usual:
    """For images of so many pixels a side: the recipe made for the nearest size, and a radius that is felt there."""
    near = min(_USUAL, key=lambda known: abs(math.log(known / side)))
    found = _USUAL[near]
    return found._replace(norm=round(found.norm * side / near, 2))


class _Settled(NamedTuple):
    """What a command chose for a suite, and no name tells."""

    side: int = 224
    reference: str | None = None
    whole: bool = False


_settled: dict[str, _Settled] = {}


def settle(name: str, **chosen: Any) -> None:
    """Choose for a suite, in this process: `side`, pixels of the images its models are shown, `reference`, `whole`."""
    _settled[name] = _settled.get(name, _Settled())._replace(**chosen)


def is_own(name: str) -> bool:
    """Whether a suite or a data set is of anyone's images."""
    return name.startswith(PREFIX)


def own_suite(name: str) -> Suite | None:
    """The suite that a folder of images is, by the name its data sets have; None for any other name."""
    title = name.removeprefix(PREFIX)
    if title == name or not title or ":" in title:
        return None
    chosen = _settled.get(name, _Settled())
    made = usual(chosen.side)
    return Suite(
        name=name,
        title=title,
        main=name,
        others=(name + CORRUPTED,),
        side=chosen.side,
        whole=chosen.whole,
        epsilon=made.epsilon,
        attacks=(),
        reference=chosen.reference,
        filters=Filters(norm=made.norm, parts=1),
    )


SUITES.derive(own_suite)
