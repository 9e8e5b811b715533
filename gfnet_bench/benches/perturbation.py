"""What an attack adds to images, measured: its energy by frequency on all of them, and a few of them to look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gfnet_bench import spectra
from gfnet_bench.attacks.base import Attack, Predict
from gfnet_bench.attacks.random_direction import RandomDirection
from gfnet_bench.benches import robustness
from gfnet_bench.datasets import Images
from gfnet_bench.errors import UsageError
from gfnet_bench.evaluation import Evaluation, evaluate
from gfnet_bench.perturbations import Attacked, of_cell
from gfnet_bench.randomness import image_seeds
from gfnet_bench.records import Cell
from gfnet_bench.runner import Outcome
from gfnet_bench.watch import Watch

SHOWN = 4
"""Images that are kept to be looked at."""


@dataclass(frozen=True)
class Noting:
    """An attack that has something of what it added be known of each image.

    Attributes:
        attack: what attacks.
        what: (b, 3, h, w) differences to arrays (b, ...) by name.
    """

    attack: Attack
    what: Callable[[Tensor], Mapping[str, Tensor]]

    @property
    def name(self) -> str:
        """Of the attack, as are norm and radius."""
        return self.attack.name

    @property
    def norm(self) -> str | None:
        """See `Attack`."""
        return self.attack.norm

    @property
    def epsilon(self) -> float | None:
        """See `Attack`."""
        return self.attack.epsilon

    def __call__(self, predict: Predict, images: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
        """See `Attack`."""
        assert isinstance(predict, Watch)
        found = self.attack(predict, images.clone(), labels, seeds)
        for name, values in self.what(found.detach() - images).items():
            predict.note(name, values)
        return found


def measure(bench: robustness.Bench, cell: Cell) -> Outcome:
    """The energy by frequency of what the attack of a cell adds to each image, and a few images.

    Raises:
        UsageError: for a cell without an attack.
    """
    perturbation = of_cell(cell)
    if not isinstance(perturbation, Attacked):
        raise UsageError(f"{perturbation.name}: expected an attack, whose perturbation has a spectrum, found none")
    model = bench.fitting_model(cell)
    made_by = bench.attack(cell, perturbation)
    images = bench.images(cell, model)

    def run(these: Images, attack: Attack | None) -> Evaluation:
        return evaluate(
            model,
            these.pixels[:],
            these.labels,
            these.ids,
            attack=attack,
            classes=these.classes,
            batch_size=bench.batch_size,
            device=bench.device,
            dtype=cell.settings["dtype"],
            seed=cell.settings["seed"],
            salt=perturbation.salt,
            progress=str(cell) if bench.progress else None,
        )

    whole = run(images, Noting(made_by, _profile))
    random = _random(made_by)
    baseline = None if random is None else run(images, Noting(random, _profile)).noted
    few = images.subset(shown(images, cell.settings["seed"]))
    clean, attacked = run(few, None), run(few, Noting(made_by, lambda moved: {"difference": moved}))
    square = whole.noted["square"]
    height, width = model.transform.height, model.transform.width
    values = {
        "images": len(images),
        "image": [height, width],
        "shown": len(few),
        "mean_square": float(square.mean(dtype=np.float64)),
        "excluded": len(images.excluded),
        "expected": images.expected,
    }
    arrays = {
        "radial": whole.noted["radial"],
        "square": square,
        "random": _mean(baseline, height * width) if baseline else np.ones_like(whole.noted["radial"][0]),
        "clean": np.asarray(few.pixels[:]),
        "difference": np.ascontiguousarray(attacked.noted["difference"].transpose(0, 2, 3, 1)),
        "labels": few.labels.astype(np.int16),
        "clean_answers": clean.predictions.top5[:, 0].astype(np.int16),
        "answers": attacked.predictions.top5[:, 0].astype(np.int16),
    }
    return Outcome(values, arrays, bench.provenance(cell, model, images, whole.batch_size))


def shown(images: Images, seed: int) -> NDArray[np.int64]:
    """Which images are looked at: drawn by the seed from their names, whatever the model and the attack."""
    drawn = image_seeds(images.ids, seed, "shown").numpy()
    return np.sort(np.argsort(drawn, kind="stable")[:SHOWN])


def _random(attack: Attack) -> Attack | None:
    """What knows nothing of the network and goes as far; None where that is no length."""
    if attack.epsilon is None or attack.norm not in ("linf", "l2"):
        return None
    return RandomDirection(attack.epsilon, attack.norm)


def _mean(noted: Mapping[str, NDArray[Any]], values: int) -> NDArray[np.float32]:
    """(rings,) mean over images of `values` pixels, in units of white noise of the same energy; see `spectra`."""
    return spectra.against_white_noise(noted["radial"], noted["square"], values).mean(0).astype(np.float32)


def _profile(moved: Tensor) -> dict[str, Any]:
    """The radial profile of the energy, a mean over the channels, and the mean square of each image."""
    energy = spectra.energy(moved.cpu().numpy()).mean(1)
    radial = spectra.radial_profile(energy).mean.astype(np.float32)
    square = energy.sum((-2, -1)).astype(np.float32)
    return {name: torch.from_numpy(x).to(moved.device) for name, x in (("radial", radial), ("square", square))}
