"""How sure a mean or a share is, and a difference between two: 95 % intervals and paired tests."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z = 1.959963984540054
"""The 0.975 quantile of the normal distribution."""


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


class Difference(NamedTuple):
    """Two numbers about the same images.

    Attributes:
        difference: the first minus the second.
        interval: of the difference; None where nothing says how sure it is.
        p: that so large a difference is seen between equals; None likewise.
        only_first: images that only the first has right, where images are right or wrong.
        only_second: images that only the second has right.
    """

    difference: float
    interval: Interval | None = None
    p: float | None = None
    only_first: int | None = None
    only_second: int | None = None


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


def mean_difference(d: NDArray[np.floating]) -> Difference:
    """Two numbers that are means over the same images, given (n,) what they differ by in each."""
    interval, mean = mean_interval(d), float(np.mean(d))
    if interval is None or interval.high == interval.low != 0:  # one image, or all alike: nothing says how sure
        return Difference(mean)
    error = (interval.high - interval.low) / (2 * Z)
    return Difference(mean, interval, math.erfc(abs(mean) / error / math.sqrt(2)) if error > 0 else 1.0)


def normal_difference(difference: float, below: float, above: float | None = None) -> Difference:
    """A difference with its interval, from so far below it to so far above: as far where that is not given.

    It is told from zero as surely as the interval excludes zero, on a normal scale.
    """
    above = below if above is None else above
    reach = below if difference > 0 else above
    if not reach > 0:
        return Difference(difference, p=1.0 if difference == 0 else None)
    p = math.erfc(Z * abs(difference) / reach / math.sqrt(2))
    return Difference(difference, Interval(difference - below, difference + above), p)
