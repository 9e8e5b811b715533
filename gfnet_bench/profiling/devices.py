"""What computes: the part of its description that decides a number, and the state it was in meanwhile."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

_NVIDIA = {
    "driver": "driver_version",
    "sm_clock_mhz": "clocks.sm",
    "memory_clock_mhz": "clocks.mem",
    "max_sm_clock_mhz": "clocks.max.sm",
    "power_limit_w": "power.limit",
    "temperature_c": "temperature.gpu",
}
"""Our name -> a field of nvidia-smi."""

CONTAINER = Path("/sys/fs/cgroup")
"""Where Linux tells a container its limits."""


def device_key(device: torch.device) -> dict[str, Any]:
    """What a cell holds of its device: kind and name, on a CPU threads too; another one is another measurement."""
    if device.type == "cuda":
        return {"kind": "cuda", "name": torch.cuda.get_device_name(device)}
    if device.type == "mps":
        return {"kind": "mps", "name": _cpu_name()}
    return {"kind": "cpu", "name": _cpu_name(), "threads": torch.get_num_threads()}


def device_state(device: torch.device, clocks: bool = True) -> dict[str, Any]:
    """What may explain an odd number, whatever this machine tells.

    Args:
        device: what computes.
        clocks: ask for a GPU's driver, clocks and temperature too, which takes a moment.
    """
    state: dict[str, Any] = {"platform": platform.platform(terse=True)}
    if hasattr(os, "getloadavg"):
        state["load_1min"] = round(os.getloadavg()[0], 2)
    if device.type == "cuda":
        properties: Any = torch.cuda.get_device_properties(device)
        state |= {
            "cuda": torch.version.cuda,
            "memory_bytes": properties.total_memory,
            "multiprocessors": properties.multi_processor_count,
            **(_nvidia_smi(f"GPU-{properties.uuid}") if clocks else {}),
        }
    elif clock := _cpu_clock_mhz():
        state["cpu_clock_mhz"] = clock
    return state


def available_bytes(device: torch.device) -> int:
    """Memory that is still free on `device`; on a CPU what can be taken without swapping."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    else:
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(free, _container_bytes())


def synchronize(device: torch.device) -> None:
    """Wait until `device` has done all it was given; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _container_bytes() -> int:
    """What the memory limit of a container leaves, beyond any machine where there is none.

    Files that the kernel keeps in memory count as used, but make room when asked.
    """
    try:
        limit, used = (int((CONTAINER / f"memory.{name}").read_text()) for name in ("max", "current"))
        stat = dict(line.split() for line in (CONTAINER / "memory.stat").read_text().splitlines())
        return limit - used + int(stat["inactive_file"]) + int(stat["active_file"])
    except (OSError, ValueError, KeyError):  # no such file, or `max`
        return sys.maxsize


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()
    return platform.processor() or platform.machine()


def _cpu_clock_mhz() -> float | None:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    clocks = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    return round(statistics.median(clocks)) if clocks else None


def _nvidia_smi(uuid: str) -> dict[str, str]:
    answer = _output("nvidia-smi", "-i", uuid, f"--query-gpu={','.join(_NVIDIA.values())}", "--format=csv,noheader")
    values = answer.strip().split(", ")
    return dict(zip(_NVIDIA, values, strict=True)) if len(values) == len(_NVIDIA) else {}


def _output(*command: str) -> str:
    """What a command prints; nothing where it is not there, fails or hangs."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):  # a description is not worth a measurement
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
