"""What the interactive plots of the HTML page have in common; each stands beside its numbers as a table.

Bokeh is imported when something is drawn. Figures have no background and default text colours: the page gives them
those of its light or dark theme.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gfnet_bench.catalog import MODELS
from gfnet_bench.families import Look
from gfnet_bench.reports.drawing import figures
from gfnet_bench.reports.drawing.figures import spread_out
from gfnet_bench.reports.drawing.tables import Table, printable

if TYPE_CHECKING:
    from bokeh.plotting import figure as Figure

HEIGHT = 300
"""Pixels of a panel; its width is that of the page's column."""

_INNER = 225
"""Pixels between its axes, about."""

MOST_NAMES = 8
"""Points that still have room for their names; hovering tells them otherwise."""

MARKERS = {
    "o": "circle",
    "X": "x",
    "s": "square",
    "D": "diamond",
    "^": "triangle",
    "v": "inverted_triangle",
    "P": "cross",
    "<": "circle_cross",
    ">": "square_cross",
    "p": "hex",
    "h": "star",
    ".": "circle_dot",
}
"""matplotlib's markers, in which looks speak, and Bokeh's."""


@dataclass(frozen=True)
class Plot:
    """One or more panels about the same numbers.

    Attributes:
        name: part of identifiers in the page.
        title: one line.
        text: what it shows, for those who cannot see it.
        table: the numbers.
        draw: makes the Bokeh figures.
        choices: of a menu beside the plot: where a source has columns `y@<choice>`, the column `y` shows one of them.
        menu: what is chosen; an axis with the tag `chosen` is called after the choice.
    """

    name: str
    title: str
    text: str
    table: Table
    draw: Callable[[], list[Figure]]
    choices: Sequence[str] = ()
    menu: str = "Corruption"


def look(name: str) -> Look:
    """How a model or mixer is drawn; grey where it has no look of its own, since black would vanish on a dark page."""
    family = MODELS[name].family if name in MODELS else name
    return figures.look(family, Look("#7a7a7a", "o"))


def plain(text: str) -> str:
    r"""A name as Bokeh's text, which would take `$$`, `\[` and `\(` for the start of a formula."""
    return re.sub(r"\$(?=\$)|\\(?=[\[(])", "\\g<0>\u2060", printable(text))  # a joiner, which is not seen


def panel(title: str, x: str, y: str, **options: Any) -> Figure:
    """An empty panel with the tools that all have."""
    from bokeh.plotting import figure

    drawn = figure(
        title=plain(title),
        x_axis_label=plain(x),
        y_axis_label=plain(y),
        height=HEIGHT,
        sizing_mode="stretch_width",
        tools="pan,box_zoom,wheel_zoom,reset,save",
        toolbar_location="above",
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        **options,
    )
    drawn.toolbar.logo = None
    drawn.toolbar.autohide = True
    drawn.xaxis.minor_tick_line_color = drawn.yaxis.minor_tick_line_color = None
    return drawn


def hover(panel: Figure, renderers: Sequence[Any], tips: Sequence[tuple[str, str]]) -> None:
    """Tell the numbers of the point under the pointer."""
    from bokeh.models import HoverTool

    panel.add_tools(HoverTool(renderers=list(renderers), tooltips=list(tips)))


def write_names(panel: Figure, x: Sequence[float], middles: Sequence[float], names: Sequence[str]) -> None:
    """Names at the right of their points, at heights where none lies over another."""
    from bokeh.models import ColumnDataSource
    from bokeh.models.annotations import LabelSet

    source = ColumnDataSource({"x": list(x), "y": list(middles), "name": list(map(plain, names))})
    panel.add_layout(
        LabelSet(x="x", y="y", text="name", source=source, x_offset=8, text_font_size="11px", text_baseline="middle")
    )


def apart(y: Sequence[float], low: float, high: float) -> list[float]:
    """Heights for lines of text that stand beside points, on an axis from `low` to `high`."""
    order = sorted(range(len(y)), key=lambda i: y[i])
    placed = spread_out([y[i] for i in order], [13 * (high - low) / _INNER] * len(y), low, high)
    middles = dict(zip(order, placed, strict=True))
    return [middles[i] for i in range(len(y))]


def limits(lows: Sequence[float], highs: Sequence[float], right: float = 0.06) -> tuple[float, float]:
    """The ends of an axis, with a margin; a wider one at the right leaves room for names."""
    low, high = min(lows), max(highs)
    margin = (high - low) or 1.0
    return low - 0.1 * margin, high + right * margin
