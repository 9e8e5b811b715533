"""A cell that does not end ends its process, is tried once more by the next one, and given up after that."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gfnet_bench import runner, timelimits
from gfnet_bench.records import Cell
from gfnet_bench.store import Store

HANGS = """
import sys, time
from pathlib import Path
from gfnet_bench import runner
from gfnet_bench.records import Cell
from gfnet_bench.store import Store

def stuck_in_python(cell):
    while cell.model == "bad":
        time.sleep(0.1)
    return runner.Outcome({"top1": 0.5})

def stuck_in_native_code(cell):
    if cell.model == "bad":
        "a" * 0 or __import__("ctypes").PyDLL(None).sleep(300)  # PyDLL keeps the lock that other threads wait for
    return runner.Outcome({"top1": 0.5})

cells = [Cell("of_my_own", 1, name, {"dataset": "mini"}) for name in ("good", "bad", "fair")]
together = lambda group: [globals()[sys.argv[2]](cell) for cell in group]
key = (lambda cell: "all") if sys.argv[3] == "together" else (lambda cell: cell)
found = runner.run_together(cells, together, key, Store(Path(sys.argv[1])), progress=False, limit_s=0.2)
print([record.error for record in found])
"""


def attempt(folder, where="stuck_in_python", how="alone"):
    command = [sys.executable, "-c", HANGS, str(folder), where, how]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_cell_that_hangs_costs_two_processes_and_nothing_else(tmp_path):
    for _ in range(runner.TRIES):
        ended = attempt(tmp_path)
        assert ended.returncode == timelimits.STATUS and not ended.stdout
        assert ended.stderr.startswith("gfnet-bench: bad ") and ended.stderr.count("\n") == 1
        assert [record.cell.model for record in Store(tmp_path)] == ["good"]
    ended = attempt(tmp_path)
    (error,) = [record.error for record in Store(tmp_path) if record.error]
    assert ended.returncode == 0 and "2 workers ran out of time" in error and " in stuck_in_python, " in error
    assert {record.cell.model for record in Store(tmp_path) if record.error is None} == {"good", "fair"}
    assert not (tmp_path / ".leases").exists()


def test_neighbours_of_a_cell_that_hangs_are_measured_without_it(tmp_path):
    """Three that share a pass: after the first end each is alone, and one alone hangs."""
    codes = [attempt(tmp_path, how="together").returncode for _ in range(runner.TRIES + 1)]
    assert codes == [timelimits.STATUS] * runner.TRIES + [0]
    assert {record.cell.model: record.error is None for record in Store(tmp_path)} == {
        "good": True,
        "bad": False,
        "fair": True,
    }


def test_native_code_that_lets_nobody_speak_is_ended_too(tmp_path, monkeypatch):
    ended = attempt(tmp_path, "stuck_in_native_code")
    assert ended.returncode == 1  # as faulthandler ends it
    (stack,) = tmp_path.glob(".leases/*.stack")
    assert "in stuck_in_native_code" in timelimits.stood(stack, stack.read_text().split()[2])


def test_a_block_that_ends_in_time_leaves_nothing(tmp_path):
    file = tmp_path / "worker.stack"
    with timelimits.within(60, file, ["a"], ""):
        assert timelimits.stood(file, "a") is None
    with pytest.raises(ZeroDivisionError), timelimits.within(60, file, ["a"], ""):
        raise ZeroDivisionError
    assert not file.exists() and timelimits.stood(file, "a") is None


def test_a_process_logs_what_it_did(tmp_path):
    """Each in a file of its own, however many start in one second."""
    cells = [Cell("of_my_own", 1, name, {"dataset": "mini"}) for name in ("good", "bad")]

    def measure(cell):
        if cell.model == "bad":
            raise ValueError("no luck")
        return runner.Outcome({"top1": 0.5})

    for _ in range(2):
        runner.run(cells, measure, Store(tmp_path), progress=False)
    logs = [file.read_text().splitlines() for file in Path(tmp_path, "log").iterdir()]
    first, second = ([json.loads(line) for line in lines] for lines in sorted(logs, key=len, reverse=True))
    assert [(line["event"], line.get("error")) for line in first if line["event"] != "started"] == [
        ("measured", None),
        ("failed", "ValueError: no luck"),
    ]
    assert [line["event"] for line in second] == ["started", "failed"]
    assert first[1]["sha256"] == cells[0].sha256 and first[1]["seconds"] >= 0 and first[0]["time"] <= first[1]["time"]


def test_a_log_that_cannot_be_written_costs_no_number(tmp_path):
    (tmp_path / "log").write_text("a file where the folder would be")
    cell = Cell("of_my_own", 1, "good", {"dataset": "mini"})
    (record,) = runner.run([cell], lambda _: runner.Outcome({"top1": 0.5}), Store(tmp_path), progress=False)
    assert record.values == {"top1": 0.5}
