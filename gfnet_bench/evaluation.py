"""The one loop: models, images and perhaps a perturbation in, per-image predictions out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gfnet_bench.ball import Ball, check_images, name_of
from gfnet_bench.bars import tqdm
from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.feeding import Feed, around, on_device
from gfnet_bench.halving import Fitting
from gfnet_bench.metrics import Predictions
from gfnet_bench.randomness import image_seeds
from gfnet_bench.watch import Predict, Watch, are_probabilities, check_logits, fault, no_logits

Attack = Callable[[Predict, Tensor, Tensor, Tensor], Tensor]
Corrupt = Callable[[Tensor, Tensor], Tensor]

_NOTED, _CLEAN = "noted: ", "clean: "
"""What a column begins with that is of the attack, or of the images before it."""

DTYPES = ("float32", "tf32", "bfloat16", "float16")


class Evaluation(NamedTuple):
    """What one pass gives.

    Attributes:
        predictions: image by image.
        batch_size: the one it ended with (memory may have forced it down).
        noted: of an attack, image by image (n, ...): `forward_passes`, `backward_passes`, and what else it notes.
        clean: of the images before the attack, where they were asked for.
    """

    predictions: Predictions
    batch_size: int
    noted: Mapping[str, NDArray[Any]] = {}
    clean: Predictions | None = None


@contextlib.contextmanager
def precision(
    dtype: str, device: torch.device, *, repeatable: bool = True
) -> Iterator[Callable[[], contextlib.AbstractContextManager[Any]]]:
    """Hold the matrix units to what `dtype` promises; yields the context under which predictions are scored.

    `float32` means no TF32 anywhere, cuDNN included, which torch leaves on. Attack gradients stay outside the yielded
    context: they are float32, or TF32 where that was asked for.

    `repeatable` keeps cuDNN to algorithms that add in one order, and from trying which is fastest today. A run on the
    same device and libraries, in batches of the same size and on as many threads, then gives the same bits, attacks on
    convolutional networks included. Another device, batch size or number of threads may move last digits, since
    kernels are chosen by them. Nothing is promised for gradients through layers that torch itself sums in any order on
    CUDA, resampling inside a network above all.

    Raises:
        GfnetBenchError: if there is no such dtype.
    """
    if dtype not in DTYPES:
        raise GfnetBenchError(f"dtype must be one of {', '.join(DTYPES)}, found {dtype!r}")
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark
    matmul.allow_tf32 = cudnn.allow_tf32 = dtype == "tf32"
    if repeatable:
        cudnn.deterministic, cudnn.benchmark = True, False
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(dtype)
    try:
        yield lambda: contextlib.nullcontext() if half is None else torch.autocast(device.type, half)
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = before


def to_pixels(images: NDArray[np.uint8] | Tensor, device: torch.device) -> Tensor:
    """(b, h, w, 3) uint8 to (b, 3, h, w) float32 in [0, 1] on `device`."""
    return on_device(images, device).float().div_(255)


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
    classes: Sequence[int] | None,
    corrupt: Corrupt | None = None,
    attack: Attack | None = None,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    dtype: str = "float32",
    seed: int = 0,
    salt: str = "",
    clean_too: bool = False,
    progress: str | None = None,
) -> list[Evaluation | GfnetBenchError]:
    """Predict every image once with each model, corrupted first (once for all models), attacked first (for each).

    Every batch has the same number of images (the last is filled up with repeats, which are dropped), so that no
    kernel choice depends on where an image falls. When memory runs out the batch is halved and the pass goes on.

    What models, attacks and corruptions return is refused at once where its form is wrong. Values are looked at on the
    device and read when the pass is over: logits and gradients are finite, and an attack leaves neither the box [0, 1]
    nor its `Ball`.

    Args:
        predicts: each (b, 3, h, w) float32 in [0, 1] to (b, k) logits.
        images: (n, h, w, 3) uint8; an array, memory-mapped or not, or a tensor already on the device.
        labels: (n,) class indices.
        ids: n names that key each image's random numbers.
        classes: the class indices that count; logits of the others are left out before the arg-max. None for all, which
            has to be said: ImageNet-A scored over 1000 classes is another number.
        corrupt: (images (b, 3, h, w) uint8, seeds) to images of that type, of any size.
        attack: (predict, images, labels, seeds) to images of that shape and type.
        batch_size: images at a time, at most.
        device: where to compute.
        dtype: one of `DTYPES`.
        seed: changes the perturbation's random numbers.
        salt: changes them too; the perturbation's name, so that two attacks do not share a start.
        clean_too: also score the images as they are, by the logits of the attack's first look at them: an attack that
            `begins_at_image` takes that pass anyway. In float32 alone, in which attacks compute.
        progress: what the bar on stderr is called; None for no bar.

    Returns:
        For each model its evaluation, or the error that it, or the attack on it, met.

    Raises:
        GfnetBenchError: when images, labels, ids and classes do not go together, the corruption does not return
            images, or one image alone does not fit into memory.
    """
    device = torch.device(device)
    known = _check_inputs(images, labels, ids, classes, batch_size)
    if clean_too and (dtype != "float32" or not getattr(attack, "begins_at_image", False)):
        raise GfnetBenchError(f"expected an attack in float32 that begins at the image, found {attack} in {dtype}")
    passes = [_Pass(predict, known, attack, device, clean_too) for predict in predicts]
    targets = torch.from_numpy(known.targets).to(device)
    seeds = image_seeds(ids, seed, salt).to(device)
    n, done, fitting = len(ids), 0, Fitting(min(batch_size, len(ids)), device)

    def batch(size: int) -> list[tuple[_Pass, dict[str, Tensor]]]:
        """What is kept of the next images; of the last ones too little is new, and the front of the set fills up."""
        labels_now, seeds_now = (around(column, done, size) for column in (targets, seeds))
        pixels = feed.take(done, size)
        if corrupt is not None:  # a copy, since the pixels may be the caller's memory
            corrupted = corrupt(pixels.clone(), seeds_now.clone())
            pixels = check_images(corrupted, pixels, name_of(corrupt), any_size=True)
        going = [one for one in passes if one.error is None]
        return [(one, one.scores(pixels, labels_now, seeds_now, scoring)) for one in going]

    with (
        precision(dtype, device) as scoring,
        Feed(images, device) as feed,
        tqdm(total=n, desc=progress, unit="img", disable=progress is None, leave=False, position=1) as bar,
    ):
        while done < n and any(one.error is None for one in passes):
            found = fitting.run(batch)
            count = min(fitting.size, n - done)
            for one, scores in found:
                one.parts.append({name: column[:count] for name, column in scores.items()})
            done += count
            bar.update(count)
    return [one.evaluation(known, fitting.size) for one in passes]


class _Known(NamedTuple):
    """What is known of the images before a model sees one.

    Attributes:
        labels: (n,) int64 class indices.
        targets: (n,) int64, the columns of the logits that count which the labels are.
        ids: n names.
        columns: the class indices that count, ascending; None for all.
    """

    labels: NDArray[np.int64]
    targets: NDArray[np.int64]
    ids: tuple[str, ...]
    columns: NDArray[np.int64] | None

    @property
    def classes(self) -> int:
        """How many classes a model must tell apart at least."""
        return int((self.labels if self.columns is None else self.columns).max()) + 1


def _check_inputs(images: Any, labels: Any, ids: Sequence[str], classes: Any, batch_size: int) -> _Known:
    """What the caller handed over, or the first thing wrong with it as a GfnetBenchError."""
    n, labels = len(ids), np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    if n == 0:
        raise GfnetBenchError("there are no images to evaluate; `gfnet-bench doctor` says what was found")
    shape, kind = tuple(getattr(images, "shape", ())), str(getattr(images, "dtype", type(images).__name__))
    if len(shape) != 4 or (shape[0], shape[3]) != (n, 3) or kind.removeprefix("torch.") != "uint8":
        raise GfnetBenchError(f"expected images ({n}, h, w, 3) uint8, as many as there are ids, found {shape} {kind}")
    if not all(isinstance(name, str) for name in ids):
        raise GfnetBenchError(f"expected ids to be names, found {next(i for i in ids if not isinstance(i, str))!r}")
    whole = labels.astype(np.int64) if labels.dtype.kind in "iu" else np.full(1, -1)
    if labels.shape != (n,) or whole.min() < 0:
        low = f" from {labels.min()}" if labels.size and labels.dtype.kind in "iuf" else ""
        raise GfnetBenchError(f"expected labels ({n},), integers from 0 up, found {labels.shape} {labels.dtype}{low}")
    if not isinstance(batch_size, Integral) or batch_size < 1:
        raise GfnetBenchError(f"expected a batch size of 1 or more, found {batch_size!r}")
    if classes is None:
        return _Known(whole, whole, tuple(ids), None)
    columns = np.unique(np.asarray(classes))
    if not columns.size or columns.dtype.kind not in "iu" or columns[0] < 0:
        raise GfnetBenchError(f"expected classes to be class indices from 0 up, found {list(columns)[:5]}")
    strange = ~np.isin(whole, columns)
    if strange.any():
        first = int(strange.argmax())
        raise GfnetBenchError(
            f"expected labels among the {len(columns)} classes that count, found another for {strange.sum()} of {n} "
            f"images (the first: {whole[first]} for {ids[first]})"
        )
    return _Known(whole, np.searchsorted(columns, whole), tuple(ids), columns.astype(np.int64))


class _Pass:
    """One model on its way through the images: what it returned, or the error that ended it."""

    def __init__(
        self, predict: Predict, known: _Known, attack: Attack | None, device: torch.device, clean_too: bool = False
    ) -> None:
        self.predict = predict
        self.classes = known.classes
        self.columns = None if known.columns is None else torch.from_numpy(known.columns).to(device)
        self.attack = attack
        self.ball = Ball.of(attack)
        self.clean_too = clean_too
        self._first: Tensor | None = None
        self.parts: list[dict[str, Tensor]] = []
        self.error: GfnetBenchError | None = None

    def logits(self, images: Tensor) -> Tensor:
        """(b, k) of the classes that count; the first ones of a batch are kept where clean images are scored too."""
        whole = check_logits(self.predict(images), images, self.classes)
        if self.clean_too and self._first is None:
            self._first = whole.detach().clone()
        return self._counting(whole)

    def _counting(self, logits: Tensor) -> Tensor:
        return logits if self.columns is None else logits[:, self.columns]

    def scores(self, pixels: Tensor, targets: Tensor, seeds: Tensor, scoring: Callable[[], Any]) -> dict[str, Tensor]:
        """What is kept of a batch, by name, each (b, ...); nothing when this pass ends here.

        The model, and the attack, get images of their own: one that works in place must not change another's.
        """
        try:
            images = pixels.float().div_(255)
            seen: dict[str, Tensor] = {}
            if self.attack is not None:
                images, seen = self._attacked(images, targets.clone(), seeds.clone())
            with torch.no_grad(), scoring():
                whole = check_logits(self.predict(images), images, self.classes).float()
        except GfnetBenchError as error:
            self.error = error.with_traceback(None)  # which would keep the model in memory
            return {}
        first, self._first = self._first, None
        clean = {} if first is None else _scores(self._counting(first.float()), targets)
        return {
            **_scores(self._counting(whole), targets),
            "probabilities": are_probabilities(whole),
            **{_CLEAN + name: column for name, column in clean.items()},
            **seen,
        }

    def _attacked(self, images: Tensor, targets: Tensor, seeds: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Adversarial images, and what a look at them and at the model under attack gave for each."""
        assert self.attack is not None
        watch, self._first = Watch(self.logits, images), None
        found = self.attack(watch, images.clone(), targets, seeds)
        adversarial = check_images(found, images, name_of(self.attack))
        return adversarial, {
            "extent": self.ball.extent(adversarial, images),
            "broken_logits": watch.logits,
            "broken_gradient": watch.gradient,
            "values": watch.values,
            f"{_NOTED}forward_passes": watch.forward,
            f"{_NOTED}backward_passes": watch.backward,
            **{_NOTED + name: column for name, column in watch.notes.items()},
        }

    def evaluation(self, known: _Known, batch_size: int) -> Evaluation | GfnetBenchError:
        """The batches put together: here the device is waited for."""
        if self.error is not None:
            return self.error
        seen = {name: torch.cat([part[name] for part in self.parts]).cpu() for name in self.parts[0]}
        problem = self._fault(seen, known.ids)
        if problem is not None:
            return problem
        predictions = self._predictions(seen, known)
        of_clean = {name.removeprefix(_CLEAN): column for name, column in seen.items() if name.startswith(_CLEAN)}
        noted = {name.removeprefix(_NOTED): seen[name].numpy() for name in seen if name.startswith(_NOTED)}
        return Evaluation(predictions, batch_size, noted, self._predictions(of_clean, known) if of_clean else None)

    def _predictions(self, seen: Mapping[str, Tensor], known: _Known) -> Predictions:
        top5 = seen["top5"] if self.columns is None else self.columns.cpu()[seen["top5"]]
        return Predictions(
            top5=top5.numpy().astype(np.int32),
            confidence=seen["confidence"].numpy(),
            nll=seen["nll"].numpy(),
            labels=known.labels,
            ids=known.ids,
            brier=seen["brier"].numpy(),
        )

    def _fault(self, seen: Mapping[str, Tensor], ids: Sequence[str]) -> GfnetBenchError | None:
        """What makes the numbers void, if anything does."""
        if self.attack is not None:
            problem = fault(seen["broken_logits"], seen["broken_gradient"], seen["values"], ids)
            problem = problem or self.ball.fault(seen["extent"], name_of(self.attack), ids)
            if problem is not None:
                return problem
        if seen["probabilities"].all():
            return no_logits()
        finite = seen["finite"]
        if finite.all():
            return None
        first = ids[int((~finite).int().argmax())]
        return GfnetBenchError(
            f"the logits of {int((~finite).sum())} of {len(ids)} images are not finite (the first: {first})"
        )


def _scores(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Top-5 indices, top-1 confidence, negative log-likelihood, Brier score and finiteness of each row."""
    log_probabilities, target = F.log_softmax(logits, dim=1), targets[:, None]
    values, top5 = log_probabilities.topk(min(5, logits.shape[1]), dim=1)
    gaps = log_probabilities.exp()
    gaps.scatter_add_(1, target, gaps.new_full(target.shape, -1))
    return {
        "top5": top5,
        "confidence": values[:, 0].exp(),
        "nll": -log_probabilities.gather(1, target)[:, 0],
        "brier": gaps.square_().sum(dim=1),
        "finite": logits.isfinite().all(dim=1),
    }
