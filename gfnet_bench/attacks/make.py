"""An attack from its name and what was stated of it, on a command line or in a record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints

from gfnet_bench import spelling
from gfnet_bench.attacks import reference
from gfnet_bench.attacks.base import ATTACKS, UNSAID, Attack, check_epsilon
from gfnet_bench.errors import UsageError

USUAL_L2 = 0.5
"""Radius of an attack that is asked for in L2 without one: what is usual on CIFAR-10. Defaults are L-infinity radii."""


def split(text: str) -> tuple[str, dict[str, str]]:
    """Name and fields as they are written; the `bare` field of an attack may come first without its name."""

    def bare(name: str) -> str | None:
        return getattr(ATTACKS[name], "bare", None) if name in ATTACKS else None

    return spelling.split(text, reference.PREFIX, bare)


def read_attack(text: str) -> tuple[str, dict[str, Any]]:
    """Name and fields of an attack as it is written, `pgd:epsilon=4/255,steps=20` or `torchattacks:PGD:steps=20`.

    Raises:
        UsageError: if there is no such attack, or it has no such field, or a value is not of the field's type.
        MissingError: if torchattacks is asked for and not installed.
    """
    name, fields = split(text)
    return name, spelling.read(name, fields, fields_of(name))


def fields_of(name: str) -> dict[str, Any]:
    """What can be stated of an attack, and the type of each; see `read_attack`."""
    if _is_reference(name):
        return reference.fields_of(name)
    attack = ATTACKS[name]
    hints = get_type_hints(attack)
    return {field.name: hints[field.name] for field in dataclasses.fields(attack)}  # type: ignore[arg-type]


def make_attack(text: str, **options: Any) -> Attack:
    """The attack that is written so: see `read_attack`.

    Args:
        text: its name, perhaps with fields.
        **options: further fields, in the place of those; None means the attack's own default. What an attack has no
            use for (the steps of FGSM) is left aside, so that one command line can name several attacks.

    Raises:
        UsageError: also if a value makes no sense.
        MissingError: see `read_attack`.
    """
    name, stated = read_attack(text)
    stated |= {key: value for key, value in options.items() if value is not None and key in fields_of(name)}
    return reference.torch_attack(name, **stated) if _is_reference(name) else _made(name, stated)


def stored(attack: Attack) -> dict[str, Any]:
    """What a record stores of an attack: its name, the norm its radius is in, and its fields that are set.

    That torchattacks' radii are L-infinity is left unsaid, as it always was: the cell must stay the same.
    """
    unsaid = attack.epsilon is None or (_is_reference(attack.name) and attack.norm == "linf")
    known = {"name": attack.name, **({} if unsaid or attack.norm is None else {"norm": attack.norm})}
    for field in dataclasses.fields(attack):  # type: ignore[arg-type]
        value = getattr(attack, field.name)
        if value != _left_out(field):
            known[field.name] = value
    return known


def _left_out(field: dataclasses.Field[Any]) -> Any:
    """The value that is not stored, if there is one."""
    return field.default if field.default is None or UNSAID in field.metadata else dataclasses.MISSING


def restored(settings: Mapping[str, Any]) -> Attack:
    """The inverse of `stored`.

    Raises:
        UsageError: if no such attack is registered here, or it has other fields.
    """
    name = settings["name"]
    if _is_reference(name):
        return reference.TorchAttack(**{key: value for key, value in settings.items() if key != "norm"})
    unsaid = {"name", "norm"} - fields_of(name).keys()
    return _made(name, {key: value for key, value in settings.items() if key not in unsaid})


def defaults_of(name: str) -> dict[str, Any]:
    """The settings of a registered attack when nothing is stated; nothing for any other."""
    if name not in ATTACKS:
        return {}
    norm = getattr(ATTACKS[name], "norm", None)
    known = dataclasses.fields(ATTACKS[name])  # type: ignore[arg-type]
    stated = {f.name: f.default for f in known if f.default not in (dataclasses.MISSING, _left_out(f))}
    return {**({"norm": norm} if isinstance(norm, str) else {}), **stated}


def norm_of(name: str) -> str | None:
    """The norm of an attack whose settings do not say it."""
    return reference.norm_of(name) if _is_reference(name) else defaults_of(name).get("norm", "linf")


def _is_reference(name: str) -> bool:
    return name.lower().startswith(reference.PREFIX)


def _made(name: str, fields: Mapping[str, Any]) -> Attack:
    known = dataclasses.fields(ATTACKS[name])  # type: ignore[arg-type]
    if odd := fields.keys() - {field.name for field in known}:
        raise UsageError(f"{name}: expected fields among {', '.join(f.name for f in known)}, found {', '.join(odd)}")
    open_ = [f.name for f in known if f.name not in fields and f.default is f.default_factory is dataclasses.MISSING]
    if open_:
        raise UsageError(f"{name}: expected a value of {', '.join(open_)}, found none; write {name}:{open_[0]}=VALUE")
    if fields.get("norm") == "l2" and "epsilon" not in fields:
        fields = {**fields, "epsilon": USUAL_L2}
    attack = ATTACKS[name](**fields)
    if attack.epsilon is not None:
        check_epsilon(attack.epsilon, attack.norm)
    return attack
