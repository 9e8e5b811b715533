"""Numbers about how a model did on images, and how sure they are; functions on arrays that need NumPy alone.

Accuracies, errors and calibration are fractions. Corruption errors are percentages of a reference's error, the unit
the literature prints. Every interval is a 95 % one.
"""

from gfnet_bench.metrics.accuracy import is_correct, real_accuracy, real_correct, top_k
from gfnet_bench.metrics.calibration import calibration_error, calibration_interval
from gfnet_bench.metrics.corruption_errors import (
    Errors,
    bound_of_ratios,
    corruption_error,
    mce,
    mce_by_image,
    relative_mce,
)
from gfnet_bench.metrics.predictions import Predictions, from_arrays, ids_sha256, scores, to_arrays
from gfnet_bench.metrics.statistics import (
    Interval,
    Paired,
    Z,
    compare,
    mcnemar_p,
    mean_interval,
    positive_mean_interval,
    share_interval,
    wilson_interval,
)

__all__ = [
    "Errors",
    "Interval",
    "Paired",
    "Predictions",
    "Z",
    "bound_of_ratios",
    "calibration_error",
    "calibration_interval",
    "compare",
    "corruption_error",
    "from_arrays",
    "ids_sha256",
    "is_correct",
    "mce",
    "mce_by_image",
    "mcnemar_p",
    "mean_interval",
    "positive_mean_interval",
    "real_accuracy",
    "real_correct",
    "relative_mce",
    "scores",
    "share_interval",
    "to_arrays",
    "top_k",
    "wilson_interval",
]
