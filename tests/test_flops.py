"""The counter against sums worked by hand, closed forms, the paper's figures and timm's published counts."""

from functools import cache
from math import ceil, log2, prod

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import deform_conv2d

from gfnet_bench.catalog import MODELS
from gfnet_bench.conventions import CONVENTIONS
from gfnet_bench.errors import GfnetBenchError, UsageError
from gfnet_bench.families import Look
from gfnet_bench.mixers import MIXERS, Formula, Mixer
from gfnet_bench.mixers.global_filter import fourier_filter
from gfnet_bench.mixers.self_attention import HEADS
from gfnet_bench.models import Asked, load_model
from gfnet_bench.profiling import flops
from gfnet_bench.profiling.architectures import ARCHITECTURES, model_operators
from gfnet_bench.profiling.blocks import block
from gfnet_bench.profiling.flops import count, rule
from gfnet_bench.profiling.formulas import block_macs, block_operators, table1
from gfnet_bench.published import rows
from gfnet_bench.records import PROTOCOLS, Cell, Record
from gfnet_bench.reports.bibliography import bibtex
from gfnet_bench.reports.complexity.figures import title_of
from gfnet_bench.reports.drawing.figures import BLACK, look

ATTENTION_OPERATORS = [
    name
    for name in (
        "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_cudnn_attention",
        "_scaled_dot_product_fused_attention_overrideable",
    )
    if hasattr(torch.ops.aten, name)
]


TIMM_GMACS = {row["model"]: float(row["gmacs"]) for row in rows("timm_published") if row["img_size"] == "224"}


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def on_meta(make, *args, **kwargs):
    with torch.device("meta"):
        return make(*args, **kwargs)


@cache
def counted(name, img_size=None, convention="authors"):
    model = on_meta(load_model, name, Asked(img_size), pretrained=False, device="meta")
    return count(model, (1, 3, model.transform.height, model.transform.width), convention=convention)


def test_linear_layers_and_convolutions_by_hand():
    assert count(nn.Linear(5, 7), (2, 3, 5)).operators == {"linear": 2 * 3 * 5 * 7}
    assert count(nn.Linear(5, 7, bias=False), (3, 5)).operators == {"linear": 3 * 5 * 7}
    # 9 x 7 pixels, stride 2 with a border of one: 5 x 4 positions, 3 x 3 taps, 4 of 8 input channels each.
    convolution = nn.Conv2d(8, 6, 3, stride=2, padding=1, groups=2)
    assert count(convolution, (1, 8, 9, 7)).operators == {"convolution": 5 * 4 * 3 * 3 * 4 * 6}
    # Transposed, every input position meets every tap.
    assert count(nn.ConvTranspose2d(4, 6, 3, stride=2), (1, 4, 5, 5)).total == 25 * 9 * 4 * 6


def test_a_multiply_add_is_two_flops():
    found = count(nn.Linear(5, 7), (3, 5), convention="standard")
    assert (found.unit, found.total, found.macs) == ("FLOPs", 210, 105)


def test_attention_by_hand_however_it_is_written():
    shapes = (2, 3, 10, 4), (2, 3, 6, 4), (2, 3, 6, 5)
    by_hand = 2 * 3 * 10 * 6 * (4 + 5)
    assert count(Call(F.scaled_dot_product_attention), *shapes).operators == {"attention": by_hand}
    explicit = Call(lambda q, k, v: (q @ k.transpose(-2, -1)).softmax(-1) @ v)
    assert count(explicit, *shapes).operators == {"attention": by_hand}


@pytest.mark.parametrize("name", ATTENTION_OPERATORS)
def test_fused_attention_is_never_free(name):
    operator = getattr(torch.ops.aten, name)
    options = {"_efficient": (None, False), "_cudnn": (None, False)}
    extra = next((value for key, value in options.items() if key in name), ())
    shapes = [(1, 2, 10, 8)] * 3
    found = count(Call(lambda q, k, v: operator(q, k, v, *extra)[0]), *shapes)
    assert found.operators == {"attention": 2 * 2 * 10 * 10 * 8}
    assert not found.unruled


@pytest.mark.parametrize(
    ("convention", "operators"),
    [
        # 3 channels of 4 x 6 points, log2 24 = 4.58; the inverse sees 4 x 4 of them.
        ("authors", {"fft": 3 * (24 * 5 + 16 * 4)}),
        ("table1", {"fft": 3 * (24 * 5 + 24)}),
        ("standard", {"fft": 2 * round(2.5 * 3 * 24 * log2(24)), "complex_product": 6 * 3 * 16}),
        ("none", {}),
    ],
)
def test_a_global_filter_by_hand(convention, operators):
    assert count(fourier_filter(3, (4, 6)), (1, 4, 6, 3), convention=convention).operators == operators


def test_a_complex_transform_and_norms_by_hand():
    assert count(Call(torch.fft.fft2), torch.zeros(3, 4, 8, dtype=torch.complex64)).total == 3 * 32 * 5
    assert count(Call(torch.fft.fft2), torch.zeros(4, 8) + 0j, convention="standard").total == 5 * 32 * 5
    assert count(nn.LayerNorm(7), (2, 3, 7)).operators == {"layer_norm": 5 * 42}
    assert count(nn.BatchNorm2d(4).eval(), (2, 4, 3, 3)).operators == {"batch_norm": 2 * 72}
    assert count(nn.LayerNorm(7), (2, 3, 7), convention="standard").total == 0


def complex_zeros(*shape):
    return torch.zeros(*shape, dtype=torch.complex64)


@pytest.mark.parametrize(
    ("function", "shapes", "macs"),
    [
        (torch.matmul, [(3, 5), (5, 7)], 3 * 5 * 7),
        (torch.matmul, [(2, 3, 5), (2, 5, 7)], 2 * 3 * 5 * 7),
        (torch.addmm, [(3, 7), (3, 5), (5, 7)], 3 * 5 * 7),
        (torch.baddbmm, [(2, 3, 7), (2, 3, 5), (2, 5, 7)], 2 * 3 * 5 * 7),
        (F.linear, [(2, 3, 5), (7, 5)], 2 * 3 * 5 * 7),
        # The layer of a Fourier neural operator: 8 x 9 modes, 16 channels to 32.
        (lambda x, w: torch.einsum("bixy,ioxy->boxy", x, w), [(4, 16, 8, 9), (16, 32, 8, 9)], 4 * 16 * 32 * 72),
    ],
)
def test_a_complex_multiply_add_is_four(function, shapes, macs):
    assert count(Call(function), *shapes).total == macs
    assert count(Call(function), *(complex_zeros(*shape) for shape in shapes)).total == 4 * macs


def test_operators_without_a_rule_are_named():
    found = count(Call(lambda a: torch.linalg.qr(a @ a)[1].relu().sum()), (4, 4))
    assert found.operators == {"linear": 64}
    assert found.unruled == {"aten.linalg_qr": 1}
    in_place = count(Call(lambda a, b: a.clone().addmm_(b, b)), (4, 4), (4, 4))
    assert in_place.operators == {"linear": 64} and not in_place.unruled


@pytest.mark.parametrize(
    ("function", "shapes", "named"),
    [
        (torch.mv, [(4, 3), (3,)], "mv"),
        (torch.dot, [(3,), (3,)], "dot"),
        (F.bilinear, [(2, 3), (2, 4), (5, 3, 4)], "_trilinear"),
        (torch.cdist, [(2, 5, 3), (2, 4, 3)], "_cdist_forward"),
        (deform_conv2d, [(1, 3, 8, 8), (1, 18, 6, 6), (5, 3, 3, 3)], "deform_conv2d"),
    ],
)
def test_products_without_a_rule_stay_reported(function, shapes, named):
    assert [name.split(".")[1] for name in count(Call(function), *shapes).unruled] == [named]


FREE = {
    "hardswish_": lambda x: F.hardswish(x.clone(), inplace=True),
    "transpose_": lambda x: x.clone().transpose_(2, 3),
    "squeeze_": lambda x: x.clone().squeeze_(),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
    "glu": lambda x: F.glu(x, dim=1),
    "topk": lambda x: x.topk(2)[0],
    "sort": lambda x: x.sort(dim=1)[0],
    "zeros_like": lambda x: torch.zeros_like(x) + x,
    "index_put_": lambda x: x.clone().index_put_((torch.zeros(1, dtype=torch.long, device="meta"),), x[0]),
    "tril": lambda x: x.tril(),
    "group_norm": lambda x: F.group_norm(x, 2),
    "interpolate": lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest-exact"),
    "grid_sample": lambda x: F.grid_sample(x, torch.zeros(1, 4, 4, 2, device="meta"), align_corners=False),
}


@pytest.mark.parametrize("name", FREE)
def test_what_moves_sorts_or_normalises_is_free_and_not_reported(name):
    found = count(Call(FREE[name]), (1, 8, 6, 6))
    assert found.total == 0 and not found.unruled


def test_a_rule_can_be_added(monkeypatch):
    monkeypatch.setattr(flops, "_ADDED", {})

    @rule(torch.ops.aten.mv)
    def mv(matrix, vector, *, out_val):
        return matrix.numel()

    module = Call(lambda a, x: torch.mv(a, x))
    assert count(module, (4, 3), (3,)).operators == {"aten.mv": 12}
    assert count(module, (4, 3), (3,), convention="standard").operators == {"aten.mv": 24}


class Adapted(nn.Linear):
    """A linear layer with a low-rank one inside, as LoRA adapts it."""

    def __init__(self, wide_in, wide_out, rank):
        super().__init__(wide_in, wide_out)
        self.down, self.up = nn.Linear(wide_in, rank, bias=False), nn.Linear(rank, wide_out, bias=False)

    def forward(self, x):
        return super().forward(x) + self.up(self.down(x))


def test_linear_layers_in_linear_layers_are_counted_once():
    class Transposed(nn.Module):
        def __init__(self):
            super().__init__()
            self.adapted = Adapted(6, 8, 2)

        def forward(self, x):
            return self.adapted(x.transpose(1, 2))

    macs = 15 * (6 * 8 + 6 * 2 + 2 * 8)
    assert count(Adapted(6, 8, 2), (3, 5, 6)).operators == {"linear": macs}
    assert count(Transposed(), (3, 6, 5)).operators == {"linear": macs}


def test_nothing_is_allocated_or_moved():
    assert count(on_meta(nn.Linear, 10**6, 10**6), (10**5, 10**6)).total == 10**17
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    count(module, torch.rand(4, 3))
    assert all(value.device.type == "cpu" and value.equal(before[name]) for name, value in module.state_dict().items())


def test_what_cannot_be_counted_is_said_in_one_sentence():
    with pytest.raises(GfnetBenchError, match=r"^Linear: cannot be counted on an input of \(2, 4\): "):
        count(nn.Linear(3, 3), (2, 4))
    model = on_meta(load_model, "gfnet_mini", pretrained=False, device="meta")
    with pytest.raises(GfnetBenchError, match=r"gfnet_mini: .*built for images of 32 x 32, found 48 x 48"):
        count(model, (1, 3, 48, 48))
    with pytest.raises(UsageError, match="unknown FFT convention 'author'; did you mean authors"):
        count(nn.Linear(3, 3), (2, 3), convention="author")
    with pytest.raises(UsageError, match="square number of tokens, found 200; near ones are 196 and 225"):
        block_macs("global_filter", 200)
    with pytest.raises(UsageError, match="unknown mixer 'spatial_mpl'; did you mean spatial_mlp"):
        block_macs("spatial_mpl", 196)


@pytest.mark.parametrize(
    ("name", "without", "with_both", "paper"),
    [
        ("gfnet_ti", 1.278, 1.285, 1.3),
        ("gfnet_xs", 2.842, 2.853, 2.9),
        ("gfnet_s", 4.466, 4.483, 4.5),
        ("gfnet_b", 7.907, 7.930, 7.9),
        ("gfnet_h_ti", 2.055, 2.076, 2.1),
        ("gfnet_h_s", 4.604, 4.637, 4.6),
        ("gfnet_h_b", 8.547, 8.595, 8.6),
    ],
)
def test_the_seven_figures_of_the_paper(name, without, with_both, paper):
    assert round(counted(name).total / 1e9, 1) == paper
    assert counted(name).total / 1e9 == pytest.approx(with_both, abs=6e-4)
    assert counted(name, convention="none").total / 1e9 == pytest.approx(without, abs=6e-4)


def test_true_cost_of_the_filters_of_gfnet_s():
    found = counted("gfnet_s", convention="standard").operators
    assert found["fft"] + found["complex_product"] == pytest.approx(0.059e9, abs=0.0005e9)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_counted_equals_the_closed_form_for_every_model(name):
    assert counted(name).operators == model_operators(name)


@pytest.mark.parametrize("name", MODELS)
def test_every_operator_of_every_model_has_a_rule(name):
    assert not counted(name).unruled


@pytest.mark.parametrize(
    ("name", "img_size"),
    [
        ("gfnet_ti", (224, 352)),
        ("gfnet_h_ti", 384),
        ("deit_tiny", 384),
        ("swin_tiny", 200),
        ("pvt_tiny", 96),
        ("pvt_v2_b1", 250),
        ("resmlp_12", 64),
        ("gmlp_s", 64),
        ("mixer_b16", 64),
        ("resnet18", 99),
        ("regnety_016", 99),
    ],
)
def test_closed_forms_at_other_sizes(name, img_size):
    assert counted(name, img_size, "standard").operators == model_operators(name, img_size, "standard")


def test_attention_at_4096_tokens_is_counted():
    assert counted("deit_small", 1024).total / 1e9 == pytest.approx(242.9, abs=0.25)


@pytest.mark.parametrize("name", [name for name in MODELS if MODELS[name].timm_name in TIMM_GMACS])
def test_timm_publishes_the_same_counts(name):
    assert counted(name).total / 1e9 == pytest.approx(TIMM_GMACS[MODELS[name].timm_name], abs=0.00501)


def test_no_closed_form_is_none_rather_than_zero():
    assert model_operators("resnet34") is None
    assert model_operators("GFNet-Ti") == model_operators("gfnet_ti")


@pytest.mark.parametrize("side", [6, 7, 14, 182])
@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_counted_equals_the_formula_for_every_block(mixer, side, convention):
    counted = MIXERS[mixer].counted_as or mixer
    found = count(on_meta(block, counted, side, 48), (1, side**2, 48), convention=convention)
    assert found.operators == block_operators(mixer, side**2, 48, convention)
    assert not found.unruled


def test_figure_2_at_its_last_point():
    mixers = ("global_filter", "spatial_mlp", "self_attention")
    assert [round(block_macs(mixer, 182**2) / 1e9, 1) for mixer in mixers] == [39.3, 460.4, 901.3]


@pytest.mark.parametrize("row", rows("fig2_efficiency"), ids=lambda r: f"{r['model']}-{r['tokens_side']}")
def test_figure_2_as_published(row):
    mixer = {"GFNet": "global_filter", "ResMLP": "spatial_mlp", "ViT": "self_attention"}[row["model"]]
    found = block_macs(mixer, int(row["tokens"])) / 1e9
    assert found == pytest.approx(float(row["gflops_computed_one_block"]), abs=0.0051)
    if row["gflops_read"]:
        assert found == pytest.approx(float(row["gflops_read"]), abs=5.1)  # the reading's own error


def test_table_1():
    found = {mixer: table1(mixer) for mixer in MIXERS if MIXERS[mixer].formula}
    assert set(found) >= {row["operation"] for row in rows("table1_complexity")}
    for row in found.values():
        assert (row.formula_macs, row.formula_params) == (row.counted_macs, row.counted_params)
    names = {"k": 7, "H": 14, "W": 14, "D": 384, "ceil": ceil, "log2": log2}
    for row in rows("table1_complexity"):
        if row["operation"] != "self_attention":  # of which the paper gives the growth alone
            assert found[row["operation"]].formula_macs == eval(row["flops_expr"], names)
        if row["operation"] != "global_filter":  # whose spectrum stores slightly more than HWD
            assert found[row["operation"]].formula_params == eval(row["params_expr"], names)
    assert found["global_filter"].formula_params == prod((14, 8, 384, 2))
    assert found["self_attention"].formula_macs == 4 * 196 * 384**2 + 2 * 196**2 * 384


def test_fused_and_materialised_attention_agree():
    torch.manual_seed(0)
    x, (plain, fused) = (
        torch.randn(2, 9, 48),
        (MIXERS[name].build(3, 48) for name in ("self_attention", "self_attention_fused")),
    )
    fused.load_state_dict(plain.state_dict())
    torch.testing.assert_close(plain(x), fused(x))
    # One head by hand.
    q, k, v = (part[..., : 48 // HEADS] for part in plain.qkv(x).split(48, dim=-1))
    head = torch.softmax(q @ k.mT / (48 / HEADS) ** 0.5, dim=-1) @ v
    heads = []
    plain.proj.register_forward_pre_hook(lambda _, inputs: heads.append(inputs[0]))
    plain(x)
    torch.testing.assert_close(heads[0][..., : 48 // HEADS], head)


def test_the_filter_is_numpys():
    mixer = MIXERS["global_filter"].build(5, 6)
    x = torch.randn(2, 25, 6)
    weight = torch.view_as_complex(mixer.filter.complex_weight.detach()).numpy()
    spectrum = np.fft.rfft2(x.reshape(2, 5, 5, 6).numpy(), axes=(1, 2)) * weight
    expected = np.fft.irfft2(spectrum, s=(5, 5), axes=(1, 2)).reshape(2, 25, 6)
    np.testing.assert_allclose(mixer(x).detach().numpy(), expected, atol=1e-6)


def test_the_convolution_and_the_mlp_mix_what_they_should():
    one_token = torch.zeros(1, 81, 6)
    one_token[0, 40, 2] = 1
    with torch.no_grad():
        convolved, mixed = (MIXERS[name].build(9, 6) for name in ("depthwise_conv", "spatial_mlp"))
        reached = (convolved(one_token) - convolved(0 * one_token)).nonzero()
        assert {tuple(place) for place in reached.tolist()} == {
            (0, 9 * row + column, 2) for row in range(1, 8) for column in range(1, 8)
        }
        torch.testing.assert_close((mixed(one_token) - mixed(0 * one_token))[0, :, 2], mixed.linear.weight[:, 40])


@pytest.mark.parametrize("mixer", MIXERS)
def test_a_block_is_mixer_and_feed_forward_network_under_residuals(mixer):
    torch.manual_seed(0)
    module, x = block(mixer, 4, 48), torch.randn(2, 16, 48)
    mixed = module.mixer(module.norm1(x))
    alone = mixer.startswith("global_filter")
    start = mixed if alone else x + mixed
    torch.testing.assert_close(module(x), (x if alone else start) + module.mlp(module.norm2(start)))
    assert isinstance(module.norm1, nn.LayerNorm) != (mixer == "spatial_mlp")


def test_a_mixer_that_is_added_is_one_thing(holding):
    """Built, counted by its own formula, named, drawn and cited; another way to compute it is counted as it."""
    linear = Mixer(
        title="by a line",
        place=9,
        build=lambda side, width: nn.Linear(width, width),
        operators=lambda side, width, rule: {"linear": rule.per_mac * side**2 * width**2},
        look=Look("#123456", "*"),
        cites=("wang2019sketch",),
        formula=Formula("HWD^2", "D^2", lambda side, width: width**2),
    )
    with pytest.raises(UsageError, match="unknown mixer 'line'"):
        block_operators("line", 16, 48)
    assert (title_of("line"), look("line"), "wang2019sketch" in bib("line")) == ("line", BLACK, False)
    holding(MIXERS, "line", linear)
    found = count(on_meta(block, "line", 4, 48), (1, 16, 48), convention="standard")
    assert found.operators == block_operators("line", 16, 48, "standard")
    row = table1("line", 4, 48)
    assert (row.formula_macs, row.formula_params) == (row.counted_macs, row.counted_params) == (16 * 48**2, 48**2)
    assert (title_of("line"), look("line"), "wang2019sketch" in bib("line")) == ("by a line", linear.look, True)


def bib(mixer):
    settings = {"measure": "count", "convention": "table1", "subject": "block", "tokens": 16, "width": 48}
    return bibtex([Record(Cell("complexity", PROTOCOLS["complexity"], mixer, settings))])
