"""A run is a file that any number of workers measure together; whatever else has its name is refused in a sentence."""

import json
import subprocess
import sys

import pytest

from gfnet_bench.cli import main
from gfnet_bench.store import Store

QUICK = "robustness -m gfnet_mini vit_mini --dataset mini mini_v2 --attack clean fgsm --limit 10".split()
QUICK += "--device cpu -j 0".split()


def table(capsys, *words):
    assert main([*words]) == 0
    return capsys.readouterr().out


@pytest.fixture
def planned(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*QUICK, "--no-progress", "--plan-only", "run.json"]) == 0
    assert not (tmp_path / "results").exists() and "8 cells, 8 to do" in capsys.readouterr().err
    return tmp_path / "run.json"


def rows(capsys, file, status):
    assert main(["status", str(file), "--format", "json"]) == status
    return json.loads(capsys.readouterr().out)


def test_three_workers_started_by_hand_give_the_table_of_one_command(planned, tmp_path, capsys):
    (remaining,) = rows(capsys, planned, 0)
    assert (remaining["state"], remaining["cells"]) == ("remaining", 8) and "nobody is at work" in remaining["what"]
    command = [sys.executable, "-m", "gfnet_bench", "work", str(planned)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd="/", text=True) for _ in range(3)]
    tables = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    undisturbed = table(capsys, *QUICK, "--no-progress", "--output-dir", str(tmp_path / "alone"))
    assert tables == [undisturbed] * 3
    assert {r.cell: r.values for r in Store("results")} == {r.cell: r.values for r in Store("alone")}
    assert sum(row["cells"] for row in rows(capsys, planned, 0)) == 8


def test_a_failure_stays_until_it_is_retried(planned, capsys, monkeypatch):
    def broken(self, group):
        raise RuntimeError("no luck")

    with monkeypatch.context() as bad:
        bad.setattr("gfnet_bench.benches.robustness.Bench.measure", broken)
        assert main(["work", str(planned)]) == 1
    capsys.readouterr()
    assert [(r["state"], r["cells"], r["what"]) for r in rows(capsys, planned, 1)] == [
        ("failed", 8, "RuntimeError: no luck")
    ]
    assert main(["work", str(planned)]) == 1  # a worker that comes later does not try once more by itself
    assert main(["retry", str(planned), "--failed"]) == 0
    assert "8 failed cells" in capsys.readouterr().err
    assert [row["state"] for row in rows(capsys, planned, 0)] == ["remaining"]
    assert main(["work", str(planned)]) == 0
    capsys.readouterr()
    assert {row["state"] for row in rows(capsys, planned, 0)} == {"done"}


def test_status_names_who_is_at_work(planned, capsys):
    from gfnet_bench.leases import Leases

    cell = json.loads(planned.read_text())["cells"][0]
    with Leases(planned.parent / "results") as leases:
        assert leases.take(cell["sha256"][:32], cell["name"])
        running, remaining = rows(capsys, planned, 0)
    assert (running["state"], running["what"]) == ("running", cell["name"]) and "process" in running["where"]
    assert remaining["cells"] == 7


def test_status_tells_of_pieces(planned, capsys):
    content = json.loads(planned.read_text())
    planned.write_text(json.dumps({**content, "pieces": 2}))
    assert len(rows(capsys, planned, 0)) == 1
    from gfnet_bench.commands.spreading import PIECES, folder_of
    from gfnet_bench.leases import Leases
    from gfnet_bench.runs import read

    folder = folder_of(read(planned), Store("results")) / PIECES
    with Leases(folder) as leases:
        leases.take("a" * 32, "a piece")
        (pieces,) = (row for row in rows(capsys, planned, 0) if row["state"] == "pieces")
    assert (pieces["cells"], pieces["where"], pieces["what"]) == (0, "1 at work", "2 a cell")


def changed(**fields):
    return lambda content: json.dumps({**content, **fields})


@pytest.mark.parametrize("command", ["work", "status", "retry"])
@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda content: "", "damaged"),
        (lambda content: json.dumps(content)[:-9], "damaged"),
        (lambda content: "[]", "expected a run"),
        (lambda content: '{"schema": 1}', "run is not there"),
        (changed(run=1), "run is 1, expected 2"),
        (changed(words="robustness"), "expected a list of text"),
        (changed(cells=[{"sha256": "1"}]), "cells is"),
        (changed(words=["list"]), "found 'list'"),
        (changed(folder="/nowhere/at/all"), "/nowhere/at/all"),
    ],
)
def test_what_is_no_run_is_one_sentence(planned, capsys, command, damage, told):
    planned.write_text(damage(json.loads(planned.read_text())))
    assert main([command, str(planned)]) == 2
    out, err = capsys.readouterr()
    assert told in err and err.count("\n") == 1 and not out


def test_cells_that_the_command_no_longer_gives_are_not_measured(planned, capsys):
    content = json.loads(planned.read_text())
    planned.write_text(json.dumps({**content, "cells": content["cells"][1:]}))
    assert main(["work", str(planned)]) == 1
    assert "expected the 7 cells of the run, found that its command now asks for 8" in capsys.readouterr().err
    assert not (planned.parent / "results").exists()


def test_no_file_is_one_sentence(tmp_path, capsys):
    assert main(["work", str(tmp_path / "run.json")]) == 2
    assert "expected a run, No such file" in capsys.readouterr().err
