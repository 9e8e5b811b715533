"""Corruption errors one by one, and the accuracies behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gfnet_bench import metrics
from gfnet_bench.catalog import SEVERITIES
from gfnet_bench.published import corruptions
from gfnet_bench.records import Record
from gfnet_bench.reports.drawing.tables import RECORDS, Column, Table
from gfnet_bench.reports.reading.coverage import coverage
from gfnet_bench.reports.reading.scores import Score, Setup
from gfnet_bench.reports.robustness.results import PARTIAL, Results, corruption_of

_SHORT = {
    "gaussian_noise": "Gauss.",
    "impulse_noise": "Impulse",
    "brightness": "Bright",
    "elastic_transform": "Elastic",
    "jpeg_compression": "JPEG",
}

_OVERALL = {metrics.MCE.name: "mCE", metrics.RELATIVE_MCE.name: "rel."}


def corruption_errors(results: Results, setups: Sequence[Setup], score: Score) -> Table:
    """The corruption error of every corruption that is measured at all severities."""
    names = list(corruptions())
    rows = []
    for setup in setups:
        errors, reference = results.errors(setup, score), results.reference(setup, score)
        if not errors or reference is None:
            continue
        ce = {n: metrics.corruption_error([e], [reference[n]]) for n, e in errors.items() if reference.get(n)}
        names += [name for name in ce if name not in names]
        overall = {f"{m}_percent": results.outcome(setup, replace(score, metric=m)) for m in _OVERALL}
        ends = {f"{key}_{end}": getattr(o.interval, end, None) for key, o in overall.items() for end in ("low", "high")}
        behind = dict.fromkeys(overall, results.behind(setup, score))
        behind |= {f"{name}_percent": results.behind(setup, score, name) for name in ce}
        values = {key: o.value for key, o in overall.items()} | {f"{name}_percent": error for name, error in ce.items()}
        texts = {f"{key}_text": None if o.value is None else o.ours for key, o in overall.items()}
        rows.append({"model": setup.label, **values, **ends, **texts, RECORDS: behind})
    heads = [Column("model", "Model"), *(_overall(name, title) for name, title in _OVERALL.items())]
    shorts = {n: _SHORT.get(n, n.split("_")[0].capitalize()) for n in names}
    heads += [Column(f"{n}_percent", short, align="right", better="lower") for n, short in shorts.items()]
    title = f"Corruption errors, {_set(score)}, % of {score.suite.reference}'s"
    return Table(_table_name(score), title, heads, rows, _notes(results, setups, score) if rows else [])


def _overall(metric: str, title: str) -> Column:
    key = f"{metric}_percent"
    fields = (key, f"{key}_low", f"{key}_high")
    return Column(key, title, show=lambda row: row[f"{key}_text"], fields=fields, align="right", better="lower")


def _notes(results: Results, setups: Sequence[Setup], score: Score) -> list[str]:
    notes = ["mCE is the mean of the first fifteen; rel. is relative mCE, what corruption adds to the clean error."]
    faint = {name for setup in setups for name in results.faint(setup, score)}
    if faint:
        notes.append(
            f"Relative mCE is shaky: what {score.suite.reference} loses is not surely more than nothing under "
            f"{', '.join(name for name in corruptions() if name in faint)}."
        )
    return notes + _incomplete(results, setups, score)


def _incomplete(results: Results, setups: Sequence[Setup], score: Score) -> list[str]:
    """A sentence for each row that did not see the whole set."""
    found = {s.label: [r for r in results.records(s, score) if r.error is None] for s in setups}
    seen = {label: coverage(records) for label, records in found.items() if records}
    return [f"{PARTIAL} not the whole set: {label}: {one.text}" for label, one in seen.items() if not one.complete]


def severities(results: Results, setups: Sequence[Setup], score: Score) -> Table:
    """Accuracy under every corruption at every severity, as far as it is measured."""
    rows = []
    for setup in setups:
        of: dict[str, list[Record]] = {}
        for record in results.records(setup, score):
            if record.error is None:
                of.setdefault(corruption_of(record).name, []).append(record)
        for name, records in sorted(of.items()):
            by = {_severity_key(corruption_of(r).severity): r for r in records}
            row: dict[str, Any] = {key: 100 * r.values["top1"] for key, r in by.items()}
            behind = {key: (r.cell.sha256,) for key, r in by.items()}
            rows.append({"model": setup.label, "corruption": name, **row, RECORDS: behind})
    heads = [Column("model", "Model"), Column("corruption", "Corruption")]
    heads += [Column(_severity_key(s), f"Severity {s}", align="right") for s in SEVERITIES]
    title = f"Top-1 by corruption and severity, {_set(score)}, %"
    return Table(f"{_table_name(score)}_severities", title, heads, rows, _incomplete(results, setups, score))


def _severity_key(severity: int) -> str:
    return f"severity_{severity}_top1_percent"


def _set(score: Score) -> str:
    return f"{score.title.replace(' mCE', '')}, {score.suite.title}"


def _table_name(score: Score) -> str:
    return "_".join(["robustness", score.dataset, *map(str, score.perturbation.settings.values())])
