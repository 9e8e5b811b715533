"""Every experiment says how to run it and what came out, and can at least be imported."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / "experiments").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.stem)
def test_experiment_is_documented_and_imports(script, monkeypatch):
    monkeypatch.syspath_prepend(str(script.parent))
    spec = importlib.util.spec_from_file_location(script.stem, script)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, script.stem, module)
    spec.loader.exec_module(module)
    assert "Run:" in module.__doc__ and "Outcome:" in module.__doc__
    assert callable(module.main)


def test_the_readme_names_every_folder_of_the_package():
    readme = (ROOT / "README.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text()
    folders = {f.parent.name for f in (ROOT / "gfnet_bench").glob("*/__init__.py")}
    assert [name for name in sorted(folders) if name not in readme] == []
