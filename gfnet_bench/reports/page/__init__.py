"""One self-contained HTML page from reports: nothing is fetched, so it opens from a file, on any machine, for years."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from gfnet_bench import __version__
from gfnet_bench.files import write_atomic
from gfnet_bench.records import Record
from gfnet_bench.reports.base import Report
from gfnet_bench.reports.bibliography import bibtex
from gfnet_bench.reports.complexity.plots import cost_plots
from gfnet_bench.reports.drawing.plots import Plot
from gfnet_bench.reports.drawing.tables import Table
from gfnet_bench.reports.page import opening, sections, why
from gfnet_bench.reports.page.html import anchor, download, esc, packed_script, tag, words
from gfnet_bench.reports.page.provenance import Provenance
from gfnet_bench.reports.robustness.plots import robustness_plots
from gfnet_bench.store import Store

PLOTS = {"robustness": robustness_plots, "complexity": cost_plots}
"""Name of a report -> its interactive plots, of the report and all records."""

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
"""What the page tells the browser to allow: nothing from elsewhere, whatever a name in it may contain."""


def write_page(
    reports: Mapping[str, Report],
    records: Store | Mapping[str, Record],
    path: Path,
    *,
    title: str = "gfnet-bench report",
) -> Path:
    """Write the page; the same records give the same bytes.

    Args:
        reports: by name, in the order of the page.
        records: what numbers link to; keys are those in `tables.RECORDS` of the rows, in a store the cells' sha256.
        path: the file.
        title: of the page.
    """
    by_key = {r.cell.sha256: r for r in records} if isinstance(records, Store) else dict(records)
    provenance = Provenance(by_key)
    shown = opening.plots(reports, list(by_key.values()))
    parts = [opening.html(reports, list(by_key.values()), shown, provenance)]
    contents = [f"<li><a href=#{opening.ID}>Result</a>"]
    drawn = bool(shown)
    for name, report in reports.items():
        plots = PLOTS[name](report, by_key.values()) if name in PLOTS else []
        drawn = drawn or bool(plots)
        parts.append(_report(name, report, plots, provenance))
        contents.append(_contents(name, report))
    reference = bibtex(by_key.values())
    tail = {
        "why": ("Why is my number different?", why.html()),
        "records": ("Records", tag("p", _RECORDS_HINT) + provenance.html()),
        "cite": ("Cite", _cite(reference)),
    }
    parts += [f"<section id={key}><h2>{esc(head)}</h2>{body}</section>" for key, (head, body) in tail.items()]
    contents += [f"<li><a href=#{key}>{esc(head)}</a>" for key, (head, _) in tail.items()]
    text = _document(title, _subtitle(by_key), "".join(contents), "\n".join(parts), drawn)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text.encode())
    return path


_RECORDS_HINT = (
    "A number in a table is a link to the record it was drawn from, or to the list of them. Everything that decides a "
    "number is among its settings; what does not is its provenance."
)


def _report(name: str, report: Report, plots: list[Plot], provenance: Provenance) -> str:
    parts = [f"<h2>{esc(words(name).capitalize())}</h2>"]
    parts += [sections.table(one, provenance) for one in report.tables[:1]]
    parts += [sections.plot(one, provenance) for one in plots]
    parts += [sections.figure(one) for one in report.figures]
    parts += [sections.table(one, provenance) for one in report.tables[1:]]
    parts += [sections.table(one, provenance, folded=True) for one in report.details]
    if report.data:
        saved = [_save(report.data, "csv", "text/csv"), _save(report.data, "json", "application/json")]
        parts.append(f"<p class=tools>All numbers of this report for programs: {''.join(saved)}</p>")
    return tag("section", "\n".join(parts), id=anchor(name))


def _save(data: Table, format: str, kind: str) -> str:
    return download(format.upper(), f"{data.name}.{format}", data.render(format).encode(), kind, data.title)


def _contents(name: str, report: Report) -> str:
    inner = "".join(
        f'<li><a href="#table-{anchor(one.name)}">{esc(one.title)}</a>' for one in (*report.tables, *report.details)
    )
    return f'<li><a href="#{anchor(name)}">{esc(words(name).capitalize())}</a><ul>{inner}</ul>'


def _cite(reference: str) -> str:
    saved = download("Save references.bib", "references.bib", reference.encode(), "application/x-bibtex")
    copy = "<button type=button class=button data-copies=bibtex>Copy</button><output aria-live=polite></output>"
    hint = "What the numbers of this page rest on, as BibTeX, chosen from the records."
    return f"<p>{hint}</p><p class=tools>{saved}{copy}</p><pre id=bibtex tabindex=0>{esc(reference)}</pre>"


def _subtitle(records: Mapping[str, Record]) -> str:
    return f"{len(records)} record{'s' * (len(records) != 1)}; drawn by gfnet-bench {__version__}"


def _document(title: str, subtitle: str, contents: str, body: str, drawn: bool) -> str:
    style, script = (_beside(name) for name in ("page.css", "page.js"))
    bokeh = packed_script(_bokeh(), id="bokeh") if drawn else ""
    return f"""<!doctype html>
<html lang=en>
<head>
<meta charset=utf-8>
<meta http-equiv=Content-Security-Policy content="{POLICY}">
<meta name=viewport content="width=device-width, initial-scale=1">
<meta name=color-scheme content="light dark">
<link rel=icon href="data:,">
<title>{esc(title)}</title>
<style>{style}</style>
</head>
<body>
<a class=skip href=#main>Skip to the tables</a>
<header>
<div><h1>{esc(title)}</h1><p>{esc(subtitle)}</p></div>
<button type=button id=theme class=button>Dark</button>
</header>
<nav aria-label=Contents><details open><summary>Contents</summary><ul>{contents}</ul></details></nav>
<main id=main tabindex=-1>
{body}
</main>
<dialog id=provenance aria-label="Where this number comes from">
<div class=tools><button type=button class=button id=back hidden>Back</button>
<a class=button id=there href=#records>Show in the list</a>
<button type=button class=button id=close>Close</button></div>
<div id=shown></div>
</dialog>
{bokeh}
<script>{script}</script>
</body>
</html>
"""


def _beside(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def _bokeh() -> str:
    from bokeh.resources import Resources

    return Resources(mode="inline", components=["bokeh"], minified=True).js_raw[0]
