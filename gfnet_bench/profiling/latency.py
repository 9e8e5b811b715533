"""How long one call takes: warmed up, timed by the device's own clock, every repeat kept."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch

from gfnet_bench.profiling.devices import synchronize
from gfnet_bench.schemas.complexity import FEWEST

SPREAD = 0.03
"""Interquartile range over median at which a measurement is settled."""

LEAST = 10
"""Repeats before the spread is looked at."""

MANY = 15
"""Repeats after which a spread that has not settled is the machine's: more of them, at `PATIENCE`, change it little."""

PATIENCE = 1 / 3
"""The share of the budget that the most unsettled call gets at least."""

OVERDRAFT = 2
"""Times the budget that the fewest repeats may take, even if no other call left any."""

REPEAT_S = 0.005
"""Shorter calls are made several times a repeat, to last about this long."""

MOST_CALLS = 50
"""Calls a repeat at most: the queue of a GPU takes about a thousand kernels before the host has to wait."""

WARM_UP = 0.1
"""The share of the budget that goes into warming up."""

LAUNCH_BOUND = 0.9
"""A host busy for this share of the time holds the GPU back: a faster GPU would not help, a CUDA graph would."""

Call = Callable[[], object]


class Repeat(NamedTuple):
    """One repeat, per call: the time until the work is done, and until the host has handed it over."""

    seconds: float
    host_seconds: float


class Clock(Protocol):
    """Makes a call so many times and says how long one took."""

    def __call__(self, call: Call, calls: int) -> Repeat:
        """Time `calls` calls in a row."""
        ...


@dataclass(frozen=True)
class Latency:
    """Repeated timings of one call.

    Attributes:
        seconds: of one call, a figure a repeat, in order.
        host_seconds: the part of each in which the host handed out work; the same on a CPU.
        calls: calls a repeat; their mean is its figure.
        stopped: `spread` (settled), `repeats` (many, and not settled), or `budget` (time ran out first).
        asynchronous: whether the device works while the host goes on.
        spent_s: seconds it took, without the first call.
    """

    seconds: tuple[float, ...]
    host_seconds: tuple[float, ...]
    calls: int
    stopped: str
    asynchronous: bool
    spent_s: float = 0.0

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float] | None:
        """First and third, seconds; None of fewer than `FEWEST` repeats."""
        return None if len(self.seconds) < FEWEST else quartiles(self.seconds)

    @property
    def spread(self) -> float | None:
        """Interquartile range over median; None of fewer than `FEWEST` repeats."""
        if self.quartiles is None:
            return None
        low, high = self.quartiles
        return (high - low) / self.median

    @property
    def launch_bound(self) -> bool:
        """Whether handing out the work took as long as the work: see `LAUNCH_BOUND`."""
        return self.asynchronous and statistics.median(self.host_seconds) >= LAUNCH_BOUND * self.median


def quartiles(values: tuple[float, ...] | list[float]) -> tuple[float, float]:
    """First and third quartile of two values or more, linear between neighbours."""
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def host_clock(device: torch.device) -> Clock:
    """The host's clock, for a CPU and for a device that is waited for before and after."""

    def clock(call: Call, calls: int) -> Repeat:
        synchronize(device)
        start = time.perf_counter()
        for _ in range(calls):
            call()
        handed_over = time.perf_counter() - start
        synchronize(device)
        return Repeat((time.perf_counter() - start) / calls, handed_over / calls)

    return clock


def event_clock(device: torch.device) -> Clock:
    """Events in the stream of a CUDA device: the device says when it began and when it was done."""

    def clock(call: Call, calls: int) -> Repeat:
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        begin.record()
        for _ in range(calls):
            call()
        end.record()
        handed_over = time.perf_counter() - start
        end.synchronize()
        return Repeat(begin.elapsed_time(end) / 1000 / calls, handed_over / calls)  # events tell milliseconds

    return clock


def measure(
    call: Call,
    device: torch.device,
    *,
    budget_s: float = 3.0,
    spare_s: float = 0.0,
    spread: float = SPREAD,
    clock: Clock | None = None,
    now: Callable[[], float] = time.perf_counter,
) -> Latency:
    """Time `call` until its spread is small enough or the time is up.

    The first call pays for what is made once (kernels compiled, plans, workspaces, memory): it is dropped, and the
    time counts from its end. A call of which `FEWEST` repeats take longer than there is time is timed once: on a CPU
    that is the first call, which may have compiled its kernels on a GPU and is never kept there.

    Args:
        call: what is timed.
        device: where it computes.
        budget_s: seconds to spend, warm-up included; the repeat that has begun is finished, as are the fewest.
        spare_s: seconds to spend beyond that, for the fewest repeats alone.
        spread: interquartile range over median at which to stop, after `LEAST` repeats.
        clock: by default the device's own.
        now: the clock of the budget, in seconds.
    """
    clock = clock or (event_clock(device) if device.type == "cuda" else host_clock(device))
    asynchronous = device.type != "cpu"
    first = clock(call, 1)
    start = now()
    warm = clock(call, 1) if asynchronous else first
    if FEWEST * warm.seconds > OVERDRAFT * budget_s + spare_s:
        return Latency((warm.seconds,), (warm.host_seconds,), 1, "budget", asynchronous, now() - start)
    warm = clock(call, 1)
    calls = max(1, min(MOST_CALLS, round(REPEAT_S / max(warm.seconds, 1e-9))))
    while now() - start < WARM_UP * budget_s:
        clock(call, calls)
    repeats: list[Repeat] = []
    stopped = "budget"
    while len(repeats) < FEWEST or now() - start < budget_s:
        repeats.append(clock(call, calls))
        if len(repeats) < LEAST:
            continue
        seconds = [repeat.seconds for repeat in repeats]
        low, high = quartiles(seconds)
        if high - low <= spread * statistics.median(seconds):
            stopped = "spread"
            break
        if len(repeats) >= MANY and now() - start >= PATIENCE * budget_s:
            stopped = "repeats"
            break
    taken, host = (tuple(column) for column in zip(*repeats, strict=True))
    return Latency(taken, host, calls, stopped, asynchronous, now() - start)


class Graph:
    """A call captured as a CUDA graph: replayed without the host taking part, on the same memory every time.

    It keeps the call, whose input and weights it reads, and what the call returned, which it writes.
    """

    def __init__(self, call: Call, device: torch.device) -> None:
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):  # a graph may not be captured cold: plans and workspaces are made here
            for _ in range(3):
                call()
        torch.cuda.current_stream(device).wait_stream(stream)
        self.call = call
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.result = call()

    def __call__(self) -> None:
        """Replay it."""
        self.graph.replay()
