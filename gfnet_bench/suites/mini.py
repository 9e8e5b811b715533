"""The embedded suite: a sample of Fashion-MNIST and four small networks, complete in minutes on a CPU."""

from __future__ import annotations

from gfnet_bench.suites.base import SUITES, Filters, Suite

SUITES.add(
    "mini",
    Suite(
        name="mini",
        title="mini (Fashion-MNIST, not ImageNet)",
        main="mini",
        others=("mini_v2", "mini_a", "mini_c"),
        models=("gfnet_mini", "vit_mini", "resmlp_mini", "resnet_mini"),
        classes=10,
        side=32,
        whole=True,
        epsilon=4 / 255,  # on 32 px images of clothes 1/255 hardly moves an accuracy
        reference="resnet_mini",
        columns=(("mini_c", "mce"), ("mini_a", "top1"), ("mini_v2", "top1"), ("mini_real", "real")),
        lacks={"mini_real": "Fashion-MNIST has no ReaL labels"},
        filters=Filters(surgery_limit=100, heatmap_limit=50, norm=4.0, frequencies=None, parts=1, whole=True),
    ),
)
