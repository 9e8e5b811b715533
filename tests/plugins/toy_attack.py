"""An attack in L2, with a field of its own."""

from dataclasses import dataclass
from typing import ClassVar

from gfnet_bench.attacks.base import ATTACKS
from gfnet_bench.attacks.pgd import loss_gradient


@ATTACKS.register("slide")
@dataclass(frozen=True)
class Slide:
    """One step along the gradient, as long as the radius times a share of it."""

    name: ClassVar[str] = "slide"
    norm: ClassVar[str] = "l2"
    cites: ClassVar[tuple[str, ...]] = ("@misc{toy_slide,\n  title = {Sliding}\n}",)

    epsilon: float = 2.0
    share: float = 1.0

    def __call__(self, predict, images, labels, seeds):
        gradient = loss_gradient(predict, images, labels)
        lengths = gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
        return (images + self.share * self.epsilon * gradient / lengths * (1 - 1e-6)).clamp(0, 1)
