"""The machine that a command's options ask for: what robustness is measured on, alone or inside of other studies."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from gfnet_bench.commands import options

if TYPE_CHECKING:
    from gfnet_bench.benches.robustness import Bench


def bench(arguments: argparse.Namespace, **more: Any) -> Bench:
    """It, with the data, device and weights that were named.

    Args:
        arguments: of a command that has the options of data, device and checkpoints.
        **more: further fields of `Bench`.

    Raises:
        UsageError: if the device is not on this machine.
    """
    from gfnet_bench.benches.robustness import Bench

    device = options.device(arguments)
    return Bench(
        data_dirs=options.data_dirs(arguments),
        device=device,
        batch_size=options.batch_size(arguments, device),
        workers=options.workers(arguments),
        asked=options.asked(arguments),
        **more,
    )
