"""What one pass over images leaves behind: its scores, and the arrays kept beside a record."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gfnet_bench.metrics.accuracy import is_correct, real_accuracy, real_correct, top_k
from gfnet_bench.metrics.calibration import calibration_error


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
