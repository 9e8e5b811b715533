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
from functools import partial
from typing import Any

from gfnet_bench.errors import UsageError
from gfnet_bench.reports.drawing import emphasis
from gfnet_bench.reports.drawing.latex import tex
from gfnet_bench.terminal import BOLD, FILE, UNDERLINED, Screen, styled

Row = Mapping[str, Any]

RECORDS = "_records"
"""An entry of a row that no column shows: key of a column -> identities (`Cell.sha256`) of the records its number
comes from. The HTML page links the number to them."""


_STYLES = ("", BOLD, UNDERLINED)
_ARROWS = {"": "", "higher": " ↑", "lower": " ↓"}

GAP = "-"
"""What people see where there is nothing; CSV has an empty field there, JSON null."""

NOT_APPLICABLE = "n/a"
"""What people see where there can be nothing; a note says why."""


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
        better: `higher` or `lower` where one side of the column is the good one; an arrow after the heading says so,
            and the best entry stands out.
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
    better: str = ""

    @property
    def heading(self) -> str:
        """Title, unit and direction, for people."""
        arrow = _ARROWS[self.better]
        return printable(f"{self.title} ({self.unit}){arrow}" if self.unit else f"{self.title}{arrow}")

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

    def rounded(self, row: Row) -> float | None:
        """The number of a row as far as people read it; None where there is none."""
        value = row.get(self.key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return None
        return float(f"{value:.6g}") if self.digits is None else round(value * self.scale, self.digits)


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
        ranked: the key of the column whose best is first, for those who sort by another and come back; empty if none.
    """

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    ranked: str = ""

    def __repr__(self) -> str:
        return f"Table {self.name}: {len(self.rows)} rows, {len(self.columns)} columns"

    def _repr_html_(self) -> str:
        return self.render("html")

    def render(self, format: str, screen: Screen = FILE) -> str:
        """The whole table in one of `FORMATS`, ending in a newline; CSV has no place for title and notes.

        Args:
            format: one of `FORMATS`.
            screen: what `text` is laid out for.
        """
        body = render(self.rows, self.columns, format, screen)
        if format == "text":
            return _framed_text(self, body, screen)
        return FORMATS[format].frame(self, body)

    @property
    def remarks(self) -> list[str]:
        """The notes, and what the marks of emphasis mean where there are any."""
        stands_out = emphasis.places(self.rows, shown(self.rows, self.columns))
        return [*self.notes, *([emphasis.NOTE] if stands_out else [])]


@dataclass(frozen=True)
class Format:
    """One output format: the ending of its files, rows to text, and what goes around that."""

    ending: str
    body: Callable[[Sequence[Row], Sequence[Column]], str]
    frame: Callable[[Table, str], str]


def render(rows: Sequence[Row], columns: Sequence[Column], format: str, screen: Screen = FILE) -> str:
    """Rows without title and notes; `text` is laid out for a screen.

    Raises:
        UsageError: if there is no such format.
    """
    if format not in FORMATS:
        raise UsageError(f"unknown format {format!r}; expected one of {', '.join(FORMATS)}.")
    if format == "text":
        return _text(rows, shown(rows, columns), screen)
    return FORMATS[format].body(rows, columns)


def shown(rows: Sequence[Row], columns: Sequence[Column]) -> list[Column]:
    """The columns that people are shown: those that say anything, if only of one row."""
    said = [any(c.text(row) not in (GAP, NOT_APPLICABLE) for row in rows) for c in columns]
    return [c for i, c in enumerate(columns) if i == 0 or said[i] or not rows]


def _plain(rows: Sequence[Row], columns: Sequence[Column]) -> tuple[list[str], list[list[Any]]]:
    """Headings and values for programs; what is missing is None, whatever a row calls it."""
    names = list(dict.fromkeys(name for c in columns for name in ((c.key,) if c.fields is None else c.fields)))
    return names, [[_machine(row.get(name)) for name in names] for row in rows]


def _machine(value: Any) -> Any:
    """Six digits are more than any measurement here has, and hide the last bits in which machines differ."""
    if isinstance(value, float):
        return float(f"{value:.6g}") + 0.0 if math.isfinite(value) else None
    return None if value == "" else value


def _blocks(columns: Sequence[Column], widths: Mapping[str, int], width: int) -> list[list[Column]]:
    """Columns that stand side by side in a line; those that do not fit start again, after the first column."""
    blocks: list[list[Column]] = [[columns[0]]]
    for column in columns[1:]:
        if sum(widths[c.key] + 2 for c in blocks[-1]) + widths[column.key] > width and len(blocks[-1]) > 1:
            blocks.append([columns[0]])
        blocks[-1].append(column)
    return blocks


def _text(rows: Sequence[Row], columns: Sequence[Column], screen: Screen) -> str:
    """Aligned columns, in blocks that fit the screen."""
    places = emphasis.places(rows, columns) if screen.styled else {}
    cells = {c.key: [c.heading, *(c.text(row) for row in rows)] for c in columns}
    widths = {key: max(map(len, texts)) for key, texts in cells.items()}

    def cell(c: Column, i: int) -> str:
        text = cells[c.key][i]
        space = " " * (widths[c.key] - len(text))
        text = styled(text, _STYLES[places.get((i - 1, c.key), 0)])
        return text + space if c.align == "left" else space + text

    def line(block: list[Column], i: int) -> str:
        return "  ".join(cell(c, i) for c in block).rstrip()

    printed = []
    for block in _blocks(columns, widths, screen.width):
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

    columns = shown(rows, columns)
    body = _marked(rows, columns, _md, ("{}", "**{}**", "<u>{}</u>"))
    rule = [":---" if c.align == "left" else "---:" for c in columns]
    return "".join([line(_md(c.heading) for c in columns), line(rule), *map(line, body)])


def _marked(
    rows: Sequence[Row], columns: Sequence[Column], escape: Callable[[str], str], marks: tuple[str, str, str]
) -> list[list[str]]:
    """The cells of every row as text of a language, the best and the second of a column in its marks."""
    places = emphasis.places(rows, columns)
    return [
        [marks[places.get((i, c.key), 0)].format(escape(c.text(row))) for c in columns] for i, row in enumerate(rows)
    ]


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
    columns = shown(rows, columns)
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
    columns = shown(rows, columns)
    blocks = _blocks(columns, _latex_widths(rows, columns), FILE.width)
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
    def escape(text: str) -> str:
        return "--" if text == GAP else tex(text)

    body = _marked(rows, columns, escape, ("{}", r"\textbf{{{}}}", r"\underline{{{}}}"))
    return [" & ".join(line) + r" \\" for line in ([tex(c.heading) for c in columns], *body)]


def _html(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    def line(tag: str, texts: Sequence[str]) -> str:
        cells = (f'<{tag} style="text-align:{c.align}">{t}</{tag}>' for c, t in zip(columns, texts, strict=True))
        return f"<tr>{''.join(cells)}</tr>\n"

    columns = shown(rows, columns)
    head = line("th", [html.escape(c.heading) for c in columns])
    body = "".join(line("td", texts) for texts in _marked(rows, columns, html.escape, ("{}", "<b>{}</b>", "<u>{}</u>")))
    return f"<table>\n<thead>\n{head}</thead>\n<tbody>\n{body}</tbody>\n</table>\n"


def _framed_text(table: Table, body: str, screen: Screen) -> str:
    remarks = table.remarks if screen.styled else table.notes
    wrapped = (textwrap.wrap(printable(note), screen.width, subsequent_indent="  ") for note in remarks)
    lines = (line for lines in wrapped for line in lines)
    notes = "".join(f"{line}\n" for line in lines)
    title = printable(table.title) if screen is FILE else textwrap.fill(printable(table.title), screen.width)
    return f"{title}\n\n{body}" + (f"\n{notes}" if notes else "")


def _framed_markdown(table: Table, body: str) -> str:
    lines = (
        re.sub(r"^(\d*)([#>+.)-])(?=\s|$)", r"\1\\\2", _md(note)) for note in table.remarks
    )  # no list within the list
    notes = "".join(f"- {line}\n" for line in lines)
    return f"### {_md(table.title)}\n\n{body}" + (f"\n{notes}" if notes else "")


def _framed_json(table: Table, body: str) -> str:
    content = {"name": table.name, "title": table.title, "notes": list(table.notes), "rows": json.loads(body)}
    return _json_text(content)


def _framed_latex(table: Table, body: str) -> str:
    """A float, or tables that break; the notes below, since a caption is no place for twenty of them."""
    notes = "".join(f"{tex(note)}\\par\n" for note in table.remarks)
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
    notes = "".join(f"<li>{html.escape(printable(note))}</li>\n" for note in table.remarks)
    content = f"<h2>{html.escape(printable(table.title))}</h2>\n{body}" + (f"<ul>\n{notes}</ul>\n" if notes else "")
    return content.encode("ascii", "xmlcharrefreplace").decode()


FORMATS: dict[str, Format] = {
    "text": Format("txt", partial(_text, screen=FILE), partial(_framed_text, screen=FILE)),
    "md": Format("md", _markdown, _framed_markdown),
    "csv": Format("csv", _csv, lambda table, body: body),
    "latex": Format("tex", _latex, _framed_latex),
    "json": Format("json", _json, _framed_json),
    "html": Format("html", _html, _framed_html),
}
