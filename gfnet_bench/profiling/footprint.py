"""How much memory a step will take at least, told from the shapes of its tensors before anything is allocated."""

from __future__ import annotations

import weakref
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gfnet_bench.profiling.workload import Workload


def predicted_bytes(workload: Workload) -> int:
    """Bytes of tensors alive at the peak of a step beside the weights, found on the meta device: nothing is allocated.

    What libraries take beside tensors is not in it. Fused attention counts as not materialised.

    Args:
        workload: built on the meta device.
    """
    weights = [t.untyped_storage() for t in (*workload.module.parameters(), *workload.module.buffers())]
    with _Live({storage._cdata for storage in weights}) as live, _FusedAttention():
        workload.step()()
    return live.peak


class _Live(TorchDispatchMode):
    """Follows which storages are alive, those of the weights apart."""

    def __init__(self, weights: set[int]) -> None:
        super().__init__()
        self._weights = weights
        self.live = self.peak = 0
        self._storages: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._follow(tensor.untyped_storage())
        return out

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._storages or key in self._weights:
            return

        def gone(_: object) -> None:
            del self._storages[key]
            self.live -= size

        self._storages[key] = weakref.ref(storage, gone)
        self.live += size
        self.peak = max(self.peak, self.live)


class _FusedAttention(TorchFunctionMode):
    """On the meta device torch would materialise what every real one fuses: stand in something of the right size."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention and len(args) >= 3:
            query, key, value = args[:3]
            return query + key + value if query.shape == key.shape == value.shape else query * 1.0
        return func(*args, **(kwargs or {}))
