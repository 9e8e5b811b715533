"""Accuracy against complexity on ImageNet, Figures 3 and 4 of the paper: published beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gfnet_bench.catalog import MODELS
from gfnet_bench.errors import MissingError
from gfnet_bench.perturbations import CLEAN
from gfnet_bench.published import rows
from gfnet_bench.records import Record
from gfnet_bench.reports.base import REPORTS, Report
from gfnet_bench.reports.drawing import intervals
from gfnet_bench.reports.drawing.beside import FROM_MEMORY, MARKS, beside, entries
from gfnet_bench.reports.drawing.figures import COLUMN, Drawing, explain, log_ticks, look, new_figure
from gfnet_bench.reports.drawing.tables import GAP, RECORDS, Column, Row, Table, decimals
from gfnet_bench.reports.reading.consistent import consistent
from gfnet_bench.reports.reading.scores import MAIN, Score, setup_of
from gfnet_bench.reports.reading.selection import Selection
from gfnet_bench.reports.robustness.results import PARTIAL, Outcome, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURES = {
    "figure3": ("fig3_transformer_style", "Figure 3. Accuracy against complexity, transformer-style models"),
    "figure4": ("fig4_hierarchical", "Figure 4. Accuracy against complexity, hierarchical models"),
}
"""By name: the published figures, and the title."""

_TOP1 = Score(MAIN, CLEAN, "top1")

_SIDE = 224  # pixels, of all weights that were published
_NO_WEIGHTS = "weights that anybody can load were never published"

_TEXT = "_text"
"""An entry that no column shows: our accuracy as people read it."""


def _top1(row: Row) -> str:
    published = f"{decimals(row['top1_percent_published'])}{row['top1_percent_published_mark'] or ''}"
    return f"{row.get(_TEXT) or GAP} ({published})"


_TOP1_FIELDS = [
    "top1_percent", "top1_percent_low", "top1_percent_high", "top1_percent_images", "top1_percent_expected_images",
    "top1_percent_published", "top1_percent_published_mark",
]  # fmt: skip
_COLUMNS = [
    Column("model", "Model"),
    Column("side_px", "Side", "px", align="right"),
    beside("params", "Params", "M", scale=1e-6),
    beside("macs", "GMACs", scale=1e-9, digits=2),
    Column("top1_percent", "Top-1", "%", show=_top1, fields=_TOP1_FIELDS, align="right"),
    Column("difference_points", "Difference", "points", align="right"),
]
_DATA = [Column("figure", "Figure"), _COLUMNS[0], Column("family", "Family"), *_COLUMNS[1:], Column("reason", "Reason")]


@REPORTS.register("accuracy")
def accuracy(
    selection: Selection,
    *,
    figures: Sequence[str] = tuple(FIGURES),
) -> Report:
    """ImageNet accuracy against multiply-adds, Figures 3 and 4: published beside ours where it is measured.

    Args:
        selection: what to show; both figures are about ImageNet, whatever its suite.
        figures: `figure3`, `figure4`.

    Raises:
        MissingError: if none of the models is in these figures.
    """
    found, models = selection.records, selection.models
    scored = [r for r in found if r.cell.study == "robustness"]
    measured = Results(consistent(scored, row=lambda r: setup_of(r.cell)).records)
    counts = {
        (r.cell.model, tuple(r.cell.settings["img_size"])): r
        for r in found
        if r.cell.study == "complexity" and r.error is None and _is_count(r)
    }
    tables = []
    for name in figures:
        published, title = FIGURES[name]
        lines = [{"figure": name, **_row(row, measured, counts)} for row in rows(published)]
        lines = [line for line in lines if models is None or line["name"] in models]
        tables += [Table(name, title, _COLUMNS, lines, _notes(lines))] if lines else []
    if models is not None and not tables:
        raise MissingError(f"accuracy: expected models of {' and '.join(figures)}, found only {', '.join(models)}.")
    data = Table("accuracy_long", "Accuracy against complexity", _DATA, [row for t in tables for row in t.rows])
    return Report(tables, data, figures=[_drawing(table) for table in tables])


def _is_count(record: Record) -> bool:
    s = record.cell.settings
    return s["measure"] == "count" and s.get("subject") == "model" and s["convention"] == "authors"


def _row(published: dict[str, str], measured: Results, counts: dict[Any, Record]) -> dict[str, Any]:
    """One model: what was published, and what we have."""
    title, _, side = published["model"].partition("@")
    size = int(side or published["resolution"])
    spec = next((MODELS[name] for name in MODELS if MODELS[name].title == title), None)
    behind: dict[str, tuple[str, ...]] = {}
    row: dict[str, Any] = {
        RECORDS: behind,
        "model": published["model"],
        "name": spec.name if spec else None,
        "family": spec.family if spec else title.rpartition("-")[0],
        "side_px": size,
        **entries(published, "params_m", "params", 1e6),
        **entries(published, "flops_g", "macs", 1e9),
        **entries(published, "top1", "top1_percent"),
        "reason": _NO_WEIGHTS if spec is None or size != _SIDE else "not measured",
    }
    count = counts.get((spec.name, (size, size))) if spec else None
    if count is not None:
        row |= {key: count.values[key] for key in ("params", "macs")}
        behind |= dict.fromkeys(("params", "macs"), (count.cell.sha256,))
    ours = _measured(measured, spec.name) if spec and size == _SIDE else None
    if ours is not None:
        row |= {"reason": ours.reason or None, **_accuracy(ours, row["top1_percent_published"])}
        behind["top1_percent"] = measured.behind(ours.setup, _TOP1)
    return row


def _accuracy(ours: Outcome, published: float) -> dict[str, Any]:
    """Entries of what was measured; it is held against what was published where it is the same measurement."""
    if ours.value is None or ours.interval is None or ours.coverage is None:
        return {}
    ends = {"top1_percent_low": ours.interval.low, "top1_percent_high": ours.interval.high}
    seen = {"top1_percent_images": ours.coverage.images, "top1_percent_expected_images": ours.coverage.expected}
    found = {"top1_percent": ours.value, **ends, **seen, _TEXT: ours.ours}
    if ours.is_partial:
        return {**found, "reason": f"neither drawn nor held against what was published: {ours.coverage.text}"}
    if ours.published is None:
        return {**found, "reason": "no difference: the published figure is of other weights, which were never released"}
    return {**found, "difference_points": ours.value - published}


def _is_drawn(row: Row) -> bool:
    """Whether ours is of the whole set."""
    return row.get("top1_percent") is not None and row["top1_percent_images"] >= row["top1_percent_expected_images"]


def _measured(results: Results, model: str) -> Outcome | None:
    """The accuracy under the paper's protocol: its transform, its weights, no limit, float32."""
    usual = {"transform": "paper", "checkpoint": None, "limit": None, "dtype": "float32"}
    found = []
    for setup in results.setups:
        own = setup.settings
        same = all(own.get(key) == value for key, value in usual.items())
        same = same and own.get("img_size") in (None, [_SIDE, _SIDE])
        if setup.model == model and same and results.records(setup, _TOP1):
            found.append(results.outcome(setup, _TOP1))
    return max(found, key=lambda outcome: (outcome.value is not None, not outcome.is_partial), default=None)


def _notes(lines: Sequence[dict[str, Any]]) -> list[str]:
    notes = [
        "Ours, and in brackets what was published. GMACs: a multiply-add counts once; charged are N C ceil(log2 N) for "
        "each FFT, 5 per element of a LayerNorm, 2 of a batch norm."
    ]
    notes += [intervals.NOTE] if any(line.get("top1_percent_low") is not None for line in lines) else []
    notes += [f"{FROM_MEMORY}: {MARKS[FROM_MEMORY]}."] if any(FROM_MEMORY in line.values() for line in lines) else []
    partial = any(line.get("top1_percent") is not None and not _is_drawn(line) for line in lines)
    notes += [f"{PARTIAL}: not the whole set."] if partial else []
    missing = [line["name"] for line in lines if line.get("top1_percent") is None and line["reason"] != _NO_WEIGHTS]
    if missing:
        some = " ".join(dict.fromkeys(missing))
        notes.append(f"Not measured here; with ImageNet at hand: gfnet-bench paper figure3 figure4, or: -m {some}")
    explained: dict[str, list[str]] = {}
    for line in lines:
        if line["reason"] not in (None, "not measured"):
            explained.setdefault(line["reason"], []).append(line["model"])
    notes += [f"{', '.join(of)}: {reason}." for reason, of in explained.items()]
    return notes


def _drawing(table: Table) -> Drawing:
    """A figure from the rows of its table."""
    data = Table(table.name, f"{table.title}: ImageNet top-1 accuracy against multiply-adds", _DATA, table.rows)
    uncounted = [row["model"] for row in table.rows if _is_drawn(row) and row.get("macs") is None]
    about = (
        [f"At the published multiply-adds, since ours are not counted: {', '.join(uncounted)}."] if uncounted else []
    )
    return Drawing(table.name, lambda: _draw(table.rows), data, about)


def _draw(rows: Sequence[Row]) -> Figure:
    figure = new_figure(COLUMN, COLUMN)
    axes = figure.add_subplot()
    figure.subplots_adjust(left=0.13, right=0.97, bottom=0.12, top=0.97)
    lines: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        lines.setdefault((row["family"], row["side_px"]), []).append(row)
    best_first = sorted(lines.items(), key=lambda item: -max(p["top1_percent_published"] for p in item[1]))
    for (family, side), points in best_first:
        _curve(axes, family, side, sorted(points, key=lambda p: p["macs_published"]))
    axes.set_xscale("log")
    axes.set_xlabel("multiply-adds of one image (G, log scale)")
    axes.set_ylabel("ImageNet top-1 (%)")
    low, high = (f(row["macs_published"] / 1e9 for row in rows) for f in (min, max))
    ticks = log_ticks(low / 1.15, high * 1.15)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(low / 1.15, high * 1.15)
    axes.legend(loc="lower right")  # curves cross and end anywhere: names at their ends would be guesswork
    return figure


def _curve(axes: Axes, family: str, side: int, points: Sequence[Row]) -> None:
    """What was published as hollow marks on a line, ours as filled ones with their interval."""
    colour, marker = look(family)
    x, y = [p["macs_published"] / 1e9 for p in points], [p["top1_percent_published"] for p in points]
    name, line = (family, "-") if side == _SIDE else (f"{family}, {side} px", "--")
    hollow: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 0.8, "markersize": 4}
    (drawn,) = axes.plot(x, y, line, color=colour, marker=marker, linewidth=0.8, label=name, **hollow)
    explain(drawn, "Hollow", "published")
    if line == "--" and len(points) > 1:
        explain(drawn, "Dashed", f"of {side} px images")
    for p in filter(_is_drawn, points):
        at = p.get("macs", p["macs_published"]) / 1e9
        bar = axes.vlines([at], p["top1_percent_low"], p["top1_percent_high"], colour, linewidth=0.8)
        explain(bar, "Bars", "95 % intervals over the images")
        (ours,) = axes.plot([at], [p["top1_percent"]], color=colour, marker=marker, linestyle="")
        explain(ours, "Filled", "measured here")
