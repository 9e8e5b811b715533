"""Filter surgery: a network whose global filters have lost a band of frequencies, all else left as learned."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from gfnet_bench.errors import UsageError
from gfnet_bench.models.asked import Asked
from gfnet_bench.models.base import load_model
from gfnet_bench.models.gfnet import GlobalFilter
from gfnet_bench.models.model import Model

KINDS = ("low_pass", "high_pass", "band_stop")

# The same rounding as in gfnet_bench.spectra: a cutoff of 0.15 takes in 3 / 20, whatever floats make of it.
TOLERANCE = 1e-6

Cutoff = float | tuple[float, float]


def global_filters(net: nn.Module) -> dict[str, GlobalFilter]:
    """The global filter layers of a network by name, in order of depth; none for a network of another design."""
    return {name: module for name, module in net.named_modules() if isinstance(module, GlobalFilter)}


def depth(model: str, img_size: tuple[int, int] | None = None) -> int:
    """The number of global filter layers; 0 for a network of another design.

    Raises:
        UsageError: if there is no such network.
    """
    with torch.device("meta"):  # shapes alone
        return len(global_filters(load_model(model, Asked(img_size), pretrained=False, device="meta")))


def kept(grid: tuple[int, int], kind: str, cutoff: Cutoff) -> Tensor:
    """Which frequencies a filter keeps.

    The radius of a frequency is its distance from zero in cycles per token: 0.5 is the Nyquist frequency along an
    axis, the corners reach 0.71. It is the same for a frequency and its conjugate, so that what is kept is the
    spectrum of a real kernel again.

    Args:
        grid: (h, w) tokens.
        kind: `low_pass` keeps radii up to the cutoff, `high_pass` those above it; `band_stop` keeps radii up to the
            first cutoff and those above the second.
        cutoff: one radius, or two for `band_stop`.

    Returns:
        (h, w // 2 + 1) bool on the half spectrum.

    Raises:
        UsageError: if there is no such kind, or the cutoffs do not fit it.
    """
    if kind not in KINDS:
        raise UsageError(f"unknown surgery {kind!r}; expected one of {', '.join(KINDS)}")
    two = isinstance(cutoff, (tuple, list))
    if two != (kind == "band_stop"):
        raise UsageError(f"{kind}: expected {'two cutoffs' if kind == 'band_stop' else 'one cutoff'}, found {cutoff}")
    rows = torch.fft.fftfreq(grid[0], dtype=torch.float64)[:, None]
    columns = torch.fft.rfftfreq(grid[1], dtype=torch.float64)[None, :]
    radius = torch.hypot(rows, columns) - TOLERANCE
    if isinstance(cutoff, (tuple, list)):
        low, high = cutoff
        if not low < high:
            raise UsageError(f"band_stop: expected cutoffs in rising order, found {low:g} and {high:g}")
        return (radius <= low) | (radius > high)
    if not math.isfinite(cutoff):
        raise UsageError(f"{kind}: expected a radius in cycles per token, found {cutoff}")
    return radius <= cutoff if kind == "low_pass" else radius > cutoff


def operate(model: Model, kind: str, cutoff: Cutoff, layer: int | None = None) -> Model:
    """A copy of a model without some frequencies of its learned filters.

    Args:
        model: with global filters; it is left as it is. The copy shares all its tensors but the filters.
        kind: see `kept`.
        cutoff: see `kept`; in cycles per token of each layer's own grid, which differ between the stages of a pyramid.
        layer: one layer, counted from 0 at the input; None for all of them.

    Raises:
        UsageError: if the model has no global filters, or not this layer, or as `kept`.
    """
    filters = global_filters(model)
    if not filters:
        raise UsageError(f"{model.name}: has no global filters to operate on; expected a GFNet")
    if layer is not None and not 0 <= layer < len(filters):
        raise UsageError(f"{model.name}: expected a layer from 0 to {len(filters) - 1}, found {layer}")
    chosen = list(filters) if layer is None else [list(filters)[layer]]
    own = {f"{name}.complex_weight" for name in chosen}
    shared = {id(p): p for name, p in model.named_parameters() if name not in own}
    operated = copy.deepcopy(model, shared)
    for name in chosen:
        module = operated.get_submodule(name)
        assert isinstance(module, GlobalFilter)
        mask = kept(module.grid, kind, cutoff).to(module.complex_weight.device)
        weight = torch.where(mask[..., None, None], module.complex_weight, 0)
        module.complex_weight = nn.Parameter(weight, requires_grad=False)
    return operated
