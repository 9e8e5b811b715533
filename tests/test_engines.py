"""Whoever starts the workers, the table is that of one command, byte for byte, and what they lose is not lost."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from gfnet_bench.cli import main, parser
from gfnet_bench.engines import ENGINES, drive, read_engine
from gfnet_bench.engines.base import Engine
from gfnet_bench.errors import GfnetBenchError, UsageError
from gfnet_bench.store import Store

QUICK = "robustness -m gfnet_mini vit_mini --dataset mini mini_v2 --attack clean fgsm --limit 10".split()
QUICK += "--device cpu -j 0 --no-progress".split()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process says and keeps."""
    folder = tmp_path_factory.mktemp("alone")
    one = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "gfnet_bench", *QUICK, "--output-dir", str(folder)]
    said = subprocess.run(command, capture_output=True, text=True, env=one, check=True)
    return said.stdout, {record.cell: record.values for record in Store(folder)}


@pytest.mark.parametrize("engine", ["slurm:2,cluster=local,cpus=1", "ray:2"])
def test_every_engine_gives_the_table_of_one_process(engine, alone, tmp_path, monkeypatch, capsys):
    pytest.importorskip({"slurm": "submitit"}.get(name := engine.partition(":")[0], name if name == "ray" else "json"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert main([*QUICK, "--engine", engine]) == 0
    out, err = capsys.readouterr()
    assert (out, {record.cell: record.values for record in Store("results")}) == alone
    assert "2 workers for 8 cells" in err
    (run,) = (tmp_path / "results" / "runs").glob("*.json")
    assert len(json.loads(run.read_text())["cells"]) == 8
    logs = [log.read_text() for log in sorted(run.with_suffix("").glob("worker-*.log"))]
    assert len(logs) == 2 and all("gfnet_mini" in log for log in logs)
    assert not (tmp_path / "results" / ".leases").exists()
    assert main([*QUICK, "--engine", engine]) == 0  # nothing is left, and nobody is started
    assert "workers" not in capsys.readouterr().err


def test_a_worker_that_is_killed_is_replaced(alone, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    local, killed = ENGINES["local"], []

    def kill_first(self, worker):
        if not killed and list(tmp_path.glob("results/records/*/*/[!.]*.json")):
            killed.append(os.kill(worker.pid, signal.SIGKILL))
            worker.wait()
        return worker.poll() is None

    monkeypatch.setattr(local, "is_alive", kill_first)
    assert main([*QUICK, "--engine", "local:2"]) == 0
    assert killed and capsys.readouterr().out == alone[0]


def test_fewer_cells_than_workers_are_cut(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    words = "robustness -m gfnet_mini --dataset mini --attack pgd --limit 40 --device cpu -j 0 -b 8".split()
    assert main([*words, "--engine", "local:2"]) == 0
    cut = capsys.readouterr()
    assert "2 workers for 1 cells" in cut.err
    (run,) = tmp_path.glob("results/runs/*.json")
    assert json.loads(run.read_text())["pieces"] == 2 and not (run.with_suffix("") / "pieces").exists()
    assert main([*words, "--output-dir", "alone"]) == 0
    assert capsys.readouterr().out == cut.out


def test_an_interrupt_ends_the_workers_too(tmp_path):
    command = [sys.executable, "-m", "gfnet_bench", *QUICK, "--attack", "autoattack", "--engine", "local:2"]
    default = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    driver = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=default)
    while not list(tmp_path.glob("results/.leases/*.0")):
        assert driver.poll() is None
        time.sleep(0.1)
    leases = [json.loads(path.read_text() or "{}") for path in tmp_path.glob("results/.leases/*.0")]
    driver.send_signal(signal.SIGINT)  # to it alone
    _, err = driver.communicate(timeout=30)
    assert driver.returncode == 130 and "interrupted" in err
    for pid in (lease["pid"] for lease in leases if lease):
        with pytest.raises(ProcessLookupError):
            for _ in range(600):
                os.kill(pid, 0)
                time.sleep(0.05)


class Stubborn(Engine):
    """Workers that end at once."""

    def __init__(self):
        self.workers, self.started = 2, []

    def size(self, gpus):
        return self.workers

    def start(self, command, places):
        self.started += places
        return list(places)

    def is_alive(self, worker):
        return False

    def stop(self, workers):
        assert not workers


def test_workers_that_always_end_are_not_started_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(drive, "_sleep", lambda seconds: None)
    engine = Stubborn()
    assert drive.drive(engine, ["true"], [], tmp_path, lambda: 5, progress=False) == 5
    assert len(engine.started) == 2 + 2 * drive.AGAIN


def test_workers_that_end_are_started_again_as_long_as_cells_get_done(tmp_path, monkeypatch):
    monkeypatch.setattr(drive, "_sleep", lambda seconds: None)
    engine, counts = Stubborn(), iter([*range(50, 0, -1), *[0] * 9])
    assert drive.drive(engine, ["true"], ["3", "5"], tmp_path, lambda: next(counts), progress=False) == 0
    assert len(engine.started) > 50 and {place.gpu for place in engine.started} == {"3", "5"}


def test_cells_that_workers_leave_are_told_with_where_to_look(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(drive, "_sleep", lambda seconds: None)
    monkeypatch.setattr("gfnet_bench.commands.spreading.sys.executable", "/bin/false")
    assert main([*QUICK, "--engine", "local:2"]) == 1
    err = capsys.readouterr().err
    assert "8 cells are left, the workers ended before" in err and "results/runs/" in err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("slum:2", "did you mean slurm"),
        ("local:none,x=1", "expected"),
        ("local:0", "expected one worker or more, found 0"),
        ("ray:cpu=2", "cpu"),
        ("slurm:two", "whole number"),
    ],
)
def test_what_is_no_engine_is_one_sentence(text, told):
    with pytest.raises(UsageError, match=told):
        read_engine(text)


def test_one_process_of_this_machine_is_this_one_and_one_of_a_cluster_is_not(monkeypatch):
    from gfnet_bench.commands import spreading

    def engine(text, gpus=()):
        monkeypatch.setattr(spreading, "_gpus", lambda: list(gpus))
        return spreading._engine(parser().parse_args(["robustness", *(["--engine", text] if text else [])]))[0]

    assert engine(None) is None and engine("local") is None and engine(None, ["0"]) is None
    assert engine(None, ["0", "1"]) == read_engine("local")
    assert engine("local:1") is not None and engine("slurm") is not None and engine("ray") is not None


def test_slurm_is_asked_for_where_there_is_none(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "")
    from gfnet_bench.engines.base import Place

    with pytest.raises(GfnetBenchError, match="found no sbatch"):
        read_engine("slurm:2").start(["true"], [Place(tmp_path / "log")])


def test_one_gpu_each_by_the_names_that_are_visible(monkeypatch):
    from gfnet_bench.commands import spreading

    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b,GPU-c")
    assert spreading._gpus() == ["GPU-a", "GPU-b"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert spreading._gpus() == ["0", "1"] and read_engine("local").size(spreading._gpus()) == 2
