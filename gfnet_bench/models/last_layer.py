"""The last linear layer of a model, and the model with another function in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from gfnet_bench.models.model import Model

Readout = Callable[[Tensor, Tensor], Tensor]


def last_layer(model: Model, images: Tensor, classes: Sequence[int]) -> Callable[[Tensor, Readout], Tensor] | str:
    """A way to replace the last linear layer of a model, found by watching it work.

    Args:
        model: the model.
        images: (n, 3, h, w) float32 in [0, 1], to watch it with; two are enough.
        classes: the logits that count, ascending.

    Returns:
        A function of (b, 3, h, w) images and a readout, (b, d) features and the (b, k) that the layer makes of them to
        other (b, k), to what the model returns where the readout stands in the layer's place. Or, where there is no
        such layer, a sentence that says so.
    """
    images = images[:2]
    used: list[tuple[nn.Linear, Tensor]] = []

    def note(layer: nn.Module, arguments: tuple[Tensor, ...], found: Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        if arguments[0].ndim == 2 and len(arguments[0]) == len(images):
            used.append((layer, found))

    hooks = [layer.register_forward_hook(note) for layer in model.net.modules() if isinstance(layer, nn.Linear)]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    if not used:
        return "no linear layer of the model takes one row of features an image"
    layer, outputs = used[-1]
    chosen = torch.tensor(list(classes), device=outputs.device)
    columns = chosen if model.chosen is None else model.chosen[chosen]
    if int(columns.max()) >= outputs.shape[1]:
        return f"the last linear layer has {outputs.shape[1]} outputs, fewer than the model has logits"

    def replaced(images: Tensor, readout: Readout) -> Tensor:
        def other(layer: nn.Module, arguments: tuple[Tensor, ...], found: Tensor) -> Tensor:
            made = readout(arguments[0].float(), found[:, columns].float())
            # what does not count stays below, whatever is made of all logits together further on
            whole = made.amin(1, keepdim=True).detach().expand(found.shape)
            return whole.index_copy(1, columns, made).to(found.dtype)

        with layer.register_forward_hook(other):
            return model(images)[:, chosen]

    with torch.no_grad():
        silent = replaced(images, lambda features, own: torch.zeros_like(own))
    if bool((silent != silent[:1]).any()):
        return "the logits do not come from the last linear layer alone"
    return replaced
