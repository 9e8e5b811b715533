"""How every figure looks: sizes and fonts as printed, colours that all eyes tell apart, names at the curves.

A caption is made from what was drawn: whatever is not a plain curve is explained where it is drawn (`explain`), and the
caption tells what it finds in the figure. matplotlib is imported when something is drawn, and without its global state:
drawing needs no display.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gfnet_bench.families import FAMILIES, Look
from gfnet_bench.files import write_atomic
from gfnet_bench.mixers import MIXERS
from gfnet_bench.reports.drawing.tables import Table, filed, printable

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN = 3.35
"""Inches of one text column."""

PAGE = 7.0
"""Inches of a page of two columns."""

FONT = 7.0
"""Points, at the size of print."""

DPI = 300

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same everywhere
    "font.size": FONT,
    "axes.titlesize": FONT,
    "axes.titlelocation": "left",
    "axes.labelsize": FONT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "xtick.labelsize": FONT - 0.5,
    "ytick.labelsize": FONT - 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.2,
    "legend.frameon": False,
    "legend.fontsize": FONT - 0.5,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "gfnet-bench",
}

GREY = "#8a8a8a"
"""What was published elsewhere."""


BLACK = Look("#000000", ".")


def look(name: str, other: Look = BLACK) -> Look:
    """How a mixer or a family is drawn; as `other`, black, where it has no look of its own."""
    known = FAMILIES[name].look if name in FAMILIES else MIXERS[name].look if name in MIXERS else None
    return known or other


class Label(NamedTuple):
    """The name of a curve, at its last point in data coordinates."""

    x: float
    y: float
    text: str
    colour: str


@dataclass
class Drawing:
    """A figure and the numbers in it.

    Attributes:
        name: file name without its ending.
        draw: makes the matplotlib figure; called under `style`.
        data: the numbers that are drawn; its title says what the figure shows.
        about: sentences of the caption about all of it.
    """

    name: str
    draw: Callable[[], Figure]
    data: Table
    about: Sequence[str] = ()

    @cached_property
    def caption(self) -> str:
        """What the figure shows and what is drawn in it."""
        return " ".join([f"{self.data.title}.", *self.about, *explained(self._drawn)])

    @cached_property
    def figure(self) -> Figure:
        """The figure with its caption below."""
        with style():
            write_below(self._drawn, self.caption)
        return self._drawn

    @cached_property
    def _drawn(self) -> Figure:
        with style():
            return self.draw()

    def write(self, folder: Path) -> list[Path]:
        """Save `<name>.pdf`, `.png` and `.csv` in `folder`; the same records give the same bytes."""
        paths = []
        with style():
            for ending, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
                content = io.BytesIO()
                self.figure.savefig(content, format=ending, dpi=DPI, metadata=metadata)
                paths.append(folder / f"{filed(self.name)}.{ending}")
                write_atomic(paths[-1], content.getvalue())
        paths.append(folder / f"{filed(self.name)}.csv")
        write_atomic(paths[-1], self.data.render("csv").encode())
        return paths


@contextmanager
def style() -> Iterator[None]:
    """Draw as here, whatever a matplotlibrc of the user says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def explain(artist: Artist, kind: str, meaning: str) -> None:
    """Say what something stands for that its place in the axes and its name do not tell.

    Args:
        artist: the line, marks or area.
        kind: what people see: `Dashed`, `Hollow`, `Bands`. A line may be two of them.
        meaning: what it is.
    """
    artist.set_gid("\n".join([*filter(None, [artist.get_gid()]), f"{kind}: {meaning}"]))


def explained(figure: Figure) -> list[str]:
    """A sentence for each kind of what was drawn, as in "Dashed: ResMLP in (a), estimates in (b) and (c)."."""
    lettered = [axes.get_title("left")[:3] for axes in figure.axes if re.match(r"\([a-z]\) ", axes.get_title("left"))]
    found: dict[str, dict[str, dict[str, None]]] = {}  # kind, meaning, letters of the panels
    for axes in figure.axes:
        for line in (line for artist in axes.get_children() for line in (artist.get_gid() or "").splitlines()):
            kind, colon, meaning = line.partition(": ")
            if colon:
                found.setdefault(kind, {}).setdefault(meaning, {})[axes.get_title("left")[:3]] = None

    def where(panels: Iterable[str]) -> str:
        there = [letter for letter in lettered if letter in panels]
        return "" if len(there) in (0, len(lettered)) else f" in {' and '.join(there)}"

    said = []
    for kind, meanings in found.items():
        places = [where(panels) for panels in meanings.values()]
        if len(set(places)) == 1:
            word, comma, more = kind.partition(",")
            said.append(f"{word}{places[0]}{comma}{more}: {', '.join(meanings)}.")
        else:
            said.append(f"{kind}: {', '.join(map(''.join, zip(meanings, places, strict=True)))}.")
    return said


def write_below(figure: Figure, text: str) -> None:
    """Make a figure taller and write lines of text below all that is in it."""
    figure.draw_without_rendering()  # settles a layout that is computed
    figure.set_layout_engine("none")
    wide, high = figure.get_size_inches()
    lines = textwrap.wrap(_drawable(text), int(21 * wide), break_on_hyphens=False)
    room = 0.08 + 0.115 * len(lines)
    places = [(axes, axes.get_position(original=True)) for axes in figure.axes]

    def lifted(y: float) -> float:
        return (y * high + room) / (high + room)

    figure.set_size_inches(wide, high + room)
    for axes, box in places:
        axes.set_position((box.x0, lifted(box.y0), box.width, box.height * high / (high + room)))
    for words in figure.texts:
        words.set_y(lifted(words.get_position()[1]))
    caption = "\n".join(map(plain, lines))
    figure.text(0.08 / wide, 0.05 / (high + room), caption, fontsize=FONT - 1, linespacing=1.2, va="bottom")


def plain(text: str) -> str:
    """Any text as matplotlib's: a name is no formula, and a character without a glyph is written as its code point."""
    return _drawable(text).replace("$", r"\$")


def short(name: str, room: float = 58) -> str:
    """A name that fits beside a curve, in so many points: its middle is left out where it is long."""
    line = _drawable(name)
    shown, kept = line, min(len(line), 60)
    while width(shown) > room and kept > 2:
        kept -= 1
        shown = f"{line[: kept - kept // 2]}…{line[-(kept // 2) :]}"
    return plain(shown)


def width(text: str) -> float:
    """Points that a name at a curve takes."""
    font = _font()
    font.set_size(FONT - 1, 72)
    font.set_text(text)
    return font.get_width_height()[0] / 64


def _drawable(text: str) -> str:
    return "".join(c if ord(c) in _glyphs() else f"U+{ord(c):04X}" for c in printable(text))


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(_font().get_charmap())


@cache
def _font() -> Any:
    """A font of our own: the one that matplotlib shares has the size and angle of whatever was drawn last."""
    from matplotlib.font_manager import findfont
    from matplotlib.ft2font import FT2Font

    return FT2Font(findfont(STYLE["font.family"]))


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that many inches, on the canvas that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between the ends of a logarithmic axis that spans less than a few decades, at least three."""
    from matplotlib.ticker import MaxNLocator

    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        if len(within := [tick for tick in ticks if low <= tick <= high]) >= 3:
            return within
    return [float(tick) for tick in MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= tick <= high]


def inches(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes in a place of a figure, measured in inches."""
    wide, high = figure.get_size_inches()
    return figure.add_axes((left / wide, bottom / high, width / wide, height / high))


def name_curves(axes: Axes, labels: Sequence[Label], size: float = FONT - 1) -> None:
    """Write the names of curves in the margin at the right, each near the level of its curve's end, none over another.

    Call it last: limits and layout must not change afterwards.
    """
    height = axes.bbox.height * 72 / axes.figure.dpi
    ends = axes.transAxes.inverted().transform(axes.transData.transform([(label.x, label.y) for label in labels]))
    order = sorted(range(len(labels)), key=lambda i: ends[i][1])
    raised = [0.25 * ("^" in labels[i].text) for i in order]  # exponents stand above their line
    tall = [((labels[i].text.count("\n") + 1) * 1.25 + r) * size / height for i, r in zip(order, raised, strict=True)]
    levels = spread_out([ends[i][1] for i in order], tall, -0.12, 1.04)
    for i, level in zip(order, levels, strict=True):
        axes.annotate(
            labels[i].text,
            xy=ends[i],
            xytext=(1.09, level),
            xycoords="axes fraction",
            fontsize=size,
            color=labels[i].colour,
            va="center",
            linespacing=1.05,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": labels[i].colour,
                "linewidth": 0.4,
                "relpos": (0, 0.5),
                "shrinkA": 0.5,
                "shrinkB": 2,
            },
        )


def spread_out(middles: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
    """Move boxes apart, as little as needed, keeping their order.

    Args:
        middles: where each would like to be, growing.
        heights: of each.
        low: where the lowest may begin.
        high: where the highest should end; boxes that do not fit between the two end above.

    Returns:
        Middles at which no two overlap: touching boxes form groups, each where its members wish to be on average.
    """

    def group_of(members: list[int]) -> tuple[float, float, list[int]]:
        total, below, wishes = sum(heights[i] for i in members), 0.0, []
        for i in members:
            wishes.append(middles[i] - heights[i] / 2 - below)
            below += heights[i]
        return max(low, min(sum(wishes) / len(wishes), high - total)), total, members

    groups: list[tuple[float, float, list[int]]] = []  # bottom, height, members
    for i in range(len(middles)):
        group = group_of([i])
        while groups and groups[-1][0] + groups[-1][1] > group[0]:
            group = group_of([*groups.pop()[2], *group[2]])
        groups.append(group)
    placed = []
    for bottom, _, members in groups:
        for i in members:
            placed.append(bottom + heights[i] / 2)
            bottom += heights[i]
    return placed
