"""Auto-PGD: gradient ascent that finds its own step lengths, on three losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gfnet_bench.attacks import losses
from gfnet_bench.attacks.base import ATTACKS, Predict, check_counts, check_epsilon, check_norm, unsaid
from gfnet_bench.attacks.standing import Standing

if TYPE_CHECKING:
    from torch import Tensor

MOMENTUM = 0.75
"""Share of the new step in what is moved; the rest goes on as before."""
RISING = 0.75
"""A step is halved where fewer of the steps since the last look at it raised the loss."""


@dataclass(frozen=True)
class APGD(ABC):
    """Steps of twice the radius at first, halved where they no longer pay, from the best image so far.

    Images that are classified wrongly leave at once, the others come back as the best that was found.

    Attributes:
        epsilon: radius of the ball, in units of the pixel range [0, 1]; of an L2 ball 0.5 where it is made by name.
        steps: gradient steps of a start; 100 in AutoAttack.
        restarts: random starts.
        norm: `linf` or `l2`.
        draws: networks that draw random numbers are asked so often at each step (20 in AutoAttack's `rand`).
        budget: forward and backward passes that an image may take.

    Source: Croce and Hein 2020, algorithm 1.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    cites: ClassVar[tuple[str, ...]] = ("croce2020reliable",)

    epsilon: float = 1 / 255
    steps: int = 100
    restarts: int = 1
    norm: str = "linf"
    draws: int = unsaid(1)
    budget: int | None = None

    def __post_init__(self) -> None:
        check_norm(self.name, self.norm)
        check_epsilon(self.epsilon, self.norm)
        check_counts(self.name, steps=self.steps, restarts=self.restarts, draws=self.draws, budget=self.budget)

    def __call__(self, predict: Predict, images: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
        """See `Attack`."""
        from gfnet_bench.watch import watched

        images = images.detach()
        with watched(predict, images, labels) as watch:
            standing = Standing(watch, images, labels, seeds, self.budget)
            self._attack(standing)
        return standing.result

    def _attack(self, standing: Standing) -> None:
        for restart in range(self.restarts):
            self._climb(standing, restart)

    def _climb(self, standing: Standing, stream: int, aims: Tensor | None = None) -> Tensor | None:
        """One start and its steps, towards classes (b,) if any; the classes of those who still stand."""
        import torch

        from gfnet_bench.ball import Ball, length

        ball = Ball(self.norm, self.epsilon)
        if not standing.affords(2 * self.draws):
            return aims
        offset = ball.start(standing.seeds, standing.images.shape[1:], stream)
        size = offset.abs().amax((1, 2, 3), keepdim=True) if self.norm == "linf" else length(offset)
        x = ball.project(standing.images + offset * (self.epsilon / size.clamp_min(1e-12)), standing.images)
        seen = standing.look(x, self._loss(aims), self.draws)
        standing.note(x, seen.losses)
        stay = standing.leave(x, seen.logits)
        loss, none = seen.losses, torch.zeros_like(seen.losses)
        step = none.reshape(-1, 1, 1, 1) + 2 * self.epsilon
        state: dict[str, Any] = {
            "x": x,
            "before": x,
            "gradient": seen.gradient,
            "loss": loss,
            "step": step,
            "rises": none,
        }
        state |= {"best": x, "best_gradient": seen.gradient, "highest": loss, "looked": loss, "halved": none == 0}
        state |= {} if aims is None else {"aims": aims}
        state = {name: column[stay] for name, column in state.items()}
        window, shortest, shrink = (max(int(share * self.steps), 1) for share in (0.22, 0.06, 0.03))
        since = 0
        for i in range(self.steps):
            last = i == self.steps - 1
            if not standing.affords(self.draws if last else 2 * self.draws):
                break
            x, share = state["x"], MOMENTUM if i else 1.0
            moved = ball.project(x + state["step"] * ball.ascent(state["gradient"]), standing.images)
            moved = ball.project(x + share * (moved - x) + (1 - share) * (x - state["before"]), standing.images)
            state |= {"x": moved, "before": x}
            if last:
                logits = self._mean_logits(standing, moved)
                standing.note(moved, self._loss(state.get("aims"))(logits, standing.labels))
                stay = standing.leave(moved, logits)
                state = {name: column[stay] for name, column in state.items()}
                break
            seen = standing.look(moved, self._loss(state.get("aims")), self.draws)
            standing.note(moved, seen.losses)
            better = seen.losses > state["highest"]
            wide = better[:, None, None, None]
            state["rises"] = state["rises"] + (seen.losses > state["loss"])
            state |= {"gradient": seen.gradient, "loss": seen.losses}
            state["best"] = moved.where(wide, state["best"])
            state["best_gradient"] = seen.gradient.where(wide, state["best_gradient"])
            state["highest"] = seen.losses.where(better, state["highest"])
            stay = standing.leave(moved, seen.logits)
            state = {name: column[stay] for name, column in state.items()}
            since += 1
            if since == window:
                self._halve(state, window)
                since, window = 0, max(window - shrink, shortest)
        return state.get("aims")

    def _halve(self, state: dict[str, Any], window: int) -> None:
        """Halve the steps that do not pay, and go on from the best image there."""
        stuck = ~state["halved"] & (state["looked"] >= state["highest"])
        halve = (state["rises"] <= RISING * window) | stuck
        wide = halve[:, None, None, None]
        state["step"] = (state["step"] / 2).where(wide, state["step"])
        state["x"] = state["best"].where(wide, state["x"])
        state["gradient"] = state["best_gradient"].where(wide, state["gradient"])
        state |= {"halved": halve, "looked": state["highest"], "rises": 0 * state["rises"]}

    def _mean_logits(self, standing: Standing, images: Tensor) -> Tensor:
        return sum(standing.logits(images) for _ in range(self.draws)) / self.draws  # type: ignore[return-value]

    @abstractmethod
    def _loss(self, aims: Tensor | None) -> losses.Loss:
        """What a start climbs, towards classes (b,) if any."""


@ATTACKS.register("apgd_ce")
@dataclass(frozen=True)
class APGDCE(APGD):
    """Auto-PGD on the cross entropy (Croce and Hein 2020)."""

    name: ClassVar[str] = "apgd_ce"
    title: ClassVar[str] = "APGD-CE"

    def _loss(self, aims: Tensor | None) -> losses.Loss:
        return losses.cross_entropy


@ATTACKS.register("apgd_dlr")
@dataclass(frozen=True)
class APGDDLR(APGD):
    """Auto-PGD on the difference of logits ratio, which large logits do not saturate (Croce and Hein 2020)."""

    name: ClassVar[str] = "apgd_dlr"
    title: ClassVar[str] = "APGD-DLR"

    def _loss(self, aims: Tensor | None) -> losses.Loss:
        return losses.dlr


@ATTACKS.register("apgd_t")
@dataclass(frozen=True)
class APGDT(APGD):
    """Auto-PGD on the targeted difference of logits ratio, one wrong class after the other (Croce and Hein 2020).

    Attributes:
        targets: so many classes, the likeliest wrong ones at the image; all where there are fewer.
    """

    name: ClassVar[str] = "apgd_t"
    title: ClassVar[str] = "APGD-T"

    targets: int = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self.name, targets=self.targets)

    def _attack(self, standing: Standing) -> None:
        ranked = likeliest_wrong(standing, self.targets)
        for column in range(ranked.shape[1]):
            for restart in range(self.restarts):
                if not len(standing):
                    return
                rows = standing.rows
                self._climb(standing, column * self.restarts + restart, ranked[rows, column])

    def _loss(self, aims: Tensor | None) -> losses.Loss:
        assert aims is not None
        return losses.targeted(aims)


def likeliest_wrong(standing: Standing, count: int) -> Tensor:
    """(n, up to count), the likeliest wrong classes at each image; affords one pass."""
    standing.affords(1)
    logits = standing.logits(standing.images)
    wrong = logits.scatter(1, standing.labels[:, None], -float("inf"))
    return wrong.topk(min(count, logits.shape[1] - 1), dim=1).indices
