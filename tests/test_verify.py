"""A record measured again on some of its images: borne out, or contradicted, with the odds."""

from __future__ import annotations

import json
from collections import Counter
from math import comb
from pathlib import Path

import numpy as np
import pytest

from gfnet_bench import metrics
from gfnet_bench.benches.verify import positions, sampled
from gfnet_bench.cli import main
from gfnet_bench.metrics.agreement import Agreement, agreement
from gfnet_bench.records import Record
from gfnet_bench.store import Store

RESULTS = Store(Path(__file__).parents[1] / "results")
RECORDS = {r.cell.path.stem: r for r in RESULTS.load().records if r.cell.model == "gfnet_mini" and r.error is None}
CLEAN = RECORDS["mini.clean.99842e"]
FOG = next(r for r in RECORDS.values() if (r.cell.settings.get("perturbation") or {}).get("name") == "fog"
           and r.cell.study == "robustness")  # fmt: skip


def verified(capsys, *words: str) -> tuple[int, list[dict]]:
    status = main(["verify", *words, "--format", "json", "--no-progress", "-j", "0", "--device", "cpu"])
    return status, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("record", [CLEAN, FOG], ids=["clean", "corrupted"])
def test_a_record_of_ours_is_borne_out(record, capsys):
    """By whichever machine runs this: a different processor may round otherwise, not answer otherwise."""
    where = ("--output-dir", str(RESULTS.folder), "--sample", "60")
    for word in (record.cell.sha256[:8], str(RESULTS.folder / record.cell.path)):
        status, (row,) = verified(capsys, word, *where)
        assert status == 0 and row["verdict"] in ("identical", "consistent")
        assert row["images"] == 60 and row["same_answers"] >= 57


def test_a_tampered_record_is_contradicted(tmp_path, capsys):
    """Every wrong answer, one of eight, is made a right one, in the record and in its arrays."""
    arrays = dict(RESULTS.arrays(CLEAN))
    top5, labels = arrays["top5"].copy(), arrays["labels"]
    wrong = np.flatnonzero(top5[:, 0] != labels)
    top5[wrong, 0] = labels[wrong]
    store = Store(tmp_path)
    arrays["top5"] = top5
    changed = {**CLEAN.values, **metrics.values(arrays)}  # its sums agree: only a measurement can tell
    store.save(Record(CLEAN.cell, changed, provenance=CLEAN.provenance), arrays)
    status, (row,) = verified(capsys, "gfnet_mini", "--output-dir", str(tmp_path))
    assert (status, row["verdict"], row["recorded_percent"]) == (1, "not consistent", 100.0)
    wrong_now = round(row["images"] * (1 - row["now_percent"] / 100))
    assert row["p"] < 1e-6 and row["images"] - row["same_answers"] == wrong_now


def test_other_images_are_not_compared(tmp_path, capsys):
    store = Store(tmp_path)
    store.save(Record(CLEAN.cell, CLEAN.values, provenance={**CLEAN.provenance, "ids_sha256": "ab" * 32}),
               RESULTS.arrays(CLEAN))  # fmt: skip
    status, (row,) = verified(capsys, "gfnet_mini", "--output-dir", str(tmp_path))
    assert status == 1 and "expected the images of the record" in row["verdict"]


def test_the_sample_is_spread_over_the_classes_and_stands_where_the_record_has_it():
    rows = positions(CLEAN, (), 200)
    labels = RESULTS.arrays(CLEAN)["labels"][rows]
    assert len(set(rows.tolist())) == 200 and set(Counter(labels.tolist()).values()) == {20}
    assert sampled(CLEAN, 200).settings == {**CLEAN.cell.settings, "limit": 200}
    assert sampled(CLEAN, 1000) == CLEAN.cell and positions(CLEAN, (), 1000).tolist() == list(range(1000))


def test_odds_are_those_of_a_coin():
    """Nine answers went one way and one the other: 2 (P(0) + P(1) / 2) of ten tosses."""
    found = Agreement(200, 190, 150, 142, 9, 1)
    assert found.p == pytest.approx(2 * (comb(10, 0) + comb(10, 1) / 2) / 2**10)
    assert found.is_consistent and Agreement(200, 188, 150, 140, 11, 1).p < 0.01
    assert Agreement(200, 188, 150, 140, 11, 1).verdict == "not consistent"
    assert Agreement(200, 189, 150, 150, 5, 5).verdict == "not consistent"  # as many lost as won, but other answers
    assert Agreement(200, 200, 150, 150, 0, 0).verdict == "identical"


def test_images_without_an_answer_count_for_nothing():
    top5 = np.array([[1, 0], [2, 0], [3, 0]])
    then = {"top5": top5[[0, 0, 1, 2]], "labels": np.array([9, 1, 2, 0]), "real": np.array([9, 1, -1, 0])}
    now = {name: array[1:] for name, array in then.items()}
    assert agreement(then, now, np.array([1, 2, 3])) == Agreement(2, 2, 1, 1, 0, 0)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("nobody", "expected a record in"),
        (next(r.cell.sha256 for r in RECORDS.values() if r.cell.study == "filters"), "an accuracy that was measured"),
    ],
)
def test_what_cannot_be_verified_is_told(word, message, capsys):
    assert main(["verify", word, "--output-dir", str(RESULTS.folder)]) == 2
    assert message in capsys.readouterr().err
