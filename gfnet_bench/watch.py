"""A model under watch: the form of its logits is checked at once, the values of logits and gradients at the end.

A NaN goes through an attack without a sound: sign(NaN) is 0, the step is not taken, and the model looks robust. So
what passes is counted where it is computed, and nobody waits for the device until the counts are read.
"""

from __future__ import annotations

import contextlib
import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from gfnet_bench.errors import GfnetBenchError

Predict = Callable[[Tensor], Tensor]

_SUM = 1e-3
"""What the probabilities of a row may differ from 1 by, half precision included."""


def check_logits(found: object, images: Tensor, classes: int = 1) -> Tensor:
    """What a model returned, unchanged.

    Args:
        found: that.
        images: (b, 3, h, w), what it was given.
        classes: how many it must tell apart at least.

    Raises:
        GfnetBenchError: unless it is a (b, k) floating-point tensor where the images are, k at least `classes`.
    """
    if not isinstance(found, Tensor):
        looks, hint = f"a {type(found).__name__}", "wrap it so that it returns one tensor, the logits alone"
    elif found.ndim != 2 or len(found) != len(images) or found.shape[1] < classes:
        looks, hint = f"shape {tuple(found.shape)}", "is this the network, and are these the classes, that were meant?"
    elif not found.is_floating_point() or found.device != images.device:
        looks, hint = f"{found.dtype} on {found.device}", "return the logits as the network computed them"
    else:
        return found
    raise GfnetBenchError(
        f"expected the model to return logits of shape ({len(images)}, {classes} or more), floating-point and on "
        f"{images.device}, found {looks}; {hint}"
    )


def are_probabilities(logits: Tensor) -> Tensor:
    """(b,) bool, whether the rows of (b, k) are probabilities: logits never are for all images of a set."""
    sums = logits.float().sum(1)
    return (logits >= 0).all(1) & ((sums - 1).abs() < _SUM) if logits.shape[1] > 1 else torch.zeros_like(sums).bool()


def no_logits() -> GfnetBenchError:
    """What to say of a model that returns probabilities, whose softmax would flatten every gradient."""
    return GfnetBenchError(
        "expected logits, found probabilities (each row sums to 1): the gradients of a second softmax vanish, and "
        "attacks would look weak; leave out the network's last softmax"
    )


def no_gradient() -> GfnetBenchError:
    """What to say of a model through which no gradient goes."""
    return GfnetBenchError(
        "expected logits that depend on the pixels through autograd, found none of the kind; "
        "look for no_grad, detach or a conversion to NumPy inside the model"
    )


class Watch:
    """A model that counts, image by image, what is not finite in its logits and in the gradients that go through it.

    Attributes:
        logits: (n,) bool, whether an image ever had logits that were not finite.
        gradient: (n,) float32, values of an image's gradients that were not finite though its logits had been.
        forward: (n,) float32, how often the model was shown an image.
        backward: (n,) float32, how often a gradient came back to it.
        passes: how many gradients were wanted (`forward`) and came (`backward`), and the `values` of those.
        notes: what else an attack wants to be known of each image, (n, ...) by name.
    """

    def __init__(self, predict: Predict, images: Tensor, classes: int = 1) -> None:
        """Watch `predict` (see `check_logits` for `classes`) while these images are attacked, (n, 3, h, w)."""
        self.predict = predict
        self.classes = classes
        self.logits = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        self.gradient, self.forward, self.backward = torch.zeros(3, len(images), device=images.device)
        self.passes = Counter[str]()
        self.notes = dict[str, Tensor]()
        self._rows = torch.arange(len(images), device=images.device)

    def of(self, rows: slice | Tensor) -> Watch:
        """The same model while only some of the images are attacked, by position; what it counts is counted here."""
        part = copy.copy(self)
        part._rows = self._rows[rows]
        return part

    def note(self, name: str, values: Tensor) -> None:
        """Let something be known of the images that are attacked, (b, ...)."""
        shape = len(self.logits), *values.shape[1:]
        whole = self.notes.setdefault(name, torch.zeros(shape, dtype=values.dtype, device=values.device))
        whole[self._rows] = values

    def __call__(self, images: Tensor) -> Tensor:
        """The model's logits.

        Raises:
            GfnetBenchError: if they are none, or do not depend on pixels whose gradient is wanted.
        """
        pixels = images.view_as(images)  # so that the hook is not left on the caller's tensor
        if pixels.requires_grad:
            pixels.register_hook(self._count)
            self.passes["forward"] += 1
        logits = check_logits(self.predict(pixels), images, self.classes)
        with _plain(logits) as values:
            self.forward[self._rows] += len(values) / max(len(self._rows), 1)
            self.logits[self._rows] |= self._by_image(_not_finite(values)) > 0
        if pixels.requires_grad and not logits.requires_grad:
            raise no_gradient()
        return logits

    @property
    def taken(self) -> Tensor:
        """(b,) passes of the images that are attacked, until now."""
        return (self.forward + self.backward)[self._rows]

    @property
    def values(self) -> Tensor:
        """(n,) values of an image's gradients in all, on the CPU."""
        n = len(self.logits)
        return torch.full((n,), self.passes["values"] / max(n, 1), dtype=torch.float64)

    def fault(self) -> GfnetBenchError | None:
        """What was wrong until now with any of the images, if anything was; waits for the device."""
        return fault(self.logits, self.gradient, self.values)

    def _count(self, gradient: Tensor) -> None:
        self.passes["backward"] += 1
        with _plain(gradient) as values:
            self.passes["values"] += values.numel()
            self.backward[self._rows] += len(values) / max(len(self._rows), 1)
            broken = self._by_image(_not_finite(values)) * ~self.logits[self._rows]  # that of a NaN is no news
            self.gradient[self._rows] += broken

    def _by_image(self, rows: Tensor) -> Tensor:
        """Counts of what the model was given, as counts of the images that are attacked.

        An attack may show the model copies of its images, or some of them only: which is which is not known then, and
        what happened to one is shared out to all.
        """
        n = len(self._rows)
        return rows if len(rows) == n else rows.sum(0, keepdim=True) / n


@contextmanager
def _plain(x: Tensor) -> Iterator[Tensor]:
    """The values of a tensor, which an attack's torch.func may have wrapped so that nothing of it could be kept."""
    x = x.detach()
    values = torch.func.debug_unwrap(x)
    with contextlib.nullcontext() if values is x else torch._C._DisableFuncTorch():
        yield values


def _not_finite(x: Tensor) -> Tensor:
    """(b,) int64, how many values of (b, ...) are NaN or infinite: those that are not 0 when taken from themselves."""
    return (x - x).ne(0).flatten(1).sum(1)


def fault(logits: Tensor, gradient: Tensor, values: Tensor, ids: Sequence[str] = ()) -> GfnetBenchError | None:
    """What the counts of a `Watch` say, the first image that is concerned by name where `ids` are given."""

    def concerned(which: Tensor) -> str:
        first = f" (the first: {ids[int(which.int().argmax())]})" if ids else ""
        return f"{int(which.sum())} of {len(which)} attacked images{first}"

    broken = float(gradient.sum())
    # Logits that broke before any gradient of their image did are a fault of their own, and may spoil other gradients.
    if broken and not (logits & (gradient == 0)).any():
        return GfnetBenchError(
            "expected a finite gradient of the loss, found NaN or infinity at "
            f"{broken / float(values.sum()):.2%} of its values, for {concerned(gradient > 0)}; "
            "look for roots, logarithms and quotients of 0 inside the model"
        )
    if logits.any():
        return GfnetBenchError(
            f"expected finite logits, found NaN or infinity for {concerned(logits)}; "
            "check the weights, and that the model runs in float32"
        )
    return None


@contextmanager
def watched(predict: Predict, images: Tensor, labels: Tensor) -> Iterator[Watch]:
    """`predict` under watch; where it is already, whoever began that reads the counts.

    Args:
        predict: (b, 3, h, w) float32 in [0, 1] to (b, k) logits.
        images: (n, 3, h, w), what is going to be attacked.
        labels: (n,) int64.

    Raises:
        GfnetBenchError: if a label is no class, or, at the end, if logits or gradients were not finite.
    """
    if isinstance(predict, Watch):
        yield predict
        return
    if labels.shape != (len(images),) or labels.is_floating_point():
        found = f"{tuple(labels.shape)} {labels.dtype}"
        raise GfnetBenchError(f"expected labels ({len(images)},) int64, one an image, found {found}")
    low, high = (int(end) for end in labels.aminmax()) if len(labels) else (0, 0)
    if low < 0:
        raise GfnetBenchError(f"expected labels from 0 up, found {low}")
    watch = Watch(predict, images, high + 1)
    yield watch
    problem = watch.fault()
    if problem is not None:
        raise problem
