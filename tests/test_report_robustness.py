from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import whole_records

from gfnet_bench import metrics
from gfnet_bench.cli import main
from gfnet_bench.datasets import files_of
from gfnet_bench.errors import MissingError, UsageError
from gfnet_bench.perturbations import parse
from gfnet_bench.published import alexnet, corruptions
from gfnet_bench.records import PROTOCOLS, Cell, Record
from gfnet_bench.reports.base import REPORTS, Report
from gfnet_bench.reports.page import write_page
from gfnet_bench.reports.reading import scores
from gfnet_bench.reports.robustness import robustness
from gfnet_bench.store import Store
from gfnet_bench.suites import SUITES

GOLDEN = Path(__file__).parent / "golden"
CLEAN, FGSM, PGD = (parse(text).settings for text in ("clean", "fgsm", "pgd"))
SETTINGS = {
    "transform": "paper", "img_size": None, "checkpoint": None, "limit": None, "seed": 0, "dtype": "float32",
}  # fmt: skip
IMAGES = 40


def cell(model: str, dataset: str, perturbation: dict, **settings) -> Cell:
    return Cell(
        "robustness",
        PROTOCOLS["robustness"],
        model,
        {**SETTINGS, **settings, "dataset": dataset, "perturbation": perturbation},
    )


def record(c: Cell, right: int, *, shift: int = 0, ids: str = "") -> tuple[Record, dict]:
    """A measured cell: `right` of 40 images, every seventh one from `shift` on, with the arrays behind it."""
    is_right = np.zeros(IMAGES, dtype=bool)
    is_right[(shift + 7 * np.arange(right)) % IMAGES] = True
    labels = np.arange(IMAGES) % 10
    top5 = np.stack([(labels + 1 + k) % 10 for k in range(5)], axis=1)
    top5[is_right, 0] = labels[is_right]
    confidence = np.full(IMAGES, 0.5, dtype=np.float32)
    p = metrics.Predictions(top5, confidence, confidence, labels, ())
    answers = None
    if c.settings["dataset"] == "imagenet_real":
        answers = [(int(label),) for label in labels]
    values = {**metrics.scores(p, answers), "excluded": 0, "expected": IMAGES}
    seen = ids or metrics.ids_sha256([f"{files_of(c.settings['dataset'])}/{i}" for i in range(IMAGES)])
    provenance = {"params": 24869608, "ids_sha256": seen, "started": "2026-01-31T12:00:00Z", "seconds": 41.2}
    provenance |= {"data_fingerprint": seen, "weights_sha256": c.model}
    return Record(c, values, provenance=provenance), metrics.to_arrays(p, answers)


def failure(c: Cell, error: str) -> tuple[Record, dict]:
    return Record(c, error=error), {}


def corrupted(model: str, dataset: str, right: int, recipe: str | None = None, names=(), **settings) -> list:
    made_by = {"recipe": recipe} if recipe else {}
    return [
        record(cell(model, dataset, {"name": name, "severity": s, **made_by}, **settings), right - 2 * s, shift=i)
        for i, name in enumerate(names or corruptions())
        for s in range(1, 6)
    ]


def imagenet() -> list[tuple[Record, dict]]:
    strong = {**PGD, "epsilon": 4 / 255, "steps": 20}
    return [
        record(cell("gfnet_s", "imagenet", CLEAN), 33),
        record(cell("gfnet_s", "imagenet", FGSM), 17),
        record(cell("gfnet_s", "imagenet", PGD), 8),
        record(cell("gfnet_s", "imagenet", strong), 1),
        *corrupted("gfnet_s", "imagenet_c", 25),
        record(cell("gfnet_s", "imagenet_a", CLEAN), 6),
        failure(cell("gfnet_s", "imagenet_v2", CLEAN), "MissingError: imagenet_v2: no such folder in data."),
        record(cell("gfnet_s", "imagenet_real", CLEAN), 34),
        record(cell("deit_small", "imagenet", CLEAN), 32, shift=1),
        failure(cell("deit_small", "imagenet", FGSM), "OutOfMemoryError: CUDA out of memory\nsecond line"),
        *corrupted("deit_small", "imagenet_c", 24, names=corruptions()[:12]),
        record(cell("deit_small", "imagenet_a", CLEAN), 7, ids="other images"),
        record(cell("deit_small", "imagenet", CLEAN, transform="model"), 32),
        record(cell("deit_small", "imagenet_v2", CLEAN, transform="model"), 27),
        record(cell("deit_small", "imagenet", CLEAN, limit=64), 30),
    ]


def mini() -> list[tuple[Record, dict]]:
    stronger = {**FGSM, "epsilon": 4 / 255}
    return [
        item
        for model, right in (("gfnet_mini", 36), ("resnet_mini", 37))
        for item in [
            record(cell(model, "mini", CLEAN), right),
            record(cell(model, "mini", stronger), right - 20),
            record(cell(model, "mini_a", CLEAN), right - 16),
            *corrupted(model, "mini_c", right - 8, recipe="cifar_c"),
        ]
    ]


def fill(folder: Path, items: list[tuple[Record, dict]]) -> Store:
    store = Store(folder)
    with mock.patch("os.fsync"):  # hundreds of waits for the disk prove nothing here
        for r, arrays in items:
            store.save(r, arrays)
    return store


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Store:
    return fill(tmp_path_factory.mktemp("results"), [*imagenet(), *mini()])


@pytest.fixture(scope="module")
def drawn(both) -> Report:
    return robustness(both)


def long_row(report, row: str, column: str) -> dict:
    (found,) = [r for r in report.data.rows if (r["row"], r["column"]) == (row, column)]
    return found


@pytest.mark.parametrize("suite", ["imagenet", "mini"])
def test_tables_for_people(both, suite):
    printed = REPORTS["robustness"](both, suite=suite).render("text", details=True)
    assert printed == (GOLDEN / f"robustness_{suite}.txt").read_text(encoding="utf-8")


def test_suites_never_share_a_table(drawn):
    assert [t.name for t in drawn.tables] == [
        "robustness_imagenet", "robustness_imagenet_published", "robustness_imagenet_c",
        "robustness_imagenet_c_severities", "robustness_mini", "robustness_mini_c_cifar_c",
    ]  # fmt: skip
    assert [t.name for t in drawn.details] == [
        "robustness_imagenet_paired", "robustness_imagenet_groups",
        "robustness_mini_c_cifar_c_severities", "robustness_mini_paired", "robustness_mini_groups",
    ]  # fmt: skip
    for table in (*drawn.tables, *drawn.details):
        is_mini = "mini" in table.name
        assert ("mini (Fashion-MNIST, not ImageNet)" in table.title) == is_mini
        text = table.render("text")
        assert ("gfnet_s" in text) != is_mini
        assert ("(80.0)" in text) == (table.name == "robustness_imagenet")


def test_published_stands_beside_ours_with_difference_and_interval(drawn):
    (table,) = [t for t in drawn.tables if t.name == "robustness_imagenet_published"]
    (row,) = [r for r in table.rows if (r["model"], r["column"]) == ("gfnet_s", "FGSM")]
    assert (row["ours_percent"], row["published_percent"], row["mark"]) == (42.5, 42.6, "†")
    assert row["difference_points"] == pytest.approx(-0.1) and row["ours_percent_low"] < 42.5 < row["ours_percent_high"]
    assert "quoted from memory" in table.notes[0]


def test_a_row_of_data_by_hand(drawn):
    row = long_row(drawn, "gfnet_s", "PGD")
    low, high = metrics.wilson_interval(8, 40)
    assert {key: value for key, value in row.items() if not key.startswith("_")} == {
        "suite": "imagenet", "model": "gfnet_s", "row": "gfnet_s", "column": "PGD", "dataset": "imagenet",
        "perturbation": "pgd epsilon=0.00392157 norm=linf random_start=True relative_step=0.5 steps=5",
        "metric": "top1", "transform": "paper", "limit_images": None,
        "images": 40, "expected_images": 40, "unreadable_images": 0,
        "ours_percent": 20.0, "ours_percent_low": 100 * low, "ours_percent_high": 100 * high, "published_percent": 21.0,
        "published_mark": "†", "verified": False, "difference_points": -1.0,
        "source": row["source"], "status": "measured", "reason": None,
    }  # fmt: skip
    assert "2107.00645" in row["source"]


def test_mce_by_hand(drawn):
    # Right are 23, 21, 19, 17, 15 of 40 at each corruption, so the mean error is 0.525.
    row = long_row(drawn, "gfnet_s", "IN-C mCE")
    reference = {name: float(np.mean(alexnet().errors[name])) for name in corruptions()}
    assert row["ours_percent"] == pytest.approx(100 * np.mean([0.525 / r for r in reference.values()]))
    assert row["published_percent"] == 53.8
    assert row["ours_percent_low"] < row["ours_percent"] < row["ours_percent_high"]
    relative = long_row(drawn, "gfnet_s", "IN-C relative mCE")["ours_percent"]
    clean = 7 / 40
    expected = 100 * np.mean([(0.525 - clean) / (r - 0.43478) for r in reference.values()])
    assert relative == pytest.approx(expected)


def test_mini_mce_is_relative_to_its_resnet(drawn):
    resnet = long_row(drawn, "resnet_mini", "mini-C mCE")
    assert (resnet["ours_percent"], resnet["ours_percent_low"], resnet["ours_percent_high"]) == (100.0, None, None)
    # Errors: 40 - (28 - 6) = 18 of 40 on average against 40 - (29 - 6) = 17.
    gfnet = long_row(drawn, "gfnet_mini", "mini-C mCE")
    assert gfnet["ours_percent"] == pytest.approx(100 * 18 / 17)
    assert gfnet["published_percent"] is None


def test_mini_mce_finds_its_reference_in_the_store(both):
    only = [r for r in both if r.cell.model == "gfnet_mini"]
    assert long_row(robustness(only, store=both), "gfnet_mini", "mini-C mCE")["ours_percent"] == pytest.approx(
        100 * 18 / 17
    )
    alone = long_row(robustness(only), "gfnet_mini", "mini-C mCE")
    assert (alone["status"], alone["ours_percent"]) == ("incomplete", None)
    assert "needs all cells of resnet_mini" in alone["reason"]
    assert "no reference" in robustness(only).render("text")


def test_interval_of_mce_is_wider_when_the_arrays_are_gone(both, drawn):
    exact = long_row(drawn, "gfnet_s", "IN-C mCE")
    bound = long_row(robustness(list(both)), "gfnet_s", "IN-C mCE")
    assert bound["ours_percent"] == exact["ours_percent"]
    assert bound["ours_percent_low"] < exact["ours_percent_low"]
    assert bound["ours_percent_high"] > exact["ours_percent_high"]


def test_gaps_have_a_reason(drawn):
    missing = long_row(drawn, "gfnet_s", "IN-V2")
    assert (missing["status"], missing["reason"]) == ("missing", "imagenet_v2: no such folder in data.")
    assert (missing["ours_percent"], missing["published_percent"], missing["difference_points"]) == (None, 68.5, None)
    failed = long_row(drawn, "deit_small", "FGSM")
    assert (failed["status"], failed["reason"]) == ("failed", "OutOfMemoryError: CUDA out of memory")
    incomplete = long_row(drawn, "deit_small", "IN-C mCE")
    assert (incomplete["status"], incomplete["reason"]) == ("incomplete", "60 of 75 cells measured")
    assert long_row(drawn, "gfnet_mini", "ReaL")["status"] == "not applicable"
    assert long_row(drawn, "deit_small", "PGD")["status"] == "not measured"


def test_a_failure_among_the_75_is_told(tmp_path):
    items = corrupted("gfnet_s", "imagenet_c", 25)
    items[40] = failure(items[40][0].cell, "ValueError: broken file")
    row = long_row(robustness(fill(tmp_path, items)), "gfnet_s", "IN-C mCE")
    assert row["reason"] == "74 of 75 cells measured, 1 failed, the first with: ValueError: broken file"


def test_what_differs_in_kind_never_shares_a_column(tmp_path):
    variants = [
        PGD,
        {**PGD, "epsilon": 4 / 255},
        {**PGD, "epsilon": 4 / 255, "steps": 20},
        {**PGD, "random_start": False},
        {**PGD, "relative_step": 0.25},
        {"name": "torchattacks:PGDL2", "version": "3.3.0", "eps": 1.0, "steps": 5, "random_start": True},
    ]
    items = [record(cell("gfnet_s", "imagenet", p), 10 + i) for i, p in enumerate(variants)]
    items += corrupted("gfnet_s", "imagenet_c", 25) + corrupted("gfnet_s", "imagenet_c_generated", 20, "imagenet_c")
    report = robustness(fill(tmp_path, items))
    titles = [c.title for c in report.tables[0].columns]
    assert titles == [
        "Model", "Params", "Top-1", "Top-5", "FGSM", "PGD", "PGD 1/255 x5 no random start",
        "PGD 1/255 x5 relative_step=0.25", "PGD 4/255 x5", "PGD 4/255 x20", "torchattacks:PGDL2 1 x5",
        "IN-C mCE", "IN-C generated mCE", "IN-A", "IN-V2", "ReaL",
    ]  # fmt: skip
    published = {r["column"] for r in report.data.rows if r["published_percent"] is not None}
    assert published == {"Top-1", "Top-5", "FGSM", "PGD", "IN-C mCE", "IN-A", "IN-V2", "ReaL"}
    assert (
        long_row(report, "gfnet_s", "IN-C generated mCE")["ours_percent"]
        > long_row(report, "gfnet_s", "IN-C mCE")["ours_percent"]
    )


def test_a_partial_run_shows_what_it_measured(tmp_path):
    some = [r for r in corrupted("gfnet_s", "imagenet_c", 25) if r[0].cell.settings["perturbation"]["name"] == "fog"]
    (table,) = [t for t in robustness(fill(tmp_path, some[1:])).tables if t.name.endswith("_severities")]
    (row,) = table.rows
    assert row["corruption"] == "fog" and "severity_1_top1_percent" not in row
    shown = {int(key.split("_")[1]): value for key, value in row.items() if key.startswith("severity_")}
    assert shown == {
        r.cell.settings["perturbation"]["severity"]: pytest.approx(100 * r.values["top1"]) for r, _ in some[1:]
    }


def test_what_is_planned_has_a_row_before_anything_is_measured():
    report = robustness([], planned=["gfnet_s", "resnet50"])
    rows = {row["model"]: row for row in report.tables[0].rows}
    assert list(rows) == ["gfnet_s", "resnet50"]
    assert (rows["gfnet_s"]["pgd_percent"], rows["gfnet_s"]["pgd_percent_published"]) == (None, 21.0)
    assert "- (21.0†)" in report.tables[0].render("text")
    with pytest.raises(MissingError):
        robustness([])


def test_what_differs_in_the_model_or_the_sample_never_shares_a_row():
    one = cell("gfnet_s", "imagenet", CLEAN)
    others = {
        "gfnet_s, limit 64": {"limit": 64},
        "gfnet_s, model's own transform": {"transform": "model"},
        "gfnet_s, 384 px": {"img_size": [384, 384]},
        "gfnet_s, 224x320 px": {"img_size": [224, 320]},
        "gfnet_s, checkpoint 0123abcd": {"checkpoint": "0123abcd" * 8},
        "gfnet_s, float16": {"dtype": "float16"},
        "gfnet_s, seed 1": {"seed": 1},
    }
    report = robustness([record(cell("gfnet_s", "imagenet", CLEAN, **s), 30)[0] for s in ({}, *others.values())])
    assert sorted(row["model"] for row in report.tables[0].rows) == sorted(["gfnet_s", *others])
    assert scores.setup_of(one).label == "gfnet_s"


def test_own_transform_is_held_against_timm(drawn):
    row = long_row(drawn, "deit_small, model's own transform", "IN-V2")
    assert (row["ours_percent"], row["published_percent"], row["verified"]) == (67.5, 68.53, True)
    assert row["difference_points"] == pytest.approx(-1.03)
    assert "pytorch-image-models" in row["source"]


def test_pairs_are_compared_on_the_same_images_only(drawn):
    (table,) = [t for t in drawn.details if t.name == "robustness_imagenet_paired"]
    (top1,) = [row for row in table.rows if row["column"] == "Top-1"]
    assert {row["column"] for row in table.rows} == {"Top-1", "Top-5", "IN-C mean of 60 cells"}
    assert (top1["first"], top1["second"], top1["images"]) == ("gfnet_s", "deit_small", 40)
    # DeiT has the 32 images 1, 8, 15, ... right, GFNet the 33 images 0, 7, 14, ...
    deit, gfnet = ({(shift + 7 * i) % 40 for i in range(n)} for shift, n in ((1, 32), (0, 33)))
    assert (top1["only_first_images"], top1["only_second_images"]) == (len(gfnet - deit), len(deit - gfnet))
    assert top1["difference_points"] == pytest.approx(100 / 40)
    assert top1["p"] == metrics.mcnemar_p(len(deit - gfnet), len(gfnet - deit))
    assert table.notes[-1] == "Not compared: IN-A of gfnet_s and deit_small (different images, or another order)."


def test_paired_difference_of_mce(drawn):
    (table,) = [t for t in drawn.details if t.name == "robustness_mini_paired"]
    (row,) = [row for row in table.rows if row["column"] == "mini-C mCE"]
    assert (row["first"], row["second"]) == ("resnet_mini", "gfnet_mini")
    assert row["difference_points"] == pytest.approx(100 - 100 * 18 / 17)
    assert row["difference_points_low"] < row["difference_points"] < row["difference_points_high"]
    assert (row["p"] < 0.05) == (row["difference_points_high"] < 0)


def test_without_arrays_pairs_say_so(both):
    (table,) = [t for t in robustness(list(both)).details if t.name == "robustness_mini_paired"]
    assert table.rows == []
    assert "Top-1 of resnet_mini and gfnet_mini (no per-image predictions)" in table.notes[0]


def test_rows_have_the_most_accurate_first_samples_last_and_are_alike_everywhere(both):
    report = robustness(both)
    (table,) = [t for t in report.tables if t.name == "robustness_imagenet"]
    numbers = {row["row"]: row["ours_percent"] for row in report.data.rows if row["column"] == "Top-1"}
    labels = [row["model"] for row in table.rows]
    whole = [label for label in labels if "limit" not in label]
    assert whole == sorted(whole, key=lambda label: -numbers[label]) and labels == [*whole, "deit_small, limit 64"]
    printed = table.render("text")
    places = [printed.index(f"\n{label}  ") for label in labels]
    assert places == sorted(places) and table.ranked == "top1_percent"
    assert list(dict.fromkeys(row["row"] for row in report.data.rows if row["suite"] == "imagenet")) == labels
    rows = [line.split(",")[0] for line in table.render("csv").splitlines()[1:] if not line.startswith('"')]
    assert rows == [label for label in labels if "," not in label]


def test_models_choose_rows_and_their_order(both):
    report = robustness(both, models=["resnet_mini", "gfnet_mini"])
    assert [row["model"] for row in report.tables[0].rows] == ["resnet_mini", "gfnet_mini"]
    turned = robustness(both, models=["gfnet_mini", "resnet_mini"]).tables[0]
    assert [row["model"] for row in turned.rows] == ["gfnet_mini", "resnet_mini"] and not turned.ranked
    assert {row["model"] for row in report.data.rows} == {"resnet_mini", "gfnet_mini"}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (
            {"models": ["nobody"]},
            "expected records of nobody in .*, found only those of deit_small, gfnet_mini, gfnet_s, ",
        ),
        (
            {"models": ["resnet50*", "x"]},
            r"of resnet50\*, x in .*; start with: gfnet-bench robustness --model resnet50",
        ),
        (
            {"models": ["gfnet_s"], "suite": "mini"},
            "of gfnet_s in the suite mini .* only those of gfnet_mini, resnet_mini",
        ),
    ],
)
def test_models_without_records_are_told_from_no_records_at_all(both, asked, found):
    with pytest.raises(MissingError, match=found):
        robustness(both, **asked)


def test_a_data_set_that_is_not_known_any_more_stands_by_itself(tmp_path):
    """Its plug-in is missing: what was measured is shown, beside no other images and relative to no network."""
    items = [record(cell("gfnet_s", "gone", CLEAN), 20), *corrupted("gfnet_s", "gone_c", 25)]
    tables = {t.name: t for t in robustness(fill(tmp_path, [*items, *imagenet()[:1]])).tables}
    assert [c.title for c in tables["robustness_gone"].columns] == ["Model", "Params", "gone", "gone Top-5"]
    assert tables["robustness_gone"].rows[0]["gone_percent"] == 50
    assert "mCE" not in " ".join(c.title for c in tables["robustness_gone_c"].columns)
    assert len(tables["robustness_imagenet"].rows) == 1


def test_a_suite_without_records_is_told_from_no_records_at_all(tmp_path):
    store = fill(tmp_path, [record(cell("gfnet_s", "imagenet", CLEAN), 30)])
    told = (
        "expected records of anything in the suite mini in .*, found only those of gfnet_s; start with: .* --suite mini"
    )
    with pytest.raises(MissingError, match=told):
        robustness(store, suite="mini")


def test_of_models_that_are_partly_measured_the_others_are_named(both):
    report = robustness(both, models=["nobody", "GFNet-mini", "resnet_*"])
    assert [row["model"] for row in report.tables[0].rows] == ["gfnet_mini", "resnet_mini"]
    assert "No records of nobody." in report.tables[0].notes and "No records of nobody." in report.data.notes


@pytest.mark.parametrize("name", ["robustness", "complexity", "filters"])
def test_every_report_says_which_models_have_records(name, tmp_path, capsys):
    whole = {"robustness": whole_records.scored, "complexity": whole_records.counted, "filters": whole_records.drawn}
    item = whole[name]()
    fill(tmp_path, [item])
    assert main(["report", name, "--model", "nobody", "--output-dir", str(tmp_path)]) == 1
    assert (
        f"{name}: expected records of nobody in {tmp_path}, found only those of {item[0].cell.model};"
        in capsys.readouterr().err
    )


def test_nothing_measured_is_told(tmp_path):
    with pytest.raises(MissingError, match=r"expected records in .*, found none; start with: gfnet-bench robustness"):
        robustness(Store(tmp_path))


def test_unreadable_images_and_records_are_told(tmp_path):
    r, arrays = record(cell("gfnet_s", "imagenet", CLEAN), 30)
    store = fill(tmp_path, [(Record(r.cell, {**r.values, "excluded": 3}, provenance=r.provenance), arrays)])
    (tmp_path / "records/robustness/gfnet_s/broken.json").write_text("{")
    report = robustness(store)
    notes = "\n".join(report.tables[0].notes)
    assert "left out: Top-1, Top-5 of gfnet_s: 3" in notes
    assert "broken.json: expected a record" in notes
    assert any("broken.json" in note for note in report.data.notes)


def test_files_do_not_depend_on_the_order_or_the_time_of_measuring(both, tmp_path):
    later = [
        (Record(r.cell, r.values, r.error, (), {**r.provenance, "started": "2027", "seconds": 1.0}), arrays)
        for r, arrays in reversed([*imagenet(), *mini()])
    ]
    formats = ["text", "md", "csv", "latex", "json", "html"]
    first = robustness(both).write(tmp_path / "a", formats)
    second = robustness(fill(tmp_path / "b", later)).write(tmp_path / "b", formats)
    assert len(first) == 12 * len(formats)
    for a, b in zip(first, second, strict=True):
        assert a.name == b.name
        assert a.read_bytes() == b.read_bytes()


def test_data_for_programs(drawn):
    from_json = json.loads(drawn.render("json"))
    from_csv = list(csv.DictReader(drawn.render("csv").splitlines()))
    assert [(r["row"], r["column"]) for r in from_json] == [(r["row"], r["column"]) for r in from_csv]
    assert len({(r["row"], r["column"]) for r in from_json}) == len(from_json)


def test_calibration_and_likelihood_by_hand(tmp_path):
    """Half the images are right, at confidences of 0.9 where they are and 0.6 where they are not."""
    right = np.arange(IMAGES) % 2 == 0
    labels = np.arange(IMAGES) % 10
    top5 = (labels[:, None] + np.arange(5) + ~right[:, None]) % 10
    confidence = np.where(right, 0.9, 0.6).astype(np.float32)
    nll = np.where(right, 0.1, 1.5).astype(np.float32)
    p = metrics.Predictions(top5, confidence, nll, labels, ())
    made = Record(cell("gfnet_s", "imagenet", CLEAN), {**metrics.scores(p), "excluded": 0, "expected": IMAGES})
    store = fill(tmp_path, [(Record(made.cell, made.values, provenance={"ids_sha256": "x"}), metrics.to_arrays(p))])
    report = robustness(store)
    ece, nll = long_row(report, "gfnet_s", "ECE"), long_row(report, "gfnet_s", "NLL")
    assert ece["ours_percent"] == pytest.approx(100 * (20 * 0.1 + 20 * 0.6) / 40) and ece["metric"] == "ece"
    low, high = metrics.calibration_interval(confidence, right)
    assert (ece["ours_percent_low"], ece["ours_percent_high"]) == pytest.approx((100 * low, 100 * high))
    assert nll["nll_nats"] == pytest.approx(0.8) and "ours_percent" not in nll
    half = metrics.Z * np.std([0.1] * 20 + [1.5] * 20, ddof=1) / IMAGES**0.5
    assert nll["nll_nats_low"] < 0.8 < nll["nll_nats_high"]
    assert nll["nll_nats_high"] - nll["nll_nats_low"] == pytest.approx(2 * half, rel=0.02)
    assert all("ECE" not in c.title and "NLL" not in c.title for c in report.tables[0].columns)
    asked = robustness(store, metrics=["nll", "ece"])
    headings = [c.heading for c in asked.tables[0].columns]
    assert headings[2:7] == ["Top-1 ↑", "Top-5 ↑", "ECE ↓", "NLL (nats) ↓", "FGSM ↑"]
    assert "0.80 ±0.22" in asked.render("text") and "NLL: negative log-likelihood" in asked.render("text")
    without = robustness(list(store), metrics=["ece"])  # without the arrays there is a number, and no interval
    ece = long_row(without, "gfnet_s", "ECE")
    assert ece["ours_percent"] == pytest.approx(35) and ece["ours_percent_low"] is None


def test_every_pass_has_its_calibration_and_likelihood_as_data(both, drawn):
    told = {
        (r["row"], r["dataset"], r["perturbation"], r["metric"]) for r in drawn.data.rows if r["status"] == "measured"
    }
    measured = [r for r in both if r.error is None and r.cell.settings["dataset"] != "imagenet_real"]
    for r in measured:
        about = {"name": "clean", **r.cell.settings["perturbation"]}
        (score,) = {s for s in scores.scores_of(r.cell) if s.metric == "ece"}
        row = scores.setup_of(r.cell).label, r.cell.settings["dataset"], score.description
        assert {(*row, metric) for metric in ("top1", "ece", "nll")} <= told, about
    # ReaL is about other labels than those that calibration and likelihood were measured with.
    assert not {r["metric"] for r in drawn.data.rows if r["dataset"] == "imagenet_real"} - {"real"}


def test_metrics_on_request_by_the_command(both, capsys):
    from gfnet_bench.commands.report import METRICS

    assert set(METRICS) == {name for name in metrics.METRICS if metrics.METRICS[name].on_request}
    here = ["--output-dir", str(both.folder), "--suite", "mini"]
    assert main(["report", "robustness", *here, "--metric", *METRICS]) == 0
    printed = capsys.readouterr().out
    for heading in ("ECE", "NLL (nats)", "FGSM 4/255 ECE", "mini-C relative mCE", "mini-C mean of 75 cells NLL"):
        assert heading in printed
    assert main(["report", "complexity", *here[:2], "--metric", "ece"]) == 2
    assert "--metric" in capsys.readouterr().err


def calibration_again(arrays) -> float:
    right = arrays["top5"][:, 0] == arrays["labels"]
    return metrics.calibration_error(arrays["confidence"], right)


PLUG_INS = [
    metrics.Statistic(name="gap", title="Gap", of=calibration_again, note="Gap: what ECE is."),
    metrics.Average(name="doubt", title="Doubt", of=lambda arrays: 1 - arrays["confidence"], unit="", digits=3),
    metrics.Share(name="sure", title="Sure", of=lambda arrays: arrays["confidence"] > 0.5, higher_is_better=True),
]


@pytest.fixture(scope="module")
def drawn_at_random(tmp_path_factory) -> Store:
    """Two networks on the same images, clean, attacked and under two corruptions."""
    rng, items = np.random.default_rng(0), []
    fog, snow = ({"name": name, "severity": 3, "recipe": "cifar_c"} for name in ("fog", "snow"))
    for model, accuracy in (("gfnet_mini", 0.8), ("vit_mini", 0.6)):
        for dataset, perturbation in (("mini", CLEAN), ("mini", FGSM), ("mini_c", fog), ("mini_c", snow)):
            labels, right = np.arange(IMAGES) % 10, rng.random(IMAGES) < accuracy
            top5 = (labels[:, None] + np.arange(5) + ~right[:, None]) % 10
            confidence, nll = rng.uniform(0.2, 1, IMAGES).astype(np.float32), rng.random(IMAGES).astype(np.float32)
            p = metrics.Predictions(top5, confidence, nll, labels, ())
            values = {**metrics.scores(p), "excluded": 0, "expected": IMAGES}
            made = Record(cell(model, dataset, perturbation), values, provenance={"ids_sha256": "x"})
            items.append((made, metrics.to_arrays(p)))
    return fill(tmp_path_factory.mktemp("random"), items)


@pytest.mark.parametrize("metric", PLUG_INS, ids=lambda metric: metric.name)
@pytest.mark.parametrize("on_request", [False, True])
def test_a_metric_of_ones_own_is_a_column_over_old_records(metric, on_request, drawn_at_random, holding, tmp_path):
    metric, store = replace(metric, on_request=on_request), drawn_at_random
    holding(metrics.METRICS, metric.name, metric)
    report = robustness(store, metrics=[metric.name.upper()] if on_request else [])
    table = report.tables[0]
    where = ("", "FGSM ", "mini-C mean of fog, snow 3 ")
    assert {f"{name}{metric.title}" for name in where} <= {column.title for column in table.columns}
    assert metric.note == "" or metric.note in table.notes
    key, difference = ("ours_percent", "difference_points") if metric.scale == 100 else (metric.name, "difference")
    paired = [row for t in report.details if "_paired" in t.name for row in t.rows]
    for name in where:
        first, second = (long_row(report, model, name + metric.title) for model in ("gfnet_mini", "vit_mini"))
        low, high = first[f"{key}_low"], first[f"{key}_high"]
        assert first["status"] == "measured" and low < first[key] < high
        (row,) = [row for row in paired if row["column"] == name + metric.title]
        assert row[difference] == pytest.approx(first[key] - second[key]) and row["images"] == IMAGES
        assert row[f"{difference}_low"] < row[difference] < row[f"{difference}_high"] and 0 <= row["p"] <= 1
    clean = next(r for r in store if r.cell == cell("gfnet_mini", "mini", CLEAN))
    ours = long_row(report, "gfnet_mini", metric.title)
    assert ours[key] == pytest.approx(metric.scale * metric.value(store.arrays(clean)))
    if metric.name == "gap":  # once had the interval of a share, and top-1's row for its own
        wilson = metrics.wilson_interval(round(ours[key] / 100 * IMAGES), IMAGES)
        assert ours[f"{key}_low"] != pytest.approx(100 * wilson.low, abs=0.1)
        rows = {row["column"]: row["difference_points"] for row in paired if "difference_points" in row}
        assert rows["Gap"] != rows["Top-1"]
        assert ours[key] == long_row(report, "gfnet_mini", "ECE")["ours_percent"]
    assert all(metric.title in report.render(how) for how in ("latex", "csv", "json", "md"))
    write_page({"robustness": report}, store, tmp_path / "page.html")
    assert metric.title in (tmp_path / "page.html").read_text()


def test_without_a_reference_the_mean_corruption_error_stands_by_itself(drawn_at_random, holding):
    columns = tuple(c for c in SUITES["mini"].columns if c[1] != "mce")
    holding(SUITES, "mini", replace(SUITES["mini"], reference=None, columns=columns))
    report = robustness(drawn_at_random)
    titles = [column.title for column in report.tables[0].columns]
    assert "mini-C fog, snow 3 mean CE" in titles and not any("mCE" in title for title in titles)
    assert "robustness_mini_c_cifar_c_severities" in {table.name for table in report.tables}


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (metrics.Statistic(name="x", title="X", of=lambda arrays: np.nan), "undefined: x of these images is no number"),
        (metrics.Average(name="x", title="X", of=lambda arrays: arrays["logits"]), "logits of the images is not recor"),
    ],
)
def test_a_metric_without_a_value_says_why(metric, reason, drawn_at_random, holding):
    holding(metrics.METRICS, "x", metric)
    assert any(reason in note for note in robustness(drawn_at_random).tables[0].notes)


def test_a_metric_of_another_shape_is_refused(drawn_at_random, holding):
    metric = metrics.Average(name="x", title="X", of=lambda arrays: arrays["top5"])
    holding(metrics.METRICS, "x", metric)
    with pytest.raises(UsageError, match=r"metric x: expected a value for each image, \(40,\), found shape \(40, 5\)"):
        robustness(drawn_at_random)


def test_mean_corruption_error_is_what_the_mean_accuracy_leaves(both):
    report = robustness(both, suite="mini", metrics=["mean_ce", "brier"])
    error, right = (long_row(report, "gfnet_mini", f"mini-C {t}") for t in ("75 cells mean CE", "mean of 75 cells"))
    for ends in (("", ""), ("_low", "_high"), ("_high", "_low")):
        assert error[f"ours_percent{ends[0]}"] == pytest.approx(100 - right[f"ours_percent{ends[1]}"])
    assert any("brier of the images is not recorded, only" in note for note in report.tables[0].notes)


@pytest.mark.parametrize(
    ("dataset", "perturbation", "settings", "column"),
    [
        ("imagenet", {**FGSM, "epsilon": 4 / 255}, {}, None),
        ("imagenet", {**FGSM, "norm": "l2"}, {}, None),
        ("imagenet", {**PGD, "steps": 10}, {}, None),
        ("imagenet", {**PGD, "random_start": False}, {}, None),
        ("imagenet", {**PGD, "relative_step": 0.25}, {}, None),
        ("imagenet", {"name": "torchattacks:PGD", "version": "3.3.0", "eps": 1 / 255, "steps": 5}, {}, None),
        ("imagenet", CLEAN, {"img_size": [384, 384]}, None),
        ("imagenet", CLEAN, {"img_size": [224, 224]}, 80.0),
        ("imagenet", CLEAN, {}, 80.0),
        ("imagenet", FGSM, {}, 42.6),
        ("imagenet_a", CLEAN, {}, 14.3),
        ("imagenet_a", FGSM, {}, None),
        ("imagenet_a_control", CLEAN, {}, None),
        ("imagenet_v2_top", CLEAN, {}, None),
        ("imagenet_v2_threshold", CLEAN, {}, None),
        ("imagenet_r_control", CLEAN, {}, None),
        ("imagenet_c", {"name": "fog", "severity": 3}, {}, None),
        ("mini", CLEAN, {}, None),
    ],
)
def test_a_published_figure_is_held_against_its_own_protocol_alone(dataset, perturbation, settings, column):
    report = robustness([record(cell("gfnet_s", dataset, perturbation, **settings), 30)[0]])
    (row,) = [r for r in report.data.rows if r["metric"] == "top1" and r["status"] == "measured"][:1]
    assert row["published_percent"] == column
    assert all(r["published_percent"] is None for r in report.data.rows if r["metric"] in ("ece", "nll"))
