"""Is the gradient that the attack follows there, whole, and that of the model?

An attack takes it on trust. A model that rounds, saturates or detaches returns one that is zero, or of another
function, and looks robust.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gfnet_bench.attacks.checks.base import Check, Make, always

if TYPE_CHECKING:
    from torch import Tensor

    from gfnet_bench.attacks.checks.sample import Sample
    from gfnet_bench.ball import Ball

MOST = 0.05
"""Of the images, or of an image's values, that may have no gradient."""

STEP = 0.05 / 255
"""Of a finite difference: far above the rounding of float32 logits, and short against the bends of a network."""

BESIDE = 4 / 255
"""How far from the images it is taken at most, so that no two neighbours are equal and no value is a whole grey level:
ties of a maximum, and the middle between two thresholds, are special places."""

INFLUENCE = 0.2
"""What values without a gradient may do, as a share of what all do; half of the pixels do 0.5 to 0.7."""

DIRECTIONS = 4
AGREEING = 0.1
"""The share that the disagreement of two slopes may have in both together, as squares: 1/3 where half of the pixels
have no gradient, 1/4 where 40 % have none."""


def _reaches_pixels(sample: Sample, make: Make, ball: Ball) -> tuple[bool, str]:
    """Values without a gradient have no influence either, on at least 95 % of the images.

    Where a model crops or subsamples, moving the values that it never sees moves nothing. Where it rounds, saturates or
    detaches, moving them moves the logits, though their gradient is exactly zero.
    """
    import torch

    images = _beside(sample)
    zero = sample.gradient(images) == 0
    share = zero.flatten(1).float().mean(1)
    blind = share > MOST
    found = f"gradient at {1 - float(share.mean()):.1%} of the values"
    if not blind.any():
        return True, found
    step = STEP * sample.signs(2)
    moved = (sample.logits(images + part * step) - sample.logits(images - part * step) for part in (zero, 1))
    unseen, every = (torch.linalg.vector_norm(change, dim=1) for change in moved)
    dead = share > 1 - 1e-3  # no gradient at all; a model that tells images apart has one somewhere
    hidden = (blind & (unseen > INFLUENCE * every)) | (dead & (every == 0))
    by = float((unseen / every.clamp_min(1e-30))[blind].median())
    if float(hidden.float().mean()) <= MOST:
        return True, f"{found}, and the others have no influence: moved alone, they do {by:.1%} of what all do"
    return False, (
        f"{found}, but at {int(hidden.sum())} of {len(hidden)} images the others have influence: moved alone, they do "
        f"{by:.1%} of what all do; look for detach, rounding, thresholds and saturated outputs inside the model"
    )


def _is_slope(sample: Sample, make: Make, ball: Ball) -> tuple[bool, str]:
    """Along random directions the margin changes as its gradient says.

    The margin (the logit of the label over the soft maximum of the others) is looked at rather than the loss, which is
    flat wherever a model is sure.
    """
    import torch

    images = _beside(sample)
    gradient = _margin_gradient(sample, images)
    said, seen = [], []
    for stream in range(3, 3 + DIRECTIONS):
        direction = sample.signs(stream)
        ends = (_margins(sample.logits(images + s * STEP * direction), sample.labels) for s in (1, -1))
        seen.append((next(ends) - next(ends)) / (2 * STEP))
        said.append((gradient * direction).flatten(1).sum(1))
    by_gradient, by_difference = torch.stack(said, 1), torch.stack(seen, 1)
    apart, both = (by_gradient - by_difference).square().sum(1), (by_gradient.square() + by_difference.square()).sum(1)
    share = float((apart / both.clamp_min(1e-30)).mean())
    found = f"gradient and finite differences disagree by {share:.1%} along {DIRECTIONS} random directions"
    hint = "" if share <= AGREEING else "; look for detach, rounding, noise and gradients that were replaced"
    return share <= AGREEING, f"{found}, expected {AGREEING:.0%} or less{hint}"


def _survives_float32(sample: Sample, make: Make, ball: Ball) -> tuple[bool, str]:
    """The gradient in float64 has the same signs, where it is large, on at least 95 % of the images."""
    assert sample.beside.double is not None
    single = sample.gradient(sample.images)
    double = sample.gradient(sample.images.double(), sample.beside.double)
    size = double.abs()
    agreeing = (size * (single.sign() == double.sign())).flatten(1).sum(1) / size.flatten(1).sum(1).clamp_min(1e-300)
    agreeing = agreeing.where((size > 0).flatten(1).any(1), 1.0)
    share = float((agreeing >= 0.95).float().mean())
    found = f"signs agree at {float(agreeing.mean()):.1%} of the gradient, at {share:.1%} of the images at 95 % or more"
    return share >= 1 - MOST, found


def _needs_double(sample: Sample, ball: Ball) -> str | None:
    return None if sample.beside.double else "the model is not at hand in float64"


def _beside(sample: Sample) -> Tensor:
    """(n, 3, h, w), a little beside the images, with room for a step on either side."""
    from gfnet_bench.randomness import uniform

    offset = BESIDE * (2 * uniform(sample.seeds, sample.images.shape[1:], stream=7) - 1)
    images = STEP + (sample.images + offset - STEP).abs()  # mirrored, since clamped values would be equal
    return 1 - STEP - (1 - STEP - images).abs()


def _margins(logits: Tensor, labels: Tensor) -> Tensor:
    """(b,) of (b, k)."""
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], float("-inf"))
    return own[:, 0] - others.logsumexp(1)


def _margin_gradient(sample: Sample, images: Tensor) -> Tensor:
    import torch

    from gfnet_bench.watch import watched

    def run(images: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
        with watched(sample.predict, images, labels) as watch, torch.enable_grad():
            pixels = images.detach().requires_grad_()
            return torch.autograd.grad(_margins(watch(pixels), labels).sum(), pixels)[0]

    return sample.batched(run, images)


PIXELS = Check("gradient reaches the pixels", _reaches_pixels, always)
SLOPE = Check("gradient is the slope", _is_slope, always)
FLOAT32 = Check("gradient survives float32", _survives_float32, _needs_double)
