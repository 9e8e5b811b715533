"""What a computation would launch and move on a GPU, told by tensors that only claim to be there: no GPU is needed.

    with stand_ins(), Traffic() as traffic:
        model(torch.empty(128, 3, 224, 224, device="cuda"))
    traffic.launches, traffic.bytes

Whatever would have to know a number that the device computed raises, since there is none: where that is, a real device
would be waited for.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

_MADE = {torch.ops.aten.empty, torch.ops.aten.empty_strided, torch.ops.aten.new_empty, torch.ops.aten.empty_like}
"""Operators that only reserve memory."""


def stand_ins() -> AbstractContextManager[Any]:
    """Within it every new tensor has shape, type and device, and no numbers."""
    return FakeTensorMode(allow_non_fake_inputs=True)


class Traffic(TorchDispatchMode):
    """Counts operators of torch within its block; one that is no view is taken for one kernel.

    Attributes:
        launches: kernels.
        bytes: what they read and write, each tensor once a kernel.
        copies: how many of them pass something between host and device.
        flops: of products, two a multiply-add.
        seconds: the sum over kernels of what takes longer, their bytes or their products.
    """

    def __init__(self, bytes_per_s: float = float("inf"), flops_per_s: Callable[[Any], float] | None = None) -> None:
        """Ceilings of a device: bytes a second, and operations a second of products of a type of numbers."""
        super().__init__()
        self._bytes_per_s, self._flops_per_s = bytes_per_s, flops_per_s
        self.reset()

    def reset(self) -> None:
        """Count from nought again."""
        self.launches = self.bytes = self.copies = self.flops = 0
        self.seconds = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator and count it."""
        out = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if func.is_view or torch.Tag.inplace_view in func.tags or packet in _MADE:
            return out
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        written = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        if not written:
            return out
        # A single number of the host goes along with the launch.
        devices = {t.device.type for t in written} | {t.device.type for t in read if t.ndim}
        self.copies += len(devices) > 1
        flops = flop_registry[packet](*args, **(kwargs or {}), out_val=out) if packet in flop_registry else 0
        self.add(1, sum(map(_size, (*read, *written))), flops, written[0].dtype)
        return out

    def add(self, launches: int, moved: int, flops: int = 0, dtype: torch.dtype = torch.float32) -> None:
        """Count kernels that torch does not know of."""
        self.launches += launches
        self.bytes += moved
        self.flops += flops
        products = flops / self._flops_per_s(dtype) if flops and self._flops_per_s else 0.0
        self.seconds += max(moved / self._bytes_per_s, products)


@contextmanager
def kernels_counted(traffic: Traffic, package: ModuleType) -> Iterator[None]:
    """Every `*_kernel` in the files of a package, called as `kernel[grid](...)`, is counted and not launched."""
    files = [import_module(f"{package.__name__}.{file.name}") for file in pkgutil.iter_modules(package.__path__)]
    with ExitStack() as stack:
        for file in files:
            for name in [name for name in vars(file) if name.endswith("_kernel")]:
                stack.enter_context(patch.object(file, name, _Launched(traffic)))
        yield


class _Launched:
    """Stands for a kernel of Triton: it moves each tensor that it is given once."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic

    def __getitem__(self, grid: object) -> Callable[..., None]:
        def launch(*given: Any, **options: Any) -> None:
            self._traffic.add(1, sum(_size(tensor) for tensor in given if isinstance(tensor, Tensor)))

        return launch


def _size(tensor: Tensor) -> int:
    """Bytes that are touched: of a tensor that repeats itself, what there is."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
