"""Drawings of robustness by frequency: accuracy without a band of the filters, error under noise of each frequency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gfnet_bench import spectra
from gfnet_bench.catalog import MODELS
from gfnet_bench.families import Look
from gfnet_bench.reports.drawing.figures import (
    PAGE,
    Drawing,
    Label,
    explain,
    inches,
    look,
    name_curves,
    new_figure,
    plain,
    short,
)
from gfnet_bench.reports.filters.figures import DEPTH, PALEST, settle, spread, table
from gfnet_bench.reports.filters.results import Cutoff, HeatMap, Network, Operated, Surgery

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_TITLES = {"low_pass": "low-pass", "high_pass": "high-pass", "band_stop": "band-stop"}
_KEPT = {
    "low_pass": "keeps radii up to (cycles/token)",
    "high_pass": "keeps radii above (cycles/token)",
    "band_stop": "removes radii around (cycles/token)",
}


def operation_title(kind: str | None, cutoff: Cutoff) -> str:
    """An operation in a few characters: `low-pass 0.3`."""
    if kind is None:
        return "as learned"
    return f"{_TITLES[kind]} {'-'.join(f'{c:g}' for c in np.atleast_1d(np.array(cutoff)))}"


def _look(i: int) -> Look:
    """One perturbation's: black for the first, clean images as a rule."""
    return [look("clean"), *map(look, ("DeiT", "GFNet", "Swin", "ResMLP", "ResNet", "PVT"))][i % 7]


def accuracy_by_cutoff(surgery: Surgery) -> Drawing | None:
    """Accuracy against cutoff, all layers operated on together, with 95 % intervals; None if nothing was removed."""
    kinds = surgery.kinds(alone=False)
    if not kinds:
        return None
    rows = [
        {
            "perturbation": o.perturbation,
            "operation": operation_title(o.kind, o.cutoff),
            **o.ends,
            **o.percent,
        }
        for o in surgery.operated
        if o.layer is None
    ]

    def draw() -> Figure:
        figure = new_figure(PAGE, 2.3)
        figure.set_layout_engine("constrained", w_pad=0.06, rect=(0, 0, 0.85, 1))
        panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
        labels: dict[str, Label] = {}
        for axes, kind in zip(panels, kinds, strict=True):
            for i, perturbation in enumerate(surgery.perturbations):
                labels |= _curve(axes, surgery, perturbation, kind, _look(i))
            axes.set(title=f"{_TITLES[kind]}, all layers", xlabel=_KEPT[kind], ylim=(0, 100))
        panels[0].set_ylabel("top-1 accuracy (%)")
        settle(figure)
        name_curves(panels[-1], list(labels.values()))
        return figure

    name = f"filters_surgery_{surgery.name}"
    title = f"Top-1 accuracy without a band of the filters' frequencies, by the band's cutoff: {surgery.label}"
    return Drawing(name, draw, table(name, title, rows))


def _curve(axes: Axes, surgery: Surgery, perturbation: str, kind: str, style: Look) -> dict[str, Label]:
    """One perturbation's, and its name; where it was not operated on so, its name stands at the filters as learned."""
    label = {}
    learned = surgery.find(perturbation, None, None, None)
    if learned is not None:
        line = axes.axhline(100 * learned.top1, color=style.colour, linestyle=(0, (4, 3)), linewidth=0.7)
        explain(line, "Dashed", "the filters as learned")
        label[perturbation] = Label(axes.get_xlim()[1], 100 * learned.top1, plain(perturbation), style.colour)
    found = [o for o in surgery.operated if (o.perturbation, o.kind, o.layer) == (perturbation, kind, None)]
    if found:
        found.sort(key=lambda o: o.middle)
        x = [o.middle for o in found]
        ends = np.array([o.interval for o in found]) * 100
        spread(axes, x, ends[:, 0], ends[:, 1], style.colour, "95 % intervals")
        axes.plot(x, [100 * o.top1 for o in found], color=style.colour, marker=style.marker, clip_on=False)
        label[perturbation] = Label(x[-1], 100 * found[-1].top1, plain(perturbation), style.colour)
    return label


def accuracy_by_layer(surgery: Surgery) -> Drawing | None:
    """What operating on one layer alone changes, in points: a panel for each kind and perturbation.

    None where no layer was, or nothing is known to compare it with.
    """
    alone = [o for o in surgery.operated if o.layer is not None and _change(surgery, o) is not None]
    if not alone:
        return None
    rows = [
        {
            "perturbation": o.perturbation,
            "operation": operation_title(o.kind, o.cutoff),
            **o.ends,
            "layer": o.layer,
            **o.percent,
            "difference_points": _change(surgery, o),
        }
        for o in alone
    ]
    depth = 1 + max(o.layer for o in alone if o.layer is not None)
    perturbations = [p for p in surgery.perturbations if any(o.perturbation == p for o in alone)]
    kinds = [k for k in surgery.kinds(alone=True) if any(o.kind == k for o in alone)]
    extreme = max([1.0, *(abs(c) for o in alone if (c := _change(surgery, o)) is not None)])

    def draw() -> Figure:
        tall = 0.16 * depth + 0.35
        figure = new_figure(PAGE, len(kinds) * tall + 0.3)
        figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.04)
        panels = figure.subplots(len(kinds), len(perturbations), sharey=True, squeeze=False)
        image: Any = None
        for line, kind in zip(panels, kinds, strict=True):
            cutoffs = sorted({o.cutoff for o in alone if o.kind == kind}, key=np.mean)  # type: ignore[arg-type]
            for axes, perturbation in zip(line, perturbations, strict=True):
                image = _changes(axes, surgery, perturbation, kind, cutoffs, depth, extreme)
                axes.set_title(f"{_TITLES[kind]}, {plain(perturbation)}")
            line[0].set_ylabel("layer")
        for axes in panels[-1]:
            axes.set_xlabel("cutoff (cycles/token)")
        figure.colorbar(image, ax=panels, label="change (points)", pad=0.01, aspect=24)
        return figure

    name = f"filters_surgery_{surgery.name}_layers"
    title = (
        "Change of the top-1 accuracy, in points, where one layer alone is without a band of its frequencies: "
        f"{surgery.label}"
    )
    return Drawing(name, draw, table(name, title, rows))


def _change(surgery: Surgery, o: Operated) -> float | None:
    learned = surgery.find(o.perturbation, None, None, None)
    return None if learned is None else 100 * (o.top1 - learned.top1)


def _changes(
    axes: Axes, surgery: Surgery, perturbation: str, kind: str, cutoffs: Sequence[Any], depth: int, extreme: float
) -> Any:
    found = [[surgery.find(perturbation, kind, c, layer) for c in cutoffs] for layer in range(depth)]
    changes = [[None if o is None else _change(surgery, o) for o in line] for line in found]
    values = np.array([[np.nan if c is None else c for c in line] for line in changes], dtype=float)
    image = axes.imshow(values, cmap="RdBu", vmin=-extreme, vmax=extreme, aspect="auto", interpolation="nearest")
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if abs(value) > 0.6 * extreme else "black"
            axes.text(
                column,
                row,
                f"{round(value):+d}".replace("+0", "0"),
                ha="center",
                va="center",
                color=colour,
                fontsize=5.5,
            )
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(range(len(cutoffs)), [operation_title(kind, c).split(" ")[1] for c in cutoffs])
    axes.set_yticks(range(depth))
    return image


def heat_maps(maps: Sequence[HeatMap], networks: Sequence[Network]) -> Drawing:
    """Error under noise of each frequency, model by model, beside the mean spectrum of the learned filters.

    Both are in cycles per image. Filters work on tokens, whose grid holds the lowest frequencies alone: the dashed
    square. Higher ones reach it through the patch embedding, folded.
    """
    network = next((n for n in networks if n.model in {m.model for m in maps}), None)
    names = [m.model if [o.model for o in maps].count(m.model) == 1 else m.label for m in maps]
    errors = [_radial(m.error) for m in maps]
    mean = None if network is None else _mean_spectrum(network)
    rows = [
        {"model": name, **pixel}
        for name, m in zip(names, maps, strict=True)
        for pixel in _frequencies(100 * m.error, "error_percent")
    ]
    if network is not None and mean is not None:
        rows += [{"model": network.model, **pixel} for pixel in _frequencies(mean, "filter_magnitude")]
    same = maps[0]
    largest = 100 * max(float(m.error.max()) for m in maps) or 1.0

    def draw() -> Figure:
        count = len(maps) + (mean is not None)
        across = min(5, count)
        down = -(-count // across)
        side = min(1.5, (PAGE - 0.6) / across - 0.2)
        curves_at, bars_at, maps_at = 0.38, 2.44, 2.95
        figure = new_figure(PAGE, maps_at + down * (side + 0.6) - 0.38)
        reach = max(*same.error.shape, *(() if mean is None else mean.shape)) / 2
        places = [
            inches(
                figure,
                0.42 + (i % across) * (side + 0.2),
                maps_at + (down - 1 - i // across) * (side + 0.6),
                side,
                side,
            )
            for i in range(count)
        ]
        image: Any = None
        for axes, name, m in zip(places, names, maps, strict=False):
            image = _map(axes, 100 * m.error, "inferno", (0, largest), reach)
            axes.set_title(short(name, 60 * side))  # points of the tile, in the smaller letters of curves
        for i, axes in enumerate(places):
            axes.tick_params(labelleft=i % across == 0)
        bar = inches(figure, 0.42, bars_at, 1.5, 0.07)
        figure.colorbar(image, cax=bar, orientation="horizontal", label="error (%)")
        width = 2.3
        curves = inches(figure, 0.42, curves_at, width, 1.5)
        labels = []
        for i, (name, (at, error)) in enumerate(zip(names, errors, strict=True)):
            model = maps[i].model
            style = look(MODELS[model].family) if model in MODELS else _look(i)
            curves.plot(at, 100 * error, color=style.colour, marker=style.marker, markevery=max(1, len(at) // 8))
            labels.append(Label(float(at[-1]), 100 * float(error[-1]), short(name), style.colour))
        curves.set(title="error by frequency", xlabel="radius (cycles/image)", ylabel="error (%)", ylim=(0, None))
        curves.set_xlim(-0.03 * reach, 1.03 * reach)
        if network is not None and mean is not None:
            image = _map(places[-1], mean, "YlGnBu", (0, float(mean.max()) or 1.0), reach)
            places[-1].set_title("mean filter spectrum")
            bar = inches(figure, max(2.4, 0.42 + (count - 1) % across * (side + 0.2)), bars_at, min(1.5, side), 0.07)
            figure.colorbar(image, cax=bar, orientation="horizontal", label="magnitude of the filters")
            high, wide = (side / 2 for side in mean.shape)
            for axes in places[: len(maps)]:
                corners = ([-wide, wide, wide, -wide, -wide], [-high, -high, high, high, -high])
                (frame,) = axes.plot(*corners, color="white", linewidth=0.7, linestyle=(0, (3, 2)))
                what = f"the frequencies on the grid of {network.model}'s tokens, which higher ones reach folded"
                explain(frame, "Dashed frames", what)
            _by_layer(inches(figure, 4.2, curves_at, width - 0.2, 1.5), network, curves.get_xlim())
        name_curves(curves, labels)
        return figure

    name = "filters_heatmap_" + "_".join([same.dataset, f"norm{same.norm:g}", f"{same.images}images"])
    title = (
        f"Top-1 error of {', '.join(names)} under noise of one Fourier frequency at a time, of norm {same.norm:g}, on "
        f"{same.images} images of {same.dataset}"
    )
    title += f", beside the filters of {network.model}" if network else ""
    return Drawing(name, draw, table(name, title, rows))


def _by_layer(axes: Axes, network: Network, limits: tuple[float, float]) -> None:
    """Filter magnitude against frequency, from the first layer to the last."""
    import matplotlib
    from matplotlib.colors import to_hex

    labels = []
    for i, layer in enumerate(network.layers):
        at, magnitude = _radial(np.sqrt(layer.energy))
        colour = to_hex(matplotlib.colormaps[DEPTH](PALEST * i / max(1, len(network.layers) - 1)))
        axes.plot(at, magnitude, color=colour)
        labels.append(Label(float(at[-1]), float(magnitude[-1]), f"layer {i}", colour))
    axes.set(
        title=f"filters of {short(network.model)}, by layer",
        xlabel="radius (cycles/image)",
        ylabel="magnitude",
        xlim=limits,
        ylim=(0, None),
    )
    name_curves(axes, labels if len(labels) <= 8 else [labels[0], labels[-1]])


def _cycles(side: int) -> list[int]:
    return list(range(-(side // 2), side - side // 2))


def _frequencies(values: NDArray[Any], quantity: str) -> list[dict[str, Any]]:
    """A map as rows of numbers."""
    vertical, horizontal = map(_cycles, values.shape)
    return [
        {
            "vertical_cycles_per_image": vertical[y],
            "horizontal_cycles_per_image": horizontal[x],
            quantity: float(value),
        }
        for (y, x), value in np.ndenumerate(values)
    ]


def _radial(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Means over rings, by cycles per image."""
    profile = spectra.radial_profile(values)
    return profile.at * min(values.shape), profile.mean


def _mean_spectrum(network: Network) -> NDArray[Any]:
    """(h, w) root mean square magnitude over channels and layers; in a pyramid, of the stage with most layers."""
    grids = [layer.grid for layer in network.layers]
    most = max(dict.fromkeys(grids), key=grids.count)
    return np.sqrt(np.mean([layer.energy for layer in network.layers if layer.grid == most], axis=0))


def _map(axes: Axes, values: NDArray[Any], colours: str, limits: tuple[float, float], side: float) -> Any:
    height, width = values.shape
    vertical, horizontal = _cycles(height), _cycles(width)
    extent = (horizontal[0] - 0.5, horizontal[-1] + 0.5, vertical[-1] + 0.5, vertical[0] - 0.5)
    image = axes.imshow(
        values, cmap=colours, vmin=limits[0], vmax=limits[1], extent=extent, interpolation="nearest"
    )  # fmt: skip
    axes.grid(False)
    axes.set_facecolor("#f2f2f2")
    axes.set(xlim=(-side - 0.5, side + 0.5), ylim=(side + 0.5, -side - 0.5), xlabel="cycles/image")
    ticks = [-int(side), 0, int(side)] if side >= 4 else [0]
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    return image
