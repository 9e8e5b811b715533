"""Tables of the paper that would need training: as published, and saying so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gfnet_bench.published import is_verified, rows
from gfnet_bench.records import Record, Store
from gfnet_bench.reports.base import REPORTS, Report
from gfnet_bench.reports.outcomes import MARKS
from gfnet_bench.reports.tables import Column, Table

_ABLATION = {
    "model": "Model",
    "token_mixer": "Token mixer",
    "params_m": "Params (M)",
    "flops_g": "GMACs",
    "top1": "ImageNet top-1 (%)",
}
_TRANSFER = {
    "model": "Model",
    "params_m": "Params (M)",
    "flops_g": "GMACs",
    "cifar10": "CIFAR-10 (%)",
    "cifar100": "CIFAR-100 (%)",
    "flowers102": "Flowers-102 (%)",
    "cars196": "Cars-196 (%)",
}
_ONLY = "Published only: these networks would have to be trained, which nothing here does."


@REPORTS.register("ablation")
def ablation(
    records: Store | Iterable[Record] = (),
    *,
    store: Store | None = None,
    suite: str | None = None,
    models: Sequence[str] | None = None,
) -> Report:
    """The paper's ablation of token mixers, as published."""
    return _quoted("table_ablation", "ablation", "Ablation of the token mixer (published only)", _ABLATION)


@REPORTS.register("transfer")
def transfer(
    records: Store | Iterable[Record] = (),
    *,
    store: Store | None = None,
    suite: str | None = None,
    models: Sequence[str] | None = None,
) -> Report:
    """The paper's transfer learning, as published."""
    return _quoted("table_transfer", "transfer", "Transfer learning (published only)", _TRANSFER)


def _quoted(file: str, name: str, title: str, headings: dict[str, str]) -> Report:
    lines = [_row(row, headings) for row in rows(file)]
    text = ("model", "token_mixer")
    columns = [Column(key, head, align="left" if key in text else "right") for key, head in headings.items()]
    return Report([Table(name, title, columns, lines, [_ONLY, f"†: {MARKS['†']}."])])


def _row(published: dict[str, str], headings: dict[str, str]) -> dict[str, Any]:
    def text(key: str) -> str | None:
        value = published[key]
        named = key in ("model", "token_mixer")
        return None if not value else value if named or is_verified(published, key) else f"{value}†"

    return {key: text(key) for key in headings}
