"""What should a GPU take for Table 3, the filter and the corruptions, by bytes, operations, launches and instructions?

Run:      python experiments/gpu_budget.py                     (5 minutes on one CPU core, no GPU needed: it compiles)
          python experiments/gpu_budget.py --sides 14 28       (half a minute)
Result:   results/tables/gpu_budget.md
Outcome:  2026-11-27: an H200 had 90 % of the speed that its ceilings allow GFNet-S in float32, 83 % in tf32, 64 % in
          bfloat16. Table 3 of GFNet-S: 981 s in float32, 300 in tf32, 306 in bfloat16 (attacks in float32); 57 to 85 %
          are the corrupted passes. Corruptions take 7.8 us an image by bytes, a fifth of a bfloat16 pass (goal 15 %),
          16 us measured; 1,055 launches for the 15 of mCE where tensors alone take 4,192.
          The filter's three kernels are bound by memory at every side of Figure 2, at three copies; it took
          2.9 at 28 and 4.1 at 56.

Everything is reckoned from what a device was measured to copy and multiply (results/tables/ceilings_cuda.md): an
operator takes as long as its bytes or as its products, whichever is more, and nothing between them. Operators and bytes
are counted on tensors that only claim to be on CUDA, as torch would launch them one by one; instructions are those of
the machine code for sm_90. What was measured stands beside it, where a table in the folder of results has it.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import _checkout
import timm
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException

import gfnet_bench.models  # noqa: F401  (registers GFNet with timm)
from gfnet_bench.catalog import CORRUPTIONS
from gfnet_bench.corruptions import corrupt, kernels
from gfnet_bench.errors import MissingError
from gfnet_bench.models.global_filter import filter_way
from gfnet_bench.profiling.machine_code import Code, compiled, read
from gfnet_bench.profiling.traffic import Traffic, kernels_counted, stand_ins
from gfnet_bench.studies.tokens import PAPER_SIDES

BATCH, FILTER_BATCH, CHANNELS = 128, 32, 384
DTYPES = ("float32", "tf32", "bfloat16")
ISSUE_PER_S = 132 * 128 * 1.755e9
"""Numbers a second for which an H200 can issue one instruction: 132 processors, 128 lanes, at most 1.755 GHz."""
TABLES = _checkout.ROOT / "results" / "tables"
BEFORE = TABLES / "before"
"""What an H200 took on 2026-11-26: other kernels beyond 16 tokens a side, and corruptions by tensors."""


class Ceilings(NamedTuple):
    """What a device was measured to do at most.

    Attributes:
        bytes_per_s: of a copy, read and written.
        flops_per_s: of products, by the name of the precision.
    """

    bytes_per_s: float
    flops_per_s: dict[str, float]

    def traffic(self, dtype: str) -> Traffic:
        """A counter that reckons with these ceilings."""
        return Traffic(self.bytes_per_s, lambda numbers: self.flops_per_s[_precision_of(numbers, dtype)])


def _precision_of(numbers: torch.dtype, dtype: str) -> str:
    return "bfloat16" if numbers == torch.bfloat16 else "tf32" if dtype == "tf32" else "float32"


class Tables:
    """What was measured: the tables of a folder, and where it lacks one, those of results/tables."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def text(self, name: str) -> str:
        """A table; nothing where there is none."""
        for folder in (self._folder, TABLES):
            if (folder / name).exists():
                return (folder / name).read_text()
        return ""

    def ceilings(self) -> Ceilings:
        """What `experiments/ceilings.py` found."""
        text = self.text("ceilings_cuda.md")
        copy = re.findall(r"\| copy of \d+ MiB \| ([\d.]+) TB/s", text)[-1]
        products = re.findall(r"\| product of side \d+, (\w+) \| ([\d.]+) TFLOP/s", text)
        return Ceilings(float(copy) * 1e12, {name: float(rate) * 1e12 for name, rate in products})

    def filtered(self, side: int) -> str:
        """How many copies the filter of a grid took."""
        names = ("filter_speed_cuda.md", "filter_speed_large_cuda.md")
        for name in names:
            row = re.search(rf"^\| {side} \| forward \| auto (?:\| \S+ ){{3}}\| (\S+)", self.text(name), re.MULTILINE)
            if row:
                return row[1]
        return ""

    def corrupted(self) -> dict[str, float]:
        """Microseconds an image, by corruption, of the recipe imagenet_c."""
        text = self.text("corruption_speed_cuda.md")
        rows = re.findall(r"^\| (\w+) \| \d+ \| [\d.]+ \| \d+ \| ([\d.]+)", text, re.MULTILINE)
        return {name: float(us) for name, us in rows}

    def passes(self, model: str) -> dict[str, float]:
        """Images a second of a model alone, by precision, where that was measured."""
        found = {}
        for dtype in DTYPES:
            if rate := re.search(rf"\| {model} \| (\d+) \|", self.text(f"evaluate_speed_{dtype}_cuda.md")):
                found[dtype] = float(rate[1])
        return found


def forward(model: nn.Module, size: int, dtype: str, limits: Ceilings) -> Traffic:
    """What a batch costs; the model on the meta device."""
    learned = (*model.named_parameters(), *model.named_buffers())
    with stand_ins(), filter_way("triton"), limits.traffic(dtype) as traffic, torch.no_grad():
        tensors = {name: torch.empty(value.shape, dtype=value.dtype, device="cuda") for name, value in learned}
        images = torch.empty(BATCH, 3, size, size, device="cuda")
        with autocast(dtype):
            torch.func.functional_call(model, tensors, (images,))
    return traffic


@contextmanager
def autocast(dtype: str) -> Iterator[None]:
    """`torch.autocast` for CUDA, which torch would not enter where there is none."""
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.set_autocast_enabled("cuda", dtype == "bfloat16")
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", False)
        torch.clear_autocast_cache()


def gradient(model: nn.Module, size: int, dtype: str, limits: Ceilings) -> Traffic:
    """What a batch and the gradient for its pixels cost, in float32 or tf32, as attacks take it."""
    images = torch.empty(BATCH, 3, size, size, device="meta", requires_grad=True)
    with filter_way("triton"), limits.traffic(dtype) as traffic:
        loss = nn.functional.cross_entropy(model(images), torch.empty(BATCH, dtype=torch.int64, device="meta"))
        torch.autograd.grad(loss, images)
    return traffic


def corruption(name: str, recipe: str, limits: Ceilings, size: int = 224, by_kernels: bool = True) -> Traffic:
    """What a batch costs at severity 3, its constants on the device already; with our kernels, or by tensors alone.

    Raises:
        MissingError: if a texture is not here.
    """
    traffic = limits.traffic("float32")
    with (
        warnings.catch_warnings(),
        patch.object(kernels, "works", lambda *case: by_kernels),
        stand_ins(),
        kernels_counted(traffic, kernels),
    ):
        warnings.filterwarnings("ignore", message="Accessing the data pointer of FakeTensor")
        images = torch.empty(BATCH, 3, size, size, dtype=torch.uint8, device="cuda")
        seeds = torch.empty(BATCH, dtype=torch.int64, device="cuda")
        corrupt(images, name, 3, recipe=recipe, seeds=seeds)
        traffic.reset()
        with traffic:
            corrupt(images, name, 3, recipe=recipe, seeds=seeds)
    return traffic


def codes_of_filter(side: int) -> list[tuple[Code, float]]:
    """The kernels that filter a grid, and how many numbers a thread of each reads and writes again."""
    from gfnet_bench.models.global_filter import lines, unrolled

    sizes, types = {"c": CHANNELS, "h": side, "w": side}, {"weight": "*i64", "c": "i32"}
    if side <= unrolled.SIDES:
        rows, columns = (1 << (n - 1).bit_length() for n in (side, (side + 1) // 2))
        sizes |= {"HP": rows, "VP": columns, "BC": unrolled.CHANNELS}
        one = compiled(unrolled._filter_kernel, sizes, types, unrolled.WARPS)
        return [(read(one), side * side * unrolled.CHANNELS / (32 * unrolled.WARPS))]
    shared = lines.threads(side)
    assert shared is not None, side
    kernels = (lines._rows_kernel, lines._columns_kernel, lines._rows_back_kernel)
    return [(read(compiled(kernel, {**sizes, "T": shared}, types, 1)), 2 * side / shared) for kernel in kernels]


def filter_rows(sides: Sequence[int], limits: Ceilings, measured: Tables) -> Iterator[str]:
    """A row of the table for each grid."""
    for side in sides:
        codes = codes_of_filter(side)
        numbers = FILTER_BATCH * side * side * CHANNELS
        weights = 8 * side * (side // 2 + 1) * CHANNELS
        moved = 8 * numbers * len(codes) + weights
        issued = sum(code.instructions / each for code, each in codes)
        by_bytes, by_issue = moved / limits.bytes_per_s, numbers * issued / ISSUE_PER_S
        copies = max(by_bytes, by_issue) / (8 * numbers / limits.bytes_per_s)
        most = (max(getattr(code, what) for code, _ in codes) for what in ("registers", "stack", "shared"))
        reckoned = (f"{1e6 * by_bytes:,.0f}", f"{1e6 * by_issue:,.0f}", f"{copies:.1f}")
        seen = (measured.filtered(side), Tables(BEFORE).filtered(side))
        yield _row(side, len(codes), f"{moved / 1e6:,.0f}", f"{issued:.0f}", *most, *reckoned, *seen)


def corruption_rows(limits: Ceilings, model_s: float, measured: Tables) -> Iterator[str]:
    """A row of the table for each corruption, in microseconds an image."""
    taken, before = measured.corrupted(), Tables(BEFORE).corrupted()
    for name in CORRUPTIONS:
        if name not in taken:  # of a plug-in
            continue
        try:
            one = corruption(name, "imagenet_c", limits)
        except MissingError:
            yield _row(name, *[""] * 8)
            continue
        us = 1e6 * one.seconds / BATCH
        launches, moved = by_tensors(name, limits)
        counted = (one.launches, launches, f"{one.bytes / BATCH / 1e6:.1f}", moved)
        yield _row(
            name, *counted, f"{us:.1f}", f"{us / (1e6 * model_s):.0%}", f"{taken[name]:.1f}", f"{before[name]:.1f}"
        )


def by_tensors(name: str, limits: Ceilings) -> tuple[str, str]:
    """Launches and MB an image without our kernels; nothing where torch must look at values on the way."""
    try:
        found = corruption(name, "imagenet_c", limits, by_kernels=False)
    except DataDependentOutputException:
        return "", ""
    return str(found.launches), f"{found.bytes / BATCH / 1e6:.1f}"


class Stage(NamedTuple):
    """A part of Table 3: so many images, each of so many forward passes and gradients, corrupted or not."""

    name: str
    images: int
    forwards: int
    gradients: int = 0
    corrupted: bool = False


STAGES = (
    Stage("clean, and ReaL by the same answers", 50_000, 1),
    Stage("ImageNet-A and -V2", 17_500, 1),
    Stage("FGSM", 50_000, 1, 1),
    Stage("PGD of 5 steps", 50_000, 1, 5),
    Stage("15 corruptions at 5 severities", 75 * 50_000, 1, 0, corrupted=True),
)


def stage_rows(costs: dict[str, tuple[float, float]], corrupted_s: float) -> Iterator[str]:
    """A row for each stage and their sum: seconds in each precision.

    Args:
        costs: by precision, seconds an image of a forward pass, and of one with the gradient for its pixels.
        corrupted_s: seconds an image of a corruption.
    """
    totals = dict.fromkeys(costs, 0.0)
    for stage in STAGES:
        seconds = {
            dtype: stage.images * (stage.forwards * once + stage.gradients * both + stage.corrupted * corrupted_s)
            for dtype, (once, both) in costs.items()
        }
        totals = {dtype: totals[dtype] + seconds[dtype] for dtype in totals}
        yield _row(stage.name, f"{stage.images:,}", stage.forwards, stage.gradients, *_rounded(seconds.values()))
    yield _row("**together**", "", "", "", *_rounded(totals.values()))


def _rounded(seconds: Any) -> list[str]:
    return [f"{value:,.0f}" for value in seconds]


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _table(*heads: str) -> list[str]:
    return [_row(*heads), _row(*["---"] * len(heads))]


def budget(sides: Sequence[int], model: str, size: int, measured: Tables) -> list[str]:
    """The whole page."""
    limits = measured.ceilings()
    with torch.device("meta"):
        net = timm.create_model(model).eval().requires_grad_(False)
    passes = {dtype: forward(net, size, dtype, limits) for dtype in DTYPES}
    # Attacks take their gradients in float32, or in tf32 where that is asked for.
    gradients = {dtype: gradient(net, size, "tf32" if dtype == "tf32" else "float32", limits) for dtype in DTYPES}
    rates = measured.passes(model)
    limits_said = f"{limits.bytes_per_s / 1e12:.2f} TB/s and {_ceilings_said(limits)} TFLOP/s"
    made = f"Made by `experiments/gpu_budget.py`: {model} at {size} px, from the ceilings of an H200, {limits_said}."
    lines = ["# What a GPU should take", "", made]
    lines += ["", f"## A pass of {model}, batches of {BATCH}", ""]
    lines += _table("precision", "launches", "MB an image", "GFLOP", "images/s at most", "measured", "share")
    for dtype, traffic in passes.items():
        most = BATCH / traffic.seconds
        seen = [f"{rates[dtype]:,.0f}", f"{rates[dtype] / most:.0%}"] if dtype in rates else ["", ""]
        per_image = (f"{traffic.bytes / BATCH / 1e6:.1f}", f"{traffic.flops / BATCH / 1e9:.2f}")
        lines.append(_row(dtype, traffic.launches, *per_image, f"{most:,.0f}", *seen))
    lines += ["", "## Table 3 of one model: seconds expected", "", TABLE3_SAYS, ""]
    lines += _table("stage", "images", "forward", "gradients", *DTYPES)
    costs = {dtype: (passes[dtype].seconds / BATCH, gradients[dtype].seconds / BATCH) for dtype in DTYPES}
    corrupted = [corruption(name, "imagenet_c", limits).seconds / BATCH for name in list(CORRUPTIONS)[:15]]
    lines += stage_rows(costs, sum(corrupted) / len(corrupted))
    lines += ["", "## Corruptions, microseconds an image", "", CORRUPTIONS_SAY, ""]
    lines += _table(
        "corruption", "launches", "by tensors", "MB an image", "by tensors", "expected", f"of {model}", "measured",
        "on 2026-11-26",
    )  # fmt: skip
    lines += corruption_rows(limits, passes["bfloat16"].seconds / BATCH, measured)
    lines += ["", f"## The filter, batch {FILTER_BATCH}, {CHANNELS} channels, float32", "", FILTER_SAYS, ""]
    lines += _table(
        "side", "kernels", "MB", "instructions a number", "registers", "spilled B", "shared B", "by bytes, us",
        "by issue, us", "copies, expected", "copies, measured", "on 2026-11-26",
    )  # fmt: skip
    return [*lines, *filter_rows(sides, limits, measured)]


TABLE3_SAYS = (
    "Clean images that one command measures with FGSM, in float32, cost nothing: FGSM's first look serves both."
)
CORRUPTIONS_SAY = (
    "Severity 3, by the recipe imagenet_c, its final JPEG included: with our kernels, and by tensors alone as on "
    "2026-11-26. The share is of the model's pass in bfloat16. What was measured is the mean over severities."
)
FILTER_SAYS = (
    "Instructions are of all kernels for each number of the maps, as compiled for sm_90; the time by issue is that of "
    "a device that issues one for 128 lanes of each of its 132 processors in every cycle. The longer of the two is "
    "expected, in times of a copy. On 2026-11-26 other kernels took the sides from 28 on, at about 110 instructions a "
    "number. torch.fft as the authors write it took 17 to 23 copies (filter_speed_cuda.md)."
)


def _ceilings_said(limits: Ceilings) -> str:
    return ", ".join(f"{rate / 1e12:.0f} ({name})" for name, rate in limits.flops_per_s.items())


def main() -> None:
    """Reckon, print and keep the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="*", default=PAPER_SIDES, help="of the filter (Figure 2's)")
    parser.add_argument("--measured", type=Path, default=TABLES, help="tables of what was measured (results/tables)")
    parser.add_argument("--model", default="gfnet_s")
    parser.add_argument("--size", type=int, default=224, help="pixels of its images (224)")
    parser.add_argument("--output", type=Path, default=TABLES / "gpu_budget.md")
    arguments = parser.parse_args()
    text = "\n".join(budget(arguments.sides, arguments.model, arguments.size, Tables(arguments.measured))) + "\n"
    arguments.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
