"""What a precision below float32 changes, seen on a sample of the images of every cell that is measured in one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnet_bench.metrics import Predictions

SAMPLE = 200
"""Images that are measured in float32 too."""

NOTED = "float32_sample"
"""Where the provenance of a record holds what was seen."""


def sample(count: int) -> NDArray[np.int64]:
    """Positions of the sample among so many images, evenly spread: the same in every run."""
    return np.unique(np.linspace(0, count - 1, min(SAMPLE, count)).round().astype(np.int64))


def against_float32(found: Predictions, reference: Predictions, rows: NDArray[np.int64]) -> dict[str, Any]:
    """How the answers in a fast mode compare with those in float32.

    Args:
        found: of all images, in the fast mode.
        reference: of the sample, in float32.
        rows: the sample's positions among all images.

    Returns:
        `images` of the sample; `changed`: of how many the answer is another; `top1_points`: top-1 of the sample in the
        fast mode less that in float32.
    """
    fast, exact, labels = found.top5[rows, 0], reference.top5[:, 0], reference.labels
    points = 100 * float((fast == labels).mean() - (exact == labels).mean())
    return {"images": len(rows), "changed": int((fast != exact).sum()), "top1_points": round(points, 3)}
