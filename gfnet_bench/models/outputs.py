"""The logits in what a network returns, which is a tensor, or something that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def logits_of(found: Any) -> Any:
    """The logits in a network's output.

    Args:
        found: a tensor; a dictionary or an object with `logits`; or a list, tuple or dictionary whose first
            two-dimensional tensor is taken, as of networks with auxiliary outputs.

    Returns:
        A tensor, or what was found where there is none in it.
    """
    if isinstance(found, Tensor):
        return found
    named = found.get("logits") if isinstance(found, Mapping) else getattr(found, "logits", None)
    if isinstance(named, Tensor):
        return named
    inside = found.values() if isinstance(found, Mapping) else found if isinstance(found, (tuple, list)) else ()
    return next((value for value in inside if isinstance(value, Tensor) and value.ndim == 2), found)
