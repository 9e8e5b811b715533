"""Bad days: what other run managers lost on them is a test by that name; `experiments/reliability.py` has the rest."""

import json
import os
import random
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

from gfnet_bench import runner
from gfnet_bench.records import Cell
from gfnet_bench.store import Store

os.environ["BAD_DAYS_CELLS"] = "50"
sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))
import reliability as days


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """The table of an undisturbed run."""
    folder = tmp_path_factory.mktemp("calm")
    days.work(folder)
    return days.table(folder)


def measured(folder):
    return Counter((folder / "measured").read_text().split())


def finish(*processes):
    assert [process.wait(60) for process in processes] == [0] * len(processes)


def test_the_harness_sees_what_is_lost_damaged_doubled_or_left(tmp_path, calm):
    days.work(tmp_path)
    assert days.table(tmp_path) == calm and not days.strangers(tmp_path)
    record = next(tmp_path.glob("results/records/*/*/*.json"))
    whole = record.read_bytes()
    record.write_bytes(whole[: len(whole) // 2])
    assert days.table(tmp_path) != calm
    record.write_bytes(whole)
    (tmp_path / "results" / "odd").touch()
    assert days.table(tmp_path) == calm and days.strangers(tmp_path) == ["odd"]


@pytest.mark.parametrize("role", ["--work", "--lead"])
def test_kills_at_random_moments_lose_nothing(role, tmp_path, calm):
    found = days.play(tmp_path, role, 2, random.Random(5), most=4)
    assert found.table == calm and not found.left and found.kills > 0
    assert found.more <= (found.kills if role == "--work" else 0)


def test_one_then_eight_then_three_workers(tmp_path, calm):
    """Another manager: "restart with the same GPU count"."""
    for count in (1, 8, 3):
        workers = [days.begin(tmp_path, "--work") for _ in range(count)]
        before = len(list(tmp_path.glob("results/records/*/*/*.json")))
        while len(list(tmp_path.glob("results/records/*/*/*.json"))) < min(before + 15, days.CELLS):
            pass
        if count != 3:
            for worker in workers:
                worker.kill()
                worker.wait()
    finish(*workers)
    assert days.table(tmp_path) == calm
    assert sum(measured(tmp_path).values()) <= days.CELLS + 9  # what the nine were at when they died


def test_two_drivers_in_the_same_second(tmp_path, calm):
    finish(days.begin(tmp_path, "--lead"), days.begin(tmp_path, "--lead"))
    assert days.table(tmp_path) == calm and set(measured(tmp_path).values()) == {1}


def test_results_that_are_removed_under_a_run_are_made_anew(tmp_path, calm):
    worker = days.begin(tmp_path, "--work")
    while not list(tmp_path.glob("results/records/*/*/*.json")):
        assert worker.poll() is None
    shutil.rmtree(tmp_path / "results", ignore_errors=True)
    finish(worker)
    days.work(tmp_path)
    assert days.table(tmp_path) == calm and not days.strangers(tmp_path)


def cells(count):
    return [Cell("of_my_own", 1, "tiny", {"dataset": "mini", "seed": seed}) for seed in range(count)]


def attempt(folder, broken=(), count=4):
    """Measure; those of `broken` fail. Which were measured."""
    done = []

    def measure(cell):
        done.append(cell.settings["seed"])
        if cell.settings["seed"] in broken:
            raise RuntimeError("no luck")
        return runner.Outcome({"top1": 0.5})

    runner.run(cells(count), measure, Store(folder), progress=False)
    return done


def test_finished_work_is_not_run_again_after_an_attempt_with_errors(tmp_path):
    """Another manager re-ran 34 of 47 finished samples."""
    assert attempt(tmp_path, broken={1}) == [0, 1, 2, 3]
    assert attempt(tmp_path) == [1] and attempt(tmp_path) == []


def test_two_starts_in_one_second_keep_both_logs(tmp_path):
    """Another manager named logs by the second, and lost the first."""
    for _ in range(2):
        attempt(tmp_path, broken={0, 1, 2, 3})
    logs = [path.read_text().splitlines() for path in (tmp_path / "log").iterdir()]
    assert [len(lines) for lines in logs] == [8, 8] and all(json.loads(line) for lines in logs for line in lines)


def test_one_failed_cell_of_many_costs_itself_alone(tmp_path):
    """Another manager lost the rest of an array."""
    attempt(tmp_path, broken={2}, count=9)
    assert [record.cell.settings["seed"] for record in Store(tmp_path) if record.error] == [2]
    assert len(list(Store(tmp_path))) == 9


def test_every_cell_is_saved_before_the_next_begins(tmp_path):
    """Another manager saved nothing before the last task."""

    def measure(cell):
        assert len(list(tmp_path.glob("records/*/*/*.json"))) == cell.settings["seed"]
        return runner.Outcome({"top1": 0.5})

    assert all(record.error is None for record in runner.run(cells(4), measure, Store(tmp_path), progress=False))
