"""Records in one file: the same records, the same bytes, and whatever happens to the file costs what it hit alone."""

import json
import multiprocessing
import shutil
from pathlib import PurePosixPath

import numpy as np
import pytest
from whole_records import every_kind

from gfnet_bench.cli import main
from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.leases import Leases
from gfnet_bench.packed_records import FILE, Packed, PackedRecords, lines
from gfnet_bench.packing import pack, unpack
from gfnet_bench.records import Cell, Record
from gfnet_bench.store import Store

WHOLE = list({record.cell: (record, arrays) for record, arrays in every_kind().values()}.values())


def filled(folder):
    store = Store(folder)
    for record, arrays in WHOLE:
        store.save(record, arrays)
    return store


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def store(tmp_path):
    return filled(tmp_path)


def test_packed_records_are_the_same_records_in_the_same_order(store):
    before, arrays = store.load(), {r.cell: store.arrays(r) for r in store if r.artifacts}
    assert pack(store).problems == []
    assert list(files(store.folder)) == [store.folder.joinpath(FILE).relative_to(store.folder)]
    assert Store(store.folder).load() == before == store.load()
    assert [store.find(record.cell) for record in before.records] == before.records == list(store.stream())
    for cell, of in arrays.items():
        back = store.arrays(store.find(cell))
        assert of.keys() == back.keys() and all(np.array_equal(of[name], back[name]) for name in of)


def test_unpacking_gives_the_same_bytes_back(store):
    before = files(store.folder)
    pack(store)
    assert unpack(store) == (len(WHOLE), [])
    assert files(store.folder) == before


def test_the_same_records_make_the_same_bytes_however_they_came(tmp_path):
    at_once, by_and_by = filled(tmp_path / "a"), Store(tmp_path / "b")
    pack(at_once)
    for record, arrays in reversed(WHOLE):
        by_and_by.save(record, arrays)
        pack(by_and_by)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_a_loose_record_counts_before_a_packed_one(store):
    pack(store)
    record, _ = WHOLE[0]
    store.save(Record(record.cell, error="RuntimeError: once more"))
    assert store.find(record.cell).error == "RuntimeError: once more"
    assert [r.error for r in store.load().records if r.cell == record.cell] == ["RuntimeError: once more"]
    pack(store)
    assert store.find(record.cell).error == "RuntimeError: once more" and len(list(store)) == len(WHOLE)


def test_a_packed_record_is_given_a_label_and_keeps_its_arrays(store):
    record, arrays = WHOLE[0]
    pack(store)
    store.relabel(store.find(record.cell), "mine")
    found = Store(store.folder).find(record.cell)
    assert found.provenance["label"] == "mine" and store.arrays(found).keys() == arrays.keys()


def test_what_is_no_record_stays_loose_and_is_told(store, capsys):
    path = store.folder / WHOLE[0][0].cell.path
    path.write_text("{")
    assert main(["pack", str(store.folder)]) == 1
    err = capsys.readouterr().err
    assert path.name in err and "stays as it is" in err and path.read_text() == "{"
    assert len(Store(store.folder).load().records) == len(WHOLE) - 1


@pytest.mark.parametrize("line", range(1, len(WHOLE) + 1))
def test_a_damaged_line_costs_its_record_alone(store, line):
    pack(store)
    path = store.folder / FILE
    text = path.read_bytes().splitlines(keepends=True)
    lost = json.loads(text[line])["path"]
    path.write_bytes(b"".join([*text[:line], text[line][5:], *text[line + 1 :]]))
    loaded = store.load()
    assert len(loaded.records) == len(WHOLE) - 1 and f"line {line + 1}" in loaded.problems[0]
    found = [store.find(record.cell) is not None for record, _ in WHOLE]
    assert found == [record.cell.path.as_posix() != lost for record, _ in WHOLE]


def test_a_file_cut_anywhere_is_told_and_what_is_left_is_read(store):
    pack(store)
    path = store.folder / FILE
    whole = path.read_bytes()
    for length in range(0, len(whole), len(whole) // 12):
        path.write_bytes(whole[:length])
        loaded = Store(store.folder).load()
        assert len(loaded.problems) in (1, 2) and len(loaded.records) <= whole[:length].count(b"\n")
        with pytest.raises(GfnetBenchError, match="Nothing was packed"):
            store.save(*WHOLE[0])
            pack(store)
        assert path.read_bytes() == whole[:length]
        shutil.rmtree(store.folder / "records")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "damaged"),
        (b"PK\x03\x04", "damaged"),
        (b"[]\n", "another file"),
        (b'{"gfnet_bench_records":2}\n{"records":0}\n', "layout 2"),
    ],
)
def test_a_foreign_or_newer_file_is_told_and_left_alone(tmp_path, capsys, content, word):
    (tmp_path / FILE).write_bytes(content)
    filled(tmp_path)
    loaded = Store(tmp_path).load()
    assert len(loaded.records) == len(WHOLE) and len(loaded.problems) == 1 and word in loaded.problems[0]
    for words in ([], ["--unpack"]):
        assert main(["pack", str(tmp_path), *words]) == 1
        assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / FILE).read_bytes() == content and len(list(Store(tmp_path))) == len(WHOLE)


@pytest.mark.parametrize("path", ["../../outside.json", "/outside.json", "records/robustness/gfnet_s/other.json"])
def test_a_line_writes_nowhere_but_where_its_cell_belongs(tmp_path, path):
    record, _ = WHOLE[0]
    here = tmp_path / "deep" / "results"
    here.mkdir(parents=True)
    (here / FILE).write_bytes(b"".join(lines([Packed(PurePosixPath(path), record.to_json(), None)])))
    assert unpack(Store(here)).records == 0
    assert [p.name.split(".aside")[0] for p in tmp_path.rglob("*") if p.is_file()] == [FILE]


def test_what_is_whole_in_a_damaged_file_can_be_taken_out(store):
    pack(store)
    path = store.folder / FILE
    path.write_bytes(path.read_bytes().rpartition(b"{")[0])
    moved = unpack(store)
    assert moved.records == len(WHOLE) and "cut short" in moved.problems[0]
    assert [p.name.split(".aside")[0] for p in store.folder.glob("records.*")] == [FILE]
    assert pack(store) == (len(WHOLE), [])


def test_two_do_not_pack_at_once(store):
    before = files(store.folder)
    with Leases(store.folder) as leases:
        assert leases.take("pack")
        with pytest.raises(GfnetBenchError, match="another command that packs"):
            pack(store)
    assert files(store.folder) == before


def _save_some(folder, number):
    store = Store(folder)
    for i in range(20):
        store.save(Record(Cell("of_my_own", 1, "m", {"dataset": str(number), "seed": i}), {"top1": 0.5}))
        if i % 5 == number:
            try:
                pack(store)
            except GfnetBenchError as error:
                assert "another command" in str(error)
        assert store.find(Cell("of_my_own", 1, "m", {"dataset": str(number), "seed": i}))


def test_nothing_is_lost_where_several_measure_and_pack(tmp_path):
    crowd = [multiprocessing.get_context("spawn").Process(target=_save_some, args=(tmp_path, i)) for i in range(3)]
    for process in crowd:
        process.start()
    while any(process.is_alive() for process in crowd):
        assert Store(tmp_path).load().problems == []
    assert [process.exitcode for process in crowd] == [0, 0, 0]
    pack(Store(tmp_path))
    loaded = Store(tmp_path).load()
    assert loaded.problems == [] and len(loaded.records) == 60


def test_every_record_is_found_by_halving(tmp_path):
    names = sorted((PurePosixPath("records", "s", f"m{i % 7}", f"{i}.json") for i in range(200)), key=lambda p: p.parts)
    (tmp_path / FILE).write_bytes(b"".join(lines(Packed(n, {"n": n.name}, b"x" * (len(n.name) ** 3)) for n in names)))
    with PackedRecords(tmp_path / FILE) as file:
        assert [file.find(name).content["n"] for name in names] == [name.name for name in names]
        assert file.find(PurePosixPath("records/s/m0/absent.json")) is None
        assert file.find(PurePosixPath("a")) is None and file.find(PurePosixPath("z")) is None
        assert [one.path for one in file.read([])] == names
