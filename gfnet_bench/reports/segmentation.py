"""Semantic FPN on ADE20K, Table 2 of the paper: costs counted here, mIoU measured where it was; and small scenes."""

from __future__ import annotations

from typing import Any

from gfnet_bench.catalog import MODELS
from gfnet_bench.published import rows
from gfnet_bench.records import Record
from gfnet_bench.reports.base import REPORTS, Report
from gfnet_bench.reports.drawing.beside import FROM_MEMORY, MARKS, beside, entries, quoted
from gfnet_bench.reports.drawing.tables import RECORDS, Column, Table
from gfnet_bench.reports.reading.selection import Selection
from gfnet_bench.reports.segmentation_scores import is_score, is_table2, scores

SUBJECT = "semantic_fpn"
SIDE = 1024  # pixels, of the paper's operation counts
CROP = 512  # pixels, of training images; GFNet's filters have this many, and with them its parameter count

_COLUMNS = [
    Column("backbone", "Backbone"),
    beside("params", "Params", f"M, at {CROP} px", scale=1e-6),
    beside("macs", "GMACs", f"at {SIDE} px", scale=1e-9),
]
_QUOTED = quoted("miou_percent", "mIoU", "%, published", digits=1)
_OURS = beside("miou_percent", "mIoU", "%")
_NOTES = [
    "Ours, and in brackets what was published: backbone, pyramid and head, without the classifier that pre-training "
    "leaves behind. A multiply-add counts once; charged are N C ceil(log2 N) for each FFT, 5 per element of a "
    "LayerNorm, 2 of a batch norm.",
    "Why they differ: the published counter leaves out attention products, a fifth to a third of PVT's total and a "
    "fiftieth of Swin's. ResNets were probably counted with three small convolutions as a stem, 5 GMACs more. That "
    "GFNet-H's figures are 2 to 3 % below ours is not explained. Published parameters are PVT's with a position "
    "embedding for 224 pixels, and GFNet-H's with the classifier of 1000 classes.",
    "mIoU is published only: nothing here was trained or scored on ADE20K. With the data: gfnet-bench segmentation",
]
_TRAINED = (
    "mIoU, ours and in brackets the published one: all 2000 validation images, whole, at one scale. The code that the "
    "papers name as their source runs 0.9 to 2.1 points above the table that GFNet compares with."
)


@REPORTS.register("segmentation")
def segmentation(
    selection: Selection,
) -> Report:
    """Semantic FPN on ADE20K, Table 2: parameters and multiply-adds counted here, mIoU as published.

    Args:
        selection: what to show; its models are backbones.
    """
    found, models = selection.records, selection.models
    counts = {(r.cell.model, r.cell.settings["img_size"][0]): r for r in found if _is_count(r)}
    trained = {r.cell.model: r for r in found if is_table2(r)}
    lines = []
    for row in rows("table2_ade20k"):
        spec = next(MODELS[name] for name in MODELS if MODELS[name].title == row["backbone"])
        if models is None or spec.name in models:
            measured = counts.get((spec.name, CROP)), counts.get((spec.name, SIDE)), trained.get(spec.name)
            lines.append(_row(row, *measured))
    has_ours = any(line.get("miou_percent") is not None for line in lines)
    ours, why, miou = _NOTES
    notes = [
        ours,
        *([why] if any(line.get("macs") is not None for line in lines) else []),
        _TRAINED if has_ours else miou,
        *([f"†: {MARKS['†']}."] if any(FROM_MEMORY in line.values() for line in lines) else []),
    ]
    if any(line.get(key) is None for line in lines for key in ("params", "macs")):
        notes.append("A dash is not counted yet: gfnet-bench paper table2")
    columns = [*_COLUMNS, _OURS if has_ours else _QUOTED]
    table = Table("table2", "Table 2. Semantic segmentation on ADE20K, Semantic FPN", columns, lines, notes)
    data = [columns[0], Column("group", "Group"), *columns[1:], Column("source", "Source")]
    own = [r for r in found if is_score(r) and (models is None or r.cell.model in models)]
    tables = scores(own, selection.store).tables if own and selection.store is not None else ()
    return Report([table, *tables], Table("table2_long", table.title, data, lines))


def _is_count(record: Record) -> bool:
    s = record.cell.settings
    return record.cell.study == "complexity" and s.get("subject") == SUBJECT and record.error is None


def _row(
    published: dict[str, str], at_crop: Record | None, at_side: Record | None, trained: Record | None
) -> dict[str, Any]:
    counted = {key: r for key, r in (("params", at_crop), ("macs", at_side)) if r is not None}
    score = {} if trained is None else {"miou_percent": trained}
    return {
        RECORDS: {key: (record.cell.sha256,) for key, record in (counted | score).items()},
        "backbone": published["backbone"],
        "group": published["group"],
        "source": published["source"],
        **{key: record.values[key] for key, record in counted.items()},
        **{key: 100 * record.values["miou"] for key, record in score.items()},
        **entries(published, "params_m", "params", 1e6),
        **entries(published, "flops_g_1024", "macs", 1e9),
        **entries(published, "miou", "miou_percent"),
    }
