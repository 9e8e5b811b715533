"""What a model did on images: numbers, how sure they are, and how two compare."""

from __future__ import annotations

from typing import Any

from gfnet_bench.api.given import kind
from gfnet_bench.errors import UsageError
from gfnet_bench.metrics import METRICS, Difference, Interval, OfPass, Pass, Recorded
from gfnet_bench.perturbations import from_settings
from gfnet_bench.records import Cell
from gfnet_bench.reports.drawing.tables import Column, Table
from gfnet_bench.runner import Outcome


class Result:
    """One model on one set of images, clean, attacked or corrupted. Accuracies and errors are fractions.

    Attributes:
        model: its name.
        dataset: that of the images.
        perturbation: what was done to them, `pgd:epsilon=4/255`.
        ids: names of the n images, without those that could not be read.
        arrays: what was found for each of them: `top5` (n, 5) class indices, the most likely first, `confidence` (n,)
            of the first, `nll` (n,) in nats, `brier` (n,), `labels` (n,); and `real` (n,) where images may have several
            right answers: 1 right, 0 wrong, -1 without an answer.
        values: what a record of it would hold.
        settings: what decided the numbers, beside the model.
        provenance: device, batch size, hashes of weights and images, images left out.
    """

    def __init__(self, cell: Cell, model: str, ids: tuple[str, ...], outcome: Outcome) -> None:
        self.model, self.dataset, self.ids = model, cell.settings["dataset"], ids
        self.perturbation = from_settings(cell.settings["perturbation"]).spelling
        self.values, self.settings, self.provenance = outcome.values, cell.settings, outcome.provenance
        self.arrays, self._arrays = outcome.arrays, Recorded(outcome.arrays)
        if "real" in outcome.arrays:  # numbers are about the images that have an answer
            kept = outcome.arrays["real"] >= 0
            self._arrays = Recorded({name: array[kept] for name, array in outcome.arrays.items()})

    @property
    def images(self) -> int:
        """How many images the numbers are over."""
        return int(self.values["images"])

    @property
    def top1(self) -> float:
        """The share of images whose first class is the label."""
        return self.value("top1")

    @property
    def top5(self) -> float:
        """The share of images whose label is among the first five classes."""
        return self.value("top5")

    def value(self, metric: str = "top1") -> float:
        """A metric of this pass: `top1`, `top5`, `real`, `nll` (nats), `brier`, `ece`, or another that is registered.

        Raises:
            UsageError: if there is none of that name, or it is none of a single pass.
        """
        found = _of_pass(metric)
        self._check(found)
        stored = found.stored(self.values)
        return found.value(self._arrays) if stored is None else stored

    def interval(self, metric: str = "top1") -> Interval | None:
        """The 95 % interval of a metric over the images, (low, high) in its unit; None where there is none.

        Raises:
            UsageError: as `value`.
        """
        found = _of_pass(metric)
        return found.interval(
            Pass(self.value(metric), self.images, lambda: self._arrays, lambda: found.sample(self._arrays))
        )

    def compare(self, other: Result, metric: str = "top1") -> Difference:
        """This less the other, on the same images: difference, 95 % interval and p of the paired test.

        In percentage points for what is a fraction, else in the unit of the metric.

        Raises:
            UsageError: if the other is of other images, or as `value`.
        """
        if not isinstance(other, Result):
            raise UsageError(f"compare: expected another result of evaluate, found {kind(other)}")
        seen = ("ids_sha256", "data_sha256", "data_fingerprint")
        if any(self.provenance[key] != other.provenance[key] for key in seen):
            raise UsageError(
                f"compare: expected results over the same images, found {self.dataset} ({self.images} images) and "
                f"{other.dataset} ({other.images} images); evaluate both models on one set"
            )
        found = _of_pass(metric)
        for result in (self, other):
            result._check(found)
        return found.paired(found.sample(self._arrays), found.sample(other._arrays))

    def __repr__(self) -> str:
        low, high = self.interval() or (self.top1, self.top1)
        done = "" if self.perturbation == "clean" else f", {self.perturbation}"
        return (
            f"Result {self.model} on {self.dataset}{done}: top-1 {100 * self.top1:.1f} % "
            f"[{100 * low:.1f}, {100 * high:.1f}], {self.images} images"
        )

    def _repr_html_(self) -> str:
        return self._table()._repr_html_()

    def _table(self) -> Table:
        rows: list[dict[str, Any]] = []
        for name in METRICS:
            metric = METRICS[name]
            if not isinstance(metric, OfPass) or name not in self.values:
                continue
            numbers = (self.value(name), *(self.interval(name) or (None, None)))
            value, low, high = (None if n is None else n * metric.scale for n in numbers)
            unit = "%" if metric.unit == "percent" else metric.unit
            rows.append({"metric": f"{metric.title} ({unit})" if unit else metric.title, "value": value})
            rows[-1] |= {"low": low, "high": high}
        columns = [
            Column("metric", ""),
            *(Column(key, key, digits=3, align="right") for key in ("value", "low", "high")),
        ]
        done = "" if self.perturbation == "clean" else f", {self.perturbation}"
        note = "low, high: 95 % interval over the images"
        return Table("result", f"{self.model} on {self.dataset}{done}, {self.images} images", columns, rows, [note])

    def _check(self, metric: OfPass) -> None:
        if metric.over == "answers" and "real" not in self._arrays:
            raise UsageError(f"{metric.name}: expected images with several right answers, found {self.dataset}")


def _of_pass(name: str) -> OfPass:
    metric = METRICS[name]
    if not isinstance(metric, OfPass):
        raise UsageError(f"{name}: is a number over several corruptions, found one pass; robustness() measures them")
    return metric
