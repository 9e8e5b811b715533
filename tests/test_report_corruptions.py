"""Any part of ImageNet-C shows the numbers of its cells and their mean; mCE is what is asked of all fifteen."""

from __future__ import annotations

import itertools
import json
import random

import numpy as np
import pytest
from test_report_robustness import CLEAN, cell, failure, fill, long_row, record

from gfnet_bench import metrics
from gfnet_bench.catalog import CORRUPTIONS
from gfnet_bench.perturbations import Corruptions, from_settings
from gfnet_bench.published import corruptions
from gfnet_bench.records import Record
from gfnet_bench.reports.base import Report
from gfnet_bench.reports.reading.scores import Score, titles
from gfnet_bench.reports.robustness import robustness
from gfnet_bench.reports.robustness.plots import robustness_plots

EXTRA = [name for name in CORRUPTIONS if name not in corruptions()]
ALL = list(itertools.product(corruptions(), range(1, 6)))


def passes(model: str, cells, *, dataset: str = "imagenet_c", recipe: str | None = None, right: int = 25) -> list:
    """A pass over 40 images for each cell, (name, severity); `right` less twice the severity of them right."""
    made = {"recipe": recipe} if recipe else {}
    place = {name: i for i, name in enumerate(CORRUPTIONS)}
    return [
        record(cell(model, dataset, {"name": name, "severity": s, **made}), right - 2 * s, shift=place[name])
        for name, s in cells
    ]


def shown(report: Report) -> dict[str, dict[str, str]]:
    """Model -> heading -> text of the first table."""
    table = report.tables[0]
    return {row["model"]: {c.title: c.text(row) for c in table.columns} for row in table.rows}


def parts() -> dict[str, list[tuple[str, int]]]:
    """Ways to ask for less than all, or more."""
    rng = random.Random(0)
    names = list(CORRUPTIONS)
    return {
        "one cell": [("fog", 3)],
        "fog 2 and 4": [("fog", 2), ("fog", 4)],
        "one corruption": [("fog", s) for s in range(1, 6)],
        "one extra": [("spatter", s) for s in range(1, 6)],
        "one cell of an extra": [("saturate", 5)],
        "all extra": [(name, s) for name in EXTRA for s in range(1, 6)],
        "one severity of all": [(name, 3) for name in corruptions()],
        "all but one cell": ALL[:-1],
        "one and an extra": [("fog", 1), ("speckle_noise", 1)],
        **{f"drawn {i}": rng.sample([(n, s) for n in names for s in range(1, 6)], k=i + 2) for i in range(12)},
    }


def mean_over(cells):
    return Score("imagenet_c", Corruptions().of(cells), "top1")


@pytest.mark.parametrize("asked", parts().values(), ids=parts())
def test_a_part_shows_its_cells_and_their_mean(asked, tmp_path):
    report = robustness(fill(tmp_path, passes("gfnet_s", asked)))
    rows = {(row["column"], row["metric"]): row for row in report.data.rows}
    for name, severity in asked:
        row = rows[f"IN-C {name} {severity}", "top1"]
        assert row["ours_percent"] == pytest.approx(100 * (25 - 2 * severity) / 40) and row["status"] == "measured"
        assert {(f"IN-C {name} {severity} ECE", "ece"), (f"IN-C {name} {severity} NLL", "nll")} <= set(rows)
    mean = np.mean([100 * (25 - 2 * severity) / 40 for _, severity in asked])
    title = titles([mean_over(asked)])
    (heading,) = title.values()
    assert rows[heading, "top1"]["ours_percent"] == pytest.approx(mean)
    assert shown(report)["gfnet_s"][heading].startswith(f"{mean:.1f} ")
    low, high = (rows[heading, "top1"][f"ours_percent_{end}"] for end in ("low", "high"))
    assert low < mean < high
    measured = sum(name in corruptions() for name, _ in asked)
    mce = rows["IN-C mCE", "mce"]
    assert (mce["status"], mce["ours_percent"]) == ("incomplete" if measured else "not measured", None)
    assert mce["reason"] == (f"{measured} of 75 cells measured" if measured else None)
    # The cells one by one stand in a table that is printed without being asked for.
    (severities,) = [t for t in report.tables if t.name == "robustness_imagenet_c_severities"]
    values = [v for row in severities.rows for key, v in row.items() if key.startswith("severity_")]
    assert sorted(values) == pytest.approx(sorted(100 * (25 - 2 * s) / 40 for _, s in asked))
    assert heading in report.render("text") and json.loads(report.render("json"))


@pytest.mark.parametrize("extra", [[], [("spatter", 1)], [(name, s) for name in EXTRA for s in range(1, 6)]])
def test_all_of_it_is_mce_and_what_is_more_has_a_mean_of_its_own(extra, tmp_path):
    items = [*passes("gfnet_s", [*ALL, *extra]), record(cell("gfnet_s", "imagenet", CLEAN), 33)]
    report = robustness(fill(tmp_path, items))
    (texts,) = shown(report).values()
    more = [heading for heading in texts if heading.startswith("IN-C") and heading != "IN-C mCE"]
    assert texts["IN-C mCE"].startswith("67.9 ±") and len(more) == bool(extra)
    mean = long_row(report, "gfnet_s", "IN-C mean of 75 cells")
    assert mean["ours_percent"] == pytest.approx(np.mean([100 * (25 - 2 * s) / 40 for _, s in ALL]))
    assert report.details[0].name == "robustness_imagenet_c_severities"


def test_failed_cells_are_told_and_the_others_shown(tmp_path):
    items = passes("gfnet_s", ALL)
    items[7] = failure(items[7][0].cell, "ValueError: broken file")
    report = robustness(fill(tmp_path, items))
    mce = long_row(report, "gfnet_s", "IN-C mCE")
    assert mce["reason"] == "74 of 75 cells measured, 1 failed, the first with: ValueError: broken file"
    assert long_row(report, "gfnet_s", "IN-C mean of 74 cells")["status"] == "measured"
    name, severity = ALL[7]
    failed = long_row(report, "gfnet_s", f"IN-C {name} {severity}")
    assert (failed["status"], failed["ours_percent"]) == ("failed", None)
    everything = robustness([failure(r.cell, "MissingError: no such folder")[0] for r, _ in items])
    assert long_row(everything, "gfnet_s", "IN-C mCE")["status"] == "missing"


def test_rows_share_the_mean_of_a_part_only_over_the_same_cells(tmp_path):
    few = [("fog", 2), ("fog", 4)]
    items = [*passes("gfnet_s", ALL), *passes("deit_small", few, right=30), *passes("resnet50", [("fog", 2)], right=35)]
    report = robustness(fill(tmp_path, items))
    texts = shown(report)
    assert [texts[model]["IN-C mean of fog 2 4"].split()[0] for model in texts] == ["60.0", "47.5", "incomplete"]
    assert [texts[model]["IN-C fog 2"].split()[0] for model in texts] == ["65.0", "52.5", "77.5"]
    (paired,) = [t for t in report.details if t.name.endswith("_paired")]
    assert {(r["first"], r["second"]) for r in paired.rows if r["column"] == "IN-C mean of fog 2 4"} == {
        ("deit_small", "gfnet_s")
    }


def test_a_second_command_shows_the_mean_of_what_it_asked_for(tmp_path):
    """What earlier commands measured is in the store, but not in the number of this one."""
    store = fill(tmp_path, passes("gfnet_s", [("fog", 1), ("fog", 2), ("snow", 5)]))
    asked = [r for r in store if r.cell.settings["perturbation"]["name"] == "fog"]
    titles_of = shown(robustness(asked, store=store))["gfnet_s"]
    assert "IN-C mean of fog 1 2" in titles_of and not any("snow" in title for title in titles_of)


def test_equal_headings_are_numbered():
    """Nothing overwrites a neighbour: other cells, another version of a library, a radius that rounds alike."""
    sets = [ALL[:60], ALL[1:61]]
    scores = [mean_over(cells) for cells in sets]
    attacks = [
        Score("imagenet", from_settings({"name": "torchattacks:FAB", "version": v}), "top1") for v in ("3.3.0", "3.4.0")
    ]
    assert sorted(titles([*scores, *attacks]).values()) == [
        "IN-C mean of 60 cells (1)", "IN-C mean of 60 cells (2)", "torchattacks:FAB (1)", "torchattacks:FAB (2)",
    ]  # fmt: skip
    versions = [{"name": "torchattacks:FAB", "version": v, "eps": 1 / 255} for v in ("3.3.0", "3.4.0")]
    report = robustness([record(cell("gfnet_s", "imagenet", p), 10 + i)[0] for i, p in enumerate(versions)])
    values = [row["ours_percent"] for row in report.data.rows if "FAB" in row["column"] and row["metric"] == "top1"]
    assert values == pytest.approx([25.0, 27.5])
    assert [text.split()[0] for h, text in shown(report)["gfnet_s"].items() if "FAB" in h] == ["25.0", "27.5"]


def test_plots_leave_out_what_is_not_complete():
    """Fog and an extra corruption once passed for all fifteen, and ended in a division by zero."""
    some = [r for r, _ in passes("gfnet_s", [(name, s) for name in ("fog", "spatter") for s in range(1, 6)])]
    assert robustness_plots(robustness(some), some) == []
    both = [*some, *(r for r, _ in passes("deit_small", ALL))]
    (plot,) = robustness_plots(robustness(both), both)
    assert {row["model"] for row in plot.table.rows} == {"deit_small"} and plot.draw()


# The mini suite, whose reference is measured


def mini(right: dict[str, int], cells=ALL) -> list[tuple[Record, dict]]:
    found = []
    for model, count in right.items():
        found += passes(model, cells, dataset="mini_c", recipe="cifar_c", right=count)
        found.append(record(cell(model, "mini", CLEAN), min(40, count + 5)))
    return found


def test_a_reference_without_errors_is_said_and_the_mean_is_shown(tmp_path):
    items = mini({"gfnet_mini": 30})
    perfect = [record(r.cell, 40) for r, _ in passes("resnet_mini", ALL, dataset="mini_c", recipe="cifar_c")]
    report = robustness(fill(tmp_path, [*items, *perfect]))
    row = long_row(report, "gfnet_mini", "mini-C mCE")
    assert (row["status"], row["ours_percent"]) == ("undefined", None)
    assert row["reason"].startswith("resnet_mini makes no error under gaussian_noise, shot_noise, ")
    assert shown(report)["gfnet_mini"]["mini-C mean of 75 cells"].startswith("60.0 ")
    for format in ("text", "md", "csv", "json", "latex", "html"):
        assert report.render(format, details=True)


def test_a_reference_that_loses_nothing_has_no_relative_mce(tmp_path):
    items = mini({"gfnet_mini": 30})
    same = passes("resnet_mini", ALL, dataset="mini_c", recipe="cifar_c", right=35)
    clean = record(cell("resnet_mini", "mini", CLEAN), 29)  # as good as under each corruption
    report = robustness(fill(tmp_path, [*items, *same, clean]))
    assert long_row(report, "gfnet_mini", "mini-C mCE")["status"] == "measured"
    relative = long_row(report, "gfnet_mini", "mini-C relative mCE")
    assert relative["status"] == "undefined" and "resnet_mini loses nothing under gaussian_noise" in relative["reason"]


def test_without_its_reference_a_model_still_shows_its_mean():
    report = robustness([r for r, _ in mini({"gfnet_mini": 30})])
    texts = shown(report)["gfnet_mini"]
    assert texts["mini-C mCE"] == "no reference" and texts["mini-C mean of 75 cells"].startswith("60.0 ")


def scattered(seed: int, n: int = 300) -> list[tuple[Record, dict]]:
    """Two models and the reference, on images that are hard for all, with outcomes by chance."""
    rng = np.random.default_rng(seed)
    hard, labels = rng.random(n), np.arange(n) % 10
    found = []
    for model, skill in {"gfnet_mini": 0.9, "vit_mini": 1.0, "resnet_mini": 1.05}.items():
        settings = [("mini", CLEAN, 0.3)]
        settings += [("mini_c", {"name": c, "severity": s, "recipe": "cifar_c"}, -0.05 * s) for c, s in ALL]
        for dataset, perturbation, easier in settings:
            right = hard + 0.5 * rng.random(n) < skill + easier
            top5 = (labels[:, None] + np.arange(5) + ~right[:, None]) % 10
            confidence = np.full(n, 0.8, dtype=np.float32)
            p = metrics.Predictions(top5, confidence, 1 - 0.5 * right.astype(np.float32), labels, ())
            values = {**metrics.scores(p), "excluded": 0, "expected": n}
            r = Record(cell(model, dataset, perturbation), values, provenance={"ids_sha256": "one", "params": 1})
            found.append((r, metrics.to_arrays(p)))
    return found


@pytest.fixture(scope="module")
def chance(tmp_path_factory) -> tuple[Report, dict]:
    items = scattered(0)
    wrong: dict = {}
    for r, arrays in items:
        name = r.cell.settings["perturbation"]["name"]
        misses = (arrays["top5"][:, 0] != arrays["labels"]).astype(float)
        shares = wrong.setdefault(r.cell.model, {})
        shares[name] = shares.get(name, 0.0) + misses / (1 if name == "clean" else 5)
    return robustness(fill(tmp_path_factory.mktemp("results"), items)), wrong


def drawn_again(wrong: dict, relative: bool, times: int = 1500) -> dict[str, np.ndarray]:
    """mCE of both models, with images drawn again: for the model, the reference and clean images the same."""
    rows = np.random.default_rng(1).integers(0, 300, (times, 300))
    counts = np.stack([np.bincount(r, minlength=300) for r in rows]) / 300

    def errors(model: str) -> np.ndarray:
        means = counts @ np.stack([wrong[model][name] for name in corruptions()], axis=1)
        return means - (counts @ wrong[model]["clean"])[:, None] * relative

    return {m: (100 * errors(m) / errors("resnet_mini")).mean(axis=1) for m in ("gfnet_mini", "vit_mini")}


@pytest.mark.parametrize(("column", "relative"), [("mini-C mCE", False), ("mini-C relative mCE", True)])
def test_intervals_of_mce_on_mini_are_those_of_a_bootstrap_of_the_ratio(chance, column, relative):
    report, wrong = chance
    for model, values in drawn_again(wrong, relative).items():
        row = long_row(report, model, column)
        low, high = np.quantile(values, [0.025, 0.975])
        found = row["ours_percent_low"], row["ours_percent_high"]
        assert found == pytest.approx((low, high), abs=0.12 * (high - low))


def test_the_paired_test_of_mce_agrees_with_its_interval_and_with_a_bootstrap(chance):
    report, wrong = chance
    (table,) = [t for t in report.details if t.name.endswith("_paired")]
    rows = {(r["first"], r["second"]): r for r in table.rows if r["column"] == "mini-C mCE"}
    # Against the reference, whose own mCE is 100 with certainty, it is the interval of the model's mCE.
    own, both = long_row(report, "gfnet_mini", "mini-C mCE"), {"gfnet_mini", "resnet_mini"}
    pair = next(row for names, row in rows.items() if set(names) == both)
    sign = 1 if pair["first"] == "gfnet_mini" else -1
    assert pair["difference_points"] == pytest.approx(sign * (own["ours_percent"] - 100))
    length = own["ours_percent_high"] - own["ours_percent_low"]
    assert pair["difference_points_high"] - pair["difference_points_low"] == pytest.approx(length, rel=0.02)
    again = drawn_again(wrong, False)
    ((first, second),) = [pair for pair in rows if "resnet_mini" not in pair]
    low, high = np.quantile(again[first] - again[second], [0.025, 0.975])
    pair = rows[first, second]
    found = pair["difference_points_low"], pair["difference_points_high"]
    assert found == pytest.approx((low, high), abs=0.12 * (high - low))


def elsewhere(item: tuple[Record, dict]) -> tuple[Record, dict]:
    """The same on other images."""
    r, arrays = item
    return Record(r.cell, r.values, provenance={**r.provenance, "ids_sha256": "others"}), arrays


def test_a_reference_that_saw_other_images_is_none():
    of_reference = mini({"resnet_mini": 33})
    records = [r for r, _ in [*mini({"gfnet_mini": 30}), *map(elsewhere, of_reference)]]
    report = robustness(records)
    row = long_row(report, "gfnet_mini", "mini-C mCE")
    assert (row["ours_percent"], row["status"]) == (None, "incomplete")
    assert row["reason"] == "resnet_mini, whose errors are the reference, was measured on other images"
    assert shown(report)["gfnet_mini"]["mini-C mean of 75 cells"].startswith("60.0 ")


def test_cells_that_saw_different_images_have_a_mean_and_make_no_pair(tmp_path):
    """Each cell of ImageNet-C has files of its own, of which some may be missing."""
    items = [item for model in ("gfnet_s", "deit_small") for item in passes(model, [("fog", 1), ("fog", 2)])]
    items[1], items[3] = elsewhere(items[1]), elsewhere(items[3])
    report = robustness(fill(tmp_path, items))
    row = long_row(report, "gfnet_s", "IN-C mean of fog 1 2")
    assert row["ours_percent"] == pytest.approx(100 * 22 / 40)
    assert row["ours_percent_low"] < row["ours_percent"] < row["ours_percent_high"]
    (table,) = [t for t in report.details if t.name.endswith("_paired")]
    pair = "IN-C mean of fog 1 2 of deit_small and gfnet_s (its cells saw different images)"
    assert table.notes[-1] == f"Not compared: {pair}."


@pytest.mark.parametrize("n", [1, 2])
def test_very_few_images_end_in_no_infinite_or_certain_number(n, tmp_path):
    report = robustness(fill(tmp_path, scattered(2, n)), metrics=["ece", "nll", "relative_mce"])
    for format in ("text", "md", "csv", "json", "latex", "html"):
        assert report.render(format, details=True)
    for row in report.data.rows:
        ends = row["ours_percent_low"] if "ours_percent_low" in row else row["nll_nats_low"], row["metric"]
        if row["metric"] in ("top1", "top5") and row["status"] == "measured":
            assert row["ours_percent_low"] < row["ours_percent_high"], ends
