"""Corruption errors in percent of a reference's (Hendrycks & Dietterich 2019), the unit the literature prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnet_bench.metrics.accuracy import is_correct
from gfnet_bench.metrics.base import Metric, Share, register
from gfnet_bench.metrics.statistics import Interval, mean_interval, positive_mean_interval

Errors = Mapping[str, Sequence[float]]
"""Top-1 errors by corruption: one per severity, or their mean alone."""


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


@dataclass(frozen=True, kw_only=True)
class CorruptionError(Metric):
    """The mean over all corruptions of the error relative to a reference's, in percent.

    Attributes:
        less_clean: of what corruption adds to the error on clean images, for both.
    """

    less_clean: bool = False

    scale = 1

    def spread(self, sample: NDArray[Any]) -> Interval | None:
        """By what each image adds, see `mce_by_image`; what corruption adds to the error may be below zero."""
        return mean_interval(sample) if self.less_clean else positive_mean_interval(sample)


class MeanError(Share):
    """The share of wrong images over corrupted cells."""

    def stored(self, values: Mapping[str, Any]) -> float | None:
        """As the accuracy that every record has."""
        return 1 - values["top1"]


MEAN_CE = register(
    MeanError(
        name="mean_ce",
        title="mean CE",
        of=lambda arrays: ~is_correct(arrays["top5"], arrays["labels"]),
        on_request=True,
        note="Mean CE: the top-1 error averaged over the corrupted cells, relative to no network's.",
        over="means",
    )
)
MCE = register(CorruptionError(name="mce", title="mCE", over="corruptions"))
RELATIVE_MCE = register(
    CorruptionError(
        name="relative_mce",
        title="relative mCE",
        on_request=True,
        note="Relative mCE: what corruption adds to the error on clean images, in % of the reference's.",
        over="corruptions",
        less_clean=True,
    )
)
