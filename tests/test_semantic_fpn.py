"""Semantic FPN against published parameter counts, and a head worked by hand."""

import pytest
import torch
from torch import nn

from gfnet_bench.errors import GfnetBenchError, UsageError
from gfnet_bench.models.semantic_fpn import SemanticFPN, build


def millions(network):
    return sum(p.numel() for p in network.parameters()) / 1e6


# Table 5 of the PVT paper and Table 4 of the SPANet paper; PVT was counted with its position embedding for 224 pixels.
@pytest.mark.parametrize(
    ("name", "side", "published"),
    [
        ("resnet50", 1024, 28.5),
        ("resnet101", 1024, 47.5),
        ("pvt_tiny", 224, 17.0),
        ("pvt_small", 224, 28.2),
        ("pvt_medium", 224, 48.0),
        ("swin_tiny", 1024, 31.9),
        ("swin_small", 1024, 53.2),
    ],
)
def test_parameters_are_the_published_ones(name, side, published):
    with torch.device("meta"):
        assert millions(build(name, side)) == pytest.approx(published, abs=0.05)


@pytest.mark.parametrize(("name", "published", "width"), [("gfnet_h_ti", 26.6, 512), ("gfnet_h_s", 47.5, 768)])
def test_gfnet_was_counted_at_its_training_crop_with_the_classifier_it_does_not_use(name, published, width):
    with torch.device("meta"):
        assert millions(build(name, 512)) + (width + 1) * 1000 / 1e6 == pytest.approx(published, abs=0.05)


class Pyramid(nn.Module):
    def forward(self, images):
        return [images[:, :2, ::s, ::s] for s in (4, 8, 16, 32)]


def test_the_head_by_hand():
    network = SemanticFPN(Pyramid(), (2, 2, 2, 2), classes=5).eval()
    lateral, smooth = 4 * (2 * 256 + 256), 4 * (256 * 256 * 9 + 256)
    first, further, norm = 256 * 128 * 9, 128 * 128 * 9, 2 * 128
    heads = 4 * first + (0 + 0 + 1 + 2) * further + (1 + 1 + 2 + 3) * norm
    assert sum(p.numel() for p in network.parameters()) == lateral + smooth + heads + 128 * 5 + 5
    assert network(torch.randn(1, 3, 64, 96)).shape == (1, 5, 16, 24)


def test_every_level_reaches_the_logits():
    network = SemanticFPN(Pyramid(), (2, 2, 2, 2), classes=5).eval()
    images = torch.randn(1, 3, 64, 64)
    before = network(images)
    for level in range(4):
        with torch.no_grad():
            network.lateral[level].bias += 1
        after = network(images)
        assert not torch.allclose(after, before)
        before = after


def test_what_has_no_pyramid_is_refused():
    with torch.device("meta"), pytest.raises(GfnetBenchError, match="strides 4, 8, 16 and 32"):
        build("deit_small", 224)
    with pytest.raises(UsageError):
        build("resnet5", 224)
    with torch.device("meta"), pytest.raises(GfnetBenchError, match="cannot be built for images of 100"):
        build("gfnet_h_ti", 100)
