"""PGD: steps along the gradient, each followed by a projection onto the ball around the image and the box [0, 1]."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gfnet_bench.attacks.base import ATTACKS, Predict, check_counts, check_epsilon, check_norm, unsaid
from gfnet_bench.attacks.losses import Loss, cross_entropy, look
from gfnet_bench.attacks.standing import Standing
from gfnet_bench.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

TARGETS = ("likeliest", "unlikeliest", "random")


@ATTACKS.register("pgd")
@dataclass(frozen=True)
class PGD:
    """Projected gradient ascent on the cross entropy of the true label, last iterate (Madry et al. 2018).

    In float32 the result is within epsilon + 2**-23 of the image (the rounding of one addition) and exactly within
    [0, 1]. Epsilon 0 returns the image bit for bit.

    Attributes:
        epsilon: radius of the ball, in units of the pixel range [0, 1]; of an L2 ball 0.5 where it is made by name.
        relative_step: length of a step as a share of epsilon. Relative, because with an absolute step a large ball
            is never crossed and PGD looks weaker than FGSM.
        steps: gradient steps.
        random_start: start at a uniformly random point of the ball rather than at the image.
        norm: `linf` or `l2`.
        restarts: random starts. With several an image leaves once it is fooled; the highest loss counts else.
        momentum: share of the steps so far that goes into the next one, gradients in units of their mean magnitude
            (Dong et al. 2018).
        target: descend the cross entropy of another class instead: of the wrong classes the `likeliest` or the
            `unlikeliest` at the image, or a `random` one.
        best: every iterate counts, the last one is no more than the others: an image leaves once it is fooled.
        budget: forward and backward passes that an image may take.
    """

    name: ClassVar[str] = "pgd"
    cites: ClassVar[tuple[str, ...]] = ("madry2018towards",)

    epsilon: float = 1 / 255
    relative_step: float = 0.5
    steps: int = 5
    random_start: bool = True
    norm: str = "linf"
    restarts: int = unsaid(1)
    momentum: float = unsaid(0.0)
    target: str | None = None
    best: bool = unsaid(False)
    budget: int | None = None

    def __post_init__(self) -> None:
        check_norm(self.name, self.norm)
        check_epsilon(self.epsilon, self.norm)
        if self.steps < 1:
            raise UsageError(f"{self.name}: expected at least one step, found steps={self.steps}")
        if not 0 < self.relative_step < math.inf:
            found = f"found {self.relative_step:g}"
            raise UsageError(f"{self.name}: expected relative_step above 0 (the paper's is 0.5), {found}")
        check_counts(self.name, restarts=self.restarts, budget=self.budget)
        if self.restarts > 1 and not self.random_start:
            raise UsageError(f"{self.name}: expected a random start where there are restarts, found the image itself")
        if not 0 <= self.momentum < math.inf:
            raise UsageError(f"{self.name}: expected momentum from 0 up, found {self.momentum:g}")
        if self.target not in (None, *TARGETS):
            raise UsageError(f"{self.name}: expected target to be one of {', '.join(TARGETS)}, found {self.target!r}")

    @property
    def begins_at_image(self) -> bool:
        """See `Attack`."""
        return not self.random_start

    def __call__(self, predict: Predict, images: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
        """See `Attack`."""
        from gfnet_bench.watch import watched

        images = images.detach()
        with watched(predict, images, labels) as watch:
            standing = Standing(watch, images, labels, seeds, self.budget)
            aims = None if self.target is None else self._aims(standing)
            for restart in range(self.restarts):
                aims = self._climb(standing, restart, aims)
        return standing.result

    def _climb(self, standing: Standing, restart: int, aims: Tensor | None) -> Tensor | None:
        """One start and its steps; the classes that those who still stand are led to."""
        from gfnet_bench.ball import TINY, Ball

        ball, images = Ball(self.norm, self.epsilon), standing.images
        adversarial = images
        if self.random_start:
            adversarial = self._start(ball.start(standing.seeds, images.shape[1:], restart), images)
        moving = 0 * images if self.momentum else None
        for _ in range(self.steps):
            if not standing.affords(2):
                break
            seen = standing.look(adversarial, _loss(aims))
            gradient = seen.gradient
            if self.best:
                standing.note(adversarial, seen.losses)
                stay = standing.leave(adversarial, seen.logits)
                adversarial, gradient = adversarial[stay], gradient[stay]
                aims, moving = (None if x is None else x[stay] for x in (aims, moving))
            if moving is not None:
                size = gradient.abs().mean((1, 2, 3), keepdim=True).clamp_min(TINY)
                gradient = moving = self.momentum * moving + gradient / size
            moved = adversarial + self.relative_step * self.epsilon * ball.ascent(self._allowed(gradient))
            adversarial = self._project(moved, standing.images)
        if not (self.best or self.restarts > 1):
            standing.result = adversarial
        elif standing.affords(1):
            logits = standing.logits(adversarial)
            standing.note(adversarial, _loss(aims)(logits, standing.labels))
            stay = standing.leave(adversarial, logits)
            aims = None if aims is None else aims[stay]
        return aims

    def _start(self, offset: Tensor, images: Tensor) -> Tensor:
        return (images + offset).clamp(0, 1)

    def _allowed(self, gradient: Tensor) -> Tensor:
        return gradient

    def _project(self, moved: Tensor, images: Tensor) -> Tensor:
        from gfnet_bench.ball import Ball

        return Ball(self.norm, self.epsilon).project(moved, images)

    def _aims(self, standing: Standing) -> Tensor:
        """(b,), the classes that images are led to."""
        from gfnet_bench.randomness import uniform

        standing.affords(1)
        logits = standing.logits(standing.images)
        if self.target == "random":
            drawn = uniform(standing.seeds, logits.shape[1:], stream=2**20)
            logits = drawn.to(logits.dtype)
        away = standing.labels[:, None]
        if self.target == "unlikeliest":
            return logits.scatter(1, away, math.inf).argmin(1)
        return logits.scatter(1, away, -math.inf).argmax(1)


def _loss(aims: Tensor | None) -> Loss:
    """What is raised: the cross entropy of the true class, or lowered, that of another."""
    return cross_entropy if aims is None else lambda logits, _: -cross_entropy(logits, aims)


def loss_gradient(predict: Predict, images: Tensor, labels: Tensor) -> Tensor:
    """Gradient of the cross entropy with respect to the pixels, and to nothing else.

    Args:
        predict: see `Attack`.
        images: (b, 3, h, w) float32.
        labels: (b,) int64.

    Returns:
        (b, 3, h, w) float32.

    Raises:
        GfnetBenchError: if logits or gradient are not finite, or the logits do not depend on the pixels.
    """
    from gfnet_bench.watch import watched

    with watched(predict, images, labels) as watch:
        return look(watch, images, labels, cross_entropy).gradient
