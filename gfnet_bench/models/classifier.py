"""What the classifiers written here share: the check of their input, first weights, head, and how timm builds them.

Annotations are evaluated here, unlike elsewhere: torch.fx writes those of `forward` into code that TorchScript reads.
"""

import contextlib
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from timm.layers import to_2tuple, trunc_normal_
from timm.models import build_model_with_cfg, register_notrace_function
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from gfnet_bench.catalog import MODELS
from gfnet_bench.models.weights import fetch_weights

LayerNorm = partial(nn.LayerNorm, eps=1e-6)
ImageSize = int | tuple[int, int]
Grid = tuple[int, int]


@register_notrace_function
def check_size(images: Tensor, height: int, width: int) -> None:
    """Raise ValueError if images are of another size; in a public function since torch.fx wraps no other."""
    if torch.jit.is_tracing():
        return
    if images.shape[-2] != height or images.shape[-1] != width:
        raise ValueError(
            f"this model was built for images of {height} x {width}, found {images.shape[-2]} x {images.shape[-1]}; "
            "pass img_size when building it"
        )


class Classifier(nn.Module):
    """Features, pooled to one vector, and a linear head on it; what timm asks of any of its models.

    A state dict of another image size is resampled as it is loaded.

    Args:
        img_size: side of the image, or (height, width).
        num_classes: k; 0 for pooled features.
        num_features: d of the last feature map.
        drop_rate: dropout before the head.
        global_pool: how features become one vector, one of `pools`; empty leaves them as they are.
    """

    pools: tuple[str, ...]
    if TYPE_CHECKING:  # TorchScript reads the annotations of a class, and not these
        feature_info: list[dict[str, Any]]
        grids: list[Grid]
        patch_size: int

    def __init__(
        self, img_size: ImageSize, num_classes: int, num_features: int, drop_rate: float, global_pool: str
    ) -> None:
        super().__init__()
        self.img_size: tuple[int, int] = to_2tuple(img_size)
        self.num_features = self.head_hidden_size = self.embed_dim = num_features
        self.drop_rate = drop_rate
        self.grad_checkpointing = False
        self.norm: nn.Module = LayerNorm(num_features)
        self.reset_classifier(num_classes, global_pool)
        self.register_load_state_dict_pre_hook(_resample)

    def check(self, images: Tensor) -> None:
        """Position embeddings fit one size of image.

        Raises:
            ValueError: if this is another one.
        """
        check_size(images, self.img_size[0], self.img_size[1])

    def _init_weights(self) -> None:
        for name, parameter in self.named_parameters():
            if name.startswith(("pos_embed", "cls_token")):
                trunc_normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def no_weight_decay(self) -> set[str]:
        """Parameters that optimisers leave undecayed."""
        return {name for name, _ in self.named_parameters() if name.startswith(("pos_embed", "cls_token"))}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute activations again in the backward pass, block by block, rather than keep them."""
        self.grad_checkpointing = enable

    def get_classifier(self) -> nn.Module:
        """The last linear layer."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A fresh head.

        Args:
            num_classes: k; 0 gives features instead of logits.
            global_pool: one of `pools`; None for the present one. Empty gives features of every token.
        """
        if global_pool is not None:
            if global_pool not in self.pools:
                known = ", ".join(map(repr, self.pools))
                raise ValueError(f"{type(self).__name__}: expected global_pool {known}, found {global_pool!r}")
            self.global_pool = global_pool
        self.num_classes = num_classes
        own = next(self.parameters())
        head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        self.head = head.to(own.device, own.dtype)

    def get_intermediate_layers(
        self, x: Tensor, n: int | list[int] = 1, reshape: bool = False, norm: bool = False, **ignored: Any
    ) -> Any:
        """The last `n` feature maps, or those numbered so, as DINO's code asks for them.

        Args:
            x: (b, 3, H, W) images.
            n: how many, or which.
            reshape: (b, d, h, w) maps rather than (b, h * w, d) tokens.
            norm: apply the final norm to the last map.
            ignored: options of transformers with prefix tokens or masks.
        """
        return self.forward_intermediates(
            x, n, norm=norm, output_fmt="NCHW" if reshape else "NLC", intermediates_only=True
        )

    def forward_intermediates(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Feature maps along the network, as timm's `features_only` wants them."""
        raise TypeError("a classifier defines its feature maps")

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop the stages after the last one wanted; see `forward_intermediates`.

        Returns:
            The numbers of those wanted.
        """
        wanted, last = feature_take_indices(len(self.feature_info), indices)
        self._drop_stages(last + 1)
        if prune_norm:
            self.norm = nn.Identity()
        if prune_head:
            self.reset_classifier(0, "")
        return list(wanted)

    def set_input_size(self, img_size: ImageSize | None = None, patch_size: int | None = None) -> None:
        """Take images of another size from now on: what was learned for a token grid is resampled.

        Args:
            img_size: side, or (height, width).
            patch_size: accepted for timm's sake; it cannot change.
        """
        if patch_size not in (None, self.patch_size, (self.patch_size, self.patch_size)):
            raise ValueError(f"expected patches of {self.patch_size} pixels, found patch_size={patch_size}")
        if img_size is None:
            return
        grids = self._token_grids(img_size)
        self._regrid(grids)
        self.grids, self.img_size = grids, to_2tuple(img_size)

    def _token_grids(self, img_size: ImageSize) -> list[Grid]:
        """The grid of each stage for images of this size."""
        raise TypeError("a classifier defines its grids")

    def _regrid(self, grids: list[Grid]) -> None:
        """Resample every tensor of the present grids for these."""
        raise TypeError("a classifier defines how its tensors are resampled")

    def _drop_stages(self, kept: int) -> None:
        """Leave out all stages but the first."""
        raise TypeError("a classifier defines its stages")

    def resampled(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Tensors of a checkpoint, those of another token grid in the shapes of this network."""
        raise TypeError("a classifier defines how its tensors are resampled")

    def pooled(self, x: Tensor) -> Tensor:
        """Features after the final norm to (b, d)."""
        raise TypeError("a classifier defines how it pools")

    def forward_features(self, images: Tensor) -> Tensor:
        """(b, 3, H, W) normalised images to features after the final norm."""
        raise TypeError("a classifier defines its features")

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Features to (b, k) logits, or to (b, d) pooled features."""
        x = F.dropout(self.pooled(x), self.drop_rate, self.training)
        return x if pre_logits else self.head(x)

    def forward(self, images: Tensor) -> Tensor:
        """(b, 3, H, W) normalised images to (b, k) logits."""
        return self.forward_head(self.forward_features(images))


def _resample(model: Classifier, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    own = {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
    state_dict.update({prefix + name: value for name, value in model.resampled(own).items()})


def resampled_checkpoint(state_dict: Mapping[str, Any], model: Classifier) -> dict[str, Tensor]:
    """A checkpoint in the official form, resampled where `model` was built for another image size.

    Args:
        state_dict: the tensors, or the tensors under the key `model`.
        model: the network they are for.
    """
    return model.resampled(state_dict.get("model", state_dict))


def as_maps(maps: Tensor, output_fmt: str) -> Tensor:
    """A feature map (b, h, w, d) as `NHWC`, `NCHW`, or as (b, h * w, d) tokens `NLC`.

    Raises:
        ValueError: if it is another format.
    """
    if output_fmt == "NCHW":
        return maps.permute(0, 3, 1, 2)
    if output_fmt == "NLC":
        return maps.flatten(1, 2)
    if output_fmt != "NHWC":
        raise ValueError(f"output_fmt must be NCHW, NHWC or NLC, found {output_fmt!r}")
    return maps


def token_grid(img_size: ImageSize, stride: int) -> Grid:
    """Tokens of (height, width) where one token stands for `stride` pixels a side.

    Raises:
        ValueError: if they do not divide the image.
    """
    height, width = to_2tuple(img_size)
    if height % stride or width % stride or not (height and width):
        raise ValueError(f"image sides must be multiples of {stride} for this model, found {height} x {width}")
    return height // stride, width // stride


def pretrained_cfg(**kwargs: Any) -> dict[str, Any]:
    """What timm wants to know of weights: the authors' transform, and what else is given."""
    return {
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "fixed_input_size": True,
        "crop_pct": 224 / 256,
        "interpolation": "bicubic",
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "classifier": "head",
        **kwargs,
    }


def build(cls: type[Classifier], variant: str, pretrained: bool, **kwargs: Any) -> Any:
    """A model as timm builds it; its weights come through our own download, which leaves a verified file behind."""
    overlay = kwargs.pop("pretrained_cfg_overlay", None) or {}
    weights = MODELS[variant].weights
    if pretrained and weights and not overlay.get("file"):
        overlay = {**overlay, "file": str(fetch_weights(weights, variant))}
    kwargs.setdefault("feature_cfg", {}).setdefault("feature_cls", "getter")
    device, dtype = kwargs.pop("device", None), kwargs.pop("dtype", None)
    with torch.device(device) if device is not None else contextlib.nullcontext():
        net = build_model_with_cfg(
            cls,
            variant,
            pretrained,
            pretrained_filter_fn=resampled_checkpoint,
            pretrained_cfg_overlay=overlay,
            **kwargs,
        )
    return net if dtype is None else net.to(dtype)
