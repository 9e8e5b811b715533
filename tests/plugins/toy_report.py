"""A report: how many records there are of each model."""

from collections import Counter

from gfnet_bench.reports import REPORTS, Column, Report, Table


@REPORTS.register("tally")
def tally(selection):
    """How many records each model has."""
    chosen = selection.of("robustness")
    if not chosen.shown:
        raise chosen.absent("tally", "gfnet-bench robustness")
    counts = Counter(record.cell.model for record in chosen.shown)
    rows = [{"model": model, "records": number} for model, number in sorted(counts.items())]
    return Report([Table("tally", "Records", [Column("model", "Model"), Column("records", "Records")], rows)])
