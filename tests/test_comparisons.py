from __future__ import annotations

import math

import numpy as np
import pytest

from gfnet_bench import metrics


def test_holm_by_hand():
    # In order: 4 * 0.005, 3 * 0.01, 2 * 0.03, and 1 * 0.04, which is no less than the one before.
    assert metrics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert metrics.holm([0.6, 0.9]) == [1.0, 1.0] and metrics.holm([]) == []


@pytest.mark.parametrize(("n", "discordance"), [(300, 0.2), (1000, 0.075), (400, 0.0)])
def test_the_smallest_difference_is_shown_four_times_in_five_by_the_exact_power_of_the_test(n, discordance):
    stats = pytest.importorskip("scipy.stats")
    smallest = metrics.smallest_difference(n, discordance)
    q = max(discordance, smallest)  # a difference is itself disagreement
    again = (metrics.Z * math.sqrt(q) + 0.841621 * math.sqrt(q - smallest**2)) ** 2 / smallest**2
    assert again == pytest.approx(n, rel=1e-5)  # the number of images that Connor 1987 asks for

    def power(difference: float) -> float:
        found = 0.0
        for m in range(1, n + 1):
            if (chance := stats.binom.pmf(m, n, q)) > 1e-6:
                shown = [metrics.mcnemar_p(b, m - b) < 0.05 for b in range(m + 1)]
                found += chance * stats.binom.pmf(np.arange(m + 1), m, (1 + difference / q) / 2)[shown].sum()
        return found

    assert 0.79 < power(smallest) < 0.91  # the exact test of few disagreements has more than the formula says
    assert power(0.7 * smallest) < 0.75
    assert metrics.smallest_difference(3, 0.1) is None


def test_the_smallest_difference_of_a_mean_is_so_many_standard_errors():
    d = metrics.Difference(2.0, metrics.Interval(2 - 1.959964, 2 + 1.959964), 0.0455)  # a standard error of 1
    assert metrics.smallest_shown(d, 100) == pytest.approx(1.959964 + 0.841621)
    counted = metrics.Difference(-1.0, metrics.Interval(-2, 0), 0.2, 32, 43)
    assert metrics.smallest_shown(counted, 1000, 100) == pytest.approx(100 * metrics.smallest_difference(1000, 0.075))


def apart(k: int, *pairs: tuple[int, int]) -> np.ndarray:
    found = np.zeros((k, k), dtype=bool)
    for i, j in pairs:
        found[i, j] = found[j, i] = True
    return found


def test_letters_by_hand():
    assert metrics.letters(apart(3, (0, 2))) == ["a", "ab", "b"]  # not told apart is not transitive
    assert metrics.letters(apart(3)) == ["a", "a", "a"]
    assert metrics.letters(apart(3, (0, 1), (0, 2), (1, 2))) == ["a", "b", "c"]
    many = metrics.letters(~np.eye(30, dtype=bool))  # more than there are letters
    assert many == [str(i + 1) for i in range(30)]


def test_two_share_a_letter_exactly_where_they_are_not_told_apart():
    rng = np.random.default_rng(0)
    for k in (2, 5, 9):
        for _ in range(30):
            upper = np.triu(rng.random((k, k)) < rng.random(), 1)
            found = metrics.letters(upper | upper.T)
            assert all(upper[i, j] == (not set(found[i]) & set(found[j])) for i in range(k) for j in range(i + 1, k))
