"""Our attacks against torchattacks, an implementation made by others, image for image from the same start."""

import csv
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from gfnet_bench.attacks.base import from_settings, make_attack, settings
from gfnet_bench.attacks.fgsm import FGSM
from gfnet_bench.attacks.pgd import PGD
from gfnet_bench.attacks.reference import BATCHED, TorchAttack
from gfnet_bench.errors import GfnetBenchError, MissingError, UsageError
from gfnet_bench.randomness import image_seeds, uniform

torchattacks = pytest.importorskip("torchattacks", reason='needs pip install "gfnet-bench[reference]"')

# The same operations in the same order, so the two agree bit for bit here; 1e-6 is a quarter of a thousandth of 1/255.
TOLERANCE = 1e-6


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10)
    )


def transformer() -> nn.Module:
    return VisionTransformer(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=10)


class Case:
    def __init__(self, net: nn.Module, images: Tensor) -> None:
        self.net = net.eval().requires_grad_(False)
        self.images = images
        self.labels = net(images).argmax(1)
        self.labels[::3] = (self.labels[::3] + 1) % 10  # attacked too, though the model is wrong already
        self.seeds = image_seeds([str(i) for i in range(len(images))], "reference")

    def ours(self, attack) -> Tensor:
        return attack(self.net, self.images, self.labels, self.seeds)

    def theirs(self, name: str, **arguments) -> Tensor:
        return getattr(torchattacks, name)(self.net, **arguments)(self.images, self.labels)


@pytest.fixture(scope="module", params=[convolutional, transformer], ids=lambda build: build.__name__)
def case(request) -> Case:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Case(request.param(), torch.rand(8, 3, 32, 32))


@pytest.fixture
def same_start(monkeypatch):
    """Make torchattacks' PGD start where ours does: its only draw is `uniform_(-eps, eps)` on the batch."""

    def put(seeds: Tensor) -> None:
        def uniform_(self: Tensor, low: float, high: float) -> Tensor:
            assert low == -high
            return self.copy_(high * (2 * uniform(seeds, self.shape[1:]) - 1))

        monkeypatch.setattr(Tensor, "uniform_", uniform_)

    return put


def furthest(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


@pytest.mark.parametrize("epsilon", [1 / 255, 8 / 255, 0.3])
def test_fgsm_is_theirs(case, epsilon):
    assert furthest(case.ours(FGSM(epsilon)), case.theirs("FGSM", eps=epsilon)) <= TOLERANCE


@pytest.mark.parametrize(("epsilon", "relative_step", "steps"), [(1 / 255, 0.5, 5), (8 / 255, 0.25, 10), (0.3, 1.5, 3)])
def test_pgd_from_the_image_is_theirs(case, epsilon, relative_step, steps):
    ours = case.ours(PGD(epsilon, relative_step, steps, random_start=False))
    theirs = case.theirs("PGD", eps=epsilon, alpha=relative_step * epsilon, steps=steps, random_start=False)
    assert furthest(ours, theirs) <= TOLERANCE


@pytest.mark.parametrize("epsilon", [1 / 255, 8 / 255, 0.3])
def test_pgd_from_the_same_random_start_is_theirs(case, same_start, epsilon):
    same_start(case.seeds)
    theirs = case.theirs("PGD", eps=epsilon, alpha=0.5 * epsilon, steps=5, random_start=True)
    assert furthest(case.ours(PGD(epsilon)), theirs) <= TOLERANCE
    assert furthest(case.ours(PGD(epsilon, random_start=False)), theirs) > epsilon / 2, "the start should matter"


def test_pixels_without_gradient_stay_in_both():
    # Zero weights on every other column: the sign of zero must be zero, not one.
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))
    with torch.no_grad():
        net[1].weight.view(10, 3, 8, 8)[..., ::2] = 0
    case = Case(net, torch.rand(8, 3, 8, 8))
    adversarial = case.ours(FGSM(0.1))
    assert torch.equal(adversarial[..., ::2], case.images[..., ::2])
    assert furthest(adversarial, case.theirs("FGSM", eps=0.1)) <= TOLERANCE


@pytest.mark.data
def test_attacks_on_photographs_are_theirs(photographs, same_start):
    import timm
    from safetensors.torch import load_file

    with (photographs / "photos.csv").open() as file:
        rows = list(csv.DictReader(file))[:8]
    photos = [
        Image.open(photographs / "photos" / row["file"]).resize((248, 248), Image.Resampling.BICUBIC) for row in rows
    ]
    pixels = np.stack([np.asarray(photo)[12:236, 12:236] for photo in photos])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    net = timm.create_model("vit_tiny_patch16_224", num_classes=1000).eval().requires_grad_(False)
    net.load_state_dict(load_file(photographs / "weights" / "vit_tiny_patch16_224.safetensors"))

    class Pixels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, pixels: Tensor) -> Tensor:
            return self.net((pixels - 0.5) / 0.5)

    case = Case(Pixels(), images)
    case.labels = torch.tensor([int(row["imagenet_class"]) for row in rows])
    with torch.no_grad():
        right = int((case.net(images).argmax(1) == case.labels).sum())
    assert right >= 6, "these weights know these photographs"
    fgsm = case.ours(FGSM())
    assert furthest(fgsm, case.theirs("FGSM", eps=1 / 255)) <= TOLERANCE
    same_start(case.seeds)
    pgd = case.ours(PGD())
    assert furthest(pgd, case.theirs("PGD", eps=1 / 255, alpha=0.5 / 255, steps=5)) <= TOLERANCE
    with torch.no_grad():
        survivors = [int((case.net(adversarial).argmax(1) == case.labels).sum()) for adversarial in (fgsm, pgd)]
    assert survivors[1] <= survivors[0] < right


# The adapter: torchattacks by name


@pytest.fixture(scope="module")
def small() -> Case:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Case(nn.Sequential(nn.Flatten(), nn.Linear(768, 10)), torch.rand(6, 3, 16, 16))


def test_name_is_read_in_any_capitals_with_the_papers_threat_model():
    attack = make_attack("torchattacks:pgd")
    assert settings(attack) == {
        "name": "torchattacks:PGD",
        "version": torchattacks.__version__,
        "eps": 1 / 255,
        "alpha": 0.5 / 255,
        "steps": 5,
    }
    assert from_settings(settings(attack)) == attack


def test_only_arguments_that_the_constructor_takes_are_passed():
    stated = {"epsilon": 4 / 255, "steps": 7, "relative_step": 0.25, "random_start": False}
    version = torchattacks.__version__
    assert make_attack("torchattacks:FGSM", **stated) == TorchAttack("torchattacks:FGSM", version, eps=4 / 255)
    assert make_attack("torchattacks:CW", **stated) == TorchAttack("torchattacks:CW", version, steps=7)
    assert make_attack("torchattacks:PGD", **stated) == TorchAttack(
        "torchattacks:PGD", version, eps=4 / 255, alpha=1 / 255, steps=7, random_start=False
    )
    # 1/255 means nothing in L2.
    assert make_attack("torchattacks:PGDL2") == TorchAttack("torchattacks:PGDL2", version)


def test_unknown_name_suggests_near_ones():
    with pytest.raises(UsageError, match=r"unknown attack 'torchattacks:PDG'; did you mean .*torchattacks:PGD"):
        make_attack("torchattacks:PDG")
    with pytest.raises(UsageError, match=r"one of APGD, .*VNIFGSM"):
        make_attack("torchattacks:zzzz")


def test_absent_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchattacks", None)
    with pytest.raises(MissingError, match=r'pip install "gfnet-bench\[reference\]"'):
        make_attack("torchattacks:PGD")


def test_another_version_than_recorded_is_refused(small):
    with pytest.raises(MissingError, match=r"expected version 0\.0\.1, found"):
        small.ours(TorchAttack("torchattacks:FGSM", "0.0.1", eps=1 / 255))


def test_adapter_runs_the_attack_unchanged(small):
    ours = small.ours(make_attack("torchattacks:PGD", epsilon=4 / 255, random_start=False))
    assert torch.equal(ours, small.theirs("PGD", eps=4 / 255, alpha=2 / 255, steps=5, random_start=False))


@pytest.mark.parametrize("name", ["PGD", "DIFGSM", "PGDL2", "Pixle", *sorted(BATCHED)])
def test_result_depends_on_no_other_image(small, name):
    attack = make_attack(f"torchattacks:{name}", steps=2)
    together = small.ours(attack)
    order = torch.tensor([4, 0, 3])
    apart = attack(small.net, small.images[order], small.labels[order], small.seeds[order])
    assert furthest(apart, together[order]) <= TOLERANCE
    other_seeds = attack(small.net, small.images, small.labels, small.seeds + 1)
    assert torch.equal(other_seeds, together) == (name in BATCHED), "the seed should matter where chance does"


def test_global_generators_are_left_as_they_were(small):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    for name in ("PGD", "Pixle"):
        small.ours(make_attack(f"torchattacks:{name}"))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def test_works_under_no_grad_and_leaves_no_gradient(small):
    with torch.no_grad():
        adversarial = small.ours(make_attack("torchattacks:FGSM"))
    assert furthest(adversarial, small.images) > 0
    assert not adversarial.requires_grad
    assert all(parameter.grad is None for parameter in small.net.parameters())


def test_logits_that_are_not_finite_are_named(small):
    attack = make_attack("torchattacks:FGSM")
    with pytest.raises(GfnetBenchError, match="NaN or infinity for 6 of 6"):
        attack(lambda images: small.net(images) * float("nan"), small.images, small.labels, small.seeds)
