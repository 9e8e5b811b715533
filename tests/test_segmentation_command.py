"""`segmentation` from end to end, on the embedded scenes and on a made-up ADE20K."""

import json
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from gfnet_bench.catalog import MODELS
from gfnet_bench.cli import main
from gfnet_bench.metrics import segmentation as metrics
from gfnet_bench.records import Record
from gfnet_bench.reports.bibliography import references
from gfnet_bench.reports.drawing.tables import RECORDS
from gfnet_bench.reports.segmentation import segmentation
from gfnet_bench.scene_sets import ADE20K, SCENE_SETS
from gfnet_bench.segmentation import ade20k, networks
from gfnet_bench.segmentation.pictures import GAP, SIDE, palette
from gfnet_bench.segmentation.recipes import recipe_of, settings_of, usual
from gfnet_bench.store import Store
from gfnet_bench.studies.segmentation import Options, cells

SHORT = ["--iterations", "60", "--batch-size", "8", "--limit", "40", "--device", "cpu", "--no-progress", "-j", "1"]


def command(folder, *words):
    return main(["segmentation", "-m", "resnet_h_mini", "--output-dir", str(folder), *words])


def test_under_torchrun_two_processes_are_one_command(tmp_path):
    """One record, one table, each line once; the second process trains and is silent."""
    words = ["segmentation", "-m", "resnet_h_mini", "--iterations", "2", "--batch-size", "8", "--limit", "6"]
    words += ["--device", "cpu", "--no-progress", "-j", "0", "--output-dir", str(tmp_path)]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    said = subprocess.run([*torchrun, "-m", "gfnet_bench", *words], capture_output=True, text=True, cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert said.stdout.count("Semantic segmentation of mini_scenes") == 1
    assert said.stderr.count("trained resnet_h_mini") == 1 and "Warning" not in said.stderr.replace("OMP", "")
    (record,) = Store(tmp_path)
    assert record.values["images"] == 6 and record.error is None


@pytest.fixture(scope="module")
def trained(tmp_path_factory, one_thread):
    """A short run with a corruption."""
    folder = tmp_path_factory.mktemp("trained")
    assert command(folder, *SHORT, "--corruption", "fog", "--severity", "1", "5") == 0
    return folder


def of(folder):
    store = Store(folder)
    return store, {str((r.cell.settings["corruption"] or {}).get("severity")): r for r in store}


def test_a_short_run_beats_a_constant(trained):
    store, records = of(trained)
    clean = records["None"]
    arrays = store.arrays(clean)
    labelled = arrays["labelled"].sum(0)
    constant = labelled.max() / labelled.sum() / (labelled > 0).sum()  # the most frequent class everywhere
    assert clean.values["miou"] > 1.5 * constant
    found = metrics.Regions(*(arrays[name] for name in metrics.Regions._fields))
    assert np.array_equal(arrays["confusion"].diagonal(), found.intersect.sum(0))
    assert arrays["confusion"].sum() == labelled.sum() == 40 * 64 * 64
    assert len(arrays["losses"]) == len(arrays["rates"]) == 60 and arrays["losses"][-10:].mean() < arrays["losses"][0]
    assert records["5"].values["miou"] != clean.values["miou"] and "losses" not in store.arrays(records["5"])


def test_tables_say_what_the_images_are(trained):
    report = segmentation(Store(trained))
    table2, clean, _, corrupted = report.tables
    assert all(row.get("miou_percent") is None for row in table2.rows)
    _, records = of(trained)
    assert clean.rows[0]["miou_percent"] == 100 * records["None"].values["miou"] and "mini_scenes" in clean.title
    assert any("not ADE20K" in note for note in clean.notes)
    lost = {row["severity"]: row["lost_points"] for row in corrupted.rows}
    assert lost[5] == pytest.approx(100 * (records["None"].values["miou"] - records["5"].values["miou"]))
    assert clean.rows[0][RECORDS] == {"miou_percent": (records["None"].cell.sha256,)}


def test_a_table_has_every_class(trained):
    store, records = of(trained)
    matrix = store.arrays(records["None"])["confusion"]
    expected = {
        name: (100 * matrix[k, k] / (matrix[k].sum() + matrix[:, k].sum() - matrix[k, k]), matrix[k].sum())
        for k, name in enumerate(SCENE_SETS["mini_scenes"].names)
    }
    (_, _, classes, _) = segmentation(store).tables
    assert [row["class_name"] for row in classes.rows] == sorted(expected, key=lambda name: -expected[name][1])
    for row in classes.rows:
        iou, pixels = expected[row["class_name"]]
        assert (row["iou_1_percent"], row["labelled_percent"]) == pytest.approx((iou, 100 * pixels / matrix.sum()))
    assert "ResNet" in classes.columns[2].title or "resnet" in classes.columns[2].title.lower()


def test_a_picture_shows_images_truth_and_predictions(trained):
    (file,) = (trained / "figures").glob("segmentation_mini_scenes_resnet_h_mini.png")
    with Image.open(file) as image:
        assert image.size == (6 * (SIDE + GAP) + GAP, 3 * (SIDE + GAP))
    assert len({tuple(colour) for colour in palette(150)[:150]}) == 150 and not palette(150)[255].any()


def test_what_is_trained_is_not_trained_again(trained, monkeypatch):
    monkeypatch.setattr("gfnet_bench.segmentation.training.Training.run", None)
    _, before = of(trained)
    assert command(trained, *SHORT) == 0
    assert command(trained, *SHORT, "--eval-only", "--overwrite", "always", "--format", "json") == 0
    _, after = of(trained)
    assert after["None"].values == before["None"].values
    (state,) = (trained / "segmentation").glob("*.pt")
    assert command(trained, "--checkpoint", str(state), "--limit", "40", "--device", "cpu", "--no-progress") == 0
    by_file = next(r for r in Store(trained) if r.cell.settings["checkpoint"])
    assert by_file.values == before["None"].values


def test_evaluation_alone_wants_a_network(tmp_path, capsys):
    assert command(tmp_path, *SHORT, "--eval-only") == 1
    assert "expected a trained network" in capsys.readouterr().err
    short = ["--iterations", "2", "--batch-size", "2", "--device", "cpu", "--no-progress"]
    assert command(tmp_path, *short, "--train-only", "--dtype", "bfloat16") == 0
    assert list((tmp_path / "segmentation").glob("resnet_h_mini.*.pt")) and not [
        r for r in Store(tmp_path) if r.error is None
    ]
    (tmp_path / "weights.pt").write_bytes(b"nothing")
    assert command(tmp_path, "--checkpoint", str(tmp_path / "weights.pt")) == 1
    assert "found a damaged file" in capsys.readouterr().err
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    assert command(tmp_path, "--checkpoint", str(tmp_path / "other.pt")) == 1
    assert "expected the weights of this backbone" in capsys.readouterr().err
    assert main(["segmentation", "--checkpoint", str(tmp_path / "other.pt")]) == 2
    assert main(["segmentation", "--corruption", "fog:severity=3", "--dry-run"]) == 2


@pytest.fixture
def ade(tmp_path):
    """Three training and two validation images."""
    rng = np.random.default_rng(0)
    for subset, count in (("training", 3), ("validation", 2)):
        for kind in ("images", "annotations"):
            (tmp_path / "data" / ade20k.FOLDER / kind / subset).mkdir(parents=True)
        for i in range(count):
            place = tmp_path / "data" / ade20k.FOLDER
            image = rng.integers(0, 256, (24, 36 - 4 * i, 3), dtype=np.uint8)
            Image.fromarray(image).save(place / "images" / subset / f"{i}.jpg")
            Image.fromarray(image[..., 0] % 151).save(place / "annotations" / subset / f"{i}.png")
    return tmp_path


def test_ade20k_with_a_backbone_that_learned_a_grid(ade, monkeypatch, one_thread, capsys):
    monkeypatch.setattr("gfnet_bench.segmentation.networks.load_model", fresh)
    monkeypatch.setitem(SCENE_SETS._things, "ade20k", replace(ADE20K, box=(256, 64)))  # the recipe's takes its time
    words = ["segmentation", "-m", "gfnet_h_ti", "--data-dir", str(ade / "data"), "--output-dir", str(ade)]
    assert main([*words, "--iterations", "1", "-b", "1", "--device", "cpu", "--no-progress", "-j", "1"]) == 0
    (record,) = Store(ade)
    assert record.values["images"] == 2 and record.values["expected"] == 2000 and record.values["classes"] == 150
    assert segmentation(Store(ade)).tables[0].rows[2]["backbone"] == "GFNet-H-Ti"
    assert all(row.get("miou_percent") is None for row in segmentation(Store(ade)).tables[0].rows)  # two images
    assert main([*words, "--dry-run"]) == 0
    assert main(["segmentation", "-m", "gfnet_h_ti", "--data-dir", str(ade / "none"), "--dry-run"]) == 1
    assert "expected ADEChallengeData2016" in capsys.readouterr().err


def test_table_2_takes_a_whole_validation_set():
    (cell,) = cells("gfnet_h_ti", "ade20k", settings_of("gfnet_h_ti", usual("gfnet_h_ti")), Options())
    values = {"miou": 0.4055, "pixel_accuracy": 0.8, "mean_accuracy": 0.5, "images": 2000, "classes": 150}
    records = [Record(cell, {**values, "expected": 2000})]
    table = segmentation(records).tables[0]
    row = next(row for row in table.rows if row["backbone"] == "GFNet-H-Ti")
    column = table.columns[-1]
    assert column.text(row).startswith("40.5 (41") or column.text(row).startswith("40.6 (41")
    assert "0.9 to 2.1 points above" in " ".join(table.notes) and "published only" not in " ".join(table.notes)
    less = [Record(cell, {**values, "images": 200, "expected": 2000})]
    assert all(row.get("miou_percent") is None for row in segmentation(less).tables[0].rows)


def test_a_cell_tells_its_recipe():
    for name in ("gfnet_h_ti", "resnet50", "pvt_mini"):
        settings = json.loads(json.dumps(settings_of(name, usual(name))))
        assert recipe_of(settings) == usual(name)
    assert (usual("resnet50").optimizer, usual("resnet50").rate, usual("resnet50").weight_decay) == ("sgd", 0.01, 5e-4)
    assert (usual("swin_tiny").optimizer, usual("swin_tiny").rate, usual("swin_tiny").batch) == ("adamw", 1e-4, 16)
    assert {"zhou2017scene", "xiao2017fashion"} <= references().keys()


def fresh(name):
    torch.manual_seed(1)
    return SimpleNamespace(net=timm.create_model(MODELS[name].timm_name).eval())


@pytest.mark.parametrize("name", ["resnet18", "pvt_tiny", "swin_tiny", "gfnet_h_ti"])
def test_a_backbone_starts_from_the_weights_of_its_classifier(name, monkeypatch):
    monkeypatch.setattr("gfnet_bench.segmentation.networks.load_model", fresh)
    side = 224  # of the classifier, so that nothing is resampled
    net = networks.network(name, side, 150, 0.1).eval()
    networks.start(net, name)
    image = torch.randn(1, 3, side, side)
    with torch.no_grad():
        last = net.backbone(image)[-1]
        whole = fresh(name).net.forward_intermediates(image, intermediates_only=True)[-1]
    assert torch.allclose(last, whole, atol=1e-4)


def test_swin_and_poolformer_take_images_of_their_own_size():
    with torch.no_grad():
        for name in ("swin_tiny", "poolformer_s12"):
            net = networks.network(name, 256, 150, 0.1).eval()
            other = networks.rebuilt(net, name, 150)
            network = net if other is None else other((256, 288)).eval()
            assert network(torch.randn(1, 3, 256, 288)).shape == (1, 150, 64, 72)
