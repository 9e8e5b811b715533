"""How far the probabilities of all classes are from what was the case (Brier 1950)."""

from __future__ import annotations

from gfnet_bench.metrics.base import Average, register

BRIER = register(
    Average(
        name="brier",
        title="Brier",
        of=lambda arrays: arrays["brier"],  # needs all probabilities, so it is worked out where the logits are
        unit="",
        digits=3,
        on_request=True,
        note="Brier: squared errors of the probabilities of all classes, summed over the classes; from 0 to 2.",
    )
)
