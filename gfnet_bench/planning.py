"""Which cells of a command still want measuring, held against what is on disk and what there is to measure now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from gfnet_bench.bars import tqdm
from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.inputs import NOTED, Inputs, differing, plugins_of, same
from gfnet_bench.records import Cell, Record
from gfnet_bench.runs import fingerprint
from gfnet_bench.store import Store


class Plan(NamedTuple):
    """The cells of a command, split by what is already on disk.

    Attributes:
        done: records that hold.
        before: cells without one, each with the record that it had when that was decided, which does not hold.
        notes: sentences about records whose images, weights or plug-ins changed, or may have.
    """

    done: list[Record]
    before: dict[Cell, Record | None]
    notes: list[str]

    @property
    def to_do(self) -> list[Cell]:
        """The cells without a record that holds."""
        return list(self.before)


def plan(
    cells: Iterable[Cell],
    store: Store,
    overwrite: str | Mapping[str, str] = "failed",
    inputs: Callable[[Record], Inputs] | None = None,
    *,
    progress: bool = False,
) -> Plan:
    """Decide which cells still want measuring.

    Args:
        cells: what the command asks for; the order is kept.
        store: the records on disk.
        overwrite: `never` keeps failures too, `failed` measures those again, `always` measures everything again;
            of a run, the records that are to be measured again and no others (`Run.again`).
        inputs: what a record's cell would be measured on now, where it rests on images or weights: a record that was
            measured on others is measured again, as is one whose plug-ins were other code. What cannot be told is kept,
            with a note.
        progress: a bar on stderr, where that takes long.

    Raises:
        GfnetBenchError: if records were measured on other images, weights or plug-ins and none may be measured again.
    """
    done: list[Record] = []
    before: dict[Cell, Record | None] = {}
    found = _Compared(inputs)
    for cell in tqdm(cells, "comparing with what is there", unit="cell", delay=2, leave=False, disable=not progress):
        record = store.find(cell)
        again = record is None or overwrite == "always" or (overwrite == "failed" and record.error is not None)
        if record is not None and isinstance(overwrite, Mapping):
            again = overwrite.get(cell.sha256) == fingerprint(record)
        if record is None or again or (record.error is None and not found.holds(record)):
            before[cell] = record
        else:
            done.append(record)
    if overwrite == "never" and found.changed:
        raise GfnetBenchError(
            f"{_named(found.changed)}: measured on other images, weights or code than there are now, and --overwrite "
            "never keeps them; name another --output-dir, or measure them again with --overwrite failed"
        )
    return Plan(done, before, found.notes())


class _Compared:
    """Records held against what is there now."""

    def __init__(self, inputs: Callable[[Record], Inputs] | None) -> None:
        self._inputs = inputs
        self.changed: list[Record] = []
        self._notes: dict[str, list[Record]] = {}

    def holds(self, record: Record) -> bool:
        """Whether nothing is known to have changed."""
        now = Inputs({}, {}) if self._inputs is None else self._inputs(record)
        now = now._replace(noted={**now.noted, **plugins_of(record.cell)})
        if changed := differing(record.provenance, now.noted):
            self.changed.append(record)
            self._note(f"measured again, on other {' and '.join(changed)}", record)
            return False
        for kind, names in NOTED.items():
            there = any(now.noted.get(name) is not None for name in names)
            if kind in now.unknown or (there and same(kind, record.provenance, now.noted) is None):
                reason = now.unknown.get(kind, "it was not noted when it was measured")
                self._note(f"kept, though whether other {kind} are there now cannot be told ({reason})", record)
        return True

    def _note(self, text: str, record: Record) -> None:
        self._notes.setdefault(text, []).append(record)

    def notes(self) -> list[str]:
        """A sentence for each thing to say."""
        return [f"{_named(records)}: {text}" for text, records in self._notes.items()]


def _named(records: Sequence[Record]) -> str:
    """How many, and the first of them."""
    more = f" and {len(records) - 1} more" if len(records) > 1 else ""
    return f"{records[0].cell}{more}"
