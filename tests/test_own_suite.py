"""A 3-class, 1-channel GFNet at 96 pixels on a folder of 60 images: commands, Python, and reports afterwards."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from gfnet_bench.attacks.checks import CheckResult, Verdict
from gfnet_bench.catalog import paper_transform
from gfnet_bench.cli import main
from gfnet_bench.datasets.label_names import match
from gfnet_bench.datasets.own_images import images_of_folder
from gfnet_bench.evaluation import evaluate, to_pixels
from gfnet_bench.metrics import METRICS, to_arrays
from gfnet_bench.models import Asked, head_of, names_of, wrap
from gfnet_bench.models.gfnet import GFNet
from gfnet_bench.store import Store

CLASSES = ("circle", "cross", "square")
CODE = """
from gfnet_bench.models.gfnet import GFNet
def make():
    net = GFNet(img_size=96, patch_size=16, in_chans=1, num_classes=3, embed_dim=32, depth=2)
    net.mean, net.std = 0.5, 0.5
    return net
"""
SMALL = """
from torch import nn
def make(side=2):
    net = nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Flatten(), nn.Linear(3 * side * side, 3))
    net.img_size = 32
    return net
def reference():
    return make(1)
"""
HOLDS = Verdict([CheckResult("all", "pass", "")], None)
FEW = ["--corruption", "contrast", "--severity", "1", "3"]


def draw(kind, rng):
    """A shape on a dark ground, of no fixed size."""
    image = Image.new("L", tuple(rng.integers(100, 140, 2).tolist()), int(rng.integers(0, 60)))
    pen, (x, y), side = ImageDraw.Draw(image), rng.integers(20, 50, 2).tolist(), int(rng.integers(30, 45))
    light = int(rng.integers(180, 255))
    if kind == "cross":
        pen.line([x, y, x + side, y + side], light, 6)
        pen.line([x + side, y, x, y + side], light, 6)
    else:
        (pen.ellipse if kind == "circle" else pen.rectangle)([x, y, x + side, y + side], light)
    return image


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Shapes, code that builds a network, and two checkpoints of it: one names its classes, in an order of its own."""
    folder, rng = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    for kind in CLASSES:
        (folder / "shapes" / kind / "deep").mkdir(parents=True)
        for number in range(20):
            draw(kind, rng).save(folder / "shapes" / kind / ("deep" if number % 2 else "") / f"{number}.png")
    (folder / "net.py").write_text(CODE)
    images = images_of_folder(folder / "shapes", paper_transform(96, 96), progress=False)
    pixels = to_pixels(images.pixels[:], torch.device("cpu"))[:, :1]
    labels = torch.from_numpy(images.labels)
    for name, steps, order in (("first", 30, CLASSES), ("second", 18, CLASSES[::-1])):
        torch.manual_seed(0)
        net = GFNet(img_size=96, patch_size=16, in_chans=1, num_classes=3, embed_dim=32, depth=2)
        right = torch.tensor([order.index(kind) for kind in CLASSES])[labels]
        optimizer = torch.optim.AdamW(net.parameters(), 5e-3)
        for step in range(steps):
            rows = slice(step % 3, None, 3)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net((pixels[rows] - 0.5) / 0.5), right[rows]).backward()
            optimizer.step()
        named = {"class_names": list(order)} if name == "second" else {}
        torch.save({"model": net.state_dict(), **named}, folder / f"{name}.pth")
    return folder


def run(place, command, *words):
    """A command about the network of the code."""
    how = ["--device", "cpu"] if command in ("robustness", "filters", "attack-check") else []
    bars = ["--no-progress"] if command in ("robustness", "filters") else []
    return main([command, "-m", f"{place / 'net.py'}:make", *how, *bars, *map(str, words)])


@pytest.fixture(scope="module")
def results(place):
    """Both networks measured on the folder, the second with its classes in another order."""
    for name in ("first", "second"):
        words = ["--images", place / "shapes", "--checkpoint", place / f"{name}.pth", "--name", name, *FEW]
        assert run(place, "robustness", *words, "--output-dir", place / "results") == 0
    return place / "results"


def report(results, capsys, *words):
    capsys.readouterr()
    assert main(["report", "robustness", "--output-dir", str(results), *map(str, words)]) == 0
    return capsys.readouterr().out


def clean(results):
    found = {r.provenance["label"]: r for r in Store(results) if r.cell.settings["perturbation"] == {"name": "clean"}}
    return {name: record.values for name, record in found.items()}


def test_the_command_line_and_python_give_the_same_numbers(place, results):
    for name in ("first", "second"):
        net = GFNet(img_size=96, patch_size=16, in_chans=1, num_classes=3, embed_dim=32, depth=2)
        stored = torch.load(place / f"{name}.pth")
        net.load_state_dict(stored["model"])
        model = wrap(net, mean=0.5, std=0.5)
        images = images_of_folder(place / "shapes", model.transform, progress=False)
        found = match(name, images.names, model.num_classes, stored.get("class_names"))
        model.choose(list(found.logits.values()))
        predictions = evaluate(model, images.pixels, images.labels, images.ids, classes=images.classes).predictions
        values = {key: METRICS[key].value(to_arrays(predictions)) for key in ("top1", "ece", "nll")}
        assert values == {key: clean(results)[name][key] for key in values}
        assert values["top1"] > 0.6


def test_tables_name_images_classes_metrics_and_how_classes_were_found(place, results, capsys):
    moved = place.with_name("elsewhere")
    (place / "shapes").rename(moved)  # reports need no folder
    try:
        out = report(results, capsys, "--metric", "ece", "--details", "--suite", "images:shapes", "--format", "md")
        page = results.parent / "page.html"
        assert main(["report", "--html", str(page), "--output-dir", str(results)]) == 0
        report(results, capsys, "--write", "csv", "latex")
    finally:
        moved.rename(place / "shapes")
    assert "shapes (60 images of 3 classes)" in out and "PGD 4/255 x5 ECE" in out and "mean CE" in out
    assert "Classes of first: by sorted order." in out and "by name (its checkpoint's class_names)" in out
    assert "Paired comparisons on the same images, shapes" in out and "Top-5" not in out
    assert "shapes (60 images of 3 classes)" in page.read_text()
    assert (results / "tables" / "robustness_images_shapes.csv").is_file()


def test_a_csv_gives_the_numbers_of_the_folder(place, results, tmp_path):
    other = tmp_path / "shapes"
    shutil.copytree(place / "shapes", tmp_path / "files")
    other.mkdir()
    rows = [f"{file},{file.relative_to(tmp_path / 'files').parts[0]}" for file in (tmp_path / "files").rglob("*.png")]
    (other / "any.csv").write_text("\n".join(["filename,class", *rows]))
    words = ["--images", other, "--checkpoint", place / "first.pth", "--name", "first", "--attack", "clean", *FEW]
    assert run(place, "robustness", *words, "--output-dir", tmp_path / "out") == 0
    assert clean(tmp_path / "out") == {"first": clean(results)["first"]}


def test_two_folders_of_one_name_never_mix(place, results, tmp_path, capsys):
    shutil.copytree(place / "shapes", tmp_path / "shapes")
    for file in (tmp_path / "shapes" / "cross").glob("*.png"):
        file.unlink()
    shutil.copytree(results, tmp_path / "out")
    words = ["--images", tmp_path / "shapes", "--checkpoint", place / "first.pth", "--name", "first", *FEW]
    assert run(place, "robustness", *words, "--output-dir", tmp_path / "out") == 0
    assert "measured again, on other images" in capsys.readouterr().err
    out = report(tmp_path / "out", capsys, "--format", "md")
    assert "left out, measured on other images" in out and "| second" not in out


def test_corruption_errors_relative_to_a_reference(place, tmp_path, capsys):
    for kind in CLASSES:
        (tmp_path / "few" / kind).mkdir(parents=True)
        shutil.copy(place / "shapes" / kind / "0.png", tmp_path / "few" / kind)
    (tmp_path / "small.py").write_text(SMALL)
    make, reference = (f"{tmp_path / 'small.py'}:{name}" for name in ("make", "reference"))
    words = ["--images", tmp_path / "few", "--attack", "clean", "--reference", reference, "--no-progress"]
    words += ["--device", "cpu", "-m", make, "--output-dir", tmp_path / "out"]
    assert main(["robustness", *map(str, words)]) == 0
    assert "mCE is relative to the errors of" in capsys.readouterr().out
    words = ["--suite", "images:few", "--reference", reference, "--format", "json"]
    rows = json.loads(report(tmp_path / "out", capsys, *words))
    errors = {make: {}, reference: {}}
    for record in Store(tmp_path / "out"):
        p, of = record.cell.settings["perturbation"], errors[record.cell.model]
        if "severity" in p:
            of[p["name"]] = of.get(p["name"], 0) + 1 - record.values["top1"]
    expected = 100 * np.mean([errors[make][name] / errors[reference][name] for name in errors[make]])
    found = {row["model"]: row["ours_percent"] for row in rows if row["metric"] == "mce"}
    assert found == {make: pytest.approx(expected, rel=1e-4), reference: pytest.approx(100)}


def test_attacks_and_filters_take_the_folder_too(place, tmp_path, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr("gfnet_bench.attacks.checks.check", lambda *given, **how: seen.append(given) or HOLDS)
    monkeypatch.setattr("gfnet_bench.reports.base.Report.write", lambda *given: [])  # figures take long
    words = ["--images", place / "shapes", "--checkpoint", place / "second.pth", "--limit", "6"]
    assert run(place, "attack-check", *words, "--output-dir", tmp_path) == 0
    predict, pixels, labels, *_ = seen[0]
    assert pixels.shape == (6, 3, 96, 96) and sorted(labels.tolist()) == [0, 0, 1, 1, 2, 2]
    assert predict(pixels).argmax(1).eq(labels).float().mean() > 0.5  # of classes in the folder's order
    surgery = ["--surgery", "--kind", "low_pass", "--cutoff", "0.2", "--attack", "clean", "--severity", "1"]
    for measure in (["--heatmap", "--frequencies", "3"], [*surgery, "--corruption", "contrast"]):
        assert run(place, "filters", *words, *measure, "--output-dir", tmp_path) == 0
    assert "images:shapes" in capsys.readouterr().out
    assert main(["report", "filters", "--suite", "images:shapes", "--output-dir", str(tmp_path)]) == 0


def test_names_of_classes_are_found_where_people_keep_them(place):
    net = torch.nn.Linear(1, 2)
    assert names_of(net) == (None, "")
    net.config = type("Config", (), {})()
    net.config.id2label = {"1": "b", "0": "a"}
    assert names_of(net)[0] == ("a", "b")
    net.class_names = ["c", "d"]
    assert names_of(net) == (("c", "d"), "its class_names")
    head = head_of(f"{place / 'net.py'}:make", Asked(checkpoint=place / "second.pth"))
    assert head == ((96, 96), 3, CLASSES[::-1], "its checkpoint's class_names")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--class-names", "circle", "cross", "ring"], "(--class-names: circle, cross, ring), found 1 of 3 that it"),
        (["--suite", "mini"], "models, data sets and suite do not go together"),
        (["--dataset", "mini"], "models, data sets and suite do not go together"),
        (["-m", "resnet50"], "expected images of its 1000 classes, found 3 (circle, cross, square)"),
    ],
)
def test_what_does_not_go_together_is_refused(words, message, place, capsys):
    assert run(place, "robustness", "--images", place / "shapes", *words, "--dry-run") == 2
    assert message in capsys.readouterr().err


def test_what_is_said_of_a_network_is_what_its_cells_hold(place, tmp_path, capsys):
    shutil.copy(place / "net.py", tmp_path / "said.py")
    model = ["-m", f"{tmp_path / 'said.py'}:make", "--mean", "0.4", "--std", "0.3"]
    assert main(["robustness", *model, "--images", str(place / "shapes"), "--device", "cpu", "--dry-run"]) == 0
    said = capsys.readouterr().err
    assert "mean 0.4 (as given), std 0.3 (as given)" in said and said.count("mean 0") == 1
