"""How every figure looks: sizes and fonts as printed, colours that all eyes tell apart, names at the curves.

matplotlib is imported when something is drawn, and without its global state: drawing needs no display.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gfnet_bench.records import write_atomic
from gfnet_bench.reports.tables import Table

if TYPE_CHECKING:
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


class Look(NamedTuple):
    """How one series is drawn: never by colour alone."""

    colour: str
    marker: str


# Okabe and Ito's palette, made for every kind of colour vision. One design keeps its colour in every figure: a global
# filter is blue whether it is a block, a model or a row of a table.
_BLUE, _SKY, _RED, _ORANGE, _GREEN, _PURPLE = "#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#CC79A7"

LOOKS = {
    "global_filter": Look(_BLUE, "o"),
    "global_filter_fast": Look(_SKY, "X"),
    "self_attention": Look(_RED, "s"),
    "self_attention_fused": Look(_ORANGE, "D"),
    "spatial_mlp": Look(_GREEN, "^"),
    "depthwise_conv": Look(_PURPLE, "v"),
    "GFNet": Look(_BLUE, "o"),
    "DeiT": Look(_RED, "s"),
    "Swin": Look(_ORANGE, "D"),
    "PVT": Look(_SKY, "P"),
    "PVTv2": Look(_SKY, "X"),
    "ResMLP": Look(_GREEN, "^"),
    "gMLP": Look(_GREEN, "<"),
    "Mixer": Look(_GREEN, ">"),
    "ResNet": Look(_PURPLE, "v"),
    "ResNeXt": Look(_PURPLE, "p"),
    "RegNetY": Look(_PURPLE, "h"),
}
"""By mixer, and by the family of a model in the catalogue."""


def look(name: str) -> Look:
    """How a mixer or a family is drawn; black where it has no look of its own."""
    return LOOKS.get(name, Look("#000000", "."))


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
        draw: makes the matplotlib figure; called under `STYLE`.
        data: the numbers that are drawn.
    """

    name: str
    draw: Callable[[], Figure]
    data: Table

    def write(self, folder: Path) -> list[Path]:
        """Save `<name>.pdf`, `.png` and `.csv` in `folder`; the same records give the same bytes."""
        import matplotlib

        paths = []
        with matplotlib.rc_context(STYLE):
            figure = self.draw()
            for ending, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
                content = io.BytesIO()
                figure.savefig(content, format=ending, dpi=DPI, metadata=metadata)
                paths.append(folder / f"{self.name}.{ending}")
                write_atomic(paths[-1], content.getvalue())
        paths.append(folder / f"{self.name}.csv")
        write_atomic(paths[-1], self.data.render("csv").encode())
        return paths


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that many inches, on the canvas that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


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
