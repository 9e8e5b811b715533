"""Random numbers have the laws they claim, and the noises are imagecorruptions' with the same numbers."""

import math

import numpy as np
import pytest
import torch

from gfnet_bench.corruptions.base import apply
from gfnet_bench.corruptions.draws import CounterDraws
from gfnet_bench.corruptions.poisson import poisson_table
from gfnet_bench.corruptions.reference import NumpyDraws, corrupt_reference
from gfnet_bench.randomness import bits, image_seeds

CPU = torch.device("cpu")
SCALES = {  # imagecorruptions
    "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
    "speckle_noise": (0.15, 0.2, 0.35, 0.45, 0.6),
    "shot_noise": (60, 25, 12, 5, 3),
    "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),
}


def seeds(n):
    return image_seeds([str(i) for i in range(n)], "test")


def five_sigma(counts, law):
    """Whether counts are a sample of the law: chi-square, classes of few lumped together, within 5 deviations."""
    expected = np.asarray(law, dtype=float) * counts.sum()
    few = expected < 20
    counts, expected = np.append(counts[~few], counts[few].sum()), np.append(expected[~few], expected[few].sum())
    assert counts[expected == 0].sum() == 0
    counts, expected = counts[expected > 0], expected[expected > 0]
    freedom = len(counts) - 1
    chi2 = ((counts - expected) ** 2 / expected).sum()
    # The lumped class may expect less than one count, which then weighs more than in a chi-square: 10 more for it.
    return chi2 < freedom + 5 * math.sqrt(2 * freedom) + 10


def poisson_law(mean, size):
    """Probabilities of 0 to size - 1, each from the one before."""
    law = [-mean]
    for k in range(1, size):
        law.append(law[-1] + math.log(mean) - math.log(k) if mean else -math.inf)
    return np.exp(law)


def test_calls_read_on_where_the_last_one_ended():
    draws, key = CounterDraws(seeds(2)), seeds(2)
    words = (bits(key, 7).view(torch.int32).long() + (1 << 31)) >> 1
    assert torch.equal(draws.integers(0, 1 << 31, (3, 2)).flatten(1), words[:, :6])
    assert torch.equal(draws.integers(0, 1 << 31, (5,)), words[:, 6:11])  # half an output is left over, and lost
    assert torch.equal(draws.integers(0, 1 << 31, (2,)), words[:, 12:])


@pytest.mark.parametrize("kind", ["uniform", "normal", "integers", "poisson"])
def test_a_stream_does_not_depend_on_the_others(kind):
    def take(key):
        draws, levels = CounterDraws(key), torch.full((len(key), 5), 99, dtype=torch.uint8)
        calls = {
            "uniform": lambda: draws.uniform(-1, 1, (5,)),
            "normal": lambda: draws.normal((5,)),
            "integers": lambda: draws.integers(-3, 4, (5,)),
            "poisson": lambda: draws.poisson(levels, 60),
        }
        return torch.cat([calls[kind](), calls[kind]()], dim=1)

    assert torch.equal(take(seeds(4))[2:3], take(seeds(4)[2:3]))


def test_uniform_and_normal_numbers():
    draws = CounterDraws(seeds(32))
    uniform, normal = draws.uniform(-45, 45, (20001,)), draws.normal((20001,))
    assert uniform.min() >= -45 and uniform.max() < 45
    for shares in ((uniform + 45) / 90, torch.special.ndtr(normal.double())):
        assert five_sigma(np.histogram(shares, bins=100, range=(0, 1))[0], np.full(100, 0.01))
    n = normal.numel()
    for moment, value, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(float((normal.double() ** moment).mean()) - value) < 5 * math.sqrt(variance / n)
    beyond = torch.special.erfc(torch.tensor(4 / math.sqrt(2))).item() * n
    assert abs(int((normal.abs() > 4).sum()) - beyond) < 5 * math.sqrt(beyond) + 1
    # Neighbours, the next call, and other images, even of the next seed, know nothing of one another.
    close = CounterDraws(torch.arange(32)).normal((20001,))
    rows = torch.cat([uniform, normal, uniform.roll(1, 1), close]).double()
    correlation = torch.corrcoef(rows).triu(1)
    assert correlation.abs().max() < 6.5 / math.sqrt(20001)


def test_integers():
    numbers = CounterDraws(seeds(8)).integers(-2, 5, (3, 5001))
    assert numbers.dtype == torch.int64 and numbers.shape == (8, 3, 5001)
    assert five_sigma(np.bincount(numbers.flatten() + 2), np.full(7, 1 / 7))


@pytest.mark.parametrize("scale", [3, 12, 60, 500])
def test_poisson_table_holds_the_exact_law(scale):
    table, width = poisson_table(scale, CPU)
    size, rest = 1 << width, 32 - width
    entries = table.view(256, size).long() & 0xFFFFFFFF
    stays, alias = entries & ((1 << rest) - 1), entries >> rest
    weights = stays.clone().scatter_add_(1, alias, (1 << rest) - stays)  # in units of 2**-32
    assert (weights.sum(1) == 1 << 32).all()
    for level in (0, 1, 2, 77, 128, 254, 255):
        law = poisson_law(level / 255 * scale, size)
        difference = np.abs(weights[level].numpy() * 2.0**-32 - law)
        assert law.sum() > 1 - 2.0**-33
        assert np.sort(difference)[-2] <= 2.0**-32  # the rounding of all others is added to the most probable number
        assert difference.max() <= size * 2.0**-33


@pytest.mark.parametrize("scale", [3, 60, 500])
def test_poisson_numbers(scale):
    levels = torch.tensor([0, 1, 40, 200, 255], dtype=torch.uint8)[None, :, None].expand(2, 5, 10001)
    numbers = CounterDraws(seeds(2)).poisson(levels, scale)
    assert numbers.shape == levels.shape
    for i, level in enumerate((0, 1, 40, 200, 255)):
        counts = np.bincount(numbers[:, i].flatten(), minlength=1024)
        assert five_sigma(counts, poisson_law(level / 255 * scale, len(counts)))


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("name", ["gaussian_noise", "speckle_noise", "shot_noise"])
def test_same_bytes_as_imagecorruptions(name, severity):
    pytest.importorskip("imagecorruptions")
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 57, 3), dtype=np.uint8)
    images[1] = np.linspace(0, 255, 64, dtype=np.uint8)[:, None, None]
    wanted = corrupt_reference(images, name, severity, [3, 4])
    ours = apply(
        torch.from_numpy(images).permute(0, 3, 1, 2),
        name,
        severity,
        recipe="imagecorruptions",
        draws=NumpyDraws([3, 4]),
    )
    difference = np.abs(ours.permute(0, 2, 3, 1).numpy().astype(int) - wanted)
    assert difference.max() <= 1
    assert (difference == 0).mean() >= 0.999


def output_law(name, level, scale):
    """Probabilities of the 256 levels that one level may become."""
    if name == "impulse_noise":
        law = np.zeros(256)
        law[[0, 255]] = scale / 2
        law[level] += 1 - scale
    elif name == "shot_noise":
        arrived = poisson_law(level / 255 * scale, 1024)
        law = np.bincount((np.clip(np.arange(1024) / scale, 0, 1) * 255).astype(int), weights=arrived, minlength=256)
    else:
        deviation = 255 * scale if name == "gaussian_noise" else level * scale
        if deviation == 0:
            return np.eye(256)[level]
        below = [0.5 * math.erfc(-(edge - level) / deviation / math.sqrt(2)) for edge in range(1, 256)]
        law = np.diff(np.array([0.0, *below, 1.0]))
    return law


@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("name", SCALES)
def test_every_level_becomes_what_the_law_says(name, severity):
    levels = (0, 30, 128, 255)
    images = torch.tensor(levels, dtype=torch.uint8)[:, None, None, None].expand(4, 3, 64, 96)
    noisy = apply(images, name, severity, recipe="imagecorruptions", draws=CounterDraws(seeds(4)))
    for image, level in zip(noisy, levels, strict=True):
        counts = np.bincount(image.flatten(), minlength=256)
        assert five_sigma(counts, output_law(name, level, SCALES[name][severity - 1]))


def test_impulse_noise_changes_as_many_bytes_as_imagecorruptions():
    pytest.importorskip("imagecorruptions")
    images = np.full((2, 64, 64, 3), 100, dtype=np.uint8)
    n = images.size
    for severity, amount in enumerate(SCALES["impulse_noise"], start=1):
        theirs = corrupt_reference(images, "impulse_noise", severity, [0, 1])
        ours = apply(
            torch.from_numpy(images).permute(0, 3, 1, 2),
            "impulse_noise",
            severity,
            recipe="imagecorruptions",
            draws=CounterDraws(seeds(2)),
        ).numpy()
        for level in (0, 255):
            difference = (theirs == level).sum() - (ours == level).sum()
            assert abs(difference) < 5 * math.sqrt(2 * n * amount / 2)


@pytest.mark.parametrize("name", SCALES)
def test_noise_is_white(name):
    """Equal power in every ring of the spectrum, and none shared by the channels."""
    images = torch.full((4, 3, 64, 64), 128, dtype=torch.uint8)
    noise = apply(images, name, 3, recipe="imagecorruptions", draws=CounterDraws(seeds(4))).double() - 128
    noise -= noise.mean((2, 3), keepdim=True)
    power = torch.fft.fft2(noise).abs().square().mean((0, 1))
    side = torch.fft.fftfreq(64, dtype=torch.float64)
    radius = (side[:, None].square() + side.square()).sqrt()
    rings = [power[(radius > low) & (radius <= low + 0.1)] for low in (0.0, 0.1, 0.2, 0.3, 0.4)]
    for ring in rings:
        # Each frequency of 12 planes is exponential, and its opposite the same.
        assert abs(ring.mean() / power.mean() - 1) < 5 / math.sqrt(12 * len(ring) / 2)
    assert torch.corrcoef(noise.flatten(2).flatten(0, 1)).triu(1).abs().max() < 5.5 / 64


@pytest.mark.parametrize("name", SCALES)
def test_neither_memory_layout_nor_batch_matter(name):
    images = torch.randint(0, 256, (3, 3, 33, 41), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    key = seeds(3)

    def corrupted(images, key):
        return apply(images, name, 2, recipe="imagenet_c", draws=CounterDraws(key))

    together = corrupted(images, key)
    assert together.dtype == torch.uint8 and together.shape == images.shape
    assert torch.equal(corrupted(images.contiguous(memory_format=torch.channels_last), key), together)
    assert torch.equal(corrupted(images[1:2], key[1:2]), together[1:2])


@pytest.mark.gpu
def test_cuda_draws_the_same_numbers():
    cpu, gpu = CounterDraws(seeds(2)), CounterDraws(seeds(2).cuda())
    levels = torch.arange(256, dtype=torch.uint8).expand(2, 33, 256)
    assert torch.equal(gpu.integers(-5, 9, (1001,)).cpu(), cpu.integers(-5, 9, (1001,)))
    for scale in (3, 60, 500):
        assert torch.equal(gpu.poisson(levels.cuda(), scale).cpu(), cpu.poisson(levels, scale))
    torch.testing.assert_close(gpu.uniform(-1, 1, (1001,)).cpu(), cpu.uniform(-1, 1, (1001,)))
    torch.testing.assert_close(gpu.normal((100001,)).cpu(), cpu.normal((100001,)), rtol=1e-4, atol=1e-6)
