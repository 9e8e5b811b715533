"""Random: as far as the ball goes, in a direction that knows nothing of the network; what any attack must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gfnet_bench.attacks.base import ATTACKS, Predict, check_epsilon, check_norm, unsaid

if TYPE_CHECKING:
    from torch import Tensor


@ATTACKS.register("random")
@dataclass(frozen=True)
class RandomDirection:
    """One random direction: a corner of the ball in L-infinity, a point at its full radius in L2.

    Pixels end at the box [0, 1], as for any attack.

    Attributes:
        epsilon: radius of the ball, in units of the pixel range [0, 1]; of an L2 ball 0.5 where it is made by name.
        norm: `linf` or `l2`.
    """

    name: ClassVar[str] = "random"
    title: ClassVar[str] = "Random"
    cites: ClassVar[tuple[str, ...]] = ()

    epsilon: float = 1 / 255
    norm: str = unsaid("linf")

    def __post_init__(self) -> None:
        check_norm(self.name, self.norm)
        check_epsilon(self.epsilon, self.norm)

    def __call__(self, predict: Predict, images: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
        """See `Attack`; neither network nor labels are used."""
        from gfnet_bench.ball import Ball
        from gfnet_bench.randomness import normal

        ball = Ball(self.norm, self.epsilon)
        drawn = normal(seeds, images.shape[1:])
        return ball.project(images + self.epsilon * ball.ascent(drawn), images).detach()
