"""PGD: signed gradient steps, each followed by a projection onto the ball around the image and the box [0, 1]."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gfnet_bench.attacks.base import ATTACKS, Predict, check_epsilon
from gfnet_bench.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


@ATTACKS.register("pgd")
@dataclass(frozen=True)
class PGD:
    """Projected gradient ascent on the cross entropy of the true label, last iterate (Madry et al. 2018).

    In float32 the result is within epsilon + 2**-23 of the image (the rounding of one addition) and exactly within
    [0, 1]. Epsilon 0 returns the image bit for bit.

    Attributes:
        epsilon: radius of the L-infinity ball, in units of the pixel range [0, 1].
        relative_step: length of a step as a share of epsilon. Relative, because with an absolute step a large ball
            is never crossed and PGD looks weaker than FGSM.
        steps: gradient steps.
        random_start: start at a uniformly random point of the ball rather than at the image.
    """

    name: ClassVar[str] = "pgd"
    norm: ClassVar[str] = "linf"
    cites: ClassVar[tuple[str, ...]] = ("madry2018towards",)

    epsilon: float = 1 / 255
    relative_step: float = 0.5
    steps: int = 5
    random_start: bool = True

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon)
        if self.steps < 1:
            raise UsageError(f"pgd: expected at least one step, found steps={self.steps}")
        if not 0 < self.relative_step < math.inf:
            raise UsageError(f"pgd: expected relative_step above 0 (the paper's is 0.5), found {self.relative_step:g}")

    def __call__(self, predict: Predict, images: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
        """See `Attack`."""
        from gfnet_bench.randomness import uniform
        from gfnet_bench.watch import watched

        images = images.detach()
        adversarial = images
        if self.random_start:
            offset = self.epsilon * (2 * uniform(seeds, images.shape[1:]) - 1)
            adversarial = (images + offset).clamp(0, 1)
        with watched(predict, images, labels) as predict:
            for _ in range(self.steps):
                direction = loss_gradient(predict, adversarial, labels).sign()
                moved = adversarial + self.relative_step * self.epsilon * direction
                adversarial = (images + (moved - images).clamp(-self.epsilon, self.epsilon)).clamp(0, 1)
        return adversarial


def loss_gradient(predict: Predict, images: Tensor, labels: Tensor) -> Tensor:
    """Gradient of the cross entropy with respect to the pixels, and to nothing else.

    The loss is summed over the batch: a mean would make one image's gradient depend on how many others there are.

    Args:
        predict: see `Attack`.
        images: (b, 3, h, w) float32.
        labels: (b,) int64.

    Returns:
        (b, 3, h, w) float32.

    Raises:
        GfnetBenchError: if logits or gradient are not finite, or the logits do not depend on the pixels.
    """
    import torch
    import torch.nn.functional as F

    from gfnet_bench.watch import no_gradient, watched

    with watched(predict, images, labels) as predict, torch.enable_grad():
        pixels = images.detach().requires_grad_()
        loss = F.cross_entropy(predict(pixels), labels, reduction="sum")
        gradient = torch.autograd.grad(loss, pixels, allow_unused=True)[0] if loss.requires_grad else None
        if gradient is None:
            raise no_gradient()
    return gradient
