"""The runner: what is measured is kept, what failed is a record, and nothing is measured twice."""

import numpy as np
import pytest

from gfnet_bench import planning, runner
from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.inputs import Inputs
from gfnet_bench.records import Cell
from gfnet_bench.store import Store


def cells(count):
    return [Cell("of_my_own", 1, "tiny", {"dataset": "mini", "seed": i}) for i in range(count)]


def measure(cell):
    if cell.settings["seed"] == 1:
        raise GfnetBenchError("the data set went away")
    if cell.settings["seed"] == 2:
        raise ZeroDivisionError("division by zero")
    return runner.Outcome({"top1": cell.settings["seed"] / 10}, {"top5": np.arange(5)}, {"device": "cpu"})


def test_failures_are_records_and_the_rest_goes_on(tmp_path, capsys):
    records = runner.run(cells(4), measure, Store(tmp_path), progress=False)
    assert [r.values.get("top1") for r in records] == [0.0, None, None, 0.3]
    assert records[1].error == "GfnetBenchError: the data set went away"
    assert records[2].error == "ZeroDivisionError: division by zero"
    assert "the data set went away" in capsys.readouterr().err
    assert Store(tmp_path).find(records[3].cell) == records[3]
    np.testing.assert_array_equal(Store(tmp_path).arrays(records[3])["top5"], np.arange(5))


def test_provenance_names_versions_time_and_what_the_study_adds(tmp_path):
    (record,) = runner.run(cells(1), measure, Store(tmp_path), progress=False)
    assert {"torch", "timm", "numpy", "python", "started", "seconds", "device"} <= record.provenance.keys()


@pytest.mark.parametrize(("overwrite", "measured"), [("never", []), ("failed", [1, 2]), ("always", [0, 1, 2, 3])])
def test_overwrite_decides_what_is_measured_again(tmp_path, overwrite, measured):
    store = Store(tmp_path)
    runner.run(cells(4), measure, store, progress=False)
    again = []

    def second(cell):
        again.append(cell.settings["seed"])
        return runner.Outcome({"top1": 1.0})

    runner.run(cells(4), second, store, overwrite=overwrite, progress=False)
    assert again == measured


def seen(**hashes):
    """What measuring a cell notes of its images and weights."""
    return lambda cell: runner.Outcome({"top1": 0.5}, {}, hashes)


NOTED = {"data_fingerprint": "f", "ids_sha256": "i", "data_sha256": "d", "weights_sha256": "w"}


def planned(store, overwrite="failed", unknown=None, **now):
    noted = {name: value for name, value in now.items() if value is not None}
    return planning.plan(cells(2), store, overwrite, lambda record: Inputs(noted, unknown or {}))


@pytest.mark.parametrize(
    ("name", "what"),
    [("data_fingerprint", "images"), ("data_sha256", "contents of images"), ("weights_sha256", "weights")],
)
def test_what_was_measured_on_other_inputs_is_measured_again(tmp_path, name, what):
    store = Store(tmp_path)
    runner.run(cells(2), seen(**NOTED), store, progress=False)
    same = planned(store, **NOTED)
    assert (len(same.done), same.to_do, same.notes) == (2, [], [])
    changed = planned(store, **{**NOTED, name: "another"})
    assert changed.to_do == cells(2)
    assert changed.notes == [f"{cells(2)[0]} and 1 more: measured again, on other {what}"]
    with pytest.raises(GfnetBenchError, match="and 1 more: measured on other images, weights or code than"):
        planned(store, "never", **{**NOTED, name: "another"})
    assert planned(store, "always", **NOTED).to_do == cells(2)


def test_what_cannot_be_told_is_kept_with_a_note(tmp_path):
    store = Store(tmp_path)
    runner.run(cells(2), seen(**{**NOTED, "data_sha256": None}), store, progress=False)
    for overwrite in ("never", "failed"):
        gone = planned(store, overwrite, {"images": "mini is not on this machine"}, weights_sha256="w")
        assert (len(gone.done), gone.to_do) == (2, [])
        (note,) = gone.notes
        assert note.endswith("whether other images are there now cannot be told (mini is not on this machine)")
        older = planned(store, overwrite, **NOTED)
        assert (len(older.done), older.to_do) == (2, [])
        (note,) = older.notes
        assert "other contents of images are there now cannot be told (it was not noted when it was" in note


def test_a_run_says_what_it_measures_again(tmp_path, capsys):
    store = Store(tmp_path)
    runner.run(cells(1), seen(**NOTED), store, progress=False)
    now = {**NOTED, "weights_sha256": "others"}
    (record,) = runner.run(cells(1), seen(**now), store, inputs=lambda r: Inputs(now, {}), progress=False)
    assert record.provenance["weights_sha256"] == "others" == store.find(record.cell).provenance["weights_sha256"]
    assert "measured again, on other weights" in capsys.readouterr().err
    again = []
    runner.run(cells(1), again.append, store, inputs=lambda r: Inputs(now, {}), progress=False)
    assert again == [] and capsys.readouterr().err == ""


def test_a_failure_takes_no_number_away(tmp_path, capsys):
    store = Store(tmp_path)
    (before,) = runner.run(cells(1), seen(**NOTED), store, progress=False)

    def broken(cell):
        raise GfnetBenchError("the weights are damaged")

    (record,) = runner.run(cells(1), broken, store, overwrite="always", progress=False)
    assert record.error == "GfnetBenchError: the weights are damaged"
    assert "what was measured before is kept" in capsys.readouterr().err
    assert store.find(before.cell) == before


def test_one_reason_is_told_once(tmp_path, capsys):
    def absent(cell):
        raise GfnetBenchError("no such folder")

    runner.run(cells(5), absent, Store(tmp_path), progress=False)
    assert capsys.readouterr().err.count("no such folder") == 1


def test_neighbours_with_one_key_are_measured_together(tmp_path):
    groups = []

    def measure_all(group):
        groups.append([cell.settings["seed"] for cell in group])
        return [GfnetBenchError("one of them") if s == 1 else runner.Outcome({"top1": s / 10}) for s in groups[-1]]

    store = Store(tmp_path)
    records = runner.run_together(cells(5), measure_all, lambda c: c.settings["seed"] // 2, store, progress=False)
    assert groups == [[0, 1], [2, 3], [4]]
    assert [r.error for r in records] == [None, "GfnetBenchError: one of them", None, None, None]
    assert records[2].provenance["seconds"] == records[3].provenance["seconds"]
    runner.run_together(cells(5), measure_all, lambda c: c.settings["seed"] // 2, store, progress=False)
    assert groups[3:] == [[1]]  # what is measured is not measured again, its neighbour or not


def test_what_a_group_raises_is_met_by_all_of_it(tmp_path):
    def broken(group):
        raise GfnetBenchError("no images")

    records = runner.run_together(cells(3), broken, lambda c: 0, Store(tmp_path), progress=False)
    assert [r.error for r in records] == ["GfnetBenchError: no images"] * 3


def test_a_full_disk_ends_the_run_and_keeps_what_was_saved(tmp_path, monkeypatch):
    store, saved = Store(tmp_path), []
    save = store.save

    def full_after_two(record, arrays):
        if len(saved) == 2:
            raise OSError(28, "No space left on device")
        saved.append(record)
        return save(record, arrays)

    monkeypatch.setattr(store, "save", full_after_two)
    with pytest.raises(GfnetBenchError, match="make room and run the same command again"):
        runner.run(cells(4), measure, store, progress=False)
    assert len(Store(tmp_path).load().records) == 2


def no_room(folder, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)


def a_file_above(folder, monkeypatch):
    (folder / "records").write_text("")


def a_file_instead(folder, monkeypatch):
    folder.rmdir()
    folder.write_text("")


def a_link_in_circles(folder, monkeypatch):
    (folder / "records").symlink_to("records")


def read_only(folder, monkeypatch):
    def refused(self, *args, **kwargs):
        raise OSError(30, "Read-only file system", str(self))

    monkeypatch.setattr("pathlib.Path.mkdir", refused)


@pytest.mark.parametrize("damage", [no_room, a_file_above, a_file_instead, a_link_in_circles, read_only])
def test_results_that_cannot_be_written_are_noticed_before_anything_is_measured(tmp_path, monkeypatch, damage):
    damage(tmp_path, monkeypatch)
    measured = []
    with pytest.raises(GfnetBenchError, match="nothing was measured: make room or name another with --output-dir"):
        runner.run(cells(4), measured.append, Store(tmp_path), progress=False)
    assert measured == []


def test_commands_that_draw_try_where_the_drawings_go(tmp_path):
    (tmp_path / "figures").write_text("")
    with pytest.raises(GfnetBenchError, match="nothing was measured"):
        Store(tmp_path).prepare((), ("tables", "figures"))


def test_an_interrupt_is_no_failure(tmp_path):
    def stopped(cell):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.run(cells(2), stopped, Store(tmp_path), progress=False)
    assert Store(tmp_path).load().records == []
