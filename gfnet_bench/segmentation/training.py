"""Training by iterations, with the recipe's optimiser and schedule; what a run is, is decided by its recipe and seed.

Nothing is drawn from a state that goes on: order, augmentation, dropout and stochastic depth of iteration i follow from
the seed and i. A run that is killed and started again therefore gives the same weights as one that was not.
"""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from gfnet_bench.bars import tqdm
from gfnet_bench.errors import GfnetBenchError, acquit
from gfnet_bench.files import write_atomic
from gfnet_bench.metrics.segmentation import IGNORED
from gfnet_bench.randomness import image_seeds
from gfnet_bench.segmentation.augmentation import Augmentation
from gfnet_bench.segmentation.distributed import Group, wrapped
from gfnet_bench.segmentation.evaluation import normalised
from gfnet_bench.segmentation.scenes import Scenes

AHEAD = 3  # batches that are made while one is learned from


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, beside network, images and number format.

    Attributes:
        iterations: how many steps.
        batch: images a step, of all processes together.
        optimizer: `adamw`, or `sgd` with momentum 0.9.
        rate: the learning rate of the first step; it falls to 0 as (1 - i / iterations) ** power.
        weight_decay: of all parameters, as in the recipe: norms and biases too.
        power: of the schedule.
        augmentation: of each sample.
        seed: of everything that is drawn.
    """

    iterations: int = 80_000
    batch: int = 16
    optimizer: str = "adamw"
    rate: float = 1e-4
    weight_decay: float = 1e-4
    power: float = 0.9
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0

    def rate_at(self, iteration: int) -> float:
        """The learning rate of a step, from 0."""
        return self.rate * (1 - iteration / self.iterations) ** self.power

    def settings(self) -> dict[str, Any]:
        """Its fields, as a record says them."""
        return json.loads(json.dumps(dataclasses.asdict(self)))


class Log(NamedTuple):
    """What was seen on the way, both (iterations,) float32."""

    losses: NDArray[np.float32]
    rates: NDArray[np.float32]


def order(n: int, seed: int, start: int) -> Iterator[int]:
    """Rows of the training images from sample number `start` on: each epoch a permutation of its own."""
    number = start
    while True:
        yield int(_permutation(n, seed, number // n)[number % n])
        number += 1


@lru_cache(maxsize=2)
def _permutation(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(n)


def batches(
    scenes: Scenes, recipe: Recipe, start: int, group: Group, workers: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    """This process's share of each batch from iteration `start` on: images (b, c, c, 3) and labels (b, c, c)."""
    share = recipe.batch // group.size

    def sample(number: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        row = next(order(len(scenes.ids), recipe.seed, number))
        return recipe.augmentation(scenes.read(scenes.ids[row]), np.random.default_rng([recipe.seed, 1, number]))

    pool = ThreadPoolExecutor(max(1, workers))
    try:
        waiting: deque[list[Future[Any]]] = deque()
        for iteration in range(start, recipe.iterations + AHEAD):
            if iteration < recipe.iterations:
                first = iteration * recipe.batch + group.rank * share
                waiting.append([pool.submit(sample, first + i) for i in range(share)])
            if iteration >= start + AHEAD or iteration >= recipe.iterations:
                if not waiting:
                    return
                images, labels = zip(*(future.result() for future in waiting.popleft()), strict=True)
                yield np.stack(images), np.stack(labels)
    finally:
        pool.shutdown(cancel_futures=True)


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy at the labels' size; ignored pixels count as 0 and are part of the mean, as in mmsegmentation."""
    logits = F.interpolate(logits.float(), labels.shape[1:], mode="bilinear", align_corners=False)
    return F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none").mean()


def optimizer_of(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """One group of all parameters."""
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(network.parameters(), recipe.rate, momentum=0.9, weight_decay=recipe.weight_decay)
    return torch.optim.AdamW(network.parameters(), recipe.rate, weight_decay=recipe.weight_decay)


@dataclass
class Training:
    """A run of a recipe.

    Attributes:
        network: to be trained, on the device of `group`.
        scenes: of the training subset.
        recipe: how.
        state: the file a run that was stopped goes on from.
        identity: what else decides the weights, compared with that of the file.
        dtype: `float32`, or `bfloat16` by autocast.
        group: the processes that share each batch.
        workers: threads that read and augment.
        every: iterations between two writes of the file.
    """

    network: nn.Module
    scenes: Scenes
    recipe: Recipe
    state: Path
    identity: str
    dtype: str = "float32"
    group: Group = field(default_factory=Group)
    workers: int = 2
    every: int = 1000

    def run(self, until: int | None = None, *, progress: bool = False) -> Log:
        """Train, from the file if it is there, and leave the network trained.

        Args:
            until: stop after this iteration, the file written.
            progress: a bar with the time that is left, on stderr, of the first process.

        Raises:
            GfnetBenchError: if the batch cannot be shared out, the file is of another run or damaged, or the loss is
                no number.
        """
        if self.recipe.batch % self.group.size:
            raise GfnetBenchError(
                f"expected a batch that {self.group.size} processes can share equally, found {self.recipe.batch} "
                "images; start another number of processes"
            )
        optimizer = optimizer_of(self.network, self.recipe)
        start, losses = self._resumed(optimizer)
        end = self.recipe.iterations if until is None else until
        network = wrapped(self.network, self.group).train()
        shown = progress and self.group.rank == 0
        with tqdm(total=self.recipe.iterations, initial=start, desc="training", unit="it", disable=not shown) as bar:
            for iteration, batch in zip(
                range(start, end), batches(self.scenes, self.recipe, start, self.group, self.workers), strict=False
            ):
                losses[iteration] = self._step(network, optimizer, iteration, batch)
                bar.set_postfix_str(f"loss {losses[iteration]:.3f}", refresh=False)
                bar.update()
                if (iteration + 1) % self.every == 0 or iteration + 1 == end:
                    self._save(optimizer, iteration + 1, losses)
        self.network.eval()
        rates = np.array([self.recipe.rate_at(i) for i in range(self.recipe.iterations)], np.float32)
        return Log(losses, rates)

    def _step(self, network: nn.Module, optimizer: torch.optim.Optimizer, iteration: int, batch: Any) -> float:
        device = self.group.device
        torch.manual_seed(int(image_seeds([str(iteration)], self.recipe.seed, self.group.rank)[0]))
        for settings in optimizer.param_groups:
            settings["lr"] = self.recipe.rate_at(iteration)
        images = normalised(torch.from_numpy(batch[0]).to(device)).nan_to_num_(0.0)
        labels = torch.from_numpy(batch[1]).to(device).long()
        with torch.autocast(device.type, torch.bfloat16, enabled=self.dtype == "bfloat16"):
            logits = network(images)
        loss = loss_of(logits, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        found = self.group.mean(loss.detach())
        if not np.isfinite(found):
            raise GfnetBenchError(
                f"expected a loss, found {found} in iteration {iteration + 1}; lower --rate, or use --dtype float32"
            )
        return found

    def _save(self, optimizer: torch.optim.Optimizer, iteration: int, losses: NDArray[np.float32]) -> None:
        if self.group.rank:
            return
        content = {
            "identity": self.identity,
            "iteration": iteration,
            "network": self.network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "losses": torch.from_numpy(losses),
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        self.state.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.state, buffer.getvalue())

    def _resumed(self, optimizer: torch.optim.Optimizer) -> tuple[int, NDArray[np.float32]]:
        losses = np.zeros(self.recipe.iterations, np.float32)
        if not self.state.exists():
            return 0, losses
        content = read_state(self.state)
        if content["identity"] != self.identity:
            raise GfnetBenchError(
                f"{self.state}: expected a run with these settings, found one with others; remove it, or name another "
                "--output-dir"
            )
        try:
            self.network.load_state_dict(content["network"])
            optimizer.load_state_dict(content["optimizer"])
            losses[:] = content["losses"].numpy()
        except (RuntimeError, ValueError, AttributeError) as error:
            raise _damaged(self.state, error) from error
        return int(content["iteration"]), losses


def read_state(path: Path) -> dict[str, Any]:
    """What a run has left in its file; nothing in it is executed.

    Raises:
        GfnetBenchError: if it is damaged, or no such file.
    """
    content = _loaded(path)
    wanted = ("identity", "iteration", "network", "optimizer", "losses")
    if not isinstance(content, dict) or any(key not in content for key in wanted):
        raise GfnetBenchError(f"{path}: expected the state of a run of `segmentation`, found something else; remove it")
    return content


def read_weights(path: Path) -> dict[str, Any]:
    """The network of a run's file, or of a file of weights alone; nothing in it is executed.

    Raises:
        GfnetBenchError: if it is damaged, or no such file.
    """
    content = _loaded(path)
    found = content.get("network", content) if isinstance(content, dict) else None
    if not isinstance(found, dict):
        raise GfnetBenchError(f"{path}: expected weights, found {type(content).__name__}; name another --checkpoint")
    return found


def _loaded(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        acquit(error)
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> GfnetBenchError:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return GfnetBenchError(f"{path}: expected the state of a run, found a damaged file ({first}); remove it")
