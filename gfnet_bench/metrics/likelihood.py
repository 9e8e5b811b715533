"""How much probability the right class gets."""

from __future__ import annotations

from gfnet_bench.metrics.base import Average, register

NLL = register(
    Average(
        name="nll",
        title="NLL",
        of=lambda arrays: arrays["nll"],
        unit="nats",
        digits=2,
        on_request=True,
        note="NLL: negative log-likelihood of the right class.",
    )
)
