"""What reports say about sets that are not whole, in every format: images missing or unreadable, samples of these."""

from __future__ import annotations

import csv
import itertools
import json

import pytest
import whole_records
from test_page import spread
from test_report_robustness import CLEAN, FGSM, IMAGES, cell, corrupted, fill, long_row, record

from gfnet_bench.records import Record
from gfnet_bench.reports.base import Report
from gfnet_bench.reports.drawing.tables import FORMATS, Table
from gfnet_bench.reports.filters import filters
from gfnet_bench.reports.page import write_page
from gfnet_bench.reports.reading.coverage import coverage, parts_of_sets
from gfnet_bench.reports.robustness import robustness
from gfnet_bench.reports.robustness.plots import robustness_plots

WHOLE = 50_000


def seen(item: tuple[Record, dict], expected: int | None, unreadable: int = 0, *, told: bool = False) -> tuple:
    """The same pass over 40 images of a set that should have more.

    Args:
        item: a record and its arrays.
        expected: images that there should have been; None if the record does not say.
        unreadable: files of them.
        told: as records did before `expected` was a value: a sentence among the unreadable images, counted as one.
    """
    r, arrays = item
    dataset, limit = r.cell.settings["dataset"], r.cell.settings["limit"]
    files = [[f"n01440764/{i}.JPEG", "truncated"] for i in range(unreadable)]
    sentence = [[dataset, f"expected {expected} images, found {(limit or IMAGES) + unreadable}"]] if told else []
    values = {**r.values, "excluded": unreadable + len(sentence)}
    values.pop("expected")
    values |= {} if told or expected is None else {"expected": expected}
    provenance = {**r.provenance, "excluded": [*sentence, *files]}
    return Record(r.cell, values, r.error, r.artifacts, provenance), arrays


def clean(**settings) -> tuple[Record, dict]:
    return record(cell("gfnet_s", "imagenet", CLEAN, **settings), 30)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (seen(clean(), IMAGES), (40, 40, 0)),
        (seen(clean(), None), (40, 40, 0)),  # an older record of a whole set
        (seen(clean(), None, 2), (40, 42, 2)),  # and of one with unreadable files
        (seen(clean(), WHOLE), (40, WHOLE, 0)),
        (seen(clean(), WHOLE, 3), (40, WHOLE, 3)),
        (seen(clean(), WHOLE, told=True), (40, WHOLE, 0)),
        (seen(clean(), WHOLE, 3, told=True), (40, WHOLE, 3)),
        (seen(clean(limit=40), 40), (40, 40, 0)),
        (seen(clean(limit=64), 64), (40, 64, 0)),
    ],
)
def test_missing_images_and_unreadable_files_are_two_counts(item, expected):
    found = coverage([item[0]])
    assert found[:3] == expected
    assert found.complete == (expected[0] == expected[1])


def test_a_sample_of_an_incomplete_set_is_incomplete():
    found = coverage([seen(clean(limit=40), 500, told=True)[0]])
    assert (found.images, found.expected, found.complete) == (40, 40, False)
    assert found.text == "40 images drawn from 40 of 500"
    r = seen(clean(limit=40), 40)[0]
    newer = Record(r.cell, r.values, provenance={**r.provenance, "available": [500, WHOLE]})
    assert coverage([newer]).text == "40 images drawn from 500 of 50,000"


@pytest.mark.parametrize(("dataset", "recipe", "unreadable"), [("imagenet_c", None, 75), ("mini_c", "cifar_c", 1)])
def test_a_file_that_all_corruptions_share_is_counted_once(dataset, recipe, unreadable):
    records = [seen(item, 41, 1)[0] for item in corrupted("gfnet_mini", dataset, 25, recipe)]
    assert coverage(records) == (40, 41, unreadable, None, None)
    sentences = [seen(item, WHOLE, told=True)[0] for item in corrupted("gfnet_mini", dataset, 25, recipe)]
    assert coverage(sentences) == (40, WHOLE, 0, None, None)  # once called "images that could not be read: 75"


def test_of_several_passes_the_least_complete_is_told():
    passes = [seen(item, (40, 80, 50)[i % 3])[0] for i, item in enumerate(corrupted("a", "imagenet_c", 25))]
    assert coverage(passes).text == "40 of 80 images"


ODD = [None, 3, [], [None], [["imagenet"]], ["imagenet", "expected 9 images, found 3"], [["imagenet", None]]]


@pytest.mark.parametrize("excluded", ODD)
def test_odd_lists_of_unreadable_images_are_no_sentence(excluded):
    r = clean()[0]
    odd = Record(r.cell, r.values, provenance={**r.provenance, "excluded": excluded if excluded != 3 else []})
    assert coverage([odd]) == (40, 40, 0, None, None)


@pytest.fixture(scope="module", params=["as a value", "among the unreadable images"])
def report(request, tmp_path_factory) -> Report:
    told = request.param != "as a value"
    items = [
        seen(clean(), WHOLE, told=told),
        seen(record(cell("gfnet_s", "imagenet", FGSM), 17), WHOLE, 2, told=told),
        *(seen(item, WHOLE, told=told) for item in corrupted("gfnet_s", "imagenet_c", 25)),
        record(cell("gfnet_s", "imagenet_a", CLEAN), 6),
        record(cell("deit_small", "imagenet", CLEAN), 32),
        *corrupted("deit_small", "imagenet_c", 24),
    ]
    return robustness(fill(tmp_path_factory.mktemp("results"), items))


def table(report: Report, name: str) -> Table:
    return next(t for t in [*report.tables, *report.details] if t.name == name)


def test_a_part_of_a_set_is_marked_and_told_for_what_it_is(report):
    wide = table(report, "robustness_imagenet")
    (row,) = [row for row in wide.rows if row["model"] == "gfnet_s"]
    texts = {column.title: column.text(row) for column in wide.columns}
    assert texts["Top-1"] == "75.0 ±13.0 § (80.0)" and "§" not in texts["IN-A"]
    partial = "Top-1, Top-5, FGSM, IN-C mCE of gfnet_s: 40 of 50,000 images"
    assert f"§ not the whole set: {partial}" in wide.notes
    assert "Files that could not be read and are left out: FGSM of gfnet_s: 2" in wide.notes
    for name in ("robustness_imagenet_c", "robustness_imagenet_c_severities"):
        assert "§ not the whole set: gfnet_s: 40 of 50,000 images" in table(report, name).notes


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_has_both_counts(report, format):
    told = {
        "csv": "40,50000,2,measured",
        "json": '"fgsm_percent_unreadable_images": 2',
        "latex": "FGSM of gfnet\\_s: 2",
    }
    printed = table(report, "robustness_imagenet").render(format)
    assert told.get(format, "FGSM of gfnet_s: 2") in printed
    assert "50,000 images" in printed or format == "csv"
    if format in ("csv", "json"):
        data = report.render(format)
        rows = json.loads(data) if format == "json" else list(csv.DictReader(data.splitlines()))
        (row,) = [r for r in rows if (r["row"], r["column"]) == ("gfnet_s", "FGSM")]
        assert [int(row[key]) for key in ("images", "expected_images", "unreadable_images")] == [40, WHOLE, 2]


def test_a_part_of_a_set_is_never_held_to_be_unexplained(report):
    beside = table(report, "robustness_imagenet_published")
    words = {(row["model"], row["column"]): row["explained"] for row in beside.rows}
    partial = {key: words[key] for key in words if key[0] == "gfnet_s" and key[1] != "IN-A"}
    assert len(partial) == 4 and all(word.split(", ")[0] == "incomplete" for word in partial.values())
    assert all("incomplete" not in word for key, word in words.items() if key not in partial)
    assert "incomplete: images of the set are missing or could not be read" in beside.notes
    assert "40 of 50000" in beside.render("text")


def test_points_of_a_part_of_a_set_are_named_as_such(report, tmp_path):
    drawn = {plot.name: plot for plot in robustness_plots(report, [])}
    models = {(row["model"], row["column"]) for row in drawn["imagenet_against_accuracy"].table.rows}
    assert ("gfnet_s, 40 of 50,000 images", "IN-C mCE") in models and ("deit_small", "IN-C mCE") in models
    records = [seen(item, WHOLE)[0] for item in corrupted("gfnet_s", "imagenet_c", 25)]
    (errors,) = robustness_plots(Report([]), records)
    assert {row["model"] for row in errors.table.rows} == {"gfnet_s, 40 of 50,000 images"}


def test_the_page_tells_it_where_the_record_is_shown(tmp_path):
    store = fill(tmp_path, [seen(clean(), WHOLE), record(cell("deit_small", "imagenet", CLEAN), 32)])
    text = write_page({"robustness": robustness(store)}, store, tmp_path / "page.html").read_text(encoding="utf-8")
    assert spread(text).count("<p>Part of the set: imagenet: 40 of 50,000 images.</p>") == 1


def test_filters_and_the_paper_tell_parts_of_sets_too(tmp_path):
    (image, arrays), (surgery, _) = whole_records.mapped(), whole_records.operated()
    items = [(Record(r.cell, {**r.values, "expected": 500}, provenance=r.provenance), arrays) for r in (image,)]
    report = filters(fill(tmp_path, items))
    assert f"Part of the set: mini: {image.values['images']} of 500 images" in report.tables[-1].notes
    whole = Record(surgery.cell, {**surgery.values, "expected": surgery.values["images"], "excluded": 0})
    assert parts_of_sets([whole, Record(image.cell, error="ValueError: no")]) == []


def test_what_a_note_says_of_several_rows_is_true_of_each():
    """Top-1 of one and FGSM of another are not "Top-1, FGSM of both"."""
    items = [
        seen(record(cell("gfnet_s", "imagenet", CLEAN), 30), WHOLE),
        record(cell("gfnet_s", "imagenet", FGSM), 30),
        record(cell("deit_small", "imagenet", CLEAN), 30),
        seen(record(cell("deit_small", "imagenet", FGSM), 30), WHOLE),
        seen(record(cell("resnet50", "imagenet", FGSM), 30), WHOLE),
    ]
    notes = robustness([r for r, _ in items]).tables[0].notes
    expected = "FGSM of deit_small, resnet50; Top-1, Top-5 of gfnet_s: 40 of 50,000 images"
    assert f"§ not the whole set: {expected}" in notes


def test_every_kind_of_set_keeps_its_number():
    """Whole, part, sample, sample of a part, with and without unreadable files: always the accuracy that it has."""
    for limit, expected, unreadable, told in itertools.product([None, 40, 64], [40, WHOLE], [0, 3], [False, True]):
        item = seen(clean(limit=limit), expected, unreadable, told=told)
        row = long_row(robustness([item[0]]), "gfnet_s" if limit is None else f"gfnet_s, limit {limit}", "Top-1")
        assert (row["ours_percent"], row["images"], row["status"]) == (75.0, 40, "measured")
        assert row["unreadable_images"] == unreadable
