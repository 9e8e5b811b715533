"""Models that this process holds, known by their names like those of the catalogue: what is measured is what is there.

A model is known as long as somebody holds it. Its cells say the hash of its weights, and of what it is beside them.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from weakref import WeakValueDictionary

from timm.models import PretrainedCfg
from torch import nn

from gfnet_bench.catalog import MODELS, ModelSpec, find_spec, is_pattern
from gfnet_bench.errors import UsageError
from gfnet_bench.models.factories import sha256_of_state
from gfnet_bench.models.model import Model
from gfnet_bench.models.own import Network, cutting
from gfnet_bench.terminal import shortened

_INSTALLED = ("site-packages", "dist-packages", "gfnet_bench")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@dataclass(frozen=True)
class InHand:
    """See `catalog.Held`; a copy is what may be moved and changed."""

    model: Model
    copied: bool = False

    def __str__(self) -> str:
        return self.model.name

    def sha256(self) -> str:
        """Of its layers, as they print themselves, the source of those that no installed package has, and its size.

        Source that Python does not have, of a class that was typed in, is left out.
        """
        lines = [str(self.model.facts.size), _ADDRESS.sub("", repr(self.model.net)), *_sources(self.model.net)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def network(self) -> Network:
        """What it is now: somebody may have trained it since it was last seen."""
        model = self.model
        cfg: PretrainedCfg = cutting(model.net) if model.cfg is None else model.cfg
        net = copy.deepcopy(model.net) if self.copied else model.net
        return Network(net, model.facts, cfg, sha256_of_state(model.net), "in memory", None)


def hold(model: Model, copied: bool = False) -> str:
    """Let a model be known by its name in this process, as long as somebody holds it.

    Args:
        model: what `load_model` gives under that name from now on, its very network.
        copied: or a copy of it each time.

    Returns:
        The name; with "in hand" behind it where it is that of a model that is not in memory.

    Raises:
        UsageError: if it is no name that a table could have.
    """
    name = model.name
    if not name.strip() or len(name) > 80 or not name.isprintable() or ":" in name or is_pattern(name):
        wanted = "a name for the model of up to 80 characters without * ? [ :"
        raise UsageError(f"expected {wanted}, found {shortened(name)!r}; choose another: wrap(net, name=...)")
    _held.pop(name, None)
    try:
        find_spec(name)
        name = f"{name} in hand"
    except UsageError:
        pass
    _held[name] = model
    (_copied.add if copied else _copied.discard)(name)
    return name


_held: WeakValueDictionary[str, Model] = WeakValueDictionary()
_copied: set[str] = set()


def _spec(name: str) -> ModelSpec | None:
    model = _held.get(name)
    if model is None:
        return None
    return replace(model.spec, name=name, title=name, weights=None, factory=InHand(model, name in _copied))


MODELS.derive(_spec)


def _sources(net: nn.Module) -> Iterator[str]:
    for kind in sorted({type(module) for module in net.modules()}, key=lambda kind: kind.__qualname__):
        try:
            file = Path(inspect.getfile(kind))
            if not set(_INSTALLED) & set(file.parts):
                yield inspect.getsource(kind)
        except (OSError, TypeError):
            continue
