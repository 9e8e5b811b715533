"""Is this attack, against this model, to be believed? Six checks that catch the usual ways to be wrong.

A robust accuracy is only an upper bound: a broken attack or a model whose gradient is hidden from it looks robust.
`check` takes a sample of a few dozen images, reports every check, and needs no knowledge of the model's inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gfnet_bench.attacks.base import Attack, Predict, format_epsilon, settings
from gfnet_bench.attacks.pgd import loss_gradient
from gfnet_bench.errors import GfnetBenchError

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = 2.0**-23  # of image + perturbation, both below 2, in float32
LARGE = 64 / 255  # a quarter of the pixel range: plain to see, and far beyond what an undefended model stands


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
    epsilon: float = 1 / 255,
    batch_size: int = 32,
) -> list[CheckResult]:
    """Run every check; none raises for a bad model or attack, it fails instead.

    Args:
        predict: see `Attack`.
        images: (n, 3, h, w) float32 in [0, 1], most of them classified rightly.
        labels: (n,) int64.
        ids: n image ids, for the seeds.
        make: `epsilon`, `steps` and `relative_step` as keywords to an L-infinity attack, as
            `functools.partial(make_attack, "pgd")` does.
        epsilon: the radius the attack is going to be used with.
        batch_size: images at a time.
    """
    sample = _Sample(predict, images, labels, ids, batch_size)
    results = []
    for name, judge in _CHECKS.items():
        try:
            passed, detail = judge(sample, make, epsilon)
        except GfnetBenchError as error:
            passed, detail = False, str(error)
        results.append(CheckResult(name, passed, detail))
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
        return self._batched(lambda i, y, s: attack(self.predict, i, y, s), self.images)

    def gradient(self) -> Tensor:
        """(n, 3, h, w), of the loss at the images."""
        return self._batched(lambda i, y, s: loss_gradient(self.predict, i, y), self.images)

    def losses(self, images: Tensor) -> Tensor:
        """(n,) cross entropies."""
        import torch
        import torch.nn.functional as F

        with torch.no_grad():
            return self._batched(lambda i, y, s: F.cross_entropy(self.predict(i), y, reduction="none"), images)

    def accuracy(self, images: Tensor) -> float:
        """Top-1, a fraction."""
        import torch

        with torch.no_grad():
            return float(self._batched(lambda i, y, s: self.predict(i).argmax(1) == y, images).float().mean())

    def _batched(self, function: Callable[[Tensor, Tensor, Tensor], Tensor], images: Tensor) -> Tensor:
        import torch

        size = self.batch_size
        batches = zip(images.split(size), self.labels.split(size), self.seeds.split(size), strict=True)
        return torch.cat([function(*batch) for batch in batches])


Make = Callable[..., Attack]
Verdict = tuple[bool, str]


def _zero_is_clean(sample: _Sample, make: Make, epsilon: float) -> Verdict:
    """With no room to move, the images come back bit for bit."""
    changed = int((sample.attacked(make(epsilon=0.0)) != sample.images).sum())
    return changed == 0, f"{changed} of {sample.images.numel()} values changed"


def _in_ball_and_box(sample: _Sample, make: Make, epsilon: float) -> Verdict:
    """No further from the original than epsilon, and still an image, at this epsilon and at a large one."""
    inside, found = True, []
    for radius in (epsilon, LARGE):
        adversarial = sample.attacked(make(epsilon=radius))
        furthest = float((adversarial - sample.images).abs().max())
        low, high = float(adversarial.min()), float(adversarial.max())
        # Written so that a NaN fails.
        inside = inside and furthest <= radius + ROUNDING and low >= 0 and high <= 1
        found.append(
            f"epsilon {format_epsilon(radius)}: moved by {furthest * 255:.4g}/255, pixels {low:.3g} to {high:.3g}"
        )
    return inside, "; ".join(found)


def _steps_never_help(sample: _Sample, make: Make, epsilon: float) -> Verdict:
    """The mean loss does not fall from no attack to 1, 2, 5 and 10 steps.

    The tolerance for each increase is two standard errors of the per-image differences and 1 % of the loss, since the
    last iterate of a converged attack wanders.
    """
    counts = (1, 2, 5, 10) if "steps" in settings(make(epsilon=epsilon)) else (1,)
    holds = True
    losses = [sample.losses(sample.images)]
    for steps in counts:
        losses.append(sample.losses(sample.attacked(make(epsilon=epsilon, steps=steps))))
        gain, error = _mean_and_error(losses[-1] - losses[-2])
        holds = holds and gain + 2 * error >= -0.01 * float(losses[-2].mean())
    means = ", ".join(f"{float(loss.mean()):.3f}" for loss in losses)
    return holds, f"mean loss after {', '.join(map(str, (0, *counts)))} steps: {means}"


def _large_epsilon_wins(sample: _Sample, make: Make, epsilon: float) -> Verdict:
    """With room enough, at most 5 % of the images survive 20 steps; of a single step, half of the accuracy must go."""
    attack = make(epsilon=LARGE, steps=20, relative_step=0.1)
    clean, attacked = sample.accuracy(sample.images), sample.accuracy(sample.attacked(attack))
    bound = 0.05 if "steps" in settings(attack) else clean / 2
    found = f"accuracy {clean:.1%} to {attacked:.1%} at epsilon {format_epsilon(LARGE)}, expected {bound:.1%} or less"
    return attacked <= bound, found


def _beats_random_direction(sample: _Sample, make: Make, epsilon: float) -> Verdict:
    """On at least 90 % of the images the attack raises the loss further than a random corner of the same ball.

    Counted by image, since a few images near the boundary make up most of a confident model's mean loss.
    """
    from gfnet_bench.randomness import uniform

    corner = uniform(sample.seeds, sample.images.shape[1:], stream=1).round() * 2 - 1
    random = sample.losses((sample.images + epsilon * corner).clamp(0, 1))
    attacked = sample.losses(sample.attacked(make(epsilon=epsilon)))
    won = float((attacked > random).float().mean())
    found = (
        f"mean loss {float(attacked.mean()):.3f} against {float(random.mean()):.3f}, higher for {won:.1%} of the images"
    )
    return won >= 0.9, found


def _gradient_reaches_pixels(sample: _Sample, make: Make, epsilon: float) -> Verdict:
    """At least 95 % of the images have a gradient at half of their values or more.

    Rounding, thresholds and saturated outputs inside a model make it exactly zero, and the attack blind.
    """
    share = (sample.gradient() != 0).flatten(1).float().mean(1)
    reached = float((share >= 0.5).float().mean())
    return reached >= 0.95, f"gradient at {float(share.mean()):.1%} of the values; {reached:.1%} of the images reached"


def _mean_and_error(differences: Tensor) -> tuple[float, float]:
    """Mean and its standard error."""
    return float(differences.mean()), float(differences.std(correction=0)) / len(differences) ** 0.5


_CHECKS: dict[str, Callable[[_Sample, Make, float], Verdict]] = {
    "epsilon 0 changes nothing": _zero_is_clean,
    "stays in the ball and the box": _in_ball_and_box,
    "more steps never help the model": _steps_never_help,
    "large epsilon leaves no accuracy": _large_epsilon_wins,
    "beats a random direction": _beats_random_direction,
    "gradient reaches the pixels": _gradient_reaches_pixels,
}
