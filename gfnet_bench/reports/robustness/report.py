"""The robustness report: which rows and columns there are, of which images, and what stands beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain

from gfnet_bench.catalog import SEVERITIES
from gfnet_bench.datasets import suite_of
from gfnet_bench.metrics import MCE, MEAN_CE, METRICS
from gfnet_bench.perturbations import CLEAN, Corrupted, Corruptions, of_cell
from gfnet_bench.published import corruptions
from gfnet_bench.records import Record
from gfnet_bench.reports.base import REPORTS, Report
from gfnet_bench.reports.drawing.figures import Drawing
from gfnet_bench.reports.drawing.tables import Row, Table
from gfnet_bench.reports.reading.consistent import consistent
from gfnet_bench.reports.reading.fast_modes import fast_mode_notes
from gfnet_bench.reports.reading.scores import (
    Score,
    Setup,
    scores_of,
    setup_of,
    standard,
    titles,
)
from gfnet_bench.reports.reading.selection import Selection
from gfnet_bench.reports.reading.verdicts import verdict_notes
from gfnet_bench.reports.robustness.corruption_tables import corruption_errors, severities
from gfnet_bench.reports.robustness.curves import robustness_curves, swept
from gfnet_bench.reports.robustness.groups import groups
from gfnet_bench.reports.robustness.paired import paired
from gfnet_bench.reports.robustness.results import Outcome, Results
from gfnet_bench.reports.robustness.tables import beside_table, long_columns, long_row, wide_table
from gfnet_bench.reports.robustness.transfer import transferred, transfers
from gfnet_bench.suites import SUITES, Suite
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
    figures: list[Drawing] = []
    lines: list[Row] = []
    known = [SUITES[name] for name in SUITES]
    for one in dict.fromkeys([*known, *map(_suite, shown)]):
        measured = [r for r in shown if _suite(r) == one]
        blank = [name for name in planned if Setup.usual(name).suite == one.name]
        if not (measured or blank):
            continue
        setups = [setup for setup in results.setups if setup in {setup_of(r.cell) for r in measured}]
        setups += [Setup.usual(name) for name in blank if name not in {setup.model for setup in setups}]
        setups = _in_order(results, setups, one, models)
        means = _means(measured)
        asked = [*metrics, *([] if one.reference and not is_own(one.name) else [MEAN_CE.name])]
        called = titles({*standard(one), *_scores(measured, means, asked)})
        drawn = {*swept(measured, setups, one), *transferred(measured)}  # these have tables of their own
        listed = _columns(results, setups, called, means, asked)
        columns = {score: called[score] for score in listed if score.perturbation not in drawn}
        outcomes = [results.outcome(setup, score) for setup in setups for score in columns]
        titled = _titled(one, measured)
        notes = [*_classes(results, setups), *fast_mode_notes(measured, setups), *inputs.get(one, ()), *problems]
        verdicts = verdict_notes([*selection.loaded.records, *selection.records], setups, columns)
        tables += [
            wide_table(titled, results, setups, columns, outcomes, [*verdicts, *notes], is_ranked=models is None),
            beside_table(titled, results, columns, outcomes),
        ]
        for table, figure in (*robustness_curves(one, measured, setups), *transfers(one, measured, setups)):
            tables.append(table)
            figures.append(figure)
        for score in _corrupted_sets(one, columns, means):
            tables.append(corruption_errors(results, setups, score))
            having = [setup for setup in setups if results.records(setup, score)]
            whole = all(set(corruptions()) <= set(results.errors(setup, score)) for setup in having)
            (details if whole else tables).append(severities(results, setups, score))
        compared = paired(titled, results, setups, columns)
        details += [*compared, groups(titled, results, setups, columns, compared)]
        lines += [long_row(o, called[o.score]) for o in _outcomes(results, setups, called, columns)]
    tables, details = ([t for t in found if t.rows or t.notes] for found in (tables, details))
    title = "Robustness, one row per number; low and high: 95 % interval"
    return Report(
        tables,
        Table("robustness_long", title, long_columns(lines), lines, [*chain(*inputs.values()), *problems]),
        details=details,
        figures=figures,
    )


def _in_order(results: Results, setups: Sequence[Setup], suite: Suite, models: Sequence[str] | None) -> list[Setup]:
    """The rows of every table of a suite: as models were asked for, else the most accurate first.

    Samples stand behind, as do rows without an accuracy: theirs is of other images, or nothing.
    """
    if models is not None:
        return sorted(setups, key=lambda setup: models.index(setup.model))
    value = {setup: results.outcome(setup, Score(suite.main, CLEAN, "top1")).value for setup in setups}

    def place(setup: Setup) -> tuple[bool, bool, float]:
        known = value[setup]
        return setup.settings.get("limit") is not None, known is None, -(known or 0.0)

    return sorted(setups, key=place)


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
