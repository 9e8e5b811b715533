"""Rows to text: one table, six formats. Rounding, units and escaping live here and nowhere else."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gfnet_bench.errors import UsageError
from gfnet_bench.reports.latex import tex

WIDTH = 120
"""Characters of a terminal line; a wider table is printed in several blocks."""

Row = Mapping[str, Any]

RECORDS = "_records"
"""An entry of a row that no column shows: key of a column -> identities (`Cell.sha256`) of the records its number
comes from. The HTML page links the number to them."""


@dataclass(frozen=True)
class Column:
    """How one entry of the rows is shown.

    Attributes:
        key: the entry.
        title: the heading.
        unit: printed after the heading.
        digits: decimals of a float where people read it; CSV and JSON keep six significant digits.
        align: `left` or `right`.
    """

    key: str
    title: str
    unit: str = ""
    digits: int = 1
    align: str = "left"

    @property
    def heading(self) -> str:
        """Title and unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def text(self, row: Row) -> str:
        """The entry of a row for people; a gap is a dash."""
        value = row.get(self.key)
        if value is None:
            return "-"
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, float):
            return f"{round(value, self.digits) + 0.0:.{self.digits}f}"  # + 0.0 turns -0.0 into 0.0
        return str(value)


@dataclass(frozen=True)
class Table:
    """Named rows with a heading and notes.

    Attributes:
        name: file name without its ending.
        title: one line.
        columns: what is shown, in this order.
        rows: one mapping each.
        notes: what a reader must know: marks, gaps and their reasons.
    """

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    def render(self, format: str) -> str:
        """The whole table in one of `FORMATS`, ending in a newline; CSV has no place for title and notes."""
        body = render(self.rows, self.columns, format)
        return FORMATS[format].frame(self, body)


@dataclass(frozen=True)
class Format:
    """One output format: the ending of its files, rows to text, and what goes around that."""

    ending: str
    body: Callable[[Sequence[Row], Sequence[Column]], str]
    frame: Callable[[Table, str], str]


def render(rows: Sequence[Row], columns: Sequence[Column], format: str) -> str:
    """Rows without title and notes.

    Raises:
        UsageError: if there is no such format.
    """
    if format not in FORMATS:
        raise UsageError(f"unknown format {format!r}; expected one of {', '.join(FORMATS)}.")
    return FORMATS[format].body(rows, columns)


def _machine(value: Any) -> Any:
    """Six digits are more than any measurement here has, and hide the last bits in which machines differ."""
    return float(f"{value:.6g}") + 0.0 if isinstance(value, float) else value


def _text(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """Aligned columns; those that do not fit start a further block, headed by the first column again."""
    cells = {c.key: [c.heading, *(c.text(row) for row in rows)] for c in columns}
    widths = {key: max(map(len, texts)) for key, texts in cells.items()}
    blocks: list[list[Column]] = [[columns[0]]]
    for column in columns[1:]:
        if sum(widths[c.key] + 2 for c in blocks[-1]) + widths[column.key] > WIDTH and len(blocks[-1]) > 1:
            blocks.append([columns[0]])
        blocks[-1].append(column)

    def line(block: list[Column], i: int) -> str:
        shown = (
            cells[c.key][i].ljust(widths[c.key]) if c.align == "left" else cells[c.key][i].rjust(widths[c.key])
            for c in block
        )
        return "  ".join(shown).rstrip()

    printed = []
    for block in blocks:
        rule = "-" * (sum(widths[c.key] + 2 for c in block) - 2)
        printed.append("\n".join([line(block, 0), rule, *(line(block, i + 1) for i in range(len(rows)))]) + "\n")
    return "\n".join(printed)


def _md(text: str) -> str:
    return re.sub(r"([\\|`\[])", r"\\\1", " ".join(text.split())).replace("<", "&lt;")


def _markdown(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    def line(texts: Sequence[str]) -> str:
        return "| " + " | ".join(map(_md, texts)) + " |\n"

    marks = [":---" if c.align == "left" else "---:" for c in columns]
    return "".join(
        [line([c.heading for c in columns]), line(marks), *(line([c.text(row) for c in columns]) for row in rows)]
    )


def _csv(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([c.key for c in columns])
    writer.writerows([_machine(row.get(c.key)) for c in columns] for row in rows)
    return out.getvalue()


def _json(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    plain = [{c.key: _machine(row.get(c.key)) for c in columns} for row in rows]
    return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


_LATEX_WIDTH = 95
"""Characters of a row from which on a table is shrunk to the width of the text."""


def _latex(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    def line(texts: Sequence[str]) -> str:
        return " & ".join("--" if t == "-" else tex(t) for t in texts) + r" \\"

    texts = [[c.heading for c in columns], *([c.text(row) for c in columns] for row in rows)]
    is_wide = sum(max(map(len, column)) + 2 for column in zip(*texts, strict=True)) > _LATEX_WIDTH
    return "\n".join(
        [
            *([r"\resizebox{\linewidth}{!}{%"] if is_wide else []),
            rf"\begin{{tabular}}{{{''.join(c.align[0] for c in columns)}}}",
            r"\toprule",
            line(texts[0]),
            r"\midrule",
            *map(line, texts[1:]),
            r"\bottomrule",
            rf"\end{{tabular}}{'}' * is_wide}",
            "",
        ]
    )


def _html(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    def line(tag: str, texts: Sequence[str]) -> str:
        cells = (
            f'<{tag} style="text-align:{c.align}">{html.escape(t)}</{tag}>' for c, t in zip(columns, texts, strict=True)
        )
        return f"<tr>{''.join(cells)}</tr>\n"

    body = "".join(line("td", [c.text(row) for c in columns]) for row in rows)
    return f"<table>\n<thead>\n{line('th', [c.heading for c in columns])}</thead>\n<tbody>\n{body}</tbody>\n</table>\n"


def _framed_text(table: Table, body: str) -> str:
    notes = "".join(f"{line}\n" for note in table.notes for line in textwrap.wrap(note, WIDTH, subsequent_indent="  "))
    return f"{table.title}\n\n{body}" + (f"\n{notes}" if notes else "")


def _framed_markdown(table: Table, body: str) -> str:
    notes = "".join(f"- {_md(note)}\n" for note in table.notes)
    return f"### {_md(table.title)}\n\n{body}" + (f"\n{notes}" if notes else "")


def _framed_json(table: Table, body: str) -> str:
    content = {"name": table.name, "title": table.title, "notes": list(table.notes), "rows": json.loads(body)}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _framed_latex(table: Table, body: str) -> str:
    """A float; the notes in a box of their own, since a caption is no place for twenty of them."""
    notes = "".join(f"{tex(note)}\\par\n" for note in table.notes)
    if notes:
        notes = f"\\par\\medskip\n\\begin{{minipage}}{{\\linewidth}}\\footnotesize\n{notes}\\end{{minipage}}\n"
    label = re.sub(r"[^A-Za-z0-9]+", "-", table.name)
    head = "% needs \\usepackage{booktabs,graphicx}\n\\begin{table}\n\\centering\n"
    return f"{head}\\caption{{{tex(table.title)}}}\n\\label{{tab:{label}}}\n{body}{notes}\\end{{table}}\n"


def _framed_html(table: Table, body: str) -> str:
    """A fragment in plain ASCII: it reads the same in a page of any encoding."""
    notes = "".join(f"<li>{html.escape(note)}</li>\n" for note in table.notes)
    content = f"<h2>{html.escape(table.title)}</h2>\n{body}" + (f"<ul>\n{notes}</ul>\n" if notes else "")
    return content.encode("ascii", "xmlcharrefreplace").decode()


FORMATS: dict[str, Format] = {
    "text": Format("txt", _text, _framed_text),
    "md": Format("md", _markdown, _framed_markdown),
    "csv": Format("csv", _csv, lambda table, body: body),
    "latex": Format("tex", _latex, _framed_latex),
    "json": Format("json", _json, _framed_json),
    "html": Format("html", _html, _framed_html),
}
