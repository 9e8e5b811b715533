"""What an attack raises: losses of logits, one an image, and their gradient with respect to the pixels.

k is the number of classes. Where a loss needs more logits than there are, it is the plain difference that it scales.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from gfnet_bench.attacks.base import Predict

if TYPE_CHECKING:
    from torch import Tensor

Loss = Callable[["Tensor", "Tensor"], "Tensor"]
"""Logits (b, k) and labels (b,) to losses (b,)."""


class Look(NamedTuple):
    """One forward and one backward pass.

    Attributes:
        logits: (b, k).
        losses: (b,).
        gradient: (b, 3, h, w), of each image's loss.
    """

    logits: Tensor
    losses: Tensor
    gradient: Tensor


def look(predict: Predict, images: Tensor, labels: Tensor, loss: Loss, draws: int = 1) -> Look:
    """The loss at images and its gradient with respect to the pixels, and to nothing else.

    Losses are summed over the batch: a mean would make one image's gradient depend on how many others there are.

    Args:
        predict: see `Attack`.
        images: (b, 3, h, w) float32.
        labels: (b,) int64.
        loss: see `Loss`.
        draws: how often a network that draws random numbers is asked; the mean is returned (expectation over
            transformations, Athalye et al. 2018).

    Raises:
        GfnetBenchError: if the logits do not depend on the pixels.
    """
    import torch

    from gfnet_bench.watch import no_gradient

    looks = []
    for _ in range(draws):
        with torch.enable_grad():
            pixels = images.detach().requires_grad_()
            logits = predict(pixels)
            losses = loss(logits, labels)
            total = losses.sum()
            gradient = torch.autograd.grad(total, pixels, allow_unused=True)[0] if total.requires_grad else None
        if gradient is None:
            raise no_gradient()
        looks.append(Look(logits.detach(), losses.detach(), gradient))
    return looks[0] if draws == 1 else Look(*(torch.stack(parts).mean(0) for parts in zip(*looks, strict=True)))


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """See `Loss`."""
    import torch.nn.functional as F

    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """By how much the likeliest wrong class leads; above 0 where an image is classified wrongly. See `Loss`."""
    true = logits.gather(1, labels[:, None])
    wrong = logits.scatter(1, labels[:, None], -float("inf"))
    return wrong.amax(1) - true[:, 0]


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """The margin over the distance of the first from the third logit (difference of logits ratio). See `Loss`.

    Source: Croce and Hein 2020, equation 6.
    """
    return margin(logits, labels) / _spread(logits, 3)


def targeted(targets: Tensor) -> Loss:
    """How far a target class, (b,), leads over the true one, on the scale of the logits.

    Source: Croce and Hein 2020, equation 7.
    """

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        target, true = (logits.gather(1, c[:, None])[:, 0] for c in (targets, labels))
        return (target - true) / _spread(logits, 4)

    return loss


def _spread(logits: Tensor, count: int) -> Tensor:
    """(b,), the largest logit less the third, or the mean of the third and the fourth; 1 where there are too few."""
    if logits.shape[1] < count:
        return logits.new_ones(len(logits))
    top = logits.topk(count, dim=1).values
    return top[:, 0] - top[:, 2:].mean(1) + 1e-12
