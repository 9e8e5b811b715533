"""The robustness report: the paper's Table 3, its corruptions one by one, paired comparisons, and all of it as data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gfnet_bench import metrics
from gfnet_bench.errors import MissingError
from gfnet_bench.published import corruptions
from gfnet_bench.records import Record, Store
from gfnet_bench.reports.base import REPORTS, Report
from gfnet_bench.reports.differences import EXPLAINED, explained
from gfnet_bench.reports.outcomes import MARKS, MINI_REFERENCE, Outcome, Results
from gfnet_bench.reports.scores import SEVERITIES, STANDARD, Score, Setup, scores_of, setup_of
from gfnet_bench.reports.tables import RECORDS, Column, Row, Table

TITLES = {"imagenet": "ImageNet", "mini": "mini (Fashion-MNIST, not ImageNet)"}

_SHORT = {
    "gaussian_noise": "Gauss.",
    "impulse_noise": "Impulse",
    "brightness": "Bright",
    "elastic_transform": "Elastic",
    "jpeg_compression": "JPEG",
}


@REPORTS.register("robustness")
def robustness(
    records: Store | Iterable[Record],
    *,
    store: Store | None = None,
    suite: str | None = None,
    models: Sequence[str] | None = None,
    planned: Sequence[str] = (),
) -> Report:
    """The paper's Table 3 for every model measured: accuracy, attacks, ImageNet-C, -A, -V2, ReaL.

    Args:
        records: what to show; a store shows all it holds.
        store: where arrays lie, and records that others are relative to; not needed beside a store.
        suite: `imagenet` or `mini` alone.
        models: these alone, in this order.
        planned: models that have a row even where nothing of them is measured, with what was published.

    Raises:
        MissingError: if nothing of the kind is measured, nor planned.
    """
    if isinstance(records, Store):
        store = records
    loaded, problems = store.load() if store else ([], [])
    shown = loaded if isinstance(records, Store) else list(records)
    shown = [r for r in shown if r.cell.study == "robustness" and (models is None or r.cell.model in models)]
    if not shown and not planned:
        where = f" in {store.folder}" if store else ""
        start = "start with: gfnet-bench robustness --suite mini"
        raise MissingError(f"robustness: expected records{where}, found none; {start}")
    everything = {r.cell: r for r in loaded if r.cell.study == "robustness"} | {r.cell: r for r in shown}
    results = Results(list(everything.values()), store)

    tables: list[Table] = []
    paired: list[Table] = []
    outcomes: list[Outcome] = []
    for one in TITLES:
        of_suite = [(setup_of(r.cell), score) for r in shown for score in scores_of(r.cell) if score.suite == one]
        blank = [name for name in planned if Setup.usual(name).suite == one]
        if not (of_suite or blank) or suite not in (None, one):
            continue
        setups = [setup for setup in results.setups if setup in {s for s, _ in of_suite}]
        setups += [Setup.usual(name) for name in blank if name not in {setup.model for setup in setups}]
        setups.sort(key=lambda s: models.index(s.model) if models else 0)
        columns = sorted({*STANDARD[one], *(score for _, score in of_suite)}, key=lambda s: s.order)
        found = [results.outcome(setup, score) for setup in setups for score in columns]
        outcomes += found
        tables.append(_wide(one, results, setups, columns, found, problems))
        tables.append(_beside(one, results, found))
        tables += [_corruptions(results, setups, score) for score in columns if score.metric == "mce"]
        paired += [_severities(results, setups, score) for score in columns if score.metric == "mce"]
        paired.append(_paired(one, results, setups, columns))
    tables, paired = ([t for t in found if t.rows or t.notes] for found in (tables, paired))
    return Report(tables, _long(outcomes, problems), details=paired)


def _wide(
    suite: str,
    results: Results,
    setups: Sequence[Setup],
    columns: Sequence[Score],
    outcomes: Sequence[Outcome],
    problems: Sequence[str],
) -> Table:
    """A row per model, as the paper prints it."""
    shown = [score for score in columns if score.metric != "relative_mce"]
    text = {(o.setup, o.score): o.text for o in outcomes}
    rows = []
    for setup in setups:
        params = results.params(setup)
        millions = {"params": None if params is None else params / 1e6}
        cells = {s.title: text[setup, s] for s in shown}
        behind = {s.title: _behind(results, setup, s) for s in shown}
        rows.append({"model": setup.label, **millions, **cells, RECORDS: behind})
    heads = [Column("model", "Model"), Column("params", "Params", "M", align="right")]
    heads += [Column(score.title, score.title, align="right") for score in shown]
    notes = [*_explanations(suite, outcomes), *_gaps(outcomes), *problems]
    return Table(f"robustness_{suite}", f"Robustness and generalisation, {TITLES[suite]}, %", heads, rows, notes)


def _behind(results: Results, setup: Setup, score: Score, name: str | None = None) -> tuple[str, ...]:
    """Identities of the records behind a number, or of those about one corruption alone; a reference's with them."""
    wanted = corruptions() if name is None else (name,)
    found = results.records(setup, score)
    if score.over_corruptions:
        reference = results.records(setup.of(MINI_REFERENCE), score) if score.suite == "mini" else []
        found = [r for r in (*found, *reference) if r.cell.settings["perturbation"]["name"] in wanted]
    return tuple(dict.fromkeys(record.cell.sha256 for record in found))


_BESIDE = [
    Column("model", "Model"),
    Column("column", "Column"),
    Column("images", "Images", align="right"),
    Column("ours", "Ours", align="right"),
    Column("low", "Low", align="right"),
    Column("high", "High", align="right"),
    Column("published", "Published", align="right"),
    Column("difference", "Difference", "points", align="right"),
    Column("mark", ""),
    Column("explained", "Explained by"),
]


def _beside(suite: str, results: Results, outcomes: Sequence[Outcome]) -> Table:
    """What was published beside what was measured, with difference and interval."""
    rows: list[dict[str, Any]] = [
        {
            "model": o.setup.label,
            "column": o.score.title,
            "images": o.images,
            "ours": o.value,
            "low": o.interval and o.interval.low,
            "high": o.interval and o.interval.high,
            "published": o.published.value,
            "difference": o.value - o.published.value,
            "mark": o.mark,
            "explained": explained(o.value - o.published.value, o.setup.settings, o.published, o.score.metric),
            RECORDS: dict.fromkeys(("ours", "difference"), _behind(results, o.setup, o.score)),
        }
        for o in outcomes
        if o.published is not None and o.value is not None
    ]
    title = f"Published beside measured, {TITLES[suite]}, %"
    notes = [f"{mark} {meaning}" for mark, meaning in MARKS.items() if any(row["mark"] == mark for row in rows)]
    words = {word for row in rows for word in row["explained"].split(", ")}
    notes += [f"{word}: {meaning}" for word, meaning in EXPLAINED.items() if word in words]
    return Table(f"robustness_{suite}_published", title, _BESIDE, rows, notes)


def _explanations(suite: str, outcomes: Sequence[Outcome]) -> list[str]:
    notes = []
    if any(o.interval for o in outcomes):
        notes.append("± is half of the 95 % interval over the images; CSV and JSON have both ends.")
    if any(o.published for o in outcomes):
        notes.append("In brackets: published, by timm for rows with the model's own transform, else by the paper.")
    notes += [f"{mark} {meaning}" for mark, meaning in MARKS.items() if any(o.mark == mark for o in outcomes)]
    if suite == "mini":
        notes.append(f"mCE is relative to the errors of {MINI_REFERENCE}, whose own is 100 by definition.")
    if any(o.excluded for o in outcomes):
        counts = ", ".join(f"{o.setup.label} {o.score.title}: {o.excluded}" for o in outcomes if o.excluded)
        notes.append(f"Images that could not be read and are left out: {counts}")
    return notes


def _gaps(outcomes: Sequence[Outcome]) -> list[str]:
    """A sentence for every reason that a number is not there."""
    gaps: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.reason and outcome.score.metric != "relative_mce":
            gaps.setdefault((outcome.status, outcome.reason), []).append(outcome)
    notes = []
    for (status, reason), those in gaps.items():
        titles = ", ".join(dict.fromkeys(o.score.title for o in those))
        labels = "; ".join(dict.fromkeys(o.setup.label for o in those))
        notes.append(f"{titles} of {labels}: {status}: {reason}")
    return notes


def _corruptions(results: Results, setups: Sequence[Setup], score: Score) -> Table:
    """The corruption error of every corruption."""
    names = list(corruptions())
    rows = []
    for setup in setups:
        errors, reference = results.errors(setup, score), results.reference(setup, score)
        if not errors or reference is None:
            continue
        names += [name for name in errors if name not in names and name in reference]
        ce = {c: metrics.corruption_error(e, reference[c]) for c, e in errors.items() if c in reference}
        overall = {m: results.outcome(setup, replace(score, metric=m)).value for m in ("mce", "relative_mce")}
        behind = dict.fromkeys(("mce", "relative_mce"), _behind(results, setup, score))
        behind |= {name: _behind(results, setup, score, name) for name in ce}
        rows.append({"model": setup.label, **overall, **ce, RECORDS: behind})
    heads = [
        Column("model", "Model"),
        Column("mce", "mCE", align="right"),
        Column("relative_mce", "rel.", align="right"),
    ]
    heads += [Column(n, _SHORT.get(n, n.split("_")[0].capitalize()), align="right") for n in names]
    name = f"robustness_{score.dataset}{_recipe(score)}"
    against = "AlexNet's" if score.suite == "imagenet" else f"{MINI_REFERENCE}'s"
    title = f"Corruption errors, {score.title.removesuffix(' mCE')}, {TITLES[score.suite]}, % of {against}"
    note = "mCE is the mean of the first fifteen; rel. is relative mCE, what corruption adds to the clean error."
    return Table(name, title, heads, rows, [note] if rows else [])


def _severities(results: Results, setups: Sequence[Setup], score: Score) -> Table:
    """Accuracy under every corruption at every severity, as far as it is measured."""
    rows = []
    for setup in setups:
        of: dict[str, list[Record]] = {}
        for record in results.records(setup, score):
            if record.error is None:
                of.setdefault(record.cell.settings["perturbation"]["name"], []).append(record)
        for name, records in sorted(of.items()):
            by = {str(r.cell.settings["perturbation"]["severity"]): r for r in records}
            row: dict[str, Any] = {severity: 100 * r.values["top1"] for severity, r in by.items()}
            behind = {severity: (r.cell.sha256,) for severity, r in by.items()}
            rows.append({"model": setup.label, "corruption": name, **row, RECORDS: behind})
    heads = [Column("model", "Model"), Column("corruption", "Corruption")]
    heads += [Column(str(severity), f"Severity {severity}", align="right") for severity in SEVERITIES]
    name = f"robustness_{score.dataset}{_recipe(score)}_severities"
    title = f"Top-1 by corruption and severity, {score.title.removesuffix(' mCE')}, {TITLES[score.suite]}, %"
    return Table(name, title, heads, rows)


def _recipe(score: Score) -> str:
    """The recipe of a generated set, as a part of a name."""
    return "".join(f"_{value}" for value in score.settings.values())


_PAIRED = [
    Column("column", "Column"),
    Column("first", "First"),
    Column("second", "Second"),
    Column("images", "Images", align="right"),
    Column("difference", "Difference", "points", align="right"),
    Column("low", "Low", align="right"),
    Column("high", "High", align="right"),
    Column("only_first", "Only first", align="right"),
    Column("only_second", "Only second", align="right"),
    Column("p", "p", digits=4, align="right"),
]
_PAIRED_NOTE = (
    "Difference: first minus second, with its 95 % interval. Accuracies: McNemar mid-p test; mCE (where less is "
    "better): normal approximation over images. p is not corrected for the number of comparisons."
)


def _paired(suite: str, results: Results, setups: Sequence[Setup], columns: Sequence[Score]) -> Table:
    """Any two models that differ in nothing else, on the same images."""
    rows: list[Row] = []
    left_out: list[str] = []
    for score in columns:
        there = [s for s in setups if score.metric != "relative_mce" and results.outcome(s, score).value is not None]
        for first, second in itertools.combinations(there, 2):
            if first.of("") != second.of(""):
                continue
            a, b = results.by_image(first, score), results.by_image(second, score)
            if a is None or b is None:
                left_out.append(f"{score.title} of {first.label} and {second.label} (no per-image predictions)")
            elif a.ids_sha256 != b.ids_sha256:
                left_out.append(f"{score.title} of {first.label} and {second.label} (different images)")
            else:
                names = {"column": score.title, "first": first.label, "second": second.label, "images": len(a.values)}
                both = _behind(results, first, score) + _behind(results, second, score)
                behind = dict.fromkeys(("difference", "p"), both)
                rows.append({**names, **_difference(a.values, b.values, score), RECORDS: behind})
    notes = [_PAIRED_NOTE] if rows else []
    notes += [f"Not compared: {', '.join(left_out)}."] if left_out else []
    title = f"Paired comparisons on the same images, {TITLES[suite]}"
    return Table(f"robustness_{suite}_paired", title, _PAIRED, rows, notes)


def _difference(first: Any, second: Any, score: Score) -> dict[str, float | int | None]:
    if score.metric != "mce":
        d = metrics.compare(first, second)
        low, high = d.interval
        counts = {"only_first": d.only_first, "only_second": d.only_second, "p": d.p}
        return {"difference": 100 * d.difference, "low": 100 * low, "high": 100 * high, **counts}
    difference = first - second
    low, high = metrics.mean_interval(difference)
    mean, error = float(np.mean(difference)), (high - low) / (2 * metrics.Z)
    p = math.erfc(abs(mean) / error / math.sqrt(2)) if error > 0 else 1.0
    return {"difference": mean, "low": low, "high": high, "only_first": None, "only_second": None, "p": p}


_LONG = [
    Column(key, key)
    for key in (
        "suite model row column dataset perturbation metric transform images excluded limit ours low high published "
        "verified difference source status reason"
    ).split()
]


def _long(outcomes: Sequence[Outcome], problems: Sequence[str]) -> Table:
    """One row per number, in percent."""
    rows = []
    for o in outcomes:
        low, high = o.interval or (None, None)
        quoted = o.published
        rows.append(
            {
                "suite": o.score.suite,
                "model": o.setup.model,
                "row": o.setup.label,
                "column": o.score.title,
                "dataset": o.score.dataset,
                "perturbation": o.score.description,
                "metric": o.score.metric,
                "transform": o.setup.settings.get("transform"),
                "images": o.images,
                "excluded": o.excluded,
                "limit": o.setup.settings.get("limit"),
                "ours": o.value,
                "low": low,
                "high": high,
                "published": quoted and quoted.value,
                "verified": quoted and quoted.verified,
                "difference": o.value - quoted.value if quoted and o.value is not None else None,
                "source": quoted and quoted.source,
                "status": o.status,
                "reason": o.reason or None,
            }
        )
    title = "Robustness, one row per number, %; low and high: 95 % interval"
    return Table("robustness_long", title, _LONG, rows, problems)
