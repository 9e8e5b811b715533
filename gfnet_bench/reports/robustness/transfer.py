"""Images made for one network and shown to another: how much of an attack carries over, as a table and a heat map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gfnet_bench import metrics
from gfnet_bench.perturbations import CLEAN, Attacked, Perturbation, attacked, of_cell
from gfnet_bench.records import Record
from gfnet_bench.reports.drawing import figures, intervals
from gfnet_bench.reports.drawing.figures import Drawing, explain, short
from gfnet_bench.reports.drawing.tables import RECORDS, Column, Row, Table, names_of
from gfnet_bench.reports.reading.scores import Setup, setup_of
from gfnet_bench.suites import Suite

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "transfer"


class Family(NamedTuple):
    """Cells that one matrix is made of.

    Attributes:
        dataset: whose images.
        by: the attack that makes them.
        epsilon: its radius.
    """

    dataset: str
    by: str
    epsilon: float

    @property
    def white_box(self) -> Attacked:
        """The same attack on the network that is measured."""
        (found,) = attacked(f"{self.by}:epsilon={self.epsilon!r}")
        assert isinstance(found, Attacked)
        return found


Matrix = Mapping[str, Mapping[Setup, Record]]
"""Which network images were made for -> which saw them -> its record."""


def transferred(records: Sequence[Record]) -> set[Perturbation]:
    """The attacks of these records whose images were made for another network."""
    return {done for record in records if (done := of_cell(record.cell)).name == NAME}


def transfers(suite: Suite, records: Sequence[Record], setups: Sequence[Setup]) -> Iterator[tuple[Table, Drawing]]:
    """A table and a heat map of each attack that was carried over, with the attack itself on the diagonal."""
    measured = [record for record in records if record.error is None and setup_of(record.cell) in setups]
    found: dict[Family, dict[str, dict[Setup, Record]]] = {}
    for record in measured:
        if (done := of_cell(record.cell)).name == NAME:
            s = done.settings
            family = Family(record.cell.settings["dataset"], s["by"], s["epsilon"])
            found.setdefault(family, {}).setdefault(s["source"], {})[setup_of(record.cell)] = record
    titles = {family: f"{family.white_box.title} of another network" for family in found}
    names = names_of(titles.values())
    for family, matrix in found.items():
        of_set = [record for record in measured if record.cell.settings["dataset"] == family.dataset]
        own = {setup_of(r.cell): r for r in of_set if of_cell(r.cell) == family.white_box}
        clean = {setup_of(r.cell): r for r in of_set if of_cell(r.cell) == CLEAN}
        for setup, record in own.items():
            if setup.model in matrix:
                matrix[setup.model].setdefault(setup, record)
        seen = [setup for setup in setups if any(setup in row for row in matrix.values())]
        places = {setup.model: i for i, setup in reversed(list(enumerate(seen)))}
        matrix = {m: matrix[m] for m in sorted(matrix, key=lambda m: places.get(m, len(places)))}  # a diagonal
        whole = {**({"clean": clean} if clean else {}), **matrix}
        name = f"robustness_{suite.name}_{names[titles[family]].removesuffix('_of_another_network')}_transfer"
        title = f"Top-1 under {titles[family]}, {suite.title}, %"
        yield _table(name, title, whole, seen), _drawing(name, title, matrix, seen)


def _table(name: str, title: str, matrix: Matrix, seen: Sequence[Setup]) -> Table:
    labels = names_of(setup.label for setup in seen)
    rows: list[Row] = []
    for source, of in matrix.items():
        row: dict[str, Any] = {"source": source, RECORDS: {}}
        for setup in (setup for setup in seen if setup in of):
            key, record = f"{labels[setup.label]}_top1_percent", of[setup]
            low, high = _interval(record)
            row |= {key: 100 * record.values["top1"], f"{key}_low": 100 * low, f"{key}_high": 100 * high}
            row[RECORDS][key] = (record.cell.sha256,)
        rows.append(row)
    columns = [Column("source", "Made for"), *(_column(f"{labels[s.label]}_top1_percent", s.label) for s in seen)]
    note = "A column is the network that is measured. Where it is the one that images are made for, that is the attack."
    return Table(name, title, columns, rows, [intervals.NOTE, note])


def _column(key: str, title: str) -> Column:
    def shown(row: Row) -> str | None:
        value = row.get(key)
        ends = metrics.Interval(row.get(f"{key}_low"), row.get(f"{key}_high"))  # type: ignore[arg-type]
        return None if value is None else intervals.with_interval(value, ends)

    return Column(key, title, show=shown, fields=(key, f"{key}_low", f"{key}_high"), align="right")


def _interval(record: Record) -> metrics.Interval:
    images = int(record.values["images"])
    return metrics.wilson_interval(round(record.values["top1"] * images), images)


def _drawing(name: str, title: str, matrix: Matrix, seen: Sequence[Setup]) -> Drawing:
    rows = [
        {"source": source, "model": setup.label, "top1_percent": 100 * of[setup].values["top1"]}
        for source, of in matrix.items()
        for setup in seen
        if setup in of
    ]

    def draw() -> Figure:
        side, left = 0.42, 1.0
        wide, high = side * len(seen), side * len(matrix)
        figure = figures.new_figure(max(figures.COLUMN, left + wide + 0.9), high + 1.15)
        axes = figures.inches(figure, left, 0.95, wide, high)
        cells = [[100 * of[s].values["top1"] if s in of else float("nan") for s in seen] for of in matrix.values()]
        image = axes.imshow(cells, cmap="viridis", vmin=0, vmax=100, aspect="auto")
        for y, (source, of) in enumerate(matrix.items()):
            for x, setup in enumerate(seen):
                if setup in of:
                    value = 100 * of[setup].values["top1"]
                    words = axes.text(x, y, f"{value:.0f}", ha="center", va="center")
                    words.set(color="black" if value > 60 else "white", fontsize=figures.FONT)
                    if setup.model == source:
                        words.set_fontweight("bold")
                        explain(words, "Bold", "the network that the images are made for")
        axes.set_xticks(range(len(seen)), [short(s.label, 60) for s in seen], rotation=40, ha="right")
        axes.set_yticks(range(len(matrix)), [short(source, 60) for source in matrix])
        axes.set(ylabel="made for", xlabel="shown to")
        axes.grid(False)
        bar = figures.inches(figure, left + wide + 0.15, 0.95, 0.08, high)
        figure.colorbar(image, cax=bar, label="top-1 (%)")
        return figure

    columns = [Column(key, key, digits=None) for key in ("source", "model", "top1_percent")]
    return Drawing(name, draw, Table(name, title.removesuffix(", %"), columns, rows))
