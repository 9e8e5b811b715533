"""CONTRIBUTING's table, held against the code: a file of each kind, outside the package, is like what is built in."""

import contextlib
import io
import json
import re
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pytest

from gfnet_bench import plugins
from gfnet_bench.cli import main
from gfnet_bench.sourcecode import Code
from gfnet_bench.store import Store

TOYS = Path(__file__).parent / "plugins"
ROWS = re.findall(r"^\| (an? [a-z ]+?)(?:,[^|]*)? \|", (TOYS.parents[1] / "CONTRIBUTING.md").read_text(), re.MULTILINE)
# Which no plug-in brings.
OTHERS = {"a check of attacks", "a figure", "a command", "a value that a record holds", "a question", "an engine"}
KINDS = {
    "an attack": ("attacks", ["slide"]),
    "a corruption": ("corruptions", ["haze"]),
    "a token mixer": ("mixers", ["neighbour"]),
    "a metric": ("metrics", ["doubt"]),
    "a data set": ("datasets", ["toy", "toy_c"]),
    "a suite": ("suites", ["toy"]),
    "a model": ("models", ["toy_net", "toy_corner"]),
    "a report": ("reports", ["tally"]),
}
"""Rows of the table: the group of entry points, and what the file in `tests/plugins` brings."""

MEASURE = ["--attack", "clean", "slide:share=0.5", "--corruption", "haze", "--severity", "3", "5"]


def toy(group):
    return TOYS / f"toy_{group.removesuffix('s')}.py"


class Said(NamedTuple):
    out: str
    err: str


class Run:
    """The toys measured once, and what commands say of them."""

    def __init__(self, folder):
        self.files = sorted(TOYS.glob("*.py"))
        self.named = list(chain.from_iterable(("--plugin", str(file)) for file in self.files))
        self.here = ["--output-dir", str(folder)]
        self.folder = folder

    def say(self, *words, named=True, status=0):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            assert main([*words, *(self.named if named else [])]) == status, err.getvalue()
        return Said(out.getvalue(), err.getvalue())

    def json(self, *words, **how):
        return json.loads(self.say(*words, "--format", "json", **how).out)

    def robustness(self, *words, **how):
        return self.say("robustness", "--suite", "toy", *MEASURE, "--no-progress", *self.here, *words, **how)

    def complexity(self, *words, **how):
        size = ["--tokens", "16", "--width", "12", "-b", "1", "--time-budget", "0.05", "--device", "cpu"]
        return self.say("complexity", "--mixer", "neighbour", *size, "--no-progress", *self.here, *words, **how)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A folder of results: both networks on the images, as they are, attacked and corrupted, and the mixer's costs."""
    folder = tmp_path_factory.mktemp("toys")
    with plugins.apart():
        run = Run(folder)
        run.robustness("--device", "cpu")
        run.complexity()
    return folder


@pytest.fixture
def run(measured):
    with plugins.apart():
        yield Run(measured)


def test_every_row_is_tried():
    assert set(ROWS) == KINDS.keys() | OTHERS
    assert {group for group, _ in KINDS.values()} == set(plugins.GROUPS)
    assert {toy(group) for group in plugins.GROUPS} == set(TOYS.glob("*.py"))


@pytest.mark.parametrize(("group", "names"), KINDS.values(), ids=KINDS)
def test_it_is_listed_with_its_origin_and_records_say_what_its_code_was(group, names, run):
    listed = {row["name"]: row["from"] for row in run.json("list", group)}
    assert {
        name: of for name, of in listed.items() if of != "built in" and name != "torchattacks:NAME"
    } == dict.fromkeys(names, toy(group).name)
    told = {name for r in Store(run.folder) for name in r.provenance.get("plugins", {}).items()}
    noted = toy(group).name, Code(str(toy(group))).sha256()
    assert (noted in told) == (group not in ("metrics", "reports")), "no number rests on these two"


def test_a_dry_run_finds_all_measured_and_edited_code_is_measured_again(measured, tmp_path):
    run = Run(measured)
    with plugins.apart():
        rows = json.loads(run.robustness("--dry-run", "--format", "json").out)
    assert {row["perturbation"]: row["to_do"] for row in rows} == {
        "clean": 0,
        "slide:epsilon=2,share=0.5": 0,
        "1 corruption x 2 severities by cifar_c": 0,
    }
    (tmp_path / "toy_attack.py").write_text(toy("attacks").read_text() + "# edited\n")
    run.named = [str(tmp_path / "toy_attack.py") if word == str(toy("attacks")) else word for word in run.named]
    with plugins.apart():
        again = run.robustness("--dry-run", "--format", "json")
    assert {row["perturbation"]: row["to_do"] for row in json.loads(again.out)}["slide:epsilon=2,share=0.5"] == 2
    assert "measured again, on other code of plug-ins" in again.err


COLUMNS = {"Top-1": "toy", "SLIDE 2 share=0.5": "toy", "toy-C mean of haze 3 5": "toy_c", "Doubt": "toy"}


def test_tables_have_its_title_its_interval_and_its_paired_test(run):
    rows = run.json("report", *run.here)
    for title, dataset in COLUMNS.items():
        of = [row for row in rows if row["column"] == title]
        assert {row["model"] for row in of} == {"toy_net", "toy_corner"} and {row["dataset"] for row in of} == {dataset}
        assert all(row["status"] == "measured" for row in of)
        key = "ours_percent"
        assert all(row[f"{key}_low"] < row[key] < row[f"{key}_high"] or row[key] in (0, 100) for row in of), title
    text = run.say("report", *run.here, "--details", "--metric", "doubt").out
    assert text.startswith("Robustness and generalisation, Toys, %")
    paired = text.partition("Paired comparisons")[2]
    assert all(title in paired for title in COLUMNS)
    assert "Doubt: what the network's confidence in its answer lacks to 1." in text


def test_latex_the_page_and_bibtex_know_it(run, tmp_path):
    tex = run.say("report", *run.here, "--metric", "doubt", "--format", "latex").out
    page = tmp_path / "page.html"
    run.say("report", *run.here, "--html", str(page), "--metric", "doubt")
    for shown in (tex, page.read_text()):
        assert all(title in shown for title in COLUMNS), shown[:2000]
    assert "tally" in page.read_text() and "neighbour" in page.read_text()
    cited = set(re.findall(r"\{(toy_\w+),", run.say("report", *run.here, "--bibtex").out))
    assert cited == {"toy_models", "toy_images", "toy_slide", "toy_neighbour"}
    assert [row["records"] for row in run.json("report", "tally", *run.here)] == [4, 4]


def test_a_mixer_is_counted_by_its_formula_and_weighed_in_a_process_of_its_own(run):
    rows = [row for row in run.json("report", "complexity", *run.here) if row["name"] == "neighbour"]
    assert rows and all(row[f"{what}_status"] == "measured" for row in rows for what in ("macs", "latency", "memory"))
    (row,) = [
        r.values for r in Store(run.folder) if r.cell.model == "neighbour" and r.cell.settings["measure"] == "count"
    ]
    assert row["operators"] == row["formula_operators"]


def test_a_recipe_without_its_constants_is_refused_in_a_sentence(run, tmp_path):
    words = ["robustness", "--dataset", "toy_c", "--corruption", "haze", "--recipe", "imagenet_c", "--severity", "1"]
    said = run.say(*words, "-m", "toy_net", "--no-progress", "--output-dir", str(tmp_path), status=1).err
    assert "haze: expected a recipe that it has constants for (cifar_c), found imagenet_c" in said


def test_data_commands_know_a_set(run):
    assert {row["name"]: row["state"] for row in run.json("data", "status")}["toy"] == "60 of 60 images"
    assert "unknown dataset" in run.say("data", "get", "toyy", status=2).err
    run.say("data", "get", "toy")


def test_without_the_plug_ins_their_records_are_read_all_the_same(run, tmp_path):
    text = run.say("report", *run.here, "--details", named=False).out
    assert "SLIDE 2 norm=l2 share=0.5" in text and "toy_c mean of haze 3 5" in text and "toy_corner" in text
    run.say("report", "all", *run.here, "--html", str(tmp_path / "page.html"), named=False)
    assert "neighbour" in run.say("report", "complexity", *run.here, named=False).out
    assert "@misc{toy" not in run.say("report", *run.here, "--bibtex", named=False).out
