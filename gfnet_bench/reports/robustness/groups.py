"""The table of robustness once more, each number with letters: two that share one are not told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gfnet_bench.metrics import LEVEL, letters
from gfnet_bench.reports.drawing.tables import RECORDS, Column, Row, Table, names_of
from gfnet_bench.reports.reading.scores import Score, Setup
from gfnet_bench.reports.robustness.results import Results
from gfnet_bench.suites import Suite

_NOTE = (
    "Numbers of a column that share a letter are not told apart, or were not compared; a is the best. One may have "
    "several, since not to be told apart is not transitive (compact letter display, Piepho 2004). Told apart: p (Holm) "
    f"below {LEVEL} among the paired comparisons, so that in at most one of twenty such tables any two equals are."
)


def groups(
    suite: Suite, results: Results, setups: Sequence[Setup], titles: Mapping[Score, str], compared: Sequence[Table]
) -> Table:
    """Which models are told apart, column by column.

    Args:
        suite: of the columns.
        results: the numbers.
        setups: rows.
        titles: columns.
        compared: the tables of `paired`.
    """
    pairs = {(row["column"], row["first"], row["second"]): row for table in compared for row in table.rows}
    marks = {score: _marks(results, setups, score, title, pairs) for score, title in titles.items()}
    shown = {score: title for score, title in titles.items() if marks[score]}
    names = names_of(title.replace("Top-", "Top") for title in shown.values()).values()
    keys = {score: f"{name}_{score.measure.unit}".strip("_") for score, name in zip(shown, names, strict=True)}
    rows = []
    for setup in setups:
        row: dict[str, Any] = {"model": setup.label}
        for score, key in keys.items():
            outcome, mark = results.outcome(setup, score), marks[score].get(setup.label)
            row |= {key: outcome.value, f"{key}_letters": mark, f"{key}_text": f"{outcome.ours} {mark or ''}".strip()}
        rows.append({**row, RECORDS: {key: results.behind(setup, score) for score, key in keys.items()}})
    columns = [Column("model", "Model"), *(_column(keys[score], title) for score, title in shown.items())]
    title = f"What is told apart, {suite.title}"
    return Table(f"robustness_{suite.name}_groups", title, columns, rows if keys else [], [_NOTE] if keys else [])


def _marks(
    results: Results, setups: Sequence[Setup], score: Score, title: str, pairs: Mapping[tuple[str, str, str], Row]
) -> dict[str, str]:
    """The letters of the rows that were compared in one column."""
    compared = {label for column, *both in pairs if column == title for label in both}
    values = {s.label: results.outcome(s, score).value for s in setups if s.label in compared}
    sign = -1 if score.measure.higher_is_better else 1
    best_first = sorted(values, key=lambda label: sign * (values[label] or 0.0))
    apart = np.zeros((len(values), len(values)), dtype=bool)
    for (column, first, second), row in pairs.items():
        if column == title and row.get("p_holm", 1.0) < LEVEL:
            i, j = best_first.index(first), best_first.index(second)
            apart[i, j] = apart[j, i] = True
    return dict(zip(best_first, letters(apart), strict=True))


def _column(key: str, title: str) -> Column:
    """The number with its interval, and its letters."""
    text = f"{key}_text"
    return Column(key, title, show=lambda row: row[text], fields=(key, f"{key}_letters"), align="right")
