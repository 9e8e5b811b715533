"""Metrics: numbers about how a model did on images, how sure they are, and functions on arrays behind them.

A metric is an object in `METRICS`, and nothing but it knows what it is called, what it is computed from, how sure it is
and how two models are compared by it. A new file in this folder is found by being here.

Accuracies, errors and calibration are fractions. Corruption errors are percentages of a reference's error, the unit
the literature prints. Every interval is a 95 % one.
"""

import importlib
import pkgutil

from gfnet_bench.metrics.accuracy import TOP1, headline, is_correct, real_correct
from gfnet_bench.metrics.base import METRICS, Average, Metric, OfPass, Pass, Recorded, Share, Statistic, register
from gfnet_bench.metrics.calibration import calibration_error, calibration_interval
from gfnet_bench.metrics.comparisons import LEVEL, holm, letters, smallest_difference, smallest_shown
from gfnet_bench.metrics.corruption_errors import (
    MCE,
    MEAN_CE,
    RELATIVE_MCE,
    CorruptionError,
    Errors,
    bound_of_ratios,
    corruption_error,
    mce,
    mce_by_image,
    relative_mce,
)
from gfnet_bench.metrics.predictions import Predictions, ids_sha256, scores, to_arrays, values
from gfnet_bench.metrics.statistics import (
    Difference,
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
    "LEVEL",
    "MCE",
    "MEAN_CE",
    "METRICS",
    "RELATIVE_MCE",
    "TOP1",
    "Average",
    "CorruptionError",
    "Difference",
    "Errors",
    "Interval",
    "Metric",
    "OfPass",
    "Paired",
    "Pass",
    "Predictions",
    "Recorded",
    "Share",
    "Statistic",
    "Z",
    "bound_of_ratios",
    "calibration_error",
    "calibration_interval",
    "compare",
    "corruption_error",
    "headline",
    "holm",
    "ids_sha256",
    "is_correct",
    "letters",
    "mce",
    "mce_by_image",
    "mcnemar_p",
    "mean_interval",
    "positive_mean_interval",
    "real_correct",
    "register",
    "relative_mce",
    "scores",
    "share_interval",
    "smallest_difference",
    "smallest_shown",
    "to_arrays",
    "values",
    "wilson_interval",
]

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")
