"""Records that are not what their study writes, by every kind of damage: named, not measured, mended by a new run.

What a record has to be is told by `whole_records`; damage is made from those, byte by byte and value by value.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import os
import pickle
import random
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from whole_records import SEEN, Whole, counted, every_kind, mapped, operated, scored

from gfnet_bench.cli import main
from gfnet_bench.perturbations import CLEAN
from gfnet_bench.records import PROTOCOLS, Cell, Record
from gfnet_bench.reports import REPORTS
from gfnet_bench.runner import run, run_together
from gfnet_bench.store import Store

KINDS = every_kind()


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch):
    """Thousands of waits for the disk prove nothing here."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    logging.getLogger("gfnet_bench.store").setLevel(logging.ERROR)
    yield
    logging.getLogger("gfnet_bench.store").setLevel(logging.NOTSET)


class Place:
    """A results folder with one record, whose files may be overwritten."""

    def __init__(self, folder: Path, whole: Whole) -> None:
        self.store, (self.record, self.arrays) = Store(folder), whole
        self.saved = self.store.save(self.record, self.arrays)
        self.json = folder / self.saved.cell.path
        self.npz = self.json.with_suffix(".npz")
        self.content = json.loads(self.json.read_text())

    def mend(self) -> None:
        """What measuring again does."""
        self.store.save(self.record, self.arrays)
        assert self.store.find(self.saved.cell) == self.saved
        assert self.store.load() == ([self.saved], [])

    def is_refused(self, name: str | None = None) -> str:
        """Not found, not loaded, and named; the sentence."""
        assert self.store.find(self.saved.cell) is None
        loaded = self.store.load()
        assert loaded.records == []
        (sentence,) = loaded.problems
        assert (name or self.json.name) in sentence and sentence.endswith("it counts as not measured.")
        assert "\n" not in sentence and sentence.isprintable()
        return sentence


@pytest.fixture(params=KINDS)
def place(request, tmp_path) -> Place:
    return Place(tmp_path, KINDS[request.param])


@pytest.fixture
def clean(tmp_path) -> Place:
    return Place(tmp_path, scored())


def test_what_a_study_writes_is_taken(place):
    assert place.store.find(place.saved.cell) == place.saved
    if place.arrays:
        back = place.store.arrays(place.saved)
        assert all(np.array_equal(back[name], array) for name, array in place.arrays.items())


def test_the_records_that_were_measured_are_taken():
    loaded = Store(Path(__file__).parent.parent / "results").load()
    assert loaded.problems == []
    assert len(loaded.records) > 700


# Values of a wrong kind

WRONG: tuple[Any, ...] = (None, True, "0.5", 1.7, -1, [], {"a": 1}, 2**70, float("nan"), "\ud800")
GONE = object()

MAY_LACK = {"excluded", "expected", "predicted_bytes", "reserved_bytes", "weights_bytes", "formula_operators"}


def leaves(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all values in a JSON document, and of the first two of every list."""
    items = content.items() if isinstance(content, dict) else enumerate(content[:2])
    for key, value in items:
        yield (*at, key)
        if isinstance(value, (dict, list)):
            yield from leaves(value, (*at, key))


def changed(content: Any, at: tuple[Any, ...], value: Any) -> Any:
    content = copy.deepcopy(content)
    inside = content
    for key in at[:-1]:
        inside = inside[key]
    if value is GONE:
        del inside[at[-1]]
    else:
        inside[at[-1]] = value
    return content


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_of_a_wrong_kind_is_refused_or_does_no_harm(tmp_path, kind):
    """Every value of every record is replaced by every wrong one in turn."""
    place = Place(tmp_path, KINDS[kind])
    draw = REPORTS[place.saved.cell.study]
    for at in leaves(place.content):
        for value in (GONE, *WRONG):
            content = changed(place.content, at, value)
            if content == place.content:
                continue
            place.json.write_text(json.dumps(content))
            loaded = place.store.load()
            another_type = at[0] == "values" and len(at) == 2 and type(value) is not type(place.saved.values[at[1]])
            if at[0] in ("schema", "cell", "artifacts") or (another_type and at[1] not in MAY_LACK):
                assert loaded.records == [], (at, value)
            if loaded.records:
                draw(loaded.records, store=place.store).render("json", details=True)
            else:
                place.is_refused()


WRONG_SCORES = {
    "share above one": {"top1": 1.7},
    "share below nothing": {"top5": -0.1},
    "a share as text": {"top1": "0.5"},
    "a share as a flag": {"top1": True},
    "another share than the arrays'": {"top1": 0.75},
    "another loss than the arrays'": {"nll": 0.1},
    "fewer images than the arrays'": {"images": 11},
    "a fraction of an image": {"images": 12.0},
    "no images": {"images": 0},
    "less than no images": {"images": -12},
    "more images than were asked for": {"images": 10**9},
    "less than none left out": {"excluded": -1},
}


@pytest.mark.parametrize("values", WRONG_SCORES.values(), ids=WRONG_SCORES)
def test_scores_that_cannot_be(clean, values):
    clean.content["values"] |= values
    clean.json.write_text(json.dumps(clean.content))
    clean.is_refused()
    clean.mend()


def test_more_images_than_the_limit(tmp_path):
    place = Place(tmp_path, scored(limit=12))
    assert place.store.find(place.saved.cell) is not None
    less = Place(tmp_path, scored(limit=11))
    assert "images is 12, expected a whole number from 1 to 11" in " ".join(less.store.load().problems)


@pytest.mark.parametrize("settings", [{"kind": "low_pass", "cutoff": None}, {"kind": "sideways"}, {"layer": -1}])
def test_operations_that_cannot_be(tmp_path, settings):
    Place(tmp_path, operated(**settings)).is_refused()


@pytest.mark.parametrize("part", [(1, 1), (0, 0), (3, 2)])
def test_parts_that_cannot_be(tmp_path, part):
    record, arrays = mapped()
    settings = {**record.cell.settings, "part": list(part)}
    cell = Cell("filters", record.cell.protocol, record.cell.model, settings)
    Place(tmp_path, (Record(cell, record.values, provenance=SEEN), arrays)).is_refused()


def test_frequencies_of_another_part(tmp_path):
    (first, _), (_, arrays) = mapped(0, 2), mapped(1, 2)
    wrong = {"frequencies": arrays["frequencies"], "wrong": mapped(0, 2)[1]["wrong"]}
    assert "frequencies" in Place(tmp_path, (first, wrong)).is_refused()


def test_an_error_has_no_values_beside_it(clean):
    clean.content["error"] = "MissingError: gone"
    clean.json.write_text(json.dumps(clean.content))
    clean.is_refused()


# Text that is no JSON

NESTED = "[" * 100_000 + "]" * 100_000

TEXTS = {
    "empty": b"",
    "null": b"null",
    "a number": b"7",
    "a list": b"[]",
    "cut short": b'{"schema": 1',
    "not UTF-8": b'{"schema": 1, "cell": "\xff\xfe"}',
    "UTF-16": json.dumps({"schema": 1}).encode("utf-16"),
    "a mark at its start": b"\xef\xbb\xbf{}",
    "zeros": bytes(4096),
    "nested deeply": NESTED.encode(),
    "nested within a record": json.dumps({"schema": 1, "cell": 0}).replace("0", "[" * 30 + "]" * 30).encode(),
    "a number without end": b'{"schema": ' + b"9" * 5000 + b"}",
    "a web page": b"<!doctype html><html>",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_text_that_is_no_record(clean, text):
    clean.json.write_bytes(text)
    clean.is_refused()
    clean.mend()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"top1": ', '"top1": NaN, "was": '),
        ('"nll": ', '"nll": -Infinity, "was": '),
        ('"images": ', '"images": 1e999, "was": '),
        ('"top1": ', '"top1": 0.1, "top1": '),
        ('"schema": 1', '"schema": 2'),
        ('"schema": 1', '"schema": true'),
        (f'"protocol": {PROTOCOLS["robustness"]}', '"protocol": "2"'),
        ('"model": "gfnet_s"', '"model": "deit_small"'),
        ('"error": null', '"error": 7'),
        ('"artifacts": [', '"artifacts": ["other.npz", '),
    ],
)
def test_a_record_with_one_odd_value(clean, old, new):
    text = clean.json.read_text()
    assert old in text
    clean.json.write_text(text.replace(old, new))
    clean.is_refused()
    clean.mend()


def test_a_file_that_never_ends(clean):
    clean.json.write_bytes(b" " * (2**24 + 1))
    assert "more than" in clean.is_refused()


# What is no file


def test_a_folder_in_its_place(clean):
    for file in (clean.json, clean.npz):
        file.unlink()
        file.mkdir()
        (file / "notes.txt").write_text("mine")
        clean.is_refused(clean.json.stem)
    clean.mend()
    assert len(list(clean.json.parent.glob("*/notes.txt"))) == 2  # nobody's files are lost


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_in_its_place_is_not_waited_for(clean):
    for file in (clean.json, clean.npz):
        file.unlink()
        os.mkfifo(file)
        clean.is_refused(clean.json.stem)
        clean.mend()


def test_links_that_lead_nowhere_or_in_circles(clean):
    for target in ("nowhere", clean.json.name):
        for file in (clean.json, clean.npz):
            file.unlink()
            file.symlink_to(target if file is clean.json else target.replace(".json", ".npz"))
            clean.is_refused(clean.json.stem)
            clean.mend()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_file_or_folder_that_may_not_be_read(clean):
    for file in (clean.json, clean.npz):
        file.chmod(0)
        clean.is_refused(clean.json.stem)
        clean.mend()
    clean.json.parent.chmod(0)
    try:
        assert "expected a folder of records" in " ".join(clean.store.load().problems)
    finally:
        clean.json.parent.chmod(0o755)


def test_a_folder_that_cannot_be_listed_is_named(clean, monkeypatch):
    def forbidden(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", forbidden)
    (sentence,) = clean.store.load().problems
    assert "expected a folder of records" in sentence and "Permission denied" in sentence


def test_names_that_no_terminal_shows(clean):
    odd = clean.json.with_name("a\x1b[31m\udcff.json")
    shutil.copy(clean.json, odd)
    (sentence,) = clean.store.load().problems
    assert sentence.isprintable() and "x1b" in sentence


# Copies


def test_a_copy_never_wins(clean):
    copies = [clean.json.with_name(name) for name in ("zzz.json", "copy of it.json", "clean.zzzzzz.json")]
    other_model = clean.json.parent.parent / "gfnet_b" / clean.json.name
    other_study = clean.json.parent.parent.parent / "filters" / "gfnet_s" / clean.json.name
    for one in (*copies, other_model, other_study):
        one.parent.mkdir(parents=True, exist_ok=True)
        content = {**clean.content, "values": {**clean.content["values"], "top1": 0.111}}
        one.write_text(json.dumps(content))
    loaded = clean.store.load()
    assert loaded.records == [clean.saved]
    assert len(loaded.problems) == 5
    for one in (*copies, other_model, other_study):
        (sentence,) = [p for p in loaded.problems if str(one) in p]
        assert f"found a copy of the one that belongs at {clean.saved.cell.path}" in sentence
    table = REPORTS["robustness"](clean.store)
    assert "66.7" in table.render("text") and "11.1" not in table.render("text")
    assert any(str(copies[0]) in note for note in table.tables[0].notes)


# Arrays


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def bomb(name: str, shape: str, size: int) -> bytes:
    """A small file that says it holds a large array, and unpacks to one."""
    file = io.BytesIO()
    head = f"{{'descr': '|i1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(f"{name}.npy", "w") as member:
        member.write(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head)
        for _ in range(size >> 20):
            member.write(bytes(1 << 20))
    return file.getvalue()


A = scored()[1]
SHAPES = {
    "nothing": b"",
    "no zip file": b"PK\x03\x04 and so on",
    "one array missing": npz(**{k: v for k, v in A.items() if k != "nll"}),
    "one array more": npz(**A, more=A["nll"]),
    "another type": npz(**{**A, "labels": A["labels"].astype(np.int64)}),
    "another sign": npz(**{**A, "labels": A["labels"].astype(np.uint16)}),
    "numbers as text": npz(**{**A, "labels": A["labels"].astype(str)}),
    "one image less": npz(**{k: v[1:] for k, v in A.items()}),
    "lengths that differ": npz(**{**A, "labels": A["labels"][1:]}),
    "another number of axes": npz(**{**A, "top5": A["top5"][:, 0]}),
    "nothing in it": npz(**{k: v[:0] for k, v in A.items()}),
    "gaps": npz(**{**A, "nll": np.where(np.arange(12) == 3, np.nan, A["nll"]).astype(np.float32)}),
    "no end": npz(**{**A, "nll": np.full(12, np.inf, np.float32)}),
    "a class below the first": npz(**{**A, "top5": A["top5"] - 1}),
    "a class above the last": npz(**{**A, "top5": A["top5"] + 990}),
    "confidence above one": npz(**{**A, "confidence": A["confidence"] * 2}),
    "other predictions": npz(**{**A, "top5": A["top5"][:, ::-1]}),
    "other labels": npz(**{**A, "labels": A["labels"][::-1]}),
    "objects that run code": npz(**{**A, "labels": np.array([print] * 12, dtype=object)}),
    "a pickle": pickle.dumps(A),
    "a bomb": bomb("top5", "(12, 5)", 2**21),
    "a larger bomb": bomb("top5", f"({2**21},)", 2**21),
    "an array that cannot be": bomb("top5", "(10000000000000, 10000000000)", 2**20),
}


@pytest.mark.parametrize("content", SHAPES.values(), ids=SHAPES)
def test_arrays_that_are_not_the_records(clean, content):
    clean.npz.write_bytes(content)
    clean.is_refused()
    clean.mend()


def test_an_honest_file_of_more_than_there_is_memory_is_not_unpacked(clean, monkeypatch):
    monkeypatch.setattr("gfnet_bench.schemas.arrays.MOST_BYTES", 100)
    clean.npz.write_bytes(clean.npz.read_bytes())  # else it need not be read again
    assert "at most 100 bytes" in clean.is_refused()


def test_arrays_that_are_gone(clean):
    clean.npz.unlink()
    clean.is_refused()
    clean.mend()


def test_arrays_that_are_not_named(clean):
    clean.json.write_text(json.dumps({**clean.content, "artifacts": []}))
    clean.is_refused()


def test_columns_before_rows_and_another_byte_order_are_the_same_arrays(clean):
    foreign = {k: np.asfortranarray(v).astype(v.dtype.newbyteorder(">")) for k, v in clean.arrays.items()}
    clean.npz.write_bytes(npz(**foreign))
    back = clean.store.arrays(clean.store.find(clean.saved.cell))
    assert all(np.array_equal(back[name], array) and back[name].dtype == array.dtype for name, array in A.items())


@pytest.mark.parametrize("kind", [name for name, (_, arrays) in KINDS.items() if arrays])
def test_a_flipped_byte_is_found_or_changes_nothing(tmp_path, kind):
    place = Place(tmp_path, KINDS[kind])
    whole, draw = place.npz.read_bytes(), random.Random(0)
    damaged = [whole[:n] for n in range(0, len(whole), 97)]
    for i in draw.sample(range(len(whole)), 300):
        other = bytearray(whole)
        other[i] ^= 1 << draw.randrange(8)
        damaged.append(bytes(other))
    refused = 0
    for content in damaged:
        place.npz.write_bytes(content)
        found = place.store.find(place.saved.cell)
        if found is None:
            refused += 1
        else:  # a date, or another byte that nobody reads
            back = place.store.arrays(found)
            assert all(np.array_equal(back[name], array) for name, array in place.arrays.items())
    assert refused > len(damaged) / 2
    place.mend()


def test_a_flipped_byte_of_the_text_is_found_or_draws(tmp_path):
    place = Place(tmp_path, scored())
    whole, draw = place.json.read_bytes(), random.Random(1)
    for i in draw.sample(range(len(whole)), 500):
        other = bytearray(whole)
        other[i] ^= 1 << draw.randrange(8)
        place.json.write_bytes(bytes(other))
        found = place.store.find(place.saved.cell)
        if found is not None:
            assert found.values["top1"] == pytest.approx(8 / 12, abs=1e-5) and found.values["images"] == 12
    place.mend()


# Commands


@pytest.fixture
def damaged(tmp_path) -> Path:
    """Every kind of record, and one of a kind whose arrays are damaged, and a copy."""
    store = Store(tmp_path / "results")
    for record, arrays in KINDS.values():
        store.save(record, arrays)
    for whole in (scored(seed=1), operated(seed=1), mapped(0, 2)):
        saved = store.save(*whole)
        (store.folder / saved.cell.path).with_suffix(".npz").write_bytes(b"PK\x03\x04")
    broken = store.save(*counted("semantic_fpn"))
    (store.folder / broken.cell.path).write_text("{")
    return store.folder


@pytest.mark.parametrize("format", ["text", "md", "csv", "json", "latex", "html"])
@pytest.mark.parametrize("report", ["robustness", "complexity", "filters"])
def test_a_report_names_what_it_leaves_out(damaged, report, format, capsys, caplog):
    logging.getLogger("gfnet_bench.store").setLevel(logging.WARNING)
    assert main(["report", report, "--output-dir", str(damaged), "--format", format]) == 0
    capsys.readouterr()
    assert caplog.text.count("it counts as not measured") == 4


def test_the_page_and_the_comparison_too(damaged, tmp_path, capsys):
    assert main(["report", "--html", str(tmp_path / "report.html"), "--output-dir", str(damaged)]) == 0
    assert "it counts as not measured" in (tmp_path / "report.html").read_text()
    assert main(["report", "--compare", str(damaged), str(damaged)]) == 0
    assert "it counts as not measured" in capsys.readouterr().out


def robustness_run(store: Store) -> list[Record]:
    from gfnet_bench.benches.robustness import Bench
    from gfnet_bench.studies import robustness as study

    bench = Bench(progress=False)
    cells = study.cells(["resnet_mini"], datasets=[("mini", [CLEAN])], corruptions=[], options=study.Options(limit=10))
    return run_together(cells, bench.measure, study.together, store, progress=False)


def complexity_run(store: Store) -> list[Record]:
    from gfnet_bench.benches.complexity import Bench
    from gfnet_bench.studies import complexity as study

    options = study.Options({"kind": "cpu", "name": "Xeon", "threads": 1}, batch=1)
    cells = study.count_cells(["global_filter"], [16], 96, []) + study.timed_cells(
        ["global_filter"], [16], 96, [], options
    )
    return run(cells[-1:] + cells[:1], Bench(budget_s=0.001).measure, store, progress=False)


def filters_run(store: Store) -> list[Record]:
    from gfnet_bench.benches import robustness
    from gfnet_bench.benches.filters import Bench
    from gfnet_bench.studies import filters as study
    from gfnet_bench.studies.robustness import Options

    options = Options(limit=10)
    cells = study.spectra_cells(["gfnet_mini"])
    cells += study.heatmap_cells(["gfnet_mini"], dataset="mini", norm=4.0, frequencies=3, options=options)
    return run_together(cells, Bench(robustness.Bench(progress=False)).measure, study.together, store, progress=False)


@pytest.mark.parametrize("measure", [robustness_run, complexity_run, filters_run])
def test_running_again_mends_what_is_damaged(measure, tmp_path):
    store = Store(tmp_path)
    first = measure(store)
    assert [r.error for r in first] == [None] * len(first)
    assert sorted(store, key=str) == sorted(first, key=str)
    files = [file for file in (tmp_path / "records").rglob("*.*") if file.is_file()]
    for damaged in (files, [file for file in files if file.suffix == ".npz"]):
        for file in damaged:
            file.write_bytes(file.read_bytes()[:-30])
        assert len(store.load().problems) == len({file.stem for file in damaged})
        assert {r.cell for r in measure(store)} == {r.cell for r in first}
        assert store.load().problems == []


def test_the_command_mends_what_is_damaged(tmp_path, capsys):
    words = ["robustness", "--model", "resnet_mini", "--dataset", "mini", "--attack", "clean", "--limit", "10"]
    words += ["--output-dir", str(tmp_path), "--no-progress", "--format", "json"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    (arrays,) = (tmp_path / "records").rglob("*.npz")
    arrays.write_bytes(arrays.read_bytes()[:-30])
    assert main(words) == 0
    assert capsys.readouterr().out == printed
    assert Store(tmp_path).load().problems == []
