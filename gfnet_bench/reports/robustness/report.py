"""The robustness report: the paper's Table 3, its corruptions one by one, paired comparisons, and all of it as data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from gfnet_bench.catalog import SEVERITIES
from gfnet_bench.datasets import suite_of
from gfnet_bench.metrics import MCE, MEAN_CE, METRICS, TOP1, Metric
from gfnet_bench.perturbations import Corrupted, Corruptions, of_cell
from gfnet_bench.published import corruptions
from gfnet_bench.records import Record
from gfnet_bench.reports.base import REPORTS, Report
from gfnet_bench.reports.drawing import intervals
from gfnet_bench.reports.drawing.tables import RECORDS, Column, Row, Table, data_columns, names_of
from gfnet_bench.reports.reading.consistent import consistent
from gfnet_bench.reports.reading.differences import EXPLAINED, explained
from gfnet_bench.reports.reading.scores import (
    SCORE,
    Score,
    Setup,
    scores_of,
    setup_of,
    standard,
    titles,
)
from gfnet_bench.reports.reading.selection import Selection
from gfnet_bench.reports.robustness.corruption_tables import corruption_errors, severities
from gfnet_bench.reports.robustness.paired import paired
from gfnet_bench.reports.robustness.results import MARKS, PARTIAL, Outcome, Results
from gfnet_bench.suites import ALEXNET, SUITES, Suite
from gfnet_bench.suites.own import is_own


@REPORTS.register("robustness")
def robustness(
    selection: Selection,
    *,
    metrics: Sequence[str] = (),
    planned: Sequence[str] = (),
) -> Report:
    """The paper's Table 3 for every model measured: accuracy, attacks, ImageNet-C, -A, -V2, ReaL.

    Args:
        selection: what to show.
        metrics: names of metrics that also have columns; the others have them where a table always does.
        planned: models that have a row even where nothing of them is measured, with what was published.

    Raises:
        UsageError: for a metric that there is not.
        MissingError: if nothing of the kind is measured, nor planned; the text names the models that are.
    """
    metrics = [METRICS[name].name for name in metrics]
    chosen = selection.of("robustness")
    models, problems = chosen.models, chosen.problems
    if not chosen.shown and not planned:
        way = f"--model {' '.join(chosen.unknown)}" if chosen.unknown else f"--suite {selection.suite or 'mini'}"
        raise chosen.absent("robustness", f"gfnet-bench robustness {way}")
    everything = {r.cell: r for r in (*selection.loaded.records, *selection.records) if r.cell.study == "robustness"}
    kept, inputs = _consistent(everything.values(), {setup_of(r.cell) for r in chosen.shown})
    results = Results(kept, selection.store)
    standing = {r.cell for r in kept}
    shown = [r for r in chosen.shown if r.cell in standing]

    tables: list[Table] = []
    details: list[Table] = []
    lines: list[Row] = []
    known = [SUITES[name] for name in SUITES]
    for one in dict.fromkeys([*known, *map(_suite, shown)]):
        measured = [r for r in shown if _suite(r) == one]
        blank = [name for name in planned if Setup.usual(name).suite == one.name]
        if not (measured or blank):
            continue
        setups = [setup for setup in results.setups if setup in {setup_of(r.cell) for r in measured}]
        setups += [Setup.usual(name) for name in blank if name not in {setup.model for setup in setups}]
        setups.sort(key=lambda s: models.index(s.model) if models else 0)
        means = _means(measured)
        asked = [*metrics, *([] if one.reference and not is_own(one.name) else [MEAN_CE.name])]
        called = titles({*standard(one), *_scores(measured, means, asked)})
        columns = {score: called[score] for score in _columns(results, setups, called, means, asked)}
        outcomes = [results.outcome(setup, score) for setup in setups for score in columns]
        titled = _titled(one, measured)
        notes = [*_classes(results, setups), *inputs.get(one, ()), *problems]
        tables += [
            _wide(titled, results, setups, columns, outcomes, notes),
            _beside(titled, results, columns, outcomes),
        ]
        for score in _corrupted_sets(one, columns, means):
            tables.append(corruption_errors(results, setups, score))
            having = [setup for setup in setups if results.records(setup, score)]
            whole = all(set(corruptions()) <= set(results.errors(setup, score)) for setup in having)
            (details if whole else tables).append(severities(results, setups, score))
        details += paired(titled, results, setups, columns)
        lines += [_line(o, called[o.score]) for o in _outcomes(results, setups, called, columns)]
    tables, details = ([t for t in found if t.rows or t.notes] for found in (tables, details))
    title = "Robustness, one row per number; low and high: 95 % interval"
    return Report(
        tables,
        Table("robustness_long", title, _long(lines), lines, [*chain(*inputs.values()), *problems]),
        details=details,
    )


def _titled(suite: Suite, records: Sequence[Record]) -> Suite:
    """A suite as tables call it: one of anyone's images says how many there are, of how many classes."""
    if not is_own(suite.name):
        return suite
    measured = [r for r in records if r.error is None]
    images = max((int(r.values.get("expected") or r.values["images"]) for r in measured), default=0)
    classes = max((len(r.cell.settings.get("classes", ())) for r in records), default=0)
    of = f" of {classes} classes" if classes else ""
    return replace(suite, title=f"{suite.title} ({images} images{of})")


def _classes(results: Results, setups: Iterable[Setup]) -> list[str]:
    """How the classes of anyone's images were found among those of the models."""
    by: dict[str, list[str]] = {}
    for setup in setups:
        if "classes" in setup.settings and (how := results.noted(setup, "classes_by")):
            by.setdefault(how, []).append(setup.label)
    return [f"Classes of {', '.join(labels)}: {how}." for how, labels in by.items()]


def _consistent(records: Iterable[Record], rows: set[Setup]) -> tuple[list[Record], dict[Suite, list[str]]]:
    """The records that may stand together, and what is to be said about these rows, by suite."""
    kept: list[Record] = []
    notes: dict[Suite, list[str]] = {}
    by_suite: dict[Suite, list[Record]] = {}
    for record in records:
        by_suite.setdefault(_suite(record), []).append(record)
    for suite, of in by_suite.items():
        found = consistent(of, row=lambda r: setup_of(r.cell), shown=lambda r: setup_of(r.cell) in rows)
        kept += found.records
        notes[suite] = found.notes
    return kept, notes


def _suite(record: Record) -> Suite:
    return suite_of(record.cell.settings["dataset"])


_IN_MCE = {(name, severity) for name in corruptions() for severity in SEVERITIES}


def _means(records: Iterable[Record]) -> set[Score]:
    """Means of the top-1 over the corrupted cells of each row: the 75 of mCE and the others, or all there are."""
    groups: dict[tuple[Setup, str, Corruptions], set[tuple[str, int]]] = {}
    for record in records:
        p = of_cell(record.cell)
        if isinstance(p, Corrupted) and record.error is None:
            key = setup_of(record.cell), record.cell.settings["dataset"], Corruptions(p.recipe)
            groups.setdefault(key, set()).add((p.name, p.severity))
    return {
        Score(dataset, every.of(part), "top1")
        for (_, dataset, every), cells in groups.items()
        for part in ((_IN_MCE, cells - _IN_MCE) if cells >= _IN_MCE else (cells,))
        if part
    }


def _scores(records: Iterable[Record], means: Iterable[Score], requested: Sequence[str]) -> set[Score]:
    """Every number that these records make; an error that an accuracy tells as well only where it is asked for."""
    every = [name for name in METRICS if METRICS[name].over == "pass"]
    every += [name for name in requested if METRICS[name].over == "means"]
    of_means = {replace(score, metric=metric) for score in means for metric in every}
    return of_means | {score for record in records for score in scores_of(record.cell)}


def _corrupted_sets(suite: Suite, columns: Iterable[Score], means: Iterable[Score]) -> list[Score]:
    """The corrupted sets with tables of their own, each as its mCE, which a suite without a reference has not."""
    if suite.reference:
        return [score for score in columns if score.measure is MCE]
    measured = ((mean.dataset, mean.perturbation) for mean in means)
    recipes = {(dataset, p.recipe) for dataset, p in measured if isinstance(p, Corrupted | Corruptions)}
    return sorted((Score(name, Corruptions(r), MCE.name) for name, r in recipes), key=lambda score: score.order)


def _columns(
    results: Results, setups: Sequence[Setup], scores: Iterable[Score], means: Iterable[Score], requested: Sequence[str]
) -> list[Score]:
    """What a table for people shows; of corrupted sets mCE, and a mean where a row has that but no mCE."""

    def lacks_mce(mean: Score) -> bool:
        assert isinstance(mean.perturbation, Corrupted | Corruptions)
        mce = Score(mean.dataset, Corruptions(mean.perturbation.recipe), MCE.name)
        values = ((results.outcome(setup, mean).value, results.outcome(setup, mce).value) for setup in setups)
        return any(value is not None and of_mce is None for value, of_mce in values)

    def is_wanted(score: Score) -> bool:
        return score.metric in requested or not score.measure.on_request

    whole = {mean for mean in means if _cells(mean) == _IN_MCE}
    shown = {score for score in scores if not (score.measure.on_request or _cells(score))}
    shown |= {mean for mean in means if mean not in whole or lacks_mce(mean)}
    about = {(score.dataset, score.perturbation) for score in shown | whole}
    asked = {s for s in scores if is_wanted(s) and (s.over_corruptions or (s.dataset, s.perturbation) in about)}
    return sorted(shown | (asked - whole), key=lambda score: score.order)


def _cells(score: Score) -> set[tuple[str, int]]:
    """The corrupted cells that a mean, or the top-1 of one of them, is about."""
    done = score.perturbation
    each = done.each if isinstance(done, Corruptions) else [done]
    return {(p.name, p.severity) for p in each if isinstance(p, Corrupted)}


def _outcomes(
    results: Results, setups: Iterable[Setup], scores: Iterable[Score], columns: Iterable[Score]
) -> list[Outcome]:
    """Every number there is, and for the columns of the table also why there is none."""
    wanted = set(columns)
    pairs = [(setup, score) for setup in setups for score in scores if score in wanted or results.records(setup, score)]
    found = [results.outcome(setup, score) for setup, score in pairs]

    def is_number(o: Outcome) -> bool:
        return not (o.status == "not recorded" or (o.score.over and o.status == "incomplete"))

    return [o for o in found if o.score in wanted or is_number(o)]


_TEXT = "_text"
"""An entry of a row that no column shows: key of a column -> what people read there."""


def _wide(
    suite: Suite,
    results: Results,
    setups: Sequence[Setup],
    columns: Mapping[Score, str],
    outcomes: Sequence[Outcome],
    problems: Sequence[str],
) -> Table:
    """A row per model, as the paper prints it."""
    names = names_of(title.replace("Top-", "Top") for title in columns.values())
    keys = {score: _key(name, score.measure) for score, name in zip(columns, names.values(), strict=True)}
    rows: list[dict[str, Any]] = []
    for setup in setups:
        behind = {key: results.behind(setup, score) for score, key in keys.items()}
        row: dict[str, Any] = {
            "model": setup.label,
            "params": results.noted(setup, "params"),
            _TEXT: {},
            RECORDS: behind,
        }
        for o in (o for o in outcomes if o.setup == setup):
            row |= {f"{keys[o.score]}{end}": value for end, value in _fields(o).items()}
            row[_TEXT][keys[o.score]] = o.text
        rows.append(row)
    heads = [Column("model", "Model"), Column("params", "Params", "M", scale=1e-6, align="right")]
    heads += [_column(keys[score], title, score) for score, title in columns.items()]
    notes = [*_explanations(suite, columns, outcomes), *_gaps(columns, outcomes), *problems]
    return Table(f"robustness_{suite.name}", f"Robustness and generalisation, {suite.title}, %", heads, rows, notes)


def _column(key: str, title: str, score: Score) -> Column:
    ends = ["", "_low", "_high", "_images", "_expected_images", "_unreadable_images", "_status"]
    ends += ["_published", "_published_mark"] if score.published else []
    unit = "" if score.measure.unit == "percent" else score.measure.unit
    fields = [f"{key}{end}" for end in ends]
    return Column(key, title, unit, show=lambda row: row[_TEXT].get(key), fields=fields, align="right")


def _key(name: str, metric: Metric) -> str:
    return f"{name}_{metric.unit}" if metric.unit else name


def _fields(o: Outcome) -> dict[str, Any]:
    """A number and what belongs to it, for programs: endings of the key of a column -> values."""
    low, high = o.interval or (None, None)
    images, expected, unreadable = o.coverage[:3] if o.coverage else (None, None, None)
    quoted = {"_published": o.published and o.published.value, "_published_mark": o.mark or None}
    seen = {"_images": images, "_expected_images": expected, "_unreadable_images": unreadable}
    return {"": o.value, "_low": low, "_high": high, **seen, "_status": o.status, **quoted}


_BESIDE = [
    Column("model", "Model"),
    Column("column", "Column"),
    Column(
        "images",
        "Images",
        show=lambda row: row[_TEXT],
        fields=("images", "expected_images", "unreadable_images"),
        align="right",
    ),
    Column("ours_percent", "Ours", align="right"),
    Column("ours_percent_low", "Low", align="right"),
    Column("ours_percent_high", "High", align="right"),
    Column("published_percent", "Published", align="right"),
    Column("difference_points", "Difference", "points", align="right"),
    Column("mark", "", show=lambda row: row["mark"] or ""),
    Column("explained", "Explained by"),
]


def _beside(suite: Suite, results: Results, columns: Mapping[Score, str], outcomes: Sequence[Outcome]) -> Table:
    """What was published beside what was measured, with difference and interval."""
    rows: list[dict[str, Any]] = []
    for o in outcomes:
        if o.published is None or o.value is None or o.coverage is None:
            continue
        difference = o.value - o.published.value
        words = explained(difference, o.setup.settings, o.published, o.score.metric, complete=o.coverage.complete)
        low, high = o.interval or (None, None)
        rows.append(
            {
                "model": o.setup.label,
                "column": columns[o.score],
                **dict(zip(("images", "expected_images", "unreadable_images"), o.coverage[:3], strict=True)),
                _TEXT: f"{o.coverage.images} of {o.coverage.expected}" if o.is_partial else str(o.coverage.images),
                "ours_percent": o.value,
                "ours_percent_low": low,
                "ours_percent_high": high,
                "published_percent": o.published.value,
                "difference_points": difference,
                "mark": o.mark or None,
                "explained": words,
                RECORDS: dict.fromkeys(("ours_percent", "difference_points"), results.behind(o.setup, o.score)),
            }
        )
    title = f"Published beside measured, {suite.title}, %"
    notes = [f"{mark} {meaning}" for mark, meaning in MARKS.items() if any(row["mark"] == mark for row in rows)]
    said = {word for row in rows for word in row["explained"].split(", ")}
    notes += [f"{word}: {meaning}" for word, meaning in EXPLAINED.items() if word in said]
    return Table(f"robustness_{suite.name}_published", title, _BESIDE, rows, notes)


def _explanations(suite: Suite, columns: Mapping[Score, str], outcomes: Sequence[Outcome]) -> list[str]:
    """What a reader must know of the numbers that are there."""
    notes = [intervals.NOTE] if any(o.interval for o in outcomes) else []
    if any(o.published for o in outcomes):
        notes.append("In brackets: published, by timm for rows with the model's own transform, else by the paper.")
    notes += [f"{mark} {meaning}" for mark, meaning in MARKS.items() if any(o.mark == mark for o in outcomes)]
    notes += [f"{PARTIAL} not the whole set: {text}" for text in _grouped(columns, outcomes, _part)]
    notes += [f"Files that could not be read and are left out: {t}" for t in _grouped(columns, outcomes, _unreadable)]
    if suite.reference != ALEXNET and any(score.over_corruptions for score in columns):
        notes.append(f"mCE is relative to the errors of {suite.reference}, whose own is 100 by definition.")
    for score, title in columns.items():
        if score.over and score.measure is TOP1:
            notes.append(f"{title}: over {score.over}; relative to no network's errors, so no mCE.")
    return notes + [note for note in dict.fromkeys(score.measure.note for score in columns) if note]


def _part(o: Outcome) -> str:
    return o.coverage.text if o.coverage and o.is_partial else ""


def _unreadable(o: Outcome) -> str:
    return f"{o.coverage.unreadable:,}" if o.coverage and o.coverage.unreadable else ""


def _gaps(columns: Mapping[Score, str], outcomes: Sequence[Outcome]) -> list[str]:
    """A sentence for every reason that a number is not there."""
    return _grouped(columns, outcomes, lambda o: f"{o.status}: {o.reason}" if o.reason else "")


def _grouped(columns: Mapping[Score, str], outcomes: Iterable[Outcome], text_of: Callable[[Outcome], str]) -> list[str]:
    """For every text that some of the outcomes have, which those are: `Top-1, FGSM of a, b; PGD of c: <text>`."""
    having: dict[str, dict[str, list[str]]] = {}
    for o in outcomes:
        if text := text_of(o):
            having.setdefault(text, {}).setdefault(o.setup.label, []).append(columns[o.score])
    lines = []
    for text, rows in having.items():
        alike: dict[str, list[str]] = {}
        for label, those in rows.items():
            alike.setdefault(", ".join(those), []).append(label)
        lines.append("; ".join(f"{those} of {', '.join(labels)}" for those, labels in alike.items()) + f": {text}")
    return lines


_ABOUT = (
    "suite", "model", "row", "column", "dataset", "perturbation", "metric", "transform", "limit_images",
    "images", "expected_images", "unreadable_images",
)  # fmt: skip
_QUOTED = ("published_percent", "published_mark", "verified", "difference_points", "source", "status", "reason")


def _long(lines: Sequence[Row]) -> list[Column]:
    """The columns of the data: one of all numbers in percent, and one for each metric in another unit."""
    found = dict.fromkeys(["ours_percent", "nll_nats", *(_value_key(line[SCORE].measure) for line in lines)])
    ends = [f"{key}{end}" for key in found for end in ("", "_low", "_high")]
    return data_columns((*_ABOUT, *ends, *_QUOTED))


def _value_key(metric: Metric) -> str:
    return "ours_percent" if metric.unit == "percent" else _key(metric.name, metric)


def _line(o: Outcome, title: str) -> Row:
    """One number for programs."""
    low, high = o.interval or (None, None)
    images, expected, unreadable = o.coverage[:3] if o.coverage else (None, None, None)
    quoted, key = o.published, _value_key(o.score.measure)
    return {
        SCORE: o.score,
        "suite": o.score.suite.name,
        "model": o.setup.model,
        "row": o.setup.label,
        "column": title,
        "dataset": o.score.dataset,
        "perturbation": o.score.description,
        "metric": o.score.metric,
        "transform": o.setup.settings.get("transform"),
        "limit_images": o.setup.settings.get("limit"),
        "images": images,
        "expected_images": expected,
        "unreadable_images": unreadable,
        key: o.value,
        f"{key}_low": low,
        f"{key}_high": high,
        "published_percent": quoted and quoted.value,
        "published_mark": o.mark or None,
        "verified": quoted and quoted.verified,
        "difference_points": o.value - quoted.value if quoted and o.value is not None else None,
        "source": quoted and quoted.source,
        "status": o.status,
        "reason": o.reason or None,
    }
