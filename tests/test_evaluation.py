"""The loop: the same predictions however the images are batched, and every way it can go wrong."""

import gc
import re
import weakref
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from room import Hungry, Room

from gfnet_bench import evaluation
from gfnet_bench.attacks.fgsm import FGSM
from gfnet_bench.attacks.pgd import PGD
from gfnet_bench.errors import GfnetBenchError, out_of_memory
from gfnet_bench.evaluation import precision, to_pixels
from gfnet_bench.metrics import scores

N, SIDE, CLASSES = 13, 8, 7

evaluate, evaluate_all = (partial(f, classes=None) for f in (evaluation.evaluate, evaluation.evaluate_all))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (N, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8 * 36, CLASSES)]
    return torch.nn.Sequential(*layers).requires_grad_(False)


LABELS = np.arange(N) % CLASSES
IDS = [f"image/{i}" for i in range(N)]


def test_predictions_are_the_models(images, network):
    predictions, *_ = evaluate(network, images, LABELS, IDS, batch_size=5)
    logits = network(torch.tensor(images).permute(0, 3, 1, 2) / 255).double().numpy()
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_array_equal(predictions.top5, np.argsort(-logits, axis=1)[:, :5])
    np.testing.assert_allclose(predictions.confidence, probabilities.max(1), rtol=1e-5)
    np.testing.assert_allclose(predictions.nll, -np.log(probabilities[np.arange(N), LABELS]), rtol=1e-5)
    truth = np.eye(probabilities.shape[1])[LABELS]
    np.testing.assert_allclose(predictions.brier, ((probabilities - truth) ** 2).sum(axis=1), rtol=1e-5)
    assert predictions.ids == tuple(IDS)


@pytest.mark.parametrize("batch_size", [1, 2, 4, 100])
@pytest.mark.parametrize("attack", [None, PGD(8 / 255)])
def test_batch_size_does_not_matter(images, network, batch_size, attack):
    whole, *_ = evaluate(network, images, LABELS, IDS, attack=attack, batch_size=N)
    split, used, _, _ = evaluate(network, images, LABELS, IDS, attack=attack, batch_size=batch_size)
    np.testing.assert_array_equal(split.top5, whole.top5)
    np.testing.assert_allclose(split.nll, whole.nll, rtol=1e-5)
    assert used == min(batch_size, N)


def test_order_does_not_matter(images, network):
    attack = PGD(8 / 255)
    there, *_ = evaluate(network, images, LABELS, IDS, attack=attack, batch_size=4)
    back, *_ = evaluate(network, images[::-1], LABELS[::-1], IDS[::-1], attack=attack, batch_size=4)
    np.testing.assert_allclose(back.nll[::-1], there.nll, rtol=1e-5)


def test_seed_changes_the_attack_and_nothing_else(images, network):
    def nll(seed, attack):
        return evaluate(network, images, LABELS, IDS, attack=attack, seed=seed)[0].nll

    assert np.array_equal(nll(0, None), nll(1, None))
    assert not np.array_equal(nll(0, PGD(8 / 255)), nll(1, PGD(8 / 255)))


def test_only_the_classes_that_count_are_predicted(images, network):
    classes = (1, 2, 4, 5, 6)
    labels = np.array(classes)[np.arange(N) % 5]
    predictions, *_ = evaluate(network, images, labels, IDS, classes=classes)
    logits = network(to_pixels(images, torch.device("cpu"))).numpy()
    logits[:, [0, 3]] = -np.inf
    np.testing.assert_array_equal(predictions.top5, np.argsort(-logits, axis=1)[:, :5])
    shifted = np.exp(logits)
    np.testing.assert_allclose(predictions.nll, -np.log(shifted[np.arange(N), labels] / shifted.sum(1)), rtol=1e-5)


@pytest.mark.parametrize("attack", [None, FGSM()])
def test_out_of_memory_halves_the_batch_to_what_fits_and_loses_nothing(images, network, attack):
    expected, *_ = evaluate(network, images, LABELS, IDS, attack=attack)
    hungry = Hungry(network, 10**6)
    with Room(int(4.5e6)):  # for four images, once what failed with eight is given back
        predictions, used, _, _ = evaluate(hungry, images, LABELS, IDS, attack=attack, batch_size=12)
    np.testing.assert_array_equal(predictions.top5, expected.top5)
    assert used == 3 and hungry.seen[:3] == [12, 6, 3] and set(hungry.seen[3:]) == {3}


def test_libraries_say_in_their_own_words_that_memory_ran_out():
    for text in ("CUBLAS_STATUS_ALLOC_FAILED when calling", "cuFFT error: CUFFT_ALLOC_FAILED", "CUDA out of memory."):
        assert out_of_memory(RuntimeError(text))
    assert not out_of_memory(RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED")) and not out_of_memory(ValueError("x"))


def test_one_image_too_many_is_an_error(images):
    def full(x):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")

    with pytest.raises(GfnetBenchError, match="one image does not fit"):
        evaluate(full, images, LABELS, IDS)


def test_other_failures_are_not_mistaken_for_full_memory(images):
    def broken(x):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        evaluate(broken, images, LABELS, IDS)


def test_every_batch_has_the_same_shape(images, network):
    shapes = []

    def watched(x):
        shapes.append(tuple(x.shape))
        return network(x)

    evaluate(watched, images, LABELS, IDS, batch_size=5)
    assert shapes == [(5, 3, SIDE, SIDE)] * 3


def test_logits_that_are_not_finite_are_named(images, network):
    fifth = to_pixels(images, torch.device("cpu"))[4]

    def sick(x):
        return torch.where((x == fifth).flatten(1).all(1, keepdim=True), torch.nan, network(x))

    with pytest.raises(GfnetBenchError, match=r"of 1 of 13 images are not finite \(the first: image/4\)"):
        evaluate(sick, images, LABELS, IDS, batch_size=5)


def test_several_models_share_each_corrupted_batch(images, network):
    def other(x):
        return network(x).flip(1)

    seen = []

    def corrupt(pixels, seeds):
        assert pixels.dtype == torch.uint8 and pixels.shape[1:] == (3, SIDE, SIDE)
        seen.extend(seeds.tolist())
        return 255 - pixels

    first, second = evaluate_all([network, other], images, LABELS, IDS, corrupt=corrupt, batch_size=5)
    inverted = 255 - images
    np.testing.assert_array_equal(first.predictions.top5, evaluate(network, inverted, LABELS, IDS)[0].top5)
    np.testing.assert_array_equal(second.predictions.top5, evaluate(other, inverted, LABELS, IDS)[0].top5)
    assert len(seen) == 15 and seen[13:] == seen[:2] and len(set(seen)) == N  # one seed an image; the end is filled up


def test_one_models_bad_logits_leave_the_others_alone(images, network):
    good, bad = evaluate_all([network, lambda x: network(x) * torch.nan], images, LABELS, IDS)
    assert np.isfinite(good.predictions.nll).all()
    assert isinstance(bad, GfnetBenchError)


@pytest.mark.parametrize(
    "change", [lambda x: x, lambda x: (x, x), lambda x: x * torch.nan], ids=["right", "tuple", "NaN"]
)
@pytest.mark.parametrize("attack", [None, PGD(8 / 255)], ids=["clean", "pgd"])
def test_a_model_is_let_go_when_its_pass_is_over(images, network, change, attack):
    """At once, not when the garbage collector comes round: the next model may need the memory."""

    class Large:
        def __call__(self, x):
            return change(network(x))

    model = Large()
    gone = weakref.ref(model)
    gc.disable()
    try:
        found = evaluate_all([model], images, LABELS, IDS, attack=attack)
        del model
        assert gone() is None
    finally:
        gc.enable()
    assert len(found) == 1


def test_no_images_is_an_error(images, network):
    with pytest.raises(GfnetBenchError, match="no images"):
        evaluate(network, images[:0], LABELS[:0], [])


def cuda_settings():
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    return matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark


@pytest.mark.parametrize(
    ("dtype", "repeatable", "within"),
    [
        ("float32", True, (False, False, True, False)),
        ("tf32", True, (True, True, True, False)),
        ("float32", False, (False, False, False, True)),
    ],
)
def test_a_precision_holds_everywhere_repeats_and_is_put_back(monkeypatch, dtype, repeatable, within):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    before = cuda_settings()
    with precision(dtype, torch.device("cpu"), repeatable=repeatable):
        assert cuda_settings() == within
    assert before == cuda_settings()
    with pytest.raises(GfnetBenchError, match="dtype must be"), precision("float8", torch.device("cpu")):
        pass


def test_attacks_run_where_convolutions_repeat(images, network):
    seen = []

    class Looking(FGSM):
        def __call__(self, *arguments):
            seen.append(cuda_settings())
            return super().__call__(*arguments)

    evaluate(network, images, LABELS, IDS, attack=Looking())
    assert set(seen) == {(False, False, True, False)}


def test_bfloat16_scores_differ_but_not_by_much(images, network):
    exact, *_ = evaluate(network, images, LABELS, IDS)
    half, *_ = evaluate(network, images, LABELS, IDS, dtype="bfloat16")
    assert not np.array_equal(half.nll, exact.nll)
    np.testing.assert_allclose(half.nll, exact.nll, atol=0.05)


# What comes back from an attack, a corruption, a model


@dataclass(frozen=True)
class Patched(PGD):
    """PGD whose result someone changed."""

    change: object = None

    def __call__(self, predict, images, labels, seeds):
        return self.change(super().__call__(predict, images, labels, seeds), images)


def one_image(value):
    def change(adversarial, images):
        adversarial = adversarial.clone()
        adversarial[2, 0, 3, 3] = value
        return adversarial

    return change


def in_place(adversarial, images):
    return images.add_(1).clamp_(0, 1)


OUTSIDE = {
    "x + 1": lambda a, x: x + 1,
    "within the box alone": lambda a, x: 1 - x,
    "a little beyond the ball": lambda a, x: (x + 1.01 * (a - x)).clamp(0, 1),
    "a hair below the box": lambda a, x: a - 1e-3,
    "one pixel of one image": one_image(-1e-3),
    "NaN in one image": one_image(float("nan")),
    "infinity in one image": one_image(float("inf")),
    "all NaN": lambda a, x: a * float("nan"),
    "the input itself, changed in place": in_place,
}


@pytest.mark.parametrize("batch_size", [5, 13])
@pytest.mark.parametrize("change", OUTSIDE.values(), ids=OUTSIDE)
def test_adversarial_images_outside_ball_or_box_are_never_scored(images, network, change, batch_size):
    attack = Patched(8 / 255, change=change)
    with pytest.raises(GfnetBenchError, match=r"expected pgd to keep pixels in \[0, 1\] and within 0.03137.* outside"):
        evaluate(network, images, LABELS, IDS, attack=attack, batch_size=batch_size)


def test_the_first_image_outside_is_named_and_counted(images, network):
    def second_batch(adversarial, given):  # images 5 to 9, and 10 to 12 with the first two again
        return adversarial + (given[:, :1, :1, :1] == to_pixels(images[7:8], torch.device("cpu"))[:, :1, :1, :1])

    with pytest.raises(
        GfnetBenchError, match=r"found 1 of 13 images outside \(moved by up to 1.*; the first: image/7\)"
    ):
        evaluate(network, images, LABELS, IDS, attack=Patched(8 / 255, change=second_batch), batch_size=5)


FORMS = {
    "another shape": lambda a, x: a[..., 1:],
    "fewer images": lambda a, x: a[:-1],
    "channels last": lambda a, x: a.permute(0, 2, 3, 1),
    "float64": lambda a, x: a.double(),
    "float16": lambda a, x: a.half(),
    "uint8": lambda a, x: (a * 255).byte(),
    "another device": lambda a, x: a.to("meta"),
    "sparse": lambda a, x: a.to_sparse(),
    "numpy": lambda a, x: a.numpy(),
    "a tuple": lambda a, x: (a, x),
    "nothing": lambda a, x: None,
}


@pytest.mark.parametrize("change", FORMS.values(), ids=FORMS)
def test_adversarial_images_of_another_form_are_refused(images, network, change):
    with pytest.raises(GfnetBenchError, match=r"expected pgd to return images as it was given them, \(5, 3, 8, 8\)"):
        evaluate(network, images, LABELS, IDS, attack=Patched(8 / 255, change=change), batch_size=5)


@pytest.mark.parametrize(
    ("norm", "epsilon", "move", "stays"),
    [
        ("l2", 1.5, 1.5, True),
        ("l2", 1.5, 1.51, False),
        ("L2", 1.5, 1.0, None),
        ("l1", 1.5, 1.5, True),
        ("l1", 1.5, 1.51, False),
        ("l0", 1, 0.2, True),
        ("l0", 0, 0.2, False),
        ("linf", 0.0, 0.0, True),
        ("linf", 0.0, 1e-6, False),
        ("linf", float("nan"), 0.0, None),
        ("linf", "1/255", 0.0, None),
        ("linf", -1.0, 0.0, None),
        (None, None, 0.5, True),
        ("l2", None, 0.5, True),
    ],
)
def test_the_ball_is_that_of_the_attacks_norm(network, norm, epsilon, move, stays):
    grey = np.zeros((3, SIDE, SIDE, 3), dtype=np.uint8)

    class Attack:
        name = "mine"

        def __call__(self, predict, given, labels, seeds):
            result = given.clone()  # by so much in all three norms: one value, or two with l2 longer than the box
            values = 1 if move <= 1 else 4 if norm == "l2" else 2
            result[:, 0, :values, 0] = move / (values**0.5 if norm == "l2" else values)
            return result

    attack = Attack()
    attack.norm, attack.epsilon = norm, epsilon
    if stays:
        evaluate(network, grey, LABELS[:3], IDS[:3], attack=attack)
    else:
        with pytest.raises(GfnetBenchError, match="outside" if stays is False else "expected (norm|epsilon) to be"):
            evaluate(network, grey, LABELS[:3], IDS[:3], attack=attack)


def test_an_attack_without_norm_or_radius_is_held_to_the_box(images, network):
    evaluate(network, images, LABELS, IDS, attack=lambda p, x, y, s: 1 - x)

    def noisy(predict, given, labels, seeds):
        return given * 1.0001

    with pytest.raises(GfnetBenchError, match=r"expected noisy to keep pixels in \[0, 1\] of the original"):
        evaluate(network, images, LABELS, IDS, attack=noisy)


def test_an_attack_that_works_in_place_poisons_nothing(images, network):
    @dataclass(frozen=True)
    class InPlace(PGD):
        def __call__(self, predict, given, labels, seeds):
            adversarial = super().__call__(predict, given, labels, seeds)
            labels.zero_(), seeds.zero_()
            return given.copy_(adversarial)

    def networks():
        return [network, lambda x: network(x).flip(1), network]

    before = images.copy()
    expected = evaluate_all(networks(), images, LABELS, IDS, attack=PGD(8 / 255), batch_size=5)
    found = evaluate_all(networks(), images, LABELS, IDS, attack=InPlace(8 / 255), batch_size=5)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one.predictions.nll, other.predictions.nll)
    np.testing.assert_array_equal(images, before)


def test_a_model_that_normalises_in_place_poisons_nothing(images, network):
    expected = evaluate(network, images, LABELS, IDS, batch_size=5)[0]
    first, second = evaluate_all([lambda x: network(x.sub_(0.5)), network], images, LABELS, IDS, batch_size=5)
    np.testing.assert_array_equal(second.predictions.nll, expected.nll)
    assert not np.array_equal(first.predictions.nll, expected.nll)


def test_adversarial_images_that_still_hold_their_history_are_scored_without(images, network):
    attack = Patched(8 / 255, change=lambda a, x: a.requires_grad_())
    found, *_ = evaluate(network, images, LABELS, IDS, attack=attack)
    np.testing.assert_array_equal(found.nll, evaluate(network, images, LABELS, IDS, attack=PGD(8 / 255))[0].nll)


def test_memory_that_runs_out_in_an_attack_changes_no_number(images, network):
    @dataclass(frozen=True)
    class Hungry(PGD):
        def __call__(self, predict, given, labels, seeds):
            adversarial = super().__call__(predict, given, labels, seeds)
            if len(given) > 3:
                given.zero_()
                raise torch.OutOfMemoryError("CUDA out of memory")
            return adversarial

    expected, *_ = evaluate(network, images, LABELS, IDS, attack=PGD(8 / 255), batch_size=3)
    found, used, _, _ = evaluate(network, images, LABELS, IDS, attack=Hungry(8 / 255), batch_size=12)
    np.testing.assert_array_equal(found.nll, expected.nll)
    assert used == 3


def test_memory_is_told_on_stderr(images, network, capsys):
    def hungry(x):
        if len(x) > 3:
            raise MemoryError
        return network(x)

    evaluate(hungry, images, LABELS, IDS, batch_size=12)
    out, err = capsys.readouterr()
    assert out == "" and "going on with 3 images at a time" in err


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.float(),
        lambda x: x[:-1],
        lambda x: x.permute(0, 2, 3, 1),
        lambda x: x[:, :1],
        lambda x: x.numpy(),
        lambda x: None,
        lambda x: x.to("meta"),
    ],
    ids=["float", "fewer", "channels last", "grey", "numpy", "nothing", "meta"],
)
def test_a_corruption_must_return_images_too(images, network, change):
    def fogged(pixels, seeds):
        return change(pixels)

    with pytest.raises(GfnetBenchError, match="expected fogged to return images as it was given them"):
        evaluate(network, images, LABELS, IDS, corrupt=fogged, batch_size=5)


@pytest.mark.parametrize("kind", ["array", "tensor", "read-only"])
def test_a_corruption_that_works_in_place_changes_no_data(images, network, kind):
    before = images.copy()
    shown = {"array": images, "tensor": torch.tensor(images), "read-only": images.copy()}[kind]
    if kind == "read-only":
        shown.flags.writeable = False
    evaluate(network, shown, LABELS, IDS, corrupt=lambda x, s: x.zero_(), batch_size=5)
    np.testing.assert_array_equal(np.asarray(shown), before)


RETURNED = {
    "a tuple": lambda logits: (logits, logits),
    "a list": lambda logits: [logits],
    "a dict": lambda logits: {"logits": logits},
    "nothing": lambda logits: None,
    "numpy": lambda logits: logits.detach().numpy(),
    "flat": lambda logits: logits.flatten(),
    "a map of features": lambda logits: logits[:, :, None, None],
    "fewer classes": lambda logits: logits[:, :-1],
    "fewer images": lambda logits: logits[:-1],
    "classes": lambda logits: logits.argmax(1),
    "integers": lambda logits: logits.long(),
    "complex": lambda logits: logits.to(torch.complex64),
    "another device": lambda logits: logits.to("meta"),
}


@pytest.mark.parametrize("attack", [None, PGD(8 / 255)], ids=["clean", "pgd"])
@pytest.mark.parametrize("change", RETURNED.values(), ids=RETURNED)
def test_what_is_no_logits_is_refused_in_one_sentence(images, network, change, attack):
    bad, good = evaluate_all([lambda x: change(network(x)), network], images, LABELS, IDS, attack=attack, batch_size=5)
    assert isinstance(bad, GfnetBenchError)
    assert str(bad).startswith("expected the model to return logits of shape (5, 7 or more), floating-point and on cpu")
    assert np.isfinite(good.predictions.nll).all(), "the other model is measured all the same"


def test_logits_that_are_not_finite_under_attack_alone_are_named(images, network):
    clean = to_pixels(images, torch.device("cpu"))

    def brittle(x):
        moved = (x[:, None] - clean).abs().amax((2, 3, 4)).amin(1)
        return torch.where(moved[:, None] > 1e-3, torch.inf, network(x))

    evaluate(brittle, images, LABELS, IDS, batch_size=5)
    with pytest.raises(
        GfnetBenchError, match=r"found NaN or infinity for 13 of 13 attacked images \(the first: image/0"
    ):
        evaluate(brittle, images, LABELS, IDS, attack=PGD(8 / 255), batch_size=5)


def test_a_gradient_that_is_not_finite_is_an_error_that_names_the_share(images, network):
    dark = images // 128 * images  # about half of the values are 0
    dark[3:9] |= 1  # and none in six images
    share = (dark == 0).mean()

    def rooted(x):  # x itself, and at 0 the gradient is 0 / 0
        return network((x * x).sqrt())

    def steep(x):  # at 0 it is infinite
        return network(x) + 1e-4 * x.sqrt().mean((1, 2, 3))[:, None] * torch.arange(CLASSES)

    clean, *_ = evaluate(network, dark, LABELS, IDS)
    for net in (rooted, steep):
        np.testing.assert_allclose(evaluate(net, dark, LABELS, IDS)[0].nll, clean.nll, rtol=1e-3)
        expected = rf"NaN or infinity at {share:.2%} of its values, for 7 of 13 attacked images \(the first: image/0\)"
        for batch_size in (5, 13):
            attack = FGSM(8 / 255)
            one, other = evaluate_all([net, network], dark, LABELS, IDS, attack=attack, batch_size=batch_size)
            assert re.search(expected, str(one))
            assert np.isfinite(other.predictions.nll).all()


def test_nothing_waits_for_the_device_but_at_the_end(images, network, monkeypatch):
    """Reads of tensors, which on a device would wait for it, do not grow with batches or steps."""
    reads = []
    for name in ("item", "tolist", "cpu", "numpy", "nonzero", "__bool__", "__int__", "__float__", "__index__"):
        real = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda *a, r=real, n=name, **k: (reads.append(n), r(*a, **k))[1])

    def count(attack, batch_size):
        reads.clear()
        evaluate(network, images, LABELS, IDS, attack=attack, batch_size=batch_size)
        return len(reads)

    assert count(PGD(8 / 255, steps=9), 1) == count(PGD(8 / 255, steps=2), 13)


def test_labels_and_seeds_are_where_they_are_needed_before_the_first_batch(images, network, monkeypatch):
    """No index, label or seed goes to the device batch by batch, which would wait for what it computes."""
    given, real = [], torch.from_numpy
    monkeypatch.setattr(torch, "from_numpy", lambda array: (given.append(array.dtype), real(array))[1])

    def count(batch_size):
        given.clear()
        evaluate(network, images, LABELS, IDS, attack=PGD(8 / 255), batch_size=batch_size)
        return sum(kind != np.uint8 for kind in given)

    assert count(2) == count(13)


# What goes in


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"images": lambda x: x / 255}, "uint8"),
        ({"images": lambda x: x.astype(np.int64)}, "uint8"),
        ({"images": lambda x: x.transpose(0, 3, 1, 2)}, r"\(13, h, w, 3\)"),
        ({"images": lambda x: x[..., :1]}, r"\(13, h, w, 3\)"),
        ({"images": lambda x: x[0]}, r"\(13, h, w, 3\)"),
        ({"images": lambda x: x[:-1]}, "as many as there are ids"),
        ({"images": lambda x: x.tolist()}, "found .* list"),
        ({"images": lambda x: torch.tensor(x).permute(0, 3, 1, 2)}, r"\(13, h, w, 3\)"),
        ({"labels": lambda x: x[:-1]}, r"labels \(13,\)"),
        ({"labels": lambda x: x[:, None]}, r"labels \(13,\)"),
        ({"labels": lambda x: x - 1}, "from 0 up, found .* from -1"),
        ({"labels": lambda x: x + 0.5}, "integers"),
        ({"labels": lambda x: x > 3}, "integers"),
        ({"labels": lambda x: x.astype(np.uint64) + np.uint64(2**63)}, "from 0 up"),
        ({"labels": lambda x: x + 1}, "logits of shape .*, 8 or more"),
        ({"ids": lambda x: x[:-1]}, "as many as there are ids"),
        ({"ids": lambda x: list(range(13))}, "expected ids to be names"),
        ({"classes": lambda x: (0, 1, 2)}, r"among the 3 classes that count, found another for 7 of 13 .*image/3"),
        ({"classes": lambda x: range(8)}, "logits of shape .*, 8 or more"),
        ({"classes": lambda x: ()}, "classes"),
        ({"classes": lambda x: (-1, *range(7))}, "classes"),
        ({"classes": lambda x: np.arange(7) / 2}, "classes"),
        ({"batch_size": lambda x: 0}, "batch size"),
        ({"batch_size": lambda x: -3}, "batch size"),
        ({"batch_size": lambda x: 2.5}, "batch size"),
        ({"dtype": lambda x: "float8"}, "dtype must be"),
    ],
)
@pytest.mark.parametrize("attack", [None, PGD(8 / 255)], ids=["clean", "pgd"])
def test_what_does_not_go_together_is_refused_in_one_sentence(images, network, wrong, message, attack):
    given = {"images": images, "labels": LABELS, "ids": IDS, "classes": None, "batch_size": 5, "dtype": "float32"}
    given |= {name: change(given[name]) for name, change in wrong.items()}
    with pytest.raises(GfnetBenchError, match=message):
        evaluate(network, attack=attack, **given)


def test_classes_count_once_in_any_order(images, network):
    labels = np.array([1, 4, 5])[np.arange(N) % 3]
    expected, *_ = evaluate(network, images, labels, IDS, classes=(1, 4, 5))
    found, *_ = evaluate(network, images, labels, IDS, classes=[5, 1, 4, 1, 5])
    np.testing.assert_array_equal(found.top5, expected.top5)
    np.testing.assert_array_equal(found.nll, expected.nll)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_fewer_classes_than_five(images, network, k):
    labels = np.arange(N) % k
    found, *_ = evaluate(lambda x: network(x)[:, :k], images, labels, IDS, attack=PGD(8 / 255))
    assert found.top5.shape == (N, k)
    assert scores(found)["top5"] == 1


def test_log_probabilities_are_logits_too(images, network):
    expected, *_ = evaluate(network, images, LABELS, IDS, attack=PGD(8 / 255))
    found, *_ = evaluate(lambda x: network(x).log_softmax(1), images, LABELS, IDS, attack=PGD(8 / 255))
    np.testing.assert_allclose(found.nll, expected.nll, rtol=1e-4)


@pytest.mark.gpu
def test_cuda_gives_the_cpus_predictions(images, network):
    attack = PGD(8 / 255)
    on_cpu, *_ = evaluate(network, images, LABELS, IDS, attack=attack)
    on_gpu, *_ = evaluate(network.cuda(), images, LABELS, IDS, attack=attack, device="cuda")
    network.cpu()
    np.testing.assert_array_equal(on_gpu.top5, on_cpu.top5)
    np.testing.assert_allclose(on_gpu.nll, on_cpu.nll, rtol=1e-4)
