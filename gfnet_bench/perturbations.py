"""What is done to images before a model sees them: nothing, an attack, a corruption, or noise of one frequency.

A perturbation says itself (`spelling` on a command line, `title` in tables), reads itself (`parse`) and stores itself
(`settings`, a part of a cell's identity). Nothing here imports torch.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gfnet_bench import spelling
from gfnet_bench.attacks import ATTACKS
from gfnet_bench.attacks.base import Attack, check_epsilon
from gfnet_bench.attacks.make import defaults_of, fields_of, make_attack, norm_of, read_attack, restored, split, stored
from gfnet_bench.attacks.reference import PREFIX, TorchAttack
from gfnet_bench.catalog import CORRUPTIONS, MCE_NAMES, SEVERITIES
from gfnet_bench.errors import UsageError
from gfnet_bench.records import canonical_json
from gfnet_bench.registry import Registry

if TYPE_CHECKING:
    from gfnet_bench.records import Cell


@dataclass(frozen=True)
class Perturbation:
    """What all of them have; `from_settings` and `parse` make the right one.

    Attributes:
        name: `clean`, an attack's, a corruption's, or `fourier`.
    """

    name: str

    @property
    def settings(self) -> dict[str, Any]:
        """What a cell holds."""
        return {"name": self.name}

    @property
    def salt(self) -> str:
        """What its random draws are keyed by, beside seed and image."""
        return self.name

    @property
    def spelling(self) -> str:
        """The word that `parse` reads, with everything that is not left to a default: `fog:severity=3`."""
        fields = {key: value for key, value in self.settings.items() if key != "name" and value is not None}
        return spelling.written(self.name, {key: spelling.word(value) for key, value in fields.items()})

    @property
    def title(self) -> str:
        """What tables and figures call it."""
        return self.name

    @property
    def words(self) -> str:
        """All its settings, for programs that read tables: `fgsm epsilon=0.00392157 norm=linf`."""
        settings = {key: value for key, value in sorted(self.settings.items()) if key not in ("name", "cells")}
        return " ".join([self._called, *(f"{key}={_short(value)}" for key, value in settings.items())])

    @property
    def order(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Its position among others: of its kind, and among those of its kind by strength."""
        return (3, self.name), ()

    @property
    def takes(self) -> Collection[str]:
        """The fields that can be stated of it."""
        return ()

    @property
    def cites(self) -> tuple[str, ...]:
        """Who made it known: keys of `reports/references.bib`, or whole BibTeX entries."""
        return ()

    @property
    def begins_at_image(self) -> bool:
        """Whether the model is shown the images as they are first: of several such one pass serves."""
        return False

    @property
    def _called(self) -> str:
        return self.name


@dataclass(frozen=True)
class Clean(Perturbation):
    """The images as they are."""

    name: str = field(default="clean", init=False)

    @property
    def order(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Before all others."""
        return (0, self.name), ()

    @property
    def begins_at_image(self) -> bool:
        """It shows nothing else."""
        return True


@dataclass(frozen=True)
class Attacked(Perturbation):
    """An attack, which need not be registered here: of a record that came with a plug-in the settings tell enough.

    Attributes:
        stored: the settings as canonical JSON.
    """

    stored: str

    @classmethod
    def of(cls, attack: Attack) -> Attacked:
        """The perturbation that an attack is."""
        return cls(attack.name, canonical_json(stored(attack)))

    @property
    def settings(self) -> dict[str, Any]:
        """Name, norm of the radius, and the fields of the attack that are set."""
        return json.loads(self.stored)

    @property
    def attack(self) -> Attack:
        """What attacks.

        Raises:
            UsageError: if no such attack is registered here, or it has other fields.
        """
        return restored(self.settings)

    @property
    def salt(self) -> str:
        """As of the attack that makes the images, where they are made for another network: it draws the same."""
        return self.settings.get("by", self.name)

    @property
    def norm(self) -> str | None:
        """What it keeps small: see `Attack`."""
        return self.settings.get("norm", norm_of(self.name))

    @property
    def takes(self) -> Collection[str]:
        """See `Perturbation`; of a registered attack."""
        return fields_of(self.name)

    @property
    def cites(self) -> tuple[str, ...]:
        """What its class says, if that is here."""
        made = TorchAttack if self.name.startswith(PREFIX) else ATTACKS[self.name] if self.name in ATTACKS else None
        return getattr(made, "cites", ())

    @property
    def begins_at_image(self) -> bool:
        """As the attack says, where that is registered here."""
        return self.name in ATTACKS and getattr(self.attack, "begins_at_image", False)

    @property
    def is_usual(self) -> bool:
        """Whether it is all the attack's own defaults; those of FGSM and PGD are the paper's threat models."""
        return self.settings == {"name": self.name, **defaults_of(self.name)}

    @property
    def spelling(self) -> str:
        """With epsilon, which a suite would fill in otherwise, and whatever differs from the attack's defaults."""
        usual = {"norm": norm_of(self.name), **defaults_of(self.name)}
        shown = {key: value for key, value in self.settings.items() if key not in _SAID and value != usual.get(key)}
        fields = {**({} if self._radius is None else {"epsilon": self._radius}), **shown}
        return spelling.written(self.name, {key: self._word(key, value) for key, value in fields.items()})

    @property
    def title(self) -> str:
        """`PGD` for the attack's own threat model, else `PGD 4/255 x20` and what else differs from it."""
        shown = self.name if ":" in self.name else self._titled
        if self.is_usual:
            return shown
        usual, steps = {"norm": "linf", "random_start": True, **defaults_of(self.name)}, self.settings.get("steps")
        parts = [shown, "" if self._radius is None else self._word("epsilon", self._radius)]
        parts += ["" if steps is None else f"x{steps}"]
        for key, value in self.settings.items():
            if (key, value) == ("random_start", False):
                parts.append("no random start")
            elif key not in (*_SAID, "steps") and value != usual.get(key):
                parts.append(f"{key}={_short(value)}")
        return " ".join(part for part in parts if part)

    @property
    def order(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """After clean images, those of our own first."""
        own = self.name in ATTACKS
        return (1 if own else 2, self.name), (
            own and not self.is_usual,
            self._radius or 0.0,
            self.settings.get("steps") or 0,
        )

    @property
    def _titled(self) -> str:
        return getattr(ATTACKS[self.name], "title", self.name.upper()) if self.name in ATTACKS else self.name.upper()

    @property
    def _radius(self) -> Any:
        return self.settings.get("epsilon", self.settings.get("eps"))

    def _word(self, key: str, value: Any) -> str:
        if isinstance(value, float) and key in ("epsilon", "alpha"):
            return spelling.number(value, of_255=self.norm == "linf")
        return spelling.word(value)


_SAID = ("name", "version", "epsilon", "eps")
"""Settings of an attack that its name and its radius tell."""


@dataclass(frozen=True)
class Corrupted(Perturbation):
    """One corruption.

    Attributes:
        severity: 1 to 5.
        recipe: which constants made it here; None for the published files.
    """

    severity: int
    recipe: str | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """See `Perturbation`."""
        made = {} if self.recipe is None else {"recipe": self.recipe}
        return {"name": self.name, "severity": self.severity, **made}

    @property
    def cites(self) -> tuple[str, ...]:
        """Who thought of it, and who made these constants where those are others."""
        also = ("michaelis2019benchmarking",) if self.recipe == "imagecorruptions" else ()
        return "hendrycks2019benchmarking", *also

    @property
    def title(self) -> str:
        """`fog 3`."""
        return f"{self.name} {self.severity}"

    @property
    def order(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """By name, growing."""
        return super().order[0], (self.severity,)


@dataclass(frozen=True)
class Corruptions(Perturbation):
    """Several corrupted passes that make one number: all corruptions of mCE, or the cells of a mean.

    Attributes:
        recipe: see `Corrupted`.
        cells: each corruption with its severities, for a mean; empty for all of mCE.
    """

    name: str = field(default="", init=False)
    recipe: str | None = None
    cells: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def of(self, cells: Iterable[tuple[str, int]]) -> Corruptions | Corrupted:
        """Those of these names and severities alone; a single one is that cell itself."""
        cells = sorted(set(cells))
        if len(cells) == 1:
            return Corrupted(*cells[0], self.recipe)
        names = dict.fromkeys(name for name, _ in cells)
        return Corruptions(self.recipe, tuple((name, tuple(s for n, s in cells if n == name)) for name in names))

    @property
    def each(self) -> list[Corrupted]:
        """The passes of a mean."""
        return [Corrupted(name, s, self.recipe) for name, severities in self.cells for s in severities]

    @property
    def settings(self) -> dict[str, Any]:
        """What they have in common, and which they are; no name."""
        made = {} if self.recipe is None else {"recipe": self.recipe}
        return {**made, **({"cells": {name: list(of) for name, of in self.cells}} if self.cells else {})}

    @property
    def listed(self) -> str:
        """All of them, corruptions of the same severities together: `fog, snow 2 4; frost 1 2 3 4 5`."""
        names: dict[tuple[int, ...], list[str]] = {}
        for name, severities in self.cells:
            names.setdefault(severities, []).append(name)
        return "; ".join(f"{', '.join(those)} {' '.join(map(str, of))}" for of, those in names.items())

    @property
    def few(self) -> str:
        """`fog 2 4`, or `10 cells`."""
        return self.listed if len(self.listed) <= 24 else f"{len(self.each)} cells"

    @property
    def title(self) -> str:
        """`mean of fog 2 4`; nothing for all of mCE."""
        return f"mean of {self.few}" if self.cells else ""

    @property
    def _called(self) -> str:
        return (
            f"mean of {self.listed}" if self.cells else f"{len(MCE_NAMES)} corruptions x {len(SEVERITIES)} severities"
        )


@dataclass(frozen=True)
class FourierNoise(Perturbation):
    """Noise of one frequency after the other (Yin et al. 2019).

    Attributes:
        norm: its L2 norm in each channel, pixels in [0, 1].
        frequencies: the lowest of so many a side; None for all.
    """

    name: str = field(default="fourier", init=False)
    norm: float
    frequencies: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """See `Perturbation`."""
        return {"name": self.name, "norm": self.norm, "frequencies": self.frequencies}

    @property
    def cites(self) -> tuple[str, ...]:
        """Yin et al. 2019."""
        return ("yin2019fourier",)

    @property
    def title(self) -> str:
        """`Fourier noise of norm 4`."""
        return f"Fourier noise of norm {self.norm:g}"


CLEAN: Perturbation = Clean()
_FOURIER = "fourier"


def from_settings(settings: Mapping[str, Any]) -> Perturbation:
    """The inverse of `settings`; a name that is not known here is an attack's."""
    if "name" not in settings:
        cells = tuple((name, tuple(of)) for name, of in settings.get("cells", {}).items())
        return Corruptions(settings.get("recipe"), cells)
    if "severity" in settings:
        return Corrupted(settings["name"], settings["severity"], settings.get("recipe"))
    if settings == CLEAN.settings:
        return CLEAN
    if settings["name"] == _FOURIER and isinstance(settings.get("norm", 0.0), float | int):
        return FourierNoise(settings.get("norm", 0.0), settings.get("frequencies"))
    return Attacked(settings["name"], canonical_json(settings))


def of_cell(cell: Cell) -> Perturbation:
    """What is done to a cell's images."""
    return from_settings(cell.settings["perturbation"])


def parse(text: str) -> Perturbation:
    """The perturbation that is written so: `clean`, `pgd:epsilon=4/255,steps=20`, `fog:severity=3`, `fourier:norm=4`.

    Raises:
        UsageError: for an unknown name or field, or a value that makes no sense.
        MissingError: if torchattacks is asked for and not installed.
    """
    name, fields = split(text)
    if name in CORRUPTIONS:
        if "severity" not in fields:
            raise UsageError(f"{text}: expected a severity from 1 to 5, found none; write {name}:severity=3")
        return corrupted(text)[0]
    if _folded(name) == _FOURIER:
        stated = spelling.read(name, fields, {"norm": float, "frequencies": int | None})
        if not stated.get("norm", 0) > 0:
            raise UsageError(f"{text}: expected a norm above 0, as in {_FOURIER}:norm=4, found {stated.get('norm')}")
        return FourierNoise(**stated)
    if name not in ATTACKS and not name.lower().startswith(PREFIX) and _folded(name) != CLEAN.name:
        known: Registry[None] = Registry("perturbation")
        for each in (CLEAN.name, _FOURIER, *ATTACKS, *CORRUPTIONS):
            known.add(each, None)
        known[name]
    return attacked(text)[0]


def attacked(
    text: str, radii: Sequence[str] | None = None, usual: float | None = None, **options: Any
) -> list[Perturbation]:
    """The attack that is written so, or clean images: once at each radius, or once if it has none.

    Args:
        text: `clean`, or as for `make_attack`.
        radii: as a user wrote them (`4/255`), in the attack's own norm; None or empty where nothing was written.
        usual: the radius of an L-infinity attack then, None for its own; one of another norm always has its own.
        **options: fill what the text leaves open; see `make_attack`.

    Raises:
        UsageError: if a radius makes no sense in the attack's norm, or the text and an option both state a field; see
            also `make_attack`.
    """
    name, fields = split(text)
    if _folded(name) == CLEAN.name:
        spelling.read(name, fields, {})
        return [CLEAN]
    stated = read_attack(text)[1]
    options = {key: value for key, value in options.items() if value is not None}
    _once(text, stated, {**options, **({"epsilon": radii} if radii else {})})
    attack = make_attack(text, **options)
    if attack.epsilon is None or "epsilon" in stated or not (radii or (attack.norm == "linf" and usual is not None)):
        return [Attacked.of(attack)]
    epsilons = [_radius(radius, attack.norm) for radius in dict.fromkeys(radii)] if radii else [usual]
    return [Attacked.of(make_attack(text, epsilon=epsilon, **options)) for epsilon in epsilons]


def corrupted(
    text: str,
    severities: Sequence[int] | None = None,
    recipe: str | None = None,
    usual: str | None = None,
    usually: Sequence[int] = SEVERITIES,
) -> list[Corrupted]:
    """The corruption that is written so, once at each severity.

    Args:
        text: a name, perhaps with a severity and a recipe.
        severities: fill what the text leaves open, as does the recipe; None where nothing was written.
        recipe: see `Corrupted`.
        usual: the recipe where none is stated; None for published files.
        usually: the severities where none is stated.

    Raises:
        UsageError: for an unknown name, or if the text and an option both state something.
    """
    name, fields = spelling.split(text)
    name = CORRUPTIONS[name].name
    stated = spelling.read(name, fields, {"severity": int, "recipe": str})
    _once(text, stated, {"severity": severities, "recipe": recipe})
    levels = [stated["severity"]] if "severity" in stated else severities or usually
    if odd := [level for level in levels if level not in SEVERITIES]:
        raise UsageError(f"{text}: expected a severity from 1 to 5, found {odd[0]}")
    if recipe := stated.get("recipe", recipe):
        from gfnet_bench.corruptions import RECIPES

        recipe = RECIPES[recipe].name
    return [Corrupted(name, severity, recipe or usual) for severity in levels]


def published_files(cell: Cell) -> tuple[str, int] | None:
    """Name and severity of the published files that a cell is about, if it is about such."""
    p = of_cell(cell)
    return (p.name, p.severity) if isinstance(p, Corrupted) and p.recipe is None else None


def _once(text: str, stated: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    if twice := [key for key in stated if options.get(key)]:
        raise UsageError(f"{text}: expected {' and '.join(twice)} once, found it here and as an option; leave one out")


def _radius(text: str, norm: str | None) -> float:
    value = spelling.read_number(text)
    check_epsilon(value, norm, text)
    return value


def _folded(name: str) -> str:
    return name.lower().replace("-", "_")


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
