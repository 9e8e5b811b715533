"""Imports point down: the table of layers in CONTRIBUTING, held against the code."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import gfnet_bench

PACKAGE = Path(gfnet_bench.__file__).parent

BOTTOM = set(
    "ball bars catalog clustering conventions downloads engines errors families feeding files filetypes frames halving "
    "inputs interrupts leases logs metrics mini owncode packed_records packing planning plugins processes published "
    "randomness records registry runs scene_sets schemas sourcecode spectra spelling store suites terminal "
    "timelimits trusted watch weightfile".split()
)
NOUNS = {"models", "datasets", "attacks", "corruptions", "mixers", "profiling"}

# What each part may import beside itself; the bottom modules may import one another.
MAY_IMPORT = {
    **{name: BOTTOM for name in BOTTOM | NOUNS},
    "schemas": BOTTOM | {"datasets"},
    "mixers": BOTTOM | {"models"},
    "profiling": BOTTOM | {"mixers"},
    "evaluation": BOTTOM,
    "pieces": BOTTOM | {"evaluation"},
    "runner": BOTTOM,
    "segmentation": BOTTOM | NOUNS,
    "present": BOTTOM | {"datasets", "models", "perturbations"},
    "corrupted_folder": BOTTOM | {"corruptions", "datasets", "perturbations"},
    "studies": BOTTOM | {"datasets", "mixers", "models", "perturbations"},
    "benches": BOTTOM
    | NOUNS
    | {"perturbations", "evaluation", "pieces", "present", "runner", "segmentation", "studies"},
    "perturbations": BOTTOM | {"attacks", "corruptions"},
    "reports": BOTTOM | {"attacks", "datasets", "mixers", "perturbations"},  # declarations, which need no torch
    "commands": BOTTOM
    | NOUNS
    | {
        "perturbations",
        "evaluation",
        "pieces",
        "runner",
        "present",
        "corrupted_folder",
        "segmentation",
        "studies",
        "benches",
        "reports",
    },
    "cli": BOTTOM | {"commands"},
    "__main__": {"cli", "interrupts"},
    "api": BOTTOM | NOUNS | {"perturbations", "evaluation", "runner", "studies", "benches", "reports", "commands"},
    "__init__": BOTTOM | NOUNS | {"perturbations", "api"},
}

FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = {
    ".".join(("gfnet_bench", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): file
    for file in FILES
}


def part(file):
    relative = file.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def statements(tree):
    """The nodes of a file without what type checkers alone read."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from statements(node)


def imported(file, nodes=ast.walk):
    """The modules that a file imports, anywhere in it."""
    for node in nodes(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in MODULES else node.module for name in names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_point_down(file):
    own = part(file)
    inside = {name.split(".")[1] for name in imported(file) if name.startswith("gfnet_bench.")}
    assert inside - {own, "__version__"} <= MAY_IMPORT[own]


HEAVY = {"torch", "timm", "torchvision"}


LIGHT = {"records", "store", "packing", "schemas", "metrics", "reports", "published"}


@pytest.mark.parametrize("file", [f for f in FILES if part(f) in LIGHT], ids=str)
def test_reports_need_no_torch(file):
    assert not {name.split(".")[0] for name in imported(file)} & HEAVY


def test_names_help_and_reports_come_without_torch(tmp_path):
    commands = [["--help"], ["robustness", "--help"], ["list"], ["report", "all", "--output-dir", str(tmp_path)]]
    light = [name for name in MODULES if name.startswith(("gfnet_bench.reports", "gfnet_bench.studies"))]
    program = f"""import sys
sys.modules.update(dict.fromkeys({sorted(HEAVY)}))  # whoever imports one of these fails
for name in {light}:
    __import__(name)
from gfnet_bench.cli import main
for words in {commands}:
    try:
        status = main(words)
    except SystemExit as end:
        status = end.code
    assert not status, words"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_every_part_has_its_place():
    assert {part(file) for file in FILES} == set(MAY_IMPORT)


def test_no_import_goes_in_a_circle():
    arrows = {name: set(imported(file, statements)) - {name} for name, file in MODULES.items()}
    TopologicalSorter(arrows).prepare()  # raises CycleError, which names it
