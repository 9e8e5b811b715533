"""GFNet against the paper's own figures, and its layer against a convolution worked out directly."""

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F

import gfnet_bench.models  # noqa: F401  (registers with timm)
from gfnet_bench.models.gfnet import Block, GFNet, GFNetPyramid, GlobalFilter
from gfnet_bench.models.gfnet_variants import checkpoint_filter_fn
from gfnet_bench.models.resampling import resize_filter, resize_pos_embed

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_classes": 5}
SMALL_PYRAMID = {"img_size": 64, "embed_dim": (8, 8, 16, 16), "depth": (1, 1, 2, 1), "num_classes": 5}

# Counted on the authors' code.
PARAMETERS = {
    ("gfnet_ti", 224): 7_511_784,
    ("gfnet_xs", 224): 15_985_768,
    ("gfnet_s", 224): 24_869_608,
    ("gfnet_b", 224): 43_120_616,
    ("gfnet_h_ti", 224): 15_085_096,
    ("gfnet_h_s", 224): 32_162_632,
    ("gfnet_h_b", 224): 53_744_200,
    ("gfnet_xs", 384): 17_974_888,
    ("gfnet_s", 384): 27_933_928,
    ("gfnet_b", 384): 47_206_376,
}


@pytest.mark.parametrize(("name", "size"), PARAMETERS)
def test_parameter_counts_are_the_authors(name, size):
    with torch.device("meta"):
        model = timm.create_model(name, img_size=size)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name, size]


@pytest.mark.parametrize("grid", [(4, 4), (5, 5), (4, 6), (7, 4), (3, 5)])
def test_global_filter_is_circular_convolution_with_its_spatial_kernel(grid):
    torch.manual_seed(0)
    h, w = grid
    layer = GlobalFilter(3, grid)
    kernel = np.fft.irfft2(torch.view_as_complex(layer.complex_weight).detach().numpy(), s=grid, axes=(0, 1))
    x = torch.randn(2, h, w, 3)
    expected = np.zeros((2, h, w, 3))
    for dy in range(h):
        for dx in range(w):
            expected += kernel[dy, dx] * np.roll(x.numpy(), (dy, dx), axis=(1, 2))
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, atol=1e-6)


def test_block_has_one_residual_around_filter_and_mlp():
    torch.manual_seed(0)
    block = Block(8, (4, 4), init_values=0.5)
    x = torch.randn(2, 4, 4, 8)
    y = F.layer_norm(x, (8,), eps=1e-6)
    y = F.layer_norm(block.filter(y), (8,), eps=1e-6)
    y = F.linear(
        F.gelu(F.linear(y, block.mlp.fc1.weight, block.mlp.fc1.bias)), block.mlp.fc2.weight, block.mlp.fc2.bias
    )
    torch.testing.assert_close(block(x), x + 0.5 * y)


def test_state_dict_names_and_shapes_are_those_of_the_official_files():
    with torch.device("meta"):
        names = {k: tuple(v.shape) for k, v in timm.create_model("gfnet_xs").state_dict().items()}
    block = {
        "norm1.weight": (384,),
        "norm1.bias": (384,),
        "filter.complex_weight": (14, 8, 384, 2),
        "norm2.weight": (384,),
        "norm2.bias": (384,),
        "mlp.fc1.weight": (1536, 384),
        "mlp.fc1.bias": (1536,),
        "mlp.fc2.weight": (384, 1536),
        "mlp.fc2.bias": (384,),
    }
    expected = {
        "pos_embed": (1, 196, 384),
        "patch_embed.proj.weight": (384, 3, 16, 16),
        "patch_embed.proj.bias": (384,),
        "norm.weight": (384,),
        "norm.bias": (384,),
        "head.weight": (1000, 384),
        "head.bias": (1000,),
        **{f"blocks.{i}.{k}": v for i in range(12) for k, v in block.items()},
    }
    assert names == expected


def test_pyramid_state_dict_names():
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in timm.create_model("gfnet_h_ti").state_dict().items()}
    assert shapes["pos_embed"] == (1, 56 * 56, 64)
    assert shapes["patch_embed.0.proj.weight"] == (64, 3, 4, 4)
    assert shapes["patch_embed.3.proj.weight"] == (512, 256, 2, 2)
    assert shapes["blocks.2.9.gamma"] == (256,)
    assert shapes["blocks.3.2.filter.complex_weight"] == (7, 4, 512, 2)


@pytest.mark.parametrize("key", ["model", None])
def test_official_checkpoint_loads_unchanged_and_resampled(tmp_path, key):
    torch.manual_seed(0)
    source = timm.create_model("gfnet_ti", depth=2)
    state = source.state_dict()
    file = tmp_path / "gfnet-ti.pth"
    torch.save({key: state} if key else state, file)
    overlay = {"file": str(file)}
    same = timm.create_model("gfnet_ti", depth=2, pretrained=True, pretrained_cfg_overlay=overlay)
    assert all(torch.equal(state[name], tensor) for name, tensor in same.state_dict().items())
    wide = timm.create_model("gfnet_ti", depth=2, img_size=(224, 320), pretrained=True, pretrained_cfg_overlay=overlay)
    assert wide.blocks[1].filter.complex_weight.shape == (14, 11, 256, 2)
    assert wide(torch.rand(1, 3, 224, 320)).shape == (1, 1000)


def test_resampling_keeps_what_it_must():
    ramp = torch.arange(14.0)[:, None, None, None].expand(14, 8, 2, 2).contiguous()
    assert torch.equal(resize_filter(ramp, (14, 14)), ramp)
    larger = resize_filter(ramp, (27, 28))
    assert larger.shape == (27, 15, 2, 2)
    # Corners are aligned: the first and last frequencies keep their weights, and the middle one stays in the middle.
    torch.testing.assert_close(larger[[0, 13, 26], 0, 0, 0], torch.tensor([0.0, 6.5, 13.0]), atol=1e-5, rtol=0)
    flat = resize_pos_embed(torch.full((1, 196, 4), 2.5), (12, 20))
    torch.testing.assert_close(flat, torch.full((1, 240, 4), 2.5))
    with pytest.raises(ValueError, match="square grid"):
        resize_pos_embed(torch.zeros(1, 195, 4), (14, 14))


def test_filter_fn_leaves_unknown_names_for_the_loader_to_report():
    model = GFNet(**SMALL)
    assert "stray" in checkpoint_filter_fn({"model": {**model.state_dict(), "stray": torch.zeros(1)}}, model)


@pytest.mark.parametrize("model", [GFNet(**SMALL), GFNetPyramid(**SMALL_PYRAMID)], ids=["flat", "pyramid"])
def test_timm_conventions(model):
    images = torch.rand(2, 3, *model.img_size)
    features = model.forward_features(images)
    assert features.shape[-1] == model.num_features
    torch.testing.assert_close(model.forward_head(features), model(images))
    assert model.forward_head(features, pre_logits=True).shape == (2, model.num_features)
    final, maps = model.forward_intermediates(images)
    torch.testing.assert_close(final, features)
    assert [m.shape[1] for m in maps] == [info["num_chs"] for info in model.feature_info]
    assert len(model.forward_intermediates(images, indices=1, intermediates_only=True)) == 1
    model.reset_classifier(7)
    assert model(images).shape == (2, 7) and model.get_classifier().out_features == 7
    model.reset_classifier(0)
    assert model(images).shape == (2, model.num_features)


def test_create_model_takes_timms_arguments():
    model = timm.create_model(
        "gfnet_h_ti", img_size=64, num_classes=3, drop_rate=0.1, drop_path_rate=0.2, pretrained_cfg={"tag": "mine"}
    )
    assert model.blocks[3][2].drop_path.drop_prob == pytest.approx(0.2)
    assert model.pretrained_cfg["tag"] == "mine"
    maps = timm.create_model("gfnet_h_ti", img_size=64, features_only=True)(torch.rand(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2)]
    maps = timm.create_model("gfnet_mini", features_only=True)(torch.rand(1, 3, 32, 32))
    assert [tuple(m.shape) for m in maps] == [(1, 48, 16, 16)] * 4


def test_drop_path_and_dropout_only_act_in_training():
    torch.manual_seed(0)
    model = GFNet(**SMALL, drop_path_rate=0.5, drop_rate=0.5)
    images = torch.rand(4, 3, 32, 32)
    assert not torch.equal(model.train()(images), model(images))
    assert torch.equal(model.eval()(images), model(images))


@pytest.mark.parametrize("size", [30, (32, 36)])
def test_sizes_that_do_not_fit_are_refused(size):
    with pytest.raises(ValueError, match="multiples of 8"):
        GFNet(**{**SMALL, "img_size": size})
    with pytest.raises(ValueError, match="multiples of 32"):
        GFNetPyramid(**{**SMALL_PYRAMID, "img_size": size})


def test_wrong_input_size_says_what_was_expected():
    with pytest.raises(ValueError, match="built for images of 32 x 32, found 40 x 32"):
        GFNet(**SMALL)(torch.rand(1, 3, 40, 32))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("model", [GFNet(**SMALL), GFNetPyramid(**SMALL_PYRAMID)], ids=["isotropic", "pyramid"])
def test_tokens_lie_in_memory_as_the_blocks_read_them(model, layout):
    """Else every block would copy them for its norm, and add in strides."""
    seen = []
    hooks = [
        m.register_forward_pre_hook(lambda _, args: seen.append(args[0])) for m in model.modules() if type(m) is Block
    ]
    model(torch.rand(2, 3, *model.img_size).to(memory_format=layout))
    for hook in hooks:
        hook.remove()
    assert len(seen) == len(hooks) and all(tokens.is_contiguous() for tokens in seen)


def test_autocast_is_safe_on_sides_without_a_half_precision_fft():
    model = GFNet(img_size=56, patch_size=4, embed_dim=8, depth=1, num_classes=3)  # 14 x 14 tokens
    images = torch.rand(2, 3, 56, 56)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
    torch.testing.assert_close(logits.float(), model(images), atol=0.05, rtol=0)
