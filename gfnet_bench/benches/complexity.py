"""Complexity measured: operations counted, latency and memory on a device. Running out of memory is a result too."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from gfnet_bench.catalog import find_spec
from gfnet_bench.conventions import CONVENTIONS
from gfnet_bench.errors import GfnetBenchError, UsageError, acquit, out_of_memory
from gfnet_bench.evaluation import precision
from gfnet_bench.mixers import MIXERS
from gfnet_bench.models import Asked, Model, check_unchanged, load_model
from gfnet_bench.models.gfnet import ways_taken
from gfnet_bench.models.global_filter import filter_way
from gfnet_bench.models.reparameterized import can_be_fused, fused
from gfnet_bench.models.semantic_fpn import build as semantic_fpn
from gfnet_bench.profiling import devices, latency, memory
from gfnet_bench.profiling.architectures import model_operators
from gfnet_bench.profiling.blocks import block
from gfnet_bench.profiling.flops import count
from gfnet_bench.profiling.formulas import block_operators, table1
from gfnet_bench.profiling.workload import Workload
from gfnet_bench.records import Cell
from gfnet_bench.runner import Outcome
from gfnet_bench.studies.complexity import Size


def sizes(models: Sequence[str], img_sizes: Sequence[tuple[int, int] | None], as_trained: bool = False) -> list[Size]:
    """Every model at every size, tried on the meta device first.

    Args:
        models: names.
        img_sizes: (height, width) in pixels; None is the size of the model's weights.
        as_trained: leave networks that could be fused for inference as they are trained.

    Raises:
        UsageError: if there is no such model, or it cannot take images of a size.
    """
    found: dict[Size, None] = {}
    for name in models:
        for wanted in img_sizes:
            with torch.device("meta"):
                model = _load(name, wanted, "meta")
                form = ("trained" if as_trained else "fused") if can_be_fused(model) else None
                model = fused(model) if form == "fused" else model
            size = (model.transform.height, model.transform.width)
            try:
                with torch.inference_mode():
                    model(torch.empty(1, 3, *size, device="meta"))
            except (RuntimeError, AssertionError, ValueError) as error:
                acquit(error)
                raise UsageError(f"{name}: cannot take images of {size[0]} x {size[1]} pixels: {error}") from error
            factory = find_spec(name).factory
            found[Size(model.name, size, None if factory is None else factory.sha256(), form)] = None
    return list(found)


@dataclass
class Bench:
    """A machine, and how long to spend on a point.

    Attributes:
        device: where to compute.
        budget_s: seconds for each latency, at most; what settled ones leave pays for the fewest repeats of a long one.
        spare_s: what has been left so far.
    """

    device: str = "cpu"
    budget_s: float = 3.0
    spare_s: float = 0.0

    def measure(self, cell: Cell) -> Outcome:
        """Measure one cell.

        Raises:
            GfnetBenchError: with the reason, when it cannot be measured.
        """
        what = cell.settings["measure"]
        if what == "count":
            return _count(cell)
        if what == "table1":
            return _table1(cell)
        return self._on_device(cell, what)

    def _on_device(self, cell: Cell, what: str) -> Outcome:
        """Latency or memory; where it does not fit, that is the outcome."""
        device, way = torch.device(self.device), cell.settings.get("filter_way", "auto")
        provenance: dict[str, Any] = {
            "time_budget_s": self.budget_s,
            "before": devices.device_state(device, clocks=False),
        }
        values: dict[str, Any] = {"out_of_memory": False}
        arrays: dict[str, Any] = {}
        try:
            # As a network is run by default: repeating to the bit is no part of a step's cost.
            usual = precision(cell.settings["dtype"], device, repeatable=False)
            with _selected(device), usual, filter_way(way):
                values["predicted_bytes"] = memory.require(partial(build, cell), device)
                found, arrays = (self._memory if what == "memory" else self._latency)(cell, device)
                values |= found
                ways = ways_taken(build(cell, torch.device("meta")).module, device)
                values |= {"filter_ways": ways} if ways else {}
        except (RuntimeError, MemoryError, GfnetBenchError) as error:
            if not isinstance(error, memory.OutOfMemory) and not out_of_memory(error):
                raise
            reason = str(error) or type(error).__name__
            values = {"out_of_memory": True, "reason": reason.splitlines()[0]}
        if device.type == "cuda":
            torch.cuda.empty_cache()
        provenance["after"] = devices.device_state(
            device, clocks=what == "latency"
        )  # while the clocks are those of the work
        return Outcome(values, arrays, provenance)

    def _latency(self, cell: Cell, device: torch.device) -> tuple[dict[str, Any], dict[str, Any]]:
        step = build(cell, device).step()
        if cell.settings["cuda_graphs"]:
            step = latency.Graph(step, device)
        found = latency.measure(step, device, budget_s=self.budget_s, spare_s=self.spare_s)
        self.spare_s = max(0.0, self.spare_s + self.budget_s - found.spent_s)
        low, high = found.quartiles or (None, None)
        values = {
            "latency_s": found.median,
            "latency_q1_s": low,
            "latency_q3_s": high,
            "spread": found.spread,
            "repeats": len(found.seconds),
            "calls_per_repeat": found.calls,
            "stopped": found.stopped,
            "launch_bound": found.launch_bound,
        }
        return values, {"seconds": np.array(found.seconds), "host_seconds": np.array(found.host_seconds)}

    def _memory(self, cell: Cell, device: torch.device) -> tuple[dict[str, Any], dict[str, Any]]:
        return asdict(memory.peak(partial(build, cell), device)), {}


def build(cell: Cell, device: torch.device) -> Workload:
    """The step a cell is about, on `device`, with fresh weights: cost does not depend on them."""
    s = cell.settings
    backward = s["mode"] == "forward_backward"
    with torch.device(device):
        if s["subject"] == "block":
            module = block(cell.model, math.isqrt(s["tokens"]), s["width"])
            shape = (s["batch"], s["tokens"], s["width"])
        else:
            module, shape = _loaded(cell, device), (s["batch"], 3, *s["img_size"])
    module.eval().requires_grad_(backward)
    takes_gradient = backward and s["subject"] == "block"  # as one in the middle of a network does
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(s["dtype"])
    return Workload(
        module,
        lambda: torch.rand(shape, device=device).requires_grad_(takes_gradient),
        backward,
        half if device.type != "meta" else None,
    )


def _load(name: str, size: tuple[int, int] | None, device: torch.device | str) -> Model:
    return load_model(name, Asked(size), pretrained=False, device=device)


def _loaded(cell: Cell, device: torch.device | str) -> Model:
    """The model of a cell, in the form that it names."""
    model = _load(cell.model, tuple(cell.settings["img_size"]), device)
    check_unchanged(model, cell.settings)
    return fused(model) if cell.settings.get("form") == "fused" else model


def _count(cell: Cell) -> Outcome:
    """One image through one subject, counted and, where a closed form is known, derived."""
    s, rule = cell.settings, CONVENTIONS[cell.settings["convention"]]
    formula: dict[str, int] | None
    with torch.device("meta"):
        if s["subject"] == "block":
            mixer = MIXERS[cell.model].counted_as or cell.model
            module, shape = block(mixer, math.isqrt(s["tokens"]), s["width"]), (1, s["tokens"], s["width"])
            formula = block_operators(mixer, s["tokens"], s["width"], rule.name)
        elif s["subject"] == "semantic_fpn":
            module, shape, formula = semantic_fpn(cell.model, tuple(s["img_size"])), (1, 3, *s["img_size"]), None
        else:
            module, shape = _loaded(cell, "meta"), (1, 3, *s["img_size"])
            formula = model_operators(cell.model, tuple(s["img_size"]), rule.name)
    found = count(module, shape, convention=rule.name)
    values = {
        "macs": found.macs,
        "operators": found.operators,
        "formula_operators": formula,
        "unruled": found.unruled,
        "unit": rule.unit,
        "params": sum(p.numel() for p in module.parameters()),
        "convention": rule.text,
    }
    return Outcome(values)


def _table1(cell: Cell) -> Outcome:
    s = cell.settings
    return Outcome(table1(cell.model, math.isqrt(s["tokens"]), s["width"])._asdict())


def _selected(device: torch.device) -> Any:
    """Make a CUDA device the current one: events and graphs go to that."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
