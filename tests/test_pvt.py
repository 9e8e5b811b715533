"""PVT: the official parameter names, the paper's parameter counts, and the outputs of an independent implementation."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor

import gfnet_bench.models  # noqa: F401  (registers PVT with timm)
from gfnet_bench.models.checkpoints import load_weights
from gfnet_bench.models.pvt import PVT
from gfnet_bench.models.resampling import resize_pos_embed

DEPTHS = {"pvt_tiny": (2, 2, 2, 2), "pvt_small": (3, 4, 6, 3), "pvt_medium": (3, 4, 18, 3), "pvt_large": (3, 8, 27, 3)}
# Millions, as the authors' model table prints them.
PUBLISHED = {"pvt_tiny": 13.2, "pvt_small": 24.5, "pvt_medium": 44.2, "pvt_large": 61.4}
# The shape of PVT-Tiny at an eighth of its width.
SLIM = {"embed_dim": (8, 16, 40, 64), "num_heads": (1, 2, 5, 8)}


def build(**kwargs: object) -> PVT:
    torch.manual_seed(0)
    net = timm.create_model("pvt_tiny", **{**SLIM, **kwargs}).eval()
    assert isinstance(net, PVT)
    # Fresh biases and norms are zeros and ones, which would hide a mistake in their use.
    for parameter in net.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return net


def official_shapes(depths: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Names and shapes in the authors' release files, written down from their model definition."""
    shapes: dict[str, tuple[int, ...]] = {"cls_token": (1, 1, 512)}
    stages = zip((64, 128, 320, 512), depths, (8, 8, 4, 4), (8, 4, 2, 1), (3136, 784, 196, 50), strict=True)
    before = 3
    for stage, (dim, depth, ratio, reduction, tokens) in enumerate(stages, start=1):
        patch = 4 if stage == 1 else 2
        shapes[f"pos_embed{stage}"] = (1, tokens, dim)
        shapes[f"patch_embed{stage}.proj.weight"] = (dim, before, patch, patch)
        for name in ("proj.bias", "norm.weight", "norm.bias"):
            shapes[f"patch_embed{stage}.{name}"] = (dim,)
        for block in range(depth):
            prefix = f"block{stage}.{block}."
            linear = {"attn.q": (dim, dim), "attn.kv": (2 * dim, dim), "attn.proj": (dim, dim)}
            linear |= {"mlp.fc1": (ratio * dim, dim), "mlp.fc2": (dim, ratio * dim)}
            norms = ["norm1", "norm2"]
            if reduction > 1:
                shapes[prefix + "attn.sr.weight"] = (dim, dim, reduction, reduction)
                shapes[prefix + "attn.sr.bias"] = (dim,)
                norms.append("attn.norm")
            for name, shape in linear.items():
                shapes[f"{prefix}{name}.weight"], shapes[f"{prefix}{name}.bias"] = shape, shape[:1]
            for name in norms:
                shapes[f"{prefix}{name}.weight"] = shapes[f"{prefix}{name}.bias"] = (dim,)
        before = dim
    shapes |= {"norm.weight": (512,), "norm.bias": (512,), "head.weight": (1000, 512), "head.bias": (1000,)}
    return shapes


@pytest.mark.parametrize("name", DEPTHS)
def test_parameters_are_those_of_the_release(name: str) -> None:
    with torch.device("meta"):
        net = timm.create_model(name)
    assert {key: tuple(value.shape) for key, value in net.state_dict().items()} == official_shapes(DEPTHS[name])
    assert round(sum(p.numel() for p in net.parameters()) / 1e6, 1) == PUBLISHED[name]


def transformers_name(name: str) -> str:
    """What an official parameter is called in transformers, apart from `kv` and the position embeddings."""
    if name.startswith("head."):
        return name.replace("head", "classifier")
    if name == "cls_token":
        return "pvt.encoder.patch_embeddings.3.cls_token"
    if name.startswith("norm."):
        return name.replace("norm", "pvt.encoder.layer_norm")
    part, _, rest = name.partition(".")
    stage = int(part[-1]) - 1
    if part.startswith("patch_embed"):
        rest = rest.replace("proj", "projection").replace("norm", "layer_norm")
        return f"pvt.encoder.patch_embeddings.{stage}.{rest}"
    for ours, theirs in {
        "norm1": "layer_norm_1",
        "norm2": "layer_norm_2",
        "attn.norm": "attention.self.layer_norm",
        "attn.sr": "attention.self.sequence_reduction",
        "attn.q": "attention.self.query",
        "attn.proj": "attention.output.dense",
        "fc1": "dense1",
        "fc2": "dense2",
    }.items():
        rest = rest.replace(f"{ours}.", f"{theirs}.")
    return f"pvt.encoder.block.{stage}.{rest}"


def to_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    theirs = {}
    for name, value in state.items():
        if name.startswith("pos_embed"):
            theirs[f"pvt.encoder.patch_embeddings.{int(name[-1]) - 1}.position_embeddings"] = value
        elif ".kv." in name:
            key, values = value.chunk(2)
            theirs[transformers_name(name.replace(".kv.", ".q.")).replace("query", "key")] = key
            theirs[transformers_name(name.replace(".kv.", ".q.")).replace("query", "value")] = values
        else:
            theirs[transformers_name(name)] = value
    return theirs


def test_logits_equal_those_of_transformers() -> None:
    transformers = pytest.importorskip("transformers", reason="the oracle is transformers' PVT (extra `pvt`)")
    net = build(img_size=64, num_classes=10)
    config = transformers.PvtConfig(
        image_size=64,
        depths=[2, 2, 2, 2],
        hidden_sizes=list(SLIM["embed_dim"]),
        num_attention_heads=list(SLIM["num_heads"]),
        mlp_ratios=[8, 8, 4, 4],
        sequence_reduction_ratios=[8, 4, 2, 1],
        layer_norm_eps=1e-6,
        num_labels=10,
    )
    oracle = transformers.PvtForImageClassification(config).eval()
    for name, module in oracle.named_modules():
        # The authors leave PyTorch's own epsilon in these two kinds of norm; transformers has one epsilon for all.
        if name.endswith("layer_norm") and ("patch_embeddings" in name or "attention" in name):
            module.eps = 1e-5
    oracle.load_state_dict(to_transformers(net.state_dict()), strict=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        ours, theirs = net(images), oracle(images).logits
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_fused_and_plain_attention_agree() -> None:
    net = build(img_size=64)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        fused = net(images)
        for module in net.modules():
            if hasattr(module, "fused_attn"):
                module.fused_attn = not module.fused_attn
        torch.testing.assert_close(net(images), fused, atol=1e-5, rtol=1e-5)


def test_rectangular_images() -> None:
    net = build(img_size=(32, 96), num_classes=10)
    assert net.grids == [(8, 24), (4, 12), (2, 6), (1, 3)]
    assert net(torch.randn(2, 3, 32, 96)).shape == (2, 10)


@pytest.mark.parametrize("img_size", [240, (64, 48)])
def test_sizes_it_cannot_take(img_size: int | tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        build(img_size=img_size)


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="built for images of 64 x 64, found 64 x 96"):
        build(img_size=64)(torch.randn(1, 3, 64, 96))


def test_resizing_keeps_a_linear_ramp_linear() -> None:
    # Bilinear interpolation reproduces a ramp away from the border; the class token stays as it is.
    ramp = torch.arange(8.0).repeat(8, 1).reshape(1, 64, 1)
    pos_embed = torch.cat((torch.full((1, 1, 1), -7.0), ramp), dim=1)
    resized = resize_pos_embed(pos_embed, (4, 16), "bilinear", prefix=1)
    assert resized[0, 0] == -7.0
    columns = (torch.arange(16) + 0.5) / 2 - 0.5
    torch.testing.assert_close(resized[0, 1:, 0].reshape(4, 16)[:, 1:-1], columns[1:-1].repeat(4, 1))


def test_weights_load_at_their_own_size_and_at_another(tmp_path: Path) -> None:
    source = build(img_size=64)
    torch.save({"model": source.state_dict()}, tmp_path / "pvt.pth")
    same, other = build(img_size=64), build(img_size=96)
    load_weights(same, tmp_path / "pvt.pth", "pvt_tiny")
    load_weights(other, tmp_path / "pvt.pth", "pvt_tiny")
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(same(images), source(images))
    assert torch.equal(other.block1[0].attn.q.weight, source.block1[0].attn.q.weight)
    assert torch.equal(other.pos_embed4[:, 0], source.pos_embed4[:, 0])
    assert other.pos_embed4.shape == (1, 1 + 9, 64)


def test_timm_conventions() -> None:
    net = build(img_size=32, drop_path_rate=0.2, in_chans=1)
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for i in range(1, 5) for block in getattr(net, f"block{i}")]
    assert rates == pytest.approx([0.2 * i / 7 for i in range(8)])
    images = torch.randn(2, 1, 32, 32)
    features = net.forward_features(images)
    assert features.shape == (2, 1 + 1, 64)
    assert torch.equal(net(images), net.get_classifier()(net.forward_head(features, pre_logits=True)))
    net.reset_classifier(0)
    assert net(images).shape == (2, 64)


def test_feature_maps_are_the_stages() -> None:
    torch.manual_seed(0)
    net = build(img_size=64).eval()
    images = torch.randn(2, 3, 64, 64)
    tokens, maps = net.forward_intermediates(images, norm=True)
    assert [tuple(m.shape[2:]) for m in maps] == [(16, 16), (8, 8), (4, 4), (2, 2)]
    assert torch.equal(tokens, net.forward_features(images))
    assert torch.equal(maps[-1].flatten(2).transpose(1, 2), tokens[:, 1:])  # without the class token
    (last,) = net.forward_intermediates(images, indices=1, intermediates_only=True)
    assert torch.equal(net.norm(last.flatten(2).transpose(1, 2)), tokens[:, 1:])
    extractor = timm.create_model("pvt_tiny", features_only=True, img_size=64)
    assert extractor.feature_info.reduction() == [4, 8, 16, 32]
    assert [m.shape[1] for m in extractor(images)] == [64, 128, 320, 512]
