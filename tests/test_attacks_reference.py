"""Our attacks against torchattacks, an implementation made by others, image for image from the same start."""

import csv
import gc
import inspect
import re
import sys
import weakref

import numpy as np
import pytest
import torch
from PIL import Image
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from gfnet_bench.attacks.fgsm import FGSM
from gfnet_bench.attacks.make import make_attack, restored, stored
from gfnet_bench.attacks.pgd import PGD
from gfnet_bench.attacks.reference import BATCHED, TorchAttack
from gfnet_bench.benches.robustness import Bench
from gfnet_bench.cli import main
from gfnet_bench.datasets import load_images
from gfnet_bench.errors import GfnetBenchError, MissingError, UsageError
from gfnet_bench.evaluation import evaluate, to_pixels
from gfnet_bench.models import Model, load_model
from gfnet_bench.perturbations import attacked
from gfnet_bench.randomness import image_seeds, uniform
from gfnet_bench.store import Store

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


def test_pgd_in_l2_is_theirs(case):
    ours = case.ours(PGD(0.5, 0.3, 6, random_start=False, norm="l2"))
    theirs = case.theirs("PGDL2", eps=0.5, alpha=0.15, steps=6, random_start=False)
    assert furthest(ours, theirs) <= TOLERANCE
    assert 0.499 < float((ours - case.images).flatten(1).norm(dim=1).min()) <= 0.5 + TOLERANCE


def test_pgd_with_momentum_is_theirs(case):
    ours = case.ours(PGD(8 / 255, 0.25, 6, random_start=False, momentum=1.0))
    theirs = case.theirs("MIFGSM", eps=8 / 255, alpha=2 / 255, steps=6, decay=1.0)
    assert ((ours - theirs).abs() > TOLERANCE).float().mean() < 1e-4  # sums in another order may turn a sign


def test_targeted_pgd_is_theirs(case):
    attack = torchattacks.PGD(case.net, eps=8 / 255, alpha=2 / 255, steps=6, random_start=False)
    attack.set_mode_targeted_least_likely()
    ours = case.ours(PGD(8 / 255, 0.25, 6, random_start=False, target="unlikeliest"))
    assert furthest(ours, attack(case.images, case.labels)) <= TOLERANCE


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
    assert stored(attack) == {
        "name": "torchattacks:PGD",
        "version": torchattacks.__version__,
        "eps": 1 / 255,
        "alpha": 0.5 / 255,
        "steps": 5,
    }
    assert restored(stored(attack)) == attack


def test_only_arguments_that_the_constructor_takes_are_passed():
    stated = {"epsilon": 4 / 255, "steps": 7, "relative_step": 0.25, "random_start": False}
    version = torchattacks.__version__
    assert make_attack("torchattacks:FGSM", **stated) == TorchAttack("torchattacks:FGSM", version, eps=4 / 255)
    assert make_attack("torchattacks:CW", **stated) == TorchAttack("torchattacks:CW", version, steps=7)
    assert make_attack("torchattacks:PGD", **stated) == TorchAttack(
        "torchattacks:PGD", version, eps=4 / 255, alpha=1 / 255, steps=7, random_start=False
    )


@pytest.mark.parametrize("name", ["PGDL2", "PGDRSL2"])
def test_a_radius_in_l2_is_torchattacks_own_unless_it_is_named(name):
    """1/255 means nothing in L2: PGDL2 moved images by 0.016 in all, and every network looked robust."""
    own = {"name": f"torchattacks:{name}", "norm": "l2", "version": torchattacks.__version__}
    attack = make_attack(f"torchattacks:{name}")
    assert stored(attack) == {**own, "eps": 1.0, "alpha": 0.2, "steps": 10}
    assert restored(stored(attack)) == attack
    (within,) = attacked(f"torchattacks:{name}", None, 4 / 255)
    assert within.attack == attack
    small, large = attacked(f"torchattacks:{name}", ["0.5", "3"], 4 / 255)
    assert small.settings == {**own, "eps": 0.5, "alpha": 0.1, "steps": 10}
    assert (large.norm, large.attack.epsilon) == ("l2", 3.0)


def test_settings_of_attacks_that_have_records_are_what_they_were():
    assert stored(make_attack("torchattacks:CW")) == {"name": "torchattacks:CW", "version": torchattacks.__version__}
    assert stored(make_attack("torchattacks:APGD", epsilon=4 / 255)) == {
        "name": "torchattacks:APGD",
        "version": torchattacks.__version__,
        "eps": 4 / 255,
    }


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


# Every attack of the library

NAMES = sorted(set(torchattacks.__all__) - set(torchattacks.__wrapper__))
ITS_WARNINGS = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:divide by zero:RuntimeWarning")
DISTANCES = {"Linf": "linf", "L2": "l2", "L1": "l1", "L0": "l0"}


@pytest.mark.parametrize("name", NAMES)
def test_norm_and_radius_are_the_librarys_own(name):
    """Its docstring says `Distance Measure : L2`, the usual norm first; its constructor takes a radius or does not."""
    attack = make_attack(f"torchattacks:{name}")
    stated = re.search(r"Distance Measure : (\w+)", getattr(torchattacks, name).__doc__)
    assert attack.norm == (DISTANCES[stated[1]] if stated else None)
    takes = inspect.signature(getattr(torchattacks, name)).parameters
    assert (attack.epsilon is not None) == ("eps" in takes)
    assert TorchAttack(attack.name, attack.version).epsilon == (takes["eps"].default if "eps" in takes else None)


@pytest.fixture(scope="module")
def nearest_mean() -> Model:
    """The classifier by the nearest mean image of a class, in place of a network: it is right, fast and linear."""
    model = load_model("resmlp_mini")
    images = load_images("mini", (), model.transform)
    pixels = (to_pixels(images.pixels[:], torch.device("cpu")) - model.mean) / model.std
    means = torch.stack([pixels[images.labels == c].mean(0).flatten() for c in range(10)])
    net = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    with torch.no_grad():
        net[1].weight.copy_(means * 0.02)
        net[1].bias.copy_(-0.01 * means.square().sum(1))
    model.net = net.requires_grad_(False)
    assert (model(pixels * model.std + model.mean).argmax(1).numpy() == images.labels).mean() > 0.6
    return model


@pytest.fixture(scope="module", autouse=True)
def fewer_queries():
    """Square asks the network 5,000 times for an image that stands; 50 show as much here."""
    patch = pytest.MonkeyPatch()
    prepare = torchattacks.Square.init_hyperparam
    patch.setattr(
        torchattacks.Square, "init_hyperparam", lambda self, x: (setattr(self, "n_queries", 50), prepare(self, x))
    )
    yield
    patch.undo()


RADII = {"linf": [4 / 255, 0.2], "l2": [0.5, 3.0]}


@pytest.fixture(scope="module")
def measured(nearest_mean, tmp_path_factory):
    """Every attack through the command, at two radii that suit its norm: the small one leaves images to try hard on."""
    folder = tmp_path_factory.mktemp("results")
    norms = {f"torchattacks:{name}": make_attack(f"torchattacks:{name}").norm for name in NAMES}
    patch = pytest.MonkeyPatch()
    patch.setattr(Bench, "model", lambda bench, cell: nearest_mean)
    for norm, radii in RADII.items():
        names = [name for name in norms if (norms[name] == "l2") == (norm == "l2")]
        options = ["--attack", *names, "--eps", *map(str, radii), "--limit", "2", "--output-dir", str(folder)]
        assert main(["robustness", "--model", "resmlp_mini", "--dataset", "mini", "--no-progress", *options]) == 0
    patch.undo()
    return list(Store(folder))


@ITS_WARNINGS
@pytest.mark.parametrize("name", NAMES)
def test_every_attack_runs_through_robustness_once_for_each_radius(measured, name):
    attack = make_attack(f"torchattacks:{name}")
    radii = [None] if attack.epsilon is None else RADII[attack.norm]
    records = {
        r.cell.settings["perturbation"].get("eps"): r
        for r in measured
        if r.cell.settings["perturbation"]["name"] == attack.name
    }
    assert sorted(records) == sorted(radii)
    for record in records.values():
        assert record.error is None
        assert record.values["images"] == 2
    if attack.epsilon is not None and name != "Square":  # which so few queries do not help
        assert records[radii[1]].values["nll"] > records[radii[0]].values["nll"], "more room should"


def test_logits_that_are_not_finite_are_named(small):
    attack = make_attack("torchattacks:FGSM")
    with pytest.raises(GfnetBenchError, match="NaN or infinity for 6 of 6"):
        attack(lambda images: small.net(images) * float("nan"), small.images, small.labels, small.seeds)


class Rooted:
    """The image itself, with a gradient of 0 / 0 where a pixel is 0."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def __call__(self, images: Tensor) -> Tensor:
        return self.net((images * images).sqrt())


GRADIENT_FREE = {"GN", "OnePixel", "Pixle", "Square", "VANILA"}
NOISY = {"PGDRS", "PGDRSL2"}  # they show images with noise, in which no value is 0


@ITS_WARNINGS
@pytest.mark.parametrize("name", NAMES)
def test_a_gradient_that_is_not_finite_is_named(small, name):
    images, seeds = small.images[:2].clone(), small.seeds[:2]
    images[1, :, :4] = 0
    labels = small.net(images).argmax(1)  # some attacks leave alone what is wrong already
    attack = make_attack(f"torchattacks:{name}")
    if name in GRADIENT_FREE | NOISY:
        attack(Rooted(small.net), images, labels, seeds)
    else:
        with pytest.raises(GfnetBenchError, match=r"gradient of the loss, found NaN .* of 2 attacked images"):
            attack(Rooted(small.net), images, labels, seeds)


@pytest.mark.parametrize("name", sorted(set(NAMES) - GRADIENT_FREE))
def test_logits_cut_off_from_the_pixels_are_named(small, name):
    scale = torch.ones((), requires_grad=True)
    attack = make_attack(f"torchattacks:{name}")
    images, seeds = small.images[:2], small.seeds[:2]
    with pytest.raises(GfnetBenchError, match="depend on the pixels"):
        attack(lambda x: scale * small.net(x.detach()), images, small.net(images).argmax(1), seeds)


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("name", ["APGD", "APGDT", "AutoAttack", "FAB", "PGDL2"])
def test_few_classes_are_attacked_or_refused_in_one_sentence(small, name, k):
    labels = small.net(small.images)[:, :k].argmax(1)
    attack = make_attack(f"torchattacks:{name}", epsilon=0.2)

    def run() -> Tensor:
        return attack(lambda images: small.net(images)[:, :k], small.images, labels, small.seeds)

    if k < 4 and name == "APGDT":  # its loss is made of four logits
        with pytest.raises(GfnetBenchError, match=r"torchattacks:APGDT does not work on .* \(IndexError"):
            run()
    else:
        assert run().shape == small.images.shape


@ITS_WARNINGS
@pytest.mark.parametrize("name", NAMES)
def test_any_strides_will_do(small, name):
    """The loop's images are channels last, and networks may pass on gradients of that layout."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(576, 10))
    net = net.to(memory_format=torch.channels_last).requires_grad_(False)
    images = small.images[:2].to(memory_format=torch.channels_last)
    attack = make_attack(f"torchattacks:{name}", epsilon=0.3)
    assert attack(net, images, net(images).argmax(1), small.seeds[:2]).shape == images.shape


@pytest.mark.parametrize("name", ["PGD", "AutoAttack", "CW", "SparseFool", "Square"])
def test_a_model_is_let_go_when_the_attack_is_over(small, name):
    """torchattacks leaves cycles behind, which would keep it until the garbage collector comes round."""

    class Large:
        def __call__(self, images: Tensor) -> Tensor:
            return small.net(images)

    model, attack = Large(), make_attack(f"torchattacks:{name}")
    gone = weakref.ref(model)
    gc.disable()
    try:
        attack(model, small.images[:1], small.labels[:1], small.seeds[:1])
        del model
        assert gone() is None
    finally:
        gc.enable()


def test_a_radius_of_0_leaves_the_images(small):
    for name in ("PGD", "PGDL2", "PGDRSL2", "FAB"):
        assert torch.equal(small.ours(make_attack(f"torchattacks:{name}", epsilon=0.0)), small.images)


def test_errors_of_the_model_are_not_taken_for_the_librarys(small):
    def broken(images: Tensor) -> Tensor:
        raise KeyError("head")

    for name in ("PGD", "FAB"):
        with pytest.raises(KeyError, match="head"):
            make_attack(f"torchattacks:{name}")(broken, small.images, small.labels, small.seeds)


def test_memory_that_runs_out_in_an_attack_of_the_library_changes_no_number(small):
    images = (small.images.permute(0, 2, 3, 1) * 255).byte().numpy()
    names = [str(i) for i in range(6)]
    attack = make_attack("torchattacks:MIFGSM")  # sees the whole batch

    def hungry(shown: Tensor) -> Tensor:
        if len(shown) > 2:
            raise RuntimeError("CUDA out of memory")
        return small.net(shown)

    expected, *_ = evaluate(small.net, images, small.labels.numpy(), names, classes=None, attack=attack, batch_size=2)
    found, used, *_ = evaluate(hungry, images, small.labels.numpy(), names, classes=None, attack=attack)
    assert used == 1 or used == 2
    assert np.allclose(found.nll, expected.nll)
