"""The studies for those who work in Python: what a command measures, records and tables, as a value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from gfnet_bench.api.evaluate import spelled
from gfnet_bench.api.given import checked_model
from gfnet_bench.api.image_set import ImageSet, default_workers, load_images
from gfnet_bench.attacks import Attack
from gfnet_bench.commands import complexity as complexity_command
from gfnet_bench.commands import robustness as robustness_command
from gfnet_bench.commands.keywords import arguments_of
from gfnet_bench.datasets import generated_of
from gfnet_bench.errors import UsageError
from gfnet_bench.frames import tidy
from gfnet_bench.models import Model, hold
from gfnet_bench.models.factories import sha256_of_state
from gfnet_bench.perturbations import Corrupted
from gfnet_bench.records import Record
from gfnet_bench.reports.base import Report
from gfnet_bench.store import Store

if TYPE_CHECKING:
    import pandas as pd

Models = Model | str | Sequence[Model | str]


class Study:
    """What was measured. Printed, and in a notebook, it is its tables.

    Attributes:
        records: one a cell, those included that were on disk before.
        report: tables, data and figures.
        store: where the records are.
    """

    def __init__(self, records: Sequence[Record], report: Report, store: Store) -> None:
        self.records, self.report, self.store = records, report, store

    @property
    def failed(self) -> list[Record]:
        """Those that could not be measured; their `error` says why."""
        return [record for record in self.records if record.error is not None]

    def to_pandas(self) -> pd.DataFrame:
        """One row a value, with the settings of its cell; see `frames.tidy`."""
        return tidy(self.records)

    def __repr__(self) -> str:
        models = ", ".join(list(dict.fromkeys(record.cell.model for record in self.records))[:4])
        return f"Study of {models}: {len(self.records)} records in {self.store.folder}, {len(self.failed)} failed"

    def __str__(self) -> str:
        return self.report.render("text")

    def _repr_html_(self) -> str:
        return self.report.render("html")


def robustness(
    models: Models | None = None,
    images: ImageSet | Path | str | None = None,
    *,
    suite: str | None = None,
    dataset: str | Sequence[str] | None = None,
    attack: Attack | str | Sequence[Attack | str] | None = None,
    corruption: Corrupted | str | Sequence[Corrupted | str] | None = None,
    severity: int | Sequence[int] | None = None,
    recipe: str | None = None,
    transform: str | None = None,
    img_size: int | tuple[int, int] | None = None,
    limit: float | None = None,
    seed: int | None = None,
    dtype: str | None = None,
    reference: str | None = None,
    class_names: Sequence[str] | None = None,
    data_dir: Path | str | Sequence[Path | str] | None = None,
    output_dir: Path | str = "results",
    device: str | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    overwrite: str | None = None,
    progress: bool = True,
) -> Study:
    """What `gfnet-bench robustness` does with these options: it measures what has no record yet, and tells all of it.

    Args:
        models: names, or models of `load_model` and `wrap`. None for the suite's.
        images: of `load_images` or `images_of_arrays`, or what `load_images` takes; None for all sets of the suite.
        suite: `imagenet`, `mini` ...; None for that of models and data sets.
        dataset: these alone.
        attack: `PGD(epsilon=4 / 255)`, or `pgd:steps=20`, `clean`; None for clean, FGSM and PGD.
        corruption: `Corruption("fog", 3)`, `fog`, `fog:severity=3`; None for the fifteen of mCE.
        severity: 1 to 5, of corruptions that do not state one; None for all.
        recipe: how corrupted images are made; None for the set's own.
        transform: how images are cut: `paper` (None), or the `model`'s own.
        img_size: side in pixels or (height, width), of models by name.
        limit: a sample of so many images, stratified by class.
        seed: decides the sample and every random draw; None for 0.
        dtype: precision of the forward pass that is scored; None for float32.
        reference: of images of one's own: a model whose errors corruption errors are relative to.
        class_names: of images of one's own: see `evaluate`.
        data_dir: folders to look for data sets in; None for $GFNET_BENCH_DATA, else ./data.
        output_dir: where records are kept.
        device: where to compute; None for the fastest there is.
        batch_size: images at a time, at most.
        workers: processes that decode; see `load_images`.
        overwrite: what is measured again of what is on disk: `never`, `failed` (None) or `always`.
        progress: bars.

    Returns:
        Records and tables. A cell that could not be measured has a record with its error. That of a model which was
        wrapped, or changed since it was loaded, says the hashes of its weights and of what it is.

    Raises:
        UsageError: if something given is unknown, or does not go together, or would do nothing.
        GfnetBenchError: if results cannot be written.
    """
    chosen, names = _named(models)
    _check_size(img_size, chosen)
    given: dict[str, Any] = {
        "model": names,
        "suite": suite,
        "dataset": dataset,
        "attack": None if attack is None else [spelled(one) for one in _several(attack)],
        "corruption": None if corruption is None else [spelled(one) for one in _several(corruption)],
        "severity": severity,
        "recipe": recipe,
        "transform": transform,
        "img_size": img_size,
        "limit": limit,
        "seed": seed,
        "dtype": dtype,
        "reference": reference,
        "class_names": class_names,
        "data_dir": None if data_dir is None else _several(data_dir),
        "output_dir": output_dir,
        "device": device,
        "batch_size": batch_size,
        "workers": default_workers(workers),
        "overwrite": overwrite,
        "no_progress": not progress,
    }
    if images is not None:
        if not isinstance(images, ImageSet):
            images = load_images(images, data_dir, limit=limit, seed=seed or 0, workers=workers)
        elif (limit, seed, data_dir, workers) != (None, None, None, None):
            raise UsageError("limit, seed, data_dir, workers: images were given and know theirs; say it to load_images")
        given |= _of_images(images, given)
    arguments = arguments_of(robustness_command, given)
    if images is not None:
        arguments.images = images.own
    asked = robustness_command.ask(arguments)
    records, report = robustness_command.measure(asked, arguments)
    return Study(records, report, asked.store)


def complexity(
    models: Models | None = None,
    *,
    mixer: str | Sequence[str] | None = None,
    tokens: str | int | None = None,
    img_size: int | tuple[int, int] | Sequence[int | tuple[int, int]] | None = None,
    width: int | None = None,
    count_only: bool = False,
    backward: bool = False,
    convention: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    dtype: str | None = None,
    cuda_graphs: bool = False,
    time_budget: float | None = None,
    output_dir: Path | str = "results",
    overwrite: str | None = None,
    progress: bool = True,
) -> Study:
    """What `gfnet-bench complexity` does with these options: multiply-adds, memory and latency, and figures of them.

    Args:
        models: names, or models of `load_model` and `wrap`, which are copied; None for blocks alone.
        mixer: blocks of these token mixers; None for all where there are no models.
        tokens: `196..4096`, `196,784,3136`, `paper` or a number.
        img_size: side in pixels or (height, width), or a list of these, of models by name.
        width: features of a block; None for 384.
        count_only: multiply-adds alone: nothing is timed.
        backward: forward and backward too.
        convention: what FFTs and norms are charged: `table1`, `authors`, `standard` or `none`; None for the paper's.
        device: where to measure; None for the fastest there is.
        batch_size: images at a time; None for 32, on a CPU 8.
        dtype: float32 (None), tf32, bfloat16 or float16.
        cuda_graphs: time replayed CUDA graphs.
        time_budget: seconds a latency; None for 3.
        output_dir: where records and figures are kept.
        overwrite: see `robustness`.
        progress: bars.

    Returns:
        Records, tables and figures; seconds, bytes and multiply-adds.

    Raises:
        UsageError, GfnetBenchError: as `robustness`.
    """
    chosen, names = _named(models, copied=True)
    _check_size(img_size, chosen)
    given: dict[str, Any] = {
        "model": names,
        "mixer": mixer,
        "tokens": tokens,
        "img_size": img_size,
        "width": width,
        "count_only": count_only,
        "backward": backward,
        "convention": convention,
        "device": device,
        "batch_size": batch_size,
        "dtype": dtype,
        "cuda_graphs": cuda_graphs,
        "time_budget": time_budget,
        "output_dir": output_dir,
        "overwrite": overwrite,
        "no_progress": not progress,
    }
    arguments = arguments_of(complexity_command, given)
    cells, store = complexity_command.ask(arguments)
    return Study(*complexity_command.measure(cells, store, arguments), store)


def _several(things: Any) -> list[Any]:
    return list(things) if isinstance(things, Iterable) and not isinstance(things, str) else [things]


def _check_size(img_size: object, models: Iterable[Model | str]) -> None:
    if img_size is not None and any(isinstance(model, Model) for model in models):
        raise UsageError("img_size: expected names of models with it, found a model; say it to load_model or wrap")


def _named(models: Models | None, copied: bool = False) -> tuple[list[Model | str], list[str] | None]:
    """The models, which have to be held on to, and their names in this process.

    One that is as it was when it was loaded by its name has that name, and so the record of a command.
    """
    if models is None:
        return [], None
    chosen: list[Model | str] = [models] if isinstance(models, nn.Module) else _several(models)
    names = []
    for model in chosen:
        if isinstance(model, str):
            names.append(model)
            continue
        as_named = checked_model(model).as_named
        same = as_named is not None and as_named == sha256_of_state(model.net)
        names.append(model.name if same else hold(model, copied))
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"models: expected a name for each, found {twice[0]} twice; wrap(net, name=...)")
    return chosen, names


def _of_images(images: ImageSet, given: dict[str, Any]) -> dict[str, Any]:
    """The options that images stand for."""
    if given["dataset"] is not None or given["suite"] is not None:
        raise UsageError("expected images, or suite and dataset, found both; leave out one")
    found: dict[str, Any] = {"limit": images.limit, "seed": images.seed, "workers": images.workers}
    if images.own is not None:
        return found
    wants_corrupted = any(given[key] is not None for key in ("corruption", "severity", "recipe"))
    made = generated_of(images.dataset) if wants_corrupted else None
    datasets = [images.dataset, *([made] if made else [])]
    return {**found, "dataset": datasets, "data_dir": list(images.data_dirs) or None}
