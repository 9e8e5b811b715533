"""The loop: the same predictions however the images are batched, and every way it can go wrong."""

import numpy as np
import pytest
import torch

from gfnet_bench.attacks.pgd import PGD
from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.evaluate import evaluate, evaluate_all, out_of_memory, precision, to_pixels

N, SIDE, CLASSES = 13, 8, 7


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
    predictions, _ = evaluate(network, images, LABELS, IDS, batch_size=5)
    logits = network(torch.tensor(images).permute(0, 3, 1, 2) / 255).double().numpy()
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_array_equal(predictions.top5, np.argsort(-logits, axis=1)[:, :5])
    np.testing.assert_allclose(predictions.confidence, probabilities.max(1), rtol=1e-5)
    np.testing.assert_allclose(predictions.nll, -np.log(probabilities[np.arange(N), LABELS]), rtol=1e-5)
    assert predictions.ids == tuple(IDS)


@pytest.mark.parametrize("batch_size", [1, 2, 4, 100])
@pytest.mark.parametrize("attack", [None, PGD(8 / 255)])
def test_batch_size_does_not_matter(images, network, batch_size, attack):
    whole, _ = evaluate(network, images, LABELS, IDS, attack=attack, batch_size=N)
    split, used = evaluate(network, images, LABELS, IDS, attack=attack, batch_size=batch_size)
    np.testing.assert_array_equal(split.top5, whole.top5)
    np.testing.assert_allclose(split.nll, whole.nll, rtol=1e-5)
    assert used == min(batch_size, N)


def test_order_does_not_matter(images, network):
    attack = PGD(8 / 255)
    there, _ = evaluate(network, images, LABELS, IDS, attack=attack, batch_size=4)
    back, _ = evaluate(network, images[::-1], LABELS[::-1], IDS[::-1], attack=attack, batch_size=4)
    np.testing.assert_allclose(back.nll[::-1], there.nll, rtol=1e-5)


def test_seed_changes_the_attack_and_nothing_else(images, network):
    def nll(seed, attack):
        return evaluate(network, images, LABELS, IDS, attack=attack, seed=seed)[0].nll

    assert np.array_equal(nll(0, None), nll(1, None))
    assert not np.array_equal(nll(0, PGD(8 / 255)), nll(1, PGD(8 / 255)))


def test_only_the_classes_that_count_are_predicted(images, network):
    classes = (1, 2, 4, 5, 6)
    labels = np.array(classes)[np.arange(N) % 5]
    predictions, _ = evaluate(network, images, labels, IDS, classes=classes)
    logits = network(to_pixels(images, torch.device("cpu"))).numpy()
    logits[:, [0, 3]] = -np.inf
    np.testing.assert_array_equal(predictions.top5, np.argsort(-logits, axis=1)[:, :5])
    shifted = np.exp(logits)
    np.testing.assert_allclose(predictions.nll, -np.log(shifted[np.arange(N), labels] / shifted.sum(1)), rtol=1e-5)


def test_out_of_memory_halves_the_batch_and_loses_nothing(images, network):
    sizes = []

    def hungry(x):
        sizes.append(len(x))
        if len(x) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network(x)

    expected, _ = evaluate(network, images, LABELS, IDS)
    predictions, used = evaluate(hungry, images, LABELS, IDS, batch_size=12)
    np.testing.assert_array_equal(predictions.top5, expected.top5)
    assert used == 3 and sizes[:3] == [12, 6, 3]


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


def test_no_images_is_an_error(images, network):
    with pytest.raises(GfnetBenchError, match="no images"):
        evaluate(network, images[:0], LABELS[:0], [])


def test_float32_means_float32_and_settings_are_put_back():
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    with precision("float32", torch.device("cpu")):
        assert not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32
    with precision("tf32", torch.device("cpu")):
        assert torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32
    assert before == (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    with pytest.raises(GfnetBenchError, match="dtype must be"), precision("float8", torch.device("cpu")):
        pass


def test_bfloat16_scores_differ_but_not_by_much(images, network):
    exact, _ = evaluate(network, images, LABELS, IDS)
    half, _ = evaluate(network, images, LABELS, IDS, dtype="bfloat16")
    assert not np.array_equal(half.nll, exact.nll)
    np.testing.assert_allclose(half.nll, exact.nll, atol=0.05)


@pytest.mark.gpu
def test_cuda_gives_the_cpus_predictions(images, network):
    attack = PGD(8 / 255)
    on_cpu, _ = evaluate(network, images, LABELS, IDS, attack=attack)
    on_gpu, _ = evaluate(network.cuda(), images, LABELS, IDS, attack=attack, device="cuda")
    network.cpu()
    np.testing.assert_array_equal(on_gpu.top5, on_cpu.top5)
    np.testing.assert_allclose(on_gpu.nll, on_cpu.nll, rtol=1e-4)
