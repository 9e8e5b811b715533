"""What of a device works: everything a number rests on that is its own, tried out in seconds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F

from gfnet_bench.datasets.doctor import Finding
from gfnet_bench.errors import MissingError, UsageError
from gfnet_bench.evaluation import precision
from gfnet_bench.models.global_filter import kernels, way_taken
from gfnet_bench.profiling.devices import available_bytes, device_key, device_state
from gfnet_bench.profiling.latency import measure

KERNELS = {"unrolled": (14, 384), "lines": (28, 384), "lines of two threads": (70, 384)}
"""Which of our kernels -> a side and a width that it takes."""

COPIED = {"cuda": 2**30, "mps": 2**28, "cpu": 2**26}
"""Bytes that are copied, more than a cache holds."""

SMALL_BYTES = 4e9  # what GFNet-S takes at the usual batch size

Told = Iterator[tuple[str, str]]


def examine_device(name: str) -> list[Finding]:
    """Findings about a device; a check that fails is one, and keeps no other from being made.

    Raises:
        UsageError: if there is no such device here.
    """
    device = torch.device(name)
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {name}: cannot be used here: {str(error).splitlines()[0]}") from error
    checks: list[Callable[[torch.device], Told]] = [_what, _memory, _copy, _tf32, _repeats]
    found = []
    for check in [*checks, _kernels] if device.type == "cuda" else checks:
        try:
            with warnings.catch_warnings():  # what they would say is found here
                warnings.simplefilter("ignore")
                found += [Finding(severity, name, text) for severity, text in check(device)]
        except Exception as error:  # whatever a driver, a library or a compiler may raise
            reason = (str(error) or type(error).__name__).splitlines()[0]
            found.append(Finding("error", name, f"{(check.__doc__ or '').rstrip('.')}: failed: {reason}"))
    return found


def _what(device: torch.device) -> Told:
    """Name, driver and capability."""
    key, state = device_key(device), device_state(device)
    if device.type != "cuda":
        yield "ok", f"{key['name']}, {key.get('threads', 1)} threads, torch {torch.__version__}"
        return
    major, minor = torch.cuda.get_device_capability(device)
    about = f"driver {state.get('driver', 'unknown')}, CUDA {torch.version.cuda}, torch {torch.__version__}"
    yield "ok", f"{key['name']}, sm_{major}{minor}, {about}"
    known = torch.cuda.get_arch_list()
    if known and f"sm_{major}{minor}" not in known:
        yield "warning", f"this torch has no code of its own for sm_{major}{minor}, only for {', '.join(known)}"


def _memory(device: torch.device) -> Told:
    """Free memory."""
    free = available_bytes(device)
    yield ("ok" if free >= SMALL_BYTES else "warning"), f"{free / 1e9:.1f} GB of memory are free"


def _copy(device: torch.device) -> Told:
    """A copy's bandwidth."""
    size = min(COPIED[device.type], available_bytes(device) // 8)
    x = torch.zeros(size // 4, device=device)
    y = torch.empty_like(x)
    taken = measure(lambda: y.copy_(x), device, budget_s=0.5).median
    yield "ok", f"a copy of {size / 2**20:.0f} MiB reads and writes {2 * size / taken / 1e9:,.0f} GB/s"


def _tf32(device: torch.device) -> Told:
    """Whether float32 is float32, and what tf32 is."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 256, 256, generator=generator)
    images, weight = torch.rand(2, 16, 32, 32, generator=generator), torch.rand(16, 16, 3, 3, generator=generator)
    exact = {"products": a.double() @ b.double(), "convolutions": F.conv2d(images.double(), weight.double())}
    a, b, images, weight = (t.to(device) for t in (a, b, images, weight))
    errors = {}
    for dtype in ("float32", "tf32"):
        with precision(dtype, device):
            found = {"products": a @ b, "convolutions": F.conv2d(images, weight)}
        for what, value in found.items():
            truth = exact[what]
            errors[what, dtype] = float((value.double().cpu() - truth).abs().max() / truth.abs().max())
    for what in exact:
        strict, coarse = errors[what, "float32"], errors[what, "tf32"]
        if strict > 1e-5:
            yield "error", f"{what} in float32 are off by {strict:.0e} of the maximum, expected at most 1e-5"
        else:
            yield "ok", f"{what}: float32 within {strict:.0e} of the maximum, tf32 within {coarse:.0e}"


def _repeats(device: torch.device) -> Told:
    """Whether the gradient of a convolution repeats to the bit."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(8, 32, 32, 32, generator=generator).to(device).requires_grad_()
    weight = torch.rand(64, 32, 3, 3, generator=generator).to(device)
    with precision("float32", device):
        first, *others = (
            torch.autograd.grad(F.conv2d(images, weight, stride=2).square().sum(), images)[0] for _ in range(4)
        )
    if all(torch.equal(first, other) for other in others):
        yield "ok", "the gradient of a convolution repeats to the bit"
    else:
        yield "error", "the gradient of a convolution does not repeat: attacks on CNNs will differ from run to run"


def _kernels(device: torch.device) -> Told:
    """Our kernels against torch.fft."""
    try:
        by_triton = kernels()
    except MissingError as error:
        yield "warning", f"no kernels of ours ({error}); global filters are computed by torch.fft, several times slower"
        return
    import triton

    yield "ok", f"Triton {triton.__version__}"
    for name, (side, width) in KERNELS.items():
        at = f"kernel {name} at {side} x {side}, width {width}"
        if by_triton.works(side, side, width, device):
            yield "ok", f"{at}: equals torch.fft, gradients too"
        else:
            taken = way_taken((side, side), width, device)
            yield "warning", f"{at}: does not build or gives wrong numbers; {taken} is taken in its place"
