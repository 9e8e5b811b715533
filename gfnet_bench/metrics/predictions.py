"""What one pass over images leaves behind: its scores, and the arrays kept beside a record."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.metrics.accuracy import REAL, TOP1, TOP5, real_correct
from gfnet_bench.metrics.base import Arrays
from gfnet_bench.metrics.brier import BRIER
from gfnet_bench.metrics.calibration import ECE
from gfnet_bench.metrics.likelihood import NLL


class Predictions(NamedTuple):
    """What one pass over n images leaves behind.

    Attributes:
        top5: (n, 5) integer class indices, the most likely first.
        confidence: (n,) float, softmax of the first of them.
        nll: (n,) float, negative log-likelihood of the true label in nats.
        labels: (n,) integer.
        ids: n image ids, empty where they were not kept.
        brier: (n,) float, Brier score from 0 to 2; None of predictions older than it.
    """

    top5: NDArray[np.integer]
    confidence: NDArray[np.floating]
    nll: NDArray[np.floating]
    labels: NDArray[np.integer]
    ids: tuple[str, ...]
    brier: NDArray[np.floating] | None = None

    def __repr__(self) -> str:
        return f"Predictions of {len(self.labels)} images"


def scores(predictions: Predictions, answers: Sequence[Sequence[int]] | None = None) -> dict[str, float]:
    """The values of a record.

    Args:
        predictions: one or more images.
        answers: the right answers of each image, where it may have several or none.

    Raises:
        GfnetBenchError: if no image has an answer.
    """
    return values(_columns(predictions, answers))


def values(arrays: Arrays) -> dict[str, float]:
    """The same of the arrays kept beside a record.

    Returns:
        `top1`, `top5`, `images`, `nll`, `ece`, and where there are arrays for them `brier` and `real`. All of them are
        about the same `images`: with `real`, those that have an answer.
    """
    if "real" in arrays:
        kept = arrays["real"] >= 0
        if not kept.any():
            raise GfnetBenchError("expected images with ReaL labels, found none; raise --limit.")
        arrays = {name: array[kept] for name, array in arrays.items()}
    found = [TOP1, TOP5, NLL, ECE, *(metric for metric in (BRIER, REAL) if metric.name in arrays)]
    return {"images": len(arrays["labels"]), **{metric.name: metric.value(arrays) for metric in found}}


def _columns(predictions: Predictions, answers: Sequence[Sequence[int]] | None) -> dict[str, NDArray]:
    p = predictions
    arrays: dict[str, NDArray] = {"top5": p.top5, "confidence": p.confidence, "nll": p.nll, "labels": p.labels}
    if p.brier is not None:
        arrays["brier"] = p.brier
    if answers is not None:
        arrays["real"] = real_correct(p.top5[:, 0], answers)
    return arrays


_KEPT_AS = {"top5": np.int16, "labels": np.int16, "real": np.int8}


def to_arrays(predictions: Predictions, answers: Sequence[Sequence[int]] | None = None) -> dict[str, NDArray]:
    """The arrays kept beside a record; `real` (see `real_correct`) only with `answers`. The ids are not repeated."""
    columns = _columns(predictions, answers)
    return {name: array.astype(_KEPT_AS.get(name, np.float32)) for name, array in columns.items()}


def ids_sha256(ids: Sequence[str]) -> str:
    """Equal for two cells exactly where they saw the same images in the same order."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()
