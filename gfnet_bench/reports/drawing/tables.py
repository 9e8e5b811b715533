"""Rows to text: one table, six formats. Rounding, units and escaping live here and nowhere else."""

from __future__ import annotations

import csv
import html
import io
import json
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gfnet_bench.errors import UsageError
from gfnet_bench.reports.drawing.latex import tex

WIDTH = 120
"""Characters of a terminal line; a wider table is printed in several blocks."""

Row = Mapping[str, Any]

RECORDS = "_records"
"""An entry of a row that no column shows: key of a column -> identities (`Cell.sha256`) of the records its number
comes from. The HTML page links the number to them."""


GAP = "-"
"""What people see where there is nothing; CSV has an empty field there, JSON null."""


@dataclass(frozen=True)
class Column:
    """One quantity: what people read, and what programs get.

    A row holds plain numbers under names that say their unit: `top1_percent`, `difference_points`, `latency_s`,
    `peak_memory_bytes`, `macs`. CSV and JSON hold just these. Whatever is added for people is added here: rounding,
    larger units, intervals, marks.

        Column("latency_s", "Latency", "ms", scale=1e3, digits=2, align="right")

        def shown(row):  # 88.2 ±2.0 (87.9†)
            ...
        fields = ("top1_percent", "top1_percent_low", "top1_percent_high", "top1_percent_mark")
        Column("top1_percent", "Top-1", "%", show=shown, fields=fields, align="right")

    Attributes:
        key: the entry that is shown, `<quantity>_<unit>`; its heading in CSV, its key in JSON.
        title: the heading for people.
        unit: printed after the heading.
        digits: decimals of a float where people read it; None for six significant digits, as CSV and JSON have.
        align: `left` or `right`.
        scale: what the entry is multiplied by for people, 1e3 for seconds in a column of ms.
        show: makes the text for people from the row, where it is more than this number; None is a gap.
        fields: the entries of the row that CSV and JSON hold in this place, for `key` alone: a mark or a note is one of
            them, never part of a number. Empty where people alone need the column.
    """

    key: str
    title: str
    unit: str = ""
    digits: int | None = 1
    align: str = "left"
    scale: float = 1.0
    show: Callable[[Row], str | None] | None = None
    fields: Sequence[str] | None = None

    @property
    def heading(self) -> str:
        """Title and unit, for people."""
        return printable(f"{self.title} ({self.unit})" if self.unit else self.title)

    def text(self, row: Row) -> str:
        """The entry of a row for people."""
        if self.show is not None:
            text = self.show(row)
            return GAP if text is None else printable(text)
        value = row.get(self.key)
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return GAP
        if isinstance(value, bool):
            return "yes" if value else "no"
        if self.scale != 1:
            value = float(value * self.scale)
        if not isinstance(value, float):
            return printable(str(value))
        return str(_machine(value)) if self.digits is None else decimals(value, self.digits)


def data_columns(names: Iterable[str]) -> list[Column]:
    """Columns of a table for programs, as people see it: the same names and digits."""
    return [Column(name, name, digits=None) for name in names]


def filed(name: str) -> str:
    """The name of a table or a figure as that of a file, which has no colon on some systems."""
    return name.replace(":", "_")


def names_of(titles: Iterable[str]) -> dict[str, str]:
    """Title -> a name for programs of lower-case letters, digits and underscores, no two alike: `pgd_4_255_x5`."""
    names: dict[str, str] = {}
    for title in titles:
        name = plain = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_") or "x"
        while name in (taken for other, taken in names.items() if other != title):
            name = f"{plain}_{len(name) - len(plain) + 2}"
        names[title] = name
    return names


def decimals(value: float, digits: int = 1) -> str:
    """A number with so many decimals; what rounds to nought has no sign."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def printable(text: str) -> str:
    r"""Text in one line that does nothing to a terminal: a control character is shown as its code, `\x1b`."""
    line = " ".join(text.split())
    return line if line.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


@dataclass(frozen=True)
class Table:
    """Named rows with a heading and notes.

    Attributes:
        name: file name without its ending.
        title: one line.
        columns: what is shown, in this order.
        rows: one mapping each, of plain values.
        notes: what a reader must know: marks, gaps and their reasons.
    """

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    def __repr__(self) -> str:
        return f"Table {self.name}: {len(self.rows)} rows, {len(self.columns)} columns"

    def _repr_html_(self) -> str:
        return self.render("html")

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


def _plain(rows: Sequence[Row], columns: Sequence[Column]) -> tuple[list[str], list[list[Any]]]:
    """Headings and values for programs; what is missing is None, whatever a row calls it."""
    names = list(dict.fromkeys(name for c in columns for name in ((c.key,) if c.fields is None else c.fields)))
    return names, [[_machine(row.get(name)) for name in names] for row in rows]


def _machine(value: Any) -> Any:
    """Six digits are more than any measurement here has, and hide the last bits in which machines differ."""
    if isinstance(value, float):
        return float(f"{value:.6g}") + 0.0 if math.isfinite(value) else None
    return None if value == "" else value


def _blocks(columns: Sequence[Column], widths: Mapping[str, int]) -> list[list[Column]]:
    """Columns that stand side by side in a line; those that do not fit start again, after the first column."""
    blocks: list[list[Column]] = [[columns[0]]]
    for column in columns[1:]:
        if sum(widths[c.key] + 2 for c in blocks[-1]) + widths[column.key] > WIDTH and len(blocks[-1]) > 1:
            blocks.append([columns[0]])
        blocks[-1].append(column)
    return blocks


def _text(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """Aligned columns, in blocks that fit a terminal."""
    cells = {c.key: [c.heading, *(c.text(row) for row in rows)] for c in columns}
    widths = {key: max(map(len, texts)) for key, texts in cells.items()}

    def line(block: list[Column], i: int) -> str:
        shown = (
            cells[c.key][i].ljust(widths[c.key]) if c.align == "left" else cells[c.key][i].rjust(widths[c.key])
            for c in block
        )
        return "  ".join(shown).rstrip()

    printed = []
    for block in _blocks(columns, widths):
        rule = "-" * (sum(widths[c.key] + 2 for c in block) - 2)
        printed.append("\n".join([line(block, 0), rule, *(line(block, i + 1) for i in range(len(rows)))]) + "\n")
    return "\n".join(printed)


_MARKS = re.compile(r"[\\|`*~$\[]|(?<![^\W_])_|_(?![^\W_])")
"""What would be a mark of Markdown, tables and mathematics included; an underscore within a word is none."""


def _md(text: str) -> str:
    escaped = _MARKS.sub(r"\\\g<0>", printable(text))
    return re.sub(r"&(?=#?\w+;)", "&amp;", escaped).replace("<", "&lt;")


def _markdown(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    def line(texts: Iterable[str]) -> str:
        return "| " + " | ".join(texts) + " |\n"

    head, *body = ([c.heading for c in columns], *([c.text(row) for c in columns] for row in rows))
    rule = [":---" if c.align == "left" else "---:" for c in columns]
    return "".join([line(map(_md, head)), line(rule), *(line(map(_md, texts)) for texts in body)])


def _csv(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    names, lines = _plain(rows, columns)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([map(_field, line) for line in (names, *lines)])
    return out.getvalue()


def _field(value: Any) -> Any:
    """A text in one line; one that a spreadsheet would run begins with an apostrophe, as people type such a text."""
    if not isinstance(value, str):
        return value
    text = value if value.isprintable() else printable(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _json(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    names, lines = _plain(rows, columns)
    plain = [dict(zip(names, line, strict=True)) for line in lines]
    return _json_text(plain)


def _json_text(content: Any) -> str:
    """JSON as it is read best: characters as they are, but for those that a terminal would obey."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text) + "\n"


_LATEX_WIDTH = 95
"""Characters of a row from which on a table is shrunk to the width of the text."""

_LATEX_TEXT = 45
"""Characters from which on the texts of a column are set as paragraphs."""

_LATEX_ROWS = 40
"""About a page; a longer table has to break."""


def _latex(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    if len(rows) > _LATEX_ROWS:
        return _longtables(rows, columns)
    shrink = sum(width + 2 for width in _latex_widths(rows, columns).values()) > _LATEX_WIDTH
    head, *body = _latex_lines(rows, columns)
    return "\n".join(
        [
            *([r"\resizebox{\linewidth}{!}{%"] if shrink else []),
            rf"\begin{{tabular}}{{{_latex_columns(rows, columns)}}}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            rf"\end{{tabular}}{'}' * shrink}",
            "",
        ]
    )


def _longtables(rows: Sequence[Row], columns: Sequence[Column], title: str = "", label: str = "") -> str:
    """Tables that break between pages, one for each block of columns; a wide one reaches into the margins."""
    blocks = _blocks(columns, _latex_widths(rows, columns))
    parts = []
    for i, block in enumerate(blocks):
        head, *body = _latex_lines(rows, block)
        part = f", part {i + 1} of {len(blocks)}" if len(blocks) > 1 else ""
        named = rf"\label{{{label}}}" if label and i == 0 else ""
        parts += [
            rf"\begin{{longtable}}{{{_latex_columns(rows, block)}}}",
            *([rf"\caption{{{tex(title + part)}}}{named}\\"] if title else []),
            *(r"\toprule", head, r"\midrule", r"\endfirsthead"),
            *(r"\toprule", head, r"\midrule", r"\endhead"),
            *(r"\midrule", rf"\multicolumn{{{len(block)}}}{{r}}{{continued on the next page}} \\", r"\endfoot"),
            *(r"\bottomrule", r"\endlastfoot"),
            *body,
            r"\end{longtable}",
        ]
    margins = r"\LTleft=0pt plus 1fill minus 1fill \LTright=\LTleft"
    return "\n".join([rf"{{\scriptsize\setlength{{\tabcolsep}}{{3pt}}{margins}", *parts, "}", ""])


def _latex_widths(rows: Sequence[Row], columns: Sequence[Column]) -> dict[str, int]:
    """Characters of each column; of paragraphs those of a line."""
    return {c.key: min(_LATEX_TEXT, max(len(t) for t in (c.heading, *(c.text(row) for row in rows)))) for c in columns}


def _latex_columns(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    wide = {c.key for c in columns if any(len(c.text(row)) > _LATEX_TEXT for row in rows)}
    return "".join(rf"p{{{_LATEX_TEXT / 2}em}}" if c.key in wide else c.align[0] for c in columns)


def _latex_lines(rows: Sequence[Row], columns: Sequence[Column]) -> list[str]:
    texts = [[c.heading for c in columns], *([c.text(row) for c in columns] for row in rows)]
    return [" & ".join("--" if t == GAP else tex(t) for t in line) + r" \\" for line in texts]


def _html(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    def line(tag: str, texts: Sequence[str]) -> str:
        cells = (
            f'<{tag} style="text-align:{c.align}">{html.escape(t)}</{tag}>' for c, t in zip(columns, texts, strict=True)
        )
        return f"<tr>{''.join(cells)}</tr>\n"

    body = "".join(line("td", [c.text(row) for c in columns]) for row in rows)
    return f"<table>\n<thead>\n{line('th', [c.heading for c in columns])}</thead>\n<tbody>\n{body}</tbody>\n</table>\n"


def _framed_text(table: Table, body: str) -> str:
    lines = (line for note in table.notes for line in textwrap.wrap(printable(note), WIDTH, subsequent_indent="  "))
    notes = "".join(f"{line}\n" for line in lines)
    return f"{printable(table.title)}\n\n{body}" + (f"\n{notes}" if notes else "")


def _framed_markdown(table: Table, body: str) -> str:
    lines = (
        re.sub(r"^(\d*)([#>+.)-])(?=\s|$)", r"\1\\\2", _md(note)) for note in table.notes
    )  # no list within the list
    notes = "".join(f"- {line}\n" for line in lines)
    return f"### {_md(table.title)}\n\n{body}" + (f"\n{notes}" if notes else "")


def _framed_json(table: Table, body: str) -> str:
    content = {"name": table.name, "title": table.title, "notes": list(table.notes), "rows": json.loads(body)}
    return _json_text(content)


def _framed_latex(table: Table, body: str) -> str:
    """A float, or tables that break; the notes below, since a caption is no place for twenty of them."""
    notes = "".join(f"{tex(note)}\\par\n" for note in table.notes)
    label = f"tab:{re.sub(r'[^A-Za-z0-9]+', '-', table.name)}"
    if len(table.rows) > _LATEX_ROWS:
        head = "% needs \\usepackage{booktabs,longtable} and one column of text\n"
        notes = f"{{\\footnotesize\n{notes}}}\n" if notes else ""
        return head + _longtables(table.rows, table.columns, table.title, label) + notes
    if notes:
        notes = f"\\par\\medskip\n\\begin{{minipage}}{{\\linewidth}}\\footnotesize\n{notes}\\end{{minipage}}\n"
    head = "% needs \\usepackage{booktabs,graphicx}\n\\begin{table}\n\\centering\n"
    return f"{head}\\caption{{{tex(table.title)}}}\n\\label{{{label}}}\n{body}{notes}\\end{{table}}\n"


def _framed_html(table: Table, body: str) -> str:
    """A fragment in plain ASCII: it reads the same in a page of any encoding."""
    notes = "".join(f"<li>{html.escape(printable(note))}</li>\n" for note in table.notes)
    content = f"<h2>{html.escape(printable(table.title))}</h2>\n{body}" + (f"<ul>\n{notes}</ul>\n" if notes else "")
    return content.encode("ascii", "xmlcharrefreplace").decode()


FORMATS: dict[str, Format] = {
    "text": Format("txt", _text, _framed_text),
    "md": Format("md", _markdown, _framed_markdown),
    "csv": Format("csv", _csv, lambda table, body: body),
    "latex": Format("tex", _latex, _framed_latex),
    "json": Format("json", _json, _framed_json),
    "html": Format("html", _html, _framed_html),
}
