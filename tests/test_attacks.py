import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfnet_bench.attacks.base import ATTACKS, check_epsilon
from gfnet_bench.attacks.fgsm import FGSM
from gfnet_bench.attacks.make import fields_of, make_attack, restored, stored
from gfnet_bench.attacks.pgd import PGD, loss_gradient
from gfnet_bench.ball import Ball
from gfnet_bench.errors import GfnetBenchError, UsageError
from gfnet_bench.randomness import image_seeds, uniform
from gfnet_bench.watch import watched

EPSILONS = [0.5 / 255, 1 / 255, 4 / 255, 16 / 255, 64 / 255, 1.0]


class Sample:
    """A small network that has learned to tell four patterns apart, and images of them it was not trained on."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        patterns = torch.rand(4, 3, 16, 16, generator=generator)

        def draw(count: int) -> tuple[Tensor, Tensor]:
            labels = torch.randint(4, (count,), generator=generator)
            noise = torch.rand(count, 3, 16, 16, generator=generator)
            return 0.25 * patterns[labels] + 0.75 * noise, labels

        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = nn.Sequential(
                nn.Conv2d(3, 16, 3, 2, 1),
                nn.ReLU(),
                nn.Conv2d(16, 16, 3, 2, 1),
                nn.GELU(),
                nn.Flatten(),
                nn.Linear(256, 4),
            )
        optimizer = torch.optim.Adam(net.parameters(), 3e-3)
        for _ in range(80):
            images, labels = draw(64)
            optimizer.zero_grad()
            F.cross_entropy(net(images), labels).backward()
            optimizer.step()
        optimizer.zero_grad()
        self.net = net.eval().requires_grad_(False)
        self.images, self.labels = draw(48)
        self.images[0, :, :4] = 0  # pixels at both edges of the box
        self.images[1, :, :4] = 1
        self.seeds = image_seeds([str(i) for i in range(48)], "test")

    def run(self, attack, which=slice(None)) -> Tensor:
        return attack(self.net, self.images[which], self.labels[which], self.seeds[which])

    def losses(self, images: Tensor) -> Tensor:
        return F.cross_entropy(self.net(images), self.labels, reduction="none")


@pytest.fixture(scope="module")
def sample() -> Sample:
    return Sample()


NOT_FINITE = [{key: float(value)} for key in ("epsilon", "relative_step") for value in ("nan", "inf", "-inf")]


def every_attack(**options):
    """All that look at the model, with passes enough for the ensembles to get to their second attack."""
    looking = [name for name in ATTACKS if name not in ("random", "transfer")]
    names = [name for name in looking if "norm" in fields_of(name) or "norm" not in options]
    return [make_attack(name, **{"budget": 40, "steps": 5, **options}) for name in names]


# Names and settings


def test_a_radius_is_in_the_attacks_norm():
    with pytest.raises(UsageError, match=r"from 0 to 1 .* did you mean 8/255"):
        check_epsilon(8)
    check_epsilon(8, "l2")
    with pytest.raises(UsageError, match="epsilon: expected a number from 0 up, found '-1'"):
        check_epsilon(-1, "l2")


def test_settings_are_what_a_record_stores():
    assert stored(FGSM()) == {"name": "fgsm", "norm": "linf", "epsilon": 1 / 255}
    assert stored(PGD()) == {
        "name": "pgd",
        "norm": "linf",
        "epsilon": 1 / 255,
        "relative_step": 0.5,
        "steps": 5,
        "random_start": True,
    }


@pytest.mark.parametrize("name", sorted({*ATTACKS, "transfer:vit_mini"} - {"transfer"}))
def test_settings_survive_a_round_trip(name):
    attack = make_attack(name, epsilon=4 / 255, steps=7, relative_step=0.3, random_start=False)
    assert restored(stored(attack)) == attack


def test_an_attack_leaves_aside_what_it_has_no_use_for():
    assert make_attack("FGSM", epsilon=2 / 255, steps=9) == FGSM(2 / 255)
    assert make_attack("pgd", steps=9, random_start=False) == PGD(steps=9, random_start=False)


def test_unknown_attack_suggests_a_near_name():
    with pytest.raises(UsageError, match=r"unknown attack 'pdg'; did you mean pgd\?"):
        make_attack("pdg")


@pytest.mark.parametrize(
    "wrong", [{"epsilon": -0.1}, {"epsilon": 8}, {"steps": 0}, {"relative_step": 0.0}, *NOT_FINITE]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(UsageError, match="expected"):
        make_attack("pgd", **wrong)


def test_names_are_known_without_torch():
    code = "import sys, gfnet_bench.attacks.base as b; print(*sorted(b.ATTACKS), 'torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [*sorted(ATTACKS), "False"]


# What every attack promises


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_every_attack_stays_in_its_ball_and_in_the_box(sample, epsilon):
    for attack in every_attack(epsilon=epsilon) + every_attack(epsilon=8 * epsilon, norm="l2"):
        outside, moved, *_ = Ball.of(attack).extent(sample.run(attack), sample.images).T
        assert not outside.any(), attack
        if attack.norm == "linf" and attack.name != "fab_t":  # which looks for the nearest
            assert moved.max() > (0.3 if attack.name == "band_pgd" else 0.9) * epsilon, "it should use the room it has"


def test_no_images_are_no_trouble(sample):
    for attack in every_attack():
        assert sample.run(attack, slice(0)).shape == (0, 3, 16, 16)


def test_epsilon_zero_returns_the_images_bit_for_bit(sample):
    for attack in every_attack(epsilon=0.0):
        adversarial = sample.run(attack)
        assert torch.equal(adversarial, sample.images), attack
        assert adversarial.data_ptr() != sample.images.data_ptr()


def test_result_depends_on_no_other_image(sample):
    order = torch.randperm(48, generator=torch.Generator().manual_seed(1))
    for attack in every_attack(epsilon=4 / 255):
        together = sample.run(attack)
        for size in (1, 3) if attack.name in ("fgsm", "pgd") else (7,):
            apart = torch.cat([sample.run(attack, part) for part in order.split(size)])
            # Another batch size may sum in another order, and a gradient within rounding of zero may change its sign.
            # Attacks that choose among many images may then choose another one, but never one that fails.
            fooled = [sample.net(images).argmax(1) != sample.labels[order] for images in (apart, together[order])]
            assert torch.equal(*fooled), (attack, size)
            if attack.name in ("fgsm", "pgd", "band_pgd", "square"):
                assert ((apart - together[order]).abs() > 1e-6).float().mean() < 1e-4, (attack, size)


def test_nothing_is_left_behind(sample):
    net = sample.net
    images = sample.images.clone()
    for attack in every_attack():
        with torch.no_grad():
            adversarial = attack(net, images, sample.labels, sample.seeds)
        assert not adversarial.requires_grad
        assert not images.requires_grad
        assert images.grad is None
        assert torch.equal(images, sample.images)
        assert all(parameter.grad is None for parameter in net.parameters())


def test_parameters_that_could_learn_get_no_gradient(sample):
    net = nn.Sequential(nn.Flatten(), nn.Linear(768, 4))
    PGD()(net, sample.images, sample.labels, sample.seeds)
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_logits_that_are_not_finite_are_named(sample, bad):
    def broken(images: Tensor) -> Tensor:  # for the two with rows of black and of white
        rows = images[:, :, :4].mean((1, 2, 3))
        return sample.net(images) + torch.where((rows - 0.5).abs() > 0.4, bad, 0.0)[:, None]

    for attack in every_attack():
        with pytest.raises(GfnetBenchError, match="found NaN or infinity for 2 of 48 attacked images"):
            attack(broken, sample.images, sample.labels, sample.seeds)


def rooted(images: Tensor) -> Tensor:
    """The images, with a gradient of 0 / 0 where they are 0."""
    return (images * images).sqrt()


def steep(images: Tensor) -> Tensor:
    """Nearly the images, with an infinite gradient where they are 0."""
    return images + 1e-6 * images.sqrt()


@pytest.mark.parametrize("odd", [rooted, steep])
def test_a_gradient_that_is_not_finite_is_not_taken_for_none(sample, odd):
    images = torch.where(sample.images < 0.4, 0.0, sample.images)
    images[30:] += 1 / 255  # nothing is 0 there
    assert torch.allclose(sample.net(odd(images)), sample.net(images), atol=1e-4)
    share = f"{(images == 0).float().mean():.2%}"
    attack = FGSM(4 / 255)
    with pytest.raises(
        GfnetBenchError, match=f"at {share} of its values, for 30 of 48 attacked images; look for roots"
    ):
        attack(lambda x: sample.net(odd(x)), images, sample.labels, sample.seeds)
    with pytest.raises(GfnetBenchError, match=f"at {share} of its values"):
        loss_gradient(lambda x: sample.net(odd(x)), images, sample.labels)


@pytest.mark.parametrize("step", [2, 4])
def test_a_gradient_that_is_not_finite_at_one_step_for_one_image_is_seen(sample, step):
    calls = []

    def once(images: Tensor) -> Tensor:
        calls.append(len(images))
        if len(calls) == step:  # 0 times the root of 0: nothing, with a gradient of 0 / 0
            odd = images[7:8] + 0 * (images[7:8] - images[7:8].detach()).sqrt()
            images = torch.cat([images[:7], odd, images[8:]])
        return sample.net(images)

    with pytest.raises(GfnetBenchError, match=r"at 0\.42% of its values, for 1 of 48 attacked images"):  # 1 / 48 / 5
        PGD(4 / 255)(once, sample.images, sample.labels, sample.seeds)
    assert len(calls) == 5, "nothing is read before the last step"


def by_torch_func(predict, images, labels, seeds) -> Tensor:
    """FGSM by somebody who likes `torch.func`."""
    gradient = torch.func.grad(lambda x: F.cross_entropy(predict(x), labels, reduction="sum"))(images)
    return (images + 4 / 255 * gradient.sign()).clamp(0, 1)


def by_vmap(predict, images, labels, seeds) -> Tensor:
    """The same, image by image."""

    def loss(image: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(predict(image[None]), label[None])

    gradient = torch.func.vmap(torch.func.grad(loss))(images, labels)
    return (images + 4 / 255 * gradient.sign()).clamp(0, 1)


def by_backward(predict, images, labels, seeds) -> Tensor:
    """The same, as in a tutorial."""
    images.requires_grad_()
    F.cross_entropy(predict(images), labels).backward()
    return (images + 4 / 255 * images.grad.sign()).clamp(0, 1)


def in_halves(predict, images, labels, seeds) -> Tensor:
    """The same, some images at a time."""
    parts = zip(images.split(20), labels.split(20), seeds.split(20), strict=True)
    return torch.cat([FGSM(4 / 255)(predict, *part) for part in parts])


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")  # where torch.func is first used
@pytest.mark.parametrize("attack", [by_torch_func, by_vmap, by_backward, in_halves])
def test_attacks_of_others_are_watched_however_they_get_their_gradient(sample, attack):
    def run(images: Tensor, net) -> Tensor:
        with watched(net, images, sample.labels) as watch:
            return attack(watch, images.clone(), sample.labels, sample.seeds)

    assert torch.equal(run(sample.images, sample.net), sample.run(FGSM(4 / 255)))
    odd = sample.images.clamp(min=0.01)
    odd[3, :, :4] = 0
    with pytest.raises(GfnetBenchError, match=r"gradient of the loss, found NaN or infinity at 0\.52% of its values"):
        run(odd, lambda x: sample.net(rooted(x)))  # a quarter of one image of 48


def test_a_gradient_of_zero_is_finite(sample):
    flat = PGD(4 / 255)(lambda x: sample.net(x) * 0, sample.images, sample.labels, sample.seeds)
    assert torch.isfinite(flat).all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [(-1, "expected labels from 0 up, found -1"), (-100, "found -100"), (4, r"logits of shape \(48, 5 or more\)")],
)
def test_labels_that_are_no_class_are_refused(sample, labels, message):
    """-100 would be left out of the loss, and its image of the attack."""
    wrong = sample.labels.clone()
    wrong[5] = labels
    for attack in every_attack():
        with pytest.raises(GfnetBenchError, match=message):
            attack(sample.net, sample.images, wrong, sample.seeds)


@pytest.mark.parametrize("change", [lambda y: y.float(), lambda y: y[:-1], lambda y: y[:, None]])
def test_labels_of_another_form_are_refused(sample, change):
    for attack in every_attack():
        with pytest.raises(GfnetBenchError, match=r"expected labels \(48,\) int64, one an image, found"):
            attack(sample.net, sample.images, change(sample.labels), sample.seeds)


@pytest.mark.parametrize("change", [lambda x: (x, x), lambda x: {"logits": x}, lambda x: None, lambda x: x[:, :, None]])
def test_a_model_that_returns_no_logits_is_refused(sample, change):
    for attack in every_attack():
        with pytest.raises(GfnetBenchError, match="expected the model to return logits"):
            attack(lambda x: change(sample.net(x)), sample.images, sample.labels, sample.seeds)


@pytest.mark.parametrize("trainable", [False, True])
def test_logits_cut_off_from_the_pixels_are_named(sample, trainable):
    scale = torch.ones((), requires_grad=trainable)
    for attack in (attack for attack in every_attack() if attack.name != "square"):
        with pytest.raises(GfnetBenchError, match="depend on the pixels"):
            attack(lambda images: scale * sample.net(images.detach()), sample.images, sample.labels, sample.seeds)


# What these attacks compute


def test_gradient_of_an_image_does_not_shrink_in_company(sample):
    together = loss_gradient(sample.net, sample.images, sample.labels)
    alone = loss_gradient(sample.net, sample.images[5:6], sample.labels[5:6])
    assert torch.allclose(together[5:6], alone, rtol=1e-4, atol=1e-7 * float(alone.abs().max()))


def test_one_step_on_a_linear_model_worked_by_hand():
    # Logits (w.x, 0), true class 0: the loss falls with w.x, so every pixel moves against the sign of its weight.
    weight = torch.tensor([1.0, -2.0, 0.0]).reshape(3, 1, 1)
    images = torch.tensor([[0.5, 0.5, 0.5], [0.05, 0.95, 0.5]]).reshape(2, 3, 1, 1)

    def predict(pixels: Tensor) -> Tensor:
        score = (pixels * weight).flatten(1).sum(1)
        return torch.stack([score, torch.zeros_like(score)], 1)

    labels, seeds = torch.zeros(2, dtype=torch.int64), torch.tensor([1, 2])
    expected = torch.tensor([[0.4, 0.6, 0.5], [0.0, 1.0, 0.5]])
    assert torch.allclose(FGSM(0.1)(predict, images, labels, seeds).flatten(1), expected, atol=1e-7, rtol=0)
    # Steps of 0.03 without a start: after two 0.06, after five the edge.
    two = PGD(0.1, relative_step=0.3, steps=2, random_start=False)(predict, images, labels, seeds)
    assert torch.allclose(two[0].flatten(), torch.tensor([0.44, 0.56, 0.5]), atol=1e-6, rtol=0)
    five = PGD(0.1, relative_step=0.3, steps=5, random_start=False)(predict, images, labels, seeds)
    assert torch.allclose(five.flatten(1), expected, atol=1e-6, rtol=0)


def test_pgd_with_one_full_step_and_no_random_start_is_fgsm(sample):
    for epsilon in EPSILONS:
        pgd = PGD(epsilon, relative_step=1.0, steps=1, random_start=False)
        assert torch.equal(sample.run(pgd), sample.run(FGSM(epsilon)))


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_pgd_is_at_least_as_strong_as_fgsm(sample, epsilon):
    assert (sample.net(sample.images).argmax(1) == sample.labels).float().mean() > 0.9, (
        "the network should have learned"
    )
    one, five = (sample.run(make_attack(name, epsilon=epsilon)) for name in ("fgsm", "pgd"))
    right = [(sample.net(images).argmax(1) == sample.labels).sum() for images in (one, five)]
    assert right[1] <= right[0]
    if epsilon >= 4 / 255:
        assert sample.losses(five).mean() > sample.losses(one).mean() > sample.losses(sample.images).mean()


def test_random_start_is_uniform_in_the_ball_and_keyed_by_image(sample):
    # A vanishing step leaves the start itself.
    start = PGD(0.2, relative_step=1e-6, steps=1)
    middle = torch.full_like(sample.images, 0.5)
    moved = start(sample.net, middle, sample.labels, sample.seeds) - middle
    expected = 0.2 * (2 * uniform(sample.seeds, middle.shape[1:]) - 1)
    assert torch.allclose(moved, expected, atol=1e-6, rtol=0)
    assert abs(moved.mean()) < 0.003
    assert abs(moved.abs().mean() - 0.1) < 0.003
    assert not torch.allclose(moved[0], moved[1], atol=0.1)


@pytest.mark.gpu
def test_gpu_gives_the_same_images_but_for_signs_within_rounding(sample):
    attack = PGD(4 / 255)
    net = Sample().net.cuda()
    there = attack(net, sample.images.cuda(), sample.labels.cuda(), sample.seeds.cuda()).cpu()
    assert ((there - sample.run(attack)).abs() > 1e-6).float().mean() < 1e-3
