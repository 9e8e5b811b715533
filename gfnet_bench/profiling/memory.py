"""How much memory a step takes at its peak, beside its weights, and whether it can be tried at all.

The input of the step counts, as the activation it is inside a network. What libraries take once and keep does not: a
first step is made for that. A CUDA device's own allocator tells its peak to the byte. Elsewhere it is the peak of
resident memory of a process, in a fresh one for each figure, so that no measurement hides another. Where malloc can be
told to give every large block back, that was found to be within 3 % and 1 MB of what torch's allocator counts; where it
cannot (another libc than glibc), or where no peak can be forgotten (macOS), what malloc keeps is in the figure.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import platform
import sys
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.processes import pool
from gfnet_bench.profiling.devices import available_bytes, synchronize
from gfnet_bench.profiling.footprint import predicted_bytes
from gfnet_bench.profiling.workload import Build, Workload

MODES = {
    "allocated": "tensors of the device's allocator",
    "resident": "resident memory of a process of its own whose malloc keeps no large block",
    "process": "the same with what malloc keeps between its blocks, up to four times the tensors of a network",
}
"""What a figure is the peak of."""

MAPPED_BYTES = 64 * 1024
"""A block of this size or more is given back to the system when it is freed, in a process that is measured."""

_M_MMAP_THRESHOLD = -3  # as <malloc.h> of glibc numbers it

MARGIN = 1.2
"""What a step may take beyond its tensors, as a factor: workspaces of the libraries."""


@dataclass(frozen=True)
class Memory:
    """The peak of one step.

    Attributes:
        peak_bytes: input, activations and workspaces; weights left out.
        reserved_bytes: the same as the caching allocator holds it from the device; None elsewhere.
        weights_bytes: parameters and buffers.
        mode: a key of `MODES`.
    """

    peak_bytes: int
    reserved_bytes: int | None
    weights_bytes: int
    mode: str


class OutOfMemory(GfnetBenchError):
    """A step that does not fit: a result, not a failure."""


def require(build: Build, device: torch.device) -> int:
    """The predicted bytes of a step, if `device` has them.

    A CUDA device is left to refuse by itself; anywhere else too large an allocation ends in swapping or in a killed
    process, so it is not tried.

    Raises:
        OutOfMemory: if it does not have them.
    """
    workload = build(torch.device("meta"))
    predicted = predicted_bytes(workload)
    needed, available = MARGIN * (predicted + workload.weights_bytes), available_bytes(device)
    if device.type != "cuda" and needed > available:
        raise OutOfMemory(
            f"not tried: expected to need about {needed / 1e9:.1f} GB, found {available / 1e9:.1f} GB free; "
            f"a smaller --batch-size needs less"
        )
    return predicted


def peak(build: Build, device: torch.device) -> Memory:
    """Measure the peak memory of one step.

    Args:
        build: device to workload; outside CUDA it must survive pickling, being called in another process.
        device: where to compute.

    Raises:
        OutOfMemory: if the process that tried it was killed.
    """
    if device.type == "cuda":
        return _allocator_peak(build(device), device)
    with pool(1) as alone:
        try:
            return alone.submit(_process_peak, build, str(device)).result()
        except BrokenProcessPool as error:
            raise OutOfMemory("the process that tried it was killed, as a system does when memory runs out") from error


def _allocator_peak(workload: Workload, device: torch.device) -> Memory:
    workload.step()()  # what libraries take once and keep, and kernels that try themselves out, are no part of a step
    torch.cuda.synchronize(device)
    gc.collect()
    torch.cuda.empty_cache()
    allocated, reserved = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
    torch.cuda.reset_peak_memory_stats(device)
    workload.step()()
    torch.cuda.synchronize(device)
    return Memory(
        torch.cuda.max_memory_allocated(device) - allocated,
        torch.cuda.max_memory_reserved(device) - reserved,
        workload.weights_bytes,
        "allocated",
    )


def _process_peak(build: Build, device_name: str) -> Memory:
    """Runs in a process of its own."""
    device = torch.device(device_name)
    exact = _give_back_at_once() and _forget_peak()
    with contextlib.suppress(OSError):  # if memory runs out after all, this process is the one to go
        Path("/proc/self/oom_score_adj").write_text("1000")
    _wake(device)
    workload = build(device)
    if exact:
        workload.step()()
    gc.collect()
    before = _resident_bytes() if _forget_peak() else peak_resident_bytes()
    workload.step()()
    synchronize(device)
    taken, mode = max(0, peak_resident_bytes() - before), "resident" if exact else "process"
    return Memory(taken, None, workload.weights_bytes, mode)


def _forget_peak() -> bool:
    """Whether the peak so far could be forgotten: that of importing and of a first step may be above the next one's."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _give_back_at_once() -> bool:
    """Have malloc return every large block to the system when it is freed, as long as the process lives; False if not.

    glibc moves the size from which it does so with what is freed, up to 32 MB: blocks of a step would then be cut from
    a heap that keeps what is between them, and the peak would be up to four times that of the tensors.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES))


def _wake(device: torch.device) -> None:
    """Have the libraries start their threads and take their workspaces, which are no part of a step."""
    x = torch.ones(64, 64, device=device, requires_grad=True)
    y = F.conv2d(F.gelu(F.linear(F.layer_norm(x, (64,)), x))[None, None], x[None, None, :3, :3])
    torch.autograd.grad((torch.fft.irfft2(torch.fft.rfft2(y)) @ y).sum(), x)


def _resident_bytes() -> int:
    """Linux tells what is resident now; elsewhere the peak so far stands in for it."""
    return _status_bytes("VmRSS") or peak_resident_bytes()


def peak_resident_bytes() -> int:
    """The most that was ever resident of this process.

    Raises:
        GfnetBenchError: if the system does not tell.
    """
    # Linux's ru_maxrss would include the parent of a spawned process, so its status file is asked first.
    if found := _status_bytes("VmHWM"):
        return found
    try:
        import resource
    except ImportError as error:
        raise GfnetBenchError("memory: expected Linux or macOS, which tell a process's peak, found neither.") from error
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _status_bytes(field: str) -> int | None:
    file = Path("/proc/self/status")
    if not file.exists():
        return None
    lines = dict(line.split(":", 1) for line in file.read_text().splitlines())
    return int(lines[field].split()[0]) * 1024
