"""Transfer: images that an attack made for another network, shown to this one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gfnet_bench.attacks.base import ATTACKS, Attack, Predict, check_epsilon
from gfnet_bench.attacks.make import make_attack
from gfnet_bench.catalog import find_spec
from gfnet_bench.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


@ATTACKS.register("transfer")
@dataclass(frozen=True)
class Transfer:
    """An attack in L-infinity on the network `source`; the one that is measured sees its images alone.

    Attributes:
        source: the model that images are made for, by a name of `gfnet-bench list models`.
        by: what makes them, with its usual fields but for the radius.
        epsilon: radius of the ball, in units of the pixel range [0, 1].
    """

    name: ClassVar[str] = "transfer"
    title: ClassVar[str] = "Transfer"
    norm: ClassVar[str] = "linf"
    bare: ClassVar[str] = "source"
    cites: ClassVar[tuple[str, ...]] = ("szegedy2014intriguing",)

    source: str
    by: str = "pgd"
    epsilon: float = 1 / 255

    def __post_init__(self) -> None:
        find_spec(self.source)
        check_epsilon(self.epsilon)
        if self.attack.norm != "linf" or self.attack.epsilon is None:
            raise UsageError(f"{self.name}: expected by to be an attack in L-infinity, found {self.by}")

    @property
    def attack(self) -> Attack:
        """What makes the images."""
        return make_attack(self.by, epsilon=self.epsilon)

    def on(self, source: Predict) -> Attack:
        """The attack as it is called, with the source's logits at hand."""
        return _Made(self.attack, source)

    def __call__(self, predict: Predict, images: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
        """What knows the networks by name asks for `on` instead.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"transfer: expected to be given the network {self.source}, found none; see Transfer.on")


@dataclass(frozen=True)
class _Made:
    """An attack that looks at the source, whichever network it is called on."""

    attack: Attack
    source: Predict
    name: ClassVar[str] = "transfer"

    @property
    def norm(self) -> str | None:
        return self.attack.norm

    @property
    def epsilon(self) -> float | None:
        return self.attack.epsilon

    def __call__(self, predict: Predict, images: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
        return self.attack(self.source, images, labels, seeds)
