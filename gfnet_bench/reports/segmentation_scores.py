"""Mean IoU of trained networks: on clean images with intervals and paired differences, and on corrupted ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gfnet_bench.catalog import CORRUPTIONS, MODELS
from gfnet_bench.metrics import holm
from gfnet_bench.metrics import segmentation as metrics
from gfnet_bench.mini.pyramids import MINI
from gfnet_bench.records import Record
from gfnet_bench.reports.base import Report
from gfnet_bench.reports.drawing.tables import RECORDS, Column, Row, Table
from gfnet_bench.scene_sets import ADE20K, SCENE_SETS
from gfnet_bench.store import Store

STUDY = "segmentation"


def _with_interval(row: Row) -> str:
    if row.get("miou_percent_low") is None:
        return f"{row['miou_percent']:.1f}"
    return f"{row['miou_percent']:.1f} [{row['miou_percent_low']:.1f}, {row['miou_percent_high']:.1f}]"


_MIOU = Column(
    "miou_percent",
    "mIoU",
    "%",
    show=_with_interval,
    fields=("miou_percent", "miou_percent_low", "miou_percent_high"),
    align="right",
)
_CLEAN = [
    Column("model", "Backbone"),
    Column("scenes", "Scenes"),
    Column("images", "Images", align="right"),
    Column("iterations", "Iterations", align="right"),
    Column("dtype", "Number format"),
    _MIOU,
    Column("pixel_accuracy_percent", "Pixel accuracy", "%", align="right"),
    Column("mean_accuracy_percent", "Mean class accuracy", "%", align="right"),
]
_PAIRS = [
    Column("model", "Backbone"),
    Column("other", "Other"),
    Column("difference_points", "mIoU difference", "points", align="right"),
    Column("difference_points_low", "from", align="right"),
    Column("difference_points_high", "to", align="right"),
    Column("p", "p", digits=4, align="right"),
    Column("p_holm", "p, Holm", digits=4, align="right"),
]
_CORRUPTED = [
    Column("model", "Backbone"),
    Column("scenes", "Scenes"),
    Column("corruption", "Corruption"),
    Column("severity", "Severity", align="right"),
    _MIOU,
    Column("lost_points", "Lost", "points", align="right"),
]


def is_score(record: Record) -> bool:
    """Whether a record has a mean IoU."""
    return record.cell.study == STUDY and record.error is None


def is_table2(record: Record) -> bool:
    """Whether it is one of Table 2: the whole clean validation set of ADE20K."""
    s = record.cell.settings
    return (
        is_score(record)
        and s["scenes"] == ADE20K.name
        and s["corruption"] is None
        and record.values["images"] == record.values["expected"]
    )


def scores(records: Sequence[Record], store: Store) -> Report:
    """Mean IoU of these records, whose arrays lie in a store.

    Args:
        records: of the study, without failures.
        store: where they lie.
    """
    regions = {record.cell: _regions(store, record) for record in records}
    clean = [record for record in records if record.cell.settings["corruption"] is None]
    of_clean = {_setup(record): record for record in clean}
    lines = [_line(record, regions[record.cell]) for record in clean]
    kinds = sorted({record.cell.settings["scenes"] for record in records})
    title = f"Semantic segmentation of {' and '.join(kinds)}, Semantic FPN"
    notes = ["In brackets the 95 % interval of a bootstrap over images."]
    notes += [f"{name}: {note}" for name in kinds if (note := SCENE_SETS[name].note)]
    pairs = [
        _pair(a, b, regions)
        for a, b in itertools.combinations(clean, 2)
        if _images(a) == _images(b) and a.cell.model != b.cell.model
    ]
    tables = [Table("segmentation", title, _CLEAN, lines, notes)] if lines else []
    tested = [pair for pair in pairs if pair["p"] is not None]
    for pair, corrected in zip(tested, holm([pair["p"] for pair in tested]), strict=True):
        pair["p_holm"] = corrected
    if pairs:
        tables.append(Table("segmentation_paired", f"{title}: the same images", _PAIRS, pairs))
    for kind in kinds:
        of_kind = [record for record in clean if record.cell.settings["scenes"] == kind]
        if of_kind:
            tables.append(_by_class(kind, of_kind, regions))
    corrupted = [record for record in records if record.cell.settings["corruption"] is not None]
    lost = [_corrupted(record, regions[record.cell], of_clean.get(_setup(record))) for record in corrupted]
    if lost:
        note = "Images are corrupted at the size they have on disk, and resized after that; the truth stays as it is."
        lost.sort(key=lambda row: (row["model"], list(CORRUPTIONS).index(row["corruption"]), row["severity"]))
        tables.append(Table("segmentation_corrupted", f"{title}: corrupted images", _CORRUPTED, lost, [note]))
    return Report(tables)


def _by_class(scenes: str, records: Sequence[Record], regions: dict[Any, metrics.Regions]) -> Table:
    """IoU of each class of a set of scenes, a column a record, the class of most pixels first."""
    columns = [
        Column("class_name", "Class"),
        Column("labelled_percent", "Pixels", "%", digits=2, align="right"),
        *(
            Column(f"iou_{place}_percent", _title(record.cell.model), "IoU, %", align="right")
            for place, record in enumerate(records, 1)
        ),
    ]
    labelled = regions[records[0].cell].labelled.sum(0, dtype=np.int64)
    found = [metrics.class_iou(regions[record.cell]) for record in records]
    rows: list[dict[str, Any]] = []
    for label in np.argsort(-labelled, kind="stable").tolist():
        row: dict[str, Any] = {"class_name": SCENE_SETS[scenes].names[label]}
        row["labelled_percent"] = 100 * float(labelled[label] / labelled.sum())
        for place, iou in enumerate(found, 1):
            row[f"iou_{place}_percent"] = None if math.isnan(iou[label]) else 100 * float(iou[label])
        rows.append(row)
    note = "Intersection over union; pixels are the share of those that count. A dash is a class that is nowhere."
    return Table(f"segmentation_classes_{scenes}", f"Classes of {scenes}, Semantic FPN", columns, rows, [note])


def _regions(store: Store, record: Record) -> metrics.Regions:
    arrays = store.arrays(record)
    return metrics.Regions(arrays["intersect"], arrays["predicted"], arrays["labelled"])


def _setup(record: Record) -> str:
    """The same for a network's clean and corrupted images."""
    s = {key: value for key, value in record.cell.settings.items() if key != "corruption"}
    return f"{record.cell.model} {sorted(s.items())}"


def _images(record: Record) -> tuple[Any, ...]:
    """The same for records on the same images."""
    s = record.cell.settings
    seed = s["seed"] if s["limit"] is not None else None
    return s["scenes"], s["limit"], seed, record.values["images"], record.provenance.get("data_fingerprint")


def _title(model: str) -> str:
    return MINI[model].title if model in MINI else MODELS[model].title if model in MODELS else model


def _score(record: Record, found: metrics.Regions) -> dict[str, Any]:
    low, high = metrics.mean_iou_interval(found) or (None, None)
    return {
        RECORDS: {"miou_percent": (record.cell.sha256,)},
        "model": _title(record.cell.model),
        "scenes": record.cell.settings["scenes"],
        "miou_percent": 100 * record.values["miou"],
        "miou_percent_low": None if low is None else 100 * low,
        "miou_percent_high": None if high is None else 100 * high,
    }


def _line(record: Record, found: metrics.Regions) -> dict[str, Any]:
    s = record.cell.settings
    return {
        **_score(record, found),
        "images": record.values["images"],
        "iterations": s["training"] and s["training"]["iterations"],
        "dtype": s["dtype"],
        "pixel_accuracy_percent": 100 * record.values["pixel_accuracy"],
        "mean_accuracy_percent": 100 * record.values["mean_accuracy"],
    }


def _pair(a: Record, b: Record, regions: dict[Any, metrics.Regions]) -> dict[str, Any]:
    found = metrics.compare_mean_iou(regions[a.cell], regions[b.cell])
    low, high = found.interval or (None, None)
    return {
        "model": _title(a.cell.model),
        "other": _title(b.cell.model),
        "difference_points": 100 * found.difference,
        "difference_points_low": None if low is None else 100 * low,
        "difference_points_high": None if high is None else 100 * high,
        "p": found.p,
    }


def _corrupted(record: Record, found: metrics.Regions, clean: Record | None) -> dict[str, Any]:
    done = record.cell.settings["corruption"]
    lost = None if clean is None else 100 * (clean.values["miou"] - record.values["miou"])
    return {
        **_score(record, found),
        "corruption": done["name"],
        "severity": done["severity"],
        "lost_points": lost,
    }
