"""What a metric is, and the three kinds that a function of one pass makes: shares, averages and anything else."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from gfnet_bench.errors import MissingError, UsageError
from gfnet_bench.metrics.statistics import (
    Difference,
    Interval,
    Z,
    compare,
    mean_difference,
    mean_interval,
    normal_difference,
    positive_mean_interval,
    share_interval,
    wilson_interval,
)
from gfnet_bench.registry import Registry

Arrays = Mapping[str, NDArray[Any]]
"""What one pass over n images left behind, by name: see `Predictions`."""

DRAWS = 200
"""How often the images of a pass are drawn again for the spread of a number that is no mean over images."""


class Recorded(dict[str, NDArray[Any]]):
    """The arrays of one pass; one that an older record lacks says so."""

    def __missing__(self, name: str) -> NDArray[Any]:
        there = ", ".join(sorted(self))
        raise MissingError(f"{name} of the images is not recorded, only {there}; measure again with --overwrite always")


class Pass(NamedTuple):
    """One pass over images, as far as an interval needs it.

    Attributes:
        value: the metric.
        images: how many it is over.
        arrays: reads them; raises MissingError where they were not kept.
        sample: `Metric.sample` of them.
    """

    value: float
    images: int
    arrays: Callable[[], Arrays]
    sample: Callable[[], NDArray[Any]]

    @classmethod
    def of(cls, metric: OfPass, arrays: Arrays) -> Pass:
        """A pass whose arrays are at hand."""
        sample = metric.sample(arrays)
        images = len(sample) if metric.per_image else len(arrays["labels"])
        return cls(metric.value(arrays), images, lambda: arrays, lambda: sample)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number about how a model did on images, and how sure it is.

    Attributes:
        name: in records, data and `--metric`.
        title: in headings.
        unit: of what is shown: `percent` for what is computed as a fraction, `nats`, or nothing.
        digits: decimals shown.
        higher_is_better: else less is.
        on_request: whether a table has its columns only when asked for; as data they are always there.
        note: what a reader of its columns must know.
        is_plain: whether a column named after images or an attack leaves the title out.
        over: what has the number: every `pass`, the clean `main` set alone, sets whose images may have several
            `answers`, `means` over corrupted cells, or all fifteen `corruptions` together.
    """

    name: str
    title: str
    unit: str = "percent"
    digits: int = 1
    higher_is_better: bool = False
    on_request: bool = False
    note: str = ""
    is_plain: bool = False
    over: Literal["pass", "main", "answers", "means", "corruptions"] = "pass"

    per_image = True
    """Whether `sample` has an entry for each image."""

    @property
    def scale(self) -> float:
        """From what is computed to what is shown."""
        return 100 if self.unit == "percent" else 1

    @property
    def points(self) -> str:
        """The unit of a difference."""
        return "points" if self.unit == "percent" else self.unit

    def spread(self, sample: NDArray[Any]) -> Interval | None:
        """The interval of the number, from one sample or the mean of those of several passes over the same images."""
        return mean_interval(sample)

    def paired(self, first: NDArray[Any], second: NDArray[Any]) -> Difference:
        """Two models on the same images, as shown: by their samples, or the means of those over the same passes."""
        return mean_difference(self.scale * np.subtract(first, second, dtype=np.float64))


@dataclass(frozen=True, kw_only=True)
class OfPass(Metric):
    """A metric that every pass has one of, and several passes the mean.

    Attributes:
        of: the arrays of a pass to (n,) values of its images, or to the number itself; see the kinds.
    """

    of: Callable[[Arrays], Any]

    clustered = True
    """Whether the interval over several passes comes from the mean of their samples, not from the mean of theirs."""

    def stored(self, values: Mapping[str, Any]) -> float | None:
        """What a record says; None in one that is older than the metric."""
        return values.get(self.name)

    def value(self, arrays: Arrays) -> float:
        """The number."""
        return float(np.mean(self.sample(arrays), dtype=np.float64))

    def sample(self, arrays: Arrays) -> NDArray[Any]:
        """What `spread` and `paired` go by: the values of the images.

        Raises:
            UsageError: if they are not.
        """
        found, n = np.asarray(self.of(arrays)), len(arrays["labels"])
        if found.shape != (n,) and self.over != "answers":  # an image without an answer has no value
            raise UsageError(f"metric {self.name}: expected a value for each image, ({n},), found shape {found.shape}")
        return found

    def interval(self, seen: Pass) -> Interval | None:
        """Of one pass."""
        return self.spread(seen.sample())


@dataclass(frozen=True, kw_only=True)
class Share(OfPass):
    """The share of the images that are right, or whatever `of` says of each, as (n,) bool."""

    def interval(self, seen: Pass) -> Interval:
        """Wilson's, for which the share and the number of images are enough."""
        return wilson_interval(round(seen.value * seen.images), seen.images)

    def spread(self, sample: NDArray[Any]) -> Interval:
        """Of the mean share over several passes."""
        return share_interval(sample)

    def paired(self, first: NDArray[Any], second: NDArray[Any]) -> Difference:
        """McNemar's test of one pass; over several that of a mean."""
        if first.dtype != bool or second.dtype != bool:
            return super().paired(first, second)
        d = compare(first, second)
        interval = Interval(self.scale * d.interval.low, self.scale * d.interval.high)
        return Difference(self.scale * d.difference, interval, d.p, d.only_first, d.only_second)


@dataclass(frozen=True, kw_only=True)
class Average(OfPass):
    """The mean of a number that `of` says of each image, as (n,) float."""

    def spread(self, sample: NDArray[Any]) -> Interval | None:
        """On a logarithmic scale where no image can pull it below zero."""
        return positive_mean_interval(sample) if sample.min(initial=0) >= 0 else mean_interval(sample)


@dataclass(frozen=True, kw_only=True)
class Statistic(OfPass):
    """Any number of a pass, `of` its arrays; how sure it is comes from images drawn again (Efron 1979).

    Its sample is the number, and then what it was in each of `DRAWS` draws. The draws are the same for every pass over
    as many images, so that a mean over passes, or a difference of two models, is of the same images each time.
    """

    per_image = False

    def value(self, arrays: Arrays) -> float:
        """The number."""
        return float(self.of(arrays))

    def sample(self, arrays: Arrays) -> NDArray[np.float64]:
        """(1 + DRAWS,)."""
        rng, n = np.random.default_rng(0), len(arrays["labels"])
        return np.array([self.of(arrays), *(self.of(_Drawn(arrays, rng.integers(n, size=n))) for _ in range(DRAWS))])

    def spread(self, sample: NDArray[Any]) -> Interval | None:
        """Normal, with the spread of the draws; None where all of them are alike."""
        half = Z * float(sample[1:].std(ddof=1))
        return Interval(float(sample[0]) - half, float(sample[0]) + half) if half > 0 and math.isfinite(half) else None

    def paired(self, first: NDArray[Any], second: NDArray[Any]) -> Difference:
        """By the spread of the difference over the draws."""
        d = self.scale * (first - second)
        return normal_difference(float(d[0]), Z * float(d[1:].std(ddof=1)))


class _Drawn(dict[str, NDArray[Any]]):
    """Arrays of chosen images; only those that are asked for are gathered."""

    def __init__(self, arrays: Arrays, chosen: NDArray[np.int64]) -> None:
        super().__init__()
        self._arrays, self._chosen = arrays, chosen

    def __missing__(self, name: str) -> NDArray[Any]:
        return self.setdefault(name, self._arrays[name][self._chosen])


METRICS: Registry[Metric] = Registry("metric", "metrics")


AnyMetric = TypeVar("AnyMetric", bound=Metric)


def register(metric: AnyMetric) -> AnyMetric:
    """Make a metric known: from then on reports have it, of older records too, and `--metric` takes its name."""
    METRICS.add(metric.name, metric)
    return metric
