"""Networks with another form for inference, their parallel branches or norms merged: MobileOne, RepVGG, LeViT ..."""

from __future__ import annotations

import textwrap

from timm.utils import reparameterize_model
from torch import nn

from gfnet_bench.errors import UsageError, acquit
from gfnet_bench.models.base import Model

_OFFERS = ("fuse", "reparameterize", "switch_to_deploy")  # what timm calls of a part


def can_be_fused(model: Model) -> bool:
    """Whether a part of the network offers it."""
    parts = (part for part in model.net.modules() if part is not model.net)
    return any(callable(getattr(part, name, None)) for part in parts for name in _OFFERS)


def fused(model: Model) -> Model:
    """The same model, whose network is in that form now; costs less and computes the same but for rounding.

    To be called under the `torch.device` of the model, where new layers are made.

    Raises:
        UsageError: if the network offers it and cannot do it.
    """
    net: nn.Module = model.net
    try:
        model.net = reparameterize_model(net, inplace=True)
    except Exception as error:  # code of others
        acquit(error)
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 200)
        raise UsageError(f"{model.name}: cannot be fused for inference ({reason}); try --as-trained") from error
    model.eval().requires_grad_(False)
    model.params = sum(parameter.numel() for parameter in model.net.parameters())
    return model
