"""One model on one set of images, now and in memory: the cell that a command would measure, measured the same way."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gfnet_bench import perturbations
from gfnet_bench.api.given import checked_model, kind, whole
from gfnet_bench.api.image_set import ImageSet, load_images
from gfnet_bench.api.result import Result
from gfnet_bench.attacks import Attack
from gfnet_bench.benches.robustness import Bench
from gfnet_bench.commands import options
from gfnet_bench.datasets import DATASETS, generated_of, suite_of
from gfnet_bench.datasets.own_images import use
from gfnet_bench.errors import UsageError
from gfnet_bench.models import Model, hold
from gfnet_bench.perturbations import CLEAN, Corrupted, Perturbation
from gfnet_bench.records import PROTOCOLS, Cell
from gfnet_bench.studies import robustness as study
from gfnet_bench.studies.own_images import matched
from gfnet_bench.suites.own import usual


def evaluate(
    model: Model,
    images: ImageSet | Path | str,
    *,
    attack: Attack | str | None = None,
    corruption: Corrupted | str | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    dtype: str = "float32",
    class_names: Sequence[str] | None = None,
    progress: bool = True,
) -> Result:
    """One model on images as they are, attacked or corrupted. Nothing is stored; see `robustness` for that.

    Args:
        model: of `wrap` or `load_model`.
        images: of `load_images` or `images_of_arrays`, or what `load_images` takes.
        attack: `PGD(epsilon=4 / 255, steps=20)`, or as on a command line, `pgd:steps=20`, where the radius is the
            suite's if it is not stated.
        corruption: `Corruption("fog", 3)`, or `fog:severity=3`.
        batch_size: images at a time, at most; None for 256 on a GPU and 64 elsewhere.
        device: where to compute, which moves the model there; None for where it is.
        dtype: precision of the forward pass that is scored: float32, tf32, bfloat16 or float16.
        class_names: of images of one's own, what the model calls its classes, in the order of its logits; None for what
            it says itself, else the sorted names of the folders.
        progress: bars.

    Returns:
        The numbers, with their intervals, and the predictions; what a command finds for the same cell, to the bit.

    Raises:
        UsageError: if something given is of another kind than expected, unknown, or does not go together.
        MissingError: if images, or textures of a corruption, are not there.
        GfnetBenchError: if the model, or the attack on it, returns what cannot be scored.
    """
    checked_model(model)
    given = None if batch_size is None else whole("batch_size", batch_size, 1)
    images = images if isinstance(images, ImageSet) else load_images(images)
    name, of_model = hold(model), {}
    if images.own is not None:
        found = matched(use(images.own), [name], class_names)
        of_model = {name: {"classes": dict(of.logits)} for name, of in found.items()}
    elif class_names is not None:
        raise UsageError(f"class_names: expected images of one's own with them, found {images.dataset}")
    dataset, done = _perturbation(images, attack, corruption)
    where = options.device(Namespace(device=device)) if device else str(model.mean.device)
    options.check_dtype(dtype, where)
    how = study.Options(
        transform=model.transform.name, limit=images.limit, seed=images.seed, dtype=dtype, of_model=of_model
    )
    cell = Cell(study.STUDY, PROTOCOLS[study.STUDY], name, how.settings(dataset, done, name))
    bench = Bench(
        data_dirs=images.data_dirs,
        device=where,
        batch_size=options.batch_size(Namespace(batch_size=given), where),
        workers=images.workers,
        progress=progress,
        _images=images.decoded,
    )
    (outcome,) = bench.measure([cell])
    if isinstance(outcome, Exception):
        raise outcome
    return Result(cell, model.name, bench.images(cell, bench.model(cell)).ids, outcome)


def spelled(perturbation: Any) -> str:
    """An attack or a corruption as it is written on a command line."""
    if isinstance(perturbation, str):
        return perturbation
    return (perturbation if isinstance(perturbation, Corrupted) else _attacked(perturbation, 0)).spelling


def _perturbation(
    images: ImageSet, attack: Attack | str | None, corruption: Corrupted | str | None
) -> tuple[str, Perturbation]:
    """What is done to the images, and the data set whose cell that is: of corrupted images it is another one."""
    spec = images.spec
    if attack is not None and corruption is not None:
        raise UsageError("expected an attack or a corruption, found both; evaluate twice")
    if corruption is None:
        if spec.is_corrupted:
            raise UsageError(f"{spec.name}: expected a corruption, found none; say corruption='fog:severity=3'")
        return spec.name, CLEAN if attack is None else _attacked(attack, suite_of(spec.name).epsilon)
    done = _corrupted(corruption)
    if spec.cells is not None:
        if done.recipe is not None:
            raise UsageError(f"{done.spelling}: expected no recipe, since the files of {spec.name} are published")
        return spec.name, done
    made = spec if spec.recipe else DATASETS[generated_of(spec.name) or spec.name]
    recipe = done.recipe or made.recipe or usual(suite_of(spec.name).side).recipe
    return made.name, Corrupted(done.name, done.severity, recipe)


def _attacked(attack: Any, epsilon: float) -> Perturbation:
    if isinstance(attack, str):
        return perturbations.attacked(attack, None, epsilon)[0]
    if isinstance(attack, perturbations.Attacked | perturbations.Clean):
        return attack
    if isinstance(attack, type) or not (callable(attack) and hasattr(attack, "epsilon")):
        raise UsageError(f"expected an attack, found {kind(attack)}; write PGD(epsilon=4 / 255) or 'pgd:steps=20'")
    done = perturbations.Attacked.of(attack)
    if done.attack != attack:  # which raises where nothing is registered under its name
        raise UsageError(f"{done.name}: expected an attack that its fields tell, found another; register its class")
    return done


def _corrupted(corruption: object) -> Corrupted:
    if not isinstance(corruption, Corrupted | str):
        raise UsageError(f"expected a corruption, found {kind(corruption)}; write Corruption('fog', 3)")
    done = perturbations.parse(corruption if isinstance(corruption, str) else corruption.spelling)
    if not isinstance(done, Corrupted):
        raise UsageError(f"expected a corruption, found {done.spelling}; say attack={done.spelling!r}")
    return done
