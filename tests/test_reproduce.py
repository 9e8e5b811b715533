"""The command beside every record, read by the command line's own parser: its plan has that very cell in it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import whole_records
from test_report_robustness import cell

from gfnet_bench import planning, runner
from gfnet_bench.cli import main, parser
from gfnet_bench.commands import options
from gfnet_bench.commands.parser import parse
from gfnet_bench.records import Cell
from gfnet_bench.reports.reading.reproduce import CHECKPOINT, CODE, reproduction
from gfnet_bench.runs import read
from gfnet_bench.store import Store

RESULTS = Path(__file__).parents[1] / "results"


class Planned(Exception):
    """What would have been measured; nothing is."""


def planned(words: list[str], folder: Path, monkeypatch) -> set[str]:
    """The sha256 of every cell that a command would measure."""
    monkeypatch.chdir(folder)
    assert words[0] == "gfnet-bench"
    words = words[1:]
    if words[0] in ("robustness", "complexity", "filters"):
        assert main([*words, "--plan-only", "run.json"]) == 0
        return {one["sha256"] for one in read(folder / "run.json").cells}

    def caught(cells, *args, **more):
        raise Planned({one.sha256 for one in cells})

    monkeypatch.setattr(runner, "run", caught)
    monkeypatch.setattr(planning, "plan", caught)
    arguments = parse(parser(), words)
    options.settle(arguments)
    with pytest.raises(Planned) as found:
        arguments.run(arguments)
    return found.value.args[0]


def kinds() -> dict[str, Cell]:
    """A record of every kind that was ever measured here, and of kinds that were not."""
    found = {}
    for r in Store(RESULTS).load(arrays=False).records:
        s = r.cell.settings
        done = (s.get("perturbation") or {}).get("name")
        few = done if s.get("dataset") != "mini_c" else "corrupted"
        key = [r.cell.study, s.get("measure"), s.get("subject"), s.get("kind"), few, s.get("dataset"), s.get("limit")]
        found.setdefault(" ".join(str(part) for part in key if part is not None), r.cell)
    return found


KINDS = kinds()


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_of_a_record_measures_that_cell(kind, tmp_path, monkeypatch):
    one = KINDS[kind]
    if "device" in one.settings:  # the same machine is part of the cell
        monkeypatch.setattr("gfnet_bench.profiling.devices.device_key", lambda device: one.settings["device"])
    again = reproduction(one)
    assert again is not None and again.needs == ()
    found = planned(shlex.split(again.line), tmp_path, monkeypatch)
    assert one.sha256 in found
    if one.study in ("robustness", "attack_check"):
        assert found == {one.sha256}


PGD = {"name": "pgd", "norm": "linf", "epsilon": 4 / 255, "relative_step": 0.5, "steps": 20, "random_start": False}
UNUSUAL = {
    "seed and share": cell("gfnet_mini", "mini", PGD, seed=3, limit=0.1),
    "precision": cell("gfnet_mini", "mini", {"name": "clean"}, dtype="bfloat16"),
    "size and transform": cell("resnet50", "imagenet_a", {"name": "clean"}, img_size=[224, 320], transform="model"),
    "published files": cell("deit_small", "imagenet_c", {"name": "fog", "severity": 4}),
    "another recipe": cell(
        "vit_mini", "mini_c", {"name": "snow", "severity": 2, "recipe": "imagecorruptions"}, limit=50
    ),
    "mean and std": cell("resnet18", "imagenet", {"name": "clean"}, mean=[0.5, 0.4, 0.1], std=[0.25, 0.25, 0.25]),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_settings_that_are_not_as_usual_stand_in_the_command(name, tmp_path, monkeypatch):
    found = planned(shlex.split(reproduction(UNUSUAL[name]).line), tmp_path, monkeypatch)
    assert found == {UNUSUAL[name].sha256}


def test_files_of_ones_own_are_named_by_their_hashes(tmp_path, monkeypatch):
    from gfnet_bench.weightfile import sha256_of_weights

    (tmp_path / CHECKPOINT).write_bytes(b"weights")
    sha256 = sha256_of_weights(tmp_path / CHECKPOINT)
    one = cell("gfnet_mini", "mini", {"name": "clean"}, checkpoint=sha256)
    again = reproduction(one)
    assert planned(list(again.words), tmp_path, monkeypatch) == {one.sha256}
    assert len(again.needs) == 1 and sha256 in again.needs[0]


def test_code_of_ones_own_has_its_file_in_the_command(tmp_path, monkeypatch):
    from gfnet_bench.models.own import own_settings

    monkeypatch.chdir(tmp_path)
    Path(CODE).write_text(
        "from torch import nn\n"
        "def make(): return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1000))\n"
    )
    one = cell(f"{CODE}:make", "imagenet", {"name": "clean"}, **own_settings(f"{CODE}:make"))
    assert one.sha256 in planned(list(reproduction(one).words), tmp_path, monkeypatch)


def test_a_trained_segmentation_is_trained_alike(tmp_path, monkeypatch):
    from gfnet_bench.commands.segmentation import _cells

    unusual = ["--iterations", "9", "--rate", "0.1", "--corruption", "fog", "--severity", "3", "--seed", "2"]
    for model, more in (("pvt_mini", []), ("gfnet_h_mini", unusual)):
        for one in _cells(parse(parser(), ["segmentation", "-m", model, *more]), model):
            assert one.sha256 in planned(list(reproduction(one).words), tmp_path, monkeypatch)
            monkeypatch.undo()


def test_a_study_of_another_version_has_no_command():
    assert reproduction(Cell("astrology", 1, "gfnet_mini", {})) is None


def test_every_kind_of_record_has_a_command():
    for name, (record, _) in whole_records.every_kind().items():
        assert reproduction(record.cell) is not None, name
