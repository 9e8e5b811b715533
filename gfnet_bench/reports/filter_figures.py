"""Drawings of learned filters: the paper's Figure 5, and what their spectra, kernels and channels have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gfnet_bench import spectra
from gfnet_bench.reports.figures import COLUMN, FONT, PAGE, Drawing, Label, inches, look, name_curves, new_figure
from gfnet_bench.reports.filter_results import Layer, Network
from gfnet_bench.reports.tables import Column, Row, Table

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
    """Rows as the data of a figure, a column for each of their keys."""
    return Table(name, title, [Column(key, key) for key in (rows[0] if rows else ())], rows)


def figure5(network: Network, layers: Sequence[int] | None, channels: Sequence[int]) -> Drawing:
    """The paper's Figure 5: (a) filters in the frequency domain, (b) the spatial kernels of the first columns."""
    chosen = list(range(len(network.layers)) if layers is None else layers)
    first = list(channels[:KERNEL_COLUMNS])
    panels: list[tuple[str, Sequence[int], Callable[[Layer], Any]]] = [
        ("a", channels, lambda layer: layer.magnitudes),
        ("b", first, lambda layer: layer.kernels),
    ]
    rows = [
        {
            "panel": panel,
            "layer": i,
            "channel": c,
            "height": network.layers[i].grid[0],
            "width": network.layers[i].grid[1],
            "values": " ".join(f"{v:.4g}" for v in values(network.layers[i])[c].reshape(-1)),
        }
        for panel, columns, values in panels
        for i in chosen
        for c in columns
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
        figure.colorbar(kernels, cax=bar, orientation="horizontal", label="of its peak", ticks=(-1, 0, 1))
        return figure

    title = (
        f"Learned filters of {network.label} by layer and channel: (a) magnitudes of frequencies, (b) spatial kernels"
    )
    name = f"figure5_{network.name}"
    return Drawing(name, draw, table(name, title, rows))


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
    radial = [spectra.radial_profile(layer.energy / layer.energy.mean()) for layer in network.layers]
    angular = [spectra.angular_profile(layer.energy / layer.energy.mean()) for layer in network.layers]
    channels = {
        "centre of mass": [spectra.centre_of_mass(layer.magnitudes**2) for layer in network.layers],
        "ERF 50 %": [spectra.energy_radius(layer.kernels, 0.5) for layer in network.layers],
        "ERF 90 %": [spectra.energy_radius(layer.kernels, 0.9) for layer in network.layers],
    }
    quartiles = {key: np.array([np.percentile(v, (25, 50, 75)) for v in values]) for key, values in channels.items()}
    pooled = [float(spectra.centre_of_mass(layer.energy)) for layer in network.layers]

    rows: list[Row] = []
    for quantity, of_layers in (("energy by radius", radial), ("energy by direction", angular)):
        for i, profile in enumerate(of_layers):
            for at, mean in zip(profile.at, profile.mean, strict=True):
                rows.append({"quantity": quantity, "layer": i, "at": float(at), "value": float(mean)})
    rows += [{"quantity": "centre of mass, all energy", "layer": i, "value": v} for i, v in enumerate(pooled)]
    rows += [
        {"quantity": f"{key}, {name} of channels", "layer": i, "value": float(q[i, column])}
        for key, q in quartiles.items()
        for column, name in enumerate(("lower quartile", "median", "upper quartile"))
        for i in depth.tolist()
    ]

    def draw() -> Figure:
        import matplotlib
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import ListedColormap, Normalize
        from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

        figure = new_figure(PAGE, 3.7)
        room = {"left": 0.075, "right": 0.885, "bottom": 0.115, "top": 0.935, "wspace": 0.6, "hspace": 0.55}
        grid = figure.subplots(2, 2, gridspec_kw=room)
        shades = ListedColormap(matplotlib.colormaps[DEPTH](np.linspace(0, PALEST, 256)))
        colours: Any = ScalarMappable(Normalize(0, max(1, len(depth) - 1)), shades)
        for i in depth.tolist():
            grid[0, 0].plot(*radial[i], color=colours.to_rgba(i))
            # The first sector again at 180 degrees: directions go round.
            at, mean = np.append(angular[i].at, 180), np.append(angular[i].mean, angular[i].mean[0])
            grid[0, 1].plot(at, mean, color=colours.to_rgba(i))
        grid[0, 0].set(
            title="(a) radial energy", xlabel="radius (cycles/token)", ylabel="energy (1: white)", yscale="log"
        )
        grid[0, 1].set(
            title="(b) orientation",
            xlabel="direction of the frequency (degrees)",
            ylabel="energy (1: white)",
            xticks=(0, 45, 90, 135, 180),
            ylim=(0, None),
        )
        grid[0, 0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        grid[0, 0].yaxis.set_major_formatter("{x:g}")
        grid[0, 0].yaxis.set_minor_locator(NullLocator())
        bar = figure.colorbar(colours, cax=inches(figure, 6.3, 2.19, 0.07, 1.27), label="layer")
        bar.locator = MaxNLocator(integer=True)
        labels = _bands(grid[1, 0], depth, {"channels": quartiles["centre of mass"]}, {"all energy": pooled})
        grid[1, 0].set(title="(c) centre of mass of the spectrum", xlabel="layer", ylabel="radius (cycles/token)")
        fields = _bands(grid[1, 1], depth, {k[4:]: v for k, v in quartiles.items() if k.startswith("ERF")}, {})
        grid[1, 1].set(title="(d) effective receptive field", xlabel="layer", ylabel="radius (tokens)")
        grid[1, 1].set_ylim(0, 1.08 * max(float(q.max()) for key, q in quartiles.items() if key.startswith("ERF")))
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
    return Drawing(name, draw, table(name, title, _padded(rows)))


def _bands(
    axes: Axes, x: NDArray[Any], quartiles: dict[str, NDArray[Any]], lines: dict[str, list[float]]
) -> list[Label]:
    """Medians with the range of the middle half, and plain dashed lines; their names."""
    labels = []
    for (name, q), of in zip(quartiles.items(), ("GFNet", "DeiT"), strict=False):
        colour, marker = look(of)
        axes.fill_between(x, q[:, 0], q[:, 2], color=colour, alpha=0.18, linewidth=0)
        axes.plot(x, q[:, 1], color=colour, marker=marker)
        labels.append(Label(float(x[-1]), float(q[-1, 1]), name, colour))
    for name, values in lines.items():
        axes.plot(x, values, color="black", linestyle="--")
        labels.append(Label(float(x[-1]), values[-1], name, "black"))
    return labels


def _padded(rows: Sequence[Row]) -> list[Row]:
    """Every row with the keys of all."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return [{key: row.get(key) for key in keys} for row in rows]


def cluster_means(network: Network) -> Drawing:
    """The mean log-magnitude spectrum of each group of channels, low frequencies first, with its share of them."""
    shares = [np.bincount(layer.clusters.labels) / len(layer.magnitudes) for layer in network.layers]
    rows = [
        {
            "layer": i,
            "cluster": k,
            "share": float(shares[i][k]),
            "silhouette": layer.clusters.silhouette,
            "height": layer.grid[0],
            "width": layer.grid[1],
            "values": " ".join(f"{v:.4g}" for v in centre),
        }
        for i, layer in enumerate(network.layers)
        for k, centre in enumerate(layer.clusters.centres)
    ]

    def draw() -> Figure:
        count = max(len(s) for s in shares)
        left, bottom = 0.62, 0.62
        tile = min(0.62, (COLUMN - left) / count, 9 / (1.3 * len(shares)))
        width, height = left + max(1.6, count * tile), bottom + 1.3 * tile * len(shares)
        figure = new_figure(width, height)
        extreme = max(float(np.abs(layer.clusters.centres).max()) for layer in network.layers)
        image: Any = None
        size = min(FONT - 1, tile * 72 / 4.5)
        for i, layer in enumerate(network.layers):
            low = bottom + 1.3 * tile * (len(shares) - 1 - i)
            for k, centre in enumerate(layer.clusters.centres):
                axes = inches(figure, left + k * tile, low, 0.93 * tile, 0.93 * tile)
                image = axes.imshow(centre.reshape(layer.grid), cmap="YlGnBu", vmin=-extreme, vmax=extreme)
                axes.set_axis_off()
                axes.set_title(f"{100 * shares[i][k]:.0f} %", loc="center", fontsize=size, pad=1.5)
            name = _layer_names(network, [i])[0]
            figure.text((left - 0.08) / width, (low + tile / 2) / height, name, ha="right", va="center")
        figure.text(0.06 / width, (bottom + height) / 2 / height, "layer", rotation=90, va="center")
        bar = inches(figure, left, 0.42, 1.4, 0.07)
        figure.colorbar(image, cax=bar, orientation="horizontal", label="log magnitude, mean 0")
        return figure

    name = f"filters_{network.name}_clusters"
    title = f"Mean log-magnitude spectrum of each group of similar channels of {network.label}, with its share of them"
    return Drawing(name, draw, table(name, title, rows))


def settle(figure: Figure) -> None:
    """Lay a figure out and keep it so: what is placed by hand afterwards stays where it is put."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
