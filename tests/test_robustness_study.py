"""The study end to end, on data sets whose right answers are known: an oracle reads the class off the colour."""

import gc
import math

import numpy as np
import pytest
import torch
from fake_imagenet import photo, truncated, write_c, write_classes, write_val

from gfnet_bench import evaluation, metrics
from gfnet_bench.benches import fast_modes
from gfnet_bench.benches import robustness as bench_of
from gfnet_bench.catalog import paper_transform
from gfnet_bench.cli import main
from gfnet_bench.datasets.classes import class_index, wnids
from gfnet_bench.errors import MissingError
from gfnet_bench.models import Model, base
from gfnet_bench.perturbations import CLEAN, parse
from gfnet_bench.runner import run_together
from gfnet_bench.store import Store
from gfnet_bench.studies import robustness as study


class Oracle(torch.nn.Module):
    """The nearest of the thousand colours that tests/fake_imagenet.py paints its classes with."""

    name, num_classes, params = "oracle", 1000, 0
    weights_sha256, weights_source, weights_key = None, None, None
    transform = paper_transform(32, 32)

    def forward(self, images):
        label = torch.arange(1000)
        colours = torch.stack([8 * (label % 32), 8 * (label // 32)], dim=1) / 255
        distance = images.mean(dim=(2, 3))[:, None, :2] - colours
        return -(distance**2).sum(2) * 1e4


class Contrary(Oracle):
    """Never right, and right about everything but the class it was asked for: its second guess is the answer."""

    def forward(self, images):
        logits = super().forward(images)
        return logits - 2e4 * torch.nn.functional.one_hot(logits.argmax(1), 1000)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_val(folder / "val")
    write_classes(folder / "imagenetv2-matched-frequency-format-val", {str(k): k for k in range(1000)})
    from gfnet_bench.datasets import DATASETS

    adversarial = DATASETS["imagenet_a"].classes()
    write_classes(folder / "imagenet-a", {wnids()[k]: k for k in adversarial})
    write_c(folder / "imagenet-c", "fog", 3, group="weather")
    return folder


def run(cells, bench, results):
    return run_together(cells, bench.measure, study.together, Store(results), progress=False)


def measure(data, results, datasets, model, monkeypatch, **options):
    monkeypatch.setattr(bench_of.Bench, "model", lambda self, cell: model)
    bench = bench_of.Bench(data_dirs=[data], progress=False)
    cells = study.cells(
        ["oracle"],
        datasets=[(name, [CLEAN]) for name in datasets],
        corruptions=["fog"],
        severities=[3],
        options=study.Options(**options),
    )
    return {r.cell.settings["dataset"]: r for r in run(cells, bench, results)}


ALL = ["imagenet", "imagenet_real", "imagenet_v2", "imagenet_a", "imagenet_a_control", "imagenet_c"]


def test_every_data_set_has_its_classes_right(data, tmp_path, monkeypatch):
    records = measure(data, tmp_path, ALL, Oracle(), monkeypatch)
    assert {name: record.error for name, record in records.items()} == dict.fromkeys(ALL)
    assert {name: record.values["top1"] for name, record in records.items()} == dict.fromkeys(ALL, 1.0)
    assert records["imagenet_real"].values["real"] == 1.0
    assert records["imagenet_a_control"].values["images"] == 200
    assert records["imagenet_c"].cell.settings["perturbation"] == {"name": "fog", "severity": 3}


def test_only_the_two_hundred_classes_compete_in_imagenet_a(data, tmp_path, monkeypatch):
    class Elsewhere(Oracle):
        """Always surest of a class that is not among the two hundred."""

        def forward(self, images):
            logits = super().forward(images)
            logits[:, 0] = 10.0  # the tench is in ImageNet's thousand alone
            return logits

    assert class_index()["n01440764"] == 0
    records = measure(data, tmp_path, ["imagenet", "imagenet_a"], Elsewhere(), monkeypatch)
    assert records["imagenet"].values["top1"] == pytest.approx(1 / 1000)
    assert records["imagenet_a"].values["top1"] == 1.0


def test_a_model_that_is_never_right(data, tmp_path, monkeypatch):
    values = measure(data, tmp_path, ["imagenet"], Contrary(), monkeypatch)["imagenet"].values
    assert values["top1"] == 0.0 and math.isfinite(values["nll"]) and values["ece"] > 0.2


def test_a_truncated_image_is_named_counted_and_left_out(data, tmp_path, monkeypatch):
    bad = sorted((data / "imagenet-a").rglob("*.*"))[7]
    whole = bad.read_bytes()
    bad.write_bytes(truncated(photo(3, 400, 300)))
    try:
        record = measure(data, tmp_path, ["imagenet_a"], Oracle(), monkeypatch)["imagenet_a"]
    finally:
        bad.write_bytes(whole)
    assert record.error is None and record.values["images"] == 199
    ((image, reason),) = record.provenance["excluded"]
    assert bad.stem in image and "runcated" in reason
    assert (record.values["excluded"], record.values["expected"]) == (1, 7500)


def test_a_limit_is_stratified_and_part_of_the_cell(data, tmp_path, monkeypatch):
    record = measure(data, tmp_path, ["imagenet"], Oracle(), monkeypatch, limit=50)["imagenet"]
    assert record.values["images"] == 50 and record.cell.settings["limit"] == 50
    assert (record.values["excluded"], record.values["expected"]) == (0, 50)
    assert record.provenance["available"][1] == 50_000 > record.provenance["available"][0]
    share = measure(data, tmp_path / "share", ["imagenet"], Oracle(), monkeypatch, limit=0.001)["imagenet"]
    assert share.values == record.values and share.cell.settings["limit"] == 0.001  # 50 of 50,000
    (whole,) = measure(data, tmp_path, ["imagenet_a"], Oracle(), monkeypatch).values()
    assert "available" not in whole.provenance  # `expected` tells that it is not whole
    assert len(set(Store(tmp_path).arrays(record)["labels"].tolist())) == 50


def test_a_model_with_other_classes_is_refused(data, tmp_path, monkeypatch):
    oracle = Oracle()
    oracle.num_classes = 10
    record = measure(data, tmp_path, ["imagenet"], oracle, monkeypatch)["imagenet"]
    assert "expected logits for the 1000 classes of imagenet, found 10" in record.error


def test_failures_are_remembered_within_a_run(tmp_path, monkeypatch):
    calls = []

    def load(*args, **kwargs):
        calls.append(args)
        raise MissingError("no weights")

    monkeypatch.setattr("gfnet_bench.benches.robustness.load_model", load)
    cells = study.cells(["gfnet_s"], datasets=[("imagenet_c", [])], corruptions=["fog", "snow"])
    records = run(cells, bench_of.Bench(progress=False), tmp_path)
    assert len(records) == 10 and len(calls) == 1
    assert {record.error for record in records} == {"MissingError: no weights"}


def test_cells_that_share_images_stand_together():
    cells = study.cells(["a", "b"], datasets=[("mini_c", [])], corruptions=["fog", "snow"], severities=[1, 2])
    order = [(c.settings["perturbation"]["name"], c.settings["perturbation"]["severity"], c.model) for c in cells]
    assert order == [(n, s, m) for n in ("fog", "snow") for s in (1, 2) for m in ("a", "b")]
    assert {c.settings["perturbation"]["recipe"] for c in cells} == {"cifar_c"}


GENERATED = dict(datasets=[("imagenet_c_generated", [])], corruptions=["contrast", "fog"], severities=[1], recipe=None)


def generated(monkeypatch, models, data, results, **options):
    """Records by (model, corruption) of models measured together on generated ImageNet-C."""
    monkeypatch.setattr(bench_of.Bench, "model", lambda self, cell: models[cell.model])
    cells = study.cells(list(models), **{**GENERATED, **options}, options=study.Options(limit=12))
    records = run(cells, bench_of.Bench(data_dirs=[data], batch_size=5, progress=False), results)
    return {(r.cell.model, r.cell.settings["perturbation"]["name"]): r for r in records}


def test_a_batch_is_corrupted_once_for_all_models(data, tmp_path, monkeypatch):
    from gfnet_bench import corruptions

    batches = []

    def watched(images, name, severity, *, recipe, seeds):
        batches.append((name, tuple(images.shape), recipe))
        return corrupt(images, name, severity, recipe=recipe, seeds=seeds)

    corrupt = corruptions.corrupt
    monkeypatch.setattr(corruptions, "corrupt", watched)
    models = {"oracle": Oracle(), "contrary": Contrary()}
    both = generated(monkeypatch, models, data, tmp_path / "both")
    # Three batches of five for two models; the recipe's own crop of 224, whatever the model takes.
    assert batches == [(name, (5, 3, 224, 224), "imagenet_c") for name in ("contrast", "fog") for _ in range(3)]
    alone = generated(monkeypatch, {"oracle": Oracle()}, data, tmp_path / "alone")
    for name in ("contrast", "fog"):
        assert both["oracle", name].values == alone["oracle", name].values
        assert both["contrary", name].values["top1"] == 0.0
    assert both["oracle", "contrast"].values["images"] == 12


def test_a_model_that_fails_does_not_keep_the_others_from_being_measured(data, tmp_path, monkeypatch):
    class Sick(Oracle):
        def forward(self, images):
            return super().forward(images) * float("nan")

    class Broken(Oracle):
        def forward(self, images):
            raise RuntimeError("a kernel is not there")

    wide, few = Oracle(), Oracle()
    wide.transform, few.num_classes = paper_transform(384, 384), 10
    models = {"oracle": Oracle(), "sick": Sick(), "broken": Broken(), "wide": wide, "few": few}
    records = generated(monkeypatch, models, data, tmp_path)
    assert records["oracle", "fog"].error is None
    assert "12 of 12 images are not finite" in records["sick", "fog"].error
    assert records["broken", "fog"].error == "RuntimeError: a kernel is not there"
    assert "recipe imagenet_c makes images of 224 x 224 pixels, but wide takes 384" in records["wide", "fog"].error
    assert "expected logits for the 1000 classes" in records["few", "fog"].error


def test_the_other_recipe_corrupts_what_the_model_is_shown(data, tmp_path, monkeypatch):
    records = generated(monkeypatch, {"oracle": Oracle()}, data, tmp_path, recipe="imagecorruptions")
    assert records["oracle", "contrast"].cell.settings["perturbation"]["recipe"] == "imagecorruptions"
    assert records["oracle", "contrast"].error is None


def mini_run(folder, monkeypatch, room=None):
    """Three networks of the embedded suite, and for every pass which of them were in memory."""
    resident = []

    real = evaluation.evaluate_all

    def watched(models, *args, **kwargs):
        gc.collect()
        resident.append({m.name for m in gc.get_objects() if type(m) is Model})
        return real(models, *args, **kwargs)

    monkeypatch.setattr(evaluation, "evaluate_all", watched)
    if room is not None:
        monkeypatch.setattr(bench_of.Bench, "_room", lambda self: room)
    cells = study.cells(
        ["gfnet_mini", "vit_mini", "resmlp_mini"],
        datasets=[("mini", [CLEAN]), ("mini_v2", [CLEAN]), ("mini_c", [])],
        corruptions=["contrast"],
        severities=[1],
        options=study.Options(limit=8),
    )
    bench = bench_of.Bench(progress=False)
    assert bench_of.missing(cells, bench) == [] and not bench._models
    records = run(cells, bench, folder)
    monkeypatch.undo()
    return {record.cell: record.values for record in records}, resident


def test_only_the_models_of_a_pass_are_in_memory(tmp_path, monkeypatch):
    values, resident = mini_run(tmp_path / "together", monkeypatch)
    networks = ["gfnet_mini", "vit_mini", "resmlp_mini"]
    assert resident == [{name} for name in networks for _ in range(2)] + [set(networks)]
    one_by_one, resident = mini_run(tmp_path / "apart", monkeypatch, room=1)
    assert resident == [{name} for name in networks for _ in range(2)] + [{name} for name in networks]
    assert one_by_one == values and all(v["images"] == 8 for v in values.values())


def test_a_model_for_other_classes_is_refused_before_anything_is_fetched(monkeypatch):
    def fetched(*args, **kwargs):
        raise AssertionError("its weights were asked for")

    monkeypatch.setattr(base, "hosted_weights", fetched)
    cells = study.cells(["vit_base_patch16_224.augreg_in21k"], datasets=[("mini", [CLEAN])], corruptions=())
    (sentence,) = bench_of.missing(cells, bench_of.Bench(progress=False))
    assert sentence == "vit_base_patch16_224.augreg_in21k: expected logits for the 10 classes of mini, found 21843"


@pytest.mark.data
def test_real_photographs_through_our_own_path_reach_the_stated_accuracy(photographs, tmp_path):
    """Transform, cache, model and loop: 88.2 and 97.4 are stated for these 500 photographs, timm's transform."""
    import csv

    import numpy as np

    from gfnet_bench.datasets import prepared
    from gfnet_bench.evaluation import evaluate
    from gfnet_bench.metrics import scores
    from gfnet_bench.models import Asked, load_model

    with (photographs / "photos.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    paths = [photographs / "photos" / row["file"] for row in rows]
    labels = np.array([int(row["imagenet_class"]) for row in rows])
    weights = photographs / "weights" / "vit_tiny_patch16_224.safetensors"
    model = load_model("vit_tiny_patch16_224", Asked(checkpoint=weights), transform="model")
    ids = [path.stem for path in paths]
    read = prepared.load("photographs", ids, paths, model.transform, cache_dir=tmp_path, progress=False)
    values = scores(evaluate(model, read.pixels, labels, ids, classes=None).predictions)
    assert values["images"] == 500
    assert values["top1"] == pytest.approx(0.882, abs=0.005) and values["top5"] == pytest.approx(0.974, abs=0.005)


def test_a_fast_mode_is_held_against_float32_on_a_sample(tmp_path, capsys):
    """A sample of everything here: what is noted is the difference of the two cells themselves."""
    words = ["robustness", "-m", "gfnet_mini", "--dataset", "mini", "--attack", "clean", "fgsm", "--limit", "60"]
    words += ["--output-dir", str(tmp_path), "--no-progress"]
    for dtype in ("float32", "bfloat16"):
        assert main([*words, "--dtype", dtype]) == 0
    store, seen = Store(tmp_path), {}
    for record in store.load().records:
        s = record.cell.settings
        seen[s["perturbation"]["name"], s["dtype"]] = record, store.arrays(record)["top5"][:, 0], record.values["top1"]
    for attack in ("clean", "fgsm"):
        exact, fast = seen[attack, "float32"], seen[attack, "bfloat16"]
        changed, points = int((exact[1] != fast[1]).sum()), round(100 * (fast[2] - exact[2]), 3)
        noted = {"images": 60, "changed": changed, "top1_points": points}
        assert fast[0].provenance["float32_sample"] == pytest.approx(noted)
        assert "float32_sample" not in exact[0].provenance
    told = capsys.readouterr().out
    assert "bfloat16, limit 60: held against float32 on 60 images of each cell, at most" in " ".join(told.split())


def test_a_sample_is_spread_over_the_set():
    assert fast_modes.sample(3).tolist() == [0, 1, 2] and len(fast_modes.sample(50_000)) == fast_modes.SAMPLE == 200
    rows = fast_modes.sample(1000)
    assert rows[0] == 0 and rows[-1] == 999 and set(np.diff(rows)) <= {5, 6}


def test_what_a_fast_mode_changes_by_hand():
    def predictions(answers, labels):
        n = len(labels)
        top5 = np.array(answers)[:, None] + np.zeros((1, 5), int)
        return metrics.Predictions(top5, np.ones(n), np.ones(n), np.array(labels), tuple(map(str, range(n))))

    fast = predictions([1, 9, 2, 9, 3, 9, 4, 9], [1, 0, 2, 0, 3, 0, 0, 0])
    exact = predictions([1, 2, 0, 4], [1, 2, 3, 0])
    noted = fast_modes.against_float32(fast, exact, np.array([0, 2, 4, 6]))
    assert noted == {"images": 4, "changed": 1, "top1_points": 25.0}  # the third: 3, which is right, was 0


def passes_of(cells, folder, monkeypatch):
    """Records by attack, and how many images the network was shown and gave a gradient for, over those of a set."""
    counted = {"forward": 0, "backward": 0}
    real = Model.forward

    def count(self, images):
        counted["forward"] += len(images)
        pixels = images.view_as(images)
        if pixels.requires_grad:
            pixels.register_hook(lambda gradient: counted.update(backward=counted["backward"] + len(gradient)))
        return real(self, pixels)

    with monkeypatch.context() as patched:
        patched.setattr(Model, "forward", count)
        records = run(cells, bench_of.Bench(progress=False, batch_size=16), folder)
    return {r.cell: r for r in records}, {name: count / 16 for name, count in counted.items()}


@pytest.mark.parametrize("words", [("clean", "fgsm", "pgd"), ("fgsm", "clean", "pgd")])
@pytest.mark.parametrize("model", ["gfnet_mini", "resnet_mini", "vit_mini"])
def test_clean_fgsm_and_pgd_share_passes_and_keep_every_bit(model, words, tmp_path, monkeypatch):
    attacks = [parse(word) for word in words]
    cells = study.cells([model], datasets=[("mini", attacks)], corruptions=[], options=study.Options(limit=16))
    together, shared = passes_of(cells, tmp_path / "together", monkeypatch)
    assert shared == {"forward": 8, "backward": 6}
    apart, alone = {}, {"forward": 0, "backward": 0}
    for i, cell in enumerate(cells):
        record, count = passes_of([cell], tmp_path / str(i), monkeypatch)
        apart |= record
        alone = {name: alone[name] + count[name] for name in alone}
    assert alone == {"forward": 9, "backward": 6}
    for cell in cells:
        one, other = together[cell], apart[cell]
        assert one.values == other.values and one.error is None
        arrays = [
            Store(tmp_path / folder).arrays(r) for folder, r in (("together", one), (str(cells.index(cell)), other))
        ]
        assert arrays[0].keys() == arrays[1].keys()
        for name, column in arrays[0].items():
            np.testing.assert_array_equal(column, arrays[1][name], strict=True)
        assert one.provenance.get("attack") == other.provenance.get("attack")


def test_clean_images_are_measured_where_the_attack_beside_them_cannot_be(data, tmp_path, monkeypatch):
    class Cut(Oracle):
        """No gradient comes through."""

        def forward(self, images):
            return super().forward(images.detach())

    monkeypatch.setattr(bench_of.Bench, "model", lambda self, cell: Cut())
    cells = study.cells(["oracle"], datasets=[("imagenet_v2", [CLEAN, parse("fgsm")])], corruptions=[])
    clean, attacked = run(cells, bench_of.Bench(data_dirs=[data], progress=False), tmp_path)
    assert clean.error is None and clean.values["top1"] == 1.0
    assert "autograd" in attacked.error
