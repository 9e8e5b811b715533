"""What an attack is, how its settings are written down, and how one is made from the words of a command line.

Pixels are in [0, 1] for every model, so epsilon means the same everywhere. Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from gfnet_bench.errors import UsageError
from gfnet_bench.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

Predict = Callable[["Tensor"], "Tensor"]


class Attack(Protocol):
    """A frozen dataclass whose fields are the threat model; calling it perturbs a batch.

    Its class may say what it `cites`: keys of `reports/references.bib`, or whole BibTeX entries.
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


ATTACKS: Registry[Callable[..., Attack]] = Registry("attack")


def make_attack(
    text: str,
    *,
    epsilon: float | None = None,
    steps: int | None = None,
    relative_step: float | None = None,
    random_start: bool | None = None,
) -> Attack:
    """The attack called `text`: a registered name, or `torchattacks:<class>` in any capitals.

    Args:
        text: the name.
        epsilon: radius of the ball; None here and below means the attack's own default. What an attack has no use
            for (the steps of FGSM) is left aside, so that one command line can name several attacks.
        steps: gradient steps.
        relative_step: length of a step as a share of epsilon.
        random_start: whether to start at a random point of the ball.

    Raises:
        UsageError: if the name is unknown or a value makes no sense.
        MissingError: if torchattacks is asked for and not installed.
    """
    options = {"epsilon": epsilon, "steps": steps, "relative_step": relative_step, "random_start": random_start}
    stated: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    family, colon, member = text.partition(":")
    if colon and family.lower() == "torchattacks":
        from gfnet_bench.attacks.reference import torch_attack

        return torch_attack(member, **stated)
    attack = ATTACKS[text]
    fields = {field.name for field in dataclasses.fields(attack)}  # type: ignore[arg-type]
    return attack(**{key: value for key, value in stated.items() if key in fields})


def attacks_within(text: str, radii: Sequence[str] | None, usual: float, **options: Any) -> list[Attack]:
    """The attack called `text` at each radius, or once if it has none.

    Args:
        text: the name, as for `make_attack`.
        radii: as a user wrote them (`4/255`), in the attack's own norm; None or empty where nothing was written.
        usual: the radius of an L-infinity attack then; one of another norm has its own.
        **options: see `make_attack`.

    Raises:
        UsageError: if a radius makes no sense in the attack's norm; see also `make_attack`.
    """
    attack = make_attack(text, **options)
    if attack.epsilon is None or not (radii or attack.norm == "linf"):
        return [attack]
    epsilons = [parse_epsilon(radius, attack.norm) for radius in dict.fromkeys(radii)] if radii else [usual]
    return [make_attack(text, epsilon=epsilon, **options) for epsilon in epsilons]


def settings(attack: Attack) -> dict[str, Any]:
    """What a record stores of an attack: its name, the norm its radius is in, and its fields that are set.

    That torchattacks' radii are L-infinity is left unsaid, as it always was: the cell must stay the same.
    """
    fields = dataclasses.asdict(attack)  # type: ignore[call-overload]
    unsaid = attack.epsilon is None or (attack.name.startswith("torchattacks:") and attack.norm == "linf")
    known = {"name": attack.name, "norm": None if unsaid else attack.norm, **fields}
    return {key: value for key, value in known.items() if value is not None}


def from_settings(stored: dict[str, Any]) -> Attack:
    """The inverse of `settings`."""
    fields = {key: value for key, value in stored.items() if key != "norm"}
    if stored["name"].startswith("torchattacks:"):
        from gfnet_bench.attacks.reference import TorchAttack

        return TorchAttack(**fields)
    return ATTACKS[fields.pop("name")](**fields)


def parse_epsilon(text: str, norm: str | None = "linf") -> float:
    """`4/255` or `0.0157` to a float in units of the pixel range [0, 1].

    Raises:
        UsageError: if it is no radius in that norm.
    """
    numerator, slash, denominator = text.partition("/")
    try:
        value = float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    check_epsilon(value, norm, text)
    return value


def format_epsilon(epsilon: float) -> str:
    """`1/255`, `0.5/255`, `0.1`: the shortest spelling that `parse_epsilon` reads back, to nine digits."""
    spellings = [f"{epsilon:.6g}", f"{epsilon * 255:.6g}/255", f"{epsilon:.9g}"]
    exact = [text for text in spellings if math.isclose(parse_epsilon(text, None), epsilon, rel_tol=1e-9)]
    return min(exact, key=len, default=spellings[-1])


def check_epsilon(epsilon: float, norm: str | None = "linf", text: str | None = None) -> None:
    """Refuse what is no radius: in L-infinity outside [0, 1], the width of the pixel range, else outside [0, inf).

    Raises:
        UsageError: in that case, with what the user wrote where that is given.
    """
    largest, wanted = (
        (1.0, "from 0 to 1 (pixels are in [0, 1])") if norm == "linf" else (sys.float_info.max, "from 0 up")
    )
    if 0 <= epsilon <= largest:
        return
    written = f"{epsilon:g}" if text is None else text.strip()
    levels = norm == "linf" and 1 < epsilon <= 255 and "/" not in written
    hint = f"did you mean {written}/255?" if levels else "it is written 4/255 or 0.0157"
    raise UsageError(f"epsilon: expected a number {wanted}, found {written!r}; {hint}")
