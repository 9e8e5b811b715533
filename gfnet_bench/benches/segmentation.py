"""The bench of the segmentation study: trains a network, or takes its weights, and evaluates it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gfnet_bench.corruptions import corrupt
from gfnet_bench.downloads.checksum import sha256_of
from gfnet_bench.errors import GfnetBenchError, MissingError, out_of_memory
from gfnet_bench.evaluation import precision
from gfnet_bench.inputs import Inputs
from gfnet_bench.interrupts import doing
from gfnet_bench.metrics import segmentation as metrics
from gfnet_bench.models.semantic_fpn import SemanticFPN
from gfnet_bench.randomness import image_seeds
from gfnet_bench.records import Cell, Record, canonical_json
from gfnet_bench.runner import Outcome
from gfnet_bench.scene_sets import ADE20K, MINI_SCENES, SCENE_SETS
from gfnet_bench.segmentation import ade20k, mini_scenes, networks
from gfnet_bench.segmentation.distributed import Group
from gfnet_bench.segmentation.evaluation import Change, Evaluator, sample, sized
from gfnet_bench.segmentation.recipes import recipe_of
from gfnet_bench.segmentation.scenes import Scenes
from gfnet_bench.segmentation.training import Log, Training, read_state, read_weights

READERS: dict[str, Callable[[Sequence[Path], str], Scenes]] = {
    ADE20K.name: ade20k.scenes,
    MINI_SCENES.name: lambda _, subset: mini_scenes.scenes(subset),
}
"""Data folders and a subset to its images."""


class Trained(NamedTuple):
    """A network with its weights, and how they came about where they were trained here."""

    network: SemanticFPN
    weights: Path
    log: Log | None


@dataclass
class Bench:
    """A machine with data.

    Attributes:
        data_dirs: where ADE20K may lie.
        folder: of results; what training goes on from is kept in `segmentation` in it.
        group: this process's device, and the others that train with it.
        workers: threads that read images.
        checkpoint: weights to take in place of training.
        eval_only: whether a network that is not fully trained is an error.
        progress: bars on stderr.
    """

    data_dirs: tuple[Path, ...]
    folder: Path
    group: Group = field(default_factory=Group)
    workers: int = 2
    checkpoint: Path | None = None
    eval_only: bool = False
    progress: bool = True
    _kept: dict[str, Trained] = field(default_factory=dict, repr=False)

    def measure(self, cell: Cell) -> Outcome:
        """Mean IoU of a cell, and what was counted.

        Raises:
            GfnetBenchError: if images or weights cannot be had, or memory runs out.
        """
        s = cell.settings
        trained = self.trained(cell)
        whole = self.scenes(s["scenes"], "validation")
        scenes = whole.select(list(sample(whole, s["limit"], s["seed"])))
        found = self.evaluator(cell).count(scenes, _change(cell), progress=self.progress)
        arrays: dict[str, NDArray[Any]] = {**found.regions._asdict(), "confusion": found.confusion}
        if trained.log is not None and s["corruption"] is None:
            arrays |= trained.log._asdict()
        values = {
            **metrics.values(found.regions),
            "images": len(scenes.ids),
            "classes": len(scenes.classes),
            "expected": SCENE_SETS[s["scenes"]].images["validation"],
        }
        noted = {
            "data_fingerprint": scenes.fingerprint,
            "weights_sha256": sha256_of(trained.weights),
            "device": str(self.group.device),
            "params": sum(p.numel() for p in trained.network.parameters()),
        }
        return Outcome(values, arrays, noted)

    def inputs(self, record: Record) -> Inputs:
        """What a cell would be measured on now."""
        try:
            found = self.scenes(record.cell.settings["scenes"], "validation")
        except GfnetBenchError as error:
            return Inputs({}, {"images": str(error)})
        return Inputs({"data_fingerprint": found.fingerprint}, {})

    def lacking(self, cells: Sequence[Cell]) -> list[str]:
        """Sentences about images that these cells need and this machine lacks."""
        missing = []
        for cell in cells:
            evaluated = self.eval_only or self.checkpoint is not None
            for subset in ("validation",) if evaluated else ("training", "validation"):
                try:
                    self.scenes(cell.settings["scenes"], subset)
                except GfnetBenchError as error:
                    missing.append(str(error))
        return list(dict.fromkeys(missing))

    def scenes(self, name: str, subset: str) -> Scenes:
        """The images of a set.

        Raises:
            MissingError: if they are not on this machine.
        """
        return READERS[name](self.data_dirs, subset)

    def evaluator(self, cell: Cell) -> Evaluator:
        """How the network of a cell is shown images."""
        kind = SCENE_SETS[cell.settings["scenes"]]
        network = self.trained(cell).network
        other = networks.rebuilt(network, cell.model, kind.classes)
        return Evaluator(sized(network, other), kind.box, self.group.device, cell.settings["dtype"])

    def trained(self, cell: Cell) -> Trained:
        """The network of a cell: trained as far as it is not, or with the weights of the checkpoint."""
        path = self.checkpoint or self.state(cell)
        key = f"{cell.model} {path}"
        if key not in self._kept:
            self._kept.clear()
            try:
                told = f"training {cell.model}; the same command goes on from {path}"
                with precision("float32", self.group.device), doing(told):
                    self._kept[key] = self._with_weights(cell, path)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                raise GfnetBenchError(
                    f"memory ran out on {self.group.device}; share the batch among more processes (torchrun)"
                ) from error
        return self._kept[key]

    def state(self, cell: Cell) -> Path:
        """The file that training of a cell goes on from."""
        digest = hashlib.sha256(self._identity(cell, "").encode()).hexdigest()
        return self.folder / "segmentation" / f"{cell.model.replace('/', '-')}.{digest[:8]}.pt"

    def _identity(self, cell: Cell, fingerprint: str) -> str:
        s = cell.settings
        return canonical_json([cell.model, s["scenes"], s["training"], s["dtype"], fingerprint])

    def _with_weights(self, cell: Cell, path: Path) -> Trained:
        training, kind = cell.settings["training"], SCENE_SETS[cell.settings["scenes"]]
        if training is None:
            net = networks.network(cell.model, kind.side, kind.classes, 0.0).to(self.group.device)
            networks.load(net, read_weights(path), str(path))
            return Trained(net.eval(), path, None)
        recipe = recipe_of(training)
        torch.manual_seed(recipe.seed)
        net = networks.network(cell.model, recipe.augmentation.crop, kind.classes, training["drop_path"])
        if self.eval_only:
            return self._found(cell, path, net.to(self.group.device))
        scenes = self.scenes(cell.settings["scenes"], "training")
        if cell.model not in networks.MINI and not path.exists():
            networks.start(net, cell.model)
        run = Training(
            net.to(self.group.device),
            scenes,
            recipe,
            path,
            self._identity(cell, scenes.fingerprint),
            cell.settings["dtype"],
            self.group,
            self.workers,
        )
        return Trained(net, path, run.run(progress=self.progress))

    def _found(self, cell: Cell, path: Path, net: SemanticFPN) -> Trained:
        """A network that was trained before."""
        recipe = recipe_of(cell.settings["training"])
        if not path.exists():
            raise MissingError(f"{cell.model}: expected a trained network at {path}, found none; leave out --eval-only")
        content = read_state(path)
        if content["iteration"] < recipe.iterations:
            raise GfnetBenchError(
                f"{cell.model}: expected {recipe.iterations} iterations of training at {path}, found "
                f"{content['iteration']}; leave out --eval-only"
            )
        networks.load(net, content["network"], str(path))
        rates = np.array([recipe.rate_at(i) for i in range(recipe.iterations)], np.float32)
        return Trained(net.eval(), path, Log(content["losses"].numpy(), rates))


def _change(cell: Cell) -> Change | None:
    """The corruption of a cell, at the size the image has on disk."""
    done, seed = cell.settings["corruption"], cell.settings["seed"]
    if done is None:
        return None

    def change(image: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        batch = torch.from_numpy(image.copy()).permute(2, 0, 1)[None]
        seeds = image_seeds([name], seed)
        changed = corrupt(batch, done["name"], done["severity"], recipe=done["recipe"], seeds=seeds)
        return np.ascontiguousarray(changed[0].permute(1, 2, 0).numpy())

    return change
