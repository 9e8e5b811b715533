"""Drawings of learned filters: the paper's Figure 5, and what their spectra, kernels and channels have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gfnet_bench import spectra
from gfnet_bench.reports.drawing.figures import (
    COLUMN,
    FONT,
    PAGE,
    Drawing,
    Label,
    explain,
    inches,
    log_ticks,
    look,
    name_curves,
    new_figure,
)
from gfnet_bench.reports.drawing.tables import Row, Table, data_columns
from gfnet_bench.reports.filters.results import NO_STRUCTURE, Layer, Network

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

KERNEL_COLUMNS = 6
"""Panel (b) of Figure 5 shows the first of the channels of panel (a)."""

DEPTH = "viridis"
"""Colours from the first layer to the last."""

PALEST = 0.9
"""The part of those colours that is dark enough for a line on white."""


def table(name: str, title: str, rows: Sequence[Row]) -> Table:
    """Rows as the data of a figure, a column for each key that any of them has."""
    return Table(name, title, data_columns(dict.fromkeys(key for row in rows for key in row)), rows)


def pixels(values: NDArray[Any], quantity: str) -> list[Row]:
    """A picture as rows of numbers, the top left one first."""
    return [{"row": y, "column": x, quantity: float(value)} for (y, x), value in np.ndenumerate(values)]


def figure5(network: Network, layers: Sequence[int] | None, channels: Sequence[int]) -> Drawing:
    """The paper's Figure 5: (a) filters in the frequency domain, (b) the spatial kernels of the first columns."""
    chosen = list(range(len(network.layers)) if layers is None else layers)
    first = list(channels[:KERNEL_COLUMNS])
    rows = [
        {"panel": panel, "layer": i, "channel": c, **pixel}
        for panel, quantity, columns in (("a", "magnitude", channels), ("b", "kernel", first))
        for i in chosen
        for c in columns
        for pixel in pixels(_values(network.layers[i], quantity)[c], quantity)
    ]

    def draw() -> Figure:
        left, between, right, top, bottom = 0.42, 0.2, 0.08, 0.22, 0.82
        if len({layer.grid for layer in network.layers}) > 1:
            left += 0.2  # for the sides of the grids
        tile = min(0.5, (PAGE - left - between - right) / (len(channels) + len(first)))
        width = left + between + right + tile * (len(channels) + len(first))
        figure = new_figure(max(width, COLUMN), top + bottom + tile * len(chosen))
        in_frequency = inches(figure, left, bottom, tile * len(channels), tile * len(chosen))
        in_space = inches(figure, left + tile * len(channels) + between, bottom, tile * len(first), tile * len(chosen))
        largest = max(float(network.layers[i].magnitudes[list(channels)].max()) for i in chosen)
        magnitudes = kernels = None
        for row, i in enumerate(chosen):
            layer = network.layers[i]
            for column, c in enumerate(channels):
                magnitudes = _tile(in_frequency, layer.magnitudes[c], column, row, "YlGnBu", (0, largest))
            for column, c in enumerate(first):
                peak = float(np.abs(layer.kernels[c]).max()) or 1.0
                kernels = _tile(in_space, layer.kernels[c] / peak, column, row, "RdBu_r", (-1, 1))
        _label_tiles(in_frequency, "(a) frequency domain", channels, _layer_names(network, chosen))
        _label_tiles(in_space, "(b) spatial domain", first, [])
        in_frequency.set_ylabel("layer")
        assert magnitudes is not None and kernels is not None
        bar = inches(figure, left, 0.4, min(1.5, tile * len(channels)), 0.07)
        figure.colorbar(magnitudes, cax=bar, orientation="horizontal", label="magnitude")
        bar = inches(figure, left + tile * len(channels) + between, 0.4, tile * len(first), 0.07)
        figure.colorbar(kernels, cax=bar, orientation="horizontal", label="part of its peak", ticks=(-1, 0, 1))
        return figure

    title = (
        f"Learned filters of {network.label} by layer and channel: (a) magnitudes of frequencies, the lowest in the "
        "middle, (b) spatial kernels, each in parts of its peak"
    )
    name = f"figure5_{network.name}"
    return Drawing(name, draw, table(name, title, rows))


def _values(layer: Layer, quantity: str) -> NDArray[Any]:
    return layer.magnitudes if quantity == "magnitude" else layer.kernels


def _tile(axes: Axes, values: NDArray[Any], column: int, row: int, colours: str, limits: tuple[float, float]) -> Any:
    inset = 0.06
    extent = (column + inset, column + 1 - inset, row + 1 - inset, row + inset)
    return axes.imshow(
        values, cmap=colours, vmin=limits[0], vmax=limits[1], extent=extent, interpolation="nearest", aspect="auto"
    )


def _label_tiles(axes: Axes, title: str, channels: Sequence[int], layers: Sequence[str]) -> None:
    axes.set(title=title, xlabel="channel", xlim=(0, len(channels)), ylim=(axes.get_ylim()[0], 0))
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, pad=1)
    widest = max(len(str(c)) for c in channels)
    step = 1 if widest < 2 else 2 if widest < 3 else 3
    axes.set_xticks([i + 0.5 for i in range(0, len(channels), step)], [str(c) for c in channels[::step]])
    rows = round(axes.get_ylim()[0] + 0.06)
    axes.set_ylim(rows, 0)
    axes.set_yticks([i + 0.5 for i in range(len(layers))], list(layers))


def _layer_names(network: Network, chosen: Sequence[int]) -> list[str]:
    """Numbers, and where the grid changes its side, that too."""
    if len({layer.grid for layer in network.layers}) == 1:
        return [str(i) for i in chosen]
    return [f"{i} ({network.layers[i].grid[0]})" for i in chosen]


def profiles(network: Network) -> Drawing:
    """How filters change with depth: energy by radius and direction, centre of the spectrum, receptive field."""
    depth = np.arange(len(network.layers))
    relative = [layer.energy / (layer.energy.mean() or 1.0) for layer in network.layers]
    radial, angular = (list(map(of, relative)) for of in (spectra.radial_profile, spectra.angular_profile))
    channels = {
        "centre of mass": [spectra.centre_of_mass(layer.magnitudes**2) for layer in network.layers],
        "ERF 50 %": [spectra.energy_radius(layer.kernels, 0.5) for layer in network.layers],
        "ERF 90 %": [spectra.energy_radius(layer.kernels, 0.9) for layer in network.layers],
    }
    quartiles = {key: np.array([np.percentile(v, (25, 50, 75)) for v in values]) for key, values in channels.items()}
    pooled = [float(spectra.centre_of_mass(layer.energy)) for layer in network.layers]

    rows: list[Row] = []
    for at_what, of_layers in (("radius_cycles_per_token", radial), ("direction_degrees", angular)):
        for i, profile in enumerate(of_layers):
            rows += [
                {"layer": i, at_what: float(at), "energy": float(e)}
                for at, e in zip(profile.at, profile.mean, strict=True)
            ]
    rows += [{"layer": i, "channels": "all energy", "centre_cycles_per_token": v} for i, v in enumerate(pooled)]
    keys = dict(zip(channels, ("centre_cycles_per_token", "erf50_tokens", "erf90_tokens"), strict=True))
    rows += [
        {"layer": i, "channels": name, **{key: float(quartiles[of][i, column]) for of, key in keys.items()}}
        for column, name in enumerate(("lower quartile", "median", "upper quartile"))
        for i in depth.tolist()
    ]

    def draw() -> Figure:
        import matplotlib
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import ListedColormap, Normalize
        from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

        figure = new_figure(PAGE, 3.7)
        room = {"left": 0.075, "right": 0.885, "bottom": 0.115, "top": 0.935, "wspace": 0.6, "hspace": 0.55}
        grid = figure.subplots(2, 2, gridspec_kw=room)
        shades = ListedColormap(matplotlib.colormaps[DEPTH](np.linspace(0, PALEST, 256)))
        colours: Any = ScalarMappable(Normalize(0, max(1, len(depth) - 1)), shades)
        for i in depth.tolist():
            grid[0, 0].plot(*radial[i], color=colours.to_rgba(i))
            # The first sector again at 180 degrees: directions go round.
            at, mean = np.append(angular[i].at, 180), np.append(angular[i].mean, angular[i].mean[:1])
            grid[0, 1].plot(at[: len(mean)], mean, color=colours.to_rgba(i))
        grid[0, 0].set(title="(a) radial energy", xlabel="radius (cycles/token)", ylabel="energy (1: white)")
        grid[0, 1].set(
            title="(b) orientation",
            xlabel="direction of the frequency (degrees)",
            ylabel="energy (1: white)",
            xticks=(0, 45, 90, 135, 180),
            ylim=(0, None),
        )
        if any((profile.mean > 0).any() for profile in radial):
            grid[0, 0].set_yscale("log")
            low, high = grid[0, 0].get_ylim()
            some = FixedLocator(log_ticks(low, high)) if high / low < 50 else LogLocator(subs=(1, 2, 5))
            grid[0, 0].yaxis.set_major_locator(some)
            grid[0, 0].yaxis.set_major_formatter("{x:g}")
            grid[0, 0].yaxis.set_minor_locator(NullLocator())
        bar = figure.colorbar(colours, cax=inches(figure, 6.3, 2.19, 0.07, 1.27), label="layer")
        bar.locator = MaxNLocator(integer=True)
        labels = _bands(grid[1, 0], depth, {"channels": quartiles["centre of mass"]}, {"all energy": pooled})
        grid[1, 0].set(title="(c) centre of mass of the spectrum", xlabel="layer", ylabel="radius (cycles/token)")
        fields = _bands(grid[1, 1], depth, {k[4:]: v for k, v in quartiles.items() if k.startswith("ERF")}, {})
        grid[1, 1].set(title="(d) effective receptive field", xlabel="layer", ylabel="radius (tokens)")
        widest = max(float(q.max()) for key, q in quartiles.items() if key.startswith("ERF"))
        grid[1, 1].set_ylim(0, 1.08 * widest or 1.0)
        for axes in grid[1]:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.draw_without_rendering()  # settles the limits
        name_curves(grid[1, 0], labels)
        name_curves(grid[1, 1], fields)
        return figure

    name = f"filters_{network.name}_profiles"
    title = (
        f"Learned filters of {network.label} from layer to layer: (a) energy by radius of the frequency, (b) by its "
        "direction, (c) centre of mass of the spectrum, (d) effective receptive field"
    )
    return Drawing(name, draw, table(name, title, rows))


def _bands(
    axes: Axes, x: NDArray[Any], quartiles: dict[str, NDArray[Any]], lines: dict[str, list[float]]
) -> list[Label]:
    """Medians with the range of the middle half, and plain dashed lines; their names."""
    labels = []
    for (name, q), of in zip(quartiles.items(), ("GFNet", "DeiT"), strict=False):
        colour, marker = look(of)
        spread(axes, x, q[:, 0], q[:, 2], colour, "the middle half of the channels, around their median")
        axes.plot(x, q[:, 1], color=colour, marker=marker)
        labels += _at_end(x, q[:, 1], name, colour)
    for name, values in lines.items():
        (line,) = axes.plot(x, values, "--" if len(x) > 1 else "_", color="black")
        explain(line, "Dashed" if len(x) > 1 else "Dash", "the energy of all channels together")
        labels += _at_end(x, np.array(values), name, "black")
    return labels


def _at_end(x: NDArray[Any], y: NDArray[Any], name: str, colour: str) -> list[Label]:
    """A name at the last point there is; a layer without energy has none."""
    there = np.flatnonzero(np.isfinite(y))
    return [Label(float(x[i]), float(y[i]), name, colour) for i in there[-1:]]


def cluster_means(network: Network) -> Drawing:
    """The mean log-magnitude spectrum of each group of channels, low frequencies first, with its share of them.

    Where there are no groups, that of all channels.
    """
    layers = network.layers
    shares = [np.bincount(layer.clusters.labels) / len(layer.magnitudes) for layer in layers]
    rows = [
        {
            "layer": i,
            "clusters": layer.groups,
            "silhouette": layer.clusters.silhouette,
            "cluster": k if layer.groups else None,
            "share_percent": 100 * float(shares[i][k]),
            **pixel,
        }
        for i, layer in enumerate(layers)
        for k, centre in enumerate(layer.clusters.centres)
        for pixel in pixels(centre.reshape(layer.grid), "log_magnitude")
    ]
    grouped = any(layer.groups for layer in layers)
    names = _layer_names(network, range(len(layers)))
    left, tile = (0.62, 0.62) if grouped else (0.3, 0.7)
    across = max(map(len, shares)) if grouped else min(len(layers), int((COLUMN - left) / tile))
    down = len(layers) if grouped else -(-len(layers) // across)

    def place(i: int, k: int) -> tuple[int, int]:
        return (i, k) if grouped else divmod(i, across)

    def draw() -> Figure:
        bottom = 0.62
        side = min(tile, (COLUMN - left) / across, 9 / (1.3 * down))
        width, height = left + max(1.6, across * side), bottom + 1.3 * side * down
        figure = new_figure(width, height)
        extreme = max(float(np.abs(layer.clusters.centres).max()) for layer in layers)
        image: Any = None
        size = min(FONT - 1, side * 72 / 4.5)
        for i, layer in enumerate(layers):
            for k, centre in enumerate(layer.clusters.centres):
                row, column = place(i, k)
                low = bottom + 1.3 * side * (down - 1 - row)
                axes = inches(figure, left + column * side, low, 0.93 * side, 0.93 * side)
                image = axes.imshow(centre.reshape(layer.grid), cmap="YlGnBu", vmin=-extreme, vmax=extreme)
                axes.set_axis_off()
                share = f"{100 * shares[i][k]:.0f} %" if layer.groups else "all"
                axes.set_title(share if grouped else f"layer {names[i]}", loc="center", fontsize=size, pad=1.5)
                if grouped and k == 0:
                    figure.text((left - 0.08) / width, (low + side / 2) / height, names[i], ha="right", va="center")
        if grouped:
            figure.text(0.06 / width, (bottom + height) / 2 / height, "layer", rotation=90, va="center")
        bar = inches(figure, left, 0.42, 1.2, 0.07)
        figure.colorbar(image, cax=bar, orientation="horizontal", label="log magnitude, mean 0")
        return figure

    name = f"filters_{network.name}_clusters"
    return Drawing(name, draw, table(name, _of_groups(network), rows))


def _of_groups(network: Network) -> str:
    """What the figure of groups shows, by what was found."""
    without = [i for i, layer in enumerate(network.layers) if not layer.groups]
    values = sorted(network.layers[i].clusters.silhouette for i in without)
    ends = " to ".join(dict.fromkeys(f"{value:.2f}" for value in (*values[:1], *values[-1:])))
    why = f"silhouettes of {ends}, and up to {NO_STRUCTURE} they show no structure"
    if len(without) == len(network.layers):
        return (
            f"Mean log-magnitude spectrum of all channels of {network.label}, layer by layer; no clusters of similar "
            f"channels were found ({why})"
        )
    title = f"Mean log-magnitude spectrum of each group of similar channels of {network.label}, with its share of them"
    where = ", ".join(map(str, without))
    return title + (f"; of all channels in layers without clusters, {where} ({why})" if without else "")


def spread(
    axes: Axes, x: Sequence[float] | NDArray[Any], low: NDArray[Any], high: NDArray[Any], colour: str, meaning: str
) -> None:
    """A band around a curve; around a point alone a bar; nothing where the ends are one."""
    if not np.any(np.asarray(high) > np.asarray(low)):
        return
    if len(x) > 1:
        explain(axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0), "Bands", meaning)
    else:
        explain(axes.vlines(x, low, high, colour, linewidth=0.9), "Bars", meaning)


def settle(figure: Figure) -> None:
    """Lay a figure out and keep it so: what is placed by hand afterwards stays where it is put."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
