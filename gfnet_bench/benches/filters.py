"""Filters measured: what they are, what cutting into them costs, and the errors under each Fourier frequency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gfnet_bench.bars import tqdm
from gfnet_bench.benches import robustness
from gfnet_bench.benches.perturbation import measure as measure_perturbation
from gfnet_bench.datasets import DATASETS, Images
from gfnet_bench.errors import GfnetBenchError, UsageError
from gfnet_bench.evaluation import precision, to_pixels
from gfnet_bench.halving import Fitting
from gfnet_bench.inputs import Inputs
from gfnet_bench.models import Model
from gfnet_bench.models.surgery import global_filters, operate
from gfnet_bench.perturbations import FourierNoise, of_cell
from gfnet_bench.randomness import image_seeds, uniform
from gfnet_bench.records import Cell, Record
from gfnet_bench.runner import Outcome
from gfnet_bench.spectra import noise, noise_frequencies


class Bench:
    """A bench of the robustness study, on which networks may be operated and their filters looked at.

    Args:
        scoring: where images and networks are.
    """

    def __init__(self, scoring: robustness.Bench) -> None:
        self.scoring = replace(scoring, operate=_operated)

    def inputs(self, record: Record) -> Inputs:
        """What a record's cell would be measured on now."""
        return self.scoring.inputs(record)

    def measure(self, cells: Sequence[Cell]) -> list[Outcome | Exception]:
        """Measure cells; those of one call share their images."""
        measures = {"spectra": self._spectra, "heatmap": self._heatmap, "perturbation": self._perturbation}
        if cells[0].settings["measure"] == "surgery":
            return self.scoring.measure(cells)
        self.scoring.keep(cells)
        return [measures[cell.settings["measure"]](cell) for cell in cells]

    def _spectra(self, cell: Cell) -> Outcome:
        model = self.scoring.model(cell)
        filters = global_filters(model)
        if not filters:
            raise GfnetBenchError(f"{cell.model}: has no global filters to draw; expected a GFNet")
        arrays = {
            f"layer_{i:02d}": layer.complex_weight.detach().float().cpu().numpy()
            for i, layer in enumerate(filters.values())
        }
        image = [model.transform.height, model.transform.width]
        values = {"layers": len(filters), "grids": [list(layer.grid) for layer in filters.values()], "image": image}
        return Outcome(values, arrays, self._about(model))

    def _perturbation(self, cell: Cell) -> Outcome:
        return measure_perturbation(self.scoring, cell)

    def _heatmap(self, cell: Cell) -> Outcome:
        s = cell.settings
        if DATASETS[s["dataset"]].is_corrupted:
            raise UsageError(f"{s['dataset']}: is corrupted already; a heat map adds its noise to clean images")
        model = self.scoring.fitting_model(cell)
        height, width = model.transform.height, model.transform.width
        everything = noise_frequencies(height, width, _noise(cell).frequencies)
        part, parts = s["part"]
        chosen = np.array_split(np.arange(len(everything)), parts)[part]
        images = self.scoring.images(cell, model)
        clean, wrong = self._errors(cell, model, images, everything, chosen)
        values = {
            "images": len(images),
            "frequencies": len(chosen),
            "image": [height, width],
            "clean_error": clean / len(images),
            "mean_error": float(wrong.mean() / len(images)),
            "excluded": len(images.excluded),
            "expected": images.expected,
        }
        provenance = {
            **self._about(model),
            "batch_size": self.scoring.batch_size,
            **robustness.about_images(images),
        }
        arrays = {"frequencies": everything[chosen].astype(np.int16), "wrong": wrong.astype(np.int32)}
        return Outcome(values, arrays, provenance)

    def _errors(
        self, cell: Cell, model: Model, images: Images, everything: NDArray[np.int64], chosen: NDArray[np.int64]
    ) -> tuple[int, NDArray[np.int64]]:
        """How many images are wrong, without noise and under each of the chosen frequencies."""
        s, perturbation, device = cell.settings, _noise(cell), torch.device(self.scoring.device)
        seeds = image_seeds(images.ids, s["seed"], perturbation.salt).to(device)
        norm, clean, wrong = perturbation.norm, 0, np.zeros(len(chosen), dtype=np.int64)
        size = min(self.scoring.batch_size, len(images))
        at_once = max(1, self.scoring.batch_size // size)  # few images: several frequencies fill a batch
        fitting, work = Fitting(size * at_once, device), len(images) * len(chosen)
        with (
            precision(s["dtype"], device) as scoring,
            torch.no_grad(),
            tqdm(
                total=work, desc=str(cell), unit="img", disable=not self.scoring.progress, leave=False, position=1
            ) as bar,
        ):
            for start in range(0, len(images), size):  # a batch is read once and shown under every frequency
                rows = slice(start, min(start + size, len(images)))
                pixels = to_pixels(images.pixels[rows], device)
                right = _right_classes(images, rows, model.num_classes).to(device)
                with scoring():
                    clean += int((~_is_right(model, pixels, right, images.classes, fitting)).sum())
                for first in range(0, len(chosen), at_once):
                    few = chosen[first : first + at_once]
                    basis = np.stack([noise(everything[k], *pixels.shape[2:]) for k in few])
                    signs = torch.stack([uniform(seeds[rows], (3,), stream=int(k)) for k in few]) < 0.5
                    added = norm * torch.from_numpy(basis).to(device, torch.float32)[:, None, None]
                    noisy = torch.where(signs[..., None, None], pixels - added, pixels + added)
                    with scoring():
                        answers = right.repeat(len(few), 1)
                        found = _is_right(model, noisy.flatten(0, 1), answers, images.classes, fitting)
                    wrong[first : first + len(few)] += (~found).reshape(len(few), -1).sum(1).cpu().numpy()
                    bar.update(found.numel())
        return clean, wrong

    def _about(self, model: Model) -> dict[str, Any]:
        return {
            "device": robustness.device_name(self.scoring.device),
            "params": model.params,
            "weights_sha256": model.weights_sha256,
            "weights_source": model.weights_source,
            "weights_key": model.weights_key,
        }


def _operated(model: Model, cell: Cell) -> Model:
    """A network as learned, or its copy with filters that lack the frequencies a cell names."""
    s = cell.settings
    if s.get("kind") is None:
        return model
    cutoff = s["cutoff"]
    return operate(model, s["kind"], tuple(cutoff) if isinstance(cutoff, list) else cutoff, s["layer"])


def _noise(cell: Cell) -> FourierNoise:
    noise = of_cell(cell)
    assert isinstance(noise, FourierNoise)
    return noise


def _right_classes(images: Images, rows: slice, classes: int) -> torch.Tensor:
    """(b, k) bool: the classes that count as right for each image."""
    if images.answers is None:
        return torch.nn.functional.one_hot(torch.from_numpy(images.labels[rows]), classes).bool()
    right = torch.zeros(rows.stop - rows.start, classes, dtype=torch.bool)
    for row, answers in zip(right, images.answers[rows], strict=True):
        row[list(answers)] = True
    return right


def _is_right(
    model: Model, pixels: torch.Tensor, right: torch.Tensor, classes: Sequence[int] | None, fitting: Fitting
) -> torch.Tensor:
    """(b,) whether the surest of the classes that count is right, as many images at a time as fit."""
    columns = None if classes is None else torch.tensor(sorted(classes), device=pixels.device)
    found: list[torch.Tensor] = []
    done = 0

    def part(size: int) -> torch.Tensor:
        chosen = slice(done, done + size)
        logits, answers = model(pixels[chosen]), right[chosen]
        if not logits.isfinite().all():
            raise GfnetBenchError(
                f"{model.name}: the logits are not finite under Fourier noise; does it run in float32?"
            )
        if columns is not None:
            logits, answers = logits[:, columns], answers[:, columns]
        return answers.gather(1, logits.argmax(1, keepdim=True))[:, 0]

    while done < len(pixels):
        found.append(fitting.run(part))
        done += len(found[-1])
    return torch.cat(found)
