from __future__ import annotations

import pytest

from gfnet_bench.catalog import MODELS
from gfnet_bench.published import alexnet, corruptions, is_verified, published, rows

FILES = [
    "alexnet_errors", "fig2_efficiency", "fig3_transformer_style", "fig4_hierarchical", "table1_complexity",
    "table2_ade20k", "table3_robustness", "table_ablation", "table_transfer", "timm_published",
]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_row_has_a_source_and_says_whether_it_was_verified(name):
    assert rows(name)
    for row in rows(name):
        assert row["source"].strip()
        assert row["verified"] in ("yes", "no")


def test_a_figure_is_verified_only_where_it_is_listed():
    assert published("gfnet_s", "top1")[:3] == (80.0, True, False)
    assert published("gfnet_s", "imagenet_c_mce")[:3] == (53.8, True, False)
    assert published("gfnet_s", "fgsm_top1")[:3] == (42.6, False, False)
    assert published("gfnet_s", "imagenet_v2_top1")[:3] == (68.5, False, True)
    assert published("deit_small", "imagenet_a_top1").verified is False
    assert "2107.00645" in published("gfnet_s", "pgd_top1").source


def test_words_for_all_figures_are_understood():
    row = {"verified": "yes", "verified_fields": "all accuracies"}
    assert is_verified(row, "cifar10") is True
    assert is_verified(row, "params_m") is False
    assert is_verified({"verified": "no", "verified_fields": "all figures"}, "params_m") is True
    assert is_verified({"verified": "yes", "verified_fields": "top1;top5"}, "fgsm_top1") is False
    assert is_verified({"verified": "yes", "verified_fields": ""}, "top1") is False
    assert is_verified({"verified": "yes"}, "top1") is True


def test_models_outside_table_3_have_the_accuracy_of_the_figures():
    assert published("gfnet_h_b", "top1")[:2] == (82.9, True)
    assert published("swin_tiny", "top1").value == 81.3
    assert published("gfnet_h_b", "fgsm_top1") is None


def test_figures_about_weights_nobody_has_are_not_compared():
    assert published("regnety_040", "top1") is None
    assert published("gmlp_s", "top1") is None
    assert published("resnext50_tv", "top1") is None
    assert published("resnext50", "top1").value == 79.8


def test_a_timm_name_is_the_same_model():
    assert published("deit_small_patch16_224.fb_in1k", "fgsm_top1") == published("deit_small", "fgsm_top1")
    assert published("resnet18.fb_ssl_yfcc100m_ft_in1k", "top1") is None


def test_the_models_own_transform_is_compared_with_timm():
    assert published("deit_small", "imagenet_v2_top1", transform="model")[:3] == (68.53, True, False)
    assert published("resnet50", "imagenet_sketch_top1", transform="model").value == 24.064
    assert published("resnet50", "imagenet_a_top1", transform="model") is None
    assert published("deit_small", "pgd_top1", transform="model") is None
    assert published("gfnet_s", "top1", transform="model") is None
    assert published("regnety_040", "top1", transform="model").value == 79.246


def test_the_input_size_must_be_the_same():
    assert published("gfnet_s", "top1", side=384) is None
    assert published("gfnet_s", "top1", side=224) == published("gfnet_s", "top1")
    assert published("resnext50", "top1", transform="model").value == 79.8
    assert published("resnext50", "top1", transform="model", side=288).value == 80.72
    assert published("deit_base_patch16_384.fb_in1k", "top1", transform="model").value == 83.108


@pytest.mark.parametrize("name", MODELS)
def test_any_model_can_be_asked_for(name):
    for transform in ("paper", "model"):
        found = published(name, "top1", transform=transform)
        assert found is None or 60 < found.value < 90


def test_alexnet():
    reference = alexnet()
    assert len(reference.errors) == 19
    assert len(corruptions()) == 15
    assert sum(reference.errors["gaussian_noise"]) / 5 == pytest.approx(0.886428)
    assert reference.errors["speckle_noise"] == (0.845388,)
    assert reference.clean == 0.43478
    assert "speckle_noise" not in corruptions()
