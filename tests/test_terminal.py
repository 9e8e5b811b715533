"""What reaches a terminal: names as text, whatever they hold."""

import io
import json
import os
import subprocess
import sys

import pytest

from gfnet_bench.cli import main
from gfnet_bench.terminal import BOLD, FILE, screen, screened, shortened, styled, visible

HOSTILE = ["\x1b[31mred", "\x1b]0;title\x07", "a\rb", "\x08\x7f", "\x9b2J", "\u202egnp.exe", "half \udcff", "\x00"]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_name_is_spelt_out_as_json_spells_it(name):
    shown = visible(name)
    assert shown.isprintable() and json.loads(f'"{shown}"') == name
    assert visible(shown) == shown


def test_plain_text_in_any_script_stays_as_it_is():
    text = "Größe ± 3 µs\n\tمثال 例 🙂 e\u0301"
    assert visible(text) == text


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
@pytest.mark.parametrize(
    "words", [["robustness", "-m"], ["data", "get"], ["report"], ["list"], ["robustness", "--dataset"], ["corrupt"]]
)
def test_no_command_repeats_a_name_as_it_came(words, name, capsys):
    try:
        status = main([*words, name])
    except SystemExit as ended:
        status = ended.code
    out, err = capsys.readouterr()
    assert status in (1, 2) and err.count("\n") == 1
    assert all(c.isprintable() or c in "\n\t" for c in out + err)


def test_progress_bars_may_move(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with screened():
        for text in ("\rcells: 5%\x1b[1m", "\x1b[A\x1b[A", "\r"):
            sys.stderr.write(text)
    assert stream.getvalue() == "\rcells: 5%\\u001b[1m\x1b[A\x1b[A\r"
    assert sys.stderr is stream


def test_what_is_too_long_loses_its_middle():
    assert shortened("a" * 10, 10) == "a" * 10
    assert len(shortened("a" * 10**6)) < 1000


def run(code, **streams):
    return subprocess.run([sys.executable, "-m", "gfnet_bench", *code.split()], text=True, check=False, **streams)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
@pytest.mark.parametrize("command", ["list", "list --format json", "--help", "robustness --help"])
def test_a_full_disk_behind_standard_output_is_told(command):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = run(command, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr.startswith("gfnet-bench: cannot use standard output (No space left on device); make room")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["list", "--help"])
def test_a_reader_that_goes_away_is_no_news(command):
    reader, writer = os.pipe()
    os.close(reader)
    done = run(command, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_an_encoding_without_the_characters_gets_them_spelt_out():
    done = run("list --format csv", capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and done.stderr == ""


def test_closed_streams_swallow_what_they_are_told():
    code = "import sys; sys.stdout = sys.stderr = None; from gfnet_bench.cli import main; main(['report', 'x'])"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_styles_of_ours_reach_a_terminal_and_nothing_else_does(monkeypatch):
    for stream, shown in ((Terminal(), "\x1b[1mbest\x1b[0m\\u001b[31m"), (io.StringIO(), "\\u001b[1mbest\\u001b[0m")):
        monkeypatch.setattr(sys, "stdout", stream)
        with screened():
            sys.stdout.write(styled("best", BOLD) + ("\x1b[31m" if stream.isatty() else ""))
        assert stream.getvalue() == shown


def test_a_screen_is_that_of_standard_output(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert screen() == FILE == (120, False)
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "71")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert screen() == (71, True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "7")
    assert screen() == (40, False)
