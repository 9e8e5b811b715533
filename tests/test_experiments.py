"""Every experiment says how to run it and what came out, and can at least be imported."""

import ast
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch

from gfnet_bench.cli import parser
from gfnet_bench.profiling import memory

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / "experiments").glob("[!_]*.py"))


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


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.stem)
def test_experiment_takes_the_package_of_its_checkout_first(script):
    """`python experiments/x.py` puts its own folder alone on the path."""
    names = re.findall(r"^(?:from|import) (\w+)", script.read_text(), re.MULTILINE)
    if "gfnet_bench" in names:
        assert names.index("_checkout") < names.index("gfnet_bench")


def test_an_experiment_runs_without_installation(tmp_path):
    script, folder = tmp_path / "script.py", str(ROOT / "experiments")
    script.write_text(
        f"import sys; sys.path[0] = {folder!r}; import _checkout, gfnet_bench; print(gfnet_bench.__file__)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).parents[1] == ROOT


@pytest.mark.parametrize("part", ["a", "b", "c"])
def test_a_dry_run_of_each_part_on_a_cpu(part, monkeypatch, tmp_path):
    module = imported("on_gpu", monkeypatch)
    monkeypatch.setenv("OUT", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["on_gpu.py", part, "--dry-run"])
    monkeypatch.setattr(memory, "peak", lambda build, device: memory.Memory(1000, None, 10, "process"))
    assert module.main() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"log_{part}.txt", f"res_{part}.tgz"]
    log = (tmp_path / f"log_{part}.txt").read_text()
    assert [line.split(":")[0] for line in log.splitlines() if line.startswith("== ")] == [
        f"== {step.name}" for step in module.PARTS[part]
    ]
    with tarfile.open(tmp_path / f"res_{part}.tgz") as archive:
        names = archive.getnames()
    assert {name.split("/")[0] for name in names} - {"log"} == {"tables", "figures", "records"}
    last = {"a": "filter_speed_cpu", "b": "complexity_long", "c": "filter_speed_large_cpu"}[part]
    assert f"tables/{last}.md" in names


def test_every_command_of_the_parts_is_understood(monkeypatch):
    """A GPU's hour is not the time to meet a misspelt option."""
    module = imported("on_gpu", monkeypatch)
    for command in (c for steps in module.PARTS.values() for step in steps for c in step.commands):
        script, *rest = shlex.split(command.format(results="results"))
        if rest[0] == "gfnet_bench":
            parser().parse_args(rest[1:])
        elif script != "-m":
            text = (ROOT / script).read_text()
            assert [option for option in rest if option.startswith("--") and f'"{option}"' not in text] == []
        else:
            assert rest[0] == "pytest" and all((ROOT / word).exists() for word in rest if word.startswith("tests"))


def test_each_part_ends_within_nine_minutes_and_a_step_within_its_limit(monkeypatch, tmp_path):
    module = imported("on_gpu", monkeypatch)
    for steps in module.PARTS.values():
        assert sum(step.estimate_s for step in steps) < module.PART_S < 540
        assert all(step.estimate_s < step.limit_s for step in steps)
    log = tmp_path / "log.txt"
    end = module.together(["-c 'print(1)'", "-c 'import time; time.sleep(60)'"], log, 0.5)
    assert end == "status 0, ended after its 0 s" or end.endswith("ended after its 0 s")
    assert "time.sleep(60)" in log.read_text()


BARE = set("torch torchvision timm triton numpy pandas matplotlib PIL safetensors huggingface_hub tqdm pytest".split())
"""What a bare GPU machine has."""


def test_experiments_and_tests_load_on_a_bare_gpu_machine():
    """What is optional, or a wheel that is missing there, is imported where it is needed, or by importorskip."""
    files = [file for folder in ("tests", "experiments", "gfnet_bench") for file in (ROOT / folder).rglob("*.py")]
    known = BARE | {file.stem for file in files} | {"gfnet_bench"} | set(sys.stdlib_module_names)
    strange = {}
    for file in files:
        for node in ast.parse(file.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            strange |= {name: file.name for name in names if name.split(".")[0] not in known}
    assert strange == {}


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


@pytest.mark.filterwarnings("default")  # what a kernel and its client warn of is theirs
def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(ROOT / "experiments" / "front_door.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "strip the outputs of the notebook"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output.data for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output]
    assert sum("<table" in data.get("text/html", "") for data in shown) >= 3
    assert all(len(data["text/plain"]) < 1000 for data in shown)


def test_the_budget_of_a_gpu_against_counts_by_hand(monkeypatch):
    """A linear layer, a grid of two tokens a side, and Table 3 of a model whose passes take a second and three."""
    pytest.importorskip("triton")
    module = imported("gpu_budget", monkeypatch)
    limits = module.Ceilings(1e9, {"float32": 1e9, "tf32": 2e9, "bfloat16": 4e9})
    with torch.device("meta"):
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 4, 10, bias=False))
    flops = 2 * module.BATCH * 48 * 10
    moved = 4 * (module.BATCH * 48 + 48 * 10 + module.BATCH * 10)
    for dtype, rate in (("float32", 1e9), ("tf32", 2e9)):
        traffic = module.forward(net, 4, dtype, limits)
        assert (traffic.launches, traffic.flops, traffic.bytes) == (1, flops, moved)
        assert traffic.seconds == pytest.approx(max(moved / 1e9, flops / rate))
    half = module.forward(net, 4, "bfloat16", limits)  # two casts, and a product of half the bytes
    assert (half.launches, half.flops, half.bytes) == (3, flops, moved // 2 + 6 * (module.BATCH * 48 + 48 * 10))
    assert module.gradient(net, 4, "float32", limits).flops == 2 * flops

    seconds = [row.split(" | ")[-1].rstrip(" |") for row in module.stage_rows({"float32": (1.0, 3.0)}, 0.5)]
    assert seconds == ["50,000", "17,500", "200,000", "800,000", "5,625,000", "6,692,500"]

    (row,) = module.filter_rows([17], limits, module.Tables(ROOT))
    cells = row.strip("| ").split(" | ")
    numbers = module.FILTER_BATCH * 17 * 17 * module.CHANNELS
    assert int(cells[1]) == 3 and float(cells[2]) == round((24 * numbers + 8 * 17 * 9 * module.CHANNELS) / 1e6)
    assert 20 < int(cells[3]) < 200 and 32 <= int(cells[4]) <= 255 and cells[5] == "0"


def test_what_was_measured_stands_beside_the_budget(monkeypatch, tmp_path):
    module = imported("gpu_budget", monkeypatch)
    monkeypatch.setattr(module, "TABLES", tmp_path)
    row = "| 28 | forward | auto | 0.103 | 3.84 | 3.85 | 4.9 | 7.9e-07 |\n"
    (tmp_path / "filter_speed_cuda.md").write_text(row + row.replace("28", "14").replace("4.9", "1.8"))
    assert [module.Tables(tmp_path).filtered(side) for side in (14, 28, 42)] == ["1.8", "4.9", ""]
    (tmp_path / "evaluate_speed_tf32_cuda.md").write_text("| NVIDIA H200 | gfnet_s | 14057 | 11568 | 79.3% |\n")
    assert module.Tables(tmp_path).passes("gfnet_s") == {"tf32": 14057.0}
