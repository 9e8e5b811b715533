"""Records to numbers: one `Outcome` for each row and column of the robustness tables, with interval or reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gfnet_bench import metrics
from gfnet_bench.catalog import SEVERITIES
from gfnet_bench.errors import MissingError
from gfnet_bench.inputs import IMAGES, differing
from gfnet_bench.metrics import MCE, RELATIVE_MCE, TOP1, CorruptionError, Interval, OfPass, Pass, Recorded
from gfnet_bench.perturbations import CLEAN, Corrupted, Corruptions, Perturbation, of_cell
from gfnet_bench.published import Published, alexnet, corruptions, published
from gfnet_bench.records import Cell, Record
from gfnet_bench.reports.drawing.intervals import with_interval
from gfnet_bench.reports.drawing.tables import NOT_APPLICABLE
from gfnet_bench.reports.reading.coverage import Coverage, coverage
from gfnet_bench.reports.reading.labels import labelled
from gfnet_bench.reports.reading.scores import Score, Setup, setup_of
from gfnet_bench.store import Store
from gfnet_bench.suites import ALEXNET
from gfnet_bench.suites.own import is_own

PARTIAL = "§"
"""Set after a number that is about a part of its data set."""


@dataclass(frozen=True)
class Outcome:
    """What is known about one number.

    Attributes:
        setup: the row.
        score: the column.
        status: `measured`, `failed`, `missing` (data or weights), `incomplete`, `undefined`, `not recorded` (by a
            version that did not know the metric), `not measured` or `not applicable`.
        value: in the unit of the column, where measured.
        interval: 95 %, in the same.
        coverage: of the data set, where measured.
        short: what a cell of the table says instead of a value.
        reason: why there is no value.
        published: the figure it may be held against.
    """

    setup: Setup
    score: Score
    status: str
    value: float | None = None
    interval: Interval | None = None
    coverage: Coverage | None = None
    short: str = ""
    reason: str = ""
    published: Published | None = None

    @property
    def mark(self) -> str:
        """Set after a published figure that was not seen at a public source."""
        if self.published is None or self.published.verified:
            return ""
        return "‡" if self.published.doubtful else "†"

    @property
    def is_partial(self) -> bool:
        """Whether it is measured on a part of the data set."""
        return self.coverage is not None and not self.coverage.complete

    @property
    def ours(self) -> str:
        """The number with its 95 % interval, or why there is none."""
        if self.value is None:
            return self.short or self.status
        shown = with_interval(self.value, self.interval, self.score.measure.digits)
        return f"{shown} {PARTIAL}" if self.is_partial else shown

    @property
    def text(self) -> str:
        """Ours, and in brackets what was published."""
        return self.ours if self.published is None else f"{self.ours} ({self.published.value:.1f}{self.mark})"


class ByImage(NamedTuple):
    """Which images, how many, and the metric's sample of them: most often what each adds to the number."""

    ids_sha256: str
    images: int
    sample: NDArray


class _Wrong(NamedTuple):
    """Which images, and for each corruption (n,) the share of severities at which they are misclassified."""

    ids_sha256: str
    values: dict[str, NDArray[np.float64]]


class Results:
    """Records by row and column.

    Args:
        records: of the study `robustness`, in any order.
        store: where their arrays are; None leaves out what needs arrays.
    """

    def __init__(self, records: Sequence[Record], store: Store | None = None) -> None:
        self._store = store
        self._arrays = lru_cache(_KEPT)(self._read_arrays)
        self._outcomes: dict[tuple[Setup, Score], Outcome] = {}
        self._sample = lru_cache(_KEPT)(self._read_sample)
        self._intervals: dict[tuple[Cell, OfPass], Interval | None] = {}
        self._records: dict[Setup, dict[Key, Record]] = {}
        self._by_image: dict[tuple[Setup, Score], ByImage | MissingError] = {}
        self._wrongs: dict[tuple[Setup, Score], _Wrong] = {}
        rows = labelled(records, lambda record: setup_of(record.cell))
        for record in records:
            self._records.setdefault(rows[setup_of(record.cell)], {})[_key(record.cell)] = record

    @property
    def setups(self) -> list[Setup]:
        """The rows, in order of name."""
        return sorted(self._records, key=lambda s: (s.model, s.label, s.rest))

    def records(self, setup: Setup, score: Score) -> list[Record]:
        """The records behind one number; behind an mCE those of other corruptions of the set as well."""
        found = self._records.get(setup, {})
        if score.over_corruptions:
            return [r for r in found.values() if _every(r) == (score.dataset, score.perturbation)]
        return [found[key] for key in _keys(score) if key in found]

    def behind(self, setup: Setup, score: Score, name: str | None = None) -> tuple[str, ...]:
        """Identities of the records behind a number, or of those about one corruption; a reference's with them."""
        found = self._counted(setup, score) if name is None else self.records(setup, score)
        reference = self._reference(setup, score)
        if score.over_corruptions and reference:
            found = [*found, *(self._counted(reference, score) if name is None else self.records(reference, score))]
        return tuple(dict.fromkeys(r.cell.sha256 for r in found if name in (None, _name(r))))

    def faint(self, setup: Setup, score: Score) -> list[str]:
        """Corruptions under which the reference's own loss is not surely above nothing, of which relative mCE is."""
        reference = self._reference(setup, score)
        if reference is None:
            return []
        try:
            added = self._wrong(reference, replace(score, metric=RELATIVE_MCE.name)).values
        except MissingError:
            return []
        intervals = {name: metrics.mean_interval(values) for name, values in added.items()}
        return [name for name, interval in intervals.items() if interval is None or interval.low <= 0]

    def same_images(self, first: Setup, second: Setup, score: Score) -> bool:
        """Whether nothing says that two rows saw other images behind one number."""
        a, b = ({_key(r.cell): r.provenance for r in self.records(setup, score)} for setup in (first, second))
        return not any(differing(a[key], b[key], IMAGES) for key in a.keys() & b.keys())

    def noted(self, setup: Setup, name: str) -> Any:
        """What every measured record of a row says in its provenance: `params`, the model's number of parameters."""
        found = (r.provenance.get(name) for r in self._records.get(setup, {}).values())
        return next((value for value in found if value is not None), None)

    def outcome(self, setup: Setup, score: Score) -> Outcome:
        """One number, or why there is none."""
        if (setup, score) not in self._outcomes:
            self._outcomes[setup, score] = self._find(setup, score)
        return self._outcomes[setup, score]

    def _find(self, setup: Setup, score: Score) -> Outcome:
        side = (setup.settings.get("img_size") or [None])[0]
        transform = setup.settings.get("transform", "paper")
        quoted = score.published and published(setup.model, score.published, transform=transform, side=side)
        blank = Outcome(setup, score, "not measured", short="-", published=quoted or None)
        if why := score.suite.lacks.get(score.dataset):
            return replace(blank, status="not applicable", short=NOT_APPLICABLE, reason=why)
        records = self._counted(setup, score)
        measured = [r for r in records if r.error is None]
        if not records:
            return blank
        if not measured:
            status, reason = _failure(records[0].error or "")
            return replace(blank, status=status, short="", reason=reason)
        wanted = len(corruptions()) * len(SEVERITIES) if score.over_corruptions else len(_keys(score))
        if len(measured) < wanted:
            failed = [r.error for r in records if r.error is not None]
            reason = f"{len(measured)} of {wanted} cells measured"
            reason += f", {len(failed)} failed, the first with: {_failure(failed[0])[1]}" if failed else ""
            return replace(blank, status="incomplete", short=f"incomplete {len(measured)}/{wanted}", reason=reason)
        seen = replace(blank, status="measured", short="", coverage=coverage(measured))
        metric = score.measure
        if isinstance(metric, CorruptionError):
            return self._mce(seen, blank, metric)
        if isinstance(metric, OfPass):
            return self._mean(seen, blank, metric, measured)
        raise TypeError(f"{metric.name}: expected a metric of passes or of corruptions, found {type(metric).__name__}")

    def _counted(self, setup: Setup, score: Score) -> list[Record]:
        """The records behind a number; behind an mCE those of the fifteen corruptions alone."""
        found = self.records(setup, score)
        return [r for r in found if _name(r) in corruptions()] if score.over_corruptions else found

    # Metrics of one pass, or averaged over several

    def _mean(self, seen: Outcome, blank: Outcome, metric: OfPass, records: Sequence[Record]) -> Outcome:
        try:
            value = float(np.mean([self._value(r, metric) for r in records]))
        except MissingError as problem:
            return replace(blank, status="not recorded", short="not recorded", reason=str(problem))
        if not math.isfinite(value):
            reason = f"{metric.name} of these images is no number"
            return replace(blank, status="undefined", short="undefined", reason=reason)
        interval = self._mean_interval(seen, metric, records)
        scaled = interval and Interval(*(metric.scale * end for end in interval))
        return replace(seen, value=metric.scale * value, interval=scaled)

    def _value(self, record: Record, metric: OfPass) -> float:
        stored = metric.stored(record.values)
        return metric.value(self._arrays(record.cell)) if stored is None else stored

    def _mean_interval(self, seen: Outcome, metric: OfPass, records: Sequence[Record]) -> Interval | None:
        if len(records) > 1 and metric.clustered:
            by_image = self.by_image(seen.setup, seen.score)
            if isinstance(by_image, ByImage):
                return metric.spread(by_image.sample)
        return _mean_of_intervals([self._interval(r, metric) for r in records])

    def _interval(self, record: Record, metric: OfPass) -> Interval | None:
        if (record.cell, metric) not in self._intervals:
            self._intervals[record.cell, metric] = self._find_interval(record, metric)
        return self._intervals[record.cell, metric]

    def _find_interval(self, record: Record, metric: OfPass) -> Interval | None:
        cell = record.cell
        value, images = self._value(record, metric), int(record.values["images"])
        try:
            return metric.interval(Pass(value, images, lambda: self._arrays(cell), lambda: self._sample(cell, metric)))
        except MissingError:
            return None

    # Corruption errors

    def _mce(self, seen: Outcome, blank: Outcome, metric: CorruptionError) -> Outcome:
        setup, score = seen.setup, seen.score
        network = score.suite.reference
        if self.reference(setup, score) is None:
            reason = f"needs all cells of {network} under the same settings, whose errors are the reference"
            if (row := self._reference(setup, score)) and not self.same_images(setup, row, score):
                reason = f"{network}, whose errors are the reference, was measured on other images"
            return replace(blank, status="incomplete", short="no reference", reason=reason)
        errors, reference = self._errors(setup, score), self._reference_errors(setup, score)
        if errors is None or reference is None:
            return replace(blank, status="incomplete", short="no clean", reason="needs the accuracy on clean images")
        if nothing := [name for name in errors if reference[name] <= 0]:
            does = "loses nothing" if metric.less_clean else "makes no error"
            reason = f"{network} {does} under {', '.join(nothing)}, to which nothing can be relative"
            return replace(blank, status="undefined", short="undefined", reason=reason)
        value = 100 * float(np.mean([errors[name] / reference[name] for name in errors]))
        return replace(seen, value=value, interval=self._mce_interval(setup, score, metric))

    def _mce_interval(self, setup: Setup, score: Score, metric: CorruptionError) -> Interval | None:
        if setup == self._reference(setup, score):
            return None
        by_image = self.by_image(setup, score)
        if isinstance(by_image, ByImage) and by_image.sample.std() > 0:
            return metric.spread(by_image.sample)
        own, reference = self._error_intervals(setup, score), self._reference_intervals(setup, score)
        return metrics.bound_of_ratios(own, reference) if own and reference else None

    def errors(self, setup: Setup, score: Score) -> dict[str, float]:
        """Mean top-1 error of every corruption that is measured at all severities, the four extra ones included."""
        found: dict[str, dict[int, float]] = {}
        for record in self.records(setup, score):
            if record.error is None:
                p = corruption_of(record)
                found.setdefault(p.name, {})[p.severity] = 1 - record.values["top1"]
        return {name: sum(e.values()) / len(e) for name, e in found.items() if set(e) >= set(SEVERITIES)}

    def reference(self, setup: Setup, score: Score) -> dict[str, float] | None:
        """The mean errors that mCE is relative to: AlexNet's, or those of the suite's reference; None without them."""
        if score.suite.reference == ALEXNET:
            return {name: float(np.mean(errors)) for name, errors in alexnet().errors.items()}
        own = self._reference(setup, score)
        if own is None:
            return None
        errors = self.errors(own, score)
        return errors if set(errors) >= set(corruptions()) and self.same_images(setup, own, score) else None

    def _reference(self, setup: Setup, score: Score) -> Setup | None:
        """The row whose errors a corruption error is relative to; None where they are published or there is none.

        Of anyone's images the one row of that model, or of that name, will do, whatever its weights and its image size.
        """
        name = score.suite.reference
        if name in (None, ALEXNET):
            return None
        usual = setup.of(name)
        if usual in self._records or not is_own(score.suite.name):
            return usual
        alike = [row for row in self._records if name in (row.model, row.name) and row.protocol == setup.protocol]
        of_set = [row for row in alike if self.records(row, score)]
        return of_set[0] if len(of_set) == 1 else usual

    def _errors(self, setup: Setup, score: Score) -> dict[str, float] | None:
        """The mean errors of the fifteen; for relative mCE what is added to the clean error, None without one."""
        errors = self.errors(setup, score)
        clean = self._clean_error(setup, score) if _less_clean(score) else 0.0
        return None if clean is None else {name: errors[name] - clean for name in corruptions()}

    def _reference_errors(self, setup: Setup, score: Score) -> dict[str, float] | None:
        """The same of the reference."""
        if own := self._reference(setup, score):
            return self._errors(own, score)
        clean = alexnet().clean if _less_clean(score) else 0.0
        return {name: float(np.mean(alexnet().errors[name])) - clean for name in corruptions()}

    def _clean(self, setup: Setup, score: Score) -> Record | None:
        """The record of clean images that corrupted ones are compared with."""
        found = self.records(setup, Score(score.suite.main, CLEAN, "top1"))
        return found[0] if found and found[0].error is None else None

    def _clean_error(self, setup: Setup, score: Score) -> float | None:
        record = self._clean(setup, score)
        return None if record is None else 1 - record.values["top1"]

    def _error_intervals(self, setup: Setup, score: Score) -> dict[str, Interval] | None:
        """Intervals of `_errors` from the accuracies alone."""
        clean = Interval(0.0, 0.0)
        if _less_clean(score):
            record = self._clean(setup, score)
            if record is None:
                return None
            clean = _wrong_share(_wilson(record))
        found: dict[str, list[Interval]] = {}
        for record in self._counted(setup, score):
            found.setdefault(_name(record), []).append(_wrong_share(_wilson(record)))
        means = {
            name: (np.mean([e.low for e in ends]), np.mean([e.high for e in ends])) for name, ends in found.items()
        }
        return {name: Interval(float(low) - clean.high, float(high) - clean.low) for name, (low, high) in means.items()}

    def _reference_intervals(self, setup: Setup, score: Score) -> dict[str, Interval] | None:
        if own := self._reference(setup, score):
            return self._error_intervals(own, score)
        errors = self._reference_errors(setup, score) or {}
        return {name: Interval(error, error) for name, error in errors.items()}

    # Image by image

    def by_image(self, setup: Setup, score: Score) -> ByImage | MissingError:
        """What each image contributes, or why that cannot be known."""
        if (setup, score) not in self._by_image:
            read = self._read_mce if score.over_corruptions else self._read_mean
            try:
                self._by_image[setup, score] = read(setup, score)
            except MissingError as problem:
                self._by_image[setup, score] = problem
        return self._by_image[setup, score]

    def _read_mean(self, setup: Setup, score: Score) -> ByImage:
        records, metric = self.records(setup, score), score.measure
        assert isinstance(metric, OfPass)
        ids, samples = _ids(records), [self._sample(r.cell, metric) for r in records]
        images = len(samples[0]) if metric.per_image else int(records[0].values["images"])
        return ByImage(ids, images, samples[0] if len(samples) == 1 else np.mean(samples, axis=0))

    def _read_sample(self, cell: Cell, metric: OfPass) -> NDArray:
        return metric.sample(self._arrays(cell))

    def _read_mce(self, setup: Setup, score: Score) -> ByImage:
        own = self._wrong(setup, score)
        network = self._reference(setup, score)
        if network is None:
            errors = self._reference_errors(setup, score) or {}
            return _by_image(own.ids_sha256, metrics.mce_by_image(own.values, errors))
        reference = self._wrong(network, score)
        if reference.ids_sha256 != own.ids_sha256:
            raise MissingError(f"{network.model} saw different images, or in another order")
        return _by_image(own.ids_sha256, metrics.mce_by_image(own.values, reference.values))

    def _wrong(self, setup: Setup, score: Score) -> _Wrong:
        """For each of the fifteen corruptions what images add to its error; see `metrics.mce_by_image`."""
        if (setup, score) not in self._wrongs:
            read = self._read_added if _less_clean(score) else self._read_wrong
            self._wrongs[setup, score] = read(setup, score)
        return self._wrongs[setup, score]

    def _read_wrong(self, setup: Setup, score: Score) -> _Wrong:
        records = self._counted(setup, score)
        ids, shares = _ids(records), dict[str, NDArray[np.float64]]()
        for record in records:
            shares[_name(record)] = shares.get(_name(record), np.zeros(1)) + self._misses(record) / len(SEVERITIES)
        return _Wrong(ids, shares)

    def _read_added(self, setup: Setup, score: Score) -> _Wrong:
        corrupted, clean = self._wrong(setup, replace(score, metric=MCE.name)), self._clean(setup, score)
        if clean is None or _ids([clean]) != corrupted.ids_sha256:
            raise MissingError("the clean images are others, or in another order")
        misses = self._misses(clean)
        return corrupted._replace(values={name: share - misses for name, share in corrupted.values.items()})

    def _misses(self, record: Record) -> NDArray[np.float64]:
        return (~self._sample(record.cell, TOP1)).astype(np.float64)

    def _read_arrays(self, cell: Cell) -> Recorded:
        record = self._records[setup_of(cell)][_key(cell)]
        if self._store is None or not record.artifacts:
            raise MissingError("no per-image predictions")
        return Recorded(self._store.arrays(record))


_KEPT = 128
"""So many passes are kept in memory, at a megabyte for 50,000 images: all corrupted cells of one row."""


Key = tuple[str, Perturbation]
"""What `Results` calls a pass of a row: data set and perturbation."""


def _key(cell: Cell) -> Key:
    return cell.settings["dataset"], of_cell(cell)


def _keys(score: Score) -> list[Key]:
    """The passes behind a number that is no mCE."""
    done = score.perturbation
    return [(score.dataset, p) for p in (done.each if isinstance(done, Corruptions) else [done])]


def _every(record: Record) -> Key | None:
    """What corrupted cells have in common whose errors make one mCE."""
    dataset, done = _key(record.cell)
    return (dataset, Corruptions(done.recipe)) if isinstance(done, Corrupted) else None


def corruption_of(record: Record) -> Corrupted:
    """What was done to the images of one of the passes behind an mCE."""
    done = of_cell(record.cell)
    assert isinstance(done, Corrupted)
    return done


def _name(record: Record) -> str:
    return of_cell(record.cell).name


def _ids(records: Sequence[Record]) -> str:
    """Which images all of them saw, in which order.

    Raises:
        MissingError: where that differs or nobody knows.
    """
    seen = {record.provenance.get("ids_sha256") for record in records}
    if len(seen) != 1:
        raise MissingError("its cells saw different images")
    (ids,) = seen
    if not isinstance(ids, str):
        raise MissingError("which images were seen is not recorded")
    return ids


def _less_clean(score: Score) -> bool:
    return isinstance(score.measure, CorruptionError) and score.measure.less_clean


def _by_image(ids_sha256: str, values: NDArray) -> ByImage:
    return ByImage(ids_sha256, len(values), values)


def _wilson(record: Record) -> Interval:
    share, n = record.values[TOP1.name], int(record.values["images"])
    return metrics.wilson_interval(round(share * n), n)


def _wrong_share(right: Interval) -> Interval:
    return Interval(1 - right.high, 1 - right.low)


def _mean_of_intervals(intervals: Sequence[Interval | None]) -> Interval | None:
    """As if all were wrong on the same images, so never too narrow; None where one is not known."""
    known = [interval for interval in intervals if interval is not None]
    if len(known) < len(intervals):
        return None
    return Interval(float(np.mean([i.low for i in known])), float(np.mean([i.high for i in known])))


def _failure(error: str) -> tuple[str, str]:
    """Status and reason of a record that holds an error: its first line, without the name of an error of ours."""
    name, _, text = error.partition(": ")
    plain = text if name in ("MissingError", "GfnetBenchError") else error
    status = "missing" if name == "MissingError" else "failed"
    return status, plain.splitlines()[0] if plain else "no reason was recorded"
