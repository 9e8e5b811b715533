"""Pure functions on arrays: accuracies, corruption errors, calibration, and how sure they are.

Accuracies, errors and calibration are fractions. Corruption errors are percentages of a reference's error, the unit
the literature prints. Every interval is a 95 % one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

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
    of_bin = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)  # a bin holds its upper edge
    gaps = np.bincount(of_bin, weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


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


def mce_by_image(wrong: Mapping[str, NDArray[np.floating]], reference: Errors) -> NDArray[np.float64]:
    """(n,) what each image adds; the mean over the images is the mCE.

    Args:
        wrong: for each corruption (n,), the share of severities at which the image is misclassified.
        reference: errors that count as constants.
    """
    shares = [100 * w.astype(np.float64) / np.mean(reference[name]) for name, w in wrong.items()]
    return np.asarray(np.mean(shares, axis=0))


def mce_interval_bound(errors: Errors, reference: Errors, n: int) -> Interval:
    """An interval of mCE without per-image outcomes: as if every cell failed on the same images, so never too narrow.

    Every cell shows the same n images, and an image hard under one corruption is hard under the next. Treating the
    cells as independent would make the interval several times too narrow.
    """
    deviations = {name: [math.sqrt(e * (1 - e) / n) for e in errors[name]] for name in errors}
    half, middle = Z * mce(deviations, reference), mce(errors, reference)
    return Interval(middle - half, middle + half)


# Uncertainty


def mean_interval(x: ArrayLike) -> Interval:
    """Normal interval of the mean of independent numbers."""
    x = np.asarray(x, dtype=np.float64)
    half = Z * float(x.std(ddof=1)) / math.sqrt(len(x)) if len(x) > 1 else math.inf
    return Interval(float(x.mean()) - half, float(x.mean()) + half)


def wilson_interval(correct: int, n: int) -> Interval:
    """Score interval of an accuracy, sound also near 0 and 1 (Wilson 1927; Newcombe 1998, method 3)."""
    share, z2 = correct / n, Z * Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


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
