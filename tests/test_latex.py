from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from test_report_robustness import fill, imagenet, mini

from gfnet_bench.reports.bibliography import references
from gfnet_bench.reports.drawing.latex import tex
from gfnet_bench.reports.drawing.tables import Column, Table
from gfnet_bench.reports.robustness import robustness

HOSTILE = [
    "[1] starts with a bracket",
    "*starred",
    r"\input{/etc/passwd} \end{document} $x_1^2$ # % & ~ | ` {",
    "± × † ‡ – — μ µ ∞ Ω Α α ς é ç Š 10⁻³ x² H₂O ≤ ≥ ≈ → √ − 中 🙂 \x01 a\nb\tc",
    "--overwrite always, a-b, -0.5",
    "",
]
TABLE = Table(
    "hostile_&_name",
    "A title with " + HOSTILE[2],
    [Column("name", "Näme_%"), Column("value", "±", "µs", align="right")],
    [{"name": text, "value": value} for text, value in zip(HOSTILE, (1.5, -0.25, None, 3, True, "[x]"), strict=True)],
    [*HOSTILE],
)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain text, 5 (a)", "plain text, 5 (a)"),
        ("50 % of a_b & c#d", r"50 \% of a\_b \& c\#d"),
        ("±2.3 × 4 †", r"$\pm$2.3 $\times$ 4 \dag{}"),
        ("-0.5", "$-$0.5"),
        ("a-b --limit", "a-b -{}-limit"),
        ("x² µs αΩ", r"x$^2$ $\mu$s $\alpha$$\Omega$"),
        ("[a]*", "{[}a]{*}"),
        ("Hénaff", r"H\'{e}naff"),
        ("中", r"\texttt{U+4E2D}"),
        ("a\n b", "a b"),
        (r"\^~", r"\textbackslash{}\textasciicircum{}\textasciitilde{}"),
    ],
)
def test_text(text, written):
    assert tex(text) == written


def test_every_character_becomes_plain_ascii():
    assert all(tex(chr(code)).isascii() for code in range(0x2FFF) if not chr(code).isspace())


def test_wide_tables_are_shrunk_to_the_page():
    narrow = Table("n", "N", [Column("a", "A")], [{"a": "x"}]).render("latex")
    columns = [Column(key, key.upper()) for key in "abc"]
    wide = Table("w", "W", columns, [dict.fromkeys("abc", "x" * 40)]).render("latex")
    assert "resizebox" not in narrow
    assert r"\resizebox{\linewidth}{!}{%" in wide


LONG = Table(
    "long",
    "Long_title",
    [Column("name", "Name"), *(Column(f"c{i}", f"Column {i}", align="right") for i in range(20)), Column("why", "Why")],
    [{"name": f"[{i}]", **{f"c{j}": i + j / 3 for j in range(20)}, "why": "a_b " * 30} for i in range(90)],
    [*HOSTILE],
)
UNTITLED = Table("untitled", "", [Column("a", "A")], [{"a": i} for i in range(41)])


@pytest.mark.parametrize("table", [LONG, UNTITLED], ids=lambda t: t.name)
def test_tables_longer_than_a_page_break(table):
    """Every longtable is whole: a head that repeats, a foot, as many cells in a line as columns; no box around it."""
    text = table.render("latex")
    assert "{table}" not in text and "resizebox" not in text and r"\usepackage{booktabs,longtable}" in text
    parts = re.findall(r"\\begin\{longtable\}\{(.*?)\}\n(.*?)\\end\{longtable\}", text, re.DOTALL)
    assert len(parts) == (3 if table is LONG else 1)
    assert text.count(r"\label") == (table is LONG) and text.count(r"\caption") == (3 if table is LONG else 0)
    seen = []
    for spec, body in parts:
        columns = len(re.sub(r"p\{[^}]*\}?", "p", spec))
        first, rest = body.split("\\endfirsthead\n")
        head, rest = rest.split("\\endhead\n")
        _, rest = rest.split("\\endfoot\n")
        _, rows = rest.split("\\endlastfoot\n")
        assert first.endswith(head)
        heading = head.splitlines()[1]
        assert {line.count(" & ") + 1 for line in (heading, *rows.splitlines())} == {columns}
        assert len(rows.splitlines()) == len(table.rows) and all(r.endswith(r" \\") for r in rows.splitlines())
        seen += heading.removesuffix(r" \\").split(" & ")
    assert list(dict.fromkeys(seen)) == [c.title for c in table.columns]


def test_braces_and_environments_are_balanced(tables):
    for table in tables:
        text = re.sub(r"\\\\|\\[{}%&$#_]", "", table.render("latex"))
        text = re.sub(r"^%.*$", "", text, flags=re.MULTILINE)
        depth = 0
        for c in re.findall(r"[{}]", text):
            depth += 1 if c == "{" else -1
            assert depth >= 0, table.name
        assert depth == 0, table.name
        open_ones: list[str] = []
        for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
            if kind == "begin":
                open_ones.append(name)
            else:
                assert open_ones.pop() == name, table.name
        assert open_ones == []
        assert text.count("$") % 2 == 0 and not re.search(r"[^\x00-\x7f]", text)


def test_a_page_of_rows_does_not_break():
    assert "longtable" not in Table("t", "T", [Column("a", "A")], [{"a": i} for i in range(40)]).render("latex")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    report = robustness(fill(tmp_path_factory.mktemp("results"), [*imagenet(), *mini()]))
    return [*report.tables, *report.details, TABLE, LONG, UNTITLED]


def test_all_tables_compile(tables, tmp_path):
    if not shutil.which("pdflatex"):
        pytest.skip("pdflatex is not installed")
    body = "\n\\clearpage\n".join(table.render("latex") for table in tables)
    head = "\\documentclass{article}\n\\usepackage{booktabs,graphicx,longtable}\n\\begin{document}\n"
    (tmp_path / "tables.tex").write_text(f"{head}{body}\\end{{document}}\n", encoding="ascii")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "tables.pdf").read_bytes().startswith(b"%PDF")
    assert "Missing character" not in (tmp_path / "tables.log").read_text(errors="replace")
    pages = re.search(r"\((\d+) pages", done.stdout)
    assert pages is not None and int(pages[1]) >= len(tables)


def test_every_reference_is_read_by_bibtex(tmp_path):
    if not shutil.which("bibtex"):
        pytest.skip("bibtex is not installed")
    (tmp_path / "all.bib").write_text("\n\n".join(references().values()), encoding="ascii")
    aux = "\\citation{*}\n\\bibstyle{plain}\n\\bibdata{all}\n"
    (tmp_path / "all.aux").write_text(aux)
    done = subprocess.run(["bibtex", "all"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert "Warning" not in done.stdout
    assert (tmp_path / "all.bbl").read_text().count("\\bibitem") == len(references())
