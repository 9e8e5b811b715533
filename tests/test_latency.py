"""Timing, memory and their stop rules, with clocks that are made up and steps whose bytes are known by hand."""

from __future__ import annotations

import contextlib
import gc
import itertools
import subprocess
import sys
import weakref
from functools import partial

import pytest
import timm
import torch
from torch import nn

from gfnet_bench.profiling import devices, latency, memory
from gfnet_bench.profiling.footprint import predicted_bytes
from gfnet_bench.profiling.latency import LEAST, MANY, MOST_CALLS, Latency, Repeat, measure
from gfnet_bench.profiling.workload import Workload

CPU = torch.device("cpu")


class FakeClock:
    """Calls that take what the test says, on a clock that only they move."""

    def __init__(self, seconds, host=None):
        self.durations = itertools.chain(seconds[:-1], itertools.repeat(seconds[-1]))
        self.host = host
        self.time = 0.0
        self.asked = []

    def __call__(self, call, calls):
        taken = next(self.durations)
        self.time += taken * calls
        self.asked.append(calls)
        return Repeat(taken, taken if self.host is None else self.host)

    def now(self):
        return self.time


def timed(seconds, budget_s, host=None, device=CPU, **kwargs):
    clock = FakeClock(seconds, host)
    return measure(lambda: None, device, budget_s=budget_s, clock=clock, now=clock.now, **kwargs), clock


def test_stops_once_the_spread_is_small():
    found, clock = timed([5.0, 0.1], budget_s=100)
    assert found.stopped == "spread"
    assert len(found.seconds) == LEAST
    assert (found.median, found.spread, found.calls) == (0.1, 0.0, 1)
    assert clock.time >= 15  # a tenth of the budget went into warming up, beside the first call


def test_stops_when_time_is_up_and_says_so():
    swinging = [0.1, 0.1, *[0.1, 0.2] * 2000]
    found, clock = timed(swinging, budget_s=2.0)
    assert found.stopped == "budget"
    assert LEAST < len(found.seconds) < MANY
    assert found.spread > latency.SPREAD
    assert 2.1 <= clock.time < 2.4 and found.spent_s == pytest.approx(clock.time - 0.1)


def test_a_spread_that_does_not_settle_is_given_up_for_the_machines():
    found, _ = timed([0.1, 0.1, *[0.1, 0.2] * 2000], budget_s=60)
    assert found.stopped == "repeats" and len(found.seconds) > MANY
    assert found.spent_s == pytest.approx(20, abs=0.3)  # a third of its budget


@pytest.mark.parametrize(("device", "asked", "seconds"), [("cpu", 1, 7.0), ("cuda", 2, 6.0)])
def test_a_call_too_long_for_three_repeats_is_timed_once_and_has_no_spread(device, asked, seconds):
    found, clock = timed([7.0, 6.0], budget_s=5, device=torch.device(device))
    assert (found.seconds, found.stopped, clock.asked) == ((seconds,), "budget", [1] * asked)
    assert (found.spread, found.quartiles) == (None, None)


def test_what_others_left_pays_for_three_repeats():
    found, _ = timed([3.0], budget_s=3, spare_s=3)
    assert found.seconds == (3.0,) * 3 and found.spread == 0 and found.stopped == "budget"
    assert timed([3.0], budget_s=3)[0].seconds == (3.0,) and timed([2.0], budget_s=3)[0].seconds == (2.0,) * 3


def test_compiling_takes_nothing_from_the_time():
    found, clock = timed([20.0, 0.5], budget_s=5, device=torch.device("cuda"))
    assert found.median == 0.5 and found.stopped == "budget" and len(found.seconds) >= 3
    assert clock.time >= 25


def test_short_calls_are_made_many_times_a_repeat():
    assert timed([1e-3], budget_s=1)[0].calls == 5
    assert timed([1e-7], budget_s=1e-3)[0].calls == MOST_CALLS


def test_first_call_is_dropped():
    assert max(timed([3.0, 0.1], budget_s=10)[0].seconds) == 0.1


class _FakeCuda:
    """Streams and graphs that record nothing."""

    CUDAGraph = type("CUDAGraph", (), {"replay": lambda self: None})
    Stream = current_stream = lambda *_: type("Stream", (), {"wait_stream": lambda *_: None})()
    stream = graph = lambda *_: contextlib.nullcontext()


def test_a_graph_keeps_what_it_reads_and_writes(monkeypatch):
    for name in ("CUDAGraph", "Stream", "current_stream", "stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, getattr(_FakeCuda, name))

    class Step:
        def __init__(self):
            self.input, self.calls = torch.ones(3), 0

        def __call__(self):
            self.calls += 1
            self.output = weakref.ref(output := self.input + 1)
            return output

    step = Step()
    replay, alive = latency.Graph(step, torch.device("cuda")), weakref.ref(step)
    del step
    gc.collect()
    assert alive() is not None and alive().output() is not None and alive().calls == 4
    replay()
    assert alive().calls == 4


def test_median_and_quartiles_by_hand():
    found = Latency((4.0, 1.0, 2.0, 3.0, 10.0), (4.0, 1.0, 2.0, 3.0, 10.0), 1, "budget", False)
    assert found.median == 3.0
    assert found.quartiles == (2.0, 4.0)
    assert found.spread == pytest.approx(2 / 3)
    assert not found.launch_bound  # a CPU hands nothing out


def test_launch_bound_when_the_host_is_busy_all_the_time():
    def found(host):
        return Latency((1e-4,) * 5, (host,) * 5, 1, "spread", True)

    assert found(0.95e-4).launch_bound
    assert not found(0.3e-4).launch_bound


def test_host_clock_counts_calls():
    calls = []
    repeat = latency.host_clock(CPU)(lambda: calls.append(1), 7)
    assert len(calls) == 7
    assert 0 < repeat.host_seconds <= repeat.seconds < 1


def linear(device, batch=8, width=64, backward=False):
    module = nn.Linear(width, width, bias=False, device=device)
    return Workload(module, lambda: torch.rand(batch, width, device=device).requires_grad_(backward), backward)


def test_predicted_bytes_by_hand():
    inputs = outputs = 8 * 64 * 4
    assert predicted_bytes(linear("meta")) == inputs + outputs
    # At the peak: input, output, ones, and the gradients to input and weights.
    assert predicted_bytes(linear("meta", backward=True)) == inputs + 2 * outputs + inputs + 64 * 64 * 4


def test_prediction_does_not_materialise_fused_attention():
    def attention(q):
        return nn.functional.scaled_dot_product_attention(q, q, q)

    class Net(nn.Module):
        def forward(self, x):
            return attention(x)

    work = Workload(Net(), lambda: torch.rand(1, 1, 1000, 16, device="meta"))
    assert predicted_bytes(work) < 1000 * 1000 * 4 / 10


def test_step_computes_the_gradients_that_were_asked_for():
    x, weight = linear("cpu", backward=True).step()()
    assert (x.shape, weight.shape) == ((8, 64), (64, 64))
    assert linear("cpu").step()().is_inference()


def test_what_cannot_fit_is_not_tried(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda device: 10_000)
    with pytest.raises(memory.OutOfMemory, match=r"not tried: expected to need about 0\.0 GB"):
        memory.require(linear, CPU)
    monkeypatch.setattr(memory, "available_bytes", lambda device: 100_000)
    assert memory.require(linear, CPU) == 2 * 8 * 64 * 4


def test_process_peak_is_the_growth_of_a_fresh_process():
    ballast = torch.ones(50_000_000)  # 200 MB of this process must not show in that of the other
    found = memory.peak(partial(linear, batch=40_000), CPU)
    tensors = 2 * 40_000 * 64 * 4
    assert found.peak_bytes == pytest.approx(tensors, abs=1e6)
    assert (found.mode, found.reserved_bytes, found.weights_bytes) == ("resident", None, 64 * 64 * 4)
    del ballast


def convolutions(device):
    """Activations of many sizes, of which malloc left to itself keeps twice as much as is alive."""
    with torch.device(device):
        net = timm.create_model("resnet18").eval().requires_grad_(False)
        return Workload(net, lambda: torch.rand(2, 3, 224, 224, device=device))


def allocator_peak(work):
    """Bytes alive at once, as torch's allocator reports each that it hands out or takes back."""
    with torch.profiler.profile(profile_memory=True) as profile:
        work.step()()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(itertools.accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))


def test_process_peak_of_a_network_is_that_of_torchs_allocator():
    counted = allocator_peak(convolutions("cpu"))
    assert memory.peak(convolutions, CPU).peak_bytes == pytest.approx(counted, rel=0.03, abs=1e6)
    assert predicted_bytes(convolutions("meta")) == pytest.approx(counted, rel=0.01)


def killed(device):
    import os

    os._exit(9)


def test_a_killed_process_is_out_of_memory():
    with pytest.raises(memory.OutOfMemory, match="was killed"):
        memory.peak(killed, CPU)


def test_device_is_described():
    key, state = devices.device_key(CPU), devices.device_state(CPU)
    assert key == {"kind": "cpu", "name": key["name"], "threads": torch.get_num_threads()}
    assert key["name"] and state["platform"]
    assert devices.available_bytes(CPU) > 1e6


def test_a_command_that_hangs_or_is_missing_tells_nothing(monkeypatch):
    def hangs(*_, **__):
        raise subprocess.TimeoutExpired("nvidia-smi", 20)

    monkeypatch.setattr(devices.subprocess, "run", hangs)
    assert devices._output(sys.executable, "--version") == ""
    assert devices._output("no-such-command") == ""


def test_files_in_memory_do_not_count_against_a_container(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "CONTAINER", tmp_path)
    assert devices._container_bytes() == sys.maxsize
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 200\ninactive_file 300\nactive_file 400\n")
    assert devices._container_bytes() == 100 + 300 + 400
    (tmp_path / "memory.max").write_text("max\n")
    assert devices._container_bytes() == sys.maxsize


@pytest.mark.gpu
def test_cuda_events_and_graphs_agree_with_the_host():
    device = torch.device("cuda")
    a = torch.rand(4096, 4096, device=device)
    found = measure(lambda: a @ a, device, budget_s=1)
    by_host = measure(lambda: a @ a, device, budget_s=1, clock=latency.host_clock(device))
    replayed = measure(latency.Graph(lambda: a @ a, device), device, budget_s=1)
    assert found.median == pytest.approx(by_host.median, rel=0.3)
    assert found.median == pytest.approx(replayed.median, rel=0.3)
    assert not found.launch_bound
    tiny = torch.rand(8, device=device)
    assert measure(lambda: [tiny.add_(1) for _ in range(20)], device, budget_s=1).launch_bound


@pytest.mark.gpu
def test_cuda_peak_is_exact():
    found = memory.peak(partial(linear, batch=4096, width=1024), torch.device("cuda"))
    assert found.peak_bytes == pytest.approx(2 * 4096 * 1024 * 4, rel=0.01)
    assert found.mode == "allocated" and found.reserved_bytes >= found.peak_bytes
    assert found.weights_bytes == 1024 * 1024 * 4
