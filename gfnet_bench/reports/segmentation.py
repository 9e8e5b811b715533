"""Semantic FPN on ADE20K, Table 2 of the paper: its costs counted here, its accuracy as published."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gfnet_bench.catalog import MODELS
from gfnet_bench.published import is_verified, rows
from gfnet_bench.records import Record, Store
from gfnet_bench.reports.base import REPORTS, Report
from gfnet_bench.reports.outcomes import MARKS
from gfnet_bench.reports.tables import RECORDS, Column, Table

SUBJECT = "semantic_fpn"
SIDE = 1024  # pixels, of the paper's operation counts
CROP = 512  # pixels, of training images; GFNet's filters have this many, and with them its parameter count

_COLUMNS = [
    Column("backbone", "Backbone"),
    Column("params_text", "Params", f"M, at {CROP} px", align="right"),
    Column("gmacs_text", "GMACs", f"at {SIDE} px", align="right"),
    Column("miou_text", "mIoU", "%, published", align="right"),
]
_DATA = [
    Column(key, key)
    for key in (
        "backbone", "group", "params", "params_published", "gmacs", "gmacs_published", "miou_published", "source",
    )
]  # fmt: skip
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
    records: Store | Iterable[Record],
    *,
    store: Store | None = None,
    suite: str | None = None,
    models: Sequence[str] | None = None,
) -> Report:
    """Semantic FPN on ADE20K, Table 2: parameters and multiply-adds counted here, mIoU as published.

    Args:
        records: what to show; a store shows all it holds.
        store: not needed.
        suite: accepted for uniformity.
        models: rows of these backbones alone.
    """
    found = records.load().records if isinstance(records, Store) else list(records)
    counts = {(r.cell.model, r.cell.settings["img_size"][0]): r for r in found if _is_count(r)}
    lines = []
    for row in rows("table2_ade20k"):
        spec = next(MODELS[name] for name in MODELS if MODELS[name].title == row["backbone"])
        if models is None or spec.name in models:
            lines.append(_row(row, counts.get((spec.name, CROP)), counts.get((spec.name, SIDE))))
    notes = [*_NOTES, f"†: {MARKS['†']}."]
    if any(line["gmacs"] is None for line in lines):
        notes.append("A dash is not counted yet: gfnet-bench paper table2")
    table = Table("table2", "Table 2. Semantic segmentation on ADE20K, Semantic FPN", _COLUMNS, lines, notes)
    return Report([table], Table("table2_long", table.title, _DATA, lines))


def _is_count(record: Record) -> bool:
    s = record.cell.settings
    return record.cell.study == "complexity" and s.get("subject") == SUBJECT and record.error is None


def _row(published: dict[str, str], at_crop: Record | None, at_side: Record | None) -> dict[str, Any]:
    params = at_crop.values["params"] / 1e6 if at_crop else None
    gmacs = at_side.values["macs"] / 1e9 if at_side else None
    behind = {"params_text": at_crop, "gmacs_text": at_side}
    marks = {key: "" if is_verified(published, key) else "†" for key in ("params_m", "flops_g_1024", "miou")}
    return {
        RECORDS: {key: (record.cell.sha256,) for key, record in behind.items() if record},
        "backbone": published["backbone"],
        "group": published["group"],
        "source": published["source"],
        "params": params,
        "params_published": float(published["params_m"]),
        "gmacs": gmacs,
        "gmacs_published": float(published["flops_g_1024"]),
        "miou_published": float(published["miou"]),
        "params_text": f"{_text(params)} ({published['params_m']}{marks['params_m']})",
        "gmacs_text": f"{_text(gmacs)} ({published['flops_g_1024']}{marks['flops_g_1024']})",
        "miou_text": f"{published['miou']}{marks['miou']}",
    }


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
