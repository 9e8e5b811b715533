"""Tables of the complexity report: the sweep of every setup, Table 1, and counted beside derived per operator."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from gfnet_bench.published import rows as published_rows
from gfnet_bench.records import Record
from gfnet_bench.reports.complexity.figures import curves, title_of
from gfnet_bench.reports.complexity.growth import Growth
from gfnet_bench.reports.complexity.results import Point, Setup
from gfnet_bench.reports.drawing.tables import RECORDS, Column, Row, Table
from gfnet_bench.schemas.complexity import FEWEST

MODES = {
    "allocated": "peak of the tensors on the device",
    "resident": "growth of the resident memory of a process of its own, whose malloc keeps no large block",
    "process": "growth of the resident memory of a process of its own, with what its malloc keeps (1.2 to 4 times the "
    "tensors of whole networks)",
}

MARKS = {
    "†": "launch-bound: handing out the work took as long as the work, a CUDA graph would be faster",
    "*": "the time budget ended before the repeats had settled",
    "≈": "did not fit into memory; an estimate from a power law through the larger half of the sizes measured",
}


_NOT_TRIED = (
    "No memory, not tried: a step was predicted to need more than was free. That counts as measured: with more memory "
    "free, try again with --overwrite always."
)


_SIZE = ("image_height_px", "image_width_px")


def _size(row: Row) -> str | None:
    sides = [str(row[key]) for key in _SIZE if row.get(key) is not None]
    return " x ".join(sides) or None


def sweep_table(setup: Setup, of: Sequence[Point], problems: Sequence[str]) -> Table:
    """One setup: a row per subject and size."""
    models, unit = setup.subject == "model", _unit(of)
    fits = {m: {c.name: c.fit for c in curves(of, m) if c.fit} for m in ("latency", "memory")}
    rows = [_row(point, fits) for point in of]
    columns = [Column("name", "Model" if models else "Mixer")]
    columns += [Column("size", "Image", "px", align="right", show=_size, fields=_SIZE)] if models else []
    columns += [
        Column("tokens", "Tokens", align="right"),
        Column("macs", unit, "G", align="right", show=partial(_operations, unit), fields=("macs", "macs_status")),
    ]
    if setup.device is not None:
        columns += _TIMED
        columns += [_TENSORS] if any(row["tensors_bytes"] is not None for row in rows) else []
        columns += [_RESERVED] if any(row["reserved_memory_bytes"] is not None for row in rows) else []
    title = f"Cost of {setup.title}"
    return Table(f"complexity_{setup.slug}", title, columns, rows, [*_notes(of, rows, fits), *problems])


_MEASURE_OF = {
    "macs": "count",
    "latency_s": "latency",
    "latency_q1_s": "latency",
    "spread_percent": "latency",
    "peak_memory_bytes": "memory",
    "tensors_bytes": "memory",
    "reserved_memory_bytes": "memory",
}
"""Column to the measure it shows."""


def _row(point: Point, fits: Mapping[str, Mapping[str, Growth]]) -> dict[str, Any]:
    return {
        **point.row(),
        "latency_estimate_s": _estimate(point, "latency", fits),
        "peak_memory_estimate_bytes": _estimate(point, "memory", fits),
        RECORDS: {key: (point.records[m],) for key, m in _MEASURE_OF.items() if m in point.records},
    }


def _estimate(point: Point, measure: str, fits: Mapping[str, Mapping[str, Growth]]) -> float | None:
    """What would have been needed where memory ran out, by the power law of the sizes measured."""
    fit = fits[measure].get(point.name)
    if point.status(measure) != "out of memory" or fit is None or not point.tokens or point.tokens <= fit.tokens[-1]:
        return None
    return float(fit.at(point.tokens))


def _unit(of: Sequence[Point]) -> str:
    """`FLOPs` where every count of a table is of a convention that calls a multiply-add two; else `MACs`."""
    units = {p.count["unit"] for p in of if p.count}
    return "FLOPs" if units == {"FLOPs"} else "MACs"


def _operations(unit: str, row: Row) -> str | None:
    per = 2 if unit == "FLOPs" else 1
    return _or_status(row, "macs_status", None if row["macs"] is None else _digits(per * row["macs"] / 1e9, 4))


def _latency(row: Row) -> str | None:
    marks = "†" * bool(row["launch_bound"]) + "*" * (row["stopped"] == "budget")
    shown = None if row["latency_s"] is None else _digits(row["latency_s"] * 1e3) + marks
    return _or_status(row, "latency_status", shown, row["latency_estimate_s"], 1e3)


def _quartiles(row: Row) -> str | None:
    ends = [row["latency_q1_s"], row["latency_q3_s"]]
    return None if None in ends else " to ".join(_digits(end * 1e3) for end in ends)


def _memory(row: Row) -> str | None:
    return _or_status(
        row, "memory_status", _megabytes(row, "peak_memory_bytes"), row["peak_memory_estimate_bytes"], 1e-6
    )


def _or_status(
    row: Row, status: str, shown: str | None, estimate: float | None = None, scale: float = 1.0
) -> str | None:
    """What was measured; where memory ran out the estimate, named as one; else why there is nothing."""
    if shown is not None or row[status] == "not measured":
        return shown
    if row[status] != "out of memory":
        return row[status]
    return "no memory" if estimate is None else f"no memory ≈{float(f'{estimate * scale:.2g}'):,.0f}"


def _megabytes(row: Row, key: str) -> str | None:
    """Bytes as MB: three digits, but whole MB where a process was measured, which is good to a few of them."""
    value = row[key]
    if value is None:
        return None
    if row["memory_mode"] == "allocated":
        return _digits(value / 1e6)
    return f"{value / 1e6:,.0f}" if value >= 1e6 else "<1"


_TIMED = [
    Column(
        "latency_s", "Latency", "ms", align="right", show=_latency,
        fields=("latency_s", "latency_estimate_s", "latency_status", "launch_bound", "stopped", "repeats"),
    ),
    Column(
        "latency_q1_s", "Quartiles", "ms", align="right", show=_quartiles, fields=("latency_q1_s", "latency_q3_s")
    ),
    Column("spread_percent", "Spread", "%", align="right"),
    Column(
        "peak_memory_bytes", "Memory", "MB", align="right", show=_memory,
        fields=("peak_memory_bytes", "peak_memory_estimate_bytes", "memory_status"),
    ),
]  # fmt: skip
_TENSORS = Column(
    "tensors_bytes", "Tensors", "MB", align="right",
    show=lambda row: None if row["tensors_bytes"] is None else f"{row['tensors_bytes'] / 1e6:,.0f}",
)  # fmt: skip
_RESERVED = Column(
    "reserved_memory_bytes", "Reserved", "MB", align="right", show=lambda row: _megabytes(row, "reserved_memory_bytes")
)


def _notes(of: Sequence[Point], rows: Sequence[Row], fits: Mapping[str, Mapping[str, Growth]]) -> list[str]:
    conventions = {p.count["name"]: p.count["convention"] for p in of if p.count}
    unit = _unit(of)
    per = {"MACs": "once", "FLOPs": "twice"}[unit]
    notes = [
        f"{unit}: of one image, a multiply-add counts {per}. FFT convention {name!r}: {text}."
        for name, text in conventions.items()
    ]
    for p in of:
        if p.count and p.count["unruled"]:
            listed = ", ".join(f"{op} ({calls} calls)" for op, calls in p.count["unruled"].items())
            notes.append(f"Not in the {unit} of {p.name}, for want of a rule: {listed}.")
    repeats = [row["repeats"] for row in rows if row["latency_s"] is not None and row["repeats"]]
    if repeats:
        notes.append(_of_repeats(min(repeats), max(repeats)))
    modes = dict.fromkeys(row["memory_mode"] for row in rows if row["memory_mode"])
    notes += [f"Memory: {MODES[mode]}; weights left out, the input included." for mode in modes]
    if any(row["tensors_bytes"] is not None for row in rows):
        notes.append("Tensors: predicted from shapes alone, what is alive at once in torch's own operators.")
    if any(row["reserved_memory_bytes"] is not None for row in rows):
        notes.append("Reserved: as the caching allocator of the device holds them.")
    if any((v or {}).get("reason", "").startswith("not tried") for p in of for v in (p.latency, p.memory)):
        notes.append(_NOT_TRIED)
    estimates = {"latency": "latency_estimate_s", "memory": "peak_memory_estimate_bytes"}
    marked = {
        "†": any(row["launch_bound"] for row in rows),
        "*": any(row["stopped"] == "budget" for row in rows),
        "≈": any(row[key] is not None for row in rows for key in estimates.values()),
    }
    notes += [f"{mark} {meaning}." for mark, meaning in MARKS.items() if marked[mark]]
    for measure, key in estimates.items():
        for name in dict.fromkeys(row["name"] for row in rows if row[key] is not None):
            fit = fits[measure][name]
            notes.append(f"≈ {measure} of {name}: {fit.text}, from {', '.join(map(str, fit.tokens))} tokens.")
    failures: dict[str, list[str]] = {}
    for p in of:
        for measure, reason in (p.errors or {}).items():
            failures.setdefault(reason, []).append(f"{measure} of {p.name} at {p.size}")
    return [*dict.fromkeys(notes), *(f"Failed: {', '.join(what)}: {why}" for why, what in failures.items())]


def _of_repeats(least: int, most: int) -> str:
    if most < FEWEST:
        return f"Latency: of fewer than {FEWEST} repeats, which have no spread; a longer --time-budget allows more."
    spread = "spread: interquartile range over median"
    count = f"{least if least == most else f'{least} to {most}'} repeats"
    return f"Latency: median of {count}; {spread}{f'; fewer than {FEWEST} have none' if least < FEWEST else ''}."


def table1(records: Sequence[Record]) -> list[Table]:
    """The paper's formulas, the exact ones, and what is counted."""
    found = {r.cell.model: r for r in records if r.cell.settings["measure"] == "table1" and r.error is None}
    if not found:
        return []
    s = next(iter(found.values())).cell.settings
    side = math.isqrt(s["tokens"])
    numbers = ("formula_macs", "counted_macs", "formula_params", "counted_params")
    rows = []
    published = {quoted["operation"]: quoted for quoted in published_rows("table1_complexity")}
    for mixer in (*published, *sorted(set(found) - set(published))):
        if record := found.get(mixer):
            quoted = published.get(mixer)
            rows.append(
                {
                    "operation": title_of(mixer),
                    "complexity_published": quoted and _spaced(quoted["flops_formula"]),
                    "complexity": record.values["complexity"],
                    "params_formula_published": quoted and _spaced(quoted["params_formula"]),
                    "params_formula": record.values["params"],
                    **{key: record.values[key] for key in numbers},
                    RECORDS: dict.fromkeys(("complexity", "params_formula", *numbers), (record.cell.sha256,)),
                }
            )
    columns = [
        Column("operation", "Operation"),
        Column("complexity_published", "Complexity in the paper"),
        Column("complexity", "with all constants"),
        _thousands("formula_macs", "worked out, MACs"),
        _thousands("counted_macs", "counted, MACs"),
        Column("params_formula_published", "Parameters in the paper"),
        Column("params_formula", "with all constants"),
        _thousands("formula_params", "worked out"),
        _thousands("counted_params", "counted"),
    ]
    notes = [
        f"H = W = {side}, D = {s['width']}, k = 7; biases are left out. The paper's formulas are quoted from memory of "
        f"arXiv 2107.00645; FFT convention 'table1': one transform is charged, as there."
    ]
    return [Table("complexity_table1", "Table 1: complexity of the operations that mix tokens", columns, rows, notes)]


def _thousands(key: str, title: str) -> Column:
    return Column(key, title, align="right", show=lambda row: f"{row[key]:,}")


def operators_table(found: Sequence[Point]) -> Table:
    """Counted beside derived, by kind of operator; each subject and size once."""
    rows: list[Row] = []
    seen = set()
    for p in found:
        key = (p.setup.subject, p.name, p.tokens, p.img_size, p.setup.width)
        if p.count is None or key in seen:
            continue
        seen.add(key)
        size = {name: p.row()[name] for name in ("tokens", *_SIZE)}
        behind = dict.fromkeys(("counted_macs", "formula_macs", "difference_macs"), (p.records["count"],))
        counted, derived = (_in_macs(p.count, kind) for kind in ("operators", "formula_operators"))
        for kind in dict.fromkeys([*counted, *derived]):
            here, there = counted.get(kind, 0), derived.get(kind, 0) if derived else None
            rows.append(
                {
                    "name": p.name,
                    **size,
                    "operator": kind,
                    "counted_macs": here,
                    "formula_macs": there,
                    "difference_macs": None if there is None else here - there,
                    "convention": p.count["name"],
                    RECORDS: behind,
                }
            )
    columns = [
        Column("name", "Name"),
        Column("tokens", "Tokens", align="right"),
        Column("size", "Image", "px", align="right", show=_size, fields=_SIZE),
        Column("operator", "Operator"),
        Column("counted_macs", "Counted", "MACs", align="right"),
        Column("formula_macs", "Derived", "MACs", align="right"),
        Column("difference_macs", "Difference", "MACs", align="right"),
        Column("convention", "Convention"),
    ]
    return Table("complexity_operators", "Counted beside derived, one image", columns, rows)


def _in_macs(count: Mapping[str, Any], kind: str) -> dict[str, float]:
    """Operators of one count; some conventions call a multiply-add two FLOPs."""
    per = 1 if count["unit"] == "MACs" else 2
    return {operator: value if per == 1 else value / per for operator, value in (count[kind] or {}).items()}


def _spaced(formula: str) -> str:
    """A product without its signs."""
    return " ".join(formula.replace("*", " ").split()).replace("H W D", "HWD").replace("H W", "HW")


def _digits(value: float, significant: int = 3) -> str:
    """So many significant digits, without an exponent."""
    if value == 0:
        return "0"
    return f"{value:.{max(0, significant - 1 - math.floor(math.log10(abs(value))))}f}"
