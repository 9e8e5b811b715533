"""The top of the page: the result, the plot that shows it, how it stands to what was published, what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gfnet_bench.records import Record
from gfnet_bench.reports.base import Report
from gfnet_bench.reports.drawing.plots import Plot
from gfnet_bench.reports.page import sections
from gfnet_bench.reports.page.facts import facts
from gfnet_bench.reports.page.html import definitions, esc, tag
from gfnet_bench.reports.page.provenance import Provenance
from gfnet_bench.reports.reading.against_published import against_published, summary
from gfnet_bench.reports.robustness.key_plot import key_plots
from gfnet_bench.reports.robustness.standing import sentence

ID = "result"


def plots(reports: Mapping[str, Report], records: Sequence[Record]) -> list[Plot]:
    """Accuracy, robustness and cost, where they were measured."""
    return key_plots(reports["robustness"], records) if "robustness" in reports else []


def html(
    reports: Mapping[str, Report], records: Sequence[Record], drawn: Sequence[Plot], provenance: Provenance
) -> str:
    """The section; `drawn` are its `plots`."""
    parts = ["<h2>Result</h2>"]
    parts += [tag("p", esc(text), class_="answer") for text in _sentences(reports)]
    parts += [sections.plot(plot, provenance) for plot in drawn]
    if held := against_published(reports.values()):
        parts += [tag("p", esc(summary(held))), sections.table(held, provenance, folded=True)]
    parts.append(definitions(dict(facts(records))))
    return tag("section", "\n".join(parts), id=ID)


def _sentences(reports: Mapping[str, Report]) -> list[str]:
    report = reports.get("robustness")
    rows = report.data.rows if report and report.data else ()
    suites = dict.fromkeys(row["suite"] for row in rows)
    return [text for suite in suites if report and (text := sentence(report, suite))]
