"""The ledger as a figure: a line for each claim, its verdict as a mark, its number beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gfnet_bench.reports.claims.base import CONTRADICTED, REPRODUCED, UNDECIDED, UNTESTED
from gfnet_bench.reports.drawing.figures import FONT, PAGE, Drawing, explain, new_figure, plain
from gfnet_bench.reports.drawing.tables import Column, Row, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKS: dict[str, tuple[str, dict[str, Any]]] = {
    REPRODUCED: ("Filled circle", {"marker": "o", "color": "#0072B2"}),
    CONTRADICTED: ("Filled square", {"marker": "s", "color": "#D55E00"}),
    UNDECIDED: ("Hollow circle", {"marker": "o", "color": "#555555", "markerfacecolor": "white"}),
    UNTESTED: ("Dash", {"marker": "_", "color": "#999999"}),
}
"""Verdict -> what people see; told apart by shape as well as by colour."""

_LINE = 0.128
"""Inches of a line."""

_PLACES = {"says": 0.12, "place": 3.5, "verdict": 4.42, "number": 6.95}
"""Inches from the left; numbers end there."""


def ledger(table: Table, data: Sequence[Column]) -> Drawing:
    """From the rows of a table of claims, whose number and verdict as text are under `_text` and `_verdict`."""
    return Drawing(table.name, lambda: _draw(table.rows), Table(table.name, table.title, data, table.rows))


def _draw(rows: Sequence[Row]) -> Figure:
    height = _LINE * (len(rows) + 1) + 0.1
    figure = new_figure(PAGE, height)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, PAGE), ylim=(height, 0))
    axes.set_axis_off()
    for key, x in _PLACES.items():
        heading = {"says": "claim", "place": "place", "verdict": "verdict", "number": "number, 95 % interval"}[key]
        axes.text(x, _LINE, heading, fontsize=FONT - 1, weight="bold", va="center", ha=_side(key))
    explained: set[str] = set()
    for i, row in enumerate(rows):
        y = _LINE * (i + 2)
        if i % 2 == 0:
            axes.axhspan(y - _LINE / 2, y + _LINE / 2, color="#f4f4f4", linewidth=0)
        kind, look = _MARKS[row["verdict"]]
        (mark,) = axes.plot([_PLACES["verdict"] + 0.04], [y], linestyle="", markersize=4, **look)
        if row["verdict"] not in explained:
            explain(mark, kind, row["verdict"])
            explained.add(row["verdict"])
        texts = {"says": row["says"], "place": row["place"], "verdict": row["_verdict"], "number": row["_text"] or ""}
        for key, text in texts.items():
            shift = 0.12 if key == "verdict" else 0
            grey = look["color"] if key == "verdict" else "#888888" if row["verdict"] == UNTESTED else "black"
            axes.text(_PLACES[key] + shift, y, plain(text), fontsize=FONT - 1.5, va="center", ha=_side(key), color=grey)
    return figure


def _side(key: str) -> str:
    return "right" if key == "number" else "left"
