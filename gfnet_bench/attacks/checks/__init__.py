"""Is this attack, against this model, to be believed? Checks that catch the usual ways to be wrong.

A robust accuracy is only an upper bound: a broken attack or a model whose gradient is hidden from it looks robust.
`check` takes a sample of a few dozen images, reports every check, and needs no knowledge of the model's inside; what it
knows of it beside adds checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from gfnet_bench.attacks.base import Predict
from gfnet_bench.attacks.checks.base import FAIL, LEFT_OUT, OUTCOMES, PASS, SUSPICIOUS, Check, CheckResult, Make
from gfnet_bench.attacks.checks.bounds import BOUNDS, ZERO
from gfnet_bench.attacks.checks.gradients import FLOAT32, PIXELS, SLOPE
from gfnet_bench.attacks.checks.images import IMAGES_TELL
from gfnet_bench.attacks.checks.power import POWER, Power, power
from gfnet_bench.attacks.checks.repeats import REPEATS
from gfnet_bench.attacks.checks.rivals import RANDOM, SEARCH, TRANSFER
from gfnet_bench.attacks.checks.sample import NOTHING, Beside, Sample
from gfnet_bench.attacks.checks.strength import EPSILON, LARGE_EPSILON, STEPS
from gfnet_bench.errors import GfnetBenchError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "CHECKS",
    "FAIL",
    "LEFT_OUT",
    "OUTCOMES",
    "PASS",
    "SUSPICIOUS",
    "Beside",
    "Check",
    "CheckResult",
    "Power",
    "Sample",
    "Verdict",
    "check",
    "power",
]

CHECKS: tuple[Check, ...] = (
    IMAGES_TELL,
    REPEATS,
    ZERO,
    BOUNDS,
    STEPS,
    EPSILON,
    LARGE_EPSILON,
    RANDOM,
    TRANSFER,
    SEARCH,
    PIXELS,
    SLOPE,
    FLOAT32,
    POWER,
)
"""In the order in which they are made. Where the first fails, there is nothing to see for the others."""


class Verdict(NamedTuple):
    """What the checks say together.

    Attributes:
        results: one a check, those that were left out included.
        power: what became of planted adversarial examples; None where none could be planted.
    """

    results: list[CheckResult]
    power: Power | None

    @property
    def outcome(self) -> str:
        """`pass`, `suspicious` or `fail`: the worst of all checks."""
        return max((r.outcome for r in self.results if r.outcome != LEFT_OUT), key=OUTCOMES.index, default=FAIL)

    @property
    def reasons(self) -> list[str]:
        """The names of the checks that do not hold, the worst first."""
        odd = [r for r in self.results if r.outcome in (SUSPICIOUS, FAIL)]
        return [r.name for r in sorted(odd, key=lambda r: -OUTCOMES.index(r.outcome))]


def check(
    predict: Predict,
    images: Tensor,
    labels: Tensor,
    ids: Sequence[str],
    make: Make,
    *,
    epsilon: float | None = None,
    batch_size: int = 32,
    beside: Beside = NOTHING,
) -> Verdict:
    """Make the checks that make sense for the attack; none raises for a bad model or attack, it fails instead.

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
        beside: what else there is to look at.
    """
    from gfnet_bench.ball import Ball

    sample = Sample(predict, images, labels, ids, batch_size, beside)
    ball = Ball.of(make() if epsilon is None else make(epsilon=epsilon))
    results: list[CheckResult] = []
    for one in CHECKS:
        lacking = one.needs(sample, ball)
        if lacking is None:
            try:
                holds, detail = one.judge(sample, make, ball)
                outcome = PASS if holds else one.otherwise
            except GfnetBenchError as error:
                outcome, detail = FAIL, str(error)
        else:
            outcome, detail = LEFT_OUT, lacking
        results.append(CheckResult(one.name, outcome, detail))
        if not results[0].passed:
            break
    return Verdict(results, sample.power)
