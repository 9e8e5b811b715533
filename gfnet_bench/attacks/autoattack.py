"""AutoAttack: the ensemble that robust accuracies are quoted with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gfnet_bench.attacks.apgd import APGDCE, APGDDLR, APGDT
from gfnet_bench.attacks.base import ATTACKS, Attack, Predict, check_counts, check_epsilon, check_norm
from gfnet_bench.attacks.fab import FABT
from gfnet_bench.attacks.square import Square
from gfnet_bench.attacks.worst import FOOLED_BY, Ensemble
from gfnet_bench.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

VERSIONS = ("standard", "rand")
SAME = 1e-3
"""How far two looks at one image may lie apart, as a share of the largest logit: with a gradient other kernels run."""
MORE_THAN = 0.002
"""Of the images: where Square fools so many that gradients did not, the gradients are to be doubted."""


@ATTACKS.register("autoattack")
@dataclass(frozen=True)
class AutoAttack(Ensemble):
    """AutoAttack (Croce and Hein 2020), all of its attacks our own, each image's random numbers its own.

    `standard` is APGD-CE (100 steps), APGD-T and FAB-T (100 steps towards each of 9 classes) and Square (5,000
    queries); `rand`, for networks that draw random numbers, APGD-CE and APGD-DLR with gradients over 20 draws.

    What it says in a record: how many images each attack fooled, and as `flags` what makes the number doubtful:
    `randomised`, two looks at one image differ; `zero_gradient`, images whose gradient vanishes; `square`, Square fools
    what gradients did not. A network that returns probabilities is refused.

    Attributes:
        epsilon: radius of the ball, in units of the pixel range [0, 1]; of an L2 ball 0.5 where it is made by name.
        norm: `linf` or `l2`.
        version: `standard` or `rand`.
        budget: forward and backward passes that an image may take, all attacks together.
    """

    name: ClassVar[str] = "autoattack"
    title: ClassVar[str] = "AutoAttack"
    cites: ClassVar[tuple[str, ...]] = ("croce2020reliable", "croce2020minimally", "andriushchenko2020square")

    epsilon: float = 1 / 255
    norm: str = "linf"
    version: str = "standard"
    budget: int | None = None

    def __post_init__(self) -> None:
        check_norm(self.name, self.norm)
        check_epsilon(self.epsilon, self.norm)
        check_counts(self.name, budget=self.budget)
        if self.version not in VERSIONS:
            wanted = " or ".join(VERSIONS)
            raise UsageError(f"{self.name}: expected version to be {wanted}, found {self.version!r}")

    @property
    def members(self) -> Sequence[Attack]:
        """See `Ensemble`."""
        ball: dict[str, Any] = {"epsilon": self.epsilon, "norm": self.norm}
        if self.version == "rand":
            return [APGDCE(**ball, draws=20), APGDDLR(**ball, draws=20)]
        return [APGDCE(**ball), APGDT(**ball), FABT(**ball), Square(**ball)]

    def __call__(self, predict: Predict, images: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
        """See `Attack`; one forward pass and one backward pass more say what the flags rest on."""
        import torch

        from gfnet_bench.attacks.losses import cross_entropy, look
        from gfnet_bench.watch import watched

        with watched(predict, images, labels) as watch:
            if self.budget is None:
                seen = look(watch, images, labels, cross_entropy)
                with torch.no_grad():
                    apart = (watch(images) - seen.logits).abs().amax(1)
                watch.note("randomised", apart > SAME * seen.logits.abs().amax(1))
                watch.note("zero_gradient", (seen.gradient == 0).flatten(1).all(1))
            return super().__call__(watch, images, labels, seeds)

    def says(self, noted: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        """See the class."""
        said = super().says(noted)
        flags = [name for name in ("randomised", "zero_gradient") if name in noted and noted[name].any()]
        last, count = said["fooled"][-1]
        if last == Square.name and count > MORE_THAN * len(noted[FOOLED_BY]):
            flags.append(Square.name)
        return {**said, "flags": flags}
