"""What attacks add to images: a table, lines by frequency beside a network's filters, and a sheet of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gfnet_bench import metrics, spectra
from gfnet_bench.catalog import MODELS
from gfnet_bench.families import Look
from gfnet_bench.reports.drawing import intervals
from gfnet_bench.reports.drawing.figures import (
    COLUMN,
    FONT,
    GREY,
    PAGE,
    Drawing,
    Label,
    explain,
    inches,
    log_ticks,
    look,
    name_curves,
    new_figure,
    short,
)
from gfnet_bench.reports.drawing.tables import RECORDS, Column, Row, Table
from gfnet_bench.reports.filters.figures import spread, table
from gfnet_bench.reports.filters.perturbed import Floats, Perturbed
from gfnet_bench.reports.filters.results import Network

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DASHES = ("-", (0, (4, 1.5)), (0, (1.5, 1)), (0, (6, 1, 1, 1)))
"""Of models of one family, one after the other."""

SHOWN = 4
"""Images side by side in a sheet; the record has no more."""

# Spectra

_BANDS = ("low", "middle", "high")
MEASURED = ("rms_levels", *(f"{name}_ratio{end}" for name in _BANDS for end in ("", "_low", "_high")))
"""Names of the numbers of a perturbation."""


def measured(p: Perturbed) -> dict[str, float | None]:
    """What the tables say of a perturbation, by `MEASURED`."""
    numbers: list[float | None] = [p.rms]
    for number in range(len(_BANDS)):
        value, interval = p.band(number)
        numbers += [value, *(interval or (None, None))]
    return dict(zip(MEASURED, numbers, strict=True))


def perturbation_table(perturbed: Sequence[Perturbed]) -> Table:
    """A row for each network and attack: at which frequencies the attack puts its energy."""
    rows: list[Row] = [
        {
            "model": p.label,
            "attack": p.attack,
            "images": p.images,
            **measured(p),
            RECORDS: dict.fromkeys(MEASURED, (p.record,)),
        }
        for p in perturbed
    ]
    columns = [
        Column("model", "Model"),
        Column("attack", "Attack"),
        Column("images", "n", align="right"),
        Column("rms_levels", "RMS", "levels", digits=2, align="right"),
        *(_ratio(f"{name}_ratio", name.capitalize()) for name in _BANDS),
    ]
    notes = [
        "Energy of a frequency of the perturbation in units of that of white noise of the same size, 1 where an attack "
        "prefers none; low, middle and high: a third of the Nyquist frequency each. RMS: of a pixel value, of 255 "
        f"levels. {intervals.NOTE}"
    ]
    return Table("filters_perturbation", "Spectra of the perturbations", columns, rows, notes if rows else [])


def _ratio(key: str, title: str) -> Column:
    ends = (f"{key}_low", f"{key}_high")

    def shown(row: Row) -> str | None:
        if not np.isfinite(row[key]):
            return None
        low, high = (row[end] for end in ends)
        return intervals.with_interval(row[key], None if low is None else metrics.Interval(low, high), 2)

    return Column(key, title, show=shown, fields=(key, *ends), align="right")


def spectra_of_perturbations(perturbed: Sequence[Perturbed], networks: Sequence[Network]) -> Drawing:
    """Energy by frequency of perturbations that may be compared, beside the filters of a network among them.

    Both are in cycles per image; filters work on tokens, whose grid ends at its own Nyquist frequency.
    """
    first = perturbed[0]
    beside = [n for n in networks if n.model in {p.model for p in perturbed} and n.image == first.image]
    nyquist = min(first.image) / 2
    names = {p: p.model if [o.model for o in perturbed].count(p.model) == 1 else p.label for p in perturbed}
    rows = [
        {
            "model": p.label,
            "radius_cycles_per_image": float(at),
            "energy_ratio": float(p.mean[i]),
            "energy_ratio_low": float(p.ends[0][i]),
            "energy_ratio_high": float(p.ends[1][i]),
        }
        for p in perturbed
        for i, at in enumerate(p.cycles)
    ]
    filters = [(network, *_magnitude(network)) for network in beside]
    rows += [
        {"model": network.label, "radius_cycles_per_image": float(x), "filter_magnitude": float(y)}
        for network, at, magnitude in filters
        for x, y in zip(at, magnitude, strict=True)
    ]

    def draw() -> Figure:
        figure = new_figure(PAGE if filters else COLUMN + 0.2, 2.35)
        left = inches(figure, 0.45, 0.42, 2.0, 1.72)
        labels = []
        for p, style, dash in _styles(perturbed):
            spread(left, p.cycles[1:], p.ends[0][1:], p.ends[1][1:], style.colour, "95 % intervals over the images")
            shown = {"color": style.colour, "marker": style.marker, "linestyle": dash}
            left.plot(p.cycles[1:], p.mean[1:], markevery=max(1, len(p.cycles) // 8), **shown)
            labels.append(Label(float(p.cycles[-1]), float(p.mean[-1]), short(names[p]), style.colour))
        random = first.arrays["random"][1:]
        (line,) = left.plot(first.cycles[1:], random, color=GREY, linestyle=":")
        explain(line, "Grey, dotted", "a random direction of the same length, cut to black and white like the others")
        left.set(title="(a) perturbations", ylabel="energy (white noise = 1)", yscale="log")
        left.set_yticks(ticks := log_ticks(*left.get_ylim()), [f"{tick:g}" for tick in ticks])
        left.set_yticks([], minor=True)
        _frequencies(left, nyquist)
        name_curves(left, labels)
        if filters:
            right = inches(figure, 4.05, 0.42, 2.0, 1.72)
            labels = []
            for (network, at, magnitude), style in zip(filters, (_look(n.model) for n, *_ in filters), strict=True):
                right.plot(at, magnitude, color=style.colour, marker=style.marker, linewidth=1.2)
                labels.append(Label(float(at[-1]), float(magnitude[-1]), short(network.label), style.colour))
            right.set(title="(b) learned filters, all layers", ylabel="root mean square magnitude", ylim=(0, None))
            _frequencies(right, nyquist, min(float(at[-1]) for _, at, _ in filters))
            name_curves(right, labels)
        return figure

    title = f"Which frequencies {first.attack} changes, on {first.images} images of {first.dataset}: mean spectrum of "
    title += "adversarial minus clean images" + (", beside the network's filters" if filters else "")
    name = f"filters_perturbation_{first.dataset}_{first.names[1]}_{first.images}images"
    about = "Zero frequency, the brightness of an image, is in the CSV file alone."
    return Drawing(name, draw, table(name, title, rows), [about])


def _frequencies(axes: Axes, nyquist: float, of_tokens: float | None = None) -> None:
    """The axis of frequencies; beyond the Nyquist frequency of the pixels, or of the tokens, it is shaded."""
    from matplotlib.ticker import MaxNLocator

    end = 1.12 * nyquist
    axes.set(xlabel="radius (cycles/image)", xlim=(-0.02 * nyquist, end))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 4, 5, 8], integer=True))
    level = 0.04 if of_tokens else 0.96
    place: dict[str, Any] = {"rotation": 90, "va": "bottom" if of_tokens else "top", "fontsize": FONT - 1.5}
    parts = ((of_tokens, nyquist, "#f4f4f4", "tokens' Nyquist"), (nyquist, end, "#e6e6e6", "Nyquist"))
    for start, stop, shade, word in parts:
        if start is not None and start < stop:
            axes.axvspan(start, stop, color=shade, linewidth=0)
            axes.text(start + 0.012 * end, level, word, transform=axes.get_xaxis_transform(), **place)


def _look(model: str) -> Look:
    return look(MODELS[model].family if model in MODELS else "")


def _styles(perturbed: Sequence[Perturbed]) -> list[tuple[Perturbed, Look, Any]]:
    """Colour by family; models of one family differ in their dashes."""
    seen: dict[Look, int] = {}
    found = []
    for p in perturbed:
        style = _look(p.model)
        found.append((p, style, DASHES[seen.get(style, 0) % len(DASHES)]))
        seen[style] = seen.get(style, 0) + 1
    return found


def _magnitude(network: Network) -> tuple[Floats, Floats]:
    """Radii in cycles per image, and the root mean square magnitude over channels and layers of the commonest grid."""
    grids = [layer.grid for layer in network.layers]
    most = max(dict.fromkeys(grids), key=grids.count)
    energy = np.mean([layer.energy for layer in network.layers if layer.grid == most], axis=0)
    profile = spectra.radial_profile(energy)
    return profile.at * min(most), np.sqrt(profile.mean)


# Images


def sheet(p: Perturbed) -> Drawing:
    """A few images: clean, adversarial, what was added (as strong as it can be shown), and its spectrum."""
    arrays = p.arrays
    count = len(arrays["clean"])
    clean = arrays["clean"].astype(np.float64) / 255
    difference = arrays["difference"].astype(np.float64)
    largest = float(np.abs(difference).max()) or 1.0
    energy = spectra.energy(difference.transpose(0, 3, 1, 2)).mean(1)
    rows = [
        {
            "image": i,
            "label": p.word(arrays["labels"][i]),
            "clean_answer": p.word(arrays["clean_answers"][i]),
            "attacked_answer": p.word(arrays["answers"][i]),
            "largest_change_levels": 255 * float(np.abs(difference[i]).max()),
            "rms_change_levels": 255 * float(np.sqrt((difference[i] ** 2).mean())),
        }
        for i in range(count)
    ]

    def draw() -> Figure:
        gap, left, words = 0.05, 0.74, 0.17
        side = (COLUMN - left) / SHOWN - gap
        top = 4 * side + 2 * words + gap
        figure = new_figure(COLUMN, top + 0.1)
        lowest, highest = _decades(energy)
        for i in range(count):
            x = left + i * (side + gap)
            places = top + 0.05 - np.cumsum([side, side + words, side + words, side + gap])
            axes = [inches(figure, x, y, side, side) for y in places]
            axes[0].imshow(clean[i], vmin=0, vmax=1, interpolation="nearest")
            axes[1].imshow((clean[i] + difference[i]).clip(0, 1), vmin=0, vmax=1, interpolation="nearest")
            axes[2].imshow(0.5 + 0.5 * difference[i] / largest, vmin=0, vmax=1, interpolation="nearest")
            shown = np.log10(np.maximum(energy[i], 10.0**lowest))
            axes[3].imshow(shown, cmap="inferno", vmin=lowest, vmax=highest, interpolation="nearest")
            for one in axes:
                one.set(xticks=[], yticks=[])
                one.grid(False)
                one.spines[:].set_visible(False)
            for one, answers in zip(axes[:2], (arrays["clean_answers"], arrays["answers"]), strict=True):
                right = answers[i] == arrays["labels"][i]
                text = f"{'✓' if right else '✗'} {p.word(answers[i])}"
                one.set_xlabel(short(text, 72 * side), fontsize=6, labelpad=2, color="#009E73" if right else "#D55E00")
            if i == 0:
                names = ("clean", "adversarial", f"difference\nx {0.5 / largest:.0f}", "its spectrum\n(log)")
                for one, name in zip(axes, names, strict=True):
                    one.set_ylabel(name, rotation=0, ha="right", va="center", labelpad=4)
        return figure

    title = f"Images of {p.dataset} under {p.attack} on {p.model}"
    about = (
        "Below each the answer of the network, ✓ where it is the label.",
        "In a difference a middle tone is no change; in a spectrum the lowest frequency is in the middle.",
        f"Labels: {', '.join(str(row['label']) for row in rows)}.",
    )
    name = f"filters_perturbation_{p.dataset}_{p.names[1]}_{p.names[0]}"
    return Drawing(name, draw, table(name, title, rows), about)


def _decades(energy: Floats) -> tuple[float, float]:
    """Ends of a logarithmic range of at most four decades that holds the largest."""
    highest = np.log10(max(float(energy.max()), 1e-20))
    lowest = np.log10(max(float(energy.min()), 1e-20))
    return max(lowest, highest - 4), highest
