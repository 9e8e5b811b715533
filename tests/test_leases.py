"""Leases: one worker a cell, whatever the clocks say, and a dead worker's cells go to another."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from itertools import count

import pytest

from gfnet_bench import leases, runner
from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.leases import FOLDER, Leases
from gfnet_bench.records import Cell, Record
from gfnet_bench.store import Store


class Clock:
    """A machine's clock: it starts where it likes."""

    def __init__(self, now=0.0):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def elsewhere(monkeypatch):
    """As if every worker were on a machine of its own: nothing but the counter tells."""
    numbers = count()
    monkeypatch.setattr(leases, "_boot", lambda: str(next(numbers)))


def worker(folder, clock, lease_s=10.0):
    return Leases(folder, lease_s, clock, renews=False)


def test_a_cell_has_one_worker(tmp_path):
    with worker(tmp_path, Clock()) as one, worker(tmp_path, Clock()) as other:
        assert one.take("a") and not other.take("a") and other.take("b")
        one.give_back("a")
        assert other.take("a")
    assert not list(tmp_path.iterdir())  # and nothing is left behind


@pytest.mark.parametrize("apart", [0.0, 3600.0, -1e9])
def test_who_shows_no_change_for_a_lease_is_dead_by_the_clock_of_the_one_who_looks(tmp_path, elsewhere, apart):
    mine, theirs = Clock(), Clock(apart)
    with worker(tmp_path, mine) as dead, worker(tmp_path, theirs) as heir:
        assert dead.take("a")
        for _ in range(5):  # alive: it renews, however long that goes on
            assert not heir.take("a")
            theirs.now += 9
            dead.renew()
        assert not heir.take("a")
        theirs.now += 9.9
        assert not heir.take("a")
        theirs.now += 0.1
        assert heir.take("a")
        dead.renew()  # only frozen, as it turns out
        dead.give_back("a")  # which takes nothing from its heir
        mine.now += 100
        with worker(tmp_path, mine) as third:
            assert not third.take("a")


def test_a_take_over_has_one_winner(tmp_path, elsewhere):
    clocks = [Clock() for _ in range(8)]
    with worker(tmp_path, Clock()) as dead:
        assert dead.take("a")
        heirs = [worker(tmp_path, clock) for clock in clocks]
        assert not any(heir.take("a") for heir in heirs)
        for clock in clocks:
            clock.now += 10
        barrier, won = threading.Barrier(8), []

        def seize(heir):
            barrier.wait()
            won.append(heir.take("a"))

        threads = [threading.Thread(target=seize, args=(heir,)) for heir in heirs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(won) == [False] * 7 + [True]
        for heir in heirs:
            heir.__exit__()


def test_a_lease_that_was_cut_short_while_it_was_written_expires_too(tmp_path):
    clock = Clock()
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "a.0").write_bytes(b"")
    with worker(tmp_path, clock) as heir:
        assert not heir.take("a")
        clock.now += 10
        assert heir.take("a")


TAKES = """
import sys, time
from pathlib import Path
from gfnet_bench.leases import Leases
Leases(Path(sys.argv[1])).take("a", "cell a")
print("taken", flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(leases.fcntl is None or leases._boot() is None, reason="the system does not tell machines apart")
def test_the_end_of_a_worker_on_this_machine_is_known_at_once(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", TAKES, tmp_path], stdout=subprocess.PIPE, text=True)
    with process, Leases(tmp_path) as heir:
        assert process.stdout.readline() == "taken\n"
        assert not heir.take("a")
        (file,) = (tmp_path / FOLDER).glob("a.*")
        told = json.loads(file.read_text())
        assert (told["pid"], told["at"]) == (process.pid, "cell a")
        process.send_signal(signal.SIGSTOP)  # frozen: that only the counter can tell
        assert not heir.take("a")
        process.kill()
        process.wait()
        assert heir.take("a")


def cells(number):
    return [Cell("of_my_own", 1, "tiny", {"dataset": "mini", "seed": i}) for i in range(number)]


def outcome(cell):
    return runner.Outcome({"top1": cell.settings["seed"] / 10})


def pairs(cell):
    return cell.settings["seed"] // 2


def test_commands_on_one_folder_share_the_work(tmp_path):
    """Three at once, in groups of two: every cell is measured once, and each command has all the records."""
    measured, given, barrier = [], [], threading.Barrier(3)

    def measure(group):
        measured.extend(group)
        return [outcome(cell) for cell in group]

    def command():
        barrier.wait()
        given.append(runner.run_together(cells(12), measure, pairs, Store(tmp_path), progress=False))

    threads = [threading.Thread(target=command) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [[r.values["top1"] for r in records] for records in given] == [[i / 10 for i in range(12)]] * 3
    assert sorted(measured, key=lambda c: c.settings["seed"]) == cells(12)


def test_what_another_measures_is_waited_for_and_what_it_leaves_is_taken(tmp_path, monkeypatch, capsys):
    store, (first, second, third) = Store(tmp_path), cells(3)
    another = worker(tmp_path, Clock())
    for cell in (first, second):
        assert another.take(cell.sha256[:32])
    pauses = []

    def meanwhile(seconds):
        pauses.append(seconds)
        if len(pauses) == 2:
            Store(tmp_path).save(Record(first, {"top1": 0.7}))
            another.give_back(first.sha256[:32])
        if len(pauses) == 3:
            another.__exit__()  # without a record of the second

    monkeypatch.setattr(runner, "_sleep", meanwhile)
    measured = []
    records = runner.run([first, second, third], lambda c: measured.append(c) or outcome(c), store, progress=False)
    assert measured == [third, second] and [r.values["top1"] for r in records] == [0.7, 0.1, 0.2]
    assert len(pauses) == 3 and "waiting for 2 cells that others measure" in capsys.readouterr().err


def test_what_a_dead_worker_held_does_not_wait_for_the_end_of_the_list(tmp_path, monkeypatch):
    first, second, third, fourth = cells(4)
    another = worker(tmp_path, Clock())
    assert another.take(first.sha256[:32])
    monkeypatch.setattr(runner, "RESCUE_S", 0.0)
    measured = []

    def measure(cell):
        measured.append(cell)
        if cell == second:
            another.__exit__()  # without a record of the first
        return outcome(cell)

    runner.run([first, second, third, fourth], measure, Store(tmp_path), progress=False)
    assert measured == [second, first, third, fourth]


def test_cells_with_one_claim_are_taken_together_and_measured_and_saved_each_for_itself(tmp_path, monkeypatch):
    first, second, third, fourth = cells(4)
    another = worker(tmp_path, Clock())
    assert another.take(first.sha256[:32])
    monkeypatch.setattr(runner, "_sleep", lambda _: another.__exit__())  # without a record
    measured = []

    def measure(cell):
        assert all(Store(tmp_path).find(done) for done in measured)
        measured.append(cell)
        with worker(tmp_path, Clock()) as stranger:
            free = [stranger.take(other.sha256[:32]) for other in (third, fourth) if cell in (third, fourth)]
        assert free == [cell == fourth, False][: len(free)]
        return outcome(cell)

    records = runner.run([first, second, third, fourth], measure, Store(tmp_path), progress=False, claim=pairs)
    assert [r.values["top1"] for r in records] == [0.0, 0.1, 0.2, 0.3] and measured[:2] == [third, fourth]


def test_what_another_measured_while_this_one_planned_is_not_measured_again(tmp_path, monkeypatch):
    (cell,) = cells(1)
    prepare = Store.prepare

    def meanwhile(self, *rest):
        self.save(Record(cell, {"top1": 0.5}))
        prepare(self, *rest)

    monkeypatch.setattr(Store, "prepare", meanwhile)
    (record,) = runner.run([cell], lambda cell: pytest.fail("measured again"), Store(tmp_path), progress=False)
    assert record.values == {"top1": 0.5}


@pytest.mark.parametrize(("theirs", "told"), [(0.3, False), (0.3 + 1e-7, False), (0.4, True)])
def test_of_two_writers_the_first_wins_and_a_disagreement_is_told(tmp_path, capsys, theirs, told):
    def measure(cell):  # so long that another took this process for dead
        Store(tmp_path).save(Record(cell, {"top1": theirs}))
        return runner.Outcome({"top1": 0.3})

    (record,) = runner.run(cells(1), measure, Store(tmp_path), progress=False)
    assert record.values["top1"] == theirs == Store(tmp_path).find(record.cell).values["top1"]
    assert ("measured twice, and not the same: top1 0.4 and 0.3; the first is kept" in capsys.readouterr().err) == told


def test_a_failure_gives_way_to_a_number_of_another(tmp_path):
    def measure(cell):
        Store(tmp_path).save(Record(cell, {"top1": 0.5}))
        raise GfnetBenchError("no memory")

    (record,) = runner.run(cells(1), measure, Store(tmp_path), progress=False)
    assert record.error is None and record.values == {"top1": 0.5}


def test_no_clock_ahead_makes_a_file_in_the_making_stale(tmp_path, monkeypatch):
    theirs = tmp_path / "records" / "of_my_own" / "tiny" / ".4711-0123.tmp"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("{")
    monkeypatch.setattr("time.time", lambda: 4e9)
    runner.run(cells(1), outcome, Store(tmp_path), progress=False)
    assert theirs.exists()


@pytest.mark.parametrize("seed", range(20))
def test_workers_that_die_freeze_and_come_back_lose_nothing(tmp_path, elsewhere, seed):
    """Chance decides who acts next, whose clock runs on, who dies or freezes: every cell is measured in the end.

    A worker measures between two of its turns; what it had in flight when it died or froze may be measured again, and
    nothing else is.
    """
    rng = random.Random(seed)
    todo, saved, measured, lost = [f"cell{i}" for i in range(8)], set(), 0, 0
    crowd = []
    while len(saved) < len(todo):
        while len(crowd) < 3:
            clock = Clock(rng.uniform(-1e6, 1e6))
            crowd.append([worker(tmp_path, clock), clock, None, 0])
        for member in crowd:  # all clocks run on alike
            member[1].now += 1
        member = rng.choice(crowd)
        one, _, at, frozen = member
        if frozen:
            member[3] -= 1
            continue
        one.renew()
        for other in crowd:
            if other is not member and not other[3] and rng.random() < 0.9:
                other[0].renew()
        if at is not None and rng.random() < 0.3:
            saved.add(at)
            one.give_back(at)
            member[2] = None
        elif at is None:
            for key in rng.sample(todo, len(todo)):
                if one.take(key):
                    if key in saved:
                        one.give_back(key)
                        continue
                    measured += 1
                    member[2] = key
                    break
        chance = rng.random()
        if chance < 0.1:  # killed: it gives nothing back
            lost += member[2] is not None
            crowd.remove(member)
            os.close(one._handle) if one._handle is not None else None
        elif chance < 0.2:
            lost += member[2] is not None
            member[3] = 20
    assert saved == set(todo)
    assert measured <= len(todo) + lost
