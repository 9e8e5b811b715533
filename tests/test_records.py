from __future__ import annotations

import hashlib
import json
import logging
import math
import multiprocessing
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from whole_records import scored

from gfnet_bench import records
from gfnet_bench.errors import GfnetBenchError, MissingError
from gfnet_bench.files import write_atomic
from gfnet_bench.records import PROTOCOLS, Cell, Record
from gfnet_bench.store import Store

PROTOCOL = PROTOCOLS["robustness"]
PGD = {"name": "pgd", "norm": "linf", "epsilon": 1 / 255, "steps": 5}
WHOLE, ARRAYS = scored(dataset="imagenet_a", perturbation=PGD)
CELL = WHOLE.cell
SETTINGS = dict(CELL.settings)


def record(**changes) -> Record:
    fields = {"cell": CELL, "values": WHOLE.values, "provenance": WHOLE.provenance}
    return Record(**{**fields, **changes})


def test_survives_save_and_load(tmp_path):
    store = Store(tmp_path)
    saved = store.save(record(), ARRAYS)
    found = store.find(CELL)
    assert found == saved
    assert found.values["top1"] == 8 / 12 and found.values["images"] == 12
    assert found.cell.settings["perturbation"]["epsilon"] == 1 / 255
    assert found.artifacts == (CELL.path.with_suffix(".npz").name,)
    back = store.arrays(found)
    assert {name: a.tolist() for name, a in back.items()} == {name: a.tolist() for name, a in ARRAYS.items()}
    assert {name: a.dtype for name, a in back.items()} == {name: a.dtype for name, a in ARRAYS.items()}


def test_file_is_named_after_what_was_measured():
    assert str(CELL.path) == f"records/robustness/gfnet_s/imagenet_a.pgd.{CELL.sha256[:6]}.json"
    complexity = Cell("complexity", 1, "gfnet_s", {"measure": "latency", "tokens": 196})
    assert complexity.path.name == f"latency.196.{complexity.sha256[:6]}.json"


def test_foreign_names_make_safe_paths():
    cell = Cell(
        "robustness", PROTOCOL, "hf-hub:timm/../resnet50.a1_in1k", {"perturbation": {"name": "torchattacks:PGD"}}
    )
    assert cell.path.parts[:3] == ("records", "robustness", "hf-hub-timm-..-resnet50.a1_in1k")
    assert cell.path.name.startswith("torchattacks-PGD.")
    assert Cell("robustness", PROTOCOL, "..", {}).path.parts[2] == "-"


def test_equal_cells_are_the_same_measurement():
    shuffled = dict(reversed(SETTINGS.items()))
    assert Cell("robustness", PROTOCOL, "gfnet_s", shuffled) == CELL
    assert Cell("robustness", PROTOCOL, "gfnet_s", {"img_size": (224, 224)}) == Cell(
        "robustness", PROTOCOL, "gfnet_s", {"img_size": [224, 224]}
    )
    others = [
        Cell("robustness", PROTOCOL + 1, "gfnet_s", SETTINGS),
        Cell("robustness", PROTOCOL, "gfnet_b", SETTINGS),
        Cell("robustness", PROTOCOL, "gfnet_s", {**SETTINGS, "limit": 64}),
    ]
    assert len({CELL, *others}) == 4


def test_identity_is_the_hash_of_the_canonical_spelling():
    cell = Cell("s", 1, "m", {"b": None, "a": 0.5})
    text = '{"model":"m","protocol":1,"settings":{"a":0.5,"b":null},"study":"s"}'
    assert cell.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_a_cell_does_not_follow_the_callers_dict():
    settings = {"perturbation": {"name": "clean"}}
    cell = Cell("robustness", PROTOCOL, "gfnet_s", settings)
    before = cell.sha256
    settings["perturbation"]["name"] = "fgsm"
    assert cell.sha256 == before


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_are_finite(value):
    with pytest.raises(GfnetBenchError, match=r"gfnet_s: top1 is (nan|inf), expected a finite number"):
        record(values={"top1": value})
    with pytest.raises(ValueError, match="JSON"):
        Cell("robustness", PROTOCOL, "gfnet_s", {"epsilon": value})


def test_an_error_is_kept(tmp_path):
    Store(tmp_path).save(record(values={}, error="MissingError: no such folder"))
    found = Store(tmp_path).find(CELL)
    assert found.error == "MissingError: no such folder"
    assert found.artifacts == ()
    with pytest.raises(MissingError, match="expected the arrays"):
        Store(tmp_path).arrays(found)


def test_what_was_never_measured_is_not_found(tmp_path):
    assert Store(tmp_path).find(CELL) is None
    assert list(Store(tmp_path)) == []


def test_a_failure_after_a_success_leaves_no_arrays_behind(tmp_path):
    store = Store(tmp_path)
    store.save(record(), ARRAYS)
    store.save(record(values={}, error="RuntimeError: no memory"))
    assert [p.suffix for p in (tmp_path / CELL.path).parent.iterdir()] == [".json"]


@pytest.mark.parametrize("content", ["", '{"schema": 1', "[]", '{"schema": 1, "cell": {}}', '{"schema": 99}', "null"])
def test_an_unreadable_record_is_named_and_counts_as_not_measured(tmp_path, caplog, content):
    store = Store(tmp_path)
    store.save(record(), ARRAYS)
    (tmp_path / CELL.path).write_text(content)
    with caplog.at_level(logging.WARNING):
        assert store.find(CELL) is None
    loaded = store.load()
    assert loaded.records == []
    for text in (caplog.text, loaded.problems[0]):
        assert CELL.path.name in text
        assert "counts as not measured" in text
    store.save(record(), ARRAYS)
    assert store.find(CELL) is not None
    assert store.load().problems == []


def test_a_record_in_the_place_of_another_is_not_taken_for_it(tmp_path):
    store = Store(tmp_path)
    other = Cell("robustness", PROTOCOL, "gfnet_s", {**SETTINGS, "limit": 64})
    store.save(record(cell=other))
    (tmp_path / other.path).rename(tmp_path / CELL.path)
    assert store.find(CELL) is None


def test_records_of_another_protocol_drop_out(tmp_path):
    store = Store(tmp_path)
    store.save(record(), ARRAYS)
    store.save(record(cell=Cell("robustness", 0, "gfnet_s", SETTINGS)))
    store.save(record(cell=Cell("of_my_own", 7, "gfnet_s", SETTINGS)))
    loaded = store.load()
    assert [(r.cell.study, r.cell.protocol) for r in loaded.records] == [("of_my_own", 7), ("robustness", PROTOCOL)]
    assert loaded.problems == [f"1 robustness records of another protocol than {PROTOCOL} are left out; measure again."]


def test_a_write_cut_short_leaves_the_old_record_and_no_trace_after_the_next(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.save(record(), ARRAYS)
    folder = (tmp_path / CELL.path).parent

    def power_cut(descriptor):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", power_cut)
        with pytest.raises(KeyboardInterrupt):
            store.save(record(), {})
    dead, alive = folder / f".{CELL.path.name}.4711.tmp", folder / ".4711-0123.tmp"
    dead.write_text('{"sch')
    alive.write_text('{"sch')  # another process's, for all anybody knows
    yesterday = time.time() - 25 * 3600
    os.utime(dead, (yesterday, yesterday))
    assert store.find(CELL).artifacts
    assert len(list(store)) == 1

    store.save(record(), ARRAYS)
    left = {CELL.path.name, CELL.path.with_suffix(".npz").name, alive.name}
    assert {p.name for p in folder.iterdir()} == left


KILLED = """
import os, sys, numpy as np
from gfnet_bench.records import Cell, Record
from gfnet_bench.store import Store
replace, left = type(__import__("pathlib").Path()).replace, [3]
def dying(self, target):
    left[0] -= 1
    if left[0] < 0:
        os._exit(9)
    return replace(self, target)
__import__("pathlib").Path.replace = dying
for i in range(9):
    cell = Cell("of_my_own", 1, "m", {"dataset": str(i)})
    Store(sys.argv[1]).save(Record(cell, {"top1": 0.5}), {"a": np.ones(3)})
"""


def test_a_killed_run_leaves_whole_records_only(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == 9
    # Three files were put in place: arrays and record of the first cell, arrays of the second.
    loaded = Store(tmp_path).load()
    assert [r.cell.settings["dataset"] for r in loaded.records] == ["0"]
    assert loaded.problems == []
    assert Store(tmp_path).arrays(loaded.records[0])["a"].tolist() == [1, 1, 1]


def write_many(folder, number, rounds):
    """A process's share: cells of its own, and one that all write, each with numbers of its own."""
    store = Store(folder)
    for i in range(rounds):
        own = Cell("of_my_own", 1, "m", {"dataset": f"{number}", "seed": i})
        store.save(Record(own, {"top1": 0.5}), {"a": np.full(50, number)})
        whole, arrays = scored(images=12 + number)
        store.save(whole, arrays)
        assert store.find(whole.cell) is not None
        write_atomic(folder / "tables" / "table.md", f"{number}\n".encode() * 1000)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that start at once")
def test_many_processes_may_write_to_one_folder(tmp_path):
    (tmp_path / "tables").mkdir()
    crowd = [multiprocessing.get_context("fork").Process(target=write_many, args=(tmp_path, i, 8)) for i in range(16)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join()
    assert [process.exitcode for process in crowd] == [0] * 16
    loaded = Store(tmp_path).load()
    assert loaded.problems == []
    assert len(loaded.records) == 16 * 8 + 1  # arrays and numbers of the shared one are of the same process
    assert len((tmp_path / "tables" / "table.md").read_text().split()) == 1000
    assert list(tmp_path.rglob("*.tmp")) == []


def test_a_folder_is_left_to_itself_after_a_failed_write(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    store = Store(tmp_path)
    store.save(record(), ARRAYS)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            store.save(record(), ARRAYS)
    assert list(tmp_path.rglob("*.tmp")) == []
    assert list(store) == [store.find(CELL)]


def test_names_of_any_length_make_files(tmp_path):
    long = Cell("of_my_own", 1, "m" * 1000, {"dataset": "d" * 1000, "perturbation": {"name": "p" * 1000}})
    assert Store(tmp_path).save(Record(long, {"x": 1})) == Store(tmp_path).find(long)


def test_saving_twice_gives_the_same_bytes(tmp_path, monkeypatch):
    Store(tmp_path / "a").save(record(), ARRAYS)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(2_000_000_000))
    Store(tmp_path / "b").save(record(), dict(reversed(ARRAYS.items())))
    for suffix in (".json", ".npz"):
        path = CELL.path.with_suffix(suffix)
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_the_file_is_laid_out_as_documented(tmp_path):
    Store(tmp_path).save(record(), ARRAYS)
    content = json.loads((tmp_path / CELL.path).read_text())
    assert list(content) == ["schema", "cell", "values", "error", "artifacts", "provenance"]
    assert list(content["cell"]) == ["study", "protocol", "model", "settings"]
    assert content["schema"] == records.SCHEMA


@pytest.mark.parametrize(
    ("module", "absent"),
    [("gfnet_bench.store", ("torch", "numpy", "pandas")), ("gfnet_bench.reports", ("torch", "timm", "pandas"))],
)
def test_reading_results_needs_little(module, absent):
    code = f"import sys, {module}; print([m for m in {absent} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_cannot_be_written_is_named_as_it_was_asked_for(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("gfnet_bench.files._write", full)
    with pytest.raises(OSError) as caught:
        write_atomic(tmp_path / "report.html", b"x")
    assert caught.value.filename == str(tmp_path / "report.html") and caught.value.errno == 28
    assert not list(tmp_path.iterdir())
