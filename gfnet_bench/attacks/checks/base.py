"""What a check is: something that must hold of an attack, a model and images for a robust accuracy to be believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gfnet_bench.attacks.base import Attack

if TYPE_CHECKING:
    from gfnet_bench.attacks.checks.sample import Sample
    from gfnet_bench.ball import Ball

PASS, SUSPICIOUS, FAIL, LEFT_OUT = OUTCOMES = ("pass", "suspicious", "fail", "left out")
"""What a check can end with; the worst of all, the last aside, is the verdict."""

Make = Callable[..., Attack]
"""`epsilon`, `steps` and `relative_step` as keywords to an attack; those that it has no use for it leaves aside."""

Judge = Callable[["Sample", Make, "Ball"], tuple[bool, str]]
Needs = Callable[["Sample", "Ball"], "str | None"]


@dataclass(frozen=True)
class Check:
    """One thing that must hold.

    Attributes:
        name: what that is, as a sentence without a verb's subject: `stays in the ball and the box`.
        judge: whether it does, and the numbers behind the answer; a `GfnetBenchError` that it raises is a failure.
        needs: why it cannot be asked of an attack with this ball on this sample; None where it can.
        otherwise: the outcome where it does not hold: `fail` where the number is wrong then, `suspicious` where it is
            likely to be.
    """

    name: str
    judge: Judge
    needs: Needs
    otherwise: str = FAIL


class CheckResult(NamedTuple):
    """One check: what must hold, one of `OUTCOMES`, and the numbers behind it, or why it was left out."""

    name: str
    outcome: str
    detail: str

    @property
    def passed(self) -> bool:
        """Whether it holds."""
        return self.outcome == PASS


def always(sample: Sample, ball: Ball) -> None:
    """Of any attack."""
    return


def with_radius(sample: Sample, ball: Ball) -> str | None:
    """Of attacks whose images stay in a ball."""
    has = ball.radius is not None and ball.norm in ("linf", "l2", "l1")
    return None if has else "the attack has no radius in L-infinity, L2 or L1"


def adversarial(sample: Sample, ball: Ball) -> str | None:
    """Not of noise, of which nothing is expected."""
    return None if ball.norm is not None else "the attack is about no distance, and nothing is expected of it"


def measured(sample: Sample, ball: Ball) -> str | None:
    """Nor of one that counts pixels, few of which may be too few to win."""
    return "the attack counts pixels" if ball.norm == "l0" else adversarial(sample, ball)
