"""The checks against models and attacks whose quality is known: the sound pass, the broken fail where they should."""

import json
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor

import gfnet_bench.benches.robustness
from gfnet_bench.attacks.base import Predict
from gfnet_bench.attacks.checks import LEFT_OUT, CheckResult, Sample, check
from gfnet_bench.attacks.checks.rivals import RANDOM as BEATS_RANDOM
from gfnet_bench.attacks.make import make_attack
from gfnet_bench.attacks.pgd import PGD
from gfnet_bench.ball import Ball
from gfnet_bench.cli import main
from gfnet_bench.store import Store

pytestmark = pytest.mark.usefixtures("one_thread")

ZERO = "epsilon 0 changes nothing"
BALL = "stays in the ball and the box"
STEPS = "more steps never help the model"
LARGE = "large epsilon leaves no accuracy"
RANDOM = "beats a random direction"
GRADIENT = "gradient reaches the pixels"
IMAGES_TELL = "the images can tell"
SAME = "says the same twice"
EPSILON = "more epsilon never helps the model"
SLOPE = "gradient is the slope"
SEARCH = "leaves little to a search without gradients"
ALWAYS = {IMAGES_TELL, SAME, BALL, GRADIENT, SLOPE}
EVERYTHING = {*ALWAYS, ZERO, STEPS, EPSILON, LARGE, RANDOM, SEARCH}

generator = torch.Generator().manual_seed(0)
PATTERNS = torch.randn(5, 3, 12, 12, generator=generator)
LABELS = torch.arange(40) % 5
IMAGES = (0.5 + 0.1 * PATTERNS[LABELS] + 0.2 * torch.randn(40, 3, 12, 12, generator=generator)).clamp(0, 1)
IDS = [f"image {i}" for i in range(40)]


def matched_filter(images: Tensor) -> Tensor:
    """The best linear classifier of noisy patterns; every pixel counts. Sure of itself, but not beyond float32."""
    return 0.08 * torch.einsum("bchw,kchw->bk", images - 0.5, PATTERNS)


def results(predict: Predict, make=PGD, epsilon: float | None = 2 / 255, which=slice(None)) -> dict[str, CheckResult]:
    found = check(predict, IMAGES[which], LABELS[which], IDS[which], make, epsilon=epsilon, batch_size=16)
    assert all(result.detail for result in found.results)
    assert (found.outcome == "pass") == (not found.reasons)
    return {result.name: result for result in found.results if result.outcome != LEFT_OUT}


def failures(
    predict: Predict, make=PGD, epsilon: float | None = 2 / 255, which=slice(None), names=EVERYTHING
) -> set[str]:
    found = results(predict, make, epsilon, which)
    assert set(found) | {SEARCH} == names | {SEARCH}
    return {name for name, result in found.items() if not result.passed}


@pytest.mark.parametrize("name", ["pgd", "fgsm"])
def test_sound_attack_on_an_honest_model_passes_everything(name):
    assert failures(matched_filter, partial(make_attack, name)) == set()


WITHOUT_RADIUS = {
    "CW": {*ALWAYS, STEPS, RANDOM},
    "DeepFool": {*ALWAYS, STEPS, RANDOM},
    "GN": ALWAYS,
    "VANILA": ALWAYS,
    "OnePixel": {*ALWAYS, STEPS},
    "Pixle": {*ALWAYS, STEPS},
}


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")  # in OnePixel
@pytest.mark.parametrize("name", ["PGD", "APGD", "PGDL2", *WITHOUT_RADIUS])
def test_sound_attack_of_torchattacks_raises_no_alarm(name):
    pytest.importorskip("torchattacks", reason='needs pip install "gfnet-bench[reference]"')
    make = partial(make_attack, f"torchattacks:{name}")
    epsilon = 8 / 255 if make().norm == "linf" else None
    assert failures(matched_filter, make, epsilon, slice(16), names=WITHOUT_RADIUS.get(name, EVERYTHING)) == set()


@pytest.mark.parametrize("name", ["APGD", "AutoAttack", "FAB", "Square"])
def test_an_attack_that_keeps_its_successes_alone_raises_no_alarm(name, monkeypatch):
    """Where it did not win it hands back the image, whose loss is below that of any random direction."""
    torchattacks = pytest.importorskip("torchattacks", reason='needs pip install "gfnet-bench[reference]"')
    perturb = torchattacks.Square.perturb

    def with_fewer_queries(square, *batch):  # 5,000, of an image that stands, show no more
        square.n_queries = 300
        return perturb(square, *batch)

    monkeypatch.setattr(torchattacks.Square, "perturb", with_fewer_queries)
    sample = Sample(matched_filter, IMAGES[:8], LABELS[:8], IDS[:8], 8)
    passed, detail = BEATS_RANDOM.judge(sample, partial(make_attack, f"torchattacks:{name}"), Ball("linf", 8 / 255))
    assert passed, detail
    assert "that came back as they were judged at a large epsilon" in detail


def test_rounding_the_pixels_hides_the_gradient():
    assert {LARGE, RANDOM, GRADIENT} <= failures(lambda images: matched_filter((images * 15).round() / 15))


def test_saturated_outputs_hide_the_gradient():
    # The loss of a logit gap beyond what float32 resolves is exactly flat.
    assert GRADIENT in failures(lambda images: 1e4 * matched_filter(images))


def test_detached_model_fails_and_says_why():
    found = results(lambda x: matched_filter(x.detach()))
    assert not found[GRADIENT].passed
    assert "depend on the pixels" in found[GRADIENT].detail


def test_model_whose_gradient_is_not_finite_fails_and_says_why():
    """The same function as the honest one, for which all checks used to hold."""
    dark = IMAGES.clone()
    dark[:, :, ::2] = 0
    found = check(lambda x: matched_filter((x * x).sqrt()), dark, LABELS, IDS, PGD, epsilon=2 / 255)
    failed = [result for result in found.results if result.outcome == "fail"]
    assert {ZERO, BALL, STEPS, EPSILON, LARGE, RANDOM} <= {result.name for result in failed}
    assert all("expected a finite gradient of the loss" in result.detail for result in failed)


# Where no verdict is possible there is one sentence


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda logits: logits * float("nan"), "expected finite logits, found NaN or infinity for 16 of 16"),
        (lambda logits: ("logits", 2), "expected the model to return logits of shape (16, 5 or more)"),
        (lambda logits: {"logits": logits}, "found a dict; wrap it"),
        (lambda logits: None, "found a NoneType"),
        (lambda logits: logits[:, :3], "found shape (16, 3)"),
        (lambda logits: logits.roll(1, 1), "0 of 40 images are classified rightly"),
        (lambda logits: logits * 0, "8 of 40 images are classified rightly"),
    ],
)
def test_model_of_which_nothing_can_be_said(change, sentence):
    found = results(lambda images: change(matched_filter(images)))
    assert list(found) == [IMAGES_TELL]
    assert not found[IMAGES_TELL].passed
    assert sentence in found[IMAGES_TELL].detail


@pytest.mark.parametrize(("count", "enough"), [(1, False), (15, False), (16, True)])
def test_a_few_images_say_nothing(count, enough):
    found = results(matched_filter, which=slice(count))
    assert found[IMAGES_TELL].passed == enough
    assert (set(found) | {SEARCH} == EVERYTHING) == enough
    assert enough or found[IMAGES_TELL].detail == f"expected 16 images or more, found {count}; take more of them"


def test_a_weak_but_honest_model_can_be_checked():
    """18 of 40 right of five classes: clearly more than the 8 of chance."""
    labels = LABELS.clone()
    labels[18:] = (labels[18:] + 1) % 5
    found = check(matched_filter, IMAGES, labels, IDS, PGD, epsilon=2 / 255)
    assert found.results[0].passed
    assert len(found.results) > 1


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


class OfAnotherForm(Broken):
    def __call__(self, predict, images, labels, seeds):
        return self.sound()(predict, images, labels, seeds)[:-1]


class ChangesItsInput(Broken):
    """Leaves the ball, measured from the images that it changed itself it does not."""

    def __call__(self, predict, images, labels, seeds):
        return images.add_(0.3).clamp_(0, 1)


class GivesUp(Broken):
    """Hands back what it was given, as an attack that never wins."""

    def __call__(self, predict, images, labels, seeds):
        return images


class WinsWithoutSteps(Broken):
    """Keeps its successes alone, and has none with more than two steps."""

    def __call__(self, predict, images, labels, seeds):
        adversarial = self.sound()(predict, images, labels, seeds)
        fooled = (predict(adversarial).argmax(1) != labels) & (self.steps < 3)
        return adversarial.where(fooled[:, None, None, None], images)


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
        (OfAnotherForm, {ZERO, BALL, STEPS, LARGE, RANDOM}),
        (ChangesItsInput, {ZERO, BALL}),
        (GivesUp, {LARGE, RANDOM}),
    ],
)
def test_broken_attack_fails_its_check(make, expected):
    found = failures(matched_filter, make)
    assert expected <= found
    assert GRADIENT not in found, "nothing is wrong with the model"


# The command


def test_a_verdict_is_kept_and_told_under_the_table(tmp_path, capsys):
    """It need not be on as many images, which are 64 where nothing is said."""
    words = ["--model", "resnet_mini", "--workers", "0", "--output-dir", str(tmp_path)]
    assert main(["attack-check", *words, "--limit", "16", "--format", "json"]) == 0
    checks = json.loads(capsys.readouterr().out)
    assert len(checks) == 15 and {check["outcome"] for check in checks} <= {"pass", "left out"}
    assert checks[-1]["detail"] == "power 100.0 % (16 of 16 planted adversarial examples found)"
    attack = ["--attack", "pgd", "clean", "--dataset", "mini", "--limit", "20", "--no-progress"]
    assert main(["robustness", *words, *attack, "--format", "md"]) == 0
    assert "PGD 4/255 x5, attack-check: resnet_mini, limit 20 pass, power 100.0 %." in capsys.readouterr().out
    (record,) = Store(tmp_path).load().records[:1]
    assert (record.cell.study, record.values["verdict"], record.values["power"]) == ("attack_check", "pass", 1.0)
    assert main(["attack-check", *words, "--limit", "16"]) == 0, "and is not looked for twice"
    assert "verdict: power 100.0 %" in capsys.readouterr().out
    file = tmp_path / record.cell.path
    file.write_text(file.read_text().replace('"verdict": "pass"', '"verdict": "suspicious"'))
    assert Store(tmp_path).find(record.cell) is None, "its checks say otherwise"


@pytest.mark.parametrize(
    ("options", "status", "sentence"),
    [
        ("--model gfnet_s --dataset mini", 1, "gfnet_s: expected logits for the 10 classes of mini, found 1000"),
        ("--dataset imagenet", 1, "gfnet_mini: expected logits for the 1000 classes of imagenet, found 10"),
        ("--limit 1", 1, "expected 16 images or more, found 1;"),
        ("--dataset mini_a", 1, "images are classified rightly"),
        ("--dataset mini_c", 2, "--dataset mini_c: is corrupted"),
        ("--attack clean", 2, "--attack clean: expected an attack to check"),
        ("--attack torchattacks:CW --eps 1/255", 2, "--eps 1/255: torchattacks:CW has no radius; leave it out"),
        ("--attack torchattacks:PGDL2 --eps -1", 2, "epsilon: expected a number from 0 up, found '-1'"),
        ("--eps 8", 2, "did you mean 8/255?"),
    ],
)
def test_command_refuses_what_no_verdict_can_rest_on(options, status, sentence, capsys, tmp_path):
    if "torchattacks" in options:
        pytest.importorskip("torchattacks", reason='needs pip install "gfnet-bench[reference]"')
    words = options.replace("--eps -1", "--eps=-1").split()
    assert main(["attack-check", "--workers", "0", "--output-dir", str(tmp_path), *words]) == status
    out, err = capsys.readouterr()
    assert sentence in " ".join((out + err).split())
    assert not out or "verdict: does not hold: the images can tell" in " ".join(out.split())


class Changed(torch.nn.Module):
    """A network whose output someone changed."""

    def __init__(self, net, change):
        super().__init__()
        self.net, self.change = net, change

    def forward(self, images):
        return self.change(self.net(images))


@pytest.fixture
def changed(monkeypatch):
    """Let a command load networks whose output is changed."""
    load = gfnet_bench.benches.robustness.load_model

    def put(change) -> None:
        def load_changed(*arguments, **options):
            model = load(*arguments, **options)
            model.net = Changed(model.net, change)
            return model

        monkeypatch.setattr(gfnet_bench.benches.robustness, "load_model", load_changed)

    return put


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda logits: ("logits", 2), "expected the model to return logits of shape (64, 1 or more)"),
        (lambda logits: {"loss": logits.mean()}, "found a dict"),
        (lambda logits: logits[..., None], "found shape (64, 10, 1)"),
    ],
)
@pytest.mark.parametrize("command", ["attack-check", "robustness --attack clean fgsm --no-progress"])
def test_command_names_a_network_that_returns_no_logits(command, change, sentence, changed, capsys, tmp_path):
    changed(change)
    options = f"--model resmlp_mini --dataset mini --limit 64 --workers 0 --batch-size 64 --output-dir {tmp_path}"
    assert main([*command.split(), *options.split()]) == 1
    assert sentence in " ".join(" ".join(capsys.readouterr()).split())


def test_command_gives_no_verdict_where_the_labels_are_wrong(changed, capsys, tmp_path):
    changed(lambda logits: logits.roll(1, 1))
    assert main(f"attack-check --model resmlp_mini --workers 0 --output-dir {tmp_path}".split()) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert out.startswith("fail the images can tell:")
    assert "are these the weights and the labels that belong together?" in out
