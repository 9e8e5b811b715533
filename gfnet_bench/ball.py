"""What an attack may return: images like those it was given, in the box [0, 1] and in a ball around the originals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.randomness import normal, uniform

ORDERS = {"linf": math.inf, "l2": 2.0, "l1": 1.0, "l0": 0.0}
"""Norms by name; L0 counts pixels, not values."""

ROUNDING = 2.0**-23  # of image + perturbation, both below 2, in float32


TINY = 1e-12
"""What a length is held above where something is divided by it."""


def length(x: Tensor) -> Tensor:
    """(b, 1, 1, 1), the L2 norms of (b, 3, h, w)."""
    return torch.linalg.vector_norm(x, dim=(1, 2, 3), keepdim=True)


class Ball(NamedTuple):
    """How far an attack may move an image.

    Attributes:
        norm: one of `ORDERS`; None where the attack is not about a distance.
        radius: in units of the pixel range [0, 1], L0 in pixels; None where there is no limit.
    """

    norm: str | None
    radius: float | None

    @classmethod
    def of(cls, attack: object) -> Ball:
        """The ball of an attack: its `norm` (L-infinity, the smallest, where it does not say) and its `epsilon`.

        Raises:
            GfnetBenchError: if they are no norm and no radius.
        """
        norm, radius = getattr(attack, "norm", "linf"), getattr(attack, "epsilon", None)
        if norm is not None and norm not in tuple(ORDERS):
            raise GfnetBenchError(
                f"{name_of(attack)}: expected norm to be None or one of {', '.join(ORDERS)}, found {norm!r}"
            )
        try:
            radius = None if radius is None else float(radius)
        except (TypeError, ValueError):
            radius = math.nan
        if radius is not None and not radius >= 0:
            found = getattr(attack, "epsilon", None)
            raise GfnetBenchError(f"{name_of(attack)}: expected epsilon to be a number from 0 up, found {found!r}")
        return cls(norm, radius)

    def extent(self, images: Tensor, originals: Tensor) -> Tensor:
        """(b, 4) of (b, 3, h, w) images: whether 1 is outside, the distance moved, the least and the largest value.

        A NaN is outside. Nothing waits for the device.
        """
        moved = images - originals
        if self.norm == "l0":
            distance = torch.where(moved.isnan(), moved, (moved != 0).float()).amax(1).sum((1, 2))
        else:
            distance = torch.linalg.vector_norm(moved, ORDERS[self.norm or "linf"], dim=(1, 2, 3))
        low, high = images.amin((1, 2, 3)), images.amax((1, 2, 3))
        inside = (distance <= self._limit(moved[0].numel())) & (low >= 0) & (high <= 1)
        return torch.stack([(~inside).float(), distance, low, high], 1)

    def start(self, seeds: Tensor, shape: Sequence[int], stream: int = 0) -> Tensor:
        """(b, *shape), uniformly random points of the ball around 0, L-infinity or L2; see `randomness.uniform`."""
        if self.norm == "linf":
            return self._radius * (2 * uniform(seeds, shape, stream) - 1)
        inside = uniform(seeds, (), stream).pow(1 / math.prod(shape)).reshape(-1, *[1] * len(shape))
        return self._radius * inside * self.ascent(normal(seeds, shape, stream))

    def ascent(self, gradient: Tensor) -> Tensor:
        """(b, 3, h, w), the step of length 1 along which something of this gradient rises most, L-infinity or L2."""
        return gradient.sign() if self.norm == "linf" else gradient / length(gradient).clamp_min(TINY)

    def project(self, images: Tensor, originals: Tensor) -> Tensor:
        """The nearest images in the ball, L-infinity or L2, and then in the box."""
        moved = images - originals
        if self.norm == "linf":
            moved = moved.clamp(-self._radius, self._radius)
        else:
            moved = moved * (self._radius / length(moved).clamp_min(TINY)).clamp(max=1)
        return (originals + moved).clamp(0, 1)

    @property
    def _radius(self) -> float:
        assert self.radius is not None
        return self.radius

    def fault(self, extent: Tensor, who: str, ids: Sequence[str] = ()) -> GfnetBenchError | None:
        """What `extent` says of n images; the first that is outside by name where `ids` are given."""
        outside = extent[:, 0] > 0
        if not outside.any():
            return None
        _, distance, low, high = extent[outside].T
        first = f"; the first: {ids[int(outside.int().argmax())]}" if ids else ""
        ball = "" if self.norm is None or self.radius is None else f" and within {self.radius:g} ({self.norm})"
        return GfnetBenchError(
            f"expected {who} to keep pixels in [0, 1]{ball} of the original, found {len(low)} of {len(extent)} images "
            f"outside (moved by up to {distance.max():.4g}, pixels from {low.min():.4g} to {high.max():.4g}{first})"
        )

    def _limit(self, values: int) -> float:
        """The largest distance of an image of so many values that float32 may make of the radius."""
        if self.norm is None or self.radius is None:
            return math.inf
        rounding = {"linf": 1.0, "l2": math.sqrt(values), "l1": float(values), "l0": 0.0}[self.norm] * ROUNDING
        summing = 0.0 if self.norm in ("linf", "l0") else 1e-5 * self.radius  # of very many terms
        return self.radius + rounding + summing


def name_of(function: object) -> str:
    """What to call an attack or a corruption in a message."""
    return str(getattr(function, "name", None) or getattr(function, "__name__", type(function).__name__))


def check_images(found: Any, given: Tensor, who: str, *, any_size: bool = False) -> Tensor:
    """Images that `who` made of `given`, without their history; the values are not looked at.

    Raises:
        GfnetBenchError: unless shape (height and width may differ for `any_size`), type and device are those of
            `given`.
    """
    kept = 2 if any_size else 4
    if not isinstance(found, Tensor):
        looks = type(found).__name__
    elif (
        found.ndim != 4
        or found.shape[:kept] != given.shape[:kept]
        or (found.dtype, found.device, found.layout) != (given.dtype, given.device, given.layout)
    ):
        looks = f"{tuple(found.shape)} {found.dtype} on {found.device}"
    else:
        return found.detach()
    raise GfnetBenchError(
        f"expected {who} to return images as it was given them, {tuple(given.shape)} {given.dtype} on {given.device}, "
        f"found {looks}"
    )
