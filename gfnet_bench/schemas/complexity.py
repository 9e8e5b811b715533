"""Records of the complexity study: multiply-adds, latencies, peaks of memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gfnet_bench.schemas.kinds import (
    COUNT,
    FLAG,
    SHA256,
    SIZE,
    TEXT,
    Array,
    Arrays,
    Beside,
    Fields,
    Unfit,
    check,
    having,
    maybe,
    none_or,
    number,
    object_of,
    whole,
    word,
)

FEWEST = 3
"""Repeats of a latency that have a spread; of fewer nothing is said."""

_DEVICE: Fields = {"name": TEXT, **maybe({"kind": TEXT, "threads": none_or(whole(1))})}
_TIMED: Fields = {
    "device": having(_DEVICE),
    "batch": whole(1),
    "dtype": TEXT,
    "mode": word("forward", "forward_backward"),
    **maybe({"cuda_graphs": FLAG, "filter_way": none_or(TEXT)}),
}
SETTINGS: dict[str, Fields] = {
    "count": {"convention": word("table1", "authors", "standard", "none")},
    "table1": {"width": whole(1)},
    "memory": _TIMED,
    "latency": _TIMED,
}
SUBJECTS: dict[str, Fields] = {
    "block": {"tokens": whole(1), "width": whole(1)},
    "mixer": {"tokens": whole(1), "width": whole(1)},
    "model": {"tokens": none_or(whole(1)), "img_size": SIZE, **maybe({"code": SHA256})},
    "semantic_fpn": {"tokens": none_or(whole(1)), "img_size": SIZE},
}
VALUES: dict[str, Fields] = {
    "count": {
        "macs": COUNT,
        "operators": object_of(number()),
        "formula_operators": none_or(object_of(number())),
        "unruled": object_of(COUNT),
        "unit": TEXT,
        "params": COUNT,
        "convention": TEXT,
    },
    "table1": {
        **dict.fromkeys(("mixer", "complexity", "params"), TEXT),
        **dict.fromkeys(("formula_macs", "counted_macs", "formula_params", "counted_params"), COUNT),
    },
    "memory": {
        **maybe({"predicted_bytes": COUNT}),
        "peak_bytes": COUNT,
        "reserved_bytes": none_or(COUNT),
        "weights_bytes": none_or(COUNT),
        "mode": word("allocated", "resident", "process"),
    },
    "latency": {
        "latency_s": number(1e-12),
        **dict.fromkeys(("latency_q1_s", "latency_q3_s"), none_or(number(1e-12))),
        "spread": none_or(number(0)),
        "repeats": whole(1),
        "calls_per_repeat": whole(1),
        "stopped": word("spread", "repeats", "budget"),
        "launch_bound": FLAG,
    },
}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise Unfit for settings no cell of the study has."""
    check(settings, {"measure": word(*SETTINGS), "subject": word(*SUBJECTS)})
    check(settings, {**SUBJECTS[settings["subject"]], **SETTINGS[settings["measure"]]})


def check_values(settings: Mapping[str, Any], values: Mapping[str, Any]) -> Beside:
    """Raise Unfit for values that are not of such a cell; what lies beside them."""
    measure = settings["measure"]
    if measure in ("memory", "latency"):
        check(values, {"out_of_memory": FLAG})
        if values["out_of_memory"]:
            check(values, {"reason": TEXT})
            return Beside()
    check(values, VALUES[measure])
    if measure != "latency":
        return Beside()
    ends = ("latency_q1_s", "latency_q3_s", "spread")
    told = {values[key] is not None for key in ends}  # records of the first releases say 0 of one repeat
    if told != {True} and (values["repeats"] >= FEWEST or len(told) > 1):
        raise Unfit(f"{', '.join(ends)} are not all there, expected them of {FEWEST} repeats or more")
    seconds = Array("f8", (values["repeats"],), 1e-12)
    return Beside(
        {"seconds": seconds, "host_seconds": seconds._replace(least=0)},
        lambda arrays: {key: value for key, value in _latency(arrays).items() if values[key] is not None},
    )


def _latency(arrays: Arrays) -> dict[str, Any]:
    """The values of these repeats, worked out once more."""
    import numpy as np

    low, median, high = np.quantile(arrays["seconds"], (0.25, 0.5, 0.75)).tolist()
    return {"latency_s": median, "latency_q1_s": low, "latency_q3_s": high, "spread": (high - low) / median}
