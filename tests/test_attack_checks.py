"""The checks against models and attacks whose quality is known: the sound pass, the broken fail where they should."""

from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor

from gfnet_bench.attacks.base import Predict, make_attack
from gfnet_bench.attacks.checks import check
from gfnet_bench.attacks.pgd import PGD

ZERO = "epsilon 0 changes nothing"
BALL = "stays in the ball and the box"
STEPS = "more steps never help the model"
LARGE = "large epsilon leaves no accuracy"
RANDOM = "beats a random direction"
GRADIENT = "gradient reaches the pixels"
EVERYTHING = {ZERO, BALL, STEPS, LARGE, RANDOM, GRADIENT}

generator = torch.Generator().manual_seed(0)
PATTERNS = torch.randn(5, 3, 12, 12, generator=generator)
LABELS = torch.arange(40) % 5
IMAGES = (0.5 + 0.1 * PATTERNS[LABELS] + 0.2 * torch.randn(40, 3, 12, 12, generator=generator)).clamp(0, 1)
IDS = [f"image {i}" for i in range(40)]


def matched_filter(images: Tensor) -> Tensor:
    """The best linear classifier of noisy patterns; every pixel counts. Sure of itself, but not beyond float32."""
    return 0.08 * torch.einsum("bchw,kchw->bk", images - 0.5, PATTERNS)


def failures(predict: Predict, make=PGD, epsilon: float = 2 / 255) -> set[str]:
    results = check(predict, IMAGES, LABELS, IDS, make, epsilon=epsilon, batch_size=16)
    assert {result.name for result in results} == EVERYTHING
    assert all(result.detail for result in results)
    return {result.name for result in results if not result.passed}


@pytest.mark.parametrize("name", ["pgd", "fgsm", "torchattacks:PGD"])
def test_sound_attack_on_an_honest_model_passes_everything(name):
    if name.startswith("torchattacks"):
        pytest.importorskip("torchattacks", reason='needs pip install "gfnet-bench[reference]"')
    assert failures(matched_filter, partial(make_attack, name)) == set()


def test_rounding_the_pixels_hides_the_gradient():
    assert {LARGE, RANDOM, GRADIENT} <= failures(lambda images: matched_filter((images * 15).round() / 15))


def test_saturated_outputs_hide_the_gradient():
    # The loss of a logit gap beyond what float32 resolves is exactly flat.
    assert GRADIENT in failures(lambda images: 1e4 * matched_filter(images))


def test_detached_model_fails_and_says_why():
    results = {r.name: r for r in check(lambda x: matched_filter(x.detach()), IMAGES, LABELS, IDS, PGD)}
    assert not results[GRADIENT].passed
    assert "depend on the pixels" in results[GRADIENT].detail


def test_model_without_finite_logits_fails():
    assert {ZERO, BALL, GRADIENT} <= failures(lambda images: matched_filter(images) * float("nan"))


@dataclass(frozen=True)
class Broken:
    """PGD with one thing wrong."""

    epsilon: float = 1 / 255
    relative_step: float = 0.5
    steps: int = 5

    name = "broken"

    def sound(self) -> PGD:
        return PGD(self.epsilon, self.relative_step, self.steps)


class LeavesTheBall(Broken):
    def __call__(self, predict, images, labels, seeds):
        return (images + 1.5 * (self.sound()(predict, images, labels, seeds) - images)).clamp(0, 1)


class LeavesTheBox(Broken):
    def __call__(self, predict, images, labels, seeds):
        return images + self.epsilon * (self.sound()(predict, images, labels, seeds) - images).sign()


class MovesAtZero(Broken):
    def __call__(self, predict, images, labels, seeds):
        return (self.sound()(predict, images, labels, seeds) + 1e-6).clamp(0, 1)


class WrongSign(Broken):
    """Walks downhill: the more steps, the better for the model."""

    def __call__(self, predict, images, labels, seeds):
        return self.sound()(lambda x: -predict(x), images, labels, seeds)


class OnlyNoise(Broken):
    def __call__(self, predict, images, labels, seeds):
        return self.sound()(lambda x: 0 * predict(x), images, labels, seeds)


class TinySteps(Broken):
    """An absolute step, too short to cross a large ball."""

    def __call__(self, predict, images, labels, seeds):
        step = min(1.0, 0.02 / 255 / max(self.epsilon, 1e-9))
        return PGD(self.epsilon, step, self.steps, random_start=False)(predict, images, labels, seeds)


class NotANumber(Broken):
    def __call__(self, predict, images, labels, seeds):
        return images * float("nan")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (LeavesTheBall, {BALL}),
        (LeavesTheBox, {BALL}),
        (MovesAtZero, {ZERO}),
        (WrongSign, {STEPS, LARGE, RANDOM}),
        (OnlyNoise, {LARGE, RANDOM}),
        (TinySteps, {LARGE}),
        (NotANumber, {ZERO, BALL, RANDOM}),
    ],
)
def test_broken_attack_fails_its_check(make, expected):
    found = failures(matched_filter, make)
    assert expected <= found
    assert GRADIENT not in found, "nothing is wrong with the model"
