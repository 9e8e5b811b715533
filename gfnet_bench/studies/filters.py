"""Learned filters and robustness, side by side: the filters themselves, filter surgery, and Fourier heat maps.

Three measures. `spectra` keeps a network's filters as arrays, from which every figure of them is drawn. `surgery`
is the robustness study on a network whose filters have lost a band of frequencies. `heatmap` is the error of any
network under noise of one frequency after the other (Yin et al. 2019).
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gfnet_bench.datasets import DATASETS, generated_of
from gfnet_bench.errors import GfnetBenchError, UsageError
from gfnet_bench.perturbations import CLEAN, FourierNoise, Perturbation, corrupted, of_cell
from gfnet_bench.records import PROTOCOLS, Cell, canonical_json
from gfnet_bench.runner import Outcome
from gfnet_bench.studies import robustness
from gfnet_bench.studies.robustness import OF_ONE_MODEL, Options, device_name

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from gfnet_bench.datasets.images import Images
    from gfnet_bench.halving import Fitting
    from gfnet_bench.models import Model

STUDY = "filters"
AS_USUAL = Options()

KINDS = ("low_pass", "high_pass")
CUTOFFS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
LAYER_CUTOFFS = (0.0, 0.15, 0.3)
CORRUPTIONS = ("gaussian_noise", "fog")  # one adds high frequencies, the other low ones
SEVERITY = 3


def spectra_cells(models: Iterable[str], options: Options = AS_USUAL) -> list[Cell]:
    """One cell a network: only its weights and the size they are resampled to decide its filters."""
    size = None if options.img_size is None else list(options.img_size)
    settings = {"measure": "spectra", "img_size": size, **options.weights}
    of_model = {model: {k: v for k, v in of.items() if k != "classes"} for model, of in options.of_model.items()}
    return [Cell(STUDY, PROTOCOLS[STUDY], model, {**settings, **of_model.get(model, {})}) for model in models]


def perturbations(
    dataset: str,
    attacks: Sequence[Perturbation],
    corruptions: Sequence[str] = CORRUPTIONS,
    severity: int | None = None,
) -> list[tuple[str, Perturbation]]:
    """What is done to the images of an operated network: nothing, attacks, and corruptions where they can be made.

    A corruption that states no severity has the one given here, or `SEVERITY`.
    """
    found: list[tuple[str, Perturbation]] = [(dataset, p) for p in dict.fromkeys([CLEAN, *attacks])]
    if generated := generated_of(dataset):
        levels, recipe = None if severity is None else [severity], DATASETS[generated].recipe
        each = [corrupted(text, levels, usual=recipe, usually=[SEVERITY]) for text in corruptions]
        found += [(generated, p) for those in each for p in those]
    return list(dict.fromkeys(found))


def surgery_cells(
    depths: Mapping[str, int],
    *,
    perturbations: Sequence[tuple[str, Perturbation]],
    kinds: Sequence[str] = KINDS,
    cutoffs: Sequence[float] = CUTOFFS,
    layer_cutoffs: Sequence[float] = LAYER_CUTOFFS,
    options: Options = AS_USUAL,
) -> list[Cell]:
    """Every operation on every network under every perturbation, and the networks as learned.

    Args:
        depths: networks by name, with the number of their global filter layers (see `depth`).
        perturbations: data sets, each with what is done to its images.
        kinds: of surgery; `band_stop` removes what lies between neighbours among the cutoffs.
        cutoffs: radii in cycles per token for all layers together.
        layer_cutoffs: the same for one layer at a time.
        options: what else decides the numbers.
    """
    return [
        Cell(
            STUDY,
            PROTOCOLS[STUDY],
            model,
            {**options.settings(dataset, perturbation, model), "measure": "surgery", **operation},
        )
        for dataset, perturbation in perturbations
        for model, layers in depths.items()
        for operation in _operations(layers, kinds, cutoffs, layer_cutoffs)
    ]


def _operations(
    layers: int, kinds: Sequence[str], cutoffs: Sequence[float], layer_cutoffs: Sequence[float]
) -> list[dict[str, Any]]:
    def of_kind(kind: str, radii: Sequence[float]) -> list[Any]:
        ordered = sorted(set(radii))
        return [list(pair) for pair in itertools.pairwise(ordered)] if kind == "band_stop" else ordered

    none = {"kind": None, "cutoff": None, "layer": None}
    together = [{"kind": k, "cutoff": c, "layer": None} for k in kinds for c in of_kind(k, cutoffs)]
    alone = [
        {"kind": kind, "cutoff": cutoff, "layer": layer}
        for layer in range(layers)
        for kind in kinds
        for cutoff in of_kind(kind, layer_cutoffs)
    ]
    return [none, *together, *alone]


def heatmap_cells(
    models: Sequence[str],
    *,
    dataset: str,
    norm: float,
    frequencies: int | None,
    parts: int = 1,
    options: Options = AS_USUAL,
) -> list[Cell]:
    """The heat map of each network.

    Args:
        models: names.
        dataset: whose images the noise is added to.
        norm: L2 norm of the noise in each channel, pixels in [0, 1].
        frequencies: the lowest of so many a side, an odd number; None for all.
        parts: cells that share the frequencies of one map, so that a long run can be resumed.
        options: what else decides the numbers.
    """
    noise = FourierNoise(norm, frequencies)
    return [
        Cell(
            STUDY,
            PROTOCOLS[STUDY],
            model,
            {**options.settings(dataset, noise, model), "measure": "heatmap", "part": [part, parts]},
        )
        for model in models
        for part in range(parts)
    ]


def depth(model: str, img_size: tuple[int, int] | None = None) -> int:
    """The number of global filter layers; 0 for a network of another design.

    Raises:
        UsageError: if there is no such network.
    """
    import torch

    from gfnet_bench.models import load_model
    from gfnet_bench.models.surgery import global_filters

    with torch.device("meta"):  # shapes alone
        return len(global_filters(load_model(model, img_size=img_size, pretrained=False, device="meta")))


def together(cell: Cell) -> Hashable:
    """What cells have in common that are measured in one pass: images are corrupted once for all operations."""
    s = cell.settings
    if "dataset" not in s or not DATASETS[s["dataset"]].recipe:
        return cell
    return canonical_json(
        {key: value for key, value in s.items() if key not in ("kind", "cutoff", "layer", *OF_ONE_MODEL)}
    )


@dataclass
class Bench(robustness.Bench):
    """The robustness study's bench, where the model of a cell may have been operated on."""

    def model(self, cell: Cell) -> Model:
        """The model of a cell: as learned, or its copy with filters that lack some frequencies."""
        from gfnet_bench.models.surgery import operate

        s = cell.settings
        learned = super().model(replace(cell, settings={"transform": "paper", **s}))
        if s.get("kind") is None:
            return learned
        cutoff = s["cutoff"]
        return operate(learned, s["kind"], tuple(cutoff) if isinstance(cutoff, list) else cutoff, s["layer"])

    def measure(self, cells: Sequence[Cell]) -> list[Outcome | Exception]:
        """Measure cells; those of one call share their images."""
        measures = {"spectra": self._spectra, "heatmap": self._heatmap}
        if cells[0].settings["measure"] == "surgery":
            return super().measure(cells)
        self.keep(cells)
        return [measures[cell.settings["measure"]](cell) for cell in cells]

    def _spectra(self, cell: Cell) -> Outcome:
        from gfnet_bench.models.surgery import global_filters

        model = self.model(cell)
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

    def _heatmap(self, cell: Cell) -> Outcome:
        import numpy as np

        from gfnet_bench.spectra import noise_frequencies

        s = cell.settings
        if DATASETS[s["dataset"]].is_corrupted:
            raise UsageError(f"{s['dataset']}: is corrupted already; a heat map adds its noise to clean images")
        model = self.fitting_model(cell)
        height, width = model.transform.height, model.transform.width
        everything = noise_frequencies(height, width, _noise(cell).frequencies)
        part, parts = s["part"]
        chosen = np.array_split(np.arange(len(everything)), parts)[part]
        images = self.images(cell, model)
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
            "batch_size": self.batch_size,
            **robustness.about_images(images),
        }
        arrays = {"frequencies": everything[chosen].astype(np.int16), "wrong": wrong.astype(np.int32)}
        return Outcome(values, arrays, provenance)

    def _errors(
        self, cell: Cell, model: Model, images: Images, everything: NDArray[np.int64], chosen: NDArray[np.int64]
    ) -> tuple[int, NDArray[np.int64]]:
        """How many images are wrong, without noise and under each of the chosen frequencies."""
        import numpy as np
        import torch
        from tqdm import tqdm

        from gfnet_bench.evaluation import precision, to_pixels
        from gfnet_bench.halving import Fitting
        from gfnet_bench.randomness import image_seeds, uniform
        from gfnet_bench.spectra import noise

        s, perturbation, device = cell.settings, _noise(cell), torch.device(self.device)
        seeds = image_seeds(images.ids, s["seed"], perturbation.salt).to(device)
        norm, clean, wrong = perturbation.norm, 0, np.zeros(len(chosen), dtype=np.int64)
        size = min(self.batch_size, len(images))
        at_once = max(1, self.batch_size // size)  # few images: several frequencies fill a batch
        fitting, work = Fitting(size * at_once, device), len(images) * len(chosen)
        with (
            precision(s["dtype"], device) as scoring,
            torch.no_grad(),
            tqdm(total=work, desc=str(cell), unit="img", disable=not self.progress, leave=False, position=1) as bar,
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
            "device": device_name(self.device),
            "params": model.params,
            "weights_sha256": model.weights_sha256,
            "weights_source": model.weights_source,
            "weights_key": model.weights_key,
        }


def _noise(cell: Cell) -> FourierNoise:
    noise = of_cell(cell)
    assert isinstance(noise, FourierNoise)
    return noise


def _right_classes(images: Images, rows: slice, classes: int) -> torch.Tensor:
    """(b, k) bool: the classes that count as right for each image."""
    import torch

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
    import torch

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
