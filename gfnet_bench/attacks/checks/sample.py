"""A model and some images, worked through in batches, and what else the checks may look at."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gfnet_bench.attacks.base import Attack, Predict
from gfnet_bench.attacks.pgd import loss_gradient
from gfnet_bench.spelling import number

if TYPE_CHECKING:
    from torch import Tensor

    from gfnet_bench.attacks.checks.power import Power
    from gfnet_bench.ball import Ball

LARGE = 64 / 255
"""A quarter of the pixel range: plain to see, and far beyond what an undefended model stands."""

Head = Callable[["Tensor", Callable[["Tensor", "Tensor"], "Tensor"]], "Tensor"]
"""What a model makes of (b, 3, h, w) images where a function stands in the place of its last linear layer: of (b, d)
penultimate features and the (b, k) that the layer itself makes of them to other (b, k)."""


class Beside(NamedTuple):
    """What a check can use beside the model and the images, where it is at hand.

    Attributes:
        head: the model's last layer, which can be replaced; or why it cannot, in a sentence.
        double: the same model in float64, on images and logits of that type.
        other: another model for the same images, and its name.
    """

    head: Head | str = "nothing was said about the model's last layer"
    double: Predict | None = None
    other: tuple[str, Predict] | None = None


NOTHING = Beside()


class Sample:
    """A model and n images.

    Args:
        predict: see `Attack`.
        images: (n, 3, h, w) float32 in [0, 1].
        labels: (n,) int64.
        ids: n image ids, for the seeds.
        batch_size: images at a time.
        beside: what else there is.
    """

    def __init__(
        self,
        predict: Predict,
        images: Tensor,
        labels: Tensor,
        ids: Sequence[str],
        batch_size: int,
        beside: Beside = NOTHING,
    ) -> None:
        from gfnet_bench.randomness import image_seeds

        self.predict = predict
        self.images = images
        self.labels = labels
        self.seeds = image_seeds(ids, "attack-check").to(images.device)
        self.batch_size = batch_size
        self.beside = beside
        self.power: Power | None = None  # once it is known
        self._attacked: dict[Attack, Tensor] = {}

    def of(self, which: Tensor | slice, predict: Predict | None = None) -> Sample:
        """Some of the images, with another model in place of this one where that is given."""
        part = Sample(predict or self.predict, self.images[which], self.labels[which], (), self.batch_size, self.beside)
        part.seeds = self.seeds[which]
        return part

    def attacked(self, attack: Attack) -> Tensor:
        """(n, 3, h, w), the images under the attack, which is made once."""
        from gfnet_bench.ball import check_images, name_of
        from gfnet_bench.watch import watched

        def run(images: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
            with watched(self.predict, images, labels) as watch:
                return check_images(attack(watch, images.clone(), labels, seeds), images, name_of(attack))

        if attack not in self._attacked:
            self._attacked[attack] = self.batched(run, self.images)
        return self._attacked[attack]

    def gradient(self, images: Tensor, predict: Predict | None = None) -> Tensor:
        """(n, 3, h, w), of the loss at these images."""
        return self.batched(lambda i, y, s: loss_gradient(predict or self.predict, i, y), images)

    def logits(self, images: Tensor) -> Tensor:
        """(n, k), finite."""
        import torch

        from gfnet_bench.watch import watched

        def run(images: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
            with watched(self.predict, images, labels) as watch:
                return watch(images)

        with torch.no_grad():
            return self.batched(run, images)

    def losses(self, images: Tensor) -> Tensor:
        """(n,) cross entropies; an image that is classified wrongly counts log k, the most that a right one can have.

        How wrong it is says nothing: an attack that looks for the nearest wrong image, or stops at the first, gives up
        the loss beyond, and no accuracy sees it.
        """
        import torch.nn.functional as F

        logits = self.logits(images)
        losses = F.cross_entropy(logits, self.labels, reduction="none")
        return losses.where(logits.argmax(1) == self.labels, math.log(logits.shape[1]))

    def right(self, images: Tensor) -> Tensor:
        """(n,) bool, whether an image is classified rightly."""
        return self.logits(images).argmax(1) == self.labels

    def signs(self, stream: int) -> Tensor:
        """(n, 3, h, w) of -1 and 1 at random, other ones for each stream."""
        from gfnet_bench.randomness import uniform

        return uniform(self.seeds, self.images.shape[1:], stream).round() * 2 - 1

    def corner(self, size: float | Tensor, stream: int = 1) -> Tensor:
        """(n, 3, h, w), every value of the images moved by `size`, up or down at random, within the box."""
        return (self.images + size * self.signs(stream)).clamp(0, 1)

    @property
    def values(self) -> int:
        """Of one image."""
        return self.images[0].numel()

    def reach(self, ball: Ball) -> float:
        """How far every value can move at once in the unit ball of that norm."""
        return {"linf": 1.0, "l2": self.values**-0.5, "l1": 1 / self.values}[ball.norm or "linf"]

    def large(self, ball: Ball) -> float:
        """The radius that lets every value move by `LARGE`."""
        return LARGE / self.reach(ball)

    def batched(self, function: Callable[[Tensor, Tensor, Tensor], Tensor], images: Tensor) -> Tensor:
        """What a function of images, labels and seeds makes of them, batch by batch."""
        import torch

        size = self.batch_size
        batches = zip(images.split(size), self.labels.split(size), self.seeds.split(size), strict=True)
        return torch.cat([function(*batch) for batch in batches])


def length(radius: float, ball: Ball) -> str:
    """For people: grey levels where it bounds each pixel value."""
    return number(radius, of_255=True) if ball.norm == "linf" else f"{radius:.6g}"


def at(ball: Ball) -> dict[str, float]:
    """The radius as a keyword, where there is one."""
    return {} if ball.radius is None else {"epsilon": ball.radius}


def mean_and_error(differences: Tensor) -> tuple[float, float]:
    """Mean and its standard error."""
    return float(differences.mean()), float(differences.std(correction=0)) / len(differences) ** 0.5
