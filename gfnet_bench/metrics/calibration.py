"""Expected calibration error, and how sure it is."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gfnet_bench.metrics.statistics import Interval, wilson_interval


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
