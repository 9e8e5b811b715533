"""Random numbers keyed by image: the generator is SplitMix64 to the letter, and uniform to the eye."""

import numpy as np
import pytest
import torch

from gfnet_bench.randomness import bits, image_seeds, uniform


def splitmix64(seed, count):
    """Steele et al. 2014, in plain Python integers."""
    mask, out, state = (1 << 64) - 1, [], seed
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        out.append((z ^ (z >> 31)) >> 40)
    return out


@pytest.mark.parametrize("seed", [0, 1, 2**62 + 12345, 2**63 - 1])
def test_generator_is_splitmix64(seed):
    numbers = uniform(torch.tensor([seed]), (20,))[0]
    assert (numbers * 2**24).long().tolist() == splitmix64(seed, 20)


def test_reference_values_of_splitmix64():
    # The first outputs for seed 1234567 that public test vectors give, upper 24 bits.
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert (uniform(torch.tensor([1234567]), (3,))[0] * 2**24).long().tolist() == [x >> 40 for x in published]


def test_bits_are_all_64_from_any_place_on():
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [x % 2**64 for x in bits(torch.tensor([1234567]), 3)[0].tolist()] == published
    assert [x % 2**64 for x in bits(torch.tensor([1234567]), 1, start=2)[0].tolist()] == published[2:]


def test_streams_continue_where_the_one_before_ends():
    seeds = torch.tensor([5, 6])
    both = torch.cat([uniform(seeds, (4,)), uniform(seeds, (4,), stream=1)], dim=1)
    assert torch.equal(both, uniform(seeds, (8,)))


def test_an_image_does_not_depend_on_its_batch():
    seeds = image_seeds(["a", "b", "c"], 0, "pgd")
    together = uniform(seeds, (3, 8, 8))
    assert torch.equal(uniform(seeds[1:2], (3, 8, 8))[0], together[1])


def test_seeds_depend_on_id_and_salt_and_on_nothing_else():
    assert torch.equal(image_seeds(["a", "b"], 0, "pgd"), image_seeds(["b", "a"], 0, "pgd").flip(0))
    different = {int(image_seeds([i], *salt)) for i in ("a", "b") for salt in ((0, "pgd"), (1, "pgd"), (0, "fgsm"))}
    assert len(different) == 6
    assert min(different) >= 0


def test_numbers_are_uniform():
    numbers = uniform(image_seeds([str(i) for i in range(64)], 0), (4096,)).double().numpy()
    n = numbers.size
    assert abs(numbers.mean() - 1 / 2) < 5 * np.sqrt(1 / 12 / n)
    counts = np.histogram(numbers, bins=64, range=(0, 1))[0]
    chi2 = ((counts - n / 64) ** 2 / (n / 64)).sum()
    assert chi2 < 63 + 5 * np.sqrt(2 * 63)  # 63 degrees of freedom
    between = np.corrcoef(numbers)[np.triu_indices(64, 1)]
    assert abs(between).max() < 6 / np.sqrt(4096)


@pytest.mark.gpu
def test_cuda_draws_the_same_numbers():
    seeds = image_seeds(["a", "b"], 0)
    assert torch.equal(uniform(seeds.cuda(), (3, 32, 32)).cpu(), uniform(seeds, (3, 32, 32)))
