"""The complexity report: what there is of each setup."""

from __future__ import annotations

from gfnet_bench.records import Record
from gfnet_bench.reports.base import REPORTS, Report
from gfnet_bench.reports.complexity.figures import drawings
from gfnet_bench.reports.complexity.results import of_setup, points
from gfnet_bench.reports.complexity.tables import operators_table, sweep_table, table1
from gfnet_bench.reports.drawing.tables import Table, data_columns
from gfnet_bench.reports.reading.selection import Selection


@REPORTS.register("complexity")
def complexity(
    selection: Selection,
    *,
    published: bool = True,
) -> Report:
    """Multiply-adds, latency and memory against the number of tokens: the paper's Table 1 and Figure 2.

    Args:
        selection: what to show, models and mixers; a cost belongs to no suite.
        published: the paper's curves in the figure, thin and grey.

    Raises:
        MissingError: if nothing of the kind is measured.
    """
    chosen = selection.of("complexity", is_meant=_is_of_subject, any_suite=True)
    if not chosen.shown:
        raise chosen.absent("complexity", "gfnet-bench complexity --tokens 196..4096")
    found = points(chosen.shown)
    setups = of_setup(found)
    tables = [sweep_table(setup, of, chosen.problems) for setup, of in setups.items()]
    rows = [point.row() for point in found]
    data = Table("complexity_long", "All of it", data_columns(rows[0]), rows) if rows else None
    operators = operators_table(found)
    return Report(
        [*tables, *table1(chosen.shown)],
        data,
        [drawing for of in setups.values() for drawing in drawings(of, published)],
        [operators] if operators.rows else [],
    )


def _is_of_subject(record: Record) -> bool:
    return record.cell.settings["subject"] != "semantic_fpn"  # Table 2 has a report of its own
