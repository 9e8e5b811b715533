"""The complexity report: the sweep of every setup, Table 1, Figure 2, and counted beside derived per operator."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from gfnet_bench.errors import MissingError
from gfnet_bench.published import rows as published_rows
from gfnet_bench.records import Record, Store
from gfnet_bench.reports.base import REPORTS, Report
from gfnet_bench.reports.costs import Point, Setup, of_setup, points
from gfnet_bench.reports.figure2 import TITLES, curves, drawings
from gfnet_bench.reports.growth import Growth
from gfnet_bench.reports.tables import RECORDS, Column, Table

MODES = {
    "allocated": "peak of the tensors on the device; reserved: as its caching allocator holds them",
    "process": "growth of the resident memory of a process of its own, to a few MB",
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


@REPORTS.register("complexity")
def complexity(
    records: Store | Iterable[Record],
    *,
    store: Store | None = None,
    suite: str | None = None,
    models: Sequence[str] | None = None,
    published: bool = True,
) -> Report:
    """Multiply-adds, latency and memory against the number of tokens: the paper's Table 1 and Figure 2.

    Args:
        records: what to show; a store shows all it holds.
        store: unused, since a cost is relative to nothing.
        suite: unused, since a cost belongs to no data set.
        models: these models and mixers alone.
        published: the paper's curves in the figure, thin and grey.

    Raises:
        MissingError: if nothing of the kind is measured.
    """
    loaded, problems = records.load() if isinstance(records, Store) else (list(records), [])
    shown = [r for r in loaded if r.cell.study == "complexity" and (models is None or r.cell.model in models)]
    shown = [r for r in shown if r.cell.settings["subject"] != "semantic_fpn"]  # Table 2 has a report of its own
    if not shown:
        where = f" in {records.folder}" if isinstance(records, Store) else ""
        start = "start with: gfnet-bench complexity --tokens 196..4096"
        raise MissingError(f"complexity: expected records{where}, found none; {start}")
    found = points(shown)
    setups = of_setup(found)
    tables = [_sweep(setup, of, problems) for setup, of in setups.items()]
    rows = [point.row() for point in found]
    data = Table("complexity_long", "All of it", [Column(key, key) for key in rows[0]], rows) if rows else None
    operators = _operators(found)
    return Report(
        [*tables, *_table1(shown)],
        data,
        [drawing for of in setups.values() for drawing in drawings(of, published)],
        [operators] if operators.rows else [],
    )


def _sweep(setup: Setup, of: Sequence[Point], problems: Sequence[str]) -> Table:
    """One setup: a row per subject and size."""
    timed = setup.device is not None
    models = setup.subject == "model"
    fits = {m: {c.name: c.fit for c in curves(of, m) if c.fit} for m in ("latency", "memory")}
    reserved = any((p.memory or {}).get("reserved_bytes") is not None for p in of)
    columns = [Column("name", "Model" if models else "Mixer")]
    columns += [Column("size", "Image", "px", align="right")] if models else []
    columns += [Column("tokens", "Tokens", align="right"), Column("macs", "MACs", "G", align="right")]
    if timed:
        columns += [
            Column("latency", "Latency", "ms", align="right"),
            Column("quartiles", "Quartiles", "ms", align="right"),
            Column("spread", "Spread", "%", align="right"),
            Column("memory", "Memory", "MB", align="right"),
            *([Column("reserved", "Reserved", "MB", align="right")] if reserved else []),
        ]
    rows = [_row(point, fits) for point in of]
    title = f"Cost of {setup.title}"
    return Table(f"complexity_{setup.slug}", title, columns, rows, [*_notes(of, rows, fits), *problems])


_MEASURE_OF = {
    "macs": "count",
    "latency": "latency",
    "quartiles": "latency",
    "spread": "latency",
    "memory": "memory",
    "reserved": "memory",
}
"""Column to the measure it shows."""


def _row(point: Point, fits: dict[str, dict[str, Growth]]) -> dict[str, Any]:
    latency = point.latency or {}
    measured = point.status("latency") == "measured"
    shown = {m: _cost(point, m, fits[m].get(point.name)) for m in ("latency", "memory")}
    marks = "†" * bool(latency.get("launch_bound")) + "*" * (latency.get("stopped") == "budget")
    reserved = (point.memory or {}).get("reserved_bytes")
    return {
        "name": point.name,
        "size": None if point.img_size is None else " x ".join(map(str, point.img_size)),
        "tokens": point.tokens,
        "macs": _digits(point.count["macs"] / 1e9, 4) if point.count else point.status("count"),
        "latency": shown["latency"] + marks,
        "quartiles": " to ".join(_digits(quartile * 1e3) for quartile in point.quartiles) if measured else None,
        "spread": 100 * latency["spread"] if measured else None,
        "memory": shown["memory"],
        "reserved": None if reserved is None else _megabytes(reserved, point),
        RECORDS: {key: (point.records[m],) for key, m in _MEASURE_OF.items() if m in point.records},
    }


def _cost(point: Point, measure: str, fit: Growth | None) -> str:
    """The measured figure; where memory ran out the estimate, named as one."""
    scale = {"latency": 1e3, "memory": 1e-6}[measure]
    value, status = point.value(measure), point.status(measure)
    if value is not None:
        return _megabytes(value, point) if measure == "memory" else _digits(value * scale)
    if status == "out of memory" and fit and point.tokens and point.tokens > fit.tokens[-1]:
        return f"no memory ≈{float(f'{fit.at(point.tokens) * scale:.2g}'):,.0f}"
    return {"out of memory": "no memory", "not measured": "-"}.get(status, status)


def _notes(of: Sequence[Point], rows: Sequence[dict[str, Any]], fits: dict[str, dict[str, Growth]]) -> list[str]:
    conventions = {p.count["name"]: p.count["convention"] for p in of if p.count}
    notes = [
        f"MACs: of one image, a multiply-add counts once. FFT convention {name!r}: {text}."
        for name, text in conventions.items()
    ]
    for p in of:
        if p.count and p.count["unruled"]:
            listed = ", ".join(f"{op} ({calls} calls)" for op, calls in p.count["unruled"].items())
            notes.append(f"Not in the MACs of {p.name}, for want of a rule: {listed}.")
    if any(p.latency and not p.latency["out_of_memory"] for p in of):
        repeats = [p.latency["repeats"] for p in of if p.latency and "repeats" in p.latency]
        least, most = min(repeats), max(repeats)
        notes.append(
            f"Latency: median of {least if least == most else f'{least} to {most}'} repeats; "
            f"spread: interquartile range over median."
        )
    modes = dict.fromkeys(p.memory["mode"] for p in of if p.memory and "mode" in p.memory)
    notes += [f"Memory: {MODES[mode]}; weights left out, the input included." for mode in modes]
    if any((v or {}).get("reason", "").startswith("not tried") for p in of for v in (p.latency, p.memory)):
        notes.append(_NOT_TRIED)
    text = " ".join(str(value) for row in rows for key, value in row.items() if key != RECORDS)
    notes += [f"{mark} {meaning}." for mark, meaning in MARKS.items() if mark in text]
    if "≈" in text:
        notes += [
            f"≈ {measure} of {name}: {fit.text}, from {', '.join(map(str, fit.tokens))} tokens."
            for measure, by in fits.items()
            for name, fit in by.items()
            if any(p.name == name and p.status(measure) == "out of memory" for p in of)
        ]
    failures: dict[str, list[str]] = {}
    for p in of:
        for measure, reason in (p.errors or {}).items():
            failures.setdefault(reason, []).append(f"{measure} of {p.name} at {p.row()['img_size'] or p.tokens}")
    return [*dict.fromkeys(notes), *(f"Failed: {', '.join(what)}: {why}" for why, what in failures.items())]


_TABLE1_OURS = ("exact", "formula", "counted", "params_exact", "params_formula", "params_counted")


def _table1(records: Sequence[Record]) -> list[Table]:
    """The paper's formulas, the exact ones, and what is counted."""
    found = {r.cell.model: r for r in records if r.cell.settings["measure"] == "table1" and r.error is None}
    if not found:
        return []
    s = next(iter(found.values())).cell.settings
    side = math.isqrt(s["tokens"])
    rows = []
    for quoted in published_rows("table1_complexity"):
        if record := found.get(quoted["operation"]):
            v = record.values
            rows.append(
                {
                    "operation": TITLES[record.cell.model],
                    "paper": _spaced(quoted["flops_formula"]),
                    "exact": v["complexity"],
                    "formula": f"{v['formula_macs']:,}",
                    "counted": f"{v['counted_macs']:,}",
                    "params_paper": _spaced(quoted["params_formula"]),
                    "params_exact": v["params"],
                    "params_formula": f"{v['formula_params']:,}",
                    "params_counted": f"{v['counted_params']:,}",
                    RECORDS: dict.fromkeys(_TABLE1_OURS, (record.cell.sha256,)),
                }
            )
    columns = [
        Column("operation", "Operation"),
        Column("paper", "Complexity in the paper"),
        Column("exact", "with all constants"),
        Column("formula", "worked out, MACs", align="right"),
        Column("counted", "counted, MACs", align="right"),
        Column("params_paper", "Parameters in the paper"),
        Column("params_exact", "with all constants"),
        Column("params_formula", "worked out", align="right"),
        Column("params_counted", "counted", align="right"),
    ]
    notes = [
        f"H = W = {side}, D = {s['width']}, k = 7; biases are left out. The paper's formulas are quoted from memory of "
        f"arXiv 2107.00645; FFT convention 'table1': one transform is charged, as there."
    ]
    return [Table("complexity_table1", "Table 1: complexity of the operations that mix tokens", columns, rows, notes)]


def _operators(found: Sequence[Point]) -> Table:
    """Counted beside derived, by kind of operator; each subject and size once."""
    rows = []
    seen = set()
    for p in found:
        key = (p.setup.subject, p.name, p.tokens, p.img_size, p.setup.width)
        if p.count is None or key in seen:
            continue
        seen.add(key)
        counted, derived = p.count["operators"], p.count["formula_operators"]
        behind = dict.fromkeys(("counted", "formula", "difference"), (p.records["count"],))
        for kind in dict.fromkeys([*counted, *(derived or {})]):
            there = None if derived is None else derived.get(kind, 0)
            rows.append(
                {
                    "name": p.name,
                    "size": p.row()["img_size"] or p.tokens,
                    "operator": kind,
                    "counted": counted.get(kind, 0),
                    "formula": there,
                    "difference": None if there is None else counted.get(kind, 0) - there,
                    "unit": p.count["unit"],
                    "convention": p.count["name"],
                    RECORDS: behind,
                }
            )
    right = {"counted", "formula", "difference"}
    keys = ("name", "size", "operator", "counted", "formula", "difference", "unit", "convention")
    columns = [Column(key, key, align="right" if key in right else "left") for key in keys]
    return Table("complexity_operators", "Counted beside derived, one image", columns, rows)


def _spaced(formula: str) -> str:
    """A product without its signs."""
    return " ".join(formula.replace("*", " ").split()).replace("H W D", "HWD").replace("H W", "HW")


def _megabytes(value: float, point: Point) -> str:
    """Bytes as MB: three digits, but whole MB where a process was measured, which is good to a few of them."""
    if (point.memory or {}).get("mode") != "process":
        return _digits(value / 1e6)
    return f"{value / 1e6:,.0f}" if value >= 1e6 else "<1"


def _digits(value: float, significant: int = 3) -> str:
    """So many significant digits, without an exponent."""
    if value == 0:
        return "0"
    return f"{value:.{max(0, significant - 1 - math.floor(math.log10(abs(value))))}f}"
