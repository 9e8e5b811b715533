"""Multiply-adds of any module, counted from the operators it runs, on shapes alone.

Other counters give an FFT and often fused attention zero cost; here each has a rule, and an operator without one is
reported, until someone adds one with `rule`. Elementwise operations, sums, normalisations (except as a convention
says), softmax, pooling, resampling, sorting and copies are free by every convention, as in the literature. fvcore and
the GFNet authors' counter, which builds on it, do charge some of these: 5 an element of a GroupNorm, and of the weights
that a weight-standardised convolution normalises (2 here, as of a batch norm), 1 a pixel of adaptive pooling, 4 of
bilinear resampling. A complex multiply-add is four real ones.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from gfnet_bench.conventions import CONVENTIONS, Convention, Transform
from gfnet_bench.errors import GfnetBenchError, acquit

aten = torch.ops.aten


_KINDS = {
    "linear": ("mm", "addmm", "addmm_"),
    "convolution": ("convolution", "_convolution", "cudnn_convolution", "convolution_overrideable"),
    "attention": (
        "bmm",
        "baddbmm",
        "baddbmm_",
        "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_cudnn_attention",
        "_scaled_dot_product_fused_attention_overrideable",
    ),
    "fft": ("_fft_r2c", "_fft_c2r", "_fft_c2c"),
    "complex_product": ("mul", "mul_"),
    "layer_norm": ("native_layer_norm",),
    "batch_norm": ("_native_batch_norm_legit_no_training", "_native_batch_norm_legit", "native_batch_norm"),
}
"""Which operators a table shows under one name; which of them exist depends on the version of torch."""

_KIND_OF = {getattr(aten, name): kind for kind, names in _KINDS.items() for name in names if hasattr(aten, name)}

_BATCHED = {aten.bmm, aten.baddbmm, aten.baddbmm_}

_FREE = set(
    """
    sum mean amax amin max min prod var var_mean std std_mean norm linalg_vector_norm count_nonzero any all cumsum
    cumprod logcumsumexp cummax cummin argmax argmin median mode _softmax _safe_softmax _log_softmax logsumexp
    native_group_norm _fused_rms_norm renorm glu avg_pool1d avg_pool2d avg_pool3d max_pool2d max_pool2d_with_indices
    max_pool3d_with_indices _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_max_pool2d
    adaptive_max_pool3d fractional_max_pool2d max_unpool2d upsample_nearest1d upsample_nearest2d upsample_nearest3d
    _upsample_nearest_exact2d upsample_linear1d upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d
    _upsample_bilinear2d_aa _upsample_bicubic2d_aa grid_sampler_2d affine_grid_generator _unsafe_view _reshape_alias
    as_strided unsafe_split unsafe_split_with_sizes im2col col2im _to_copy copy clone resize pixel_shuffle
    pixel_unshuffle channel_shuffle cat stack block_diag repeat repeat_interleave roll flip rot90 tril triu gather
    scatter scatter_add scatter_reduce index index_put _unsafe_index _unsafe_index_put index_select index_add
    index_copy index_fill masked_select masked_fill masked_scatter put take embedding where topk sort kthvalue
    nonzero searchsorted bucketize constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d
    replication_pad1d replication_pad2d replication_pad3d new_zeros new_ones new_full new_empty new_empty_strided
    zeros_like ones_like full_like empty_like zero fill rand_like randn_like randint_like bernoulli uniform normal
    native_dropout _fused_dropout hardswish hardsigmoid _prelu_kernel rrelu_with_noise complex view_as_real_copy
    """.split()
)
"""Operators no convention charges, in place or not, beside views and elementwise ones, which torch tells us itself."""

Cost = Callable[..., float]
_ADDED: dict[Any, Cost] = {}


def rule(operator: Any) -> Callable[[Cost], Cost]:
    """Add or replace the cost of an operator, for every count from now on; a decorator.

    What is decorated is called with the arguments of the operator and `out_val`, what it returned, all on the meta
    device, and returns multiply-adds (half the operations, where they are none). They appear in tables under the name
    of the operator:

        @rule(torch.ops.aten.mv)
        def mv(matrix, vector, *, out_val):
            return matrix.numel()

    Args:
        operator: one of torch.ops, without its overload; `Count.unruled` names those that want a rule.
    """

    def add(cost: Cost) -> Cost:
        _ADDED[operator] = cost
        return cost

    return add


@dataclass(frozen=True)
class Count:
    """What one forward pass costs.

    Attributes:
        convention: its name in `CONVENTIONS`.
        unit: `MACs` or `FLOPs` (two for a multiply-add), of all numbers here.
        operators: kind -> cost, with the kinds `linear`, `convolution`, `attention` (fused or as batched products),
            `fft`, `complex_product`, `layer_norm`, `batch_norm`; others that torch has rules for under their own name.
        unruled: operator -> calls, for operators that did arithmetic nobody has a rule for; empty if all is counted.
    """

    convention: str
    unit: str
    operators: dict[str, int]
    unruled: dict[str, int]

    @property
    def total(self) -> int:
        """The sum over operators, in `unit`."""
        return sum(self.operators.values())

    @property
    def macs(self) -> int:
        """The total as multiply-adds, half the FLOPs."""
        return self.total if self.unit == "MACs" else round(self.total / 2)


def count(module: nn.Module, *inputs: Tensor | Sequence[int], convention: str = "authors") -> Count:
    """The cost of `module(*inputs)`, found on the meta device: nothing is allocated and nothing computed.

    Args:
        module: on any device, left as it is; build it under `torch.device("meta")` to allocate nothing at all.
        inputs: tensors, or shapes of float32 ones; their first axis is the batch, so 1 gives the cost of one image.
        convention: a name in `CONVENTIONS`.

    Raises:
        UsageError: if there is no such convention.
        GfnetBenchError: if the module cannot take such inputs.
    """
    charge = CONVENTIONS[convention]
    learned = (*module.named_parameters(), *module.named_buffers())
    tensors = {name: torch.empty_like(value, device="meta") for name, value in learned}
    arguments = tuple(
        given.to("meta") if isinstance(given, Tensor) else torch.empty(tuple(given), device="meta") for given in inputs
    )
    counter = FlopCounterMode(display=False)
    counter.flop_registry.update(_rules(charge))
    seen = _Seen(set(counter.flop_registry))
    try:
        with torch.no_grad(), seen, counter:
            functional_call(module, tensors, arguments)
    except (RuntimeError, ValueError, AssertionError, IndexError, TypeError) as error:
        acquit(error)
        shapes = " and ".join(str(tuple(argument.shape)) for argument in arguments)
        name, reason = getattr(module, "name", type(module).__name__), textwrap.shorten(str(error), 300)
        raise GfnetBenchError(f"{name}: cannot be counted on an input of {shapes}: {reason}") from error
    flops = _by_kind(module, counter.get_flop_counts())
    cost = {kind: value * charge.per_mac // 2 for kind, value in flops.items() if value}
    return Count(charge.name, charge.unit, cost, dict(seen.unruled))


def _by_kind(module: nn.Module, counts: dict[str, dict[Any, int]]) -> Counter[str]:
    """The FLOPs of a module from those of its operators, by the name torch gives its parts."""
    flops: Counter[str] = Counter()
    for operator, value in counts.get("Global", {}).items():
        flops[_KIND_OF.get(operator, str(operator))] += value
    # Linear layers on transposed tokens run as batched products in some versions of torch.
    linear: set[str] = set()
    for name, part in module.named_modules(prefix=type(module).__name__):
        inside = any(name.startswith(f"{outer}.") for outer in linear)  # as LoRA's, whose products are in the outer's
        if isinstance(part, nn.Linear) and not inside:
            linear.add(name)
            batched = sum(value for operator, value in counts.get(name, {}).items() if operator in _BATCHED)
            flops["attention"] -= batched
            flops["linear"] += batched
    return flops


def _rules(charge: Convention) -> dict[Any, Callable[..., int]]:
    """Our rules by operator, in FLOPs, whatever the unit of the convention, as torch's own are."""
    per_unit = 2 // charge.per_mac

    def matrices(first: int) -> Callable[..., int]:
        def cost(*arguments: Any, out_val: Tensor, **_: Any) -> int:
            left = arguments[first]
            return 2 * (4 if left.is_complex() else 1) * out_val.numel() * left.shape[-1]

        return cost

    def added(cost: Cost) -> Callable[..., int]:
        return lambda *arguments, **options: round(2 * cost(*arguments, **options))

    def attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
        *batch, queries, width = query.shape
        return 2 * math.prod(batch) * queries * key.shape[-2] * (width + value.shape[-1])

    def transform(kind: str) -> Callable[..., int]:
        def cost(x: Tensor, dim: Sequence[int], *_: Any, out_val: Tensor, **__: Any) -> int:
            seen, out = (math.prod(tensor.shape[axis] for axis in dim) for tensor in (x, out_val))
            return per_unit * round(charge.transform(Transform(kind, seen, max(seen, out), x.numel() // seen)))

        return cost

    def product(a: Tensor, b: Tensor | complex, *_: Any, out_val: Tensor, **__: Any) -> int:
        both = isinstance(b, Tensor) and a.is_complex() and b.is_complex()
        return per_unit * charge.complex_product * out_val.numel() if both else 0

    def norm(per_element: int) -> Callable[..., int]:
        return lambda x, *_, **__: per_unit * per_element * x.numel()

    rules: dict[str, Callable[..., int]] = {
        **{name: matrices(0) for name in ("mm", "bmm")},
        **{name: matrices(1) for name in ("addmm", "addmm_", "baddbmm", "baddbmm_")},
        **{name: attention for name in _KINDS["attention"] if name.startswith("_scaled")},
        **{name: transform(name.removeprefix("_fft_")) for name in _KINDS["fft"]},
        **{name: product for name in _KINDS["complex_product"]},
        **{name: norm(charge.layer_norm) for name in _KINDS["layer_norm"]},
        **{name: norm(charge.batch_norm) for name in _KINDS["batch_norm"]},
    }
    ours = {getattr(aten, name): cost for name, cost in rules.items() if hasattr(aten, name)}
    return {**ours, **{operator: added(cost) for operator, cost in _ADDED.items()}}


class _Seen(TorchDispatchMode):
    """Notes the operators that made floating-point numbers, are not free and have no rule."""

    def __init__(self, ruled: set[Any]) -> None:
        super().__init__()
        self.ruled = ruled
        self.unruled: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operator, and note it where it belongs."""
        out = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        plain = packet.__name__.removesuffix("_") if not packet.__name__.startswith("__") else packet.__name__
        told = func.is_view or torch.Tag.inplace_view in func.tags or torch.Tag.pointwise in func.tags
        free = told or plain in _FREE or packet.__name__ in _FREE
        if packet not in self.ruled and not free and _has_numbers(out) and _has_numbers((args, kwargs)):
            self.unruled[str(packet)] += 1
        return out


def _has_numbers(tree: Any) -> bool:
    tensors = (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))
    return any(tensor.is_floating_point() or tensor.is_complex() for tensor in tensors)
