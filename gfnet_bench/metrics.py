"""Pure functions on arrays: accuracies, corruption errors, calibration, and how sure they are.

Accuracies, errors and calibration are fractions. Corruption errors are percentages of a reference's error, the unit
the literature prints. Every interval is a 95 % one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gfnet_bench.errors import GfnetBenchError

Z = 1.959963984540054
"""The 0.975 quantile of the normal distribution."""

Errors = Mapping[str, Sequence[float]]
"""Top-1 errors by corruption: one per severity, or their mean alone."""


class Predictions(NamedTuple):
    """What one pass over n images leaves behind.

    Attributes:
        top5: (n, 5) integer class indices, the most likely first.
        confidence: (n,) float, softmax of the first of them.
        nll: (n,) float, negative log-likelihood of the true label in nats.
        labels: (n,) integer.
        ids: n image ids, empty where they were not kept.
    """

    top5: NDArray[np.integer]
    confidence: NDArray[np.floating]
    nll: NDArray[np.floating]
    labels: NDArray[np.integer]
    ids: tuple[str, ...]


class Interval(NamedTuple):
    """The two ends of a 95 % interval."""

    low: float
    high: float


class Paired(NamedTuple):
    """Two outcomes on the same images.

    Attributes:
        difference: accuracy of the first minus accuracy of the second.
        interval: of the difference.
        only_first: images that only the first has right.
        only_second: images that only the second has right.
        p: that so uneven a split happens between equals.
    """

    difference: float
    interval: Interval
    only_first: int
    only_second: int
    p: float


# Predictions: scores and storage


def is_correct(top5: NDArray[np.integer], labels: NDArray[np.integer], k: int = 1) -> NDArray[np.bool_]:
    """(n,) whether the label is among the first `k` classes."""
    return np.asarray((top5[:, :k] == labels[:, None]).any(axis=1))


def top_k(top5: NDArray[np.integer], labels: NDArray[np.integer], k: int) -> float:
    """The share of images whose label is among the first `k` classes."""
    return float(is_correct(top5, labels, k).mean())


def real_correct(top1: Sequence[int] | NDArray[np.integer], answers: Sequence[Sequence[int]]) -> NDArray[np.int8]:
    """(n,) 1 where the class is one of the right answers, 0 where it is not, -1 where the image has no answer."""
    outcomes = [(int(c in right) if right else -1) for c, right in zip(top1, answers, strict=True)]
    return np.array(outcomes, dtype=np.int8)


def real_accuracy(top1: Sequence[int] | NDArray[np.integer], answers: Sequence[Sequence[int]]) -> float:
    """ReaL accuracy: an image may have several right answers, and one with none is left out (Beyer et al. 2020)."""
    outcomes = real_correct(top1, answers)
    if not (outcomes >= 0).any():
        raise GfnetBenchError("expected images with ReaL labels, found none; raise --limit.")
    return float(outcomes[outcomes >= 0].mean())


def calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error of the top-1 confidence, bins of equal width (Guo et al. 2017)."""
    confidence, correct = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    gaps = np.bincount(_bins(confidence, bins), weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def _bins(confidence: ArrayLike, bins: int) -> NDArray[np.int_]:
    """(n,) which bin of equal width; one holds its upper edge."""
    return np.clip(np.ceil(np.asarray(confidence, dtype=np.float64) * bins).astype(int) - 1, 0, bins - 1)


def scores(predictions: Predictions, answers: Sequence[Sequence[int]] | None = None) -> dict[str, float]:
    """The values of a record.

    Args:
        predictions: one or more images.
        answers: the right answers of each image, where it may have several or none.

    Returns:
        `top1`, `top5`, `images`, `nll`, `ece`, and with `answers` also `real`. All of them are about the same
        `images`: with `answers`, those that have one.
    """
    p, values = predictions, {}
    if answers is not None:
        values["real"] = real_accuracy(p.top5[:, 0], answers)
        kept = np.flatnonzero([len(right) > 0 for right in answers])
        p = Predictions(p.top5[kept], p.confidence[kept], p.nll[kept], p.labels[kept], ())
    return {
        "top1": top_k(p.top5, p.labels, 1),
        "top5": top_k(p.top5, p.labels, 5),
        "images": len(p.labels),
        "nll": float(p.nll.mean(dtype=np.float64)),
        "ece": calibration_error(p.confidence, is_correct(p.top5, p.labels)),
        **values,
    }


def to_arrays(predictions: Predictions, answers: Sequence[Sequence[int]] | None = None) -> dict[str, NDArray]:
    """The arrays kept beside a record; `real` (see `real_correct`) only with `answers`. The ids are not repeated."""
    arrays: dict[str, NDArray] = {
        "top5": predictions.top5.astype(np.int16),
        "confidence": predictions.confidence.astype(np.float32),
        "nll": predictions.nll.astype(np.float32),
        "labels": predictions.labels.astype(np.int16),
    }
    if answers is not None:
        arrays["real"] = real_correct(predictions.top5[:, 0], answers)
    return arrays


def from_arrays(arrays: Mapping[str, NDArray], ids: Sequence[str] = ()) -> Predictions:
    """The inverse of `to_arrays`."""
    labels = arrays["labels"].astype(np.int64)
    return Predictions(arrays["top5"].astype(np.int32), arrays["confidence"], arrays["nll"], labels, tuple(ids))


def ids_sha256(ids: Sequence[str]) -> str:
    """Equal for two cells exactly where they saw the same images in the same order."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


# Corruption errors (Hendrycks & Dietterich 2019)


def corruption_error(errors: Sequence[float], reference: Sequence[float]) -> float:
    """CE: the mean error over the severities in percent of the reference's."""
    return float(100 * np.mean(errors) / np.mean(reference))


def mce(errors: Errors, reference: Errors) -> float:
    """The mean of the corruption errors."""
    return float(np.mean([corruption_error(e, reference[name]) for name, e in errors.items()]))


def relative_mce(errors: Errors, clean: float, reference: Errors, reference_clean: float) -> float:
    """The same of what corruption adds to the error on clean images: robustness apart from accuracy."""
    added = {name: [float(np.mean(e)) - clean] for name, e in errors.items()}
    return mce(added, {name: [float(np.mean(reference[name])) - reference_clean] for name in errors})


def mce_by_image(
    wrong: Mapping[str, NDArray[np.floating]], reference: Mapping[str, float | NDArray[np.floating]]
) -> NDArray[np.float64]:
    """(n,) what each image adds: the mean over the images is the mCE, and its spread that of the mCE.

    A reference measured on the same images is as uncertain as the model, and errs on much the same images. mCE is
    linearised about both mean errors (the delta method), so intervals and paired tests of it are those of a mean.

    Args:
        wrong: for each corruption (n,), the share of severities at which the image is misclassified; of relative
            mCE without that of the clean image.
        reference: the same of the reference, or its mean error where that counts as a constant.
    """
    parts = [w / np.mean(r) + np.mean(w) / np.mean(r) * (1 - r / np.mean(r)) for w, r in _pairs(wrong, reference)]
    return 100 * np.asarray(np.mean(parts, axis=0))


def _pairs(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[NDArray[np.float64], Any]]:
    return [(np.asarray(x, dtype=np.float64), np.asarray(second[name], dtype=np.float64)) for name, x in first.items()]


def bound_of_ratios(tops: Mapping[str, Interval], bottoms: Mapping[str, Interval]) -> Interval | None:
    """An interval of mCE or relative mCE without per-image outcomes, of the two errors' own intervals.

    It holds however the errors depend on one another, so it is never too narrow: every cell shows the same images, and
    an image hard under one corruption is hard under the next.

    Args:
        tops: what is measured, for each corruption.
        bottoms: what it is relative to.

    Returns:
        In percent; None if a divisor may be zero.
    """
    if any(bottoms[name].low <= 0 for name in tops):
        return None
    corners = [[top / bottom for top in tops[name] for bottom in bottoms[name]] for name in tops]
    return Interval(100 * float(np.mean([min(c) for c in corners])), 100 * float(np.mean([max(c) for c in corners])))


# Uncertainty


def mean_interval(x: ArrayLike) -> Interval | None:
    """Normal interval of the mean of independent numbers; None of a single one."""
    x = np.asarray(x, dtype=np.float64)
    if len(x) < 2:
        return None
    half = Z * float(x.std(ddof=1)) / math.sqrt(len(x))
    return Interval(float(x.mean()) - half, float(x.mean()) + half)


def positive_mean_interval(x: ArrayLike) -> Interval | None:
    """The same on a logarithmic scale, for a mean that cannot be negative and whose parts are skewed: NLL, mCE."""
    x = np.asarray(x, dtype=np.float64)
    interval, middle = mean_interval(x), float(x.mean())
    if interval is None or middle <= 0:
        return None
    factor = math.exp((interval.high - interval.low) / 2 / middle)
    return Interval(middle / factor, middle * factor)


def wilson_interval(correct: float, n: float) -> Interval:
    """Score interval of an accuracy, sound also near 0 and 1 (Wilson 1927; Newcombe 1998, method 3)."""
    share, z2 = correct / n, Z * Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # At the ends exactly: their last bits would differ from machine to machine.
    return Interval(0.0 if share == 0 else max(0.0, middle - half), 1.0 if share == 1 else min(1.0, middle + half))


def share_interval(shares: ArrayLike) -> Interval:
    """The score interval of an accuracy averaged over several passes over the same images.

    Args:
        shares: (n,) the share of the passes in which the image is right. They count as so many independent images as
            have a mean of that spread, between n, where an image is always or never right, and n times the passes.
    """
    shares = np.asarray(shares, dtype=np.float64)
    n, share, variance = len(shares), min(1.0, float(shares.mean())), float(shares.var())
    effective = n * share * (1 - share) / variance if variance > 0 else n
    return wilson_interval(share * effective, effective)


def calibration_interval(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> Interval | None:
    """Bootstrap interval of `calibration_error`; None of a single image.

    The calibration error is too high where images are few, since chance opens a gap in every bin and none counts as
    negative; a bootstrap adds that once more. The interval is therefore the estimate less the quantiles of its own
    error (Hall 1992), between gaps twice as wide as they were seen, to which chance adds little, and gaps closed
    wherever chance may have opened them (within two standard errors), to which it adds most.
    """
    gaps = np.asarray(correct, dtype=np.float64) - np.asarray(confidence, dtype=np.float64)
    n, of_bin = len(gaps), _bins(confidence, bins)
    if n < 2:
        return None
    means, squares = (np.bincount(of_bin, weights=g, minlength=bins) / n for g in (gaps, gaps**2))
    squares += (np.bincount(of_bin, minlength=bins) > 0) / (4 * n)  # a bin is not sure where its few images agree
    noise = _resampled(means, squares, n)
    closed = np.where(np.abs(means) > 2 * np.sqrt(np.maximum(squares - means**2, 0) / n), means, 0.0)
    least, most = (np.abs(true + noise).sum(axis=1) - np.abs(true).sum() for true in (2 * means, closed))
    estimate = float(np.abs(means).sum())
    low, high = estimate - max(0.0, np.quantile(most, 0.975)), estimate - min(0.0, np.quantile(least, 0.025))
    accuracy, claimed = wilson_interval(float(np.sum(correct)), n), float(np.mean(np.asarray(confidence)))
    apart = max(accuracy.high - claimed, claimed - accuracy.low)  # as far as all bins together may be, each may be
    return Interval(max(0.0, float(low)), min(1.0, max(float(high), apart)))


def _resampled(means: NDArray[np.float64], squares: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """(2000, bins) by how much the mean of each bin moves when the n images are drawn again, with replacement.

    To draw 50,000 images again would take seconds; their sums by bin are normal with the covariance
    (diag(squares) - means means') / n, whose root is this.
    """
    scale = np.sqrt(squares)
    direction = np.divide(means, scale, out=np.zeros_like(means), where=scale > 0)
    length = min(1.0, float(direction @ direction))
    shrink = (1 - math.sqrt(1 - length)) / length if length > 0 else 0.0
    normal = _normal(len(means))
    return scale * (normal - shrink * np.outer(normal @ direction, direction)) / math.sqrt(n)


@cache
def _normal(bins: int) -> NDArray[np.float64]:
    """(2000, bins) always the same draws, so that an interval is always the same."""
    return np.random.default_rng(0).standard_normal((2000, bins))


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Two-sided mid-p McNemar test on the images that exactly one of two models has right (Fagerland et al. 2013)."""
    n, fewer = only_first + only_second, min(only_first, only_second)
    log_ways = math.lgamma(n + 1) - n * math.log(2)

    def chance(k: int) -> float:
        return math.exp(log_ways - math.lgamma(k + 1) - math.lgamma(n - k + 1))

    return min(1.0, 2 * math.fsum(chance(k) for k in range(fewer)) + chance(fewer))


def compare(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Paired:
    """Compare two models on the same images, given (n,) whether each has an image right.

    The interval is Wald's after one more image of each kind of disagreement (Bonett & Price 2012).
    """
    n = len(first)
    b, c = int((first & ~second).sum()), int((~first & second).sum())
    p, q = (b + 1) / (n + 2), (c + 1) / (n + 2)
    half = Z * math.sqrt((p + q - (p - q) ** 2) / (n + 2))
    interval = Interval(max(-1.0, p - q - half), min(1.0, p - q + half))
    return Paired((b - c) / n, interval, b, c, mcnemar_p(b, c))
