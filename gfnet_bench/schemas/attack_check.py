"""Records of the attack-check study: what the checks said of a model under an attack, and the attack's power."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gfnet_bench.schemas import robustness
from gfnet_bench.schemas.kinds import (
    COUNT,
    SHARE,
    TEXT,
    Beside,
    Fields,
    Unfit,
    check,
    having,
    list_of,
    none_or,
    whole,
    word,
)

_OUTCOMES = ("pass", "suspicious", "fail")

_CHECK: Fields = {"name": TEXT, "outcome": word(*_OUTCOMES, "left out"), "detail": TEXT}
VALUES: Fields = {
    "verdict": word(*_OUTCOMES),
    "images": whole(1, robustness.MOST_IMAGES),
    "power": none_or(SHARE),
    "planted": COUNT,
    "checks": list_of(having(_CHECK)),
}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise Unfit for settings no cell of the study has: those of the robustness study."""
    robustness.check_settings(settings)


def check_values(settings: Mapping[str, Any], values: Mapping[str, Any]) -> Beside:
    """Raise Unfit for values that are not of such a cell; what lies beside them."""
    check(values, VALUES)
    found = [one["outcome"] for one in values["checks"]]
    worst = next((outcome for outcome in reversed(_OUTCOMES) if outcome in found), None)
    if values["verdict"] != worst:
        raise Unfit(f"the verdict is {values['verdict']}, but the worst of its checks is {worst}")
    if (values["power"] is None) != (values["planted"] == 0):
        raise Unfit(f"power is {values['power']} of {values['planted']} planted, expected both or neither")
    return Beside()
