"""FGSM: one signed gradient step to the edge of the ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gfnet_bench.attacks.base import ATTACKS, Predict, check_epsilon
from gfnet_bench.attacks.pgd import PGD

if TYPE_CHECKING:
    from torch import Tensor


@ATTACKS.register("fgsm")
@dataclass(frozen=True)
class FGSM:
    """One signed gradient step of size epsilon from the image itself (Goodfellow et al. 2015).

    Attributes:
        epsilon: the step, and the radius of the ball, in units of the pixel range [0, 1].
    """

    name: ClassVar[str] = "fgsm"
    norm: ClassVar[str] = "linf"
    cites: ClassVar[tuple[str, ...]] = ("goodfellow2015explaining",)
    begins_at_image: ClassVar[bool] = True

    epsilon: float = 1 / 255

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon)

    def __call__(self, predict: Predict, images: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
        """See `Attack`; the seeds are not used."""
        one_step = PGD(self.epsilon, relative_step=1.0, steps=1, random_start=False)
        return one_step(predict, images, labels, seeds)
