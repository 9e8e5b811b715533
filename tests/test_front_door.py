"""`import gfnet_bench as gb`: what it offers, numbers that are those of the commands, and what it says to mistakes."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import gfnet_bench as gb
from gfnet_bench.cli import main
from gfnet_bench.datasets import load_images
from gfnet_bench.errors import UsageError
from gfnet_bench.evaluation import evaluate_all
from gfnet_bench.metrics import wilson_interval
from gfnet_bench.records import Cell, Record

LIMIT = 24
QUIET = {"device": "cpu", "progress": False}


class Net(nn.Module):
    """As few weights as a network can have."""

    def __init__(self, classes=10):
        super().__init__()
        self.head = nn.Linear(48, classes)

    def forward(self, images):
        return self.head(nn.functional.adaptive_avg_pool2d(images, 4).flatten(1))


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
    attacks, fog = ["clean", gb.PGD(epsilon=4 / 255, steps=2)], gb.Corruption("fog", 3)
    again = gb.robustness(model, images, attack=attacks, corruption=fog, output_dir=tmp_path, **QUIET)
    assert sorted(again.records, key=lambda r: str(r.cell)) == sorted(stored.values(), key=lambda r: str(r.cell))
    assert "mini-C fog 3" in again._repr_html_() and "mini-C fog 3" in str(again) and len(repr(again)) < 160


def test_a_network_in_hand_is_the_model_it_was(model, images, clean):
    mean, std = model.mean.flatten().tolist(), model.std.flatten().tolist()
    wrapped = gb.wrap(model.net, mean=mean, std=std, name="mine")
    result = gb.evaluate(wrapped, images, progress=False)
    assert (result.model, result.values) == ("mine", clean.values)
    net = Net()
    before = gb.evaluate(gb.wrap(net, img_size=32), images, progress=False)
    nn.init.zeros_(net.head.weight)
    assert gb.evaluate(gb.wrap(net, img_size=32), images, progress=False).values != before.values


def test_a_record_is_of_the_weights_that_were_there(images, tmp_path):
    """A model by its name has the command's cell; once somebody trained it, it is another, and says so."""
    model = gb.load_model("gfnet_mini", device="cpu")
    how = {"attack": "clean", "output_dir": tmp_path, **QUIET}
    (plain,) = gb.robustness(model, images, **how).records
    nn.init.zeros_(model.net.get_classifier().weight)
    (tuned,) = gb.robustness(model, images, **how).records
    assert (plain.cell.model, tuned.cell.model) == ("gfnet_mini", "gfnet_mini in hand")
    assert "weights" not in plain.cell.settings and tuned.values["top1"] < plain.values["top1"]
    wrapped = gb.wrap(Net(), img_size=32, name="mine")
    first = gb.robustness([wrapped, "gfnet_mini"], images, **how)
    nn.init.zeros_(wrapped.net.head.weight)
    second = gb.robustness(wrapped, images, **how)
    assert [r.cell.model for r in first.records] == ["mine", "gfnet_mini"] and first.records[1] == plain
    assert first.records[0].cell.settings["weights"] != second.records[0].cell.settings["weights"]
    assert [type(p.grad) for p in wrapped.parameters()] == [type(None)] * 2


@pytest.fixture
def folder(tmp_path):
    """Sixty grey images of three classes, and a network for them: GFNet of one channel at 96 pixels."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(("glioma", "none", "stroke")):
        (tmp_path / "brains" / name).mkdir(parents=True)
        for index in range(20):
            pixels = rng.integers(0, 120 + 60 * label, (100 + index, 110), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "brains" / name / f"{index}.png")
    code = "import timm, gfnet_bench.models\n"
    code += (
        "def make(): return timm.create_model('gfnet_mini', img_size=96, patch_size=16, in_chans=1, num_classes=3)\n"
    )
    (tmp_path / "brainnet.py").write_text(code)
    return tmp_path


def test_a_network_and_images_of_ones_own_by_both_doors(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    words = ["--images", "brains", "--attack", "clean", "fgsm:epsilon=2/255", "--corruption", "fog:severity=3"]
    how = ["--mean", "0.5", "--std", "0.25", "--no-progress", "--device", "cpu"]
    assert main(["robustness", "-m", "brainnet.py:make", *words, *how]) == 0
    told = {r.cell.settings["perturbation"]["name"]: r.values for r in gb.Store("results")}
    model = gb.wrap(gb.load_model("brainnet.py:make", device="cpu").net, mean=0.5, std=0.25, name="brainnet")
    images = gb.load_images("./brains")
    assert "3 classes (glioma 20, none 20, stroke 20)" in repr(images)
    attack, fog = gb.FGSM(epsilon=2 / 255), gb.Corruption("fog", 3)
    for name, how in {"clean": {}, "fgsm": {"attack": attack}, "fog": {"corruption": fog}}.items():
        assert gb.evaluate(model, images, progress=False, **how).values == told[name]
    study = gb.robustness(model, images, attack=["clean", attack], corruption=fog, **QUIET)
    assert {r.cell.settings["perturbation"]["name"]: r.values for r in study.records} == told
    assert "brains (60 images of 3 classes)" in str(study)


def test_images_in_memory_are_like_those_in_files(images, model, clean):
    read = images.chosen
    pixels = read.pixels(read.items.ids)
    found = gb.evaluate(model, gb.images_of_arrays(pixels, images.labels), progress=False)
    assert np.array_equal(found.arrays["nll"], clean.arrays["nll"])
    floats = torch.tensor(pixels).permute(0, 3, 1, 2) / 255
    assert gb.images_of_arrays(floats, images.labels).dataset == gb.images_of_arrays(pixels, images.labels).dataset
    few = images.labels < 3
    among = gb.images_of_arrays(pixels[few], images.labels[few], classes=[0, 1, 2])
    counted, everything = (
        gb.evaluate(model, some, progress=False)
        for some in (among, gb.images_of_arrays(pixels[few], images.labels[few]))
    )
    assert counted.value("nll") < everything.value("nll")  # seven wrong answers fewer


def test_a_frame_has_a_row_a_value_and_forgets_no_failure(model, images, tmp_path, monkeypatch):
    study = gb.robustness(model, images, attack=["clean", "fgsm"], output_dir=tmp_path, **QUIET)
    monkeypatch.setattr("gfnet_bench.store.read_beside", None)  # arrays are not looked at
    other = Cell("robustness", 3, "gfnet_mini", study.records[0].cell.settings | {"seed": 1})
    failed = Record(other, error="GfnetBenchError: no")
    gb.Store(tmp_path).save(failed)
    frame = gb.Store(tmp_path).to_pandas()
    top1 = frame[(frame.quantity == "top1") & (frame["perturbation.name"] == "fgsm")]
    assert top1.value.tolist() == [study.records[1].values["top1"]] and top1["perturbation.epsilon"].tolist() == [
        4 / 255
    ]
    assert set(frame.limit) == {LIMIT} and frame[frame.seed == 1].error.tolist() == ["GfnetBenchError: no"]
    assert len(study.to_pandas()) == len(frame) - 1 == sum(len(r.values) for r in study.records)


def test_cost_of_a_model_in_hand_leaves_it_alone(tmp_path):
    model = gb.wrap(Net(), img_size=32, name="mine")
    study = gb.complexity(model, count_only=True, output_dir=tmp_path, progress=False)
    assert [r.values["params"] for r in study.records] == [490] and "mine" in str(study)
    assert next(model.parameters()).device.type == "cpu"


def test_a_result_has_intervals_and_pairs(model, images, clean):
    attacked = gb.evaluate(model, images, attack=gb.FGSM(8 / 255), progress=False)
    right, wrong = (r.arrays["top5"][:, 0] == r.arrays["labels"] for r in (clean, attacked))
    assert clean.top1 == right.mean() and clean.interval() == wilson_interval(int(right.sum()), LIMIT)
    difference = attacked.compare(clean)
    assert difference.difference == pytest.approx(100 * (wrong.mean() - right.mean())) and difference.p < 0.05
    assert clean.value("ece") == clean.values["ece"] and clean.interval("nll").low < clean.value("nll")
    with pytest.raises(UsageError, match="over the same images"):
        clean.compare(gb.evaluate(model, gb.load_images("mini", limit=8), progress=False))


def test_nothing_prints_a_wall(model, images, clean, tmp_path):
    study = gb.robustness(model, images, attack="clean", output_dir=tmp_path, **QUIET)
    shown = load_images("mini", (), model.transform)
    scored = evaluate_all([model], shown.pixels, shown.labels, shown.ids, classes=None)
    report, (record,) = study.report, study.records
    things = (model, images, clean, study, report, record, record.cell, report.tables[0], study.store, shown, *scored)
    for thing in things:
        assert len(repr(thing)) < 240 and "\n" not in repr(thing), thing
    assert "<table>" in report._repr_html_() and "<table>" in report.tables[0]._repr_html_()
    assert "<table>" in clean._repr_html_() and "Top-1 (%)" in clean._repr_html_()


def test_a_name_is_escaped_in_a_notebook(images):
    shown = gb.evaluate(gb.wrap(Net(), img_size=32, name="<script>"), images, progress=False)._repr_html_()
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
        (lambda m, i: gb.robustness(m.net, i), r"expected a model, found .*wrap\(net\)"),
        (lambda m, i: gb.robustness(m, i, limit=3), r"limit, .* say it to load_images"),
        (lambda m, i: gb.robustness(m, i, overwrite="yes"), "overwrite: expected one of never, failed, always"),
        (lambda m, i: gb.robustness("gfnet_mini", severity=6), "severity: expected 1 to 5"),
        (lambda m, i: gb.robustness(m, i, img_size=64), "img_size: expected names of models"),
        (lambda m, i: gb.complexity("gfnet_mini", tokens="many"), "expected"),
        (lambda m, i: gb.load_images("./nowhere"), "expected a folder, or a CSV"),
        (lambda m, i: gb.images_of_arrays(np.ones((2, 8, 8, 3)) * 255, [0, 1]), "divide 0..255 by 255"),
        (lambda m, i: gb.images_of_arrays(np.ones((2, 8, 8, 3)), [0.5, 1]), r"labels: expected \(2,\) integers"),
        (lambda m, i: gb.images_of_arrays(np.ones((2, 8, 8, 3)), [0, 4], classes=["a"]), "a name for each label"),
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
