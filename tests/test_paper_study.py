"""What is behind each item of the paper: planned without data, weights or a GPU."""

from __future__ import annotations

import math

import pytest
import torch

from gfnet_bench.catalog import MCE_NAMES, MODELS
from gfnet_bench.mixers import MIXERS
from gfnet_bench.perturbations import CLEAN
from gfnet_bench.present import absent_sets
from gfnet_bench.published import rows as published_rows
from gfnet_bench.reports import REPORTS
from gfnet_bench.studies import complexity, paper, robustness
from gfnet_bench.studies.paper import ITEMS, Wish
from gfnet_bench.studies.tokens import PAPER_SIDES
from gfnet_bench.suites import SUITES

CPU = {"kind": "cpu", "name": "some CPU", "threads": 1}
PUBLISHED_ONLY = {"ablation", "transfer"}
NEVER_PUBLISHED = {"gMLP-Ti"}  # weights


@pytest.fixture(autouse=True)
def nothing_is_loaded(monkeypatch, tmp_path):
    """A plan that asked for weights or data would fail: there is neither, and no way to fetch them."""

    def refuse(*_, **__):
        raise AssertionError("a plan opened a file of weights")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def titles(table: str, column: str = "model") -> set[str]:
    """The models of a published table, without their sizes."""
    return {row[column].partition("@")[0] for row in published_rows(table)} - NEVER_PUBLISHED


@pytest.mark.parametrize("suite", ["imagenet", "mini"])
@pytest.mark.parametrize("name", list(ITEMS))
def test_every_item_plans_for_a_report_that_exists(name, suite, tmp_path):
    item = ITEMS[name]
    cells = item.plan(Wish(suite))
    assert item.report in REPORTS
    assert bool(cells) == bool(item.fill) == (name not in PUBLISHED_ONLY)
    assert len(set(cells)) == len(cells)
    assert {cell.study for cell in cells} <= {"robustness", "complexity", "filters"}
    assert all(cell.model in MODELS or cell.model in MIXERS for cell in cells)
    assert item.plan(Wish(suite)) == cells
    assert not item.fill or item.fill.startswith(f"gfnet-bench paper {name}")
    assert not list(tmp_path.iterdir())


def test_the_list_of_evidence_is_the_papers():
    assert list(ITEMS) == [
        "table3", "table1", "figure2", "figure3", "figure4", "table2", "figure5", "claims", "ablation", "transfer",
    ]  # fmt: skip


@pytest.mark.parametrize(("item", "table"), [("figure3", "fig3_transformer_style"), ("figure4", "fig4_hierarchical")])
def test_every_model_of_the_accuracy_figures_is_scored_and_counted(item, table):
    cells = ITEMS[item].plan(Wish())
    scored = [cell for cell in cells if cell.study == "robustness"]
    counted = [cell for cell in cells if cell.study == "complexity"]
    assert {MODELS[cell.model].title for cell in scored} == titles(table)
    assert {MODELS[cell.model].title for cell in counted if cell.settings["img_size"] == [224, 224]} == titles(table)
    expected = robustness.Options().settings("imagenet", CLEAN)
    assert all(cell.settings == expected for cell in scored)
    assert {cell.settings["convention"] for cell in counted} == {"authors"}
    finer = {f"{MODELS[cell.model].title}@384" for cell in counted if cell.settings["img_size"] == [384, 384]}
    assert finer == {row["model"] for row in published_rows(table) if row["resolution"] == "384"}
    assert {cell.study for cell in ITEMS[item].plan(Wish("mini"))} == {"complexity"}  # nobody has ImageNet there


def test_table_2_counts_every_backbone_at_both_sizes():
    cells = ITEMS["table2"].plan(Wish())
    assert {MODELS[cell.model].title for cell in cells} == titles("table2_ade20k", "backbone")
    assert {(c.model, *c.settings["img_size"]) for c in cells} == {
        (c.model, side, side) for c in cells for side in (512, 1024)
    }
    assert {(c.settings["measure"], c.settings["subject"]) for c in cells} == {("count", "semantic_fpn")}


def test_table_3_holds_every_column_for_every_model():
    cells = ITEMS["table3"].plan(Wish())
    named = {MODELS[cell.model].title for cell in cells}
    assert named == titles("table3_robustness") - {"ResNeXt50-32x4d"} | {"ResNeXt-50"}  # spelt otherwise there
    of_one = [cell.settings for cell in cells if cell.model == "gfnet_s"]
    assert len(cells) == len(of_one) * len(named)
    plain = {(s["dataset"], s["perturbation"]["name"]) for s in of_one if "severity" not in s["perturbation"]}
    assert plain >= {("imagenet", name) for name in ("clean", "fgsm", "pgd")}
    assert plain >= {(name, "clean") for name in ("imagenet_a", "imagenet_v2", "imagenet_real")}
    corrupted = [s["perturbation"] for s in of_one if s["dataset"] == "imagenet_c"]
    assert {(p["name"], p["severity"]) for p in corrupted} == {(n, s) for n in MCE_NAMES for s in range(1, 6)}
    (fgsm,) = (s["perturbation"] for s in of_one if s["perturbation"]["name"] == "fgsm")
    assert fgsm["epsilon"] == pytest.approx(1 / 255)
    assert {cell.model for cell in ITEMS["table3"].plan(Wish("mini"))} == set(SUITES["mini"].models)


def test_figure_2_counts_the_papers_sizes_and_times_those_asked_for():
    counted = ITEMS["figure2"].plan(Wish(tokens="196,784"))
    assert {cell.settings["measure"] for cell in counted} == {"count"}
    assert {(c.model, math.isqrt(c.settings["tokens"])) for c in counted} == {
        (name, side) for name in MIXERS for side in PAPER_SIDES
    }
    cells = ITEMS["figure2"].plan(Wish(tokens="196,784", timing=complexity.Options(CPU, batch=8)))
    timed = [cell for cell in cells if cell not in set(counted)]
    assert {(c.settings["measure"], c.settings["tokens"]) for c in timed} == {
        (measure, n) for measure in ("memory", "latency") for n in (196, 784)
    }
    assert {(c.settings["batch"], c.settings["width"]) for c in timed} == {(8, 384)}


def test_table_1_is_its_four_operations():
    assert {cell.model for cell in ITEMS["table1"].plan(Wish())} == set(complexity.TABLE1)


def test_figure_5_is_the_papers_network_and_in_the_mini_suite_everything():
    (cell,) = ITEMS["figure5"].plan(Wish())
    assert (cell.model, cell.settings["measure"]) == ("gfnet_xs", "spectra")
    cells = ITEMS["figure5"].plan(Wish("mini"))
    by = {m: [c for c in cells if c.settings["measure"] == m] for m in ("spectra", "surgery", "heatmap")}
    assert [c.model for c in by["spectra"]] == ["gfnet_mini"] and {c.model for c in by["surgery"]} == {"gfnet_mini"}
    assert {c.model for c in by["heatmap"]} == set(SUITES["mini"].models)
    usual = SUITES["mini"].filters
    assert {c.settings["limit"] for c in by["surgery"]} == {usual.surgery_limit}
    assert {c.settings["limit"] for c in by["heatmap"]} == {usual.heatmap_limit}
    few = ITEMS["figure5"].plan(Wish("mini", robustness.Options(limit=7)))
    assert {c.settings["limit"] for c in few if c.settings["measure"] != "spectra"} == {7}
    # Images decide nothing about filters: a trial must not measure them again.
    assert by["spectra"] == [c for c in few if c.settings["measure"] == "spectra"]


def test_what_is_asked_of_images_is_in_every_cell_that_has_some():
    wish = Wish(options=robustness.Options(limit=64, seed=3, dtype="bfloat16"))
    for name in ITEMS:
        for cell in ITEMS[name].plan(wish):
            if "dataset" in cell.settings:
                found = (cell.settings["limit"], cell.settings["seed"], cell.settings["dtype"])
                assert found == (64, 3, "bfloat16"), name


def test_models_are_named_once_and_only_if_we_have_them():
    assert paper.named_in("table3_robustness")[:2] == ["resnet50", "resnext50"]
    for table in ("fig3_transformer_style", "fig4_hierarchical", "table2_ade20k", "table3_robustness"):
        names = paper.named_in(table)
        assert len(set(names)) == len(names) and all(name in MODELS for name in names)


def test_absent_data_is_told_in_one_sentence_each_with_a_way_to_get_it(tmp_path):
    everything = [cell for name in ITEMS for cell in ITEMS[name].plan(Wish())]
    lacking = absent_sets(everything, [tmp_path])
    assert {"imagenet", "imagenet_c", "imagenet_a", "imagenet_v2", "imagenet_real"} <= set(lacking)
    for name, sentence in lacking.items():
        assert "expected" in sentence and str(tmp_path) in sentence, name
        assert "\n" not in sentence and len(sentence) < 600, name
    assert absent_sets(ITEMS["figure2"].plan(Wish()), [tmp_path]) == {}
    assert absent_sets(ITEMS["table3"].plan(Wish("mini")), [tmp_path]) == {}  # it ships with the package
