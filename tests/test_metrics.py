from __future__ import annotations

import math

import numpy as np
import pytest

from gfnet_bench import metrics
from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.published import alexnet, corruptions

TOP5 = np.array([[3, 1, 2, 4, 5], [1, 3, 2, 4, 5], [5, 4, 2, 1, 3], [0, 1, 2, 4, 5]])
LABELS = np.array([3, 3, 3, 3])


def predictions() -> metrics.Predictions:
    confidence = np.array([0.95, 0.95, 0.55, 0.55], dtype=np.float32)
    return metrics.Predictions(
        TOP5, confidence, np.array([0.1, 1.0, 2.0, 3.0], dtype=np.float32), LABELS, tuple("abcd")
    )


@pytest.mark.parametrize(("k", "expected"), [(1, 0.25), (2, 0.5), (4, 0.5), (5, 0.75)])
def test_top_k(k, expected):
    assert metrics.top_k(TOP5, LABELS, k) == expected


def test_real_accuracy_takes_any_answer_and_leaves_out_images_without():
    answers = [(3,), (7, 1), (), (9,)]
    assert metrics.real_correct(TOP5[:, 0], answers).tolist() == [1, 1, -1, 0]
    assert metrics.real_accuracy(TOP5[:, 0], answers) == pytest.approx(2 / 3)
    with pytest.raises(GfnetBenchError, match="expected images with ReaL labels"):
        metrics.real_accuracy([1, 2], [(), ()])


def test_calibration_error_by_hand():
    # Bins of 1/15: 0.95 is in the 15th, 0.55 in the 9th. Gaps |1 + 0 - 1.9| and |1 + 1 - 1.1|, over four images.
    assert metrics.calibration_error([0.95, 0.95, 0.55, 0.55], [1, 0, 1, 1]) == pytest.approx((0.9 + 0.9) / 4)
    # One bin: opposite errors cancel.
    assert metrics.calibration_error([0.6, 0.4], [0, 1], bins=1) == pytest.approx(0)


def test_a_bin_holds_its_upper_edge():
    # With two bins 0.5 belongs to the lower one, where it joins 0.3.
    assert metrics.calibration_error([0.5, 0.3], [1, 0], bins=2) == pytest.approx(abs(1 - 0.8) / 2)


def test_scores_of_a_pass():
    values = metrics.scores(predictions())
    # The only image that is right is one of the two at 0.95: gaps |1 - 1.9| and |0 - 1.1|.
    expected = {"top1": 0.25, "top5": 0.75, "images": 4, "nll": 6.1 / 4, "ece": (0.9 + 1.1) / 4}
    assert values == pytest.approx(expected)
    assert all(type(value) in (int, float) for value in values.values())


def test_scores_with_answers_are_all_about_the_images_that_have_one():
    values = metrics.scores(predictions(), answers=[(3,), (1,), (), ()])
    assert (values["images"], values["real"], values["top1"], values["top5"]) == (2, 1.0, 0.5, 1.0)


def test_arrays_there_and_back():
    before = predictions()
    arrays = metrics.to_arrays(before, answers=[(3,), (7,), (), (0,)])
    assert {name: a.dtype.str[1:] for name, a in arrays.items()} == {
        "top5": "i2", "confidence": "f4", "nll": "f4", "labels": "i2", "real": "i1",
    }  # fmt: skip
    assert arrays["real"].tolist() == [1, 0, -1, 1]
    after = metrics.from_arrays(arrays, before.ids)
    for a, b in zip(before, after, strict=True):
        assert np.array_equal(a, b)
    assert "real" not in metrics.to_arrays(before)


def test_ids_sha256_knows_order_and_content():
    assert metrics.ids_sha256(["a", "b"]) == metrics.ids_sha256(("a", "b"))
    assert len({metrics.ids_sha256(ids) for ids in (["a", "b"], ["b", "a"], ["ab"], ["a"])}) == 4


ERRORS = {"fog": (0.2, 0.3, 0.4, 0.5, 0.6), "snow": (0.1, 0.1, 0.2, 0.2, 0.4)}
REFERENCE = {"fog": (0.7, 0.7, 0.8, 0.9, 0.9), "snow": (0.5, 0.5, 0.5, 0.5, 0.5)}


def test_mce_of_two_corruptions_by_hand():
    assert metrics.corruption_error(ERRORS["fog"], REFERENCE["fog"]) == pytest.approx(100 * 2.0 / 4.0)
    assert metrics.mce(ERRORS, REFERENCE) == pytest.approx((50 + 40) / 2)
    # The mean of the reference stands for its severities.
    assert metrics.corruption_error(ERRORS["fog"], [0.8]) == pytest.approx(50)


def test_relative_mce_by_hand():
    # Mean errors 0.4 and 0.2, clean 0.1; reference 0.8 and 0.5, clean 0.3.
    assert metrics.relative_mce(ERRORS, 0.1, REFERENCE, 0.3) == pytest.approx(100 * (0.3 / 0.5 + 0.1 / 0.2) / 2)


def test_alexnet_has_a_hundred_of_itself():
    reference = alexnet()
    own = {name: reference.errors[name] for name in corruptions()}
    assert len(own) == 15
    assert metrics.mce(own, reference.errors) == pytest.approx(100)
    assert metrics.relative_mce(own, reference.clean, reference.errors, reference.clean) == pytest.approx(100)


def test_what_the_images_add_averages_to_mce():
    rng = np.random.default_rng(0)
    outcomes = {name: rng.random((5, 40)) < 0.4 for name in ERRORS}  # (severity, image) wrong
    errors = {name: o.mean(axis=1).tolist() for name, o in outcomes.items()}
    by_image = metrics.mce_by_image({name: o.mean(axis=0) for name, o in outcomes.items()}, REFERENCE)
    assert by_image.shape == (40,)
    assert by_image.mean() == pytest.approx(metrics.mce(errors, REFERENCE))


def test_interval_of_mce_agrees_with_a_bootstrap_over_images():
    rng = np.random.default_rng(1)
    hard = rng.random(500)
    wrong = {name: (hard[None] + 0.5 * rng.random((5, 500)) > 0.9).mean(axis=0) for name in ERRORS}
    by_image = metrics.mce_by_image(wrong, REFERENCE)
    interval = metrics.mean_interval(by_image)
    resampled = [
        np.mean([100 * w[rows].mean() / np.mean(REFERENCE[name]) for name, w in wrong.items()])
        for rows in rng.integers(0, 500, (2000, 500))
    ]
    assert interval == pytest.approx(
        tuple(np.quantile(resampled, [0.025, 0.975])), abs=0.1 * (interval[1] - interval[0])
    )
    errors = {name: [float(w.mean())] * 5 for name, w in wrong.items()}
    bound = metrics.mce_interval_bound(errors, REFERENCE, 500)
    assert bound.low <= interval.low
    assert bound.high >= interval.high


def test_bound_is_reached_when_every_cell_fails_on_the_same_images():
    wrong = np.array([1.0] * 30 + [0.0] * 70)
    exact = metrics.mean_interval(metrics.mce_by_image({"fog": wrong, "snow": wrong}, REFERENCE))
    errors = {"fog": [0.3] * 5, "snow": [0.3] * 5}
    bound = metrics.mce_interval_bound(errors, REFERENCE, 100)
    assert (exact.high - exact.low) == pytest.approx((bound.high - bound.low) * math.sqrt(100 / 99))


def test_mean_interval_by_hand():
    # Sample variance of 0, 2 is 2, so the standard error is 1.
    assert metrics.mean_interval([0, 2]) == pytest.approx((1 - metrics.Z, 1 + metrics.Z))


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_of_newcombe_1998(correct, n, low, high):
    assert metrics.wilson_interval(correct, n) == pytest.approx((low, high), abs=5e-5)
    mirrored = metrics.wilson_interval(n - correct, n)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_mcnemar_by_hand():
    # 1 against 7: P(0) = 1/256 and P(1) = 8/256, so the mid-p is 2 * 1/256 + 8/256 (Fagerland et al. 2013 print 0.039).
    assert metrics.mcnemar_p(1, 7) == pytest.approx(10 / 256)
    assert metrics.mcnemar_p(7, 1) == metrics.mcnemar_p(1, 7)
    assert metrics.mcnemar_p(0, 0) == 1.0
    assert metrics.mcnemar_p(5, 5) == pytest.approx(1.0)


@pytest.mark.parametrize(("b", "c"), [(0, 6), (12, 2), (3, 40), (310, 250), (4000, 4400)])
def test_mcnemar_against_scipy(b, c):
    stats = pytest.importorskip("scipy.stats")
    exact = stats.binomtest(b, b + c).pvalue
    assert metrics.mcnemar_p(b, c) == pytest.approx(exact - stats.binom.pmf(min(b, c), b + c, 0.5), rel=1e-8)


def test_compare_by_hand():
    first = np.array([True] * 1 + [True] * 1 + [False] * 7 + [False] * 12)
    second = np.array([True] * 1 + [False] * 1 + [True] * 7 + [False] * 12)
    paired = metrics.compare(first, second)
    assert (paired.only_first, paired.only_second) == (1, 7)
    assert paired.difference == pytest.approx(-6 / 21)
    # p = 2/23 and q = 8/23: -6/23 -+ z * sqrt((10/23 - (6/23)^2) / 23).
    half = 1.959964 * math.sqrt((10 / 23 - 36 / 529) / 23)
    assert paired.interval == pytest.approx((-6 / 23 - half, -6 / 23 + half), abs=1e-6)
    assert paired.p == pytest.approx(10 / 256)
    swapped = metrics.compare(second, first)
    assert swapped.interval == pytest.approx((-paired.interval.high, -paired.interval.low))


def test_interval_of_a_paired_difference_covers_the_truth_about_19_times_in_20():
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(1000):
        u = rng.random(200)
        paired = metrics.compare(u < 0.7, (u > 0.1) & (u < 0.75))  # 0.7 against 0.65, 0.1 and 0.05 of it discordant
        covered += paired.interval.low <= 0.05 <= paired.interval.high
    assert 930 <= covered <= 985
