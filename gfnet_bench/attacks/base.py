"""What an attack is, and which there are by name. Nothing here imports torch.

Pixels are in [0, 1] for every model, so epsilon means the same everywhere.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import field
from numbers import Real
from typing import TYPE_CHECKING, Any, Protocol

from gfnet_bench.errors import UsageError
from gfnet_bench.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

UNSAID = "unsaid"

Predict = Callable[["Tensor"], "Tensor"]


class Attack(Protocol):
    """A frozen dataclass whose fields are the threat model; calling it perturbs a batch.

    Its class may say what it `cites`: keys of `reports/references.bib`, or whole BibTeX entries; and that it
    `begins_at_image`: the first it shows the model is all the images as they are, which then need no clean pass.
    """

    @property
    def name(self) -> str:
        """As registered, or `torchattacks:<class>`."""

    @property
    def norm(self) -> str | None:
        """What it keeps small: `linf`, `l2`, `l1` or `l0`; None for one that is not about a distance, as noise."""

    @property
    def epsilon(self) -> float | None:
        """Radius of the ball of that norm, which its images never leave; None where it has no radius."""

    def __call__(self, predict: Predict, images: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
        """Adversarial images.

        Args:
            predict: (b, 3, h, w) float32 in [0, 1] to (b, k) logits, letting gradients through.
            images: (b, 3, h, w) float32 in [0, 1].
            labels: (b,) int64, the class the attack leads away from.
            seeds: (b,) int64 on the device of `images`; image i's result depends on no other image or seed.

        Returns:
            (b, 3, h, w) float32, detached.

        Raises:
            GfnetBenchError: if logits or gradients are not finite, or the logits do not depend on the pixels.
        """


ATTACKS: Registry[Callable[..., Attack]] = Registry("attack", "attacks")


def check_epsilon(epsilon: float, norm: str | None = "linf", text: str | None = None) -> None:
    """Refuse what is no radius: in L-infinity outside [0, 1], the width of the pixel range, else outside [0, inf).

    Raises:
        UsageError: in that case, with what the user wrote where that is given.
    """
    largest, wanted = (
        (1.0, "from 0 to 1 (pixels are in [0, 1])") if norm == "linf" else (sys.float_info.max, "from 0 up")
    )
    is_number = isinstance(epsilon, Real)
    if is_number and 0 <= epsilon <= largest:
        return
    written = text.strip() if text is not None else f"{epsilon:g}" if is_number else str(epsilon)
    levels = is_number and norm == "linf" and 1 < epsilon <= 255 and "/" not in written
    hint = f"did you mean {written}/255?" if levels else "it is written 4/255 or 0.0157"
    hint = hint if is_number or text else "give a number, as in epsilon=4 / 255"
    raise UsageError(f"epsilon: expected a number {wanted}, found {written!r}; {hint}")


def check_norm(name: str, norm: str) -> None:
    """Refuse a norm that an attack of ours cannot keep small.

    Raises:
        UsageError: in that case.
    """
    if norm not in ("linf", "l2"):
        raise UsageError(f"{name}: expected norm to be linf or l2, found {norm!r}")


def check_counts(name: str, **counts: int | None) -> None:
    """Refuse what is less than once; None is no limit.

    Raises:
        UsageError: in that case.
    """
    for what, count in counts.items():
        if count is not None and count < 1:
            raise UsageError(f"{name}: expected {what} to be 1 or more, found {what}={count}")


def unsaid(default: Any) -> Any:
    """A field that cells do not mention where it has this default: they are older than it."""
    return field(default=default, metadata={UNSAID: True})
