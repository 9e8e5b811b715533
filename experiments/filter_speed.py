"""How much faster than torch.fft is our global filter, and what is that worth to a whole network?

Run:      python experiments/filter_speed.py                    (about 5 minutes on one CPU core)
          python experiments/filter_speed.py --threads 2        (about 3 minutes on two)
          python experiments/filter_speed.py --device cuda      (about 4 minutes, mostly compiling kernels)
Result:   results/tables/filter_speed.md, filter_speed_2threads.md, filter_speed_cuda.md
Outcome:  2026-11-22, sides 14 to 112 on a CPU: 2.2 to 3.1 times torch.fft on one core (median of turns; of the bests
          1.7 to 2.6), 2.3 to 2.9 on two (2.0 to 2.8). Goals on CUDA: 4 times torch.fft at 14 and 28, 3
          at 56, 1.5 from 112 on, at most twice the time of a copy up to 56, and 1.5 for a whole GFNet-S. On an H200,
          2026-11-27: 10, 6.3 and 5.1 times at 14, 28 and 56; 2.0, 3.0 and 4.0 copies, as three kernels must; with both
          gradients 4.1, 3.9 and 3.6 times; GFNet-S 1.2 in float32, where products take the time, 1.7 in tf32, 1.9 in
          bfloat16. Sides beyond 56 were not timed alone; in the blocks of Figure 2, 70 to 140 a side, ours save 18 to
          22 % of the whole block's time.

The layer as the authors write it (`reference`: channel-last torch.fft, result made contiguous) against our ways, batch
8 on a CPU and 32 on a GPU, 384 channels; whole networks, authors' formulation and ours, in the same precision.
The ways take turns, so that a busy minute hits all of them, and each turn gives one ratio. On a GPU every call is
captured in a CUDA graph first, so that launches cost nothing on either side, and a copy of the input is timed with
them: no layer can be faster. (Small inputs stay in the L2 cache, for the copy as for the rest.)
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import _checkout  # noqa: F401  (the package of this checkout)
import timm
import torch
from torch import Tensor

import gfnet_bench.models  # noqa: F401  (registers GFNet with timm)
from gfnet_bench.evaluation import precision
from gfnet_bench.models.global_filter import filter_way, global_filter, with_torch_fft
from gfnet_bench.profiling.latency import Graph, event_clock

CHANNELS = 384
REPLAYS = 20
TABLES = Path(__file__).parents[1] / "results" / "tables"
LAYER_HEAD = (
    "| side | pass | way | best, ms | times faster than torch.fft, median | of the bests | times a copy | error |"
)
NETWORK_HEAD = "| network | batch | precision | torch.fft, best ms | ours, best ms | times faster, median of rounds |"
NETWORKS = {"gfnet_mini": (64, 256), "gfnet_s": (8, 128)}  # images at a time on a CPU, on a GPU
HALF = {"bfloat16": torch.bfloat16}
Call = Callable[[], object]
Filter = Callable[[Tensor, Tensor], Tensor]


def timer(call: Call, device: str, threads: int) -> Callable[[], float]:
    """What times one call, in seconds: processor time of a single CPU thread, which other jobs disturb less."""
    if device == "cuda":
        clock, graph = event_clock(torch.device(device)), Graph(call, torch.device(device))
        return lambda: clock(graph, REPLAYS).seconds
    tick = time.process_time if threads == 1 else time.perf_counter

    def timed() -> float:
        start = tick()
        call()
        return tick() - start

    return timed


def take_turns(calls: dict[str, Call], rounds: int, device: str, threads: int) -> dict[str, list[float]]:
    """Seconds of every call in every round."""
    timers = {name: timer(call, device, threads) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, timed in timers.items():
            taken = timed()
            if turn:  # the first one warms up
                times[name].append(taken)
    return times


def speedup(reference: list[float], ours: list[float]) -> float:
    """Median over rounds of how many times faster."""
    return statistics.median(x / y for x, y in zip(reference, ours, strict=True))


def ways_to_filter(side: int, device: str) -> dict[str, Filter]:
    """The ways that a grid has on `device`."""
    names = ["reference", "fft", "dense", "auto"]
    ways: dict[str, Filter] = {}
    if device == "cuda":
        from gfnet_bench.models.global_filter import lines, unrolled

        # Every kernel that takes the grid, which tells whether their bounds are where they should be.
        bounds = {unrolled: side <= unrolled.SIDES, lines: lines.fits(side, side)}
        ways |= {kernel.__name__.rpartition(".")[2]: kernel.global_filter for kernel, fits in bounds.items() if fits}
    ways |= {name: partial(global_filter, way=name) for name in names}
    return ways


def largest_error(side: int, way: Filter, device: str) -> float:
    """Largest difference from torch.fft in float64 over the largest value; one image of the width that is timed."""
    x = torch.randn(1, side, side, CHANNELS, device=device)  # which shares its machine code
    weight = torch.randn(side, side // 2 + 1, CHANNELS, 2, device=device)
    truth = with_torch_fft(x.double(), weight.double())
    return float((way(x, weight) - truth).abs().max() / truth.abs().max())


def layer_rows(side: int, batch: int, rounds: int, device: str, threads: int) -> list[str]:
    """Markdown rows of one grid: every way, forward alone and with both gradients."""
    ways = ways_to_filter(side, device)
    x = torch.randn(batch, side, side, CHANNELS, device=device)
    weight = torch.randn(side, side // 2 + 1, CHANNELS, 2, device=device)
    grad = torch.randn_like(x)
    copied = torch.empty_like(x)

    def forward(way: Filter) -> Tensor:
        with torch.no_grad():
            return way(x, weight).contiguous()

    def both(way: Filter) -> tuple[Tensor, ...]:
        inputs = x.detach().requires_grad_(), weight.detach().requires_grad_()
        return torch.autograd.grad(way(*inputs).contiguous(), inputs, grad)

    lines = []
    for title, run in (("forward", forward), ("forward and backward", both)):
        if run is both:  # kernels alone stand outside autograd
            ways = {name: way for name, way in ways.items() if isinstance(way, partial)}
        calls: dict[str, Call] = {name: partial(run, way) for name, way in ways.items()}
        always = {"copy": lambda: copied.copy_(x), "reference": calls["reference"]}
        # A graph keeps the memory of its call: at side 182 all of them together would take 65 GB.
        groups = [[name] for name in ways] if device == "cuda" else [list(ways)]
        for names in groups:
            times = take_turns({**always, **{name: calls[name] for name in names}}, rounds, device, threads)
            base = times["reference"]
            for name in names:
                best, error = min(times[name]), largest_error(side, ways[name], device)
                lines.append(
                    f"| {side} | {title} | {name} | {best * 1e3:.3f} | {speedup(base, times[name]):.2f} "
                    f"| {min(base) / best:.2f} | {best / min(times['copy']):.1f} | {error:.1e} |"
                )
            if device == "cuda":
                torch.cuda.empty_cache()
    return lines


def network_row(name: str, batch: int, dtype: str, rounds: int, device: str, threads: int) -> str:
    """One Markdown row: a whole forward pass in both formulations."""
    torch.manual_seed(0)
    net = timm.create_model(name).eval().requires_grad_(False).to(device)
    described: Any = net  # timm notes more on a network than nn.Module declares
    images = torch.rand(batch, *described.pretrained_cfg["input_size"], device=device)
    half = HALF.get(dtype)

    def forward(way: str) -> Tensor:
        autocast = torch.autocast(device, half or torch.bfloat16, enabled=half is not None, cache_enabled=False)
        with filter_way(way), torch.no_grad(), autocast:
            return net(images)

    calls: dict[str, Call] = {way: partial(forward, way) for way in ("reference", "auto")}
    with precision(dtype, torch.device(device), repeatable=False):
        times = take_turns(calls, rounds, device, threads)
    best = {way: f"{min(found) * 1e3:.2f}" for way, found in times.items()}
    ratio = speedup(times["reference"], times["auto"])
    return f"| {name} | {batch} | {dtype} | {best['reference']} | {best['auto']} | {ratio:.2f} |"


def main() -> None:
    """Time whole networks, then every way on every grid, and write the table as it grows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--sides", type=int, nargs="*", default=[8, 14, 28, 56, 112], metavar="SIDE")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--batch-size", type=int, help="of the layer (default: 8 on a CPU, 32 on a GPU)")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="default: results/tables/filter_speed[_cuda|_Nthreads].md")
    arguments = parser.parse_args()
    device, rounds, threads = arguments.device, arguments.rounds, arguments.threads
    torch.set_num_threads(threads)
    on_gpu = device == "cuda"
    batch = arguments.batch_size or (32 if on_gpu else 8)
    suffix = "_cuda" if on_gpu else f"_{threads}threads" if threads > 1 else ""
    output = arguments.output or TABLES / f"filter_speed{suffix}.md"
    where = torch.cuda.get_device_name() if on_gpu else f"{platform.machine()} CPU, {threads} thread(s)"
    lines = [
        "# Speed of the global filter",
        "",
        f"{where}; torch {torch.__version__}, {rounds} rounds taken in turns. Made by `experiments/filter_speed.py`.",
    ]

    def write(*more: str) -> None:
        lines.extend(more)
        output.write_text("\n".join(lines) + "\n")

    if arguments.networks:
        write("", "Whole networks, forward, random weights.", "", NETWORK_HEAD, "| --- " * 6 + "|")
    for name in arguments.networks:
        for dtype in ("float32", "tf32", "bfloat16") if on_gpu else ("float32",):
            write(network_row(name, NETWORKS[name][on_gpu], dtype, rounds, device, threads))
    if arguments.sides:
        write("", f"The layer alone, float32, batch {batch}, {CHANNELS} channels.", "", LAYER_HEAD, "| --- " * 8 + "|")
    for side in arguments.sides:
        with precision("float32", torch.device(device), repeatable=False):
            write(*layer_rows(side, batch, rounds, device, threads))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
