"""Every command that help, README and the other documents show, run as it stands; dry, where it would take long."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gfnet_bench import plugins
from gfnet_bench.attacks.checks import CheckResult, Verdict
from gfnet_bench.cli import COMMANDS, main, parser
from gfnet_bench.cli import EXAMPLES as TOP
from gfnet_bench.metrics.agreement import Agreement
from gfnet_bench.studies.paper import ITEMS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "results" / "README.md",
    *(ROOT / "gfnet_bench").rglob("*.md"),
]
DRY = [command.NAME for command in COMMANDS if "--dry-run" in parser()._actions[-1].choices[command.NAME].format_help()]


def commands(text):
    """The command lines in a text: on lines of their own, a remark after two spaces apart, or in backticks.

    The mere name of a command in backticks is no example.
    """
    lines = re.findall(r"^ *(?:.*\$ )?(gfnet-bench [a-z].*?)(?:  .*| > .*| +#.*)?$", text, re.MULTILINE)
    return [" ".join(line.split()) for line in [*lines, *re.findall(r"`(gfnet-bench [a-z-]+ [^`\n]*)`", text)]]


def option_table():
    """README's table of options, each as an addition to the command it is about."""
    table = re.search(r"\| option \| for \|\n.*?\n\n", README, re.DOTALL)[0]
    for row in table.strip().splitlines()[2:]:
        for words in re.findall(r"`(-[^`]*)`", row.split("|")[1]):
            model = "" if words.startswith("--model") else "--model gfnet_s "
            yield f"gfnet-bench robustness {model}{words}"


SHOWN = {
    *commands(TOP),
    *(line for command in COMMANDS for line in commands(command.EXAMPLES)),
    *(line for document in DOCUMENTS for line in commands(document.read_text(encoding="utf-8"))),
    *(ITEMS[name].fill for name in ITEMS if ITEMS[name].fill),
    *option_table(),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the examples name: photographs, weights, and records of a few small runs."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "val").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    for file in (folder / "val" / "a.jpg", folder / "photo.jpg"):
        Image.fromarray(noise).save(file)
    shutil.copytree(folder / "val", folder / "photos")
    for name in ("cat", "dog"):
        shutil.copytree(folder / "val", folder / "pets" / name)
    (folder / "my.pth").write_bytes(b"weights")
    (folder / "mynet.py").write_text(
        "from torch import nn\n"
        "def make(): return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1000))\n"
    )
    (folder / "doubt.py").write_text(re.search(r"```python\n(# doubt\.py\n.*?)```", README, re.DOTALL)[1])
    shutil.copy(ROOT / "tests" / "plugins" / "toy_attack.py", folder / "slide.py")
    for name in ("robustness/gfnet_mini", "complexity/depthwise_conv"):
        shutil.copytree(ROOT / "results" / "records" / name, folder / "results" / "records" / name)
    shutil.copytree(folder / "results", folder / "other" / "results")
    with pytest.MonkeyPatch.context() as here:
        here.chdir(folder)
        small = ["-m", "gfnet_mini", "--dataset", "mini", "--attack", "clean", "--limit", "10", "-j", "0"]
        assert main(["robustness", *small, "--plan-only", "run.json"]) == 0
    return folder


def test_there_are_examples_of_every_command():
    assert {line.split()[1] for line in SHOWN} == {command.NAME for command in COMMANDS}
    assert all("gfnet-bench" in command.EXAMPLES for command in COMMANDS) and len(SHOWN) > 60


@pytest.mark.parametrize("line", sorted(SHOWN))
def test_an_example_does_what_it_says(line, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.setenv("GFNET_BENCH_CACHE", "cache")
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    words = shlex.split(line)[1:]
    if not torch.cuda.is_available():
        words = ["cpu" if word == "cuda" else word for word in words]
    if words[0] in DRY and "--preview" not in words and words[:2] != ["data", "status"]:
        words.append("--dry-run")
    if words[0] == "attack-check":  # which other examples compare
        words += ["--output-dir", "verdicts"]
    # What takes long and is tested elsewhere.
    monkeypatch.setattr(
        "gfnet_bench.attacks.checks.check", lambda *a, **k: Verdict([CheckResult("", "pass", "")], None)
    )
    monkeypatch.setattr("gfnet_bench.benches.verify.verify", lambda *a: Agreement(9, 9, 8, 8, 0, 0))
    monkeypatch.setattr("gfnet_bench.corrupted_folder.contact_sheet.draw", lambda *a, **k: None)
    with plugins.apart():
        status = main(words)
    out, err = capsys.readouterr()
    assert status in (0, 1)
    if status == 1:
        reasons = "expected|cannot be fetched|not here yet|not on this machine|no weights at|put it into"
        assert re.search(reasons, err + out), "an example fails without a reason"
    else:
        assert out or "wrote" in err


def test_readme_in_python(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(import gfnet_bench as gb\n.*?)```", readme, re.DOTALL)
    known = {}
    exec(compile(block, "README.md", "exec"), known)
    assert "my net" in capsys.readouterr().out and set(known["numbers"].model) == {"my net", "vit_mini"}
