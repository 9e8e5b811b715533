"""Are these images that a verdict can rest on?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gfnet_bench.attacks.checks.base import Check, Make, always

if TYPE_CHECKING:
    from gfnet_bench.attacks.checks.sample import Sample
    from gfnet_bench.ball import Ball

FEWEST = 16
"""Images: below, a share of 5 % or 90 % says nothing."""

SURVIVORS = 0.05
"""Of the images, that a large perturbation may leave right."""


def _can_tell(sample: Sample, make: Make, ball: Ball) -> tuple[bool, str]:
    """There are images enough, they are pixels, and the model is better than chance by more than an attack may leave.

    Normalised images go wrong without a sound: an attack clamps them to a box that is not theirs.
    """
    from gfnet_bench.metrics import wilson_interval

    n = len(sample.labels)
    if n < FEWEST:
        return False, f"expected {FEWEST} images or more, found {n}; take more of them"
    low, high = float(sample.images.min()), float(sample.images.max())
    if low < 0 or high > 1:
        return False, (
            f"expected pixels in [0, 1], found {low:.3g} to {high:.3g}; hand over images as they are, and let the "
            "model normalise them inside"
        )
    logits = sample.logits(sample.images)
    right, needed = int((logits.argmax(1) == sample.labels).sum()), 1 / logits.shape[1] + SURVIVORS
    least = wilson_interval(right, n).low
    found = f"{right} of {n} images are classified rightly, {least:.1%} or more of all, against {needed:.1%} needed"
    hint = "" if least > needed else "; are these the weights and the labels that belong together?"
    return least > needed, found + hint


IMAGES_TELL = Check("the images can tell", _can_tell, always)
