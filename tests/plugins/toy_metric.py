"""A metric of the arrays of a pass."""

from gfnet_bench.metrics import Average, register

register(
    Average(
        name="doubt",
        title="Doubt",
        of=lambda arrays: 1 - arrays["confidence"],
        on_request=True,
        note="Doubt: what the network's confidence in its answer lacks to 1.",
    )
)
