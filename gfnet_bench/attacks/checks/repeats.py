"""Does the model say the same twice?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gfnet_bench.attacks.checks.base import Check, Make, always
from gfnet_bench.attacks.checks.sample import at

if TYPE_CHECKING:
    from torch import Tensor

    from gfnet_bench.attacks.checks.sample import Sample
    from gfnet_bench.ball import Ball

DRAWS = 8
"""That an expectation is taken over."""

SAME = 1e-3
"""Of the spread of an image's logits: what sums in another order may make, and noise must not."""


def _says_the_same(sample: Sample, make: Make, ball: Ball) -> tuple[bool, str]:
    """Two calls on the same images give the same logits.

    Otherwise the attack is made once more against the mean over draws (expectation over transformations), whose
    accuracy is the one to report.
    """
    first, second = sample.logits(sample.images), sample.logits(sample.images)
    apart = (first - second).abs().amax(1)
    spread = (first.amax(1) - first.amin(1)).median()
    found = f"logits differ by up to {float(apart.max()):.3g}"
    if float(apart.max()) <= SAME * float(spread):
        return True, found

    def mean(images: Tensor) -> Tensor:
        return sum((sample.predict(images) for _ in range(DRAWS)), start=sample.predict(images) * 0) / DRAWS

    attack = make(**at(ball))
    single, averaged = (sample.right(s.attacked(attack)) for s in (sample, sample.of(slice(None), mean)))
    return False, (
        f"{found}: the network is random. Accuracy under the attack {float(single.float().mean()):.1%}, under one "
        f"that follows the mean of {DRAWS} draws {float(averaged.float().mean()):.1%}; report an attack on the "
        f"expectation, as apgd_ce:draws={DRAWS}"
    )


REPEATS = Check("says the same twice", _says_the_same, always)
