"""Ctrl-C at any moment of anything: one line that says what was going on, status 130, and nothing of it left."""

import os
import re
import signal
import subprocess
import sys

import pytest

from gfnet_bench import cli, interrupts
from gfnet_bench.benches import robustness as bench_of

LONG = 300  # seconds; what is not ended by the signal ends the test by its time-out

DEAF = "while True:\n    try:\n        ready(); time.sleep(300)\n    except BaseException:\n        pass"
POOL = """
from gfnet_bench.processes import pool
with pool(2) as workers:
    jobs = [workers.submit(time.sleep, 300) for _ in range(4)]
    workers.submit(int)
    while not any(job.running() for job in jobs):
        time.sleep(0.01)
    ready()
"""
BIRTHS = """
from gfnet_bench.processes import pool
ready()
while True:
    with pool(1) as workers:
        workers.submit(int)
"""
MOMENTS = {
    "a wait": "ready(); time.sleep(300)",
    "a loop": "ready()\nwhile True: pass",
    "a library that swallows exceptions": DEAF,
    "a destructor": "class A:\n    def __del__(self): ready(); time.sleep(300)\nA()",
    "native code": "import torch; x = torch.rand(9000, 9000); ready()\nwhile True: x @ x",
    # It says itself that it is there: between fork and exec it would have the handlers of its parent, and live on.
    "a child": "subprocess.run(['sh', '-c', 'echo ready; exec sleep 300'])",
    "a pool at work": POOL,
    "a pool that starts": BIRTHS,
    "the end": "import atexit; atexit.register(time.sleep, 300); atexit.register(ready)",
}


def interrupted(code, *, group, ignored=False):
    """How a process ends that runs `code` and is interrupted when that is `ready`; a group as by a terminal."""
    head = "import subprocess, sys, time\nfrom gfnet_bench import interrupts\ninterrupts.answer()\n"
    head += "def ready(): print('ready', flush=True)\n"
    body = "\n".join(f"    {line}" for line in code.splitlines())
    process = subprocess.Popen(
        [sys.executable, "-c", f"{head}if __name__ == '__main__':\n  with interrupts.doing('a test'):\n{body}\n"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL),
    )
    assert process.stdout.readline() == "ready\n"
    (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
    with process:
        _, err = process.communicate(timeout=LONG / 10)
    return process.returncode, err


@pytest.mark.parametrize(
    ("moment", "group"), [(m, g) for m in MOMENTS for g in (True, False) if g or m not in ("a child", "native code")]
)
def test_an_interrupt_ends_the_process_with_one_line(moment, group):
    status, err = interrupted(MOMENTS[moment], group=group)
    assert status == 130
    assert err.startswith("gfnet-bench: interrupted while ") and err.endswith(" continues from there\n")
    assert err.count("\n") == 1


def test_a_job_in_the_background_is_not_interrupted():
    status, err = interrupted("ready(); time.sleep(0.2)", group=True, ignored=True)
    assert (status, err) == (0, "")


def test_the_line_says_which_cell_was_being_measured(tmp_path):
    command = [sys.executable, "-m", "gfnet_bench", "robustness", "--suite", "mini", "--device", "cpu"]
    process = subprocess.Popen(
        [*command, "--no-progress", "--limit", "20", "--output-dir", tmp_path],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not list(tmp_path.glob("records/*/*/[!.]*.json")):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=LONG / 10)
    assert process.returncode == 130
    # Perhaps while the record was being written, between two cells.
    assert re.match("gfnet-bench: interrupted while (measuring .*, cell|at work on robustness)", err)
    assert err.count("\n") == 1


def test_an_interrupt_inside_python_is_told_in_the_same_words(tmp_path, monkeypatch, capsys):
    def stopped(self, cells):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench_of.Bench, "measure", stopped)
    words = ["robustness", "--suite", "mini", "--attack", "clean", "--no-progress", "--output-dir", str(tmp_path)]
    assert cli.main(words) == interrupts.STATUS
    assert capsys.readouterr().err.startswith("gfnet-bench: interrupted while measuring gfnet_mini mini.clean")
    assert not list(tmp_path.rglob("*.json"))
