from __future__ import annotations

import json

import numpy as np
import pytest
from test_page import spread
from test_report_robustness import CLEAN, cell, failure, fill, record
from whole_records import timed

from gfnet_bench import metrics
from gfnet_bench.cli import main
from gfnet_bench.errors import MissingError
from gfnet_bench.records import Record
from gfnet_bench.reports.compare import compare
from gfnet_bench.store import Store

REAL = cell("gfnet_s", "imagenet_real", CLEAN)


def on(item: tuple[Record, dict], **provenance) -> tuple[Record, dict]:
    r, arrays = item
    return Record(r.cell, r.values, r.error, (), {**r.provenance, **provenance}), arrays


@pytest.fixture
def runs(tmp_path) -> tuple[Store, Store]:
    clean, other = cell("gfnet_s", "imagenet", CLEAN), cell("deit_small", "imagenet", CLEAN)
    a = [record(clean, 33), record(other, 20), record(REAL, 30), timed(0.010), failure(*_broken())]
    b = [
        on(record(clean, 30, shift=1), device="cuda", torch="2.14.0"),
        on(record(other, 20), started="2027-01-01T00:00:00Z", seconds=1.0),
        timed(0.015),
        record(_broken()[0], 3),
    ]
    return fill(tmp_path / "a", a), fill(tmp_path / "b", b)


def _broken():
    return cell("gfnet_s", "imagenet_a", CLEAN), "OutOfMemoryError: CUDA"


def rows(table_name, found):
    return next(t for t in found.report.tables if t.name == table_name).rows


def test_differences_by_hand(runs):
    found = compare(*runs)
    assert not found.same
    top1, latency, broken = (
        next(r for r in rows("compare_differences", found) if word in r["cell"])
        for word in ("gfnet_s imagenet clean", "global_filter", "imagenet_a")
    )
    # A has the 33 images 0, 7, 14, ... right, B the 30 images 1, 8, 15, ...
    a, b = ({(shift + 7 * i) % 40 for i in range(n)} for shift, n in ((0, 33), (1, 30)))
    assert (top1["top1_percent_first"], top1["top1_percent_second"]) == (82.5, 75.0)
    assert top1["difference_points"] == pytest.approx(-7.5)
    assert top1["difference_points_low"] < -7.5 < top1["difference_points_high"]
    assert (top1["images"], top1["changed_images"]) == (40, len(a ^ b))
    assert top1["p"] == metrics.mcnemar_p(len(b - a), len(a - b))
    assert top1["provenance"] == "device, torch"
    assert "nll" not in (top1["others"] or "")
    assert (latency["change_percent"], latency.get("difference_points")) == (pytest.approx(50), None)
    assert (latency["latency_s_first"], latency["latency_s_second"]) == (0.010, 0.015)
    assert (broken["status_first"], broken["top1_percent_second"], broken.get("unpaired")) == ("failed", 7.5, None)
    text = found.report.render("text")
    assert "failed" in text and "50.00 %" in text and "-7.50 points" in text


def test_what_is_in_one_alone_and_what_the_runs_differ_in(runs):
    found = compare(*runs)
    assert [(r["run"], r["cell"]) for r in rows("compare_only", found)] == [("A", "gfnet_s imagenet_real clean")]
    fields = {r["field"]: (r["first"], r["second"], r["cells"]) for r in rows("compare_provenance", found)}
    assert fields["device"] == ("not recorded", "cuda", 1)
    assert not {"started", "seconds"} & set(fields)
    counts = {r["cells"]: r["count"] for r in rows("compare", found)}
    assert counts == {
        "in both runs": 4, "of these the same": 1, "of these different": 3, "in A alone": 1, "in B alone": 0,
    }  # fmt: skip


def test_same_values_of_other_images_are_no_pair(tmp_path):
    one = cell("gfnet_s", "imagenet", CLEAN)
    a, b = fill(tmp_path / "a", [record(one, 30)]), fill(tmp_path / "b", [record(one, 31, ids="other images")])
    (row,) = rows("compare_differences", compare(a, b))
    assert row["difference_points"] == pytest.approx(2.5)
    assert "p" not in row and "ids_sha256" in row["provenance"]
    assert row["unpaired"] == "different images, or another order"


def test_equal_values_of_other_images_or_labels_are_not_the_same(tmp_path):
    """Each is refused by name, in whatever way the two runs are no pair."""
    one = cell("gfnet_s", "imagenet", CLEAN)
    r, arrays = record(one, 30)
    unknown = Record(r.cell, r.values, provenance={k: v for k, v in r.provenance.items() if k != "ids_sha256"})
    # Every label and every prediction one further: as many are right, of other labels.
    relabelled = {**arrays, "labels": (arrays["labels"] + 1) % 10, "top5": (arrays["top5"] + 1) % 10}
    cases = {
        "different images, or another order": record(one, 30, ids="another order"),
        "the same images with other labels": (r, relabelled),
        "which images were seen is not recorded": (unknown, arrays),
    }
    a = fill(tmp_path / "a", [(r, arrays)])
    for number, (reason, item) in enumerate(cases.items()):
        found = compare(a, fill(tmp_path / str(number), [item]))
        (row,) = found.report.data.rows
        assert (row["unpaired"], row.get("p")) == (reason, None)
        assert found.same == (reason == "which images were seen is not recorded")


def test_other_predictions_with_the_same_accuracy_differ(tmp_path):
    one = cell("gfnet_s", "imagenet", CLEAN)
    (r, arrays), (_, others) = record(one, 30), record(one, 30, shift=3)
    assert not np.array_equal(arrays["top5"], others["top5"])
    found = compare(fill(tmp_path / "a", [(r, arrays)]), fill(tmp_path / "b", [(r, others)]))
    assert not found.same


def test_identical_runs_say_so(runs, tmp_path, capsys):
    first, second = runs
    assert compare(first, first).same
    assert main(["report", "--compare", str(first.folder), str(first.folder)]) == 0
    assert "The 5 cells in both runs are identical." in capsys.readouterr().out
    assert main(["report", "--compare", str(first.folder), str(second.folder)]) == 1
    assert "3 of the 4 cells in both runs differ." in capsys.readouterr().out
    with pytest.raises(MissingError, match="expected records in"):
        compare(first, Store(tmp_path / "nothing"))
    assert main(["report", "--compare", str(first.folder), str(tmp_path / "nothing")]) == 1


@pytest.mark.parametrize("format", ["text", "md", "csv", "json", "latex", "html"])
def test_every_format(runs, format, capsys):
    folders = [str(store.folder) for store in runs]
    assert main(["report", "--compare", *folders, "--format", format]) == 1
    printed = capsys.readouterr().out
    assert "gfnet_s" in printed or r"gfnet\_s" in printed
    if format == "json":
        assert {row["study"] for row in json.loads(printed)} == {"robustness", "complexity"}


def test_the_page_links_to_the_records_of_both(runs, tmp_path):
    folders = [str(store.folder) for store in runs]
    page = tmp_path / "comparison.html"
    assert main(["report", "--compare", *folders, "--html", str(page)]) == 1
    text = page.read_text(encoding="utf-8")
    sha256 = cell("gfnet_s", "imagenet", CLEAN).sha256[:12]
    for run in "ab":
        assert f"id=record-{run}-{sha256}" in spread(text)
        assert f"href=#record-{run}-{sha256}" in text
