"""Whether images are right: among the first classes, or by one of several right answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gfnet_bench.metrics.base import Arrays, Share, register


def is_correct(top5: NDArray[np.integer], labels: NDArray[np.integer], k: int = 1) -> NDArray[np.bool_]:
    """(n,) whether the label is among the first `k` classes."""
    return np.asarray((top5[:, :k] == labels[:, None]).any(axis=1))


def real_correct(top1: Sequence[int] | NDArray[np.integer], answers: Sequence[Sequence[int]]) -> NDArray[np.int8]:
    """(n,) 1 where the class is one of the right answers, 0 where it is not, -1 where the image has no answer.

    Source: Beyer et al. 2020 (ReaL).
    """
    outcomes = [(int(c in right) if right else -1) for c, right in zip(top1, answers, strict=True)]
    return np.array(outcomes, dtype=np.int8)


TOP1 = register(
    Share(
        name="top1",
        title="Top-1",
        of=lambda arrays: is_correct(arrays["top5"], arrays["labels"]),
        higher_is_better=True,
        is_plain=True,
    )
)
TOP5 = register(
    Share(
        name="top5",
        title="Top-5",
        of=lambda arrays: is_correct(arrays["top5"], arrays["labels"], 5),
        higher_is_better=True,
        over="main",
    )
)
REAL = register(
    Share(
        name="real",
        title="ReaL",
        of=lambda arrays: arrays["real"][arrays["real"] >= 0] == 1,  # images without an answer are left out
        higher_is_better=True,
        is_plain=True,
        over="answers",
    )
)


def headline(arrays: Arrays) -> NDArray[np.bool_]:
    """(n,) whether each image is right by the accuracy its set is about: ReaL where there are several answers."""
    return (REAL if "real" in arrays else TOP1).sample(arrays)
