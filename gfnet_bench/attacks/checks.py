"""Is this attack, against this model, to be believed? Checks that catch the usual ways to be wrong.

A robust accuracy is only an upper bound: a broken attack or a model whose gradient is hidden from it looks robust.
`check` takes a sample of a few dozen images, reports every check, and needs no knowledge of the model's inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gfnet_bench.attacks.base import Attack, Predict
from gfnet_bench.attacks.pgd import loss_gradient
from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.spelling import number

if TYPE_CHECKING:
    from torch import Tensor

    from gfnet_bench.ball import Ball

LARGE = 64 / 255  # a quarter of the pixel range: plain to see, and far beyond what an undefended model stands
SURVIVORS = 0.05  # of the images, that a large perturbation may leave right
FEWEST = 16  # images: below, a share of 5 % or 90 % says nothing


class CheckResult(NamedTuple):
    """One check: what must hold, whether it does, and the numbers behind the answer."""

    name: str
    passed: bool
    detail: str


def check(
    predict: Predict,
    images: Tensor,
    labels: Tensor,
    ids: Sequence[str],
    make: Callable[..., Attack],
    *,
    epsilon: float | None = None,
    batch_size: int = 32,
) -> list[CheckResult]:
    """Run the checks that make sense for the attack; none raises for a bad model or attack, it fails instead.

    The first is about the images: where they cannot tell a robust model from a broken one it is the only one.

    Args:
        predict: see `Attack`.
        images: (n, 3, h, w) float32 in [0, 1], most of them classified rightly.
        labels: (n,) int64.
        ids: n image ids, for the seeds.
        make: `epsilon`, `steps` and `relative_step` as keywords to an attack, as
            `functools.partial(make_attack, "pgd")` does; those that it has no use for it leaves aside.
        epsilon: the radius the attack is going to be used with, in its own norm; None for its own.
        batch_size: images at a time.
    """
    from gfnet_bench.ball import Ball

    sample = _Sample(predict, images, labels, ids, batch_size)
    ball = Ball.of(make() if epsilon is None else make(epsilon=epsilon))
    results: list[CheckResult] = []
    for name, (judge, applies) in CHECKS.items():
        if not applies(ball):
            continue
        try:
            passed, detail = judge(sample, make, ball)
        except GfnetBenchError as error:
            passed, detail = False, str(error)
        results.append(CheckResult(name, passed, detail))
        if not results[0].passed:
            break
    return results


class _Sample:
    """A model and some images, worked through in batches."""

    def __init__(self, predict: Predict, images: Tensor, labels: Tensor, ids: Sequence[str], batch_size: int) -> None:
        from gfnet_bench.randomness import image_seeds

        self.predict = predict
        self.images = images
        self.labels = labels
        self.seeds = image_seeds(ids, "attack-check").to(images.device)
        self.batch_size = batch_size

    def attacked(self, attack: Attack) -> Tensor:
        """(n, 3, h, w), the images under the attack."""
        from gfnet_bench.ball import check_images, name_of
        from gfnet_bench.watch import watched

        def run(images: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
            with watched(self.predict, images, labels) as watch:
                return check_images(attack(watch, images.clone(), labels, seeds), images, name_of(attack))

        return self._batched(run, self.images)

    def gradient(self) -> Tensor:
        """(n, 3, h, w), of the loss at the images."""
        return self._batched(lambda i, y, s: loss_gradient(self.predict, i, y), self.images)

    def logits(self, images: Tensor) -> Tensor:
        """(n, k), finite."""
        import torch

        from gfnet_bench.watch import watched

        def run(images: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
            with watched(self.predict, images, labels) as watch:
                return watch(images)

        with torch.no_grad():
            return self._batched(run, images)

    def losses(self, images: Tensor) -> Tensor:
        """(n,) cross entropies; an image that is classified wrongly counts log k, the most that a right one can have.

        How wrong it is says nothing: an attack that looks for the nearest wrong image, or stops at the first, gives up
        the loss beyond, and no accuracy sees it.
        """
        import torch.nn.functional as F

        logits = self.logits(images)
        losses = F.cross_entropy(logits, self.labels, reduction="none")
        return losses.where(logits.argmax(1) == self.labels, math.log(logits.shape[1]))

    def right(self, images: Tensor) -> Tensor:
        """(n,) bool, whether an image is classified rightly."""
        return self.logits(images).argmax(1) == self.labels

    def corner(self, size: float | Tensor) -> Tensor:
        """(n, 3, h, w), every value of the images moved by `size`, up or down at random, within the box."""
        from gfnet_bench.randomness import uniform

        corner = uniform(self.seeds, self.images.shape[1:], stream=1).round() * 2 - 1
        return (self.images + size * corner).clamp(0, 1)

    @property
    def values(self) -> int:
        """Of one image."""
        return self.images[0].numel()

    def _batched(self, function: Callable[[Tensor, Tensor, Tensor], Tensor], images: Tensor) -> Tensor:
        import torch

        size = self.batch_size
        batches = zip(images.split(size), self.labels.split(size), self.seeds.split(size), strict=True)
        return torch.cat([function(*batch) for batch in batches])


Make = Callable[..., Attack]
Verdict = tuple[bool, str]


def _sample_can_tell(sample: _Sample, make: Make, ball: Ball) -> Verdict:
    """There are images enough, and the model is better than chance by more than an attack may leave it."""
    from gfnet_bench.metrics import wilson_interval

    n = len(sample.labels)
    if n < FEWEST:
        return False, f"expected {FEWEST} images or more, found {n}; take more of them"
    logits = sample.logits(sample.images)
    right, needed = int((logits.argmax(1) == sample.labels).sum()), 1 / logits.shape[1] + SURVIVORS
    low = wilson_interval(right, n).low
    found = f"{right} of {n} images are classified rightly, {low:.1%} or more of all, against {needed:.1%} needed"
    hint = "" if low > needed else "; are these the weights and the labels that belong together?"
    return low > needed, found + hint


def _zero_is_clean(sample: _Sample, make: Make, ball: Ball) -> Verdict:
    """With no room to move, the images come back bit for bit."""
    changed = int((sample.attacked(make(epsilon=0.0)) != sample.images).sum())
    return changed == 0, f"{changed} of {sample.images.numel()} values changed"


def _in_ball_and_box(sample: _Sample, make: Make, ball: Ball) -> Verdict:
    """No further from the original than epsilon, and still an image, at this epsilon and at a large one."""
    faults, found = [], []
    for radius in (ball.radius, _large(sample, ball)) if _with_radius(ball) else (ball.radius,):
        attack = make() if radius is None else make(epsilon=radius)
        extent = ball._replace(radius=radius).extent(sample.attacked(attack), sample.images)
        faults.append(bool(extent[:, 0].any()))
        moved, low, high = float(extent[:, 1].max()), float(extent[:, 2].min()), float(extent[:, 3].max())
        if ball.norm == "linf":
            length = f"{moved * 255:.4g}/255"
        else:
            length = f"{moved:.4g}" + (f" in {ball.norm}" if ball.norm else "")
        at = "" if radius is None else f"epsilon {_length(radius, ball)}: "
        found.append(f"{at}moved by {length}, pixels {low:.3g} to {high:.3g}")
    return not any(faults), "; ".join(found)


def _steps_never_help(sample: _Sample, make: Make, ball: Ball) -> Verdict:
    """The mean loss does not fall from no attack to 1, 2, 5 and 10 steps.

    The tolerance for each increase is two standard errors of the per-image differences and 1 % of the loss, since the
    last iterate of a converged attack wanders.
    """
    counts = (1, 2, 5, 10) if _steps(make(steps=1)) else (1,)
    holds = True
    losses = [sample.losses(sample.images)]
    for steps in counts:
        losses.append(sample.losses(sample.attacked(make(**_at(ball), steps=steps))))
        gain, error = _mean_and_error(losses[-1] - losses[-2])
        holds = holds and gain + 2 * error >= -0.01 * float(losses[-2].mean())
    means = ", ".join(f"{float(loss.mean()):.3f}" for loss in losses)
    return holds, f"mean loss after {', '.join(map(str, (0, *counts)))} steps: {means}"


def _large_epsilon_wins(sample: _Sample, make: Make, ball: Ball) -> Verdict:
    """With room enough, at most 5 % of the images survive 20 steps; of a single step, half of the accuracy must go."""
    radius = _large(sample, ball)
    attack = make(epsilon=radius, steps=20, relative_step=0.1)
    clean, attacked = (float(sample.right(i).float().mean()) for i in (sample.images, sample.attacked(attack)))
    bound = SURVIVORS if _steps(attack) else clean / 2
    found = f"accuracy {clean:.1%} to {attacked:.1%} at epsilon {_length(radius, ball)}, expected {bound:.1%} or less"
    return attacked <= bound, found


def _beats_random_direction(sample: _Sample, make: Make, ball: Ball) -> Verdict:
    """On at least 90 % of the images the attack gets further than a random corner of the same ball.

    Counted by image, since a few images near the boundary make up most of a confident model's mean loss. The ball of an
    attack without a radius is as large as the attack made it.

    An image that comes back as it was, as from attacks that keep their successes alone, is tried again with a large
    epsilon, which it must not stand; without a radius it does not count.
    """
    import torch

    adversarial = sample.attacked(make(**_at(ball)))
    moved, fooled = adversarial - sample.images, ~sample.right(adversarial)
    size: Tensor | float = torch.linalg.vector_norm(moved, dim=(1, 2, 3), keepdim=True) / math.sqrt(sample.values)
    if ball.radius is not None:
        size = ball.radius * _reach(sample, ball)
    attacked, random = sample.losses(adversarial), sample.losses(sample.corner(size))
    won, back = (attacked > random) | fooled, (moved == 0).flatten(1).all(1) & ~fooled
    again = ""
    if back.any() and ball.radius is not None:
        won |= back & ~sample.right(sample.attacked(make(epsilon=_large(sample, ball))))
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


def _gradient_reaches_pixels(sample: _Sample, make: Make, ball: Ball) -> Verdict:
    """At least 95 % of the images have a gradient at half of their values or more.

    Rounding, thresholds and saturated outputs inside a model make it exactly zero, and the attack blind.
    """
    share = (sample.gradient() != 0).flatten(1).float().mean(1)
    reached = float((share >= 0.5).float().mean())
    return reached >= 0.95, f"gradient at {float(share.mean()):.1%} of the values; {reached:.1%} of the images reached"


def _reach(sample: _Sample, ball: Ball) -> float:
    """How far every value can move at once in the unit ball of that norm."""
    return {"linf": 1.0, "l2": sample.values**-0.5, "l1": 1 / sample.values}[ball.norm or "linf"]


def _large(sample: _Sample, ball: Ball) -> float:
    """The radius that lets every value move by a quarter of the pixel range."""
    return LARGE / _reach(sample, ball)


def _length(radius: float, ball: Ball) -> str:
    """For people: grey levels where it bounds each pixel value."""
    return number(radius, of_255=True) if ball.norm == "linf" else f"{radius:.6g}"


def _at(ball: Ball) -> dict[str, float]:
    """The radius as a keyword, where there is one."""
    return {} if ball.radius is None else {"epsilon": ball.radius}


def _steps(attack: Attack) -> int | None:
    """How many steps an attack was told to make; None where it does not take that."""
    return getattr(attack, "steps", None)


def _mean_and_error(differences: Tensor) -> tuple[float, float]:
    """Mean and its standard error."""
    return float(differences.mean()), float(differences.std(correction=0)) / len(differences) ** 0.5


def _any(ball: Ball) -> bool:
    return True


def _with_radius(ball: Ball) -> bool:
    return ball.radius is not None and ball.norm in ("linf", "l2", "l1")


def _adversarial(ball: Ball) -> bool:
    """Not noise, of which nothing is expected."""
    return ball.norm is not None


def _measured(ball: Ball) -> bool:
    """Nor one that counts pixels, few of which may be too few to win."""
    return ball.norm not in (None, "l0")


CHECKS: dict[str, tuple[Callable[[_Sample, Make, Ball], Verdict], Callable[[Ball], bool]]] = {
    "the images can tell": (_sample_can_tell, _any),
    "epsilon 0 changes nothing": (_zero_is_clean, _with_radius),
    "stays in the ball and the box": (_in_ball_and_box, _any),
    "more steps never help the model": (_steps_never_help, _adversarial),
    "large epsilon leaves no accuracy": (_large_epsilon_wins, _with_radius),
    "beats a random direction": (_beats_random_direction, _measured),
    "gradient reaches the pixels": (_gradient_reaches_pixels, _any),
}
"""What must hold, how it is seen, and for which attacks it makes sense."""
