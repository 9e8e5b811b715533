"""Which of the tensors in a checkpoint are a network's weights, and getting them into it: all of them or none."""

from __future__ import annotations

import functools
import re
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from timm.models import PretrainedCfg
from torch import Tensor, nn

from gfnet_bench.bars import tqdm
from gfnet_bench.errors import GfnetBenchError, UsageError, out_of_memory
from gfnet_bench.models.tensorfiles import StandIn, few, read_tensors

StateDict = dict[str, Tensor]

# Where training scripts keep the weights that they trained, and how they call averages of them.
_USUAL = ("model", "state_dict", "model_state_dict")
_AVERAGED = re.compile(r"(^|[._])(ema|swa|avg|averaged?|shadow)([._]|$)|n_averaged", re.IGNORECASE)

# What DataParallel, AveragedModel and training frameworks put before the names of a whole network, and what
# torch.compile and others, which may wrap any part of one, put anywhere.
_WRAPPERS = re.compile(r"(module|model|net|network|.*ema.*|student|teacher)$")
_ANYWHERE = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_COUNTER = "num_batches_tracked"

_DICTIONARIES = 1000  # that are looked into: a file can nest one in itself


def read_checkpoint(path: Path, key: str | None = None) -> StateDict:
    """The tensors of a checkpoint by name.

    Args:
        path: what `torch.save` or safetensors wrote (told apart by content): the tensors by name, or dictionaries
            that hold them. Names are freed of what wrappers put before all of them (`module.`, `_orig_mod.`).
        key: where in the file they are, such as `model_ema`; by default the trained weights rather than an average.

    Raises:
        MissingError: if there is no such file.
        UsageError: if it has nothing under `key`.
        GfnetBenchError: if it holds something else; a file with code in it is not run.
    """
    *_, tensors = _unwrapped(next(iter(_weights(path, key).values())), ())
    return tensors


class Ends(NamedTuple):
    """What the first and the last layer of a network take and give; None where a checkpoint does not tell."""

    classes: int | None
    channels: int | None


def ends_of(path: Path, cfg: PretrainedCfg, key: str | None = None) -> Ends:
    """The ends of the network that a checkpoint is of, by the names that timm's configuration has for those layers.

    Raises:
        MissingError, UsageError, GfnetBenchError: as `read_checkpoint`.
    """
    tensors = read_checkpoint(path, key)

    def side(layers: str | Sequence[str] | None, axis: int, least: int) -> int | None:
        layer = layers if isinstance(layers, str) or not layers else layers[0]
        weight = tensors.get(f"{layer}.weight")
        return None if weight is None or weight.ndim < least else weight.shape[axis]

    return Ends(side(cfg.classifier, 0, 2), side(cfg.first_conv, 1, 4))


def load_weights(net: nn.Module, path: Path, name: str, key: str | None = None) -> str | None:
    """Read a checkpoint into a network, all of it or not at all.

    Names and sizes are first adapted by the `checkpoint_filter_fn` of the module that builds the network, timm's
    convention (it resamples position embeddings, for one). Of several sets of weights in the file the first that fits
    is taken, trained ones before averages, and a line on stderr says so.

    Args:
        net: the network.
        path: the checkpoint.
        name: the model's name, for the error.
        key: which weights of the file; see `read_checkpoint`.

    Returns:
        Where in the file the weights were; None for the file itself.

    Raises:
        MissingError, UsageError: as `read_checkpoint`.
        GfnetBenchError: as `read_checkpoint`, or if the tensors are not those of the network.
    """
    found = _weights(path, key)
    fits = {where: _fit(net, tensors) for where, tensors in found.items()}
    fitting = {where: fit for where, fit in fits.items() if not isinstance(fit, str)}
    if not fitting:
        first, problem = next(iter(fits.items()))
        within = f" (under {few([first])})" if len(fits) > 1 and first else ""
        raise GfnetBenchError(f"{name}: the checkpoint {path} does not fit: {problem}{within}.")
    taken, *others = fitting
    if others:
        _say(
            f"{name}: {path} holds {len(fitting)} sets of weights that fit; taken: {few([taken or 'the outermost'])}; "
            f"--weights-key chooses ({few(list(filter(None, fitting)))})"
        )
    net.load_state_dict(fitting[taken], strict=False)  # whether it is complete was seen above
    return taken or None


@functools.cache
def _say(text: str) -> None:
    tqdm.write(text, file=sys.stderr)


def _fit(net: nn.Module, stored: StateDict) -> StateDict | str:
    """The network's own tensors among those stored, or why they are not."""
    own = _needed(net)
    known, problem = -1, ""
    for form in _unwrapped(stored, own):  # timm's functions know some prefixes, and wait for them
        tensors = _adapted(net, form)
        mismatch = _mismatch(net, form, tensors)
        if not mismatch:
            return {key: tensors[key] for key in own if key in tensors}
        if len(own.keys() & tensors.keys()) >= known:  # what it is called by the most names tells most
            known, problem = len(own.keys() & tensors.keys()), mismatch
    return problem


def _weights(path: Path, key: str | None) -> dict[str, StateDict]:
    """Every set of weights in the file by where it is, the likeliest first; under `key` alone if that is given."""
    content = read_tensors(path)
    found = dict(_sets(content))
    if not any(found.values()):
        raise GfnetBenchError(f"{path}: expected tensors by name, directly or in a dictionary, found {_kind(content)}.")
    if key is not None:
        inside = {where: tensors for where, tensors in found.items() if f"{where}.".startswith(f"{key}.")}
        chosen = {key: found[key]} if key in found else inside
        if not chosen:
            listed = ", ".join(where for where in found if where) or "no keys, but the weights themselves"
            raise UsageError(f"--weights-key {key}: expected weights under that key in {path}, found {listed}")
        found = chosen
    order = sorted(found, key=lambda where: _rank(where, found[where]))
    return {where: found[where] for where in order}


def _rank(where: str, tensors: StateDict) -> tuple[bool, bool, int]:
    """Weights as trained before averages of them, usual places before others, many tensors before few."""
    averaged = bool(_AVERAGED.search(where)) or any(name.endswith("n_averaged") for name in tensors)
    return averaged, where.partition(".")[0] not in _USUAL, -len(tensors)


def _sets(content: object) -> Iterator[tuple[str, StateDict]]:
    """The dictionaries of tensors in a file's content, by the keys that lead there, those of optimizers left out."""
    queue: deque[tuple[tuple[str, ...], object]] = deque([((), content)])
    for _ in range(_DICTIONARIES):
        if not queue:
            return
        where, inside = queue.popleft()
        named = {k: v for k, v in inside.items() if isinstance(k, str)} if isinstance(inside, Mapping) else {}
        queue.extend(((*where, k), v) for k, v in named.items() if isinstance(v, Mapping) and "optim" not in k)
        tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
        if tensors:
            yield ".".join(where), tensors
        parts = {name.partition(".")[0] for name in tensors if "." in name}
        if len(parts) > 1:  # one name space for several networks, as Lightning has it
            for part in sorted(filter(_WRAPPERS.match, parts)):
                of_part = {k.partition(".")[2]: v for k, v in tensors.items() if k.startswith(f"{part}.")}
                yield ".".join([*where, part]), of_part


def _kind(content: object) -> str:
    if isinstance(content, StandIn):
        return f"a pickled {few([content.stands_for])}; save its state_dict() instead"
    if not isinstance(content, Mapping) or not content:
        return f"a {type(content).__name__}"
    objects = {value.stands_for for value in content.values() if isinstance(value, StandIn)}
    pickled = f" with pickled {few(sorted(objects))}; save a state_dict() instead" if objects else ""
    return f"the keys {few([str(key) for key in content])}{pickled}"


def _unwrapped(tensors: StateDict, own: Collection[str]) -> Iterator[StateDict]:
    """The tensors as they are called in the file, then without what wrappers put between their names, and before.

    Args:
        tensors: as they are called in the file.
        own: the names of the network they are for, as far as it is known; a part of those is never taken for a wrapper.
    """
    yield tensors
    known = {part for name in own for part in name.split(".")}
    between = (_ANYWHERE | {"module"} if own else _ANYWHERE) - known
    inside = {
        ".".join(part for part in name.split(".") if part not in between): value
        for name, value in tensors.items()
        if not name.endswith("n_averaged")
    }
    if inside.keys() != tensors.keys():
        yield inside
    while len(first := {name.partition(".")[0] for name in inside}) == 1:
        part = first.pop()
        if not _WRAPPERS.match(part) and (not own or part in known):
            return
        inside = {name.partition(".")[2]: value for name, value in inside.items()}
        if "" in inside:  # a whole name, and no part before others
            return
        yield inside


def _adapted(net: nn.Module, tensors: StateDict) -> StateDict:
    """The tensors after timm's conversion, or as they were where it gives up."""
    adapt: Callable[..., Any] | None = getattr(sys.modules[_module(net)], "checkpoint_filter_fn", None)
    if adapt is None:
        return tensors
    try:
        return dict(adapt(dict(tensors), net))
    except Exception as error:  # the tensors of another architecture can upset it in any way; they are named later
        if out_of_memory(error):
            raise
        return tensors


def _module(net: nn.Module) -> str:
    """The module whose function timm built a network with; of any other network the one that defines it."""
    architecture = getattr(net, "pretrained_cfg", {}).get("architecture", "")
    built = timm.is_model(architecture)
    return timm.model_entrypoint(architecture).__module__ if built else type(net).__module__


def _needed(net: nn.Module) -> StateDict:
    """A network's own tensors, without the counters of batch norms, which only training uses."""
    return {key: tensor for key, tensor in net.state_dict().items() if not key.endswith(_COUNTER)}


def _mismatch(net: nn.Module, stored: StateDict, tensors: StateDict) -> str:
    """Why a network cannot take these tensors, or nothing; `stored` is what they were before they were adapted."""
    own = _needed(net)
    both = [key for key in own if key in tensors]
    present = {(own[key].data_ptr(), own[key].shape) for key in both}
    missing = [
        key for key in own if key not in tensors and (own[key].data_ptr(), own[key].shape) not in present
    ]  # tied
    unexpected = [key for key in tensors if key not in own and not key.endswith(_COUNTER)]
    misshaped = [key for key in both if own[key].shape != tensors[key].shape]
    head = [f"{part}.{kind}" for part in _classifiers(net) for kind in ("weight", "bias")]
    if misshaped and not missing and not unexpected and set(misshaped) <= set(head):
        key = misshaped[0]
        if own[key].shape[1:] == tensors[key].shape[1:] and tensors[key].ndim:
            return f"it was trained for {len(tensors[key])} classes, expected {len(own[key])}"
    for key in both:
        found = _before_resampling(net, key, stored, tensors[key])
        if found is not None:
            return (
                f"{key}: expected {_shape(own[key])}, found {_shape(found)}, which are weights for patches of another "
                "size; timm would resample them, and the network would answer by chance"
            )
    shapes = [f"{key}: expected {_shape(own[key])}, found {_shape(tensors[key])}" for key in misshaped]
    kinds = [f"{key}: {odd}" for key in both if (odd := _odd_kind(tensors[key], own[key]))]
    parts = [
        f"{len(keys)} {word} ({few(keys)})"
        for word, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", shapes),
            ("of another kind", kinds),
        )
        if keys
    ]
    return f"of {len(own)} tensors, " + "; ".join(parts) if parts else ""


def _before_resampling(net: nn.Module, key: str, stored: StateDict, adapted: Tensor) -> Tensor | None:
    """What a layer's weights were before timm made them larger or smaller, None if it did not.

    Tables of positions may be resampled, for another image size; what a network does to each position may not.
    """
    layer = net.get_submodule(key.rpartition(".")[0])
    if not isinstance(layer, (nn.Linear, nn.modules.conv._ConvNd)):
        return None
    before = [stored[key]] if key in stored else [t for t in stored.values() if _is_kernel_like(t, adapted)]  # renamed
    resampled = before and all(tensor.numel() != adapted.numel() for tensor in before)
    return before[0] if resampled else None


def _is_kernel_like(tensor: Tensor, other: Tensor) -> bool:
    """Whether both are kernels of convolutions with the same channels."""
    return tensor.ndim == other.ndim == 4 and tensor.shape[:2] == other.shape[:2]


def _odd_kind(tensor: Tensor, own: Tensor) -> str | None:
    """What is the matter with a tensor whose values cannot be weights of this network, in a few words."""
    if tensor.is_meta:
        return "found no values (a tensor of the meta device)"
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        return f"expected a dense tensor, found {'a quantized one' if tensor.is_quantized else tensor.layout}"
    fits = tensor.dtype in _FLOATS if own.dtype in _FLOATS else not (tensor.dtype in _FLOATS or tensor.is_complex())
    return None if fits else f"expected {own.dtype}, found {tensor.dtype}".replace("torch.", "")


def _classifiers(net: nn.Module) -> Sequence[str]:
    names = getattr(net, "pretrained_cfg", {}).get("classifier") or ()
    return (names,) if isinstance(names, str) else names


def _shape(tensor: Tensor) -> str:
    return " x ".join(str(side) for side in tensor.shape) or "a scalar"
