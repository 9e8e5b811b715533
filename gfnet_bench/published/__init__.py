"""Numbers quoted from papers and public results, one CSV per table or figure, each row with its source.

They are percentages, as printed, and never mixed with records. `verified_fields` lists the figures of a row that were
seen at a public source; the others are quoted from memory, and `low_confidence_fields` lists those that cannot be right
or may well be wrong.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from gfnet_bench.catalog import MODELS

_PAPER = ("table3_robustness", "fig3_transformer_style", "fig4_hierarchical")
"""Where a figure of the paper is looked for, the first that has it."""

_OTHER_WEIGHTS = {
    ("fig4_hierarchical", "RegNetY-4.0GF"),
    ("fig4_hierarchical", "RegNetY-8.0GF"),
    ("fig3_transformer_style", "gMLP-S"),
}
"""Rows about weights that were never released: nothing measured here can be held against them."""

_TIMM_COLUMNS = {
    "params_m": "params_m",
    "top1": "imagenet_top1",
    "top5": "imagenet_top5",
    "imagenet_a_top1": "imagenet_a_top1",
    "imagenet_v2_top1": "v2_mf_top1",
    "imagenet_real_top1": "real_top1",
    "imagenet_r_top1": "imagenet_r_top1",
    "imagenet_sketch_top1": "sketch_top1",
}
"""Our name of a column -> timm's."""


class Published(NamedTuple):
    """One quoted figure.

    Attributes:
        value: as printed, in percent (`params_m` in millions).
        verified: seen at a public source.
        doubtful: known to be uncertain even as a quotation.
        source: where it comes from.
    """

    value: float
    verified: bool
    doubtful: bool
    source: str


class Reference(NamedTuple):
    """AlexNet's top-1 errors, fractions: by severity for each corruption (for the extra ones their mean), and clean."""

    errors: dict[str, tuple[float, ...]]
    clean: float


@cache
def rows(name: str) -> tuple[dict[str, str], ...]:
    """The rows of `<name>.csv` as they are."""
    text = files(__name__).joinpath(f"{name}.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def is_verified(row: dict[str, str], column: str) -> bool:
    """Whether this figure of a row was seen at a public source: listed by name, or the row as a whole where none is."""
    listed = row.get("verified_fields")
    if listed is None:
        return row["verified"] == "yes"
    if listed == "all accuracies":
        return column not in ("params_m", "flops_g")
    return listed in ("all", "all figures") or column in listed.split(";")


def published(model: str, column: str, *, transform: str = "paper", side: int | None = None) -> Published | None:
    """The figure that a measured one may be held against, if there is one.

    Args:
        model: our name, or timm's with its tag.
        column: a column of `table3_robustness.csv`, or `imagenet_r_top1`, `imagenet_sketch_top1`.
        transform: `paper` for the paper's tables, `model` for timm's results, measured with the model's own transform.
        side: input size in pixels; None is the size the model was published at.
    """
    specs = [MODELS[model]] if model in MODELS else [s for n in MODELS if (s := MODELS[n]).timm_name == model]
    if transform == "model":
        return _of_timm(specs[0].timm_name if specs else model, column, side)
    if not specs or side not in (None, 224):
        return None
    spec = specs[0]
    for table in _PAPER:
        for row in rows(table):
            named = row["model"] == spec.title or row.get("crosscheck_model") == spec.timm_name
            if named and row.get(column) and (table, row["model"]) not in _OTHER_WEIGHTS:
                doubtful = column in row.get("low_confidence_fields", "").split(";")
                return Published(float(row[column]), is_verified(row, column), doubtful, row["source"])
    return None


def _of_timm(timm_name: str, column: str, side: int | None) -> Published | None:
    """Timm lists some weights at several sizes; 224 is the size of those whose size is not said."""
    found = {int(r["img_size"]): r for r in rows("timm_published") if r["model"] == timm_name}
    row = found.get(side or (224 if 224 in found else min(found, default=0)))
    value = row and row.get(_TIMM_COLUMNS.get(column, ""))
    return Published(float(value), is_verified(row, column), False, row["source"]) if row and value else None


@cache
def alexnet() -> Reference:
    """The reference of mCE on ImageNet-C."""
    errors, clean = {}, 0.0
    for row in rows("alexnet_errors"):
        severities = [float(row[f"sev{s}"]) for s in range(1, 6) if row[f"sev{s}"]]
        errors[row["corruption"]] = tuple(severities) or (float(row["mean_error"]),)
    clean = errors.pop("clean")[0]
    return Reference(errors, clean)


def corruptions() -> tuple[str, ...]:
    """The fifteen corruptions of mCE, in the order of the literature."""
    return tuple(row["corruption"] for row in rows("alexnet_errors") if row["in_mce"] == "yes")
