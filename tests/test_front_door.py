"""`import gfnet_bench as gb`: what it offers, numbers that are those of the commands, and what it says to mistakes."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import gfnet_bench as gb
from gfnet_bench.cli import main
from gfnet_bench.errors import UsageError
from gfnet_bench.metrics import wilson_interval

LIMIT = 24


@pytest.fixture(scope="module")
def model():
    return gb.load_model("gfnet_mini", device="cpu")


@pytest.fixture(scope="module")
def images():
    return gb.load_images("mini", limit=LIMIT)


@pytest.fixture(scope="module")
def clean(model, images):
    return gb.evaluate(model, images, progress=False)


def test_importing_it_loads_next_to_nothing():
    program = """import sys, gfnet_bench as gb
assert set(gb.__all__) <= set(dir(gb)) and not {"torch", "numpy", "tqdm", "argparse"} & set(sys.modules), sys.modules"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_name_is_there_and_none_hides_a_module():
    for name in gb.__all__:
        assert callable(getattr(gb, name)) and getattr(gb, name).__doc__, name
        assert importlib.util.find_spec(f"gfnet_bench.{name}") is None  # which importing would put in its place
    with pytest.raises(AttributeError, match=r"it offers .*load_images"):
        gb.imagenet  # noqa: B018


def test_a_cell_has_the_number_of_the_command(model, images, clean, tmp_path):
    """To the last bit, attacked and corrupted too."""
    words = [
        "--attack",
        "clean",
        "pgd:steps=2",
        "--dataset",
        "mini",
        "mini_c",
        "--corruption",
        "fog",
        "--severity",
        "3",
    ]
    how = ["--limit", str(LIMIT), "--device", "cpu", "--no-progress", "--output-dir", str(tmp_path)]
    assert main(["robustness", "-m", "gfnet_mini", *words, *how]) == 0
    found = [
        clean,
        gb.evaluate(model, images, attack=gb.PGD(epsilon=4 / 255, steps=2), progress=False),
        gb.evaluate(model, images, corruption=gb.Corruption("fog", 3), progress=False),
    ]
    assert gb.evaluate(model, images, attack="pgd:steps=2", progress=False).values == found[1].values
    stored = {(r.cell.settings["dataset"], r.cell.settings["perturbation"]["name"]): r for r in gb.Store(tmp_path)}
    assert len(stored) == 3
    for result in found:
        record = stored[result.dataset, result.settings["perturbation"]["name"]]
        assert record.cell.settings == result.settings and record.values == result.values
        assert record.provenance["ids_sha256"] == result.provenance["ids_sha256"]


def test_a_network_in_hand_is_the_model_it_was(model, images, clean):
    mean, std = model.mean.flatten().tolist(), model.std.flatten().tolist()
    wrapped = gb.wrap(model.net, mean=mean, std=std, name="mine")
    result = gb.evaluate(wrapped, images, progress=False)
    assert (result.model, result.values) == ("mine", clean.values)
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
    before = gb.evaluate(gb.wrap(net, img_size=32), images, progress=False)
    nn.init.zeros_(net[2].weight)
    assert gb.evaluate(gb.wrap(net, img_size=32), images, progress=False).values != before.values


def test_a_result_has_intervals_and_pairs(model, images, clean):
    attacked = gb.evaluate(model, images, attack=gb.FGSM(8 / 255), progress=False)
    right, wrong = (r.arrays["top5"][:, 0] == r.arrays["labels"] for r in (clean, attacked))
    assert clean.top1 == right.mean() and clean.interval() == wilson_interval(int(right.sum()), LIMIT)
    difference = attacked.compare(clean)
    assert difference.difference == pytest.approx(100 * (wrong.mean() - right.mean())) and difference.p < 0.05
    assert clean.value("ece") == clean.values["ece"] and clean.interval("nll").low < clean.value("nll")
    with pytest.raises(UsageError, match="over the same images"):
        clean.compare(gb.evaluate(model, gb.load_images("mini", limit=8), progress=False))


def test_nothing_prints_a_wall(model, images, clean):
    for thing in (model, images, clean):
        assert len(repr(thing)) < 160 and "\n" not in repr(thing)
    assert "<table>" in clean._repr_html_() and "Top-1 (%)" in clean._repr_html_()


def test_a_name_is_escaped_in_a_notebook(images):
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
    shown = gb.evaluate(gb.wrap(net, img_size=32, name="<script>"), images, progress=False)._repr_html_()
    assert "<script>" not in shown and "&lt;script&gt;" in shown


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (lambda m, i: gb.evaluate(m.net, i), r"expected a model, found .*GFNet; wrap\(net\)"),
        (lambda m, i: gb.evaluate("gfnet_mini", i), r"load_model\('gfnet_mini'\)"),
        (lambda m, i: gb.evaluate(m, np.zeros((2, 32, 32, 3), np.uint8)), r"found a numpy.ndarray; images_of_arrays"),
        (lambda m, i: gb.evaluate(m, "imagenetA"), "unknown dataset 'imagenetA'"),
        (lambda m, i: gb.evaluate(m, "mini_c"), "expected a corruption, found none"),
        (lambda m, i: gb.evaluate(m, i, attack=gb.PGD), "found the class PGD; write PGD"),
        (lambda m, i: gb.evaluate(m, i, attack=lambda *a: a[1]), "expected an attack, found a function"),
        (lambda m, i: gb.PGD(epsilon="4/255"), "epsilon: expected a number .* found '4/255'"),
        (lambda m, i: gb.evaluate(m, i, attack="fgsm", corruption="fog:severity=3"), "found both"),
        (lambda m, i: gb.evaluate(m, i, corruption="pgd"), "expected a corruption, found pgd"),
        (lambda m, i: gb.evaluate(m, i, corruption=gb.Corruption("fogg", 3)), "did you mean fog"),
        (lambda m, i: gb.evaluate(m, i, batch_size=0), "batch_size: expected a whole number from 1 up, found 0"),
        (lambda m, i: gb.load_images("mini", limit="all"), "limit: expected a whole number from 1 up, found 'all'"),
        (lambda m, i: gb.wrap(m), r"found a model already"),
        (lambda m, i: gb.wrap(torch.zeros(3)), r"expected a torch.nn.Module, found a torch.Tensor"),
        (lambda m, i: gb.load_model(m.net), r"expected the name of a model, .* wrap\(net\)"),
        (lambda m, i: gb.load_model("gfnet_mini", transform="none"), "expected the transform paper or model"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(model, images, mistake, said):
    with pytest.raises(UsageError, match=said) as caught:
        mistake(model, images)
    assert "\n" not in str(caught.value)
