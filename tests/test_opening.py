"""The top of the page: the result in a sentence, the plot that shows it, and what both rest on."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path

import pytest
from test_report_robustness import CLEAN, FGSM, cell, fill, imagenet, mini, record

from gfnet_bench.records import PROTOCOLS, Cell, Record
from gfnet_bench.reports.base import REPORTS
from gfnet_bench.reports.page import write_page
from gfnet_bench.reports.page.facts import facts
from gfnet_bench.reports.reading.against_published import against_published, counted, summary, verdict
from gfnet_bench.reports.robustness import robustness
from gfnet_bench.reports.robustness.key_plot import cost_of, key_plots
from gfnet_bench.reports.robustness.standing import sentence
from gfnet_bench.store import Store

STRONGER = {**FGSM, "epsilon": 4 / 255}


def test_the_result_says_who_is_first_and_that_it_may_be_chance(tmp_path):
    """37 and 36 of 40 images, and 17 and 16 of them attacked: one image decides, which proves nothing."""
    told = sentence(robustness(fill(tmp_path, mini())), "mini")
    assert told.startswith("On mini (Fashion-MNIST, not ImageNet), resnet_mini is the most accurate of 2 networks")
    assert "of 40 images, not told apart from gfnet_mini)" in told and "92.5 [80.1–97.4] %" in told
    assert re.search(r"keeps most under FGSM 4/255 \(42\.5 ±\d+\.\d %, not told apart from gfnet_mini\)", told)
    assert "loses least under corruption, mini-C mCE (100.0" in told and told.count("resnet_mini") == 1


def test_a_lead_of_thirty_images_is_no_chance(tmp_path):
    items = [record(cell(name, "mini", CLEAN), right) for name, right in (("vit_mini", 38), ("resnet_mini", 8))]
    told = sentence(robustness(fill(tmp_path, items)), "mini")
    assert "vit_mini is the most accurate of 2 networks" in told and "told apart from all others" in told
    assert "not told apart" not in told


def test_a_sample_is_no_champion(tmp_path):
    """Its 39 of 40 are of other images than those of the rest."""
    items = [record(cell("gfnet_mini", "mini", CLEAN), 30), record(cell("vit_mini", "mini", CLEAN), 31)]
    told = sentence(robustness(fill(tmp_path, [*items, record(cell("vit_mini", "mini", CLEAN, limit=64), 39)])), "mini")
    assert "vit_mini is the most accurate of 2 networks (77.5" in told


def test_one_network_has_its_numbers_said(tmp_path):
    items = [record(cell("gfnet_mini", "mini", CLEAN), 30), record(cell("gfnet_mini", "mini", STRONGER), 10)]
    told = sentence(robustness(fill(tmp_path, items)), "mini")
    assert told.startswith("On mini (Fashion-MNIST, not ImageNet), gfnet_mini has 75.0") and "FGSM 4/255 25.0" in told
    assert sentence(robustness(fill(tmp_path / "none", items[1:])), "mini") == ""


def test_the_plot_holds_what_the_records_say(tmp_path):
    items = mini()
    store = fill(tmp_path, items)
    (plot,) = key_plots(robustness(store), store)
    right = {(r.cell.model, r.cell.settings["perturbation"]["name"]): r.values["top1"]
             for r, _ in items if r.cell.settings["dataset"] == "mini"}  # fmt: skip
    assert plot.choices[0] == "FGSM 4/255, %" and "mini-C mCE, less is better" in plot.choices
    for figure, x in zip(plot.draw(), ("top1", "params"), strict=True):
        data = next(r.data_source.data for r in figure.renderers if "clean" in r.data_source.data)
        for i, model in enumerate(data["model"]):
            assert data["y"][i] == pytest.approx(100 * right[model, "fgsm"])
            assert data["low"][i] < data["y"][i] < data["high"][i]
            expected = 100 * right[model, "clean"] if x == "top1" else 24_869_608
            assert data["x"][i] == pytest.approx(expected)
        assert {key.partition("@")[2] for key in data if key.startswith("y@")} == set(plot.choices)


def test_multiply_adds_are_the_cost_where_all_have_them():
    def count(model, macs):
        settings = {"measure": "count", "subject": "model", "convention": "authors", "img_size": [32, 32]}
        return Record(Cell("complexity", PROTOCOLS["complexity"], model, settings), {"macs": macs})

    scored = [record(cell(name, "mini", CLEAN), 30)[0] for name in ("a", "b")]
    some, every = [*scored, count("a", 7)], [*scored, count("a", 7), count("b", 9), count("b", 8)]
    assert cost_of(["a", "b"], some)[::3] == ("params", {"a": 24_869_608, "b": 24_869_608})
    assert cost_of(["a", "b"], every)[::3] == ("macs", {"a": 7, "b": 8})
    assert cost_of(["c"], every) is None


@pytest.mark.parametrize(
    ("low", "high", "published", "expected"),
    [(79.6, 80.4, 79.8, "within interval"), (79.6, 80.4, 80.44, "within interval"), (79.6, 80.4, 80.5, "differs"),
     (79.6, 80.4, 60.0, "differs"), (None, None, 80.0, "within interval"), (None, None, 80.2, "differs")],
)  # fmt: skip
def test_a_verdict_on_a_score(low, high, published, expected):
    assert verdict(80.0, low, high, published) == expected


@pytest.mark.parametrize(
    ("value", "published", "unit", "expected"),
    [(24_869_608, 25e6, 1e6, "as printed"), (7_511_784, 7e6, 1e6, "differs"), (4_483_032_576, 4.5e9, 1e9, "as printed"),
     (1_349_000_000, 1.3e9, 1e9, "as printed"), (1_351_000_000, 1.3e9, 1e9, "differs")],
)  # fmt: skip
def test_a_verdict_on_a_count_goes_by_the_digits_that_were_printed(value, published, unit, expected):
    assert counted(value, published, unit) == expected


def test_what_differs_says_why(tmp_path):
    """The paper has 80.0 for GFNet-S: 33 of 40 leave room for that, 3 of 40 do not."""
    for right, expected in ((33, "within interval"), (3, "differs")):
        report = robustness(fill(tmp_path / str(right), [record(cell("gfnet_s", "imagenet", CLEAN), right)]))
        rows = {row["quantity"]: row for row in against_published([report]).rows}
        assert rows["Top-1"]["published"] == 80.0 and rows["Top-1"]["verdict"] == expected
        assert bool(rows["Top-1"]["why"]) is (expected == "differs")
    rows = against_published([report]).rows
    differ = sum(row["verdict"] == "differs" for row in rows)
    told = summary(against_published([report]))
    assert told.startswith(f"Of {len(rows)} published figures that are measured here, {len(rows) - differ} agree and ")
    assert against_published([robustness(fill(tmp_path / "mini", mini()))]) is None


def test_every_report_of_ours_can_stand_on_one_page():
    """Some call their first column otherwise, or have nothing that was measured."""
    store = Store(Path(__file__).parents[1] / "results")
    reports = [REPORTS[name](store) for name in ("accuracy", "segmentation", "complexity", "ablation", "transfer")]
    rows = against_published(reports).rows
    assert ("GFNet-S", "Params, M", "as printed") in {(r["model"], r["quantity"], r["verdict"]) for r in rows}
    assert {row["verdict"] for row in rows} <= {"as printed", "differs"} and len(rows) > 50
    assert all(bool(row["why"]) is (row["verdict"] == "differs") for row in rows)


def test_facts_are_those_of_the_records():
    r = record(cell("gfnet_mini", "mini", CLEAN), 30)[0]

    def of(**more):
        return Record(r.cell, r.values, provenance=more)

    days = [of(commit="4098a19", started=f"2026-02-{day:02d}T00:00:00Z", device="cpu") for day in (3, 1, 2)]
    told = facts([*days, of(commit="4098a19", dirty=True, measured_by="Ada"), of(measured_by="Ada")])
    assert told["Measured"] == "2026-02-01 to 2026-02-03" and told["On"] == "cpu"
    assert told["By"] == "Ada (2), not noted (3)" and told["Images"] == "mini 40 of 1,000"
    assert told["Code"] == (
        "20 % of the records from a changed tree, 20 % from a commit nobody noted "
        "(1 at a commit nobody noted, 3 at commit 4098a19, 1 at commit 4098a19 with changes)"
    )
    assert facts([r])["By"].startswith("not noted (GFNET_BENCH_MEASURED_BY")


def test_who_measures_is_noted_if_they_say_so(tmp_path, monkeypatch):
    from gfnet_bench import runner

    one = cell("gfnet_mini", "mini", CLEAN)
    for name in ("", " Ada Lovelace "):
        monkeypatch.setenv("GFNET_BENCH_MEASURED_BY", name)
        (found,) = runner.run([one], lambda cell: runner.Outcome({"images": 1}), Store(tmp_path), overwrite="always",
                              progress=False)  # fmt: skip
        assert found.provenance.get("measured_by") == (name.strip() or None)


def test_the_page_opens_with_it(tmp_path):
    store = fill(tmp_path / "results", [*mini(), *imagenet()])
    text = write_page({"robustness": robustness(store)}, store, tmp_path / "a.html").read_text(encoding="utf-8")
    main = text[text.index("<main") :]
    parts = ('class="answer">On ', "data-plot=", "published figures that", "<dt>Measured")
    places = [main.index(part) for part in parts]
    assert places == sorted(places) and places[-1] < main.index('id="robustness"')
    data = re.search(r'<script type="application/json" id="plot-mini-key-0">(.*?)</script>', text)
    assert data is not None and b"gfnet_mini" in gzip.decompress(base64.b64decode(json.loads(data[1])))
