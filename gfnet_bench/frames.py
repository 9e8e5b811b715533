"""Records as a pandas frame: one row a value, with everything that decided it beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from gfnet_bench.records import Record


def tidy(records: Iterable[Record]) -> pd.DataFrame:
    """One row for each number of each record; of a record without one, which failed, a row without a number.

    Returns:
        The columns `study`, `model`, `name` (what tables call the model), one for each setting of the cells, those
        within another with a dot (`perturbation.epsilon`), then `quantity`, `value` (fractions and SI units), `error`.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    settings: dict[str, None] = {}
    for record in records:
        of_cell = {name: _plain(value) for name, value in _flat(record.cell.settings)}
        settings |= dict.fromkeys(of_cell)
        named = record.provenance.get("label") or record.cell.model
        about = {"study": record.cell.study, "model": record.cell.model, "name": named, **of_cell}
        numbers = [(name, float(value)) for name, value in _flat(record.values) if isinstance(value, (int, float))]
        found = [{"quantity": name, "value": value} for name, value in numbers] or [{"value": math.nan}]
        rows += [{**about, **number, "error": record.error} for number in found]
    return pd.DataFrame(rows, columns=["study", "model", "name", *settings, "quantity", "value", "error"])


def _flat(nested: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in nested.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{within}{key}.")
        else:
            yield f"{within}{key}", value


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list) else value
