"""The bench of the attack-check study: checks and power of an attack against a model."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gfnet_bench.attacks import Attack, checks, make_attack
from gfnet_bench.attacks.base import Predict
from gfnet_bench.attacks.reference import TorchAttack
from gfnet_bench.benches import robustness
from gfnet_bench.datasets import suite_of
from gfnet_bench.errors import GfnetBenchError, acquit, out_of_memory
from gfnet_bench.evaluation import precision, to_pixels
from gfnet_bench.models import Model, load_model
from gfnet_bench.models.last_layer import last_layer
from gfnet_bench.models.weights import to_fetch
from gfnet_bench.perturbations import Attacked, of_cell
from gfnet_bench.records import Cell
from gfnet_bench.runner import Outcome
from gfnet_bench.suites import SUITES


@dataclass
class Bench:
    """A machine with data, as for robust accuracies.

    Attributes:
        machine: where images and models are, and where to compute.
    """

    machine: robustness.Bench

    def measure(self, cell: Cell) -> Outcome:
        """The verdict on a cell.

        Raises:
            GfnetBenchError: if the model cannot be had, or memory runs out.
        """
        machine, perturbation = self.machine, of_cell(cell)
        assert isinstance(perturbation, Attacked)
        model = machine.fitting_model(cell)
        images = machine.images(cell, model)
        device = torch.device(machine.device)
        classes = sorted(images.classes or range(model.num_classes))
        pixels = to_pixels(images.pixels[:], device)
        labels = torch.from_numpy(np.searchsorted(classes, images.labels)).to(device)
        try:
            with precision("float32", device):
                found = _verdict(
                    model,
                    pixels,
                    labels,
                    images.ids,
                    classes,
                    perturbation,
                    machine.batch_size,
                    self._other(cell, model),
                )
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise GfnetBenchError(f"memory ran out on {device}; run it again with a smaller --batch-size") from error
        values = {
            "verdict": found.outcome,
            "images": len(labels),
            "power": found.power and found.power.share,
            "planted": found.power.planted if found.power else 0,
            "checks": [result._asdict() for result in found.results],
        }
        return Outcome(values, provenance=machine.provenance(cell, model, images, machine.batch_size))

    def _other(self, cell: Cell, model: Model) -> tuple[str, Model] | None:
        """Another model for the same images: the first of the suite's whose weights are here."""
        suite = suite_of(cell.settings["dataset"])
        for name in suite.models if suite.name in SUITES else ():
            if name == cell.model:
                continue
            try:
                if to_fetch(name) is not None:
                    continue
                other = load_model(name, suite=suite.name, device=self.machine.device)
            except GfnetBenchError:
                continue
            same = (other.transform.height, other.transform.width) == (model.transform.height, model.transform.width)
            if same and other.num_classes == model.num_classes:
                return name, other
        return None


def _verdict(
    model: Model,
    pixels: Tensor,
    labels: Tensor,
    ids: Any,
    classes: list[int],
    attacked: Attacked,
    batch_size: int,
    other: tuple[str, Model] | None,
) -> checks.Verdict:
    def counting(model: Model) -> Predict:
        return lambda images: model(images)[:, classes]

    try:
        head: Any = last_layer(model, pixels, classes)
    except GfnetBenchError as error:  # which the checks will meet again, and say
        head = str(error)
    return checks.check(
        counting(model),
        pixels,
        labels,
        ids,
        _maker(attacked),
        batch_size=batch_size,
        beside=checks.Beside(head, _in_double(model, pixels, classes), other and (other[0], counting(other[1]))),
    )


def _maker(attacked: Attacked) -> Callable[..., Attack]:
    """The attack with some of its fields changed; of another radius its steps are as long in proportion."""
    attack, known = attacked.attack, dict(attacked.settings)
    if isinstance(attack, TorchAttack):
        if known.get("eps") and "alpha" in known:
            known["relative_step"] = known.pop("alpha") / known["eps"]
        known["epsilon"] = known.pop("eps", None)
        del known["name"]
        return lambda **fields: make_attack(attacked.name, **{**known, **fields}) if fields else attack
    own: Any = attack
    names = {field.name for field in dataclasses.fields(own)}
    return lambda **fields: dataclasses.replace(own, **{key: fields[key] for key in names & fields.keys()})


def _in_double(model: Model, pixels: Tensor, classes: list[int]) -> Predict | None:
    """The model in float64, where every layer of it knows that."""
    try:
        double = copy.deepcopy(model).double()
        logits = double(pixels[:1].double())
    except Exception as error:  # whatever a network may raise that was never meant for it
        acquit(error)
        return None
    return (lambda images: double(images)[:, classes]) if logits.dtype == pixels.double().dtype else None
