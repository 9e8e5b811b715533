from __future__ import annotations

import base64
import gzip
import html
import itertools
import json
import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser

import pytest
from test_report_robustness import CLEAN, FGSM, cell, failure, fill, mini, record

from gfnet_bench import __version__
from gfnet_bench.cli import main
from gfnet_bench.published import Published
from gfnet_bench.records import Record
from gfnet_bench.reports.base import Report
from gfnet_bench.reports.bibliography import bibtex
from gfnet_bench.reports.drawing import plots
from gfnet_bench.reports.drawing.tables import RECORDS, Column, Table
from gfnet_bench.reports.page import write_page
from gfnet_bench.reports.reading.differences import departures, explained
from gfnet_bench.reports.reading.reproduce import reproduction
from gfnet_bench.reports.robustness import robustness
from gfnet_bench.store import Store

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&%{}`|"


class Reader(HTMLParser):
    """Elements with their attributes and text, as a browser reads them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] == "script":
            self.scripts[-1] += data
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return fill(tmp_path_factory.mktemp("results"), mini())


def spread(page: str) -> str:
    """The page as it is when every record is opened, as its script writes them."""
    found = re.search(r'<script type="application/json" id="records-packed">(.*?)</script>', page)
    assert found is not None
    parts = []
    for head, entries in json.loads(gzip.decompress(base64.b64decode(json.loads(found[1])))):
        parts.append(f"<details><summary>{head}</summary>")
        parts += [f"<p>{line}</p><div class=entry id={name} tabindex=-1>{body}</div>" for name, line, body in entries]
        parts.append("</details>")
    return page.replace(found[0], "\n".join(parts))


@pytest.fixture(scope="module")
def page(store, tmp_path_factory) -> str:
    path = write_page({"robustness": robustness(store)}, store, tmp_path_factory.mktemp("page") / "report.html")
    return path.read_text(encoding="utf-8")


def test_nothing_is_fetched(page):
    reader = Reader(page)
    addresses = [a[key] for _, a in reader.elements for key in ("src", "href", "action", "data") if a.get(key)]
    assert len(addresses) > 50
    assert {address.split(":")[0] if not address.startswith("#") else "#" for address in addresses} == {"#", "data"}
    (policy,) = [a["content"] for a in reader.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert len(page.encode()) < 3e6


def test_the_head_counts_the_records(store, tmp_path):
    for count, said in ((1, "1 record"), (3, "3 records")):
        keyed = {str(i): next(iter(store)) for i in range(count)}
        text = write_page({}, keyed, tmp_path / "page.html").read_text(encoding="utf-8")
        assert re.search(r"</h1><p>(.*?)</p>", text)[1] == f"{said}; drawn by gfnet-bench {__version__}"


def test_every_link_within_the_page_leads_somewhere(page):
    page = spread(page)
    ids = Counter(a["id"] for _, a in Reader(page).elements if a.get("id"))
    assert max(ids.values()) == 1
    links = {a["href"][1:] for a in Reader(page).all("a") if (a.get("href") or "").startswith("#")}
    assert links <= set(ids)


def test_a_number_leads_to_its_record(page, store):
    page = spread(page)
    top1 = next(r for r in store if r.cell.model == "gfnet_mini" and r.cell.settings["dataset"] == "mini_a")
    name = f"record-{top1.cell.sha256[:12]}"
    link = re.search(rf"<td class=n[^>]*><a href=#{name}>([\d.]+) ±", page)
    entry = re.search(rf"<div class=entry id={name} .*?</div>", page)
    assert link is not None and float(link[1]) == 50.0 == 100 * top1.values["top1"]
    assert entry is not None
    for part in ("<dt>top1<dd>0.5<", top1.cell.sha256, "<dt>seconds<dd>41.2", "2026-01-31T12:00:00Z", "mini_a"):
        assert part in entry[0]


def test_mce_leads_to_its_75_records_and_those_it_is_relative_to(page, store):
    page = spread(page)
    wanted = {f"record-{r.cell.sha256[:12]}" for r in store if r.cell.settings["dataset"] == "mini_c"}
    assert len(wanted) == 150  # gfnet_mini's and resnet_mini's
    cell_of_mce = re.search(r"<td class=n[^>]*><a href=#(from-\w+)>105\.9", page)
    assert cell_of_mce is not None
    listed = re.search(rf"<div class=entry id={cell_of_mce[1]} .*?</div>", page)
    assert listed is not None
    assert set(re.findall(r"href=#(record-\w+)", listed[0])) == wanted
    fog = re.search(r"gfnet_mini, mini_c fog cifar_c: (.*?)<(li|/ul)>", listed[0])
    assert fog is not None and re.findall(r">(\d)</a>", fog[1]) == ["1", "2", "3", "4", "5"]


def test_a_record_has_the_command_that_measures_it_again(page, store):
    for r in store:
        entry = re.search(rf"<div class=entry id=record-{r.cell.sha256[:12]} .*?</dl>", spread(page), re.DOTALL)
        assert entry is not None
        (line,) = re.findall(r"<code class=command>(.*?)</code><button type=button class=button data-copies", entry[0])
        assert html.unescape(line) == reproduction(r.cell).line


def test_records_are_packed_until_they_are_opened(page, store):
    """158 records and 25,000 elements, of which a page that was just opened has a few thousand."""
    closed, opened = (len(Reader(text).elements) for text in (page, spread(page)))
    assert opened - closed > 60 * len(list(store)) > 9000 and closed < 5000


def test_structure_for_those_who_do_not_see_it(page):
    reader = Reader(page)
    levels = [int(tag[1]) for tag, _ in reader.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    for landmark in ("header", "nav", "main"):
        assert len(reader.all(landmark)) == 1
    assert reader.all("html")[0]["lang"] == "en"
    assert all(a.get("alt") for a in reader.all("img"))
    assert all(a.get("aria-label") for _, a in reader.elements if a.get("role") == "img")
    tables = page.count("<table ")
    assert tables == page.count("<caption ") > 3
    assert all(a.get("scope") in ("col", "row") for a in reader.all("th"))
    heads = [a for a in reader.all("th") if a["scope"] == "col"]
    assert [a["aria-sort"] for a in heads if a["aria-sort"] != "none"] == ["descending"]  # the one that is ranked
    assert page.count("<label>") == len(reader.all("input")) + len(reader.all("select"))
    assert page.count("aria-live=polite") >= len(reader.all("input"))


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("rule", [":root {", ':root:not([data-theme="light"]) {', ':root[data-theme="dark"] {'])
def test_contrast_of_text_is_aa(page, rule):
    block = page[page.index(rule) :].split("}")[0]
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
    for ground in ("page", "panel", "mark"):
        for ink in ("text", "quiet", "accent", "error"):
            light, dark = sorted((luminance(colours[ink]), luminance(colours[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)


def test_a_cell_is_sorted_by_its_number_whatever_it_says(tmp_path):
    shown = Column("x_s", "X", "ms", show=lambda row: row["says"], align="right")
    columns = [Column("name", "Name"), shown, Column("n", "N", align="right")]
    says = (("28.0*", 0.028, 7), ("no memory ≈9", None, 1_234_567_891), ("-", None, None))
    rows = [{"name": "a", "says": text, "x_s": value, "n": n} for text, value, n in says]
    report = Report([Table("t", "T", columns, rows)])
    text = write_page({"t": report}, {}, tmp_path / "page.html").read_text(encoding="utf-8")
    cells = re.findall(r"<td class=n(.*?)>(.*?)</td>", text)
    assert cells == [
        (" data-v=0.028", "28.0*"), ("", "7"), (' data-v=""', "no memory ≈9"), ("", "1234567891"), ("", "-"), ("", "-"),
    ]  # fmt: skip


def test_names_in_plots_are_no_formulas():
    """Bokeh would fetch MathJax for them, which the page forbids, and show nothing."""
    for name in ("$$x$$", r"\[x\]", r"\(x\)", "a$$b$$c", "$x^$", "plain"):
        shown = plots.plain(name)
        assert not re.search(r"\$\$|\\\[|\\\(", shown)
        assert shown.replace("\u2060", "") == name and plots.panel(name, name, name).title.text == shown
    assert plots.plain("plain") == "plain"


def test_names_from_users_are_text(tmp_path):
    one, broken = cell(EVIL, "mini", CLEAN), cell(EVIL, "mini", FGSM)
    measured, arrays = record(one, 30)
    measured = Record(one, measured.values, provenance={**measured.provenance, "commit": EVIL, "device": EVIL})
    store = fill(
        tmp_path, [(measured, arrays), failure(broken, f"ValueError: {EVIL}"), record(cell("x", "mini", CLEAN), 3)]
    )
    hostile = Table(EVIL, EVIL, [Column(EVIL, EVIL, EVIL)], [{EVIL: EVIL, RECORDS: {EVIL: (one.sha256,)}}] * 6, [EVIL])
    reports = {"robustness": robustness(store), EVIL: Report([hostile], hostile, details=[hostile])}
    packed = write_page(reports, store, tmp_path / "page.html", title=EVIL).read_text(encoding="utf-8")
    reader = Reader(spread(packed))
    assert all(a.get("src", "data:").startswith("data:") for a in reader.all("img"))
    assert not [name for _, a in reader.elements for name in a if name.startswith("on")]
    assert all(a.get("type") == "application/json" for a in reader.all("script")[:-1])
    for script, attributes in zip(reader.scripts, reader.all("script"), strict=True):
        assert "alert(1)" not in script or attributes.get("type") == "application/json"
        if attributes.get("type") == "application/json":
            assert json.loads(script)
    assert reader.text.count(EVIL) > 10
    for table in (*reports["robustness"].tables, hostile):
        assert "<script" not in table.render("md") and "<img" not in table.render("html")


def test_failures_are_told_with_their_text(tmp_path):
    items = [
        record(cell("gfnet_mini", "mini", CLEAN), 30),
        failure(cell("gfnet_mini", "mini", FGSM), "OSError: disk <1>"),
    ]
    store = fill(tmp_path, items)
    text = write_page({"robustness": robustness(store)}, store, tmp_path / "page.html").read_text(encoding="utf-8")
    text = spread(text)
    assert '<p class="error">OSError: disk &lt;1&gt;</p>' in text
    assert re.search(r"<a href=#record-\w+>failed</a>", text)


def test_same_records_same_bytes(store, page, tmp_path):
    """Also after other drawings, in another process with other hashes, and for records read in another order."""
    assert main(["report", "robustness", "--output-dir", str(store.folder), "--html", str(tmp_path / "a.html")]) == 0
    code = (
        "from pathlib import Path; from bokeh.plotting import figure; figure(); from gfnet_bench.store import Store;"
        "from gfnet_bench.reports.robustness import robustness; from gfnet_bench.reports.page import write_page;"
        f"s = Store({str(store.folder)!r}); records = {{r.cell.sha256: r for r in reversed(list(s))}};"
        f"write_page({{'robustness': robustness(s)}}, records, Path({str(tmp_path / 'b.html')!r}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == page
    assert (tmp_path / "b.html").read_text(encoding="utf-8") == page


def test_figures_are_shown_and_saved(store, tmp_path):
    from PIL import Image

    class Drawing:
        name = "two_by_one"
        data = Table("two_by_one", "A <b>small</b> picture", [Column("a", "a")], [{"a": 1}])

        def write(self, folder):
            Image.new("RGB", (2, 1), "red").save(folder / "two_by_one.png")
            (folder / "two_by_one.pdf").write_bytes(b"%PDF-1.4")
            (folder / "two_by_one.csv").write_bytes(b"1" * 500_000)
            return [folder / f"two_by_one.{ending}" for ending in ("pdf", "png", "csv")]

    report = Report([Table("t", "T", [Column("a", "a")], [{"a": 1}])], figures=[Drawing()])
    text = write_page({"drawn": report}, store, tmp_path / "page.html").read_text(encoding="utf-8")
    reader = Reader(text)
    (image,) = reader.all("img")
    assert (image["width"], image["height"]) == ("2", "1")
    assert image["alt"].startswith("A <b>small</b> picture.")
    saved = {a["download"] for a in reader.all("a") if "download" in a}
    buttons = [b for b in reader.all("button") if "data-packed" in b]
    files = {b["data-file"]: gzip.decompress(base64.b64decode(b["data-packed"])) for b in buttons}
    assert files["two_by_one.pdf"] == b"%PDF-1.4" and files["t.csv"] == b"a\n1\n"
    saved |= set(files)
    assert {"two_by_one.png", "two_by_one.pdf", "t.csv", "t.tex", "t.md"} <= saved
    assert "two_by_one.csv" not in saved and "two_by_one.csv (0.5 MB) is in the folder of figures" in text
    assert len(text) < 400_000  # without plots no library for them


@pytest.mark.parametrize(
    ("difference", "settings", "quoted", "metric", "expected"),
    [
        (0.3, {}, Published(80, False, False, ""), "top1", "spread"),
        (-2.0, {}, Published(80, True, False, ""), "top1", "no"),
        (-2.0, {}, Published(80, False, False, ""), "top1", "figure"),
        (-2.0, {"limit": 64, "dtype": "float16"}, Published(80, True, False, ""), "top1", "sample, precision"),
        (0.1, {"checkpoint": "ab" * 32}, Published(60, True, True, ""), "mce", "weights, figure"),
        (1.0, {"transform": "model", "img_size": [384, 384]}, Published(60, True, False, ""), "top1", "size"),
    ],
)
def test_whether_a_difference_is_explained(difference, settings, quoted, metric, expected):
    assert explained(difference, settings, quoted, metric) == expected


def test_departures_from_the_paper_are_sentences():
    settings = {"limit": 64, "transform": "model", "perturbation": {"name": "fog", "recipe": "cifar_c", "severity": 1}}
    assert [reason.word for reason in departures(settings)] == ["sample", "transform", "generated"]
    assert "64 images" in departures(settings)[0].sentence
    assert departures({"limit": None, "dtype": "float32", "transform": "paper"}) == []


def test_references_follow_the_records():
    of = {
        "resnet50": {"russakovsky2015imagenet", "hendrycks2021natural", "he2016deep", "rao2021gfnet", "gfnet_bench"},
        "gfnet_mini": {"xiao2017fashion", "rao2021gfnet", "gfnet_bench"},
    }
    datasets = {"resnet50": "imagenet_a", "gfnet_mini": "mini"}
    for model, expected in of.items():
        r = Record(cell(model, datasets[model], CLEAN), provenance={"commit": "a_b%"})
        text = bibtex([r])
        assert set(re.findall(r"^@\w+\{(\w+),$", text, re.MULTILINE)) == expected
        assert r"Commit a\_b\%" in text
    attacked = bibtex([Record(cell("resnet50", "imagenet", {"name": "pgd"}), provenance={"timm": "1"})])
    assert "madry2018towards" in attacked and "wightman2019timm" in attacked and "goodfellow" not in attacked


def test_commands(store, tmp_path, capsys):
    here = ["--output-dir", str(store.folder)]
    assert main(["report", *here, "--html", str(tmp_path / "new/page.html"), "--suite", "mini"]) == 0
    assert "Why is my number different?" in (tmp_path / "new/page.html").read_text(encoding="utf-8")
    assert main(["report", "--bibtex", *here]) == 0
    assert "@inproceedings{rao2021gfnet," in capsys.readouterr().out
    assert main(["report", "robustness", "complexity", *here]) == 1
    assert "complexity: expected records" in capsys.readouterr().err
    assert main(["report", "robutness", *here]) == 2
    assert "did you mean robustness?" in capsys.readouterr().err


def test_reports_are_found_without_heavy_libraries():
    code = (
        "import sys, gfnet_bench.reports, gfnet_bench.reports.page;"
        "print(sorted({'torch', 'bokeh', 'matplotlib', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
