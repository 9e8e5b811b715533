"""Surgery on filters and Fourier noise on images, where the right answers are known beforehand."""

import csv

import numpy as np
import pytest
import torch
from room import Hungry, Room

from gfnet_bench.benches import robustness
from gfnet_bench.benches.filters import Bench
from gfnet_bench.catalog import Transform, find_spec
from gfnet_bench.cli import main
from gfnet_bench.commands.filters import numbers
from gfnet_bench.datasets.images import Images
from gfnet_bench.errors import MissingError, UsageError
from gfnet_bench.models.gfnet import GFNet, GFNetPyramid
from gfnet_bench.models.model import Model
from gfnet_bench.models.surgery import depth, global_filters, kept, operate
from gfnet_bench.perturbations import CLEAN, Corrupted
from gfnet_bench.runner import run_together
from gfnet_bench.spectra import noise, noise_frequencies
from gfnet_bench.store import Store
from gfnet_bench.studies import filters as study
from gfnet_bench.studies.robustness import Options

NORM = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
TRANSFORM = Transform("paper", 16, 16, None, "bicubic")


def wrapped(net, transform=TRANSFORM):
    net.pretrained_cfg = NORM
    return Model(find_spec("gfnet_mini"), net, transform)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return wrapped(GFNet(img_size=16, patch_size=2, num_classes=10, embed_dim=6, depth=3))


@pytest.fixture(scope="module")
def pyramid():
    torch.manual_seed(0)
    net = GFNetPyramid(img_size=32, patch_size=2, num_classes=10, embed_dim=(4, 4), depth=(1, 2), init_values=1.0)
    return wrapped(net, Transform("paper", 32, 32, None, "bicubic"))


def weights(model):
    return [layer.complex_weight for layer in global_filters(model).values()]


# Surgery


def test_a_cutoff_beyond_the_corners_changes_nothing(model):
    images = torch.rand(2, 3, 16, 16)
    operated = operate(model, "low_pass", 0.7072)
    assert all(torch.equal(a, b) for a, b in zip(weights(operated), weights(model), strict=True))
    with torch.no_grad():
        assert torch.equal(operated(images), model(images))


@pytest.mark.parametrize("cutoff", [0.0, 0.125, 0.2, 0.5, 0.6])
def test_low_pass_and_high_pass_are_the_whole(model, cutoff):
    parts = [weights(operate(model, kind, cutoff)) for kind in ("low_pass", "high_pass")]
    for low, high, whole in zip(*parts, weights(model), strict=True):
        assert torch.equal(low + high, whole) and low.any()


def test_a_band_stop_removes_what_low_pass_adds(model):
    stopped = weights(operate(model, "band_stop", (0.1, 0.3)))
    low, lower = (weights(operate(model, "low_pass", cutoff)) for cutoff in (0.3, 0.1))
    for without, a, b, whole in zip(stopped, low, lower, weights(model), strict=True):
        assert torch.equal(without + (a - b), whole)


@pytest.mark.parametrize(("kind", "cutoff"), [("low_pass", -0.1), ("high_pass", 0.7072)])
def test_removing_everything_leaves_filters_of_zero(model, kind, cutoff):
    assert not any(weight.any() for weight in weights(operate(model, kind, cutoff)))


def test_only_zero_frequency_is_left_of_a_low_pass_of_zero(model):
    for weight in weights(operate(model, "low_pass", 0.0)):
        assert weight[0, 0].any() and weight.count_nonzero() <= weight[0, 0].numel()


@pytest.mark.parametrize("grid", [(8, 8), (7, 7), (6, 9)])
def test_what_is_kept_is_the_low_passed_kernel(grid):
    """The half spectrum after surgery stands for the kernel whose full spectrum is cut off at the same radius."""
    weight = torch.randn(grid[0], grid[1] // 2 + 1, dtype=torch.complex128)
    kernel = torch.fft.irfft2(weight, s=grid)
    rows, columns = (np.fft.fftfreq(side) for side in grid)
    outside = np.hypot(rows[:, None], columns[None, :]) > 0.3
    expected = np.fft.fft2(kernel.numpy())
    expected[outside] = 0
    found = torch.fft.irfft2(weight * kept(grid, "low_pass", 0.3), s=grid)
    assert np.allclose(np.fft.ifft2(expected).imag, 0)  # a real kernel again
    assert np.allclose(found.numpy(), np.fft.ifft2(expected).real)


def test_one_layer_alone_is_operated_on_and_the_original_stays(model):
    before = [weight.clone() for weight in weights(model)]
    operated = operate(model, "high_pass", 0.2, layer=1)
    assert [torch.equal(a, b) for a, b in zip(weights(operated), before, strict=True)] == [True, False, True]
    assert all(torch.equal(a, b) for a, b in zip(weights(model), before, strict=True))
    assert operated.net.head.weight is model.net.head.weight  # a copy costs its filters alone
    assert not any(weight.requires_grad for weight in weights(operated))


def test_a_pyramid_is_cut_off_on_the_grid_of_each_stage(pyramid):
    grids = [(16, 16), (8, 8), (8, 8)]
    assert [layer.grid for layer in global_filters(pyramid).values()] == grids
    for weight, grid in zip(weights(operate(pyramid, "low_pass", 0.25)), grids, strict=True):
        assert torch.equal(weight.flatten(2).any(2), kept(grid, "low_pass", 0.25))


@pytest.mark.parametrize(
    ("kind", "cutoff", "layer", "text"),
    [
        ("notch", 0.1, None, "unknown surgery 'notch'"),
        ("band_stop", 0.1, None, "expected two cutoffs"),
        ("low_pass", (0.1, 0.2), None, "expected one cutoff"),
        ("band_stop", (0.3, 0.1), None, "rising order"),
        ("low_pass", float("nan"), None, "a radius in cycles per token"),
        ("low_pass", 0.1, 3, "a layer from 0 to 2, found 3"),
    ],
)
def test_operations_that_make_no_sense(model, kind, cutoff, layer, text):
    with pytest.raises(UsageError, match=text):
        operate(model, kind, cutoff, layer)


def test_a_network_without_global_filters_is_refused():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(2))
    with pytest.raises(UsageError, match="no global filters"):
        operate(wrapped(net), "low_pass", 0.1)


@pytest.mark.parametrize(("name", "layers"), [("gfnet_xs", 12), ("gfnet_h_b", 36), ("gfnet_mini", 4), ("vit_mini", 0)])
def test_depths(name, layers):
    assert depth(name) == layers


def test_surgery_cells():
    clean = [("mini", CLEAN)]
    cells = study.surgery_cells(
        {"a": 2}, perturbations=clean, kinds=["low_pass", "band_stop"], cutoffs=[0.4, 0.1, 0.2], layer_cutoffs=[0.3]
    )
    found = [(c.settings["kind"], c.settings["cutoff"], c.settings["layer"]) for c in cells]
    assert found == [
        (None, None, None),
        *[("low_pass", cutoff, None) for cutoff in (0.1, 0.2, 0.4)],
        *[("band_stop", band, None) for band in ([0.1, 0.2], [0.2, 0.4])],
        ("low_pass", 0.3, 0),
        ("low_pass", 0.3, 1),
    ]
    assert len(set(cells)) == len(cells)


def test_surgery_is_the_robustness_study_on_the_operated_network(tmp_path):
    from gfnet_bench.evaluation import evaluate
    from gfnet_bench.models import load_model

    cells = study.surgery_cells(
        {"gfnet_mini": 0},
        perturbations=[("mini", CLEAN), ("mini_c", Corrupted("fog", 3, "cifar_c"))],
        kinds=["low_pass"],
        cutoffs=[0.1, 0.7072],
        options=Options(limit=30),
    )
    bench, store = Bench(robustness.Bench(progress=False)), Store(tmp_path)
    records = run_together(cells, bench.measure, study.together, store, progress=False)
    assert [record.error for record in records] == [None] * 6
    learned, cut, whole = (store.arrays(record) for record in records[:3])
    assert np.array_equal(learned["top5"], whole["top5"]) and records[0].values["top1"] > 0.7
    assert not np.array_equal(learned["top5"], cut["top5"])
    images = bench.scoring.images(cells[1], load_model("gfnet_mini"))
    by_hand = operate(load_model("gfnet_mini"), "low_pass", 0.1)
    direct = evaluate(by_hand, images.pixels, images.labels, images.ids, classes=images.classes).predictions
    assert np.array_equal(direct.top5, cut["top5"])
    assert records[3].values["top1"] < records[0].values["top1"]
    assert len({study.together(cell) for cell in cells[3:]}) == 1 and len({study.together(c) for c in cells[:3]}) == 3


# Fourier noise


class Sensitive(torch.nn.Module):
    """Says 1 where the first channel holds one Fourier basis vector, of either sign or of a given one, else 0."""

    num_classes, params, weights_sha256, weights_source, weights_key, name = 2, 0, None, None, None, "sensitive"
    transform = Transform("paper", 8, 8, None, "bicubic")

    def __init__(self, frequency, signed=False):
        super().__init__()
        self.basis = torch.from_numpy(noise(np.array(frequency), 8, 8)).float()
        self.signed = signed

    def forward(self, images):
        held = (images[:, 0] * self.basis).sum((1, 2))
        return torch.stack([torch.full_like(held, 1.0), held if self.signed else held.abs()], dim=1)


GREY = Images(
    np.full((7, 8, 8, 3), 128, dtype=np.uint8),
    np.zeros(7, dtype=np.int64),
    tuple(f"grey/{i}" for i in range(7)),
    np.zeros(7, dtype=np.int64),
)


def heat_map(monkeypatch, tmp_path, model, *, frequencies=None, parts=1, batch_size=64, seed=0):
    monkeypatch.setattr(robustness.Bench, "fitting_model", lambda self, cell: model)
    monkeypatch.setattr(robustness.Bench, "images", lambda self, cell, model: GREY)
    cells = study.heatmap_cells(
        ["sensitive"], dataset="mini", norm=4.0, frequencies=frequencies, parts=parts, options=Options(seed=seed)
    )
    store, bench = Store(tmp_path), Bench(robustness.Bench(progress=False, batch_size=batch_size))
    records = run_together(cells, bench.measure, study.together, store, overwrite="always", progress=False)
    assert [record.error for record in records] == [None] * parts
    arrays = [store.arrays(record) for record in records]
    frequencies, wrong = (np.concatenate([a[key] for a in arrays]) for key in ("frequencies", "wrong"))
    return records, {tuple(k): int(w) for k, w in zip(frequencies.tolist(), wrong, strict=True)}


@pytest.mark.parametrize("frequency", [(-2, 1), (-3, -3), (-4, 0), (-4, -4)])
def test_the_map_of_a_model_that_sees_one_frequency(monkeypatch, tmp_path, frequency):
    (record,), wrong = heat_map(monkeypatch, tmp_path, Sensitive(frequency))
    assert set(wrong) == {tuple(k) for k in noise_frequencies(8, 8).tolist()} and len(wrong) == 34
    assert {k for k, count in wrong.items() if count} == {frequency} and wrong[frequency] == 7
    assert record.values["clean_error"] == 0 and record.values["mean_error"] == pytest.approx(1 / 34)
    assert record.values["images"] == 7 and record.values["frequencies"] == 34


def test_the_sign_is_drawn_for_each_image_and_frequency_whatever_the_batch(monkeypatch, tmp_path):
    found = [
        heat_map(monkeypatch, tmp_path, Sensitive((-2, 1), signed=True), batch_size=size)[1] for size in (1, 3, 7, 64)
    ]
    assert all(one == found[0] for one in found) and 0 < found[0][-2, 1] < 7
    other = heat_map(monkeypatch, tmp_path, Sensitive((-2, 1), signed=True), seed=5)[1]
    signs = [heat_map(monkeypatch, tmp_path, Sensitive(k, signed=True))[1][k] for k in ((-1, 0), (-1, 1), (-3, 2))]
    assert len({found[0][-2, 1], other[-2, 1], *signs}) > 1


def test_parts_are_the_whole_map(monkeypatch, tmp_path):
    (_, whole), (records, joined) = (
        heat_map(monkeypatch, tmp_path, Sensitive((-1, 2), signed=True), frequencies=5, parts=parts) for parts in (1, 4)
    )
    assert joined == whole and len(records) == 4 and len(whole) == 13


def test_only_the_classes_and_answers_that_count(monkeypatch, tmp_path):
    """With both classes right nothing is wrong; with class 1 out of the game neither."""
    from dataclasses import replace

    for changed in ({"answers": ((0, 1),) * 7}, {"classes": (0,)}):
        monkeypatch.setattr("test_filters_study.GREY", replace(GREY, **changed))
        assert not any(heat_map(monkeypatch, tmp_path, Sensitive((-2, 1)))[1].values())


def test_memory_that_runs_out_halves_the_batch_to_what_fits(monkeypatch, tmp_path):
    hungry = Hungry(Sensitive((-2, 1)), 10**6)
    for name in ("num_classes", "params", "weights_sha256", "weights_source", "weights_key", "name", "transform"):
        setattr(hungry, name, getattr(Sensitive, name))
    with Room(int(4.5e6)):
        _, wrong = heat_map(monkeypatch, tmp_path, hungry, batch_size=16)
    assert wrong[-2, 1] == sum(wrong.values()) == 7
    assert hungry.seen[:3] == [7, 7, 3] and max(hungry.seen[2:]) == 3


# The command


def test_the_command_draws_figure_5_and_measures_once(tmp_path, capsys, monkeypatch):
    words = ["filters", "--model", "gfnet_mini", "--layers", "0..1", "--channels", "1", "5", "--output-dir"]
    assert main([*words, str(tmp_path), "--no-progress"]) == 0
    assert "16 x 16" in capsys.readouterr().out
    assert (tmp_path / "figures" / "figure5_gfnet_mini.pdf").read_bytes().startswith(b"%PDF")
    monkeypatch.setattr(Bench, "measure", lambda self, cells: pytest.fail("measured again"))
    monkeypatch.setattr("gfnet_bench.reports.base.Report.write", lambda self, folder: [])
    assert main([*words, str(tmp_path), "--no-progress", "--format", "json"]) == 0


def test_the_mini_suite_is_measured_whole(capsys, tmp_path):
    assert main(["filters", "--suite", "mini", "--dry-run", "--output-dir", str(tmp_path), "--format", "csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    models = "gfnet_mini, vit_mini, resmlp_mini, resnet_mini"
    assert [(row["models"], row["cells"]) for row in rows if row["measure"] == "heatmap"] == [(models, "4")]
    assert {row["models"] for row in rows if row["measure"] != "heatmap"} == {"gfnet_mini"}
    surgery = [row for row in rows if row["measure"] == "surgery"]
    assert [row["cells"] for row in surgery] == [str(1 + 2 * 7 + 4 * 2 * 3)] * 4
    seen = ["clean", "pgd:epsilon=4/255", *(f"{name}:severity=3,recipe=cifar_c" for name in ("gaussian_noise", "fog"))]
    assert [row["perturbation"] for row in surgery] == seen


def test_a_command_without_weights_says_what_is_missing(tmp_path, capsys, monkeypatch):
    def nowhere(*args, **kwargs):
        raise MissingError("gfnet_ti: no address gave the checkpoint; put it in the cache.")

    monkeypatch.setattr("gfnet_bench.models.base.fetch_weights", nowhere)
    assert main(["filters", "--model", "gfnet_ti", "--output-dir", str(tmp_path), "--no-progress"]) == 1
    out = capsys.readouterr().out
    assert "spectra of gfnet_ti: gfnet_ti: no address gave the checkpoint; put it in the cache." in out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--model", "vit_mini"], "no global filters to draw; --heatmap and --perturbation work for any"),
        (["--model", "gfnet_mini", "vit_mini"], "vit_mini: no global filters to draw"),
        (["--model", "vit_mini", "--heatmap", "--surgery"], "--surgery: no model here has global filters"),
        (["--model", "vit_mini", "--heatmap", "--layers", "0"], "--layers: no model here has global filters"),
        (["--model", "gfnet_mini", "--layers", "0..4"], "--layers: expected numbers below 4, the layers of gfnet_mini"),
        (["--model", "gfnet_mini", "--surgery", "--kind", "band_stop", "--cutoff", ".1"], "expected two --cutoff"),
        (["--model", "gfnet_mini", "--surgery", "--attack", "clean", "--eps", "1/255"], "--eps: expected an attack"),
        (
            ["--model", "gfnet_mini", "--surgery", "--dataset", "mini_v2", "--severity", "4"],
            "imagenet, mini",
        ),
        (["--model", "gfnet_mini", "--heatmap", "--frequencies", "4"], "--frequencies: expected an odd number"),
        (["--model", "gfnet_mini", "--heatmap", "--dataset", "imagenet"], "do not go together"),
        (["--model", "gfnet_mini", "--layers", "4..1"], "--layers: expected numbers such as 1 5 7"),
        (["--model", "gfnet_mini", "--surgery", "--dataset", "mini_c"], "is corrupted already"),
        (
            ["--model", "gfnet_mini", "--surgery", "--dataset", "mini_v2", "--corruption", "fog"],
            "imagenet, mini",
        ),
        (["--model", "gfnet_mini", "--cutoff", "0.2", "--kind", "low_pass"], "--kind, --cutoff: expected --surgery"),
        (
            ["--model", "gfnet_mini", "--heatmap", "--attack", "fgsm"],
            "--attack: expected --surgery or --perturbation with it",
        ),
        (["--model", "gfnet_mini", "--corruption", "fog", "--severity", "3"], "--corruption, --severity: expected"),
        (
            ["--model", "gfnet_mini", "--limit", "9"],
            "--limit: expected --surgery or --heatmap or --perturbation with it",
        ),
        (["--model", "vit_mini", "--perturbation", "--attack", "clean"], "--perturbation: expected an attack"),
        (["--suite", "mini", "--surgery", "--norm", "4"], "--norm: expected --heatmap with it"),
        (["--model", "gfnet_mini", "--surgery", "--frequencies", "7"], "--frequencies: expected --heatmap with it"),
    ],
)
def test_commands_that_make_no_sense(words, text, capsys, tmp_path):
    assert main(["filters", *words, "--output-dir", str(tmp_path), "--dry-run"]) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--cutoff", "0.2"], ["--norm", "4"], ["--cutoff", "0.2", "--norm", "4"]])
def test_the_mini_suite_takes_the_options_of_all_it_measures(words, capsys, tmp_path):
    assert main(["filters", "--suite", "mini", *words, "--output-dir", str(tmp_path), "--dry-run"]) == 0


def test_numbers():
    assert numbers(["0..3", "2", "9"], "--channels") == [0, 1, 2, 3, 9]
    for word in ("x", "3..", "..3", "5..2", "-1", "0..999999999", "9" * 5000, "٣", "1..2..3", ""):
        with pytest.raises(UsageError):
            numbers([word], "--channels")
