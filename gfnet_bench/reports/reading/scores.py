"""Which column of the robustness tables a record fills, and what its rows and columns are called."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gfnet_bench.catalog import MODELS
from gfnet_bench.datasets import DATASETS, DatasetSpec, suite_of
from gfnet_bench.metrics import METRICS, Metric
from gfnet_bench.perturbations import CLEAN, Attacked, Corrupted, Corruptions, Perturbation, attacked, of_cell
from gfnet_bench.records import Cell, canonical_json
from gfnet_bench.suites import DEFAULT, SUITES, Suite
from gfnet_bench.suites.own import is_own

SCORE = "_score"
"""An entry of the rows of data that no column shows: the `Score` of the number."""

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
        perturbation: what was done to them; `Corruptions` for numbers over several corrupted cells.
        metric: the name of one of `METRICS`.
    """

    dataset: str
    perturbation: Perturbation
    metric: str

    @property
    def suite(self) -> Suite:
        """That of its data set."""
        return suite_of(self.dataset)

    @property
    def measure(self) -> Metric:
        """What `metric` names; UsageError where nothing is called that."""
        return METRICS[self.metric]

    @property
    def over_corruptions(self) -> bool:
        """Whether it is an mCE, for which 75 records make one number."""
        return self.measure.over == "corruptions"

    @property
    def over(self) -> str:
        """The corrupted cells that it is a mean over, in words."""
        return self.perturbation.listed if isinstance(self.perturbation, Corruptions) else ""

    @property
    def title(self) -> str:
        """The heading: `PGD`, `PGD 4/255 x20`, `IN-C mCE`, `IN-C fog 2`, `IN-C mean of fog 2 4`, `IN-A ECE`."""
        done, parts = self.perturbation, [_heading(self.dataset)]
        if isinstance(done, Corruptions) and self.measure.over == "means":
            parts += [done.few]
        elif done != CLEAN:
            parts += [done.title]
        is_plain = self.measure.is_plain and any(parts)
        recipe = done.recipe if isinstance(done, Corrupted | Corruptions) else None
        parts += ["" if is_plain else self.measure.title]
        parts += ["" if recipe in (None, _usual_recipe(self.dataset)) else recipe]
        return " ".join(part for part in parts if part)

    @property
    def description(self) -> str:
        """The perturbation with all its settings, `fgsm epsilon=0.00392157 norm=linf`."""
        return self.perturbation.words

    @property
    def published(self) -> str | None:
        """The name of the column among the published figures; only the paper's own threat models have one."""
        done = self.perturbation
        is_paper = done.is_usual if isinstance(done, Attacked) else not self.over
        return _PUBLISHED.get((self.dataset, done.name, self.metric)) if is_paper else None

    @property
    def order(self) -> tuple[Any, ...]:
        """The position among the columns."""
        kind, strength = self.perturbation.order
        return (
            *_place(self.dataset),
            kind,
            not self.over_corruptions,
            list(METRICS).index(self.metric),
            strength,
            self.dataset,
            canonical_json(self.perturbation.settings),
        )


OF_THE_NETWORK = ("checkpoint", "weights_key", "code", "weights", "mean", "std", "classes")
"""Settings that tell which network a model's name stands for, where it is not the published one; and its classes."""


@dataclass(frozen=True)
class Setup:
    """One row: a model and everything about its cells but data set and perturbation.

    Attributes:
        model: its name.
        rest: canonical JSON of the other settings.
        name: what tables call the network (see `labels`); None for its model's name and what tells it from others.
    """

    model: str
    rest: str
    name: str | None = field(default=None, compare=False)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The other settings."""
        return json.loads(self.rest)

    @property
    def label(self) -> str:
        """The model and whatever is not as usual: `gfnet_s, limit 64`."""
        usual = {"transform": "paper", "seed": 0, "dtype": "float32"}
        told = ("classes", *(OF_THE_NETWORK if self.name else ()))
        unusual = {k: v for k, v in self.settings.items() if v != usual.get(k) and k not in told}
        return ", ".join([self.name or self.model, *(setting_words(key, value) for key, value in unusual.items())])

    @property
    def protocol(self) -> dict[str, Any]:
        """Its settings apart from those of the model."""
        of_model = (*OF_THE_NETWORK, "img_size")
        return {key: value for key, value in self.settings.items() if key not in of_model}

    @classmethod
    def usual(cls, model: str) -> Setup:
        """The row of a model under the paper's protocol, measured or not."""
        nothing = dict.fromkeys(("img_size", "checkpoint", "limit"))
        return cls(model, canonical_json({"transform": "paper", "seed": 0, "dtype": "float32", **nothing}))

    @property
    def suite(self) -> str:
        """Of a model of the catalogue; all others are of the default suite."""
        return (MODELS[self.model].suite if self.model in MODELS else None) or DEFAULT

    def of(self, model: str) -> Setup:
        """The same for another model and its published weights."""
        rest = {key: value for key, value in self.settings.items() if key not in OF_THE_NETWORK}
        return Setup(model, canonical_json({**rest, "checkpoint": None}))


def setup_of(cell: Cell) -> Setup:
    """The row of a cell."""
    rest = {key: value for key, value in cell.settings.items() if key not in ("dataset", "perturbation")}
    return Setup(cell.model, canonical_json(rest))


def scores_of(cell: Cell) -> tuple[Score, ...]:
    """The columns that a cell fills, or helps to fill."""
    dataset, done = cell.settings["dataset"], of_cell(cell)
    suite, numbers = suite_of(dataset), {"pass": done}
    if dataset in DATASETS and DATASETS[dataset].answers is not None:
        numbers = {"answers": done}  # the record's other values are about the first labels of its images
    elif dataset == suite.main and done == CLEAN:
        few = is_own(dataset) and len(cell.settings.get("classes", ())) <= 5  # of so few, five answers are always right
        numbers |= {} if few else {"main": done}
    elif isinstance(done, Corrupted) and suite.reference:
        numbers["corruptions"] = Corruptions(done.recipe)
    metrics = (METRICS[name] for name in METRICS)
    return tuple(Score(dataset, numbers[m.over], m.name) for m in metrics if m.over in numbers)


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


def standard(suite: Suite) -> tuple[Score, ...]:
    """The columns of the paper's Table 3, shown also where nothing is measured; none where nobody knows the suite."""
    if suite.name not in SUITES:
        return ()
    attacks = [p for name in suite.attacks for p in attacked(name, usual=suite.epsilon)]
    return (
        Score(suite.main, CLEAN, "top1"),
        *([] if is_own(suite.name) else [Score(suite.main, CLEAN, "top5")]),
        *(Score(suite.main, attack, "top1") for attack in attacks),
        *(Score(dataset, _whole(dataset), metric) for dataset, metric in suite.columns),
    )


def _whole(dataset: str) -> Perturbation:
    """The perturbation of the column that stands for a data set: none, or all corruptions as it usually has them."""
    is_corrupted = dataset in DATASETS and DATASETS[dataset].is_corrupted
    return Corruptions(_usual_recipe(dataset)) if is_corrupted else CLEAN


def _usual_recipe(dataset: str) -> str | None:
    """The recipe that is not told beside a set; of anyone's images it depends on the size, and is told."""
    return DATASETS[dataset].recipe if dataset in DATASETS and not is_own(dataset) else None


def _spec(dataset: str) -> DatasetSpec | None:
    """None for a set that is not known here, as one of a plug-in that is not installed."""
    dataset = {"mini_real": "imagenet_real"}.get(dataset, dataset)  # has a column, though there is no such set
    return DATASETS[dataset] if dataset in DATASETS else None


def _heading(dataset: str) -> str:
    return spec.heading if (spec := _spec(dataset)) else dataset


def _place(dataset: str) -> tuple[int, int]:
    """Of its columns; those of sets that are not known come last, by name."""
    spec, known = _spec(dataset), list(DATASETS)
    return (spec.place, known.index(spec.name) if spec.name in known else len(known)) if spec else (sys.maxsize, 0)


def setting_words(key: str, value: Any) -> str:
    """A setting in a few words: `limit 64`."""
    if key == "transform":
        return f"{value}'s own transform" if value == "model" else f"{value} transform"
    if key == "img_size":
        return f"{value[0]} px" if len(set(value)) == 1 else f"{value[0]}x{value[1]} px"
    if key in ("checkpoint", "code", "weights"):
        return f"{key} {value[:8]}"
    if key == "classes":
        return textwrap.shorten(f"classes {' '.join(sorted(value, key=value.__getitem__))}", 40, placeholder=" ...")
    if key in ("mean", "std"):
        return " ".join([key, *(f"{number:.4g}" for number in dict.fromkeys(value))])
    return str(value) if key == "dtype" else f"{key} {value}"
