"""Tables of the paper that would need training: as published, and saying so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gfnet_bench.published import rows
from gfnet_bench.reports.base import REPORTS, Report
from gfnet_bench.reports.drawing.beside import FROM_MEMORY, MARKS, entries, quoted
from gfnet_bench.reports.drawing.tables import Column, Table
from gfnet_bench.reports.reading.selection import Selection

_COSTS = {
    "params_m": ("params", 1e6, quoted("params", "Params", "M", scale=1e-6)),
    "flops_g": ("macs", 1e9, quoted("macs", "GMACs", scale=1e-9)),
}
"""Column of the published table -> its name here, the size of its unit in ours, and how people read it."""

_SETS = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "flowers102": "Flowers-102",
    "cars196": "Cars-196",
}


def _accuracy(key: str, title: str) -> tuple[str, float, Column]:
    return f"{key}_percent", 1.0, quoted(f"{key}_percent", title, "%", digits=1)


_ABLATION = {**_COSTS, "top1": _accuracy("top1", "ImageNet top-1")}
_TRANSFER = {**_COSTS, **{name: _accuracy(f"{name}_top1", title) for name, title in _SETS.items()}}
_ONLY = "Published only: these networks would have to be trained, which nothing here does."


@REPORTS.register("ablation")
def ablation(selection: Selection) -> Report:
    """The paper's ablation of token mixers, as published."""
    return _quoted("table_ablation", "ablation", "Ablation of the token mixer (published only)", _ABLATION)


@REPORTS.register("transfer")
def transfer(selection: Selection) -> Report:
    """The paper's transfer learning, as published."""
    return _quoted("table_transfer", "transfer", "Transfer learning (published only)", _TRANSFER)


def _quoted(file: str, name: str, title: str, figures: Mapping[str, tuple[str, float, Column]]) -> Report:
    names = {"model": "Model", "token_mixer": "Token mixer"}
    names = {key: head for key, head in names.items() if key in rows(file)[0]}
    lines: list[dict[str, Any]] = []
    for row in rows(file):
        line = {key: row[key] for key in names}
        for column, (key, scale, _) in figures.items():
            line |= entries(row, column, key, scale)
        lines.append(line)
    columns = [*(Column(key, head) for key, head in names.items()), *(column for _, _, column in figures.values())]
    return Report([Table(name, title, columns, lines, [_ONLY, f"{FROM_MEMORY}: {MARKS[FROM_MEMORY]}."])])
