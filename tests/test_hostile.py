"""Command lines that nobody would mean: each ends with a status and a few lines, none in a traceback."""

import argparse
import os
import random

import numpy as np
import pytest
from PIL import Image

from gfnet_bench.cli import main, parser

PATHS = [
    "file",
    "folder",
    "loop",
    "loop/x",
    "dangling",
    "/proc/x.html",
    "/proc/self/mem",
    "pipe",
    "a" * 300,
]
PATHS += [
    "x/" * 3000,
    "folder/\udcff",
    "~nobody/x",
    "options.json",
    "broken.json",
    "-",
    "\x1b[31m",
    "null\0",
    "",
    "a\nb",
]
NUMBERS = ["nan", "inf", "-1", "0", "1", "", "1e999", "9" * 5000, "٣", "1_0", "-1/255", "4/inf", "--", "1..5", "5..1"]
NUMBERS += ["0..999999999", "224x320", "99999x1", "0x0", "999999999", "1e-400", "-0.0", "½"]
NAMES = [
    "gfnet_mini",
    "gfnet_*",
    "*",
    "[",
    "[a",
    "[!]",
    "",
    ".",
    "resnet50.",
    "timm/",
    "hf-hub:",
    "local-dir:loop",
    "$x^$",
]
NAMES += ["%s", "{0}", "clean", "pgd", "torchattacks:", "torchattacks:__class__", "mini", "mini_c", "imagenet", "fog"]
NAMES += [
    "all",
    "robustness",
    "table3",
    "ablation",
    "cifar_c",
    "global_filter",
    "cuda:-1",
    "196,",
    "paper",
    "\x1b]0;x\x07",
]

COMMANDS = next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
LINES = 150


def value(draw, action):
    """A value for an option: mostly of its kind, sometimes of any."""
    own = PATHS if getattr(action.type, "__name__", "") == "path" else NUMBERS if action.type else NAMES
    own = [str(choice) for choice in action.choices] if action.choices else own
    return draw.choice(draw.choice([own, own, own, PATHS + NUMBERS + NAMES]))


def command_line(draw):
    """A command with some of its words and options; dry where it can be, so that none takes long."""
    name = draw.choice(sorted(set(COMMANDS) - {"attack-check"}))
    words, options = [name], [a for a in COMMANDS[name]._actions if not isinstance(a, argparse._HelpAction)]
    for action in (a for a in options if not a.option_strings):
        count = {None: 1, "?": draw.choice([0, 1]), "*": draw.choice([0, 1, 2])}[action.nargs]
        words += [value(draw, action) for _ in range(count)]
    named = [a for a in options if a.option_strings]
    for action in draw.sample(named, min(len(named), draw.choice([0, 1, 1, 2, 3]))):
        words.append(draw.choice(action.option_strings))
        count = {0: 0, None: 1, 2: 2, "+": draw.choice([1, 2])}[action.nargs]
        words += [value(draw, action) for _ in range(count)]
    return [*words, *(["--dry-run"] if any("--dry-run" in a.option_strings for a in named) else [])]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of odd things."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "file").write_bytes(b"x" * 100)
    (folder / "folder").mkdir()
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(folder / "folder" / "a.png")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    (folder / "options.json").write_text('{"model": ["gfnet_mini"], "limit": 3}')
    (folder / "broken.json").write_text('{"model": 3, "seed": "x"')
    return folder


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_no_file_is_not_replaced_by_one(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    for name in ("pipe", "folder"):
        assert main(["report", "ablation", "--html", name]) == 1
        assert capsys.readouterr().err.startswith(f"gfnet-bench: cannot use {name} (a folder, a device or a pipe")
    assert (place / "pipe").is_fifo() and (place / "folder").is_dir()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_no_command_line_ends_in_a_traceback(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.setattr("socket.socket.connect", lambda *_: (_ for _ in ()).throw(OSError(101, "unreachable")))
    draw, statuses = random.Random(0), set()
    for _ in range(LINES):
        words = command_line(draw)
        try:
            status = main(words)
        except SystemExit as ended:
            status = ended.code
        out, err = capsys.readouterr()
        assert status in (0, 1, 2), words
        assert "Traceback" not in err and err.count("\n") <= 25 and len(err) < 12_000, (words, err)
        assert status != 2 or (err.startswith("gfnet-bench: ") and err.count("\n") == 1), (words, err)
        assert all(c.isprintable() or c in "\n\t" for c in err + out), words
        statuses.add(status)
    assert statuses == {0, 1, 2}
