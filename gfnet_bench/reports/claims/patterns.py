"""Claims about learned filters: where they have structure, and how far they reach.

Structure is Moran's I (1950): the correlation of a map with its four neighbours on the torus, near 0 for values whose
positions were shuffled, whatever the values are. It is taken of what Figure 5 shows, magnitudes of frequencies in (a)
and the kernel's values in (b). Sparsity is the Gini index of the energies of a map, which does not change when values
stand twice, as those of the frequencies k and -k of a real kernel do (Hurley and Rickard 2009).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnet_bench import spectra
from gfnet_bench.catalog import MODELS
from gfnet_bench.errors import MissingError
from gfnet_bench.metrics import Interval, mean_interval, wilson_interval
from gfnet_bench.reports.claims.base import Evidence, Finding, by_interval
from gfnet_bench.reports.filters.results import Layer, Network

Maps = NDArray[np.floating[Any]]

SHUFFLES = 199
"""With so many, the largest of all has p = 1/200."""

LEVEL = 0.05

_SMALL = "gfnet_mini"
"""Stands in for the paper's networks."""
_NETWORKS = ("gfnet_xs", "gfnet_s", "gfnet_b", "gfnet_ti", _SMALL)
"""Whose filters are looked at: of the first that is measured."""

LOCAL = 3
"""Tokens from the middle to the side of the largest convolution of the ablation, 7 x 7."""


def moran(maps: Maps) -> Maps:
    """(d, h, w) to (d,): mean product of neighbours on the torus, in parts of the variance; 0 of a constant map."""
    centred = maps - maps.mean((-2, -1), keepdims=True)
    products = sum((centred * np.roll(centred, 1, axis)).mean((-2, -1)) for axis in (-2, -1)) / 2
    variance = (centred**2).mean((-2, -1))
    return np.divide(products, variance, out=np.zeros_like(variance), where=variance > 0)


def gini(maps: Maps) -> Maps:
    """(d, h, w) to (d,): 0 where all energies are equal, towards 1 where one value has all of it."""
    energy = np.sort((maps**2).reshape(len(maps), -1), axis=1)
    n = energy.shape[1]
    total = energy.sum(1)
    ranked = (energy * (2 * np.arange(1, n + 1) - n - 1)).sum(1)
    return np.divide(ranked, n * total, out=np.zeros_like(total), where=total > 0)


def structured(maps: Maps, *, mirrored: bool) -> NDArray[np.bool_]:
    """Which maps have a larger Moran's I than 95 % of those with shuffled positions.

    Args:
        maps: (d, h, w).
        mirrored: whether values stand at k and at -k and are moved together, zero in the middle.
    """
    rng = np.random.default_rng(0)
    height, width = maps.shape[-2:]
    found, flat = moran(maps), maps.reshape(len(maps), -1)
    places = np.arange(height * width).reshape(height, width)
    # Values of k and -k are one: the first of the two names the pair.
    shifted = np.fft.ifftshift(places)
    partner = np.fft.fftshift(np.roll(shifted[::-1, ::-1], 1, (0, 1))).reshape(-1)
    pair = np.minimum(places.reshape(-1), partner) if mirrored else places.reshape(-1)
    twice, alone = (np.unique(pair[(partner != places.reshape(-1)) == both]) for both in (True, False))
    groups = (twice, alone) if mirrored else (pair,)
    at_least = np.zeros(len(maps))
    for _ in range(SHUFFLES):
        moved = np.arange(height * width)
        for group in groups:
            moved[group] = rng.permutation(group)
        at_least += moran(flat[:, moved[pair]].reshape(maps.shape)) >= found
    return (at_least + 1) / (SHUFFLES + 1) <= LEVEL


def frequencies_have_patterns(evidence: Evidence) -> Finding:
    """The share of filters whose magnitudes have more structure than chance gives one in twenty."""
    network = _network(evidence)
    found = np.concatenate([structured(layer.magnitudes, mirrored=True) for layer in network.layers])
    low, high = wilson_interval(int(found.sum()), len(found))
    interval = Interval(100 * low, 100 * high)
    return _finding(
        network,
        len(found),
        verdict=by_interval(interval, 100 * LEVEL),
        value=100 * float(found.mean()),
        interval=interval,
        unit="percent",
        reason=f"of the channels at p <= {LEVEL:g}, positions shuffled {SHUFFLES} times",
    )


def clearer_in_frequency(evidence: Evidence) -> Finding:
    """How much larger Moran's I is of a filter's magnitudes than of its kernel, the mean over channels."""
    network = _network(evidence)
    gain = np.concatenate([moran(layer.magnitudes) - moran(layer.kernels) for layer in network.layers])
    return _mean_gain(network, gain, "Moran's I in frequency less that in space; positions shuffled: 0")


def sparser_in_frequency(evidence: Evidence) -> Finding:
    """How much sparser a filter is in frequency than in space, beyond what fresh weights are."""
    network = _network(evidence)
    gain = np.concatenate(
        [gini(layer.magnitudes) - gini(layer.kernels) - _of_fresh(layer.grid) for layer in network.layers]
    )
    return _mean_gain(network, gain, "Gini index of energy in frequency less that in space, less that of fresh weights")


def long_range(evidence: Evidence) -> Finding:
    """The share of a kernel's energy outside 7 x 7 tokens, the mean over channels; above half counts as long."""
    network = _network(evidence)
    outside = np.concatenate([_outside(layer) for layer in network.layers])
    interval = mean_interval(100 * outside)
    even = np.mean([1 - (2 * LOCAL + 1) ** 2 / (layer.grid[0] * layer.grid[1]) for layer in network.layers])
    return _finding(
        network,
        len(outside),
        verdict=by_interval(interval, 50),
        value=100 * float(outside.mean()),
        interval=interval,
        unit="percent",
        reason=f"of a kernel's energy lies outside 7 x 7 tokens; of even energy it were {100 * even:.1f} %",
    )


def _outside(layer: Layer) -> Maps:
    height, width = layer.grid
    rows, columns = (np.abs(axis * n).round() for axis, n in zip(spectra.axes(height, width), layer.grid, strict=True))
    far = np.maximum(rows, columns) > LOCAL
    energy = layer.kernels**2
    total = energy.sum((1, 2))
    return np.divide((energy * far).sum((1, 2)), total, out=np.zeros_like(total), where=total > 0)


@cache
def _of_fresh(grid: tuple[int, int]) -> float:
    """The same difference of normal weights that were not trained, a mean over a thousand channels."""
    weight = np.random.default_rng(0).normal(size=(grid[0], grid[1] // 2 + 1, 1000, 2))
    fresh = Layer(weight, grid)
    return float((gini(fresh.magnitudes) - gini(fresh.kernels)).mean())


def _mean_gain(network: Network, gain: Maps, reason: str) -> Finding:
    interval = mean_interval(gain)
    return _finding(
        network,
        len(gain),
        verdict=by_interval(interval, 0),
        value=float(gain.mean()),
        interval=interval,
        digits=3,
        reason=reason,
    )


def _network(evidence: Evidence) -> Network:
    """The paper's GFNet-XS, another of its networks, or a small one that stands in for it."""
    found = {n.model: n for n in evidence.networks if n.label == n.model}
    wanted = [name for name in _NETWORKS if evidence.suite in (None, MODELS[name].suite)] or list(_NETWORKS)
    for name in wanted:
        if name in found:
            return found[name]
    command = f"gfnet-bench filters --model {wanted[0]}"
    raise MissingError(f"expected the filters of {' or '.join(wanted)} with their arrays, found none: {command}")


def _finding(network: Network, channels: int, **found: Any) -> Finding:
    return Finding(
        subject=f"{network.label}, {channels} channels of {len(network.layers)} layers",
        stands_in=network.model == _SMALL,
        records=(network.record,),
        **found,
    )
