"""Which column of the robustness tables a record fills, and what its rows and columns are called."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from gfnet_bench.catalog import MODELS
from gfnet_bench.datasets import DATASETS, DatasetSpec, suite_of
from gfnet_bench.metrics import METRICS, Metric
from gfnet_bench.records import Cell, canonical_json
from gfnet_bench.suites import DEFAULT, SUITES, Suite

SCORE = "_score"
"""An entry of the rows of data that no column shows: the `Score` of the number."""

CLEAN = canonical_json({"name": "clean"})
SEVERITIES = (1, 2, 3, 4, 5)

FGSM: dict[str, Any] = {"name": "fgsm", "norm": "linf", "epsilon": 1 / 255}
PGD: dict[str, Any] = {**FGSM, "name": "pgd", "relative_step": 0.5, "steps": 5, "random_start": True}
_PAPER = {"fgsm": FGSM, "pgd": PGD}

MAIN = SUITES[DEFAULT].main

_PUBLISHED = {
    (MAIN, "clean", "top1"): "top1",
    (MAIN, "clean", "top5"): "top5",
    (MAIN, "fgsm", "top1"): "fgsm_top1",
    (MAIN, "pgd", "top1"): "pgd_top1",
    ("imagenet_c", "", "mce"): "imagenet_c_mce",
    ("imagenet_a", "clean", "top1"): "imagenet_a_top1",
    ("imagenet_v2", "clean", "top1"): "imagenet_v2_top1",
    ("imagenet_real", "clean", "real"): "imagenet_real_top1",
    ("imagenet_r", "clean", "top1"): "imagenet_r_top1",
    ("imagenet_sketch", "clean", "top1"): "imagenet_sketch_top1",
}


@dataclass(frozen=True)
class Score:
    """One column: two records fill the same one only if their numbers may be compared.

    Attributes:
        dataset: the images.
        perturbation: canonical JSON of what was done to them. Of numbers over several corrupted cells it has no name:
            mCE is over all fifteen corruptions, a mean over the `cells` it lists, `{"fog": [2, 4]}`.
        metric: the name of one of `METRICS`.
    """

    dataset: str
    perturbation: str
    metric: str

    @property
    def suite(self) -> Suite:
        """That of its data set."""
        return suite_of(self.dataset)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The perturbation."""
        return json.loads(self.perturbation)

    @property
    def measure(self) -> Metric:
        """What `metric` names; UsageError where nothing is called that."""
        return METRICS[self.metric]

    @property
    def over_corruptions(self) -> bool:
        """Whether it is an mCE, for which 75 records make one number."""
        return self.measure.over == "corruptions"

    @property
    def cells(self) -> dict[str, list[int]]:
        """The severities of each corruption that a mean is over."""
        return self.settings.get("cells", {})

    @property
    def title(self) -> str:
        """The heading: `PGD`, `PGD 4/255 x20`, `IN-C mCE`, `IN-C fog 2`, `IN-C mean of fog 2 4`, `IN-A ECE`."""
        settings, parts = self.settings, [_heading(self.dataset)]
        if self.cells:
            parts += ["" if self.measure.over == "means" else "mean of", _cells_title(self.cells)]
        elif "severity" in settings:
            parts += [settings["name"], str(settings["severity"])]
        elif settings.get("name", "clean") != "clean":
            parts += [_attack_title(settings)]
        is_plain = self.measure.is_plain and any(parts)
        recipe = settings.get("recipe")
        parts += ["" if is_plain else self.measure.title]
        parts += ["" if recipe in (None, _usual_recipe(self.dataset)) else recipe]
        return " ".join(part for part in parts if part)

    @property
    def description(self) -> str:
        """The perturbation with all its settings, `fgsm epsilon=0.00392157 norm=linf`."""
        settings = {
            k: f"{v:g}" if isinstance(v, float) else v for k, v in sorted(self.settings.items()) if k != "cells"
        }
        every = f"mean of {cells_text(self.cells)}" if self.cells else f"15 corruptions x {len(SEVERITIES)} severities"
        name = settings.pop("name", every)
        return " ".join([name, *(f"{key}={value}" for key, value in settings.items())])

    @property
    def published(self) -> str | None:
        """The name of the column among the published figures; only the paper's own threat models have one."""
        name = self.settings.get("name", "")
        is_paper = name in ("clean", "") or self.settings == _PAPER.get(name)
        return _PUBLISHED.get((self.dataset, name, self.metric)) if is_paper else None

    @property
    def order(self) -> tuple[Any, ...]:
        """The position among the columns."""
        names = ["clean", "fgsm", "pgd"]
        name = self.settings.get("name", "")
        return (
            *_place(self.dataset),
            names.index(name) if name in names else len(names),
            name,
            not self.over_corruptions,
            list(METRICS).index(self.metric),
            name in _PAPER and self.settings != _PAPER[name],
            self.settings.get("epsilon", self.settings.get("eps")) or 0.0,
            self.settings.get("steps") or 0,
            self.settings.get("severity") or 0,
            self.dataset,
            self.perturbation,
        )


@dataclass(frozen=True)
class Setup:
    """One row: a model and everything about its cells but data set and perturbation.

    Attributes:
        model: its name.
        rest: canonical JSON of the other settings.
    """

    model: str
    rest: str

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The other settings."""
        return json.loads(self.rest)

    @property
    def label(self) -> str:
        """The model and whatever is not as usual: `gfnet_s, limit 64`."""
        usual = {"transform": "paper", "seed": 0, "dtype": "float32"}
        unusual = {k: v for k, v in self.settings.items() if v != usual.get(k)}
        return ", ".join([self.model, *(_setting(key, value) for key, value in unusual.items())])

    @classmethod
    def usual(cls, model: str) -> Setup:
        """The row of a model under the paper's protocol, measured or not."""
        nothing = dict.fromkeys(("img_size", "checkpoint", "limit"))
        return cls(model, canonical_json({"transform": "paper", "seed": 0, "dtype": "float32", **nothing}))

    @property
    def suite(self) -> str:
        """Of a model of the catalogue; all others are of the default suite."""
        return MODELS[self.model].suite if self.model in MODELS else DEFAULT

    def of(self, model: str) -> Setup:
        """The same for another model and its published weights."""
        rest = {key: value for key, value in self.settings.items() if key != "weights_key"}
        return replace(self, model=model, rest=canonical_json({**rest, "checkpoint": None}))


def setup_of(cell: Cell) -> Setup:
    """The row of a cell."""
    rest = {key: value for key, value in cell.settings.items() if key not in ("dataset", "perturbation")}
    return Setup(cell.model, canonical_json(rest))


def scores_of(cell: Cell) -> tuple[Score, ...]:
    """The columns that a cell fills, or helps to fill."""
    dataset, settings = cell.settings["dataset"], cell.settings["perturbation"]
    whole, suite = canonical_json(settings), suite_of(dataset)
    numbers = {"pass": whole}
    if dataset in DATASETS and DATASETS[dataset].answers is not None:
        numbers = {"answers": whole}  # the record's other values are about the first labels of its images
    elif dataset == suite.main and settings["name"] == "clean":
        numbers["main"] = whole
    elif "severity" in settings and suite.reference:
        numbers["corruptions"] = variant(settings)
    metrics = (METRICS[name] for name in METRICS)
    return tuple(Score(dataset, numbers[m.over], m.name) for m in metrics if m.over in numbers)


def variant(settings: Mapping[str, Any]) -> str:
    """What corrupted cells have in common whose errors make one mCE: all but name and severity, as canonical JSON."""
    return canonical_json({k: v for k, v in settings.items() if k not in ("name", "severity")})


def mean_of(dataset: str, variant: str, cells: Iterable[tuple[str, int]], metric: str = "top1") -> Score:
    """The column of a mean over corrupted cells, (name, severity); of a single one that of the cell itself."""
    cells, common = sorted(set(cells)), json.loads(variant)
    if len(cells) == 1:
        return Score(dataset, canonical_json({**common, "name": cells[0][0], "severity": cells[0][1]}), metric)
    by_name: dict[str, list[int]] = {}
    for name, severity in cells:
        by_name.setdefault(name, []).append(severity)
    return Score(dataset, canonical_json({**common, "cells": by_name}), metric)


def titles(scores: Iterable[Score]) -> dict[Score, str]:
    """A heading for each; those that would be equal are numbered in order."""
    scores = sorted(set(scores), key=lambda s: s.order)
    alike: dict[str, list[Score]] = {}
    for score in scores:
        alike.setdefault(score.title, []).append(score)
    return {
        score: title if len(those) == 1 else f"{title} ({i})"
        for title, those in alike.items()
        for i, score in enumerate(those, 1)
    }


def cells_text(cells: Mapping[str, Sequence[int]]) -> str:
    """All of them, corruptions of the same severities together: `fog, snow 2 4; frost 1 2 3 4 5`."""
    names: dict[tuple[int, ...], list[str]] = {}
    for name, severities in cells.items():
        names.setdefault(tuple(severities), []).append(name)
    return "; ".join(f"{', '.join(those)} {' '.join(map(str, of))}" for of, those in names.items())


def _cells_title(cells: Mapping[str, Sequence[int]]) -> str:
    text = cells_text(cells)
    return text if len(text) <= 24 else f"{sum(map(len, cells.values()))} cells"


def standard(suite: Suite) -> tuple[Score, ...]:
    """The columns of the paper's Table 3, shown also where nothing is measured."""
    attacks = ({**attack, "epsilon": suite.epsilon} for attack in (FGSM, PGD))
    return (
        Score(suite.main, CLEAN, "top1"),
        Score(suite.main, CLEAN, "top5"),
        *(Score(suite.main, canonical_json(attack), "top1") for attack in attacks),
        *(Score(dataset, _whole(dataset), metric) for dataset, metric in suite.columns),
    )


def _whole(dataset: str) -> str:
    """The perturbation of the column that stands for a data set: none, or all corruptions as it usually has them."""
    if dataset not in DATASETS or not DATASETS[dataset].is_corrupted:
        return CLEAN
    recipe = _usual_recipe(dataset)
    return canonical_json({"recipe": recipe} if recipe else {})


def _usual_recipe(dataset: str) -> str | None:
    return DATASETS[dataset].recipe if dataset in DATASETS else None


def _spec(dataset: str) -> DatasetSpec | None:
    """None for a set that is not known here, as one of a plug-in that is not installed."""
    dataset = {"mini_real": "imagenet_real"}.get(dataset, dataset)  # has a column, though there is no such set
    return DATASETS[dataset] if dataset in DATASETS else None


def _heading(dataset: str) -> str:
    return spec.heading if (spec := _spec(dataset)) else dataset


def _place(dataset: str) -> tuple[int, int]:
    """Of its columns; those of sets that are not known come last, by name."""
    spec = _spec(dataset)
    return (spec.place, list(DATASETS).index(spec.name)) if spec else (sys.maxsize, 0)


def _attack_title(settings: dict[str, Any]) -> str:
    """The name alone for the paper's threat model; otherwise what it is about, and what differs from the paper's."""
    name, usual = settings["name"], _PAPER.get(settings["name"], {})
    shown = name if ":" in name else name.upper()
    return shown if settings == usual else f"{shown} {threat(settings)}".rstrip()


def perturbation_words(settings: dict[str, Any]) -> str:
    """A perturbation in words: `clean`, `pgd 4/255 x5`, `fog 3 by cifar_c`."""
    if "severity" in settings:
        recipe = f" by {settings['recipe']}" if "recipe" in settings else ""
        return f"{settings['name']} {settings['severity']}{recipe}"
    return f"{settings['name']} {threat(settings)}".rstrip()


def threat(settings: dict[str, Any]) -> str:
    """The threat model of an attack in words: `4/255 x5`, and whatever else differs from the paper's."""
    usual = {"norm": "linf", "random_start": True, **_PAPER.get(settings["name"], {})}
    radius, steps = settings.get("epsilon", settings.get("eps")), settings.get("steps")
    parts = ["" if radius is None else _epsilon(radius), "" if steps is None else f"x{steps}"]
    for key, value in settings.items():
        if (key, value) == ("random_start", False):
            parts.append("no random start")
        elif key not in ("name", "version", "epsilon", "eps", "steps") and value != usual.get(key):
            parts.append(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}")
    return " ".join(part for part in parts if part)


def _epsilon(epsilon: float) -> str:
    of_255 = round(epsilon * 255, 4)
    return f"{of_255:g}/255" if of_255 < 100 and abs(of_255 - epsilon * 255) < 1e-6 else f"{epsilon:g}"


def _setting(key: str, value: Any) -> str:
    if key == "transform":
        return f"{value}'s own transform" if value == "model" else f"{value} transform"
    if key == "img_size":
        return f"{value[0]} px" if len(set(value)) == 1 else f"{value[0]}x{value[1]} px"
    if key == "checkpoint":
        return f"checkpoint {value[:8]}"
    return str(value) if key == "dtype" else f"{key} {value}"
