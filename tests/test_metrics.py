from __future__ import annotations

import math

import numpy as np
import pytest

from gfnet_bench import metrics
from gfnet_bench.errors import GfnetBenchError, MissingError, UsageError
from gfnet_bench.published import alexnet, corruptions

TOP5 = np.array([[3, 1, 2, 4, 5], [1, 3, 2, 4, 5], [5, 4, 2, 1, 3], [0, 1, 2, 4, 5]])
LABELS = np.array([3, 3, 3, 3])


def predictions() -> metrics.Predictions:
    confidence = np.array([0.95, 0.95, 0.55, 0.55], dtype=np.float32)
    return metrics.Predictions(
        TOP5, confidence, np.array([0.1, 1.0, 2.0, 3.0], dtype=np.float32), LABELS, tuple("abcd")
    )


@pytest.mark.parametrize(("k", "expected"), [(1, 0.25), (2, 0.5), (4, 0.5), (5, 0.75)])
def test_among_the_first_classes(k, expected):
    assert metrics.is_correct(TOP5, LABELS, k).mean() == expected


def test_real_accuracy_takes_any_answer_and_leaves_out_images_without():
    answers = [(3,), (7, 1), (), (9,)]
    assert metrics.real_correct(TOP5[:, 0], answers).tolist() == [1, 1, -1, 0]
    assert metrics.scores(predictions(), answers)["real"] == pytest.approx(2 / 3)
    with pytest.raises(GfnetBenchError, match="expected images with ReaL labels"):
        metrics.scores(predictions(), [()] * 4)


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


def test_arrays_kept_beside_a_record():
    before = predictions()
    arrays = metrics.to_arrays(before, answers=[(3,), (7,), (), (0,)])
    assert {name: a.dtype.str[1:] for name, a in arrays.items()} == {
        "top5": "i2", "confidence": "f4", "nll": "f4", "labels": "i2", "real": "i1",
    }  # fmt: skip
    assert arrays["real"].tolist() == [1, 0, -1, 1]
    for name in ("top5", "confidence", "nll", "labels"):
        assert np.array_equal(arrays[name], getattr(before, name))
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


MEANS = {name: float(np.mean(errors)) for name, errors in REFERENCE.items()}


def test_what_the_images_add_averages_to_mce():
    rng = np.random.default_rng(0)
    outcomes = {name: rng.random((5, 40)) < 0.4 for name in ERRORS}  # (severity, image) wrong
    errors = {name: o.mean(axis=1).tolist() for name, o in outcomes.items()}
    wrong = {name: o.mean(axis=0) for name, o in outcomes.items()}
    by_image = metrics.mce_by_image(wrong, MEANS)
    assert by_image.shape == (40,)
    assert by_image.mean() == pytest.approx(metrics.mce(errors, REFERENCE))
    # The same where the reference is measured: the mean is the ratio of the means, not the mean of ratios.
    others = {name: (rng.random((5, 40)) < 0.6).mean(axis=0) for name in ERRORS}
    measured = metrics.mce_by_image(wrong, others)
    assert measured.mean() == pytest.approx(metrics.mce(errors, {name: [w.mean()] for name, w in others.items()}))
    assert np.allclose(metrics.mce_by_image(others, others), 100)  # a network relative to itself is certain


def population(n: int, seed: int) -> tuple[dict[str, np.ndarray], ...]:
    """Shares of severities at which a model and its reference are wrong, on images that both find hard; and clean."""
    rng = np.random.default_rng(seed)
    hard = rng.random(n)

    def wrong(skill: float) -> np.ndarray:
        return (hard[None] + 0.5 * rng.random((5, n)) > skill).mean(axis=0)

    model = {name: wrong(skill) for name, skill in zip(ERRORS, (0.9, 1.0), strict=True)}
    reference = {name: wrong(skill) for name, skill in zip(ERRORS, (0.8, 0.95), strict=True)}
    clean, reference_clean = ((hard + 0.5 * rng.random(n) > 1.3).astype(float) for _ in range(2))
    added = {name: w - clean for name, w in model.items()}, {name: w - reference_clean for name, w in reference.items()}
    return model, reference, *added


def rows_of(shares: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    return {name: w[rows] for name, w in shares.items()}


def ratio(model: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> float:
    return float(np.mean([100 * w.mean() / reference[name].mean() for name, w in model.items()]))


@pytest.mark.parametrize("relative", [False, True])
def test_interval_of_a_measured_ratio_is_that_of_a_bootstrap_with_the_reference_in_it(relative):
    model, reference = population(1000, 1)[2 * relative :][:2]
    by_image = metrics.mce_by_image(model, reference)
    found = (metrics.mean_interval if relative else metrics.positive_mean_interval)(by_image)
    rng = np.random.default_rng(2)
    drawn = [ratio(rows_of(model, k), rows_of(reference, k)) for k in rng.integers(0, 1000, (1500, 1000))]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert found == pytest.approx((low, high), abs=0.1 * (high - low))
    if not relative:  # a reference taken for a constant makes it far too wide
        constant = metrics.mean_interval(metrics.mce_by_image(model, {name: w.mean() for name, w in reference.items()}))
        assert constant.high - constant.low > 1.3 * (high - low)


@pytest.mark.parametrize("n", [100, 400])
@pytest.mark.parametrize("relative", [False, True])
def test_interval_of_a_measured_ratio_covers_the_truth_about_19_times_in_20(n, relative):
    model, reference = population(20_000, 3)[2 * relative :][:2]
    truth, rng, covered = ratio(model, reference), np.random.default_rng(4), 0
    for rows in rng.integers(0, 20_000, (600, n)):
        by_image = metrics.mce_by_image(rows_of(model, rows), rows_of(reference, rows))
        low, high = (metrics.mean_interval if relative else metrics.positive_mean_interval)(by_image)
        covered += low <= truth <= high
    assert 0.93 <= covered / 600 <= 0.97


def test_interval_of_mce_with_a_constant_reference_agrees_with_a_bootstrap():
    model = population(500, 5)[0]
    interval = metrics.positive_mean_interval(metrics.mce_by_image(model, MEANS))
    drawn = [
        np.mean([100 * w[rows].mean() / MEANS[name] for name, w in model.items()])
        for rows in np.random.default_rng(6).integers(0, 500, (2000, 500))
    ]
    assert interval == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.1 * (interval[1] - interval[0]))
    ends = {name: metrics.wilson_interval(w.mean() * 500, 500) for name, w in model.items()}
    bound = metrics.bound_of_ratios(ends, {name: metrics.Interval(r, r) for name, r in MEANS.items()})
    assert bound.low < interval.low and bound.high > interval.high


def test_bound_of_ratios_by_hand():
    tops = {"fog": metrics.Interval(0.2, 0.4), "snow": metrics.Interval(-0.1, 0.1)}
    bottoms = {"fog": metrics.Interval(0.4, 0.5), "snow": metrics.Interval(0.2, 0.5)}
    # fog: 0.2 / 0.5 to 0.4 / 0.4; snow: -0.1 / 0.2 to 0.1 / 0.2.
    assert metrics.bound_of_ratios(tops, bottoms) == pytest.approx((100 * (0.4 - 0.5) / 2, 100 * (1 + 0.5) / 2))
    assert metrics.bound_of_ratios(tops, {**bottoms, "snow": metrics.Interval(0.0, 0.5)}) is None


def test_mean_interval_by_hand():
    # Sample variance of 0, 2 is 2, so the standard error is 1.
    assert metrics.mean_interval([0, 2]) == pytest.approx((1 - metrics.Z, 1 + metrics.Z))
    assert metrics.positive_mean_interval([0, 2]) == pytest.approx((math.exp(-metrics.Z), math.exp(metrics.Z)))
    assert metrics.mean_interval([1.0]) is None and metrics.positive_mean_interval([0.0, 0.0]) is None


def test_interval_of_one_pass_is_wilsons_and_many_passes_are_no_more_images():
    right = np.arange(40) < 33
    assert metrics.share_interval(right) == pytest.approx(metrics.wilson_interval(33, 40))
    assert metrics.share_interval(np.ones(50)) == pytest.approx(metrics.wilson_interval(50, 50))
    assert metrics.share_interval(np.zeros(50)) == pytest.approx(metrics.wilson_interval(0, 50))
    # Five passes that agree on every image know no more than one.
    assert metrics.share_interval(np.mean([right] * 5, axis=0)) == pytest.approx(metrics.wilson_interval(33, 40))


@pytest.mark.parametrize(("n", "accuracy"), [(100, 0.97), (200, 0.9), (200, 0.5)])
def test_interval_of_a_mean_over_passes_covers_the_truth_about_19_times_in_20(n, accuracy):
    rng, covered = np.random.default_rng(7), 0
    ease = rng.beta(8 * accuracy, 8 * (1 - accuracy), 20_000)  # how often each image is right
    for rows in rng.integers(0, 20_000, (800, n)):
        low, high = metrics.share_interval((rng.random((4, n)) < ease[rows]).mean(axis=0))
        covered += low <= ease.mean() <= high
    assert 0.93 <= covered / 800 <= 0.975


def test_interval_of_nll_covers_the_truth_about_19_times_in_20():
    rng, covered = np.random.default_rng(8), 0
    nll = rng.gamma(0.3, 1.3, 50_000)  # as skewed as that of a good network
    for rows in rng.integers(0, 50_000, (800, 300)):
        low, high = metrics.positive_mean_interval(nll[rows])
        covered += low <= nll.mean() <= high
    assert 0.93 <= covered / 800 <= 0.97


MISCALIBRATED = {
    "not at all": lambda c: c,
    "a little": lambda c: np.clip(c - 0.03, 0, 1),
    "overconfident": lambda c: c - 0.2 * c * (1 - c),
    "underconfident": lambda c: c + 0.2 * c * (1 - c),
    "badly": lambda c: 0.6 * c,
}


@pytest.mark.parametrize("n", [200, 2000])
@pytest.mark.parametrize("how", MISCALIBRATED)
def test_interval_of_the_calibration_error_covers_the_truth_at_least_19_times_in_20(how, n):
    """Of the network's error on endless images. It may be wider than need be where gaps are as wide as chance's."""
    rng, covered, bins = np.random.default_rng(9), 0, 15
    confidence = rng.uniform(0.1, 1, 20_000) ** 0.4
    chance = MISCALIBRATED[how](confidence)
    truth = abs(np.bincount(np.ceil(confidence * bins).astype(int), weights=chance - confidence)).sum() / 20_000
    for rows in rng.integers(0, 20_000, (300, n)):
        right = rng.random(n) < chance[rows]
        low, high = metrics.calibration_interval(confidence[rows], right)
        assert low <= metrics.calibration_error(confidence[rows], right) <= high
        covered += low <= truth + 1e-12 and truth <= high
    assert covered / 300 >= 0.93


def test_interval_of_the_calibration_error_against_images_drawn_again():
    """Where gaps are far wider than chance's, the plain bootstrap is right, and its length is found without it."""
    rng = np.random.default_rng(10)
    confidence = rng.uniform(0.2, 1, 800)
    right = rng.random(800) < 0.5 * confidence
    drawn = [metrics.calibration_error(confidence[k], right[k]) for k in rng.integers(0, 800, (1500, 800))]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert metrics.calibration_interval(confidence, right) == pytest.approx((low, high), abs=0.15 * (high - low))


def test_a_perfect_pass_over_few_images_is_not_taken_for_perfect_calibration():
    low, high = metrics.calibration_interval(np.ones(50), np.ones(50))
    assert low == 0 and high == pytest.approx(1 - metrics.wilson_interval(50, 50).low)
    assert metrics.calibration_interval([0.9], [1]) is None


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


def wrong_ones_confidence(arrays) -> float:
    wrong = arrays["top5"][:, 0] != arrays["labels"]
    return arrays["confidence"][wrong].mean()


OVERCONFIDENCE = metrics.Statistic(name="confidence_of_wrong", title="Confidence of wrong", of=wrong_ones_confidence)
CALIBRATION = metrics.METRICS["ece"]


def two_networks(rng, n, chance, other):
    """Passes of two networks over the same images, right and confident together more often than by chance."""
    confidence = rng.uniform(0.1, 1, n) ** 0.4
    second = np.clip(confidence + rng.normal(0, 0.05, n), 0.05, 1)
    luck, own = rng.random((2, n))
    right = luck < chance(confidence), np.where(rng.random(n) < 0.6, luck, own) < other(second)
    return [
        {"top5": np.zeros((n, 5), np.int16), "labels": (~r).astype(np.int16), "confidence": c}
        for r, c in zip(right, (confidence, second), strict=True)
    ]


@pytest.mark.parametrize(
    ("metric", "chance", "other", "most"),
    [
        (OVERCONFIDENCE, "not at all", "overconfident", 0.985),
        (CALIBRATION, "not at all", "a little", 1),  # may be wider than need be where gaps are as wide as chance's
        (CALIBRATION, "underconfident", "not at all", 1),
        (CALIBRATION, "badly", "overconfident", 1),
    ],
)
def test_intervals_of_what_is_no_mean_over_images_cover_the_truth_about_19_times_in_20(metric, chance, other, most):
    rng, chance, other = np.random.default_rng(5), MISCALIBRATED[chance], MISCALIBRATED[other]
    alone, both, repeats = 0, 0, 200
    truth = [metric.value(arrays) for arrays in two_networks(rng, 400_000, chance, other)]
    for _ in range(repeats):
        passes = two_networks(rng, 600, chance, other)
        first, second = (metrics.Pass.of(metric, arrays) for arrays in passes)
        low, high = metric.interval(first)
        alone += low <= truth[0] <= high
        low, high = metric.paired(first.sample(), second.sample()).interval
        both += low <= 100 * (truth[0] - truth[1]) <= high
    assert 0.92 <= alone / repeats <= most and 0.92 <= both / repeats <= most


def test_a_network_is_no_better_than_itself():
    (arrays, _) = two_networks(np.random.default_rng(5), 100, *2 * [MISCALIBRATED["badly"]])
    arrays |= {"nll": np.linspace(0, 3, 100), "brier": np.linspace(0, 2, 100), "real": np.arange(100) % 3 - 1}
    for name in metrics.METRICS:
        metric = metrics.METRICS[name]
        if isinstance(metric, metrics.OfPass):
            d = metric.paired(metric.sample(arrays), metric.sample(arrays))
            assert (d.difference, d.p) == (0, 1), name


def test_brier_score_needs_all_probabilities_and_older_passes_say_so():
    brier = metrics.METRICS["brier"]
    arrays = metrics.Recorded(metrics.to_arrays(predictions()))
    with pytest.raises(MissingError, match="measure again"):
        brier.value(arrays)
    whole = predictions()._replace(brier=np.array([0.0, 0.5, 1.0, 2.0], dtype=np.float32))
    assert metrics.scores(whole)["brier"] == brier.value(metrics.to_arrays(whole)) == 0.875


def test_an_unknown_metric_is_named_with_near_ones():
    with pytest.raises(UsageError, match="unknown metric 'eec'; did you mean ece"):
        metrics.METRICS["eec"]
