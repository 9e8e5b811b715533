"""What every study holds in its hands: a network with its weights that takes pixels in [0, 1] and returns logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.models import PretrainedCfg
from torch import Tensor, nn

from gfnet_bench.catalog import ModelSpec, Transform
from gfnet_bench.models.asked import Asked
from gfnet_bench.models.facts import LUMA, Facts, facts_of
from gfnet_bench.models.outputs import logits_of
from gfnet_bench.watch import check_logits


class Model(nn.Module):
    """A frozen classifier on pixels in [0, 1]: it normalises inside, so that a perturbation means the same for all.

    Parameters take no gradient (saved activations shrink by a third to a half), the images may.

    Attributes:
        spec: what it is called, and by whom it is built.
        name: a short name, or a timm name.
        title: as a table prints it.
        transform: how its images are cut.
        facts: what it wants to be shown.
        cfg: how its images are cut, as timm noted it; None where nothing is noted.
        as_named: the hash of its state when it was loaded by its name alone; None otherwise.
        num_classes: k.
        params: number of parameters.
        weights_sha256: hash of the weight file; None for fresh weights.
        weights_source: who published that file, or its name if the user passed it; None for fresh weights.
        weights_key: where in that file the weights were; None for the file itself and where timm read it.
    """

    mean: Tensor
    std: Tensor
    luma: Tensor | None
    chosen: Tensor | None

    def __init__(
        self,
        spec: ModelSpec,
        net: nn.Module,
        transform: Transform,
        weights_sha256: str | None = None,
        weights_source: str | None = None,
        weights_key: str | None = None,
        *,
        mean: Sequence[float] | float | None = None,
        std: Sequence[float] | float | None = None,
        facts: Facts | None = None,
        cfg: PretrainedCfg | None = None,
    ) -> None:
        """A network as a model; what is not given is asked of it, see `facts_of`.

        Args:
            spec: what it is called.
            net: the network; it is put into eval mode.
            transform: how its images are cut.
            weights_sha256: see the attributes.
            weights_source: the same.
            weights_key: the same.
            mean: what it subtracts of pixels in [0, 1], for each channel or for all.
            std: what it divides by then.
            facts: all of this, where it is known already.
            cfg: see the attributes.
        """
        super().__init__()
        if facts is None:
            facts = facts_of(net, spec.name, Asked((transform.height, transform.width), mean=mean, std=std))
        self.spec, self.facts, self.cfg = spec, facts, cfg
        self.name, self.title = spec.name, spec.title
        self.net = net
        self.transform = transform
        self.as_named: str | None = None
        self.num_classes: int = facts.classes
        self.params = sum(parameter.numel() for parameter in net.parameters())
        self.weights_sha256, self.weights_source, self.weights_key = weights_sha256, weights_source, weights_key
        self.register_buffer("mean", torch.tensor(facts.mean).reshape(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(facts.std).reshape(-1, 1, 1), persistent=False)
        luma = torch.tensor(LUMA).reshape(-1, 1, 1) if facts.channels == 1 else None
        self.register_buffer("luma", luma, persistent=False)
        self.register_buffer("chosen", None, persistent=False)
        self.eval().requires_grad_(False)

    def __repr__(self) -> str:
        """In a line; the layers are those of `net`."""
        side = f"{self.transform.height} x {self.transform.width}"
        about = f"{self.params / 1e6:.1f} M parameters, {self.num_classes} classes, images of {side}"
        return f"{type(self).__name__} {self.name}: {about}"

    def forward(self, images: Tensor) -> Tensor:
        """(b, 3, h, w) float in [0, 1] to (b, k) float32 logits, or float64 ones where images and network are.

        A network of one channel is shown their luma; it is part of the model, so that attacks perturb red, green and
        blue, and gradients go through it.

        Raises:
            GfnetBenchError: if the network returns anything else.
        """
        pixels = images if self.luma is None else (images * self.luma).sum(1, keepdim=True)
        logits = check_logits(logits_of(self.net((pixels - self.mean) / self.std)), images)
        logits = logits.to(torch.promote_types(images.dtype, torch.float32))
        return logits if self.chosen is None else logits[:, self.chosen]

    def choose(self, logits: Sequence[int]) -> Model:
        """Return these logits alone from now on, in this order; the model itself."""
        self.chosen = torch.tensor(list(logits), device=self.mean.device)
        self.num_classes = len(logits)
        return self
