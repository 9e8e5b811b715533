"""Does a second measurement of the same images bear a first one out?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gfnet_bench.metrics.base import Arrays
from gfnet_bench.metrics.comparisons import smallest_difference
from gfnet_bench.metrics.statistics import mcnemar_p

DOUBT = 0.01
"""A p below it is a contradiction: of a hundred records that are right, about one is called wrong."""

ALIKE = 0.95
"""Share of answers that must be the same: rounding elsewhere changes a few of a thousand, another network many."""


class Agreement(NamedTuple):
    """Two measurements of the same images, an answer each.

    Attributes:
        images: how many were looked at.
        alike: how many got the same answer.
        then: how many were right by the record.
        now: how many are right now.
        only_then: right by the record alone.
        only_now: right now alone.
    """

    images: int
    alike: int
    then: int
    now: int
    only_then: int
    only_now: int

    @property
    def p(self) -> float:
        """The odds of accuracies that differ so much, or more, if nothing but chance changed answers (McNemar)."""
        return mcnemar_p(self.only_then, self.only_now)

    @property
    def is_consistent(self) -> bool:
        """Whether nothing speaks against the record."""
        return self.p >= DOUBT and self.alike >= ALIKE * self.images

    @property
    def verdict(self) -> str:
        """`identical`, `consistent` or `not consistent`."""
        if self.alike == self.images:
            return "identical"
        return "consistent" if self.is_consistent else "not consistent"

    @property
    def noticed(self) -> float | None:
        """The error of an accuracy, as a fraction, that so many images show with 80 % power; None of very few."""
        return smallest_difference(self.images, (self.only_then + self.only_now) / self.images)


def agreement(then: Arrays, now: Arrays, rows: NDArray[np.integer]) -> Agreement:
    """Compare the arrays of a record with those of some of its images.

    Args:
        then: beside the record.
        now: of the images that were measured again.
        rows: where each of these stands in the record.
    """
    old = {name: array[rows] for name, array in then.items()}
    answered = old["real"] >= 0 if "real" in old else np.ones(len(rows), dtype=bool)
    a, b = (_right(arrays)[answered] for arrays in (old, now))
    alike = (old["top5"][:, 0] == now["top5"][:, 0])[answered]
    return Agreement(len(a), int(alike.sum()), int(a.sum()), int(b.sum()), int((a & ~b).sum()), int((b & ~a).sum()))


def _right(arrays: Arrays) -> NDArray[np.bool_]:
    return arrays["real"] > 0 if "real" in arrays else arrays["top5"][:, 0] == arrays["labels"]
