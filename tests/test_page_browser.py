"""The page as people meet it: in a browser, from a file."""

from __future__ import annotations

import shutil

import pytest
from test_report_robustness import fill, mini, record

from gfnet_bench.reports.base import Report
from gfnet_bench.reports.drawing.tables import Column, Table
from gfnet_bench.reports.page import write_page
from gfnet_bench.reports.robustness import robustness

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


class Watched:
    """An open page and what went on behind it."""

    def __init__(self, page):
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    items = [
        record(r.cell, 5) if r.cell.settings["perturbation"]["name"] == "fog" else (r, arrays) for r, arrays in mini()
    ]
    store = fill(tmp_path_factory.mktemp("results"), items)
    return write_page({"robustness": robustness(store)}, store, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


DESKTOP, PHONE = (1280, "light"), (390, "dark")
on_both = pytest.mark.parametrize("opened", [DESKTOP, PHONE], ids=["desktop", "phone"], indirect=True)


@pytest.fixture
def opened(request, browser, file):
    width, scheme = getattr(request, "param", DESKTOP)
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    watched = Watched(context.new_page())
    watched.page.goto(file.as_uri())
    watched.page.wait_for_selector("html[data-drawn]", timeout=60_000)
    yield watched
    assert watched.complaints == []
    assert [url for url in watched.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert sum(url.startswith("file:") for url in watched.requests) == 1
    context.close()


def column(page, table: str, number: int) -> list[str]:
    script = "(rows, n) => rows.filter(r => !r.hidden).map(r => r.cells[n].textContent)"
    return page.eval_on_selector_all(f"{table} tbody tr", script, number)


def test_headings_sort(opened):
    page, table = opened.page, "#table-robustness-mini-grid"
    heading = page.locator(f"{table} thead th").nth(2)
    assert heading.text_content() == "Top-1 ↑"
    first = column(page, table, 2)
    assert heading.get_attribute("aria-sort") == "descending"
    values = [float(text.split()[0]) for text in column(page, table, 2)]
    assert values == sorted(values, reverse=True) and len(values) == len(first)
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    values = [float(text.split()[0]) for text in column(page, table, 2)]
    assert values == sorted(values)
    heading.get_by_role("button").press("Enter")
    assert column(page, table, 2) == first and heading.get_attribute("aria-sort") == "descending"
    page.locator(f"{table} thead th").nth(0).get_by_role("button").press("Space")
    assert column(page, table, 0) == sorted(column(page, table, 0))
    assert heading.get_attribute("aria-sort") == "none"


def test_a_field_filters_rows_and_tells_how_many_are_left(opened):
    page, table = opened.page, "#table-robustness-mini-paired-grid"
    page.locator("#table-robustness-mini-paired summary").click()
    everything = column(page, table, 0)
    field = page.locator('input[data-filters="table-robustness-mini-paired-grid"]')
    field.fill("MCE")
    assert column(page, table, 0) == [text for text in everything if "mCE" in text] != everything
    count = page.locator('[data-counts="table-robustness-mini-paired-grid"]')
    assert count.text_content() == f"1 of {len(everything)} rows"
    assert count.get_attribute("aria-live") == "polite"
    field.fill("")
    assert column(page, table, 0) == everything


@pytest.fixture
def long_table(browser, tmp_path):
    """A page with a table of 500 rows, of which 60 are elements at first."""
    columns = [Column("name", "Name"), Column("n", "N", align="right")]
    rows = [{"name": f"row {i}", "n": (7 * i) % 500} for i in range(500)]
    file = write_page({"long": Report([Table("long", "Long", columns, rows)])}, {}, tmp_path / "long.html")
    watched = Watched(browser.new_page())
    watched.page.goto(file.as_uri())
    yield watched.page
    assert watched.complaints == []
    watched.page.close()


def test_rows_are_drawn_when_they_are_scrolled_to(long_table):
    page, table = long_table, "#table-long-grid"
    assert column(page, table, 0) == [f"row {i}" for i in range(60)]
    for drawn in (120, 180):
        page.evaluate("() => { const s = document.querySelector('.scroll'); s.scrollTop = s.scrollHeight; }")
        page.wait_for_function("n => document.querySelectorAll('#table-long-grid tbody tr').length === n", arg=drawn)
    assert column(page, table, 0) == [f"row {i}" for i in range(180)]


def test_all_rows_are_sorted_and_filtered_drawn_or_not(long_table):
    page, table = long_table, "#table-long-grid"
    page.locator(f"{table} thead th").nth(1).get_by_role("button").click()
    page.wait_for_selector(f"{table}[data-sorted='1 descending']")
    assert column(page, table, 1) == [str(n) for n in range(499, 439, -1)]
    page.get_by_role("searchbox").fill("row 49")
    having = {f"row {i}" for i in range(500) if "49" in f"row {i}{(7 * i) % 500}"}
    page.get_by_text(f"{len(having)} of 500 rows").wait_for()
    assert set(column(page, table, 0)) == having and len(having) < 60
    page.get_by_role("searchbox").fill("")
    page.get_by_text("500 rows", exact=True).wait_for()
    assert column(page, table, 1) == [str(n) for n in range(499, 439, -1)]


@on_both
def test_a_number_opens_what_it_was_drawn_from(opened):
    page = opened.page
    number = page.locator("#table-robustness-mini-grid tr:has-text('gfnet_mini') td a[href^='#from-']").first
    number.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Where this number comes from")
    assert dialog.is_visible() and not dialog.get_by_role("button", name="Back").is_visible()
    assert "Made of 150 records" in dialog.inner_text()
    dialog.locator("a[href^='#record-']").first.click()
    text = dialog.inner_text()
    for part in ("top1", "started", "2026-01-31T12:00:00Z", "cell sha256", "brightness"):
        assert part in text
    dialog.locator("a[href^='#environment-']").click()
    assert "Environment 1" in dialog.inner_text()
    dialog.get_by_role("button", name="Back").click()
    assert dialog.inner_text() == text
    dialog.get_by_role("link", name="Show in the list").click()
    assert not dialog.is_visible()
    entry = page.locator(page.evaluate("location.hash"))
    assert entry.is_visible()
    number.click()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert number.evaluate("e => e === document.activeElement")


@on_both
def test_a_link_to_a_record_opens_it_in_the_list(opened):
    page, before = opened.page, opened.page.evaluate("document.getElementsByTagName('*').length")
    link = page.locator("#table-robustness-mini-grid td a[href^='#record-']").first.get_attribute("href")
    page.evaluate("link => { location.hash = link; }", link)
    page.locator(link).wait_for()
    assert page.locator(link).evaluate("e => e === document.activeElement")
    assert page.evaluate("document.getElementsByTagName('*').length") < before + 1000


def test_the_command_of_a_record_is_copied(opened):
    page = opened.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#table-robustness-mini-grid td a[href^='#record-']").first.click()
    dialog = page.get_by_role("dialog", name="Where this number comes from")
    dialog.get_by_role("button", name="Copy").click()
    dialog.get_by_text("Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == dialog.locator("code.command").inner_text() and copied.startswith("gfnet-bench robustness --model")


@on_both
def test_light_and_dark(opened):
    page = opened.page

    def colours():
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        axis = page.evaluate(
            "[...Bokeh.documents[0]._all_models.values()].find(m => m.type === 'LinearAxis').axis_label_text_color"
        )
        return ground, str(axis)

    button = page.locator("#theme")
    before, name = colours(), button.text_content()
    button.click()
    after = colours()
    assert before[0] != after[0] and before[1] != after[1]
    assert {name, button.text_content()} == {"Dark", "Light"}
    button.click()
    assert colours() == before


def test_plots_are_drawn_and_follow_their_menu(opened):
    page = opened.page
    sizes = page.eval_on_selector_all("[data-plot]", "all => all.map(e => e.querySelector('*')?.clientHeight ?? 0)")
    assert len(sizes) >= 4 and min(sizes) > 200
    script = """() => Bokeh.documents.flatMap(d => [...d._all_models.values()])
        .filter(m => m.type === 'ColumnDataSource' && m.data['error_percent@fog'])
        .map(m => [[...m.data.error_percent], [...m.data['error_percent@fog']]])"""
    assert all(shown != fog for shown, fog in page.evaluate(script))
    page.get_by_role("combobox", name="Corruption").select_option("fog")
    assert len(page.evaluate(script)) == 2
    assert all(shown == fog for shown, fog in page.evaluate(script))


def test_the_first_plot_shows_the_robustness_that_is_chosen(opened):
    script = """() => [...document.querySelectorAll('#plot-mini-key [data-plot]')].map(e => {
        const models = Bokeh.documents.flatMap(d => [...d._all_models.values()]);
        const own = models.filter(m => m.type === 'ColumnDataSource' && m.data['y@mini-A, %'] && m.data.clean);
        return [models.filter(m => m.tags.includes('chosen')).map(m => m.axis_label),
                own.map(m => [[...m.data.y], [...m.data['y@mini-A, %']]])];
    })"""
    for labels, sources in opened.page.evaluate(script):
        assert set(labels) == {"FGSM 4/255, %"} and all(shown != other for shown, other in sources)
    opened.page.get_by_role("combobox", name="Robustness").select_option("mini-A, %")
    for labels, sources in opened.page.evaluate(script):
        assert set(labels) == {"mini-A, %"} and len(sources) == 2
        assert all(shown == other for shown, other in sources)


def test_files_are_saved_without_a_server(opened):
    page = opened.page
    with page.expect_download() as waiting:
        page.locator("#table-robustness-mini").get_by_role("button", name="CSV").click()
    assert waiting.value.suggested_filename == "robustness_mini.csv"
    assert "gfnet_mini" in waiting.value.path().read_text()


@on_both
def test_keyboard_and_width(opened):
    page = opened.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # tables scroll, the page does not
