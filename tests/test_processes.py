"""Ctrl-C reaches every process of a terminal at once; the one that was started by hand is to answer it alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Tasks of ten minutes, and slow imports in a process that is starting.
CODE = """
import sys, time
from pathlib import Path
from gfnet_bench.processes import pool

def task(file):
    Path(file).touch()
    time.sleep(600)

def prepare(file):
    Path(file).touch()
    time.sleep(float(sys.argv[2]))

if __name__ == "__main__":
    try:
        with pool(2, prepare, sys.argv[1] + ".starting") as executor:
            list(executor.map(task, [sys.argv[1] + ".working"] * 9))
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.parametrize(("at", "start_s"), [("submit", 0), ("starting", 600), ("working", 0)])
def test_an_interrupt_ends_workers_in_the_middle_of_their_tasks_and_only_the_parent_speaks(
    at: str, start_s: float, tmp_path: Path
) -> None:
    (tmp_path / "code.py").write_text(CODE)
    mark = tmp_path / "mark"
    run = subprocess.Popen(
        [sys.executable, str(tmp_path / "code.py"), str(mark), str(start_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while at != "submit" and not mark.with_suffix(f".{at}").exists():
            time.sleep(0.01)
        if at == "submit":
            time.sleep(0.3)  # somewhere in the imports of the workers, or before
        os.killpg(run.pid, signal.SIGINT)
        out, err = run.communicate(timeout=60)  # until the last process that could write has ended
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
    if at == "submit":
        assert err.count("Traceback") <= 1 and "SpawnProcess" not in err
    else:
        assert (out, err) == ("interrupted\n", "")


def test_a_failure_in_one_worker_ends_the_others(tmp_path: Path) -> None:
    code = (
        CODE.replace("time.sleep(600)", "assert False").replace("except Key", "except Assertion").replace("board", "")
    )
    code = code.replace("AssertionInterrupt", "AssertionError")
    (tmp_path / "code.py").write_text(code)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "code.py"), str(tmp_path / "mark"), "0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("interrupted") and not done.stderr
