"""Every experiment says how to run it and what came out, and can at least be imported."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / "experiments").glob("*.py"))


def imported(name, monkeypatch):
    script = ROOT / "experiments" / f"{name}.py"
    monkeypatch.syspath_prepend(str(script.parent))
    spec = importlib.util.spec_from_file_location(script.stem, script)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, script.stem, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.stem)
def test_experiment_is_documented_and_imports(script, monkeypatch):
    module = imported(script.stem, monkeypatch)
    assert "Run:" in module.__doc__ and "Outcome:" in module.__doc__
    assert callable(module.main)


def test_the_readme_names_every_folder_of_the_package():
    readme = (ROOT / "README.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text()
    folders = {f.parent.name for f in (ROOT / "gfnet_bench").glob("*/__init__.py")}
    assert [name for name in sorted(folders) if name not in readme] == []


@pytest.mark.parametrize(("dtype", "tf32"), [("float32", False), ("tf32", True), ("bfloat16", False)])
def test_networks_are_timed_in_the_precision_of_their_row(monkeypatch, dtype, tf32):
    module, seen = imported("filter_speed", monkeypatch), []

    def turns(calls, *_):
        seen.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))
        return {name: [1.0] for name in calls}

    monkeypatch.setattr(module, "take_turns", turns)
    assert f"| {dtype} |" in module.network_row("gfnet_mini", 1, dtype, 1, "cpu", 1)
    assert seen == [(tf32, tf32)]
