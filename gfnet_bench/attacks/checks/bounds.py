"""Does the attack stay where it may go?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gfnet_bench.attacks.checks.base import Check, Make, always, with_radius
from gfnet_bench.attacks.checks.sample import at, length

if TYPE_CHECKING:
    from gfnet_bench.attacks.checks.sample import Sample
    from gfnet_bench.ball import Ball


def _zero_is_clean(sample: Sample, make: Make, ball: Ball) -> tuple[bool, str]:
    """With no room to move, the images come back bit for bit."""
    changed = int((sample.attacked(make(epsilon=0.0)) != sample.images).sum())
    return changed == 0, f"{changed} of {sample.images.numel()} values changed"


def _in_ball_and_box(sample: Sample, make: Make, ball: Ball) -> tuple[bool, str]:
    """No further from the original than epsilon, and still an image, at this epsilon and at a large one."""
    faults, found = [], []
    balls = [ball]
    if with_radius(sample, ball) is None:
        balls.append(ball._replace(radius=sample.large(ball)))
    for one in balls:
        extent = one.extent(sample.attacked(make(**at(one))), sample.images)
        faults.append(bool(extent[:, 0].any()))
        moved, low, high = float(extent[:, 1].max()), float(extent[:, 2].min()), float(extent[:, 3].max())
        if ball.norm == "linf":
            far = f"{moved * 255:.4g}/255"
        else:
            far = f"{moved:.4g}" + (f" in {ball.norm}" if ball.norm else "")
        where = "" if one.radius is None else f"epsilon {length(one.radius, one)}: "
        found.append(f"{where}moved by {far}, pixels {low:.3g} to {high:.3g}")
    return not any(faults), "; ".join(found)


ZERO = Check("epsilon 0 changes nothing", _zero_is_clean, with_radius)
BOUNDS = Check("stays in the ball and the box", _in_ball_and_box, always)
