"""Does more of the attack never help the model?"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from gfnet_bench.attacks.base import Attack
from gfnet_bench.attacks.checks.base import SUSPICIOUS, Check, Make, adversarial, with_radius
from gfnet_bench.attacks.checks.images import SURVIVORS
from gfnet_bench.attacks.checks.sample import at, length, mean_and_error

if TYPE_CHECKING:
    from torch import Tensor

    from gfnet_bench.attacks.checks.sample import Sample
    from gfnet_bench.ball import Ball


def _steps_never_help(sample: Sample, make: Make, ball: Ball) -> tuple[bool, str]:
    """The mean loss does not fall from no attack to 1, 2, 5 and 10 steps."""
    counts = (1, 2, 5, 10) if _steps(make(steps=1)) else (1,)
    losses = [sample.losses(sample.attacked(make(**at(ball), steps=steps))) for steps in counts]
    holds, means = _grows([sample.losses(sample.images), *losses])
    return holds, f"mean loss after {', '.join(map(str, (0, *counts)))} steps: {means}"


def _epsilon_never_helps(sample: Sample, make: Make, ball: Ball) -> tuple[bool, str]:
    """Nor from a quarter of the radius over a half and the whole to twice as much."""
    assert ball.radius is not None
    radii = [share * ball.radius for share in (0.25, 0.5, 1.0, 2.0)]
    holds, means = _grows([sample.losses(sample.attacked(make(epsilon=radius))) for radius in radii])
    return holds, f"mean loss at epsilon {', '.join(length(radius, ball) for radius in radii)}: {means}"


def _grows(losses: list[Tensor]) -> tuple[bool, str]:
    """Whether losses of the same images never fall, and their means.

    The tolerance for each increase is two standard errors of the per-image differences and 1 % of the loss, since the
    last iterate of a converged attack wanders.
    """
    holds = True
    for before, after in pairwise(losses):
        gain, error = mean_and_error(after - before)
        holds = holds and gain + 2 * error >= -0.01 * float(before.mean())
    return holds, ", ".join(f"{float(loss.mean()):.3f}" for loss in losses)


def _large_epsilon_wins(sample: Sample, make: Make, ball: Ball) -> tuple[bool, str]:
    """With room enough, at most 5 % of the images survive 20 steps; of a single step, half of the accuracy must go."""
    radius = sample.large(ball)
    attack = make(epsilon=radius, steps=20, relative_step=0.1)
    clean, attacked = (float(sample.right(i).float().mean()) for i in (sample.images, sample.attacked(attack)))
    bound = SURVIVORS if _steps(attack) else clean / 2
    found = f"accuracy {clean:.1%} to {attacked:.1%} at epsilon {length(radius, ball)}, expected {bound:.1%} or less"
    return attacked <= bound, found


def _steps(attack: Attack) -> int | None:
    """How many steps an attack was told to make; None where it does not take that."""
    return getattr(attack, "steps", None)


STEPS = Check("more steps never help the model", _steps_never_help, adversarial, SUSPICIOUS)
EPSILON = Check("more epsilon never helps the model", _epsilon_never_helps, with_radius, SUSPICIOUS)
LARGE_EPSILON = Check("large epsilon leaves no accuracy", _large_epsilon_wins, with_radius)
