"""What was measured, in a few words, whatever the study."""

from __future__ import annotations

from typing import Any

from gfnet_bench.perturbations import Corrupted, Perturbation, of_cell
from gfnet_bench.records import Record


def describe(record: Record, *, severity: bool = True) -> str:
    """What was measured, in a few words: measure, data set, perturbation, size."""
    s = record.cell.settings
    done = done_of(record)
    words = done and done.spelling
    if isinstance(done, Corrupted) and not severity:
        words = f"{done.name} {done.recipe or ''}".strip()
    parts = [s.get("measure"), s.get("dataset"), words, s.get("kind"), s.get("cutoff"), s.get("img_size")]
    parts += [f"layer {s['layer']}" if s.get("layer") is not None else None]
    parts += [f"{s['tokens']} tokens" if s.get("tokens") else None]
    return " ".join(_word(part) for part in parts if part is not None)


def done_of(record: Record) -> Perturbation | None:
    """What was done to the images; None where nothing says."""
    return of_cell(record.cell) if isinstance(record.cell.settings.get("perturbation"), dict) else None


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "x".join(map(_word, value)) if isinstance(value, list) else str(value)
