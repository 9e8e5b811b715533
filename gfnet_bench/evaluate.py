"""The one loop: models, images and perhaps a perturbation in, per-image predictions out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from gfnet_bench.errors import GfnetBenchError, out_of_memory
from gfnet_bench.metrics import Predictions
from gfnet_bench.randomness import image_seeds

Predict = Callable[[Tensor], Tensor]
Attack = Callable[[Predict, Tensor, Tensor, Tensor], Tensor]
Corrupt = Callable[[Tensor, Tensor], Tensor]

DTYPES = ("float32", "tf32", "bfloat16", "float16")


class Evaluation(NamedTuple):
    """What one pass gives: the predictions, and the batch size it ended with (memory may have forced it down)."""

    predictions: Predictions
    batch_size: int


@contextlib.contextmanager
def precision(dtype: str, device: torch.device) -> Iterator[Callable[[], contextlib.AbstractContextManager[Any]]]:
    """Hold the matrix units to what `dtype` promises; yields the context under which predictions are scored.

    `float32` means no TF32 anywhere, cuDNN included, which torch leaves on. Attack gradients stay outside the yielded
    context: they are float32, or TF32 where that was asked for.
    """
    if dtype not in DTYPES:
        raise GfnetBenchError(f"dtype must be one of {', '.join(DTYPES)}, found {dtype!r}")
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = dtype == "tf32"
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(dtype)
    try:
        yield lambda: contextlib.nullcontext() if half is None else torch.autocast(device.type, half)
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn


def to_pixels(images: NDArray[np.uint8] | Tensor, device: torch.device) -> Tensor:
    """(b, h, w, 3) uint8 to (b, 3, h, w) float32 in [0, 1] on `device`."""
    return _to_device(images, device).float().div_(255)


def _to_device(images: NDArray[np.uint8] | Tensor, device: torch.device) -> Tensor:
    """(b, h, w, 3) uint8 to (b, 3, h, w) uint8 on `device`."""
    tensor = images if isinstance(images, Tensor) else torch.from_numpy(np.ascontiguousarray(images))
    return tensor.to(device, non_blocking=True).permute(0, 3, 1, 2)


def evaluate(
    predict: Predict, images: NDArray[np.uint8] | Tensor, labels: NDArray[np.int64], ids: Sequence[str], **options: Any
) -> Evaluation:
    """Predict every image once with one model; see `evaluate_all`."""
    (found,) = evaluate_all([predict], images, labels, ids, **options)
    if isinstance(found, GfnetBenchError):
        raise found
    return found


def evaluate_all(
    predicts: Sequence[Predict],
    images: NDArray[np.uint8] | Tensor,
    labels: NDArray[np.int64],
    ids: Sequence[str],
    *,
    corrupt: Corrupt | None = None,
    attack: Attack | None = None,
    classes: Sequence[int] | None = None,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    dtype: str = "float32",
    seed: int = 0,
    salt: str = "",
    progress: str | None = None,
) -> list[Evaluation | GfnetBenchError]:
    """Predict every image once with each model, corrupted first (once for all models), attacked first (for each).

    Every batch has the same number of images (the last is filled up with repeats, which are dropped), so that no
    kernel choice depends on where an image falls. When memory runs out the batch is halved and the pass goes on.

    Args:
        predicts: each (b, 3, h, w) float32 in [0, 1] to (b, k) logits.
        images: (n, h, w, 3) uint8; an array, memory-mapped or not, or a tensor already on the device.
        labels: (n,) class indices.
        ids: n names that key each image's random numbers.
        corrupt: (images (b, 3, h, w) uint8, seeds) to images of that shape and type.
        attack: (predict, images, labels, seeds) to images.
        classes: the class indices that count; logits of the others are left out before the arg-max.
        batch_size: images at a time, at most.
        device: where to compute.
        dtype: one of `DTYPES`.
        seed: changes the perturbation's random numbers.
        salt: changes them too; the perturbation's name, so that two attacks do not share a start.
        progress: what the bar on stderr is called; None for no bar.

    Returns:
        For each model its evaluation, or the error that its logits are not finite.

    Raises:
        GfnetBenchError: when there are no images, or one image alone does not fit into memory.
    """
    device = torch.device(device)
    n = len(labels)
    if n == 0:
        raise GfnetBenchError("there are no images to evaluate; `gfnet-bench doctor` says what was found")
    columns = None if classes is None else torch.tensor(sorted(classes), device=device)
    targets = torch.from_numpy(np.ascontiguousarray(labels, dtype=np.int64)).to(device)
    if columns is not None:
        targets = torch.searchsorted(columns, targets)
    restricted = [_restricted(predict, columns) for predict in predicts]
    seeds = image_seeds(ids, seed, salt).to(device)
    batch_size = min(batch_size, n)
    parts: list[list[tuple[Tensor, ...]]] = [[] for _ in predicts]
    done = 0
    with (
        precision(dtype, device) as scoring,
        tqdm(total=n, desc=progress, unit="img", disable=progress is None, leave=False, position=1) as bar,
    ):
        while done < n:
            count = min(batch_size, n - done)
            # The last batch repeats images from the front of the set.
            chosen = np.arange(done, done + batch_size) % n
            index = torch.from_numpy(chosen).to(device)
            try:
                pixels = _to_device(_take(images, chosen, done, count), device)
                if corrupt is not None:
                    pixels = corrupt(pixels, seeds[index])
                clean = pixels.float().div_(255)
                batch = []
                for predict in restricted:
                    inputs = clean if attack is None else attack(predict, clean, targets[index], seeds[index])
                    with torch.no_grad(), scoring():
                        logits = predict(inputs).float()
                    batch.append(tuple(x[:count] for x in _scores(logits, targets[index])))
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if batch_size == 1:
                    raise GfnetBenchError(f"one image does not fit into the memory of {device}: {error}") from error
                batch_size //= 2
                bar.write(f"out of memory; going on with {batch_size} images at a time")
                if device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            for part, scores in zip(parts, batch, strict=True):
                part.append(scores)
            done += count
            bar.update(count)
    return [_evaluation(part, columns, labels, ids, batch_size) for part in parts]


def _restricted(predict: Predict, columns: Tensor | None) -> Predict:
    """The model with logits of the classes that count alone."""
    return predict if columns is None else lambda images: predict(images)[:, columns]


def _evaluation(
    parts: Sequence[tuple[Tensor, ...]],
    columns: Tensor | None,
    labels: NDArray[np.int64],
    ids: Sequence[str],
    batch_size: int,
) -> Evaluation | GfnetBenchError:
    """One model's batches put together."""
    top5, confidence, nll, finite = (torch.cat(column).cpu() for column in zip(*parts, strict=True))
    if not finite.all():
        bad = int((~finite).sum())
        first = ids[int((~finite).int().argmax())]
        return GfnetBenchError(f"the logits of {bad} of {len(ids)} images are not finite (the first: {first})")
    if columns is not None:
        top5 = columns.cpu()[top5]
    predictions = Predictions(
        top5=top5.numpy().astype(np.int32),
        confidence=confidence.numpy(),
        nll=nll.numpy(),
        labels=np.asarray(labels, dtype=np.int64),
        ids=tuple(ids),
    )
    return Evaluation(predictions, batch_size)


def _take(images: NDArray[np.uint8] | Tensor, chosen: NDArray[np.int64], done: int, count: int) -> Any:
    """The chosen images; a plain slice where it is one, which a memory map serves without gathering."""
    if count == len(chosen):
        return images[done : done + count]
    return images[torch.from_numpy(chosen).to(images.device)] if isinstance(images, Tensor) else images[chosen]


def _scores(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Top-5 indices, top-1 confidence, negative log-likelihood and finiteness of each row."""
    log_probabilities = F.log_softmax(logits, dim=1)
    values, top5 = log_probabilities.topk(min(5, logits.shape[1]), dim=1)
    nll = -log_probabilities.gather(1, targets[:, None])[:, 0]
    return top5, values[:, 0].exp(), nll, logits.isfinite().all(dim=1)
