"""The comparisons of one table as a family: what their p are worth together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gfnet_bench.metrics import holm
from gfnet_bench.reports.drawing.tables import Column

P = [Column("p", "p", digits=4, align="right"), Column("p_holm", "p (Holm)", digits=4, align="right")]
"""The columns of a table of comparisons."""


def correct(rows: Sequence[dict[str, Any]], where: str = "of this table") -> list[str]:
    """Enter `p_holm` in every row that has a `p`.

    Returns:
        The note that says so; none where nothing is tested.
    """
    tested = [row for row in rows if row.get("p") is not None]
    for row, p in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = p
    number = f"the {len(tested)} comparisons {where}" if len(tested) > 1 else "one comparison"
    return [f"p (Holm): corrected for {number} (Holm 1979); the first p is not."] if tested else []
