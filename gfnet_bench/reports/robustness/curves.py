"""Accuracy under an attack against its radius or its steps, where these were measured at several: tables and figures.

The points are ordinary records, of attacks that differ in that one field. An accuracy that rises with the radius or
with the steps by more than its images explain is said, since a stronger attack cannot help a model: either the attack
failed or the gradient lies.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gfnet_bench import metrics, spelling
from gfnet_bench.catalog import MODELS
from gfnet_bench.perturbations import CLEAN, Attacked, attacked, of_cell
from gfnet_bench.records import Record, canonical_json
from gfnet_bench.reports.drawing import figures, intervals
from gfnet_bench.reports.drawing.figures import Drawing, Label, explain, name_curves, short
from gfnet_bench.reports.drawing.tables import RECORDS, Column, Row, Table, names_of
from gfnet_bench.reports.reading.scores import Setup, setup_of
from gfnet_bench.suites import Suite

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEWEST = 3
"""Points of a curve; fewer are columns of the table of robustness."""

RANDOM = "random"
"""The attack that others are held against."""

VARIED = {"epsilon": "radius", "steps": "steps"}


class Curve(NamedTuple):
    """An attack but for one field.

    Attributes:
        dataset: whose images are attacked.
        varied: the field that differs, a key of `VARIED`.
        rest: the other settings, canonical JSON.
    """

    dataset: str
    varied: str
    rest: str

    @property
    def norm(self) -> str:
        """What the attack keeps small."""
        return _settings(self.rest).get("norm", "linf")


class Point(NamedTuple):
    """One accuracy.

    Attributes:
        at: the radius or the steps; 0 for clean images.
        top1: a share.
        images: of how many.
        record: where it is from.
    """

    at: float
    top1: float
    images: int
    record: Record

    @property
    def interval(self) -> metrics.Interval:
        """Of the accuracy, 95 %."""
        return metrics.wilson_interval(round(self.top1 * self.images), self.images)


Curves = Mapping[Curve, Mapping[Setup, list[Point]]]


def curves_of(records: Sequence[Record], setups: Sequence[Setup]) -> dict[Curve, dict[Setup, list[Point]]]:
    """All curves of these rows that have `FEWEST` points for some model, points ascending."""
    found: dict[Curve, dict[Setup, list[Point]]] = {}
    for record in records:
        if record.error is None and isinstance(perturbation := of_cell(record.cell), Attacked):
            settings, setup = perturbation.settings, setup_of(record.cell)
            for varied in VARIED:
                if setup in setups and isinstance(at := settings.get(varied), (int, float)):
                    rest = canonical_json({key: value for key, value in settings.items() if key != varied})
                    point = Point(float(at), record.values["top1"], int(record.values["images"]), record)
                    curve = Curve(record.cell.settings["dataset"], varied, rest)
                    found.setdefault(curve, {}).setdefault(setup, []).append(point)
    return {
        curve: {setup: sorted(of[setup], key=lambda point: point.at) for setup in setups if setup in of}
        for curve, of in found.items()
        if any(len(points) >= FEWEST for points in of.values())
    }


def swept(records: Sequence[Record], setups: Sequence[Setup], suite: Suite) -> set[Attacked]:
    """The attacks that curves show, save those that the suite's own table has."""
    found = set()
    for of in curves_of(records, setups).values():
        for points in of.values():
            found |= {p for point in points if isinstance(p := of_cell(point.record.cell), Attacked)}
    return {p for p in found if not (p.name in ("fgsm", "pgd") and p in attacked(p.name, None, suite.epsilon))}


def robustness_curves(
    suite: Suite, records: Sequence[Record], setups: Sequence[Setup]
) -> Iterator[tuple[Table, Drawing]]:
    """A table and a figure of each curve; the random direction, where it was measured too, is part of the others."""
    found = curves_of(records, setups)
    clean = {
        (record.cell.settings["dataset"], setup_of(record.cell)): Point(
            0.0, record.values["top1"], int(record.values["images"]), record
        )
        for record in records
        if record.error is None and of_cell(record.cell) == CLEAN
    }
    random = {(c.dataset, c.norm): of for c, of in found.items() if _settings(c.rest)["name"] == RANDOM}
    shown = {c: of for c, of in found.items() if _settings(c.rest)["name"] != RANDOM or len(found) == len(random)}
    titles = {curve: _title(curve, of) for curve, of in shown.items()}
    names = names_of(titles.values())
    for curve, of in shown.items():
        of = {s: [*([start] if (start := clean.get((curve.dataset, s))) else []), *points] for s, points in of.items()}
        beside = random.get((curve.dataset, curve.norm), {}) if curve.varied == "epsilon" else {}
        beside = beside if _settings(curve.rest)["name"] != RANDOM else {}
        name = f"robustness_{suite.name}_{names[titles[curve]]}"
        title = f"Top-1 under {titles[curve]}, {suite.title}, %"
        yield _table(name, title, curve, of, beside), _drawing(name, title, curve, of, beside)


def _settings(rest: str) -> dict[str, Any]:
    return json.loads(rest)


def _title(curve: Curve, of: Mapping[Setup, Sequence[Point]]) -> str:
    """`PGD x5 by radius`, `PGD 4/255 by steps`: the title of one of its attacks without the field that differs."""
    attacks = [of_cell(point.record.cell) for points in of.values() for point in points]
    attack = next((a for a in attacks if isinstance(a, Attacked) and not a.is_usual), attacks[0])
    assert isinstance(attack, Attacked)
    value = attack.settings[curve.varied]
    word = f" x{value}" if curve.varied == "steps" else f" {_radius(curve, value)}"
    return f"{attack.title.replace(word, '', 1)} by {VARIED[curve.varied]}"


def _radius(curve: Curve, value: float) -> str:
    return spelling.number(value, of_255=curve.norm == "linf")


def _heading(curve: Curve, at: float) -> str:
    if at == 0:
        return "clean"
    return _radius(curve, at) if curve.varied == "epsilon" else f"x{at:.0f}"


def _table(
    name: str,
    title: str,
    curve: Curve,
    of: Mapping[Setup, Sequence[Point]],
    beside: Mapping[Setup, Sequence[Point]],
) -> Table:
    """A row for each model, a column for each point."""
    places = sorted({point.at for points in of.values() for point in points})
    heads = {at: _heading(curve, at) for at in places}
    names = names_of(heads.values())
    keys = {at: f"top1_at_{names[head]}_percent" for at, head in heads.items()}
    rows: list[Row] = []
    for points_of, suffix in ((of, ""), ({s: p for s, p in beside.items() if s in of}, ", random direction")):
        for setup, points in points_of.items():
            row: dict[str, Any] = {"model": f"{setup.label}{suffix}", RECORDS: {}}
            for point in points:
                if key := keys.get(point.at):
                    row |= {key: 100 * point.top1, f"{key}_low": 100 * point.interval.low}
                    row |= {f"{key}_high": 100 * point.interval.high, f"{key}_images": point.images}
                    row[RECORDS][key] = (point.record.cell.sha256,)
            rows.append(row)
    columns = [Column("model", "Model"), *(_column(keys[at], heads[at]) for at in places)]
    return Table(name, title, columns, rows, [intervals.NOTE, *_rises(curve, of)])


def _column(key: str, title: str) -> Column:
    ends = (f"{key}_low", f"{key}_high")

    def shown(row: Row) -> str | None:
        value = row.get(key)
        return None if value is None else intervals.with_interval(value, metrics.Interval(row[ends[0]], row[ends[1]]))

    return Column(key, title, show=shown, fields=(key, *ends, f"{key}_images"), align="right")


def _rises(curve: Curve, of: Mapping[Setup, Sequence[Point]]) -> list[str]:
    """A sentence for each model that a stronger attack seems to help, beyond what the intervals allow."""
    notes = []
    for setup, points in of.items():
        for i, stronger in enumerate(points[1:], 1):
            weaker = min(points[:i], key=lambda point: point.interval.high)
            if stronger.interval.low > weaker.interval.high:
                ends = f"{_heading(curve, weaker.at)} to {_heading(curve, stronger.at)}"
                notes.append(
                    f"{setup.label}: the accuracy rises from {ends} by more than its images explain, which no stronger "
                    "attack can do: attack or gradient are not to be trusted, see gfnet-bench attack-check."
                )
                break
    return notes


def _drawing(
    name: str,
    title: str,
    curve: Curve,
    of: Mapping[Setup, Sequence[Point]],
    beside: Mapping[Setup, Sequence[Point]],
) -> Drawing:
    rows = [
        {
            "model": setup.label,
            "direction": direction,
            _quantity(curve): point.at,
            "top1_percent": 100 * point.top1,
            "top1_percent_low": 100 * point.interval.low,
            "top1_percent_high": 100 * point.interval.high,
            "images": point.images,
        }
        for direction, points_of in (("attack", of), (RANDOM, beside))
        for setup, points in points_of.items()
        for point in points
    ]
    columns = [Column(key, key, digits=None) for key in rows[0]]

    def draw() -> Figure:
        figure = figures.new_figure(figures.COLUMN, 2.3)
        axes = figures.inches(figure, 0.42, 0.4, 1.88, 1.7)
        labels, seen = [], dict[str, int]()
        for setup, points in of.items():
            family = MODELS[setup.model].family if setup.model in MODELS else ""
            dash = ("-", (0, (4, 1.5)), (0, (1.5, 1)), (0, (6, 1, 1, 1)))[seen.get(family, 0) % 4]
            seen[family] = seen.get(family, 0) + 1
            colour, marker = figures.look(family)
            x, low = [_place(curve, of, p.at) for p in points], [100 * p.interval.low for p in points]
            high, y = [100 * p.interval.high for p in points], [100 * p.top1 for p in points]
            axes.plot(x, y, color=colour, marker=marker, linestyle=dash)
            band = axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
            explain(band, "Bands", "95 % intervals over the images")
            if setup in beside:
                those = [p for p in beside[setup] if p.at <= points[-1].at]
                (line,) = axes.plot(
                    [_place(curve, of, p.at) for p in those],
                    [100 * p.top1 for p in those],
                    color=colour,
                    linewidth=0.8,
                    linestyle=(0, (1, 1.5)),
                )
                explain(line, "Dotted, thin", "a random direction of the same length")
            labels.append(Label(x[-1], y[-1], short(setup.label), colour))
        _scale(axes, curve, of)
        name_curves(axes, labels)
        return figure

    return Drawing(name, draw, Table(name, title.removesuffix(", %"), columns, rows))


def _quantity(curve: Curve) -> str:
    return {"epsilon": f"radius_{curve.norm}", "steps": "steps"}[curve.varied]


def _place(curve: Curve, of: Mapping[Setup, Sequence[Point]], at: float) -> float:
    """Where a point is on the axis, which counts doublings; clean images, at 0, stand one before the first."""
    first = min(point.at for points in of.values() for point in points if point.at > 0)
    return math.log2(at / first) if at > 0 else -1.0


def _scale(axes: Axes, curve: Curve, of: Mapping[Setup, Sequence[Point]]) -> None:
    """An axis of doublings whose ticks are the points that were measured."""
    places = sorted({point.at for points in of.values() for point in points})
    linf = curve.varied == "epsilon" and curve.norm == "linf"
    unit = 255.0 if linf else 1.0
    names = ["clean" if at == 0 else f"{at * unit:.3g}" for at in places]
    axes.set_xticks([_place(curve, of, at) for at in places], names)
    what = "steps" if curve.varied == "steps" else "radius, 1/255" if linf else f"radius, {curve.norm.upper()}"
    axes.set(xlabel=what, ylabel="top-1 (%)", ylim=(0, 100))
