"""Records to numbers: one `Outcome` for each row and column of the robustness tables, with interval or reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gfnet_bench import metrics
from gfnet_bench.errors import MissingError
from gfnet_bench.metrics import Interval
from gfnet_bench.published import Published, alexnet, corruptions, published
from gfnet_bench.records import Record, Store
from gfnet_bench.reports.scores import CLEAN, SEVERITIES, Score, Setup, scores_of, setup_of

MINI_REFERENCE = "resnet_mini"
"""Its errors take AlexNet's place in the mCE of the mini suite."""

MARKS = {"†": "published, but quoted from memory", "‡": "published, quoted from memory and uncertain even so"}


@dataclass(frozen=True)
class Outcome:
    """What is known about one number.

    Attributes:
        setup: the row.
        score: the column.
        status: `measured`, `failed`, `missing` (data or weights), `incomplete`, `not measured` or `not applicable`.
        value: in percent, where measured.
        interval: 95 %, in percent.
        images: how many were scored.
        excluded: how many could not be read.
        short: what a cell of the table says instead of a value.
        reason: why there is no value.
        published: the figure it may be held against.
    """

    setup: Setup
    score: Score
    status: str
    value: float | None = None
    interval: Interval | None = None
    images: int | None = None
    excluded: int | None = None
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
    def text(self) -> str:
        """Ours with half of its 95 % interval, and in brackets what was published."""
        ours = self.short or self.status if self.value is None else f"{self.value:.1f}"
        if self.value is not None and self.interval is not None:
            ours += f" ±{(self.interval.high - self.interval.low) / 2:.1f}"
        return ours if self.published is None else f"{ours} ({self.published.value:.1f}{self.mark})"


class ByImage(NamedTuple):
    """Which images, and for each of them whether it is right or what it adds to the mCE."""

    ids_sha256: str
    values: NDArray


class Results:
    """Records by row and column.

    Args:
        records: of the study `robustness`, in any order.
        store: where their arrays are; None leaves out what needs arrays.
    """

    def __init__(self, records: Sequence[Record], store: Store | None = None) -> None:
        self._store = store
        self._records: dict[Setup, dict[Score, list[Record]]] = {}
        self._by_image: dict[tuple[Setup, Score], ByImage | None] = {}
        for record in records:
            for score in scores_of(record.cell):
                self._records.setdefault(setup_of(record.cell), {}).setdefault(score, []).append(record)

    @property
    def setups(self) -> list[Setup]:
        """The rows, in order of name."""
        return sorted(self._records, key=lambda s: (s.model, s.label, s.rest))

    def scores(self, setup: Setup) -> list[Score]:
        """The columns a row has a record for."""
        return list(self._records[setup])

    def records(self, setup: Setup, score: Score) -> list[Record]:
        """The records behind one number."""
        return self._records.get(setup, {}).get(score, [])

    def params(self, setup: Setup) -> int | None:
        """The model's number of parameters, which every measured record knows."""
        found = (r.provenance.get("params") for rs in self._records.get(setup, {}).values() for r in rs)
        return next((p for p in found if p is not None), None)

    def outcome(self, setup: Setup, score: Score) -> Outcome:
        """One number, or why there is none."""
        side = (setup.settings.get("img_size") or [None])[0]
        transform = setup.settings.get("transform", "paper")
        quoted = score.published and published(setup.model, score.published, transform=transform, side=side)
        blank = Outcome(setup, score, "not measured", short="-", published=quoted or None)
        records = self.records(setup, score)
        if score.dataset == "mini_real":
            return replace(blank, status="not applicable", short="n/a", reason="Fashion-MNIST has no ReaL labels")
        if not records:
            return blank
        if all(record.error is not None for record in records):
            status, reason = _failure(records[0].error or "")
            return replace(blank, status=status, short="", reason=reason)
        if score.over_corruptions:
            return self._mce(blank, records)
        values = records[0].values
        share, n = values[score.metric], int(values["images"])
        low, high = metrics.wilson_interval(round(share * n), n)
        return replace(
            blank,
            status="measured",
            value=100 * share,
            interval=Interval(100 * low, 100 * high),
            images=n,
            excluded=values.get("excluded"),
        )

    def _mce(self, blank: Outcome, records: Sequence[Record]) -> Outcome:
        setup, score = blank.setup, blank.score
        errors = self.errors(setup, score)
        wanted = len(corruptions()) * len(SEVERITIES)
        kept = [r for r in records if r.cell.settings["perturbation"]["name"] in corruptions()]
        measured = sum(r.error is None for r in kept)
        if measured < wanted:
            reason = f"{measured} of {wanted} cells measured"
            failed = [r.error for r in kept if r.error is not None]
            reason += f", {len(failed)} failed, the first with: {_failure(failed[0])[1]}" if failed else ""
            return replace(blank, status="incomplete", short=f"incomplete {measured}/{wanted}", reason=reason)
        errors = {name: errors[name] for name in corruptions()}
        reference = self.reference(setup, score)
        if reference is None:
            reason = f"needs all cells of {MINI_REFERENCE} under the same settings, whose errors are the reference"
            return replace(blank, status="incomplete", short="no reference", reason=reason)
        images = min(int(r.values["images"]) for r in kept)
        seen = replace(blank, status="measured", images=images, excluded=sum(r.values.get("excluded", 0) for r in kept))
        if score.metric == "mce":
            return replace(seen, value=metrics.mce(errors, reference), interval=self._mce_interval(seen, errors))
        clean, reference_clean = self._clean_error(setup, score), self._reference_clean(setup, score)
        if clean is None or reference_clean is None:
            return replace(blank, status="incomplete", short="no clean", reason="needs the accuracy on clean images")
        return replace(seen, value=metrics.relative_mce(errors, clean, reference, reference_clean))

    def _mce_interval(self, outcome: Outcome, errors: metrics.Errors) -> Interval | None:
        reference = self.reference(outcome.setup, outcome.score)
        if reference is None or outcome.images is None or self._is_reference(outcome.setup, outcome.score):
            return None
        by_image = self.by_image(outcome.setup, outcome.score)
        if by_image is not None and len(by_image.values) > 1:
            return metrics.mean_interval(by_image.values)
        return metrics.mce_interval_bound(errors, reference, outcome.images)

    def errors(self, setup: Setup, score: Score) -> dict[str, list[float]]:
        """Top-1 errors by severity of every corruption that is measured at all five."""
        found: dict[str, dict[int, float]] = {}
        for record in self.records(setup, score):
            if record.error is None:
                p = record.cell.settings["perturbation"]
                found.setdefault(p["name"], {})[p["severity"]] = 1 - record.values["top1"]
        return {name: [e[s] for s in SEVERITIES] for name, e in found.items() if set(e) >= set(SEVERITIES)}

    def reference(self, setup: Setup, score: Score) -> metrics.Errors | None:
        """The errors that mCE is relative to: AlexNet's, or in the mini suite those of its ResNet."""
        if score.suite == "imagenet":
            return alexnet().errors
        errors = self.errors(setup.of(MINI_REFERENCE), score)
        return errors if set(errors) >= set(corruptions()) else None

    def _reference_clean(self, setup: Setup, score: Score) -> float | None:
        if score.suite == "imagenet":
            return alexnet().clean
        return self._clean_error(setup.of(MINI_REFERENCE), score)

    def _is_reference(self, setup: Setup, score: Score) -> bool:
        return score.suite == "mini" and setup == setup.of(MINI_REFERENCE)

    def _clean_error(self, setup: Setup, score: Score) -> float | None:
        records = self.records(setup, Score(score.suite, CLEAN, "top1"))
        return 1 - records[0].values["top1"] if records and records[0].error is None else None

    def by_image(self, setup: Setup, score: Score) -> ByImage | None:
        """What each image contributes; None where arrays are gone, or the cells behind one number saw other images."""
        if (setup, score) not in self._by_image:
            try:
                self._by_image[setup, score] = self._read_by_image(setup, score)
            except (MissingError, KeyError):
                self._by_image[setup, score] = None
        return self._by_image[setup, score]

    def _read_by_image(self, setup: Setup, score: Score) -> ByImage | None:
        records = self.records(setup, score)
        if score.over_corruptions:
            records = [r for r in records if r.cell.settings["perturbation"]["name"] in corruptions()]
        seen = {r.provenance["ids_sha256"] for r in records}
        if self._store is None or len(seen) != 1 or any(r.error is not None for r in records):
            return None
        if not score.over_corruptions:
            return ByImage(seen.pop(), _right(self._store.arrays(records[0]), score.metric))
        reference = self.reference(setup, score)
        if reference is None or len(records) < len(corruptions()) * len(SEVERITIES):
            return None
        wrong: dict[str, Any] = dict.fromkeys(corruptions(), 0.0)
        for record in records:
            right = _right(self._store.arrays(record), "top1")
            wrong[record.cell.settings["perturbation"]["name"]] += ~right / np.float64(len(SEVERITIES))
        return ByImage(seen.pop(), metrics.mce_by_image(wrong, reference))


def _right(arrays: dict[str, NDArray], metric: str) -> NDArray[np.bool_]:
    """(n,) whether an image is right; images without a ReaL label are left out."""
    if metric == "real":
        return arrays["real"][arrays["real"] >= 0] == 1
    return metrics.is_correct(arrays["top5"], arrays["labels"], 5 if metric == "top5" else 1)


def _failure(error: str) -> tuple[str, str]:
    """Status and reason of a record that holds an error: its first line, without the name of an error of ours."""
    name, _, text = error.partition(": ")
    plain = text if name in ("MissingError", "GfnetBenchError") else error
    status = "missing" if name == "MissingError" else "failed"
    return status, plain.splitlines()[0] if plain else "no reason was recorded"
