"""Records of the complexity study to one row per point: multiply-adds, latency and memory side by side."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from gfnet_bench.mixers import MIXERS
from gfnet_bench.records import Record, canonical_json
from gfnet_bench.reports.reading.labels import labelled
from gfnet_bench.reports.reading.scores import Setup as Row
from gfnet_bench.schemas.complexity import FEWEST

CONVENTIONS = ("table1", "authors", "standard", "none")
"""Which count is shown where there are several: the paper's before others."""


@dataclass(frozen=True)
class Setup:
    """What the figures of one table have in common.

    Attributes:
        subject: `block` or `model`.
        width: features of a block; None for models.
        device: name of what computed; None where operations were counted and nothing was timed.
        threads: of a CPU.
        batch: images at a time.
        dtype: precision.
        mode: `forward` or `forward_backward`.
        cuda_graphs: whether latencies are those of replayed CUDA graphs.
        filter_way: how every global filter of ours was computed; None where each grid had the way that suits it.
    """

    subject: str
    width: int | None = None
    device: str | None = None
    threads: int | None = None
    batch: int | None = None
    dtype: str | None = None
    mode: str | None = None
    cuda_graphs: bool = False
    filter_way: str | None = None

    @property
    def title(self) -> str:
        """For people."""
        what = f"one block of width {self.width}" if self.subject == "block" else "whole models"
        if self.device is None:
            return what
        threads = f", {self.threads} thread{'s' * (self.threads != 1)}" if self.threads else ""
        mode = "forward and backward" if self.mode == "forward_backward" else "forward"
        graphs = ", CUDA graphs" if self.cuda_graphs else ""
        way = f", filters by {self.filter_way}" if self.filter_way else ""
        return f"{what}: {self.device}{threads}, batch {self.batch}, {self.dtype}, {mode}{graphs}{way}"

    @property
    def slug(self) -> str:
        """For file names: what is not as in the paper's figure."""
        usual = Setup(self.subject, 384, dtype="float32", mode="forward")
        parts = [self.subject, self.width and f"width{self.width}" if self.width != usual.width else None, self.device]
        parts += [self.threads and f"{self.threads}threads", self.batch and f"batch{self.batch}"]
        parts += [value for value in (self.dtype, self.mode) if value not in (usual.dtype, usual.mode)]
        parts += ["graphs" if self.cuda_graphs else None, self.filter_way]
        words = "_".join(str(part) for part in parts if part).lower()
        return "".join(c if c.isalnum() else "_" for c in words)


@dataclass(frozen=True)
class Point:
    """One subject at one size: what is known about its cost. Units are SI.

    Attributes:
        setup: the table it stands in.
        name: mixer or model.
        tokens: n; None for images that are no whole number of 16 px tokens.
        img_size: (height, width) in pixels, of a model.
        count: values of the record that counted it, with the name of the convention; None if there is none.
        latency: values of that record.
        memory: values of that record.
        errors: measure -> why it failed.
        records: measure -> identity of the record it comes from, failed ones included.
    """

    setup: Setup
    name: str
    tokens: int | None
    img_size: tuple[int, int] | None
    count: Mapping[str, Any] | None = None
    latency: Mapping[str, Any] | None = None
    memory: Mapping[str, Any] | None = None
    errors: Mapping[str, str] | None = None
    records: Mapping[str, str] = field(default_factory=dict)

    def status(self, measure: str) -> str:
        """`measured`, `out of memory`, `failed` or `not measured`."""
        if measure in (self.errors or {}):
            return "failed"
        values = getattr(self, measure)
        if values is None:
            return "not measured"
        return "out of memory" if values.get("out_of_memory") else "measured"

    def value(self, measure: str) -> float | None:
        """Multiply-adds of one image, seconds or bytes; None where it was not measured."""
        if self.status(measure) != "measured":
            return None
        return getattr(self, measure)[{"count": "macs", "latency": "latency_s", "memory": "peak_bytes"}[measure]]

    @property
    def launch_bound(self) -> bool:
        """Whether its latency is that of handing out work."""
        return bool((self.latency or {}).get("launch_bound"))

    @property
    def quartiles(self) -> tuple[float, float] | None:
        """Of a latency, seconds; None of so few repeats that they have no spread."""
        if self.status("latency") != "measured" or (self.latency or {}).get("repeats", 0) < FEWEST:
            return None
        return self.latency["latency_q1_s"], self.latency["latency_q3_s"]  # type: ignore[index]

    def row(self) -> dict[str, Any]:
        """For programs: a flat row, None where nothing is known."""
        latency, memory, count = self.latency or {}, self.memory or {}, self.count or {}
        reasons = [f"{measure}: {text}" for measure, text in (self.errors or {}).items()]
        reasons += [f"{m}: {v['reason']}" for m, v in (("memory", memory), ("latency", latency)) if v.get("reason")]
        height, wide = self.img_size or (None, None)
        low, high = self.quartiles or (None, None)
        spread = latency.get("spread") if self.quartiles else None
        return {
            "subject": self.setup.subject,
            "name": self.name,
            "tokens": self.tokens,
            "image_height_px": height,
            "image_width_px": wide,
            "width": self.setup.width,
            "macs_status": self.status("count"),
            "macs": count.get("macs"),
            "params": count.get("params"),
            "convention": count.get("name"),
            "uncounted": " ".join(count.get("unruled", {})) or None,
            **{key: getattr(self.setup, key) for key in ("device", "threads", "batch", "dtype", "mode")},
            "cuda_graphs": self.setup.cuda_graphs if self.setup.device else None,
            "filter_way": self.setup.filter_way,
            "latency_status": self.status("latency"),
            "latency_s": latency.get("latency_s"),
            "latency_q1_s": low,
            "latency_q3_s": high,
            "spread_percent": None if spread is None else 100 * spread,
            "repeats": latency.get("repeats"),
            "stopped": latency.get("stopped"),
            "launch_bound": latency.get("launch_bound"),
            "memory_status": self.status("memory"),
            "peak_memory_bytes": memory.get("peak_bytes"),
            "tensors_bytes": memory.get("predicted_bytes"),
            "reserved_memory_bytes": memory.get("reserved_bytes"),
            "weights_bytes": memory.get("weights_bytes"),
            "memory_mode": memory.get("mode"),
            "reason": "; ".join(dict.fromkeys(reasons)) or None,
        }

    @property
    def size(self) -> str:
        """Of its image in pixels, `224 x 224`, or of a block its tokens; for people."""
        return " x ".join(map(str, self.img_size)) if self.img_size else str(self.tokens)


class _Subject(NamedTuple):
    kind: str
    width: int | None
    name: str
    tokens: int | None
    img_size: tuple[int, int] | None


def points(records: Iterable[Record]) -> list[Point]:
    """One point for each subject, size and way of measuring, tables together, small sizes first.

    What was counted stands in every table of blocks of its width, or of models, whatever sizes were timed there, and
    in one of its own where nothing was timed.
    """
    counts: dict[_Subject, list[Record]] = {}
    timed: dict[tuple[_Subject, Setup], dict[str, Record]] = {}
    shared: dict[tuple[_Subject, Setup], Record] = {}  # memory knows no CUDA graphs
    records = list(records)
    rows = labelled(records, _network)
    for record in records:
        s, subject = record.cell.settings, _subject(record, rows[_network(record)].label)
        if s["measure"] == "count":
            counts.setdefault(subject, []).append(record)
        elif s["measure"] == "memory":
            shared[subject, _setup(record)] = record
        elif s["measure"] == "latency":
            timed.setdefault((subject, _setup(record)), {})["latency"] = record
    for (subject, setup), record in shared.items():
        both = [key for key in ((subject, setup), (subject, replace(setup, cuda_graphs=True))) if key in timed]
        for key in both or [(subject, setup)]:
            timed.setdefault(key, {})["memory"] = record
    setups = {setup for _, setup in timed}
    for subject in counts:
        own = [setup for setup in setups if (setup.subject, setup.width) == (subject.kind, subject.width)]
        for setup in own or [Setup(subject.kind, subject.width)]:
            timed.setdefault((subject, setup), {})
    found = [_point(subject, setup, counts.get(subject, []), by) for (subject, setup), by in timed.items()]
    return sorted(found, key=_order)


def of_setup(found: Sequence[Point]) -> dict[Setup, list[Point]]:
    """The points of each table."""
    tables: dict[Setup, list[Point]] = {}
    for point in found:
        tables.setdefault(point.setup, []).append(point)
    return tables


def _point(subject: _Subject, setup: Setup, counts: Sequence[Record], by: Mapping[str, Record]) -> Point:
    counted = [r for r in counts if r.error is None]
    counted.sort(key=lambda r: CONVENTIONS.index(r.cell.settings["convention"]))
    everything = {**({"count": (counted or counts)[0]} if counts else {}), **by}
    errors = {measure: r.error.splitlines()[0] for measure, r in everything.items() if r.error}
    values = {measure: r.values for measure, r in by.items() if r.error is None}
    count = {**counted[0].values, "name": counted[0].cell.settings["convention"]} if counted else None
    behind = {measure: r.cell.sha256 for measure, r in everything.items()}
    return Point(setup, subject.name, subject.tokens, subject.img_size, count, errors=errors, records=behind, **values)


def _network(record: Record) -> Row:
    code = record.cell.settings.get("code")
    return Row(record.cell.model, canonical_json({} if code is None else {"code": code}))


def _subject(record: Record, name: str) -> _Subject:
    s = record.cell.settings
    size = s.get("img_size")
    name += f" ({s['form']})" if "form" in s else ""
    return _Subject(s["subject"], s.get("width"), name, s["tokens"], None if size is None else tuple(size))


def _setup(record: Record) -> Setup:
    s = record.cell.settings
    device = s["device"]
    return Setup(
        s["subject"],
        s.get("width"),
        device["name"],
        device.get("threads"),
        s["batch"],
        s["dtype"],
        s["mode"],
        s.get("cuda_graphs", False),
        s.get("filter_way"),
    )


def _order(point: Point) -> tuple[Any, ...]:
    s = point.setup
    place = MIXERS[point.name].place if point.name in MIXERS else sys.maxsize
    table = (s.subject, s.width or 0, s.device or "", s.threads or 0, s.batch or 0, s.dtype or "", s.mode or "")
    return (
        *table,
        s.cuda_graphs,
        s.filter_way or "",
        place,
        point.name,
        math.prod(point.img_size or (0,)),
        point.tokens or 0,
    )
