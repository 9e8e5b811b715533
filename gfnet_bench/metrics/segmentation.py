"""Segmentation: intersections and unions of predicted and true regions, and the shares and intervals they give.

As mmsegmentation counts: over all pixels of all images at once, ignored pixels left out, and of the mean those classes
that are neither shown nor predicted anywhere.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gfnet_bench.metrics.statistics import Difference, Interval, Z, normal_difference

IGNORED = 255
"""The label of pixels that do not count."""

RESAMPLES, SEED = 1000, 0
"""Of the bootstrap; always the same ones, so that equal records have equal intervals."""


class Regions(NamedTuple):
    """Pixels of each class in each image, all (n, k) int32.

    Attributes:
        intersect: that are of the class and are called it.
        predicted: that are called it.
        labelled: that are of it.
    """

    intersect: NDArray[np.int32]
    predicted: NDArray[np.int32]
    labelled: NDArray[np.int32]


def confusion(predicted: NDArray[np.integer], truth: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Pixels by true class (row) and predicted class (column): (k, k), ignored pixels left out.

    Args:
        predicted: class indices below `classes`, of any shape.
        truth: the same shape, `IGNORED` where a pixel does not count.
        classes: k.

    Raises:
        ValueError: if the shapes differ, or a label is neither a class nor ignored.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"expected a prediction for each pixel {truth.shape}, found {predicted.shape}")
    counts = truth != IGNORED
    rows, columns = truth[counts].astype(np.int64), predicted[counts].astype(np.int64)
    for values in (rows, columns):
        if values.size and not (0 <= values.min() and values.max() < classes):
            raise ValueError(f"expected labels from 0 to {classes - 1}, found {values.min()} to {values.max()}")
    return np.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes)


def regions(confusions: NDArray[np.integer]) -> Regions:
    """What the confusions of images, (n, k, k), say of each class in each."""
    return Regions(
        np.ascontiguousarray(confusions.diagonal(axis1=1, axis2=2)).astype(np.int32),
        confusions.sum(axis=1).astype(np.int32),
        confusions.sum(axis=2).astype(np.int32),
    )


def class_iou(found: Regions) -> NDArray[np.float64]:
    """(k,) intersection over union of each class, NaN where the class is nowhere."""
    return _iou(np.ones((1, len(found.intersect))), found)[0]


def mean_iou(found: Regions) -> float:
    """The mean over the classes that are somewhere."""
    return float(np.nanmean(class_iou(found)))


def pixel_accuracy(found: Regions) -> float:
    """The share of pixels whose class is right."""
    return float(found.intersect.sum(dtype=np.int64) / found.labelled.sum(dtype=np.int64))


def mean_accuracy(found: Regions) -> float:
    """The mean over the true classes of the share of their pixels that is right."""
    right, all_ = found.intersect.sum(0, dtype=np.int64), found.labelled.sum(0, dtype=np.int64)
    return float(np.mean(right[all_ > 0] / all_[all_ > 0]))


def values(found: Regions) -> dict[str, float]:
    """What a record says of these regions."""
    return {"miou": mean_iou(found), "pixel_accuracy": pixel_accuracy(found), "mean_accuracy": mean_accuracy(found)}


def mean_iou_interval(found: Regions) -> Interval | None:
    """Normal interval of the mean IoU, its error from a bootstrap over images; None of a single image.

    Percentiles would be too low: a class that few images show is missing from some resamples.
    """
    n = len(found.intersect)
    if n < 2:
        return None
    half, middle = Z * float(_resampled(found).std(ddof=1)), mean_iou(found)
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def compare_mean_iou(first: Regions, second: Regions) -> Difference:
    """The mean IoU of the first minus that of the second on the same images, both resampled together.

    Raises:
        ValueError: if the images are not the same.
    """
    if not np.array_equal(first.labelled, second.labelled):
        raise ValueError("expected two models on the same images, found other labels")
    difference = mean_iou(first) - mean_iou(second)
    if len(first.intersect) < 2:
        return Difference(difference)
    return normal_difference(difference, Z * float((_resampled(first) - _resampled(second)).std(ddof=1)))


def _resampled(found: Regions) -> NDArray[np.float64]:
    """(r,) mean IoU of as many images, drawn with replacement."""
    n = len(found.intersect)
    times = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    return np.nanmean(_iou(times.astype(np.float64), found), axis=1)


def _iou(times: NDArray[np.float64], found: Regions) -> NDArray[np.float64]:
    """(r, k) IoU where image i counts times[:, i] times; float64 holds these sums exactly."""
    intersect = times @ found.intersect
    union = times @ (found.predicted + found.labelled - found.intersect)
    with np.errstate(invalid="ignore"):
        return intersect / union
