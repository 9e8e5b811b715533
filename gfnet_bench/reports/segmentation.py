"""Semantic FPN on ADE20K, Table 2 of the paper: its costs counted here, its accuracy as published."""

from __future__ import annotations

from typing import Any

from gfnet_bench.catalog import MODELS
from gfnet_bench.published import rows
from gfnet_bench.records import Record
from gfnet_bench.reports.base import REPORTS, Report
from gfnet_bench.reports.drawing.beside import FROM_MEMORY, MARKS, beside, entries, quoted
from gfnet_bench.reports.drawing.tables import RECORDS, Column, Table
from gfnet_bench.reports.reading.selection import Selection

SUBJECT = "semantic_fpn"
SIDE = 1024  # pixels, of the paper's operation counts
CROP = 512  # pixels, of training images; GFNet's filters have this many, and with them its parameter count

_COLUMNS = [
    Column("backbone", "Backbone"),
    beside("params", "Params", f"M, at {CROP} px", scale=1e-6),
    beside("macs", "GMACs", f"at {SIDE} px", scale=1e-9),
    quoted("miou_percent", "mIoU", "%, published", digits=1),
]
_DATA = [_COLUMNS[0], Column("group", "Group"), *_COLUMNS[1:], Column("source", "Source")]
_NOTES = [
    "Ours, and in brackets what was published: backbone, pyramid and head, without the classifier that pre-training "
    "leaves behind. A multiply-add counts once; charged are N C ceil(log2 N) for each FFT, 5 per element of a "
    "LayerNorm, 2 of a batch norm.",
    "Why they differ: the published counter leaves out attention products, a fifth to a third of PVT's total and a "
    "fiftieth of Swin's. ResNets were probably counted with three small convolutions as a stem, 5 GMACs more. That "
    "GFNet-H's figures are 2 to 3 % below ours is not explained. Published parameters are PVT's with a position "
    "embedding for 224 pixels, and GFNet-H's with the classifier of 1000 classes.",
    "mIoU is published only: nothing here trains or scores on ADE20K.",
]


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
    lines = []
    for row in rows("table2_ade20k"):
        spec = next(MODELS[name] for name in MODELS if MODELS[name].title == row["backbone"])
        if models is None or spec.name in models:
            lines.append(_row(row, counts.get((spec.name, CROP)), counts.get((spec.name, SIDE))))
    ours, why, miou = _NOTES
    notes = [
        ours,
        *([why] if any(line.get("macs") is not None for line in lines) else []),
        miou,
        *([f"†: {MARKS['†']}."] if any(FROM_MEMORY in line.values() for line in lines) else []),
    ]
    if any(line.get(key) is None for line in lines for key in ("params", "macs")):
        notes.append("A dash is not counted yet: gfnet-bench paper table2")
    table = Table("table2", "Table 2. Semantic segmentation on ADE20K, Semantic FPN", _COLUMNS, lines, notes)
    return Report([table], Table("table2_long", table.title, _DATA, lines))


def _is_count(record: Record) -> bool:
    s = record.cell.settings
    return record.cell.study == "complexity" and s.get("subject") == SUBJECT and record.error is None


def _row(published: dict[str, str], at_crop: Record | None, at_side: Record | None) -> dict[str, Any]:
    counted = {key: r for key, r in (("params", at_crop), ("macs", at_side)) if r is not None}
    return {
        RECORDS: {key: (record.cell.sha256,) for key, record in counted.items()},
        "backbone": published["backbone"],
        "group": published["group"],
        "source": published["source"],
        **{key: record.values[key] for key, record in counted.items()},
        **entries(published, "params_m", "params", 1e6),
        **entries(published, "flops_g_1024", "macs", 1e9),
        **entries(published, "miou", "miou_percent"),
    }
