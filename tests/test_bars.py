"""Bars of progress: on a terminal as tqdm draws them, in a log by the line."""

import io
import sys

import pytest

from gfnet_bench import bars
from gfnet_bench.cli import main


class Terminal(io.StringIO):
    def isatty(self):
        return True


def drawn(monkeypatch, stream, **settings):
    monkeypatch.setattr(sys, "stderr", stream)
    with bars.tqdm(total=3, desc="cells", position=0, **settings) as bar:
        for name in "abc":
            with bars.tqdm(total=2, desc="images", leave=False, position=1) as inner:
                inner.update(2)
            bar.set_postfix_str(name, refresh=False)
            bar.update()
    return stream.getvalue()


def test_a_log_has_a_line_for_each_thing_that_is_done(monkeypatch):
    lines = drawn(monkeypatch, io.StringIO(), tells=True).splitlines()
    assert [line.split(",")[0] for line in lines] == ["cells: 1 of 3", "cells: 2 of 3", "cells: 3 of 3"]
    assert [line.rsplit(", ")[-1] for line in lines] == list("abc") and all(" left, " in line for line in lines)


def test_a_log_hears_of_other_bars_once_in_a_while(monkeypatch):
    assert drawn(monkeypatch, io.StringIO()) == ""
    monkeypatch.setattr(bars, "SELDOM", 1e-9)
    told = drawn(monkeypatch, io.StringIO())
    assert "images: 100%" in told and "\r" not in told and "\x1b" not in told and "\n\n" not in told


def test_a_terminal_has_bars_that_move(monkeypatch):
    told = drawn(monkeypatch, Terminal(), mininterval=0, tells=True)
    assert told.startswith("\rcells:   0%|") and "\x1b[A" in told and "3/3 [" in told


@pytest.mark.parametrize("words", [["--no-progress"], []])
def test_a_command_tells_a_log_each_cell_or_nothing(words, tmp_path, capsys):
    asked = ["robustness", "-m", "gfnet_mini", "--dataset", "mini", "--attack", "clean", "pgd", "--limit", "4"]
    assert main([*asked, "--output-dir", str(tmp_path), *words]) == 0
    told = [line.split(",")[0] for line in capsys.readouterr().err.splitlines()]
    assert told == ([] if words else ["cells: 1 of 2", "cells: 2 of 2"])
