from __future__ import annotations

import csv
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gfnet_bench.errors import UsageError
from gfnet_bench.reports.base import Report
from gfnet_bench.reports.drawing.emphasis import ASIDE, places
from gfnet_bench.reports.drawing.tables import FORMATS, Column, Table, data_columns, render
from gfnet_bench.terminal import FILE, Screen

GOLDEN = Path(__file__).parent / "golden"

COLUMNS = [
    Column("model", "Model"),
    Column("top1", "Top-1", "%", align="right"),
    Column("p", "p", digits=3, align="right"),
    Column("images", "Images", align="right"),
    Column("note", "Note & more"),
]
ROWS = [
    {"model": "gfnet_s", "top1": 80.04999, "p": 0.0004321987654, "images": 50000, "note": "a|b <c> 5 % †"},
    {"model": "vit", "top1": -0.01, "p": 1.0, "images": None, "note": "plain"},
    {"model": "resnet50", "top1": 7.25, "images": 64, "note": True},
]
TABLE = Table("example", "An example, 100 %", COLUMNS, ROWS, ["† from memory", "x_1 < x_2"])


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_against_its_file(format):
    path = GOLDEN / f"table.{FORMATS[format].ending}"
    assert TABLE.render(format) == path.read_bytes().decode()


def test_csv_and_json_hold_the_same_rows():
    from_json = json.loads(TABLE.render("json"))["rows"]
    from_csv = list(csv.DictReader(TABLE.render("csv").splitlines()))
    assert [{k: "" if v is None else str(v) for k, v in row.items()} for row in from_json] == from_csv
    assert from_json[0]["p"] == 0.000432199
    assert from_json[2]["p"] is None


def accuracy(row):
    return None if row["top1_percent"] is None else f"{row['top1_percent']:.1f} ±2.0{row['top1_percent_mark'] or ''}"


FIELDS = ("top1_percent", "top1_percent_low", "top1_percent_mark")
PLAIN = [
    Column("model", "Model"),
    Column("top1_percent", "Top-1", "%", show=accuracy, fields=FIELDS, align="right"),
    Column("latency_s", "Latency", "ms", scale=1e3, digits=2, align="right"),
    Column("people", "For people", show=lambda row: "seen", fields=()),
]
MEASURED = [
    dict(zip(("model", *FIELDS, "latency_s"), values, strict=True))
    for values in (("a", 88.2345678, 86.1, "†", 0.0123456), ("b", None, None, "", float("nan")))
]


def test_people_read_marks_and_larger_units_and_programs_plain_numbers():
    text = render(MEASURED, PLAIN, "text").splitlines()
    assert text[0].split("  ")[0] == "Model" and "Latency (ms)" in text[0]
    assert text[2].split() == ["a", "88.2", "±2.0†", "12.35", "seen"]
    assert render(MEASURED, PLAIN, "csv").splitlines() == [
        "model,top1_percent,top1_percent_low,top1_percent_mark,latency_s", "a,88.2346,86.1,†,0.0123456", "b,,,,",
    ]  # fmt: skip


def test_people_see_the_digits_of_tables_for_programs():
    rows = [{"latency_s": 0.0279776123, "n": 7, "share_percent": 100.0, "tiny": 3.2e-9, "word": "x"}]
    columns = data_columns(rows[0])
    shown = dict(zip(rows[0], render(rows, columns, "text").splitlines()[2].split(), strict=True))
    assert shown == {"latency_s": "0.0279776", "n": "7", "share_percent": "100.0", "tiny": "3.2e-09", "word": "x"}
    assert list(shown.values()) == render(rows, columns, "csv").splitlines()[1].split(",")


def test_what_is_missing_is_spelt_once():
    assert render(MEASURED, PLAIN, "text").splitlines()[3].split() == ["b", "-", "-", "seen"]
    for row in (json.loads(render(MEASURED, PLAIN, "json"))[1], json.loads(render([{}], PLAIN[:3], "json"))[0]):
        assert {row[name] for name in (*FIELDS, "latency_s")} == {None}


@pytest.mark.parametrize("start", ["=1+cmd|' /C calc'!A0", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_spreadsheet_runs_a_name(start):
    rows = [{start: start, "number": -1.5}]
    head, line = csv.reader(render(rows, [Column(start, "T"), Column("number", "N")], "csv").splitlines())
    assert head == [f"'{start.strip()}", "number"] and line == [f"'{start.strip()}", "-1.5"]
    assert json.loads(render(rows, [Column(start, "T")], "json")) == [{start: start}]  # which no spreadsheet opens


HOSTILE = [
    "$x^$", "a_b_c %", "_a_", "**b**", "~~c~~", "<b>&amp;</b>", "a|b", r"\input{x}", "[a](javascript:b)", "`c`",
    "&lt;b", "# d", "1. e", "- f", "> g", "a\nb\u2028c", "\x1b[31mred", "\x9b1m", "\u202eabc",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_in_every_format(name):
    """Commonmark's and GitHub's marks are escaped; what a reader sees is the name in one line."""
    table = Table("t", name, [Column("name", name)], [{"name": name}], [name])
    seen = re.sub("[\x1b\x9b\u202e]", lambda m: ascii(m[0])[1:-1], " ".join(name.split()))
    assert table.render("text").count(seen) == 4
    assert all(c.isprintable() or c == "\n" for format in FORMATS for c in table.render(format))
    assert json.loads(table.render("json"))["rows"] == [{"name": name}]
    title, _, head, _, row, _, note = table.render("md").splitlines()
    for line, before, after in ((title, "### ", ""), (head, "| ", " |"), (row, "| ", " |"), (note, "- ", "")):
        shown = line.removeprefix(before).removesuffix(after)
        escaped = r"\\([!-/:-@\[-`{-~])"
        active = r"[|`*~$\[<]|(?<![^\W_])_|_(?![^\W_])" + r"|^[#>+-]\s|^1\.\s" * (line is note)
        assert not re.search(active, re.sub(escaped, "", shown)), shown
        assert html.unescape(re.sub(escaped, r"\1", shown)) == seen
    assert table.render("latex").isascii()


def test_html_reads_back():
    cells: list[str] = []

    class Reader(HTMLParser):
        inside = False

        def handle_starttag(self, tag, attrs):
            self.inside = tag in ("td", "th")

        def handle_endtag(self, tag):
            self.inside = False

        def handle_data(self, data):
            if self.inside:
                cells.append(data)

    Reader().feed(TABLE.render("html"))
    assert len(cells) == 20
    assert cells[4] == "Note & more"
    assert cells[9] == "a|b <c> 5 % †"


def test_a_wide_table_is_printed_in_blocks_that_fit():
    columns = [Column("model", "Model"), *(Column(f"c{i}", f"column {i}", align="right") for i in range(40))]
    text = render([{"model": "gfnet_s", **{f"c{i}": i / 3 for i in range(40)}}], columns, "text")
    lines = text.splitlines()
    assert max(map(len, lines)) <= FILE.width
    for first in ("Model", "gfnet_s"):
        assert sum(line.startswith(first) for line in lines) == 4
    headings = " ".join(line for line in lines if line.startswith("Model"))
    assert [headings.count(f"column {i} ") + headings.endswith(f"column {i}") for i in range(40)] == [1] * 40


def test_one_column_wider_than_the_line_still_shows():
    text = render([{"a": "x", "b": "y" * 200}], [Column("a", "A"), Column("b", "B")], "text")
    assert "y" * 200 in text


def test_a_long_note_is_folded():
    table = Table("t", "T", COLUMNS, ROWS, ["word " * 60])
    assert max(len(line) for line in table.render("text").splitlines()) <= FILE.width


def test_unknown_format_is_refused():
    with pytest.raises(UsageError, match="unknown format 'docx'; expected one of text, md, csv, latex, json, html"):
        render(ROWS, COLUMNS, "docx")
    with pytest.raises(UsageError, match="docx"):
        Report([TABLE]).render("docx")


def test_report_prints_data_for_programs_and_tables_for_people():
    data = Table("data", "Data", [Column("k", "k")], [{"k": 1}])
    report = Report([TABLE, TABLE], data)
    assert report.render("csv") == "k\n1\n"
    assert json.loads(report.render("json")) == [{"k": 1}]
    assert report.render("md").count("### An example") == 2
    assert json.loads(Report([TABLE, TABLE]).render("json")) == json.loads(render(TABLE.rows, TABLE.columns, "json"))


def test_report_writes_every_table_in_every_format(tmp_path):
    class Drawing:
        name = "curve"

        def write(self, folder):
            (folder / "curve.svg").write_text("<svg/>")
            return [folder / "curve.svg"]

    data = Table("data", "Data", [Column("k", "k")], [{"k": 1}])
    written = Report([TABLE], data, [Drawing()]).write(tmp_path, ["md", "latex"])
    assert [str(path.relative_to(tmp_path)) for path in written] == [
        "tables/example.md", "tables/example.tex", "tables/data.md", "tables/data.tex", "figures/curve.svg",
    ]  # fmt: skip
    assert all(path.exists() for path in written)
    assert (tmp_path / "tables/example.md").read_text(encoding="utf-8") == TABLE.render("md")


def test_the_best_and_the_second_stand_out_as_people_read_them():
    columns = [Column("name", "Name"), Column("a", "A", better="higher"), Column("b", "B", "s", better="lower")]
    rows = [{"name": n, "a": a, "b": b} for n, a, b in zip("wxyz", (1.04, 3.0, 1.0, 2.0), (5, None, 5, 7), strict=True)]
    assert places(rows, columns) == {(1, "a"): 1, (3, "a"): 2, (0, "b"): 1, (2, "b"): 1}  # of two none is a second
    aside = [rows[0], {**rows[1], ASIDE: True}, *rows[2:]]
    assert {place for place in places(aside, columns) if place[1] == "a"} == {(3, "a")}
    assert places(rows[:1], columns) == places([rows[0], rows[2]], columns) == {}  # 1.04 and 1.0 are read as 1.0
    table = Table("t", "T", columns, rows, ["a note"])
    lines = table.render("md").splitlines()
    assert lines[2:6:2] == ["| Name | A ↑ | B (s) ↓ |", "| w | 1.0 | **5** |"] and "| z | <u>2.0</u> | 7 |" in lines
    assert r"x & \textbf{3.0} & -- \\" in table.render("latex") and r"B (s) $\downarrow$" in table.render("latex")
    assert '<td style="text-align:left"><u>2.0</u></td>' in table.render("html")
    assert all(table.render(form).count("Best in bold") == (form in ("md", "latex", "html")) for form in FORMATS)


def test_columns_that_say_nothing_are_for_programs():
    columns = [Column("name", "Name"), Column("a", "A"), Column("b", "B", show=lambda row: "n/a"), Column("c", "C")]
    table = Table("t", "T", columns, [{"name": None, "a": None, "c": 1}, {"name": None, "c": None}])
    for form in ("text", "md", "latex", "html"):
        heads = re.sub(r"[^A-Za-z ]", " ", table.render(form)).split()
        assert "Name" in heads and "C" in heads and "A" not in heads and "B" not in heads
    assert table.render("csv").splitlines()[0] == "name,a,b,c"
    assert "A" in Table("t", "T", columns, []).render("text").split()


def test_a_terminal_has_its_own_width_and_styles():
    columns = [Column("name", "Name"), *(Column(c, c * 9, better="higher") for c in "abcd")]
    rows = [dict(zip(("name", *"abcd"), (f"model {i}", *[10.0 * i] * 4), strict=True)) for i in range(3)]
    table = Table("t", "a title of many words " * 3, columns, rows)
    narrow, wide = table.render("text", Screen(40, True)), table.render("text")
    assert len(wide.splitlines()) == 7 and "\x1b" not in wide
    plain = re.sub(r"\x1b\[[014]m", "", narrow)
    assert max(map(len, plain.splitlines())) <= 40 and plain.count("Name") == 2
    assert narrow.count("\x1b[1m20.0\x1b[0m") == narrow.count("\x1b[4m10.0\x1b[0m") == 4
