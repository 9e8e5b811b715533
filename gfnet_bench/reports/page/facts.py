"""What the numbers of a page rest on, in a few lines: when, on what, by whom, how many images, which code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from gfnet_bench.datasets import DATASETS
from gfnet_bench.records import Record
from gfnet_bench.reports.bibliography import commits

_SETS = 6
"""So many data sets are named."""

UNKNOWN = "not noted"


def facts(records: Sequence[Record]) -> dict[str, str]:
    """Names and what they are, in the order of the page."""
    found = {
        "Measured": _dates(records),
        "On": ", ".join(sorted({device for r in records if (device := device_of(r))})) or UNKNOWN,
        "By": _people(records),
        "Images": _images(records),
        "Code": _code(records),
    }
    return {name: text for name, text in found.items() if text}


def device_of(record: Record) -> str | None:
    """What computed: a cost has it among its settings, with more about it."""
    device = record.provenance.get("device") or record.cell.settings.get("device")
    return device.get("name") if isinstance(device, dict) else device


def _dates(records: Iterable[Record]) -> str:
    days = sorted({str(r.provenance["started"])[:10] for r in records if r.provenance.get("started")})
    return " to ".join(dict.fromkeys((days[0], days[-1]))) if days else UNKNOWN


def _people(records: Iterable[Record]) -> str:
    """Who said so themselves: nothing is read from the machine."""
    counts = Counter(str(r.provenance.get("measured_by") or UNKNOWN) for r in records)
    if set(counts) <= {UNKNOWN}:
        return f"{UNKNOWN} (GFNET_BENCH_MEASURED_BY=NAME notes it)"
    names = sorted(counts, key=lambda name: (name == UNKNOWN, -counts[name], name))
    return names[0] if len(names) == 1 else ", ".join(f"{name} ({counts[name]})" for name in names)


def _images(records: Iterable[Record]) -> str:
    """Of each data set the most that a record saw, and of how many; how many records saw a sample."""
    most: dict[str, int] = {}
    sampled = Counter[str]()
    for r in records:
        name, images = r.cell.settings.get("dataset"), r.values.get("images")
        if isinstance(name, str) and isinstance(images, int):
            most[name] = max(images + int(r.values.get("excluded") or 0), most.get(name, 0))
            sampled[name] += r.cell.settings.get("limit") is not None
    told = [f"{name} {_of(name, images)}" for name, images in sorted(most.items())[:_SETS]]
    told += [f"{len(most) - _SETS} more sets"] if len(most) > _SETS else []
    few = f"; {sampled.total():,} records are of samples" if sampled.total() else ""
    return ", ".join(told) + few


def _of(name: str, images: int) -> str:
    whole = DATASETS[name].images if name in DATASETS else None
    return f"{images:,} of {whole:,}" if whole else f"{images:,}"


def _code(records: Sequence[Record]) -> str:
    """The commits with the number of their records, and the share that no commit tells exactly."""
    if not records:
        return ""
    named = commits(records)
    changed = sum(bool(r.provenance.get("dirty")) for r in records)
    unknown = sum(not r.provenance.get("commit") for r in records)
    told = [f"{count} at {f'commit {name}' if name else 'a commit nobody noted'}" for name, count in named.items()]
    share = f"{100 * changed / len(records):.3g} % of the records from a changed tree"
    share += f", {100 * unknown / len(records):.3g} % from a commit nobody noted" if unknown else ""
    return f"{share} ({', '.join(told)})"
