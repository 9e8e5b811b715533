"""The worst case over several attacks: an image that one of them fools is not shown to the next."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gfnet_bench.attacks.base import ATTACKS, Attack, Predict, check_counts, check_epsilon, check_norm
from gfnet_bench.attacks.losses import cross_entropy
from gfnet_bench.attacks.make import fields_of, make_attack
from gfnet_bench.attacks.standing import Standing
from gfnet_bench.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

CLEAN = "clean"
FOOLED_BY = "fooled_by"


class Ensemble(ABC):
    """Attacks one after the other, each on the images that the ones before it left.

    Which of them fooled an image is noted as `fooled_by`: 0 where it stands, 1 where it is wrong as it is, and then
    the attacks in their order.
    """

    budget: int | None

    @property
    @abstractmethod
    def members(self) -> Sequence[Attack]:
        """The attacks, in order."""

    def __call__(self, predict: Predict, images: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
        """See `Attack`."""
        from gfnet_bench.watch import watched

        images = images.detach()
        with watched(predict, images, labels) as whole:
            standing = Standing(whole, images, labels, seeds, self.budget)
            fooled_by = labels.new_zeros(len(images))
            if standing.affords(1):
                self._judge(standing, images, fooled_by, 1)
            for number, member in enumerate(self.members, 2):
                if not len(standing) or (standing.left is not None and standing.left < 2):
                    break
                watch, before = standing.watch, standing.watch.taken
                if standing.left is not None:  # one pass is for the judge
                    member = dataclasses.replace(member, budget=max(standing.left - 1, 1))  # type: ignore[type-var]
                found = member(watch, standing.images, standing.labels, standing.seeds + number)
                if standing.left is not None:
                    standing.left -= int((watch.taken - before).max())
                if standing.affords(1):
                    self._judge(standing, found, fooled_by, number)
            whole.note(FOOLED_BY, fooled_by)
        return standing.result

    def _judge(self, standing: Standing, found: Tensor, fooled_by: Tensor, number: int) -> None:
        logits = standing.logits(found)
        standing.note(found, cross_entropy(logits, standing.labels))
        fooled_by[standing.rows[logits.argmax(1) != standing.labels]] = number
        standing.leave(found, logits)

    def says(self, noted: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        """For a record: how many images each attack fooled of those that it was shown."""
        names = [CLEAN, *(member.name for member in self.members)]
        counts = [int((noted[FOOLED_BY] == number).sum()) for number in range(1, len(names) + 1)]
        return {"fooled": [[name, count] for name, count in zip(names, counts, strict=True)]}


@ATTACKS.register("worst")
@dataclass(frozen=True)
class Worst(Ensemble):
    """The worst case over attacks of one radius, image by image: right under all of them, or wrong.

    Attributes:
        attacks: their names with a plus between, `pgd+apgd_ce+square`; each with its own defaults.
        epsilon: radius of the ball, in units of the pixel range [0, 1]; of an L2 ball 0.5 where it is made by name.
        norm: `linf` or `l2`.
        budget: forward and backward passes that an image may take, all attacks together.
    """

    name: ClassVar[str] = "worst"
    title: ClassVar[str] = "Worst case"
    cites: ClassVar[tuple[str, ...]] = ("croce2020reliable",)
    bare: ClassVar[str] = "attacks"

    attacks: str = "pgd+apgd_ce+square"
    epsilon: float = 1 / 255
    norm: str = "linf"
    budget: int | None = None

    def __post_init__(self) -> None:
        check_norm(self.name, self.norm)
        check_epsilon(self.epsilon, self.norm)
        check_counts(self.name, budget=self.budget)
        for member in self.members:
            if member.norm != self.norm or member.epsilon != self.epsilon:
                found = f"found {member.name}, which is not"
                raise UsageError(f"{self.name}: expected attacks that are held to a {self.norm} radius, {found}")
            if self.budget is not None and "budget" not in fields_of(member.name):
                raise UsageError(
                    f"{self.name}: expected attacks that take a budget, found {member.name}; leave one out"
                )

    @property
    def members(self) -> Sequence[Attack]:
        """See `Ensemble`."""
        named = [name.strip() for name in self.attacks.split("+")]
        if any(name.lower() == self.name or not name for name in named):
            raise UsageError(f"{self.name}: expected names of attacks, as in pgd+apgd_ce, found {self.attacks!r}")
        return [make_attack(name, epsilon=self.epsilon, norm=self.norm) for name in named]
