"""The command that measures a record again, and what goes into it by hand: files whose hashes alone are known."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

from gfnet_bench import spelling
from gfnet_bench.datasets import DATASETS, suite_of
from gfnet_bench.perturbations import Corrupted, of_cell
from gfnet_bench.records import Cell
from gfnet_bench.suites.own import is_own

CHECKPOINT, CODE, IMAGES = "WEIGHTS.pth", "FILE.py", "FOLDER"


class Reproduction(NamedTuple):
    """How a cell is measured again.

    Attributes:
        words: of the command line, the program's name first.
        needs: sentences about the words that stand for files of somebody's own.
    """

    words: tuple[str, ...]
    needs: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """As it is typed into a shell."""
        return shlex.join(self.words)


def reproduction(cell: Cell) -> Reproduction | None:
    """The command whose plan has this cell in it, on the same device where that is a setting; None if there is none."""
    writers = {
        "robustness": _robustness,
        "complexity": _complexity,
        "filters": _filters,
        "attack_check": _attack_check,
        "segmentation": _segmentation,
    }
    if cell.study not in writers:
        return None
    words = writers[cell.study](cell)
    again = [] if words[0] == "paper" else ["--overwrite", "always"]
    return Reproduction(("gfnet-bench", *words, *again), tuple(_needs(cell)))


def _needs(cell: Cell) -> list[str]:
    s = cell.settings
    found = []
    if s.get("checkpoint"):
        found.append(f"{CHECKPOINT}: the weights with sha256 {s['checkpoint']}")
    if s.get("code"):
        found.append(f"{CODE}: the code that makes the network, sha256 {s['code']}")
    if is_own(str(s.get("dataset", ""))):
        found.append(f"{IMAGES}: the images {s['dataset']}")
    return found


def _robustness(cell: Cell) -> list[str]:
    done, dataset = of_cell(cell), cell.settings["dataset"]
    kind = "--corruption" if isinstance(done, Corrupted) else "--attack"
    return ["robustness", *_model(cell), *_images(dataset), kind, done.spelling, *_how(cell.settings)]


def _attack_check(cell: Cell) -> list[str]:
    s = cell.settings
    known = {**s, "dtype": "float32", "transform": "paper"}
    return ["attack-check", *_model(cell), *_images(s["dataset"]), "--attack", of_cell(cell).spelling, *_how(known)]


def _filters(cell: Cell) -> list[str]:
    s, measure = cell.settings, cell.settings["measure"]
    words = ["filters", *_model(cell)]
    if measure == "spectra":
        return [*words, *_how(s)]
    done = of_cell(cell)
    words += [f"--{measure}", *_images(suite_of(s["dataset"]).main if isinstance(done, Corrupted) else s["dataset"])]
    if measure == "heatmap":
        noise = s["perturbation"]
        words += ["--norm", spelling.number(noise["norm"])]
        words += ["--frequencies", str(noise["frequencies"])] if noise["frequencies"] else []
        return [*words, *_how(s)]
    words += ["--corruption" if isinstance(done, Corrupted) else "--attack", done.spelling]
    if s.get("kind"):
        ends = s["cutoff"] if isinstance(s["cutoff"], list) else [s["cutoff"]]
        words += ["--kind", s["kind"], "--cutoff", *map(spelling.number, ends)]
    return [*words, *_how(s)]


def _complexity(cell: Cell) -> list[str]:
    s = cell.settings
    if s["subject"] == "semantic_fpn":
        return ["paper", "table2"]
    words = ["complexity"]
    if s["subject"] == "model":
        words += [*_model(cell), *_size(s)]
    else:
        words += ["--mixer", cell.model, "--tokens", str(s["tokens"]), "--width", str(s["width"])]
    if s["measure"] in ("count", "table1"):
        usual = "authors" if s["subject"] == "model" else "table1"
        charged = s.get("convention", usual)
        return [*words, "--count-only", *(["--convention", charged] if charged != usual else [])]
    words += ["--device", s["device"]["kind"], "--batch-size", str(s["batch"])]
    words += ["--dtype", s["dtype"]] if s["dtype"] != "float32" else []
    words += ["--backward"] if s["mode"] == "forward_backward" else []
    return [*words, *(["--cuda-graphs"] if s.get("cuda_graphs") else [])]


def _segmentation(cell: Cell) -> list[str]:
    s, words = cell.settings, ["segmentation", *_model(cell)]
    if (done := s["corruption"]) is not None:
        words += ["--corruption", done["name"], "--severity", str(done["severity"])]
    if training := s["training"]:
        words += ["--iterations", str(training["iterations"]), "--rate", spelling.number(training["rate"])]
        words += ["--batch-size", str(training["batch"])]
    return [*words, *_how(s)]


def _model(cell: Cell) -> list[str]:
    return ["--model", f"{CODE}:{cell.model.rpartition(':')[2]}" if "code" in cell.settings else cell.model]


def _images(dataset: str) -> list[str]:
    spec = DATASETS[dataset] if dataset in DATASETS else None
    if not is_own(dataset):
        return ["--dataset", dataset]
    return ["--images", IMAGES, *([] if spec is None else ["--dataset", dataset])]


def _size(settings: Mapping[str, Any]) -> list[str]:
    size = settings.get("img_size")
    return [] if size is None else ["--img-size", "x".join(map(str, size)) if len(set(size)) > 1 else str(size[0])]


def _how(settings: Mapping[str, Any]) -> list[str]:
    """Options of settings that are not as usual."""
    s, words = settings, _size(settings)
    words += ["--checkpoint", CHECKPOINT] if s.get("checkpoint") else []
    words += ["--weights-key", s["weights_key"]] if s.get("weights_key") else []
    words += ["--transform", s["transform"]] if s.get("transform", "paper") != "paper" else []
    words += ["--limit", spelling.word(s["limit"])] if s.get("limit") is not None else []
    words += ["--seed", str(s["seed"])] if s.get("seed") else []
    words += ["--dtype", s["dtype"]] if s.get("dtype", "float32") != "float32" else []
    for name in ("mean", "std"):
        words += [f"--{name}", *map(spelling.number, s[name])] if s.get(name) else []
    return words
