"""Numbers measured on other images or weights never stand beside each other without a word."""

from __future__ import annotations

import numpy as np
import pytest
from test_report_robustness import CLEAN, FGSM, PGD, cell, corrupted, fill, long_row, record
from whole_records import drawn, mapped, operated

from gfnet_bench.records import Record
from gfnet_bench.reports.compare import compare
from gfnet_bench.reports.filters import filters
from gfnet_bench.reports.reading.consistent import consistent
from gfnet_bench.reports.reading.scores import setup_of
from gfnet_bench.reports.robustness import robustness
from gfnet_bench.store import Store

STRONGER = {**FGSM, "epsilon": 4 / 255}


def seen(item, **noted):
    """The same record, of other inputs or another time; None takes a note away."""
    r, arrays = item
    provenance = {name: value for name, value in {**r.provenance, **noted}.items() if value is not None}
    return Record(r.cell, r.values, r.error, (), provenance), arrays


def day(item, n, **noted):
    return seen(item, started=f"2026-02-{n:02d}T00:00:00Z", **noted)


def notes(report) -> str:
    return " ".join(note for table in report.tables for note in table.notes)


def row_of(*items):
    kept, told = consistent([r for r, _ in items], row=lambda r: setup_of(r.cell))
    return [r.cell.settings["perturbation"]["name"] for r in kept], told


CLEAN_NUMBER, FGSM_NUMBER, PGD_NUMBER = (
    record(cell("gfnet_s", "imagenet", p), right) for p, right in ((CLEAN, 33), (FGSM, 17), (PGD, 8))
)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("data_fingerprint", "images"),
        ("ids_sha256", "images"),
        ("data_sha256", "contents of images"),
        ("weights_sha256", "weights"),
    ],
)
def test_the_newest_numbers_of_a_row_stand_and_others_are_named(name, what):
    old, new = {name: "old"}, {name: "new"}
    kept, told = row_of(day(CLEAN_NUMBER, 1, **old), day(FGSM_NUMBER, 2, **new), day(PGD_NUMBER, 3, **new))
    assert kept == ["fgsm", "pgd"]
    assert told == [f"{CLEAN_NUMBER[0].cell}: left out, measured on other {what} than newer numbers of their row."]
    kept, _ = row_of(day(CLEAN_NUMBER, 9, **old), day(FGSM_NUMBER, 2, **new), day(PGD_NUMBER, 3, **new))
    assert kept == ["clean"]
    kept, told = row_of(day(CLEAN_NUMBER, 1, **new), day(FGSM_NUMBER, 2, **new))
    assert (kept, told) == (["clean", "fgsm"], [])


def test_a_note_that_only_newer_records_have_parts_nothing():
    kept, told = row_of(day(CLEAN_NUMBER, 1), day(FGSM_NUMBER, 2, data_sha256="new"), day(PGD_NUMBER, 3))
    assert (kept, told) == (["clean", "fgsm", "pgd"], [])


def test_what_was_not_noted_is_said():
    nothing = dict.fromkeys(("data_fingerprint", "ids_sha256", "weights_sha256"))
    kept, told = row_of(seen(CLEAN_NUMBER, **nothing), FGSM_NUMBER)
    assert kept == ["clean", "fgsm"]
    assert told == [f"{CLEAN_NUMBER[0].cell}: on which {what} they were measured was not noted." for what in
                    ("weights", "images")]  # fmt: skip


def test_other_data_sets_samples_and_models_are_of_their_own():
    items = [
        CLEAN_NUMBER,
        record(cell("gfnet_s", "imagenet_a", CLEAN), 6),
        seen(record(cell("gfnet_s", "imagenet", CLEAN, limit=64), 30), data_fingerprint="sample"),
        seen(record(cell("deit_small", "imagenet", FGSM), 30)),
        *(seen(item, data_fingerprint=f"files {i}") for i, item in enumerate(corrupted("gfnet_s", "imagenet_c", 25))),
    ]
    kept, told = row_of(*items)
    assert (len(kept), told) == (len(items), [])


def test_a_set_made_from_another_rests_on_its_images():
    made = record(cell("resnet_mini", "mini_c", {"name": "fog", "severity": 1, "recipe": "cifar_c"}), 20)
    clean = record(cell("resnet_mini", "mini", CLEAN), 30)
    same = {"ids_sha256": "mini"}
    kept, told = row_of(day(clean, 1, **same, data_fingerprint="old"), day(made, 2, **same, data_fingerprint="new"))
    assert kept == ["fog"] and "mini.clean" in told[0]
    kept, _ = row_of(day(clean, 1, **same, data_fingerprint="x"), day(made, 2, **same, data_fingerprint="x"))
    assert kept == ["clean", "fog"]


def test_one_table_never_mixes_them(tmp_path):
    """The photographs moved to other class folders between two commands."""
    items = [day(CLEAN_NUMBER, 1, data_fingerprint="before"), day(FGSM_NUMBER, 2, data_fingerprint="after")]
    report = robustness(fill(tmp_path, items))
    assert long_row(report, "gfnet_s", "Top-1")["status"] == "not measured"
    assert long_row(report, "gfnet_s", "FGSM")["status"] == "measured"
    assert "imagenet.clean" in notes(report) and "left out, measured on other images" in notes(report)


def test_rows_and_pairs_of_other_images_say_so(tmp_path):
    other = record(cell("deit_small", "imagenet", CLEAN), 30)
    for name in ("data_fingerprint", "data_sha256"):
        items = [day(CLEAN_NUMBER, 1, **{name: "before"}), day(other, 2, **{name: "after"})]
        report = robustness(fill(tmp_path / name, items))
        assert {row["status"] for row in report.data.rows if "Top-1" in row.values()} == {"measured"}
        assert "measured on other" in notes(report) and "than newer numbers of other rows" in notes(report)
        (table,) = [t for t in report.details if t.name.endswith("_paired")]
        assert table.rows == [] and "different images" in table.notes[-1]


def test_an_mce_has_a_reference_on_the_same_images(tmp_path):
    mine, reference = (
        [seen(item, data_fingerprint="x") for item in corrupted(model, "mini_c", 25, recipe="cifar_c")]
        for model in ("gfnet_mini", "resnet_mini")
    )
    same = robustness(fill(tmp_path / "same", [*mine, *reference]))
    assert long_row(same, "gfnet_mini", "mini-C mCE")["status"] == "measured"
    others = [seen(item, data_fingerprint="y") for item in reference]
    told = long_row(robustness(fill(tmp_path / "other", [*mine, *others])), "gfnet_mini", "mini-C mCE")
    assert (told["status"], told["reason"]) == (
        "incomplete", "resnet_mini, whose errors are the reference, was measured on other images",
    )  # fmt: skip


def test_filters_surgery_and_heat_maps_of_other_weights_are_parted(tmp_path):
    store = Store(tmp_path)
    for item in (day(drawn(), 1, weights_sha256="old"), day(operated(), 2), day(mapped(0, 2), 3), day(mapped(1, 2), 4)):
        store.save(*item)
    report = filters(store)
    assert "spectra" in notes(report) and "left out, measured on other weights" in notes(report)
    assert not any(table.name == "filters_layers" for table in report.tables)
    store.save(*day(mapped(1, 2), 5, data_fingerprint="new"))
    report = filters(store)
    assert "heatmap of gfnet_mini: 1 of 2 parts measured" in notes(report)
    assert not any(table.name == "filters_heatmap" for table in report.tables)


def test_two_runs_are_not_paired_over_other_images(tmp_path):
    other = record(CLEAN_NUMBER[0].cell, 30, shift=1)
    a = fill(tmp_path / "a", [seen(CLEAN_NUMBER, data_sha256="x")])
    same, different = (compare(a, fill(tmp_path / name, [seen(other, data_sha256=name)])).report for name in ("x", "y"))
    assert same.data is not None and different.data is not None
    assert np.isfinite(same.data.rows[0]["p"]) and "p" not in different.data.rows[0]
