"""A suite of its own label space."""

from gfnet_bench.suites import SUITES, Filters, Suite

SUITES.add(
    "toy",
    Suite(
        name="toy",
        title="Toys",
        main="toy",
        others=("toy_c",),
        models=("toy_net", "toy_corner"),
        classes=4,
        side=32,
        whole=True,
        epsilon=8 / 255,
        attacks=(),
        filters=Filters(parts=1, frequencies=3),
    ),
)
