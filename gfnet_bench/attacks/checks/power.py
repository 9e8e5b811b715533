"""Power: does the attack find an adversarial example that is certainly there?

Zimmermann, Brendel, Tramèr and Carlini 2022: put a new last layer on the model, one for each image, that tells the
image and points well inside its ball from a point on the boundary of the ball. That point is an adversarial example by
construction, so an attack that does not find one is too weak for this model, and how much of a robust accuracy is the
attack's weakness cannot be told. A gradient that is there for half of the pixels is enough to find one: whether it is
whole, `gradients` looks at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gfnet_bench.attacks.base import Attack
from gfnet_bench.attacks.checks.base import Check, Make, with_radius
from gfnet_bench.attacks.checks.sample import at
from gfnet_bench.errors import GfnetBenchError

if TYPE_CHECKING:
    from torch import Tensor

    from gfnet_bench.attacks.checks.sample import Head, Sample
    from gfnet_bench.ball import Ball

ENOUGH = 0.95
"""The share that has to be found; eleven of thirteen published evaluations stayed below (Zimmermann et al. 2022)."""

IMAGES = 48
"""At most: with PGD of five steps they cost 1,152 passes, 10 % of those that 1,000 images take, clean and attacked."""

INNER = 8
"""Points inside the ball, beside the image itself."""

INSIDE = 0.95
"""How far they go, as a share of the radius."""

TIGHT = 0.9
"""Where the boundary of the new layer lies on the way from the furthest of them to the planted point."""

RIDGE = 0.1
"""Of the mean square of the inner points: how much the new layer trusts that they show what chance can do."""


class Power(NamedTuple):
    """What became of planted adversarial examples.

    Attributes:
        found: how many the attack found.
        chance: how many a random corner of the ball found.
        planted: how many there were.
        images: for how many images one was to be planted.
    """

    found: int
    chance: int
    planted: int
    images: int

    @property
    def share(self) -> float:
        """Of those that were planted, that the attack found."""
        return self.found / self.planted


def power(sample: Sample, head: Head, attack: Attack, ball: Ball) -> Power:
    """Plant an adversarial example for every image and see how many the attack finds.

    Args:
        sample: a model and n images.
        head: its last layer.
        attack: what is going to search.
        ball: where; one with a radius.

    Raises:
        GfnetBenchError: if too few could be planted to say anything.
    """
    assert ball.radius is not None
    size = ball.radius * sample.reach(ball)
    plant = _Plant(sample, head, size)
    corner = sample.corner(size, stream=_CORNER)
    is_planted = sample.of(slice(None), plant).right(sample.images) & ~sample.of(slice(None), plant).right(corner)
    planted = int(is_planted.sum())
    if planted < len(sample.labels) / 2:
        raise GfnetBenchError(
            f"an adversarial example could be planted for {planted} of {len(sample.labels)} images only, expected half "
            "or more: noise in the ball hardly moves the model's features, or the same images have others each time"
        )
    rest = sample.of(is_planted, plant)
    found = ~rest.right(rest.attacked(attack))
    chance = ~rest.right(rest.corner(size, stream=_CORNER + 1))
    return Power(int(found.sum()), int(chance.sum()), planted, len(sample.labels))


_CORNER, _INNER = 11, 13
"""Streams of random numbers; the latter is the first of several."""


class _Plant:
    """A model whose last layer is another one for each image."""

    def __init__(self, sample: Sample, head: Head, size: float) -> None:
        import torch

        from gfnet_bench.randomness import uniform

        self.head, self.originals = head, sample.images.flatten(1)
        self.labels = sample.labels
        self.origin, own = self._read(sample, sample.images)
        if own.shape[1] < 2:
            raise GfnetBenchError(f"expected a last linear layer for two classes or more, found {own.shape[1]}")
        boundary = self._read(sample, sample.corner(size, stream=_CORNER))[0] - self.origin
        inner = []
        for stream in range(_INNER, _INNER + INNER):
            offset = INSIDE * size * (2 * uniform(sample.seeds, sample.images.shape[1:], stream) - 1)
            inner.append(self._read(sample, (sample.images + offset).clamp(0, 1))[0] - self.origin)
        self.weights, reached, within = _discriminant(torch.stack(inner, 1), boundary)
        self.threshold = within + TIGHT * (reached - within)
        apart = reached > within
        # As sure of itself as the model's own layer is: a model whose outputs saturate does so with this one as well.
        others = own.scatter(1, self.labels[:, None], float("-inf"))
        self.gap = (own.gather(1, self.labels[:, None])[:, 0] - others.amax(1)).abs().clamp_min(1e-3)
        self.rival = others.argmax(1)
        self.scale = (self.gap / self.threshold.clamp_min(1e-30)).where(apart, 0.0)

    def __call__(self, images: Tensor) -> Tensor:
        """(b, k) logits, those of the label and of its rival those of the new layer, the others below both.

        An attack may show some of the images only, or copies; each is judged as the one that it is nearest to.
        """
        import torch

        with torch.no_grad():
            owner = torch.cdist(images.detach().flatten(1), self.originals).argmin(1)

        def readout(features: Tensor, own: Tensor) -> Tensor:
            if len(features) != len(owner):
                raise GfnetBenchError(
                    f"expected the model to show its last linear layer {len(owner)} images, found {len(features)}"
                )
            moved = ((features - self.origin[owner]) * self.weights[owner]).sum(1)
            ahead = (self.scale[owner] * (moved - self.threshold[owner]))[:, None] / 2
            logits = -self.gap[owner][:, None].expand(own.shape)
            logits = logits.scatter(1, self.labels[owner][:, None], -ahead)
            return logits.scatter(1, self.rival[owner][:, None], ahead)

        return self.head(images, readout)

    def _read(self, sample: Sample, images: Tensor) -> tuple[Tensor, Tensor]:
        """(n, d) features and (n, k) what the model's own layer makes of them."""
        import torch

        features: list[Tensor] = []
        outputs: list[Tensor] = []

        def keep(found: Tensor, own: Tensor) -> Tensor:
            features.append(found)
            outputs.append(own)
            return own

        with torch.no_grad():
            for part in images.split(sample.batch_size):
                self.head(part, keep)
        return torch.cat(features), torch.cat(outputs)


def _discriminant(inner: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The direction that leads to the planted point and along which the inner points hardly move.

    Fisher's linear discriminant, shrunk towards the plain direction, in the few dimensions that the points span.

    Args:
        inner: (n, m, d) features of inner points, from the image's.
        boundary: (n, d), of the planted point.

    Returns:
        (n, d) direction; (n,) how far along it the planted point lies, and the furthest of inner points and image.
    """
    import torch

    inner, boundary = inner.double(), boundary.double()
    products = inner @ inner.transpose(1, 2)
    ridge = RIDGE * products.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-30)
    identity = torch.eye(inner.shape[1], dtype=inner.dtype, device=inner.device)
    along = (inner @ boundary[:, :, None])[:, :, 0]
    weights = torch.linalg.solve(products + ridge[:, None, None] * identity, along)
    direction = boundary - (weights[:, None, :] @ inner)[:, 0]
    direction = direction / torch.linalg.vector_norm(direction, dim=1, keepdim=True).clamp_min(1e-30)
    reached = (direction * boundary).sum(1)
    within = (inner @ direction[:, :, None])[:, :, 0].amax(1).clamp_min(0)
    return direction.float(), reached.float(), within.float()


def _has_power(sample: Sample, make: Make, ball: Ball) -> tuple[bool, str]:
    """At least 95 % of the planted adversarial examples are found."""
    head = sample.beside.head
    assert not isinstance(head, str)
    found = sample.power = power(sample.of(slice(IMAGES)), head, make(**at(ball)), ball)
    of = f"of {found.planted} planted adversarial examples found"
    return found.share >= ENOUGH, f"{found.share:.1%} {of}, by a random corner {found.chance}"


def _needs_head(sample: Sample, ball: Ball) -> str | None:
    return with_radius(sample, ball) or (sample.beside.head if isinstance(sample.beside.head, str) else None)


POWER = Check("finds planted adversarial examples", _has_power, _needs_head)
