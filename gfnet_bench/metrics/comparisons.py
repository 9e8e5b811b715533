"""Many comparisons at once: p of a family, the least difference that could have been shown, groups not told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gfnet_bench.metrics.statistics import Difference, Z

LEVEL = 0.05
"""Two are told apart where p is below it."""

POWER = 0.8
Z_POWER = 0.8416212335729143
"""The 0.8 quantile of the normal distribution."""


def holm(p: Sequence[float]) -> list[float]:
    """The same p, corrected for their number: of equals, any are told apart in at most one of twenty such families.

    Source: Holm 1979, whatever the dependence of the tests.
    """
    corrected, least = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        least = max(least, (len(p) - rank) * p[i])
        corrected[i] = min(1.0, least)
    return corrected


def smallest_difference(images: int, discordance: float) -> float | None:
    """The difference of two accuracies on the same images that McNemar's test shows with 80 % power at p < 0.05.

    It is the d of n = (z sqrt(q) + z' sqrt(q - d^2))^2 / d^2, for the 0.975 and the 0.8 quantile z and z' and the share
    q of images that only one of the two has right (Connor 1987). Two that differ by d disagree on d at least, so a
    smaller q counts as the one that equals its d.

    Args:
        images: n.
        discordance: q, between 0 and 1.

    Returns:
        A fraction; None of so few images that they show nothing.
    """
    n, a, b = images, Z, Z_POWER
    if n <= a * a:
        return None
    s = (math.sqrt((n + b * b) * (n - a * a) + (a * b) ** 2) - a * b) / (n + b * b)  # of d = 1 - s^2 = q
    q = max(discordance, 1 - s * s)
    return math.sqrt(q) * (math.sqrt(n) * a + b * math.sqrt(n + b * b - a * a)) / (n + b * b)


def smallest_shown(d: Difference, images: int, scale: float = 1) -> float | None:
    """The same for any difference that was measured, in its unit: by its disagreements, else by its standard error.

    Args:
        d: between two numbers about the same images.
        images: how many.
        scale: of `d`, 100 where it is in points.
    """
    if d.only_first is not None and d.only_second is not None:
        smallest = smallest_difference(images, (d.only_first + d.only_second) / images)
        return None if smallest is None else scale * smallest
    return None if d.interval is None else (1 + Z_POWER / Z) * (d.interval.high - d.interval.low) / 2


def letters(apart: NDArray[np.bool_]) -> list[str]:
    """Letters for each of k things, the best first: two share one exactly where they are not told apart.

    Not to be told apart is not transitive: one may have several, `ab` (the compact letter display of Piepho 2004).

    Args:
        apart: (k, k), symmetric, whether two are told apart.
    """
    groups: list[list[int]] = []
    for i in range(len(apart)):
        for j in range(i, len(apart)):
            if apart[i, j] or any(i in group and j in group for group in groups):
                continue
            group = list(dict.fromkeys((i, j)))
            for k in range(len(apart)):
                if k not in group and not apart[k, group].any():
                    group.append(k)
            groups.append(group)
    few = len(groups) <= 26
    names = [chr(ord("a") + i) if few else str(i + 1) for i in range(len(groups))]
    of = ([name for name, group in zip(names, groups, strict=True) if k in group] for k in range(len(apart)))
    return [("" if few else ",").join(own) for own in of]
