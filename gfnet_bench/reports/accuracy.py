"""Accuracy against complexity on ImageNet, Figures 3 and 4 of the paper: published beside ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from gfnet_bench.catalog import MODELS
from gfnet_bench.published import is_verified, rows
from gfnet_bench.records import Record, Store
from gfnet_bench.reports.base import REPORTS, Report
from gfnet_bench.reports.figures import COLUMN, Drawing, look, new_figure
from gfnet_bench.reports.outcomes import MARKS, Outcome, Results
from gfnet_bench.reports.scores import CLEAN, Score
from gfnet_bench.reports.tables import RECORDS, Column, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURES = {
    "figure3": ("fig3_transformer_style", "Figure 3. Accuracy against complexity, transformer-style models"),
    "figure4": ("fig4_hierarchical", "Figure 4. Accuracy against complexity, hierarchical models"),
}
"""By name: the published figures, and the title."""

_SHOWN = ": ImageNet top-1 accuracy against multiply-adds, as published (hollow) and as measured here (filled)"

_TOP1 = Score("imagenet", CLEAN, "top1")

_SIDE = 224  # pixels, of all weights that were published
_NO_WEIGHTS = "weights that anybody can load were never published"

_COLUMNS = [
    Column("model", "Model"),
    Column("side", "Side", "px", align="right"),
    Column("params_text", "Params", "M", align="right"),
    Column("gmacs_text", "GMACs", align="right"),
    Column("top1_text", "Top-1", "%", align="right"),
    Column("difference", "Difference", "points", align="right"),
]

_DATA = [
    Column(key, key)
    for key in (
        "figure", "model", "family", "side", "params", "params_published", "gmacs", "gmacs_published",
        "top1", "low", "high", "published", "verified", "difference", "reason",
    )
]  # fmt: skip


@REPORTS.register("accuracy")
def accuracy(
    records: Store | Iterable[Record],
    *,
    store: Store | None = None,
    suite: str | None = None,
    models: Sequence[str] | None = None,
    figures: Sequence[str] = tuple(FIGURES),
) -> Report:
    """ImageNet accuracy against multiply-adds, Figures 3 and 4: published beside ours where it is measured.

    Args:
        records: what to show; a store shows all it holds.
        store: not needed.
        suite: accepted for uniformity; both figures are about ImageNet.
        models: rows of these models alone.
        figures: `figure3`, `figure4`.
    """
    found = records.load().records if isinstance(records, Store) else list(records)
    measured = Results([r for r in found if r.cell.study == "robustness"])
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
        tables.append(Table(name, title, _COLUMNS, lines, _notes(lines)))
    data = Table("accuracy_long", "Accuracy against complexity", _DATA, [row for t in tables for row in t.rows])
    drawings = [Drawing(t.name, _drawn(t), Table(t.name, f"{t.title}{_SHOWN}", _DATA, t.rows)) for t in tables]
    return Report(tables, data, figures=drawings)


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
        "side": size,
        "params_published": float(published["params_m"]),
        "gmacs_published": float(published["flops_g"]),
        "published": float(published["top1"]),
        "verified": is_verified(published, "top1"),
        "reason": _NO_WEIGHTS if spec is None or size != _SIDE else "not measured",
    }
    count = counts.get((spec.name, (size, size))) if spec else None
    if count is not None:
        row |= {"params": count.values["params"] / 1e6, "gmacs": count.values["macs"] / 1e9}
        behind |= dict.fromkeys(("params_text", "gmacs_text"), (count.cell.sha256,))
    ours = _measured(measured, spec.name) if spec and size == _SIDE else None
    if ours is not None:
        row["reason"] = ours.reason
        behind["top1_text"] = tuple(r.cell.sha256 for r in measured.records(ours.setup, _TOP1))
    if ours is not None and ours.value is not None and ours.interval is not None:
        row |= {"top1": ours.value, "low": ours.interval.low, "high": ours.interval.high}
        if ours.published is None:
            row["reason"] = "no difference: the published figure is of other weights, which were never released"
        else:
            row["difference"] = ours.value - row["published"]
    return row | _texts(row)


def _texts(row: dict[str, Any]) -> dict[str, str]:
    """Ours, and in brackets what was published."""
    params, gmacs, top1 = row.get("params"), row.get("gmacs"), row.get("top1")
    ours = "-" if top1 is None else f"{top1:.1f} ±{(row['high'] - row['low']) / 2:.1f}"
    return {
        "params_text": f"{'-' if params is None else f'{params:.1f}'} ({row['params_published']:g})",
        "gmacs_text": f"{'-' if gmacs is None else f'{gmacs:.2f}'} ({row['gmacs_published']:g})",
        "top1_text": f"{ours} ({row['published']:.1f}{'' if row['verified'] else '†'})",
    }


def _measured(results: Results, model: str) -> Outcome | None:
    """The accuracy under the paper's protocol: its transform, its weights, all images, float32."""
    usual = {"transform": "paper", "checkpoint": None, "limit": None, "dtype": "float32"}
    found = []
    for setup in results.setups:
        own = setup.settings
        same = all(own.get(key) == value for key, value in usual.items())
        same = same and own.get("img_size") in (None, [_SIDE, _SIDE])
        if setup.model == model and same and results.records(setup, _TOP1):
            found.append(results.outcome(setup, _TOP1))
    return max(found, key=lambda outcome: outcome.value is not None, default=None)


def _notes(lines: Sequence[dict[str, Any]]) -> list[str]:
    notes = [
        "Ours, and in brackets what was published. GMACs: a multiply-add counts once; charged are N C ceil(log2 N) for "
        "each FFT, 5 per element of a LayerNorm, 2 of a batch norm."
    ]
    if not all(line["verified"] for line in lines):
        notes.append(f"†: {MARKS['†']}.")
    missing = [line["name"] for line in lines if line.get("top1") is None and line["reason"] != _NO_WEIGHTS]
    if missing:
        some = " ".join(dict.fromkeys(missing))
        notes.append(f"Not measured here; with ImageNet at hand: gfnet-bench paper figure3 figure4, or: -m {some}")
    explained: dict[str, list[str]] = {}
    for line in lines:
        if line["reason"] not in ("", "not measured"):
            explained.setdefault(line["reason"], []).append(line["model"])
    notes += [f"{', '.join(of)}: {reason}." for reason, of in explained.items()]
    return notes


def _drawn(table: Table) -> Any:
    """A function that draws one figure from its rows."""

    def draw() -> Figure:
        figure = new_figure(COLUMN, COLUMN)
        axes = figure.add_subplot()
        figure.subplots_adjust(left=0.13, right=0.97, bottom=0.12, top=0.93)
        lines: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for row in table.rows:
            lines.setdefault((row["family"], row["side"]), []).append(dict(row))
        best_first = sorted(lines.items(), key=lambda item: -max(p["published"] for p in item[1]))
        for (family, side), points in best_first:
            _curve(axes, family, side, sorted(points, key=lambda p: p["gmacs_published"]))
        axes.set_xscale("log")
        axes.set_xlabel("multiply-adds of one image (G, log scale)")
        axes.set_ylabel("ImageNet top-1 (%)")
        low, high = (f(r["gmacs_published"] for r in table.rows) for f in (min, max))
        ticks = [tick for tick in (1, 2, 5, 10, 20) if tick < 1.15 * high]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlim(low / 1.15, high * 1.15)
        axes.set_title("hollow: published; filled: measured here, 95 % interval")
        axes.legend(loc="lower right")  # curves cross and end anywhere: names at their ends would be guesswork
        return figure

    return draw


def _curve(axes: Axes, family: str, side: int, points: Sequence[dict[str, Any]]) -> None:
    """What was published as hollow marks on a line, ours as filled ones with their interval."""
    colour, marker = look(family)
    x, y = [p["gmacs_published"] for p in points], [p["published"] for p in points]
    name, line = (family, "-") if side == _SIDE else (f"{family}, {side} px", "--")
    hollow: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 0.8, "markersize": 4}
    axes.plot(x, y, line, color=colour, marker=marker, linewidth=0.8, label=name, **hollow)
    for p in points:
        if p.get("top1") is not None:
            at = p.get("gmacs", p["gmacs_published"])
            axes.plot([at, at], [p["low"], p["high"]], color=colour, linewidth=0.8)
            axes.plot([at], [p["top1"]], color=colour, marker=marker, linestyle="")
