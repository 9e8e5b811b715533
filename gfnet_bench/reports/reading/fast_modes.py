"""What the fast modes of computing change, as the records of their cells noted it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gfnet_bench.records import Record
from gfnet_bench.reports.reading.scores import Setup, setup_of


def fast_mode_notes(records: Iterable[Record], setups: Sequence[Setup]) -> list[str]:
    """A sentence for each row that was not computed in float32: the most that any of its cells changed on a sample."""
    seen: dict[Setup, list[dict[str, float]]] = {}
    for record in records:
        if record.error is None and (found := record.provenance.get("float32_sample")):
            seen.setdefault(setup_of(record.cell), []).append(found)
    notes = []
    for setup in setups:
        if cells := seen.get(setup):
            changed = max(100 * cell["changed"] / cell["images"] for cell in cells)
            points = max((cell["top1_points"] for cell in cells), key=abs)
            images = min(int(cell["images"]) for cell in cells)
            notes.append(
                f"{setup.label}: held against float32 on {images} images of each cell, at most {changed:.1f} % of the "
                f"answers are others, and top-1 moves by {points:+.1f} points at most."
            )
    return notes
