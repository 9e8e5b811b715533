"""Expected calibration error, and how sure it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gfnet_bench.metrics.accuracy import is_correct
from gfnet_bench.metrics.base import Arrays, OfPass, Pass, register
from gfnet_bench.metrics.statistics import Difference, Interval, Z, normal_difference, wilson_interval


def calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error of the top-1 confidence, bins of equal width (Guo et al. 2017)."""
    confidence, correct = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    gaps = np.bincount(_bins(confidence, bins), weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def _bins(confidence: ArrayLike, bins: int) -> NDArray[np.int_]:
    """(n,) which bin of equal width; one holds its upper edge."""
    return np.clip(np.ceil(np.asarray(confidence, dtype=np.float64) * bins).astype(int) - 1, 0, bins - 1)


def calibration_interval(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> Interval | None:
    """Bootstrap interval of `calibration_error`; None of a single image.

    The calibration error is too high where images are few, since chance opens a gap in every bin and none counts as
    negative; a bootstrap adds that once more. The interval is therefore the estimate less the quantiles of its own
    error (Hall 1992), between what `_errors` says is the least and the most of it.
    """
    gaps = np.asarray(correct, dtype=np.float64) - np.asarray(confidence, dtype=np.float64)
    n, of_bin = len(gaps), _bins(confidence, bins)
    if n < 2:
        return None
    means, squares = _moments(gaps, of_bin, bins)
    least, most = _errors(means, squares, n, _resampled(means, squares, n))
    estimate = float(np.abs(means).sum())
    low, high = estimate - max(0.0, np.quantile(most, 0.975)), estimate - min(0.0, np.quantile(least, 0.025))
    accuracy, claimed = wilson_interval(float(np.sum(correct)), n), float(np.mean(np.asarray(confidence)))
    apart = max(accuracy.high - claimed, claimed - accuracy.low)  # as far as all bins together may be, each may be
    return Interval(max(0.0, float(low)), min(1.0, max(float(high), apart)))


def _moments(gaps: NDArray[np.float64], of_bin: NDArray[np.int_], bins: int) -> tuple[NDArray, NDArray]:
    """(bins,) mean gap and mean square that each bin adds."""
    n = len(gaps)
    means, squares = (np.bincount(of_bin, weights=g, minlength=bins) / n for g in (gaps, gaps**2))
    # A bin is not sure where its few images agree.
    return means, squares + (np.bincount(of_bin, minlength=bins) > 0) / (4 * n)


def _errors(means: NDArray, squares: NDArray, n: int, noise: NDArray) -> tuple[NDArray[np.float64], ...]:
    """By how much the estimate is too high when `noise`, (draws, bins), is added to the gaps: at least, and at most.

    At least with gaps twice as wide as they were seen, to which chance adds little; at most with gaps closed wherever
    chance may have opened them (within two standard errors), to which it adds most.
    """
    closed = np.where(np.abs(means) > 2 * np.sqrt(np.maximum(squares - means**2, 0) / n), means, 0.0)
    return tuple(np.abs(true + noise).sum(axis=1) - np.abs(true).sum() for true in (2 * means, closed))


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


_DRAWS = 400


@lru_cache(1)
def _weights(n: int) -> NDArray[np.float32]:
    """(draws, n) always the same draws for as many images, so that two models' are of the same images."""
    return np.random.default_rng(0).standard_normal((_DRAWS, n), dtype=np.float32)


def _right(arrays: Arrays) -> NDArray[np.bool_]:
    return is_correct(arrays["top5"], arrays["labels"])


@dataclass(frozen=True, kw_only=True)
class CalibrationError(OfPass):
    """Expected calibration error, which is no mean over images.

    Its sample is the estimate, and by how much it is too high in each draw of the images: at least, and at most.
    """

    per_image = False
    clustered = False

    def value(self, arrays: Arrays) -> float:
        """The estimate."""
        return float(self.of(arrays))

    def interval(self, seen: Pass) -> Interval | None:
        """Of one pass."""
        arrays = seen.arrays()
        return calibration_interval(arrays["confidence"], _right(arrays))

    def sample(self, arrays: Arrays, bins: int = 15) -> NDArray[np.float64]:
        """(1 + 2 draws,). Images are drawn again by random weights (the multiplier bootstrap)."""
        confidence = np.asarray(arrays["confidence"], dtype=np.float64)
        gaps, of_bin, n = _right(arrays) - confidence, _bins(confidence, bins), len(confidence)
        means, squares = _moments(gaps, of_bin, bins)
        spread = np.zeros((n, bins), dtype=np.float32)
        spread[np.arange(n), of_bin] = gaps
        noise = (_weights(n) @ (spread - spread.mean(axis=0))).astype(np.float64) / n
        return np.concatenate([[np.abs(means).sum()], *_errors(means, squares, n, noise)])

    def paired(self, first: NDArray[Any], second: NDArray[Any]) -> Difference:
        """Chance makes both too high, the better calibrated one more: as far as it may, on either side."""
        (least, most), (least_2, most_2) = (np.split(self.scale * sample[1:], 2) for sample in (first, second))
        d = self.scale * float(first[0] - second[0])
        return normal_difference(d, _most(most - least_2), _most(most_2 - least))


def _most(errors: NDArray[np.float64]) -> float:
    """The 0.975 quantile of errors, as if they were normal, or zero if it is below."""
    return max(0.0, float(errors.mean() + Z * errors.std(ddof=1)))


ECE = register(
    CalibrationError(
        name="ece",
        title="ECE",
        of=lambda arrays: calibration_error(arrays["confidence"], _right(arrays)),
        on_request=True,
        note="ECE: expected calibration error of the top-1 confidence, 15 bins of equal width. Chance makes it too "
        "high where images are few; its interval is of the error on endless images. Over several cells: the mean of "
        "theirs.",
    )
)
