"""Scenes, augmentation, schedule, resumed and shared training, against definitions and against undisturbed runs."""

import colorsys
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gfnet_bench.datasets.mini import sample
from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.models.classifier import Classifier
from gfnet_bench.randomness import image_seeds
from gfnet_bench.scene_sets import MINI_SCENES
from gfnet_bench.segmentation import mini_scenes, networks
from gfnet_bench.segmentation.augmentation import Augmentation, recoloured
from gfnet_bench.segmentation.distributed import Group
from gfnet_bench.segmentation.training import Recipe, Training, batches, loss_of, optimizer_of, order, read_state

SMALL = Augmentation(crop=64, box=(64, 64), factors=(0.8, 1.25), most=1.0)
RECIPE = Recipe(iterations=20, batch=2, rate=1e-3, augmentation=SMALL)


def test_scenes_are_the_same_every_time_and_labelled_by_what_was_painted():
    scenes = mini_scenes.scenes("validation")
    one = scenes.read(scenes.ids[7])
    mini_scenes.compose.cache_clear()
    again = scenes.read(scenes.ids[7])
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert one.image.shape == (64, 64, 3) and one.labels.shape == (64, 64)
    seen = np.unique(np.concatenate([scenes.read(name).labels.ravel() for name in scenes.ids[:100]]))
    assert seen.tolist() == list(range(11)) and MINI_SCENES.classes == 11
    members = sample().members
    train, check = ({image for image, _ in members[mini_scenes.SOURCES[s]]} for s in ("training", "validation"))
    assert not train & check


def test_masks_are_exact():
    """The ground is what is drawn first: outside the mask it is untouched, inside hardly a pixel is left of it."""
    for name in mini_scenes.scenes("training").ids[:20]:
        scene, around = mini_scenes.compose(name), mini_scenes.BACKGROUND
        ground = mini_scenes._ground(np.random.default_rng(int(image_seeds([name], mini_scenes.VERSION)[0])))
        same = (scene.image == ground).all(axis=2)
        assert same[scene.labels == around].all() and same[scene.labels != around].mean() < 0.02


def test_the_recipe_by_its_definition():
    recipe = Recipe()
    assert recipe.rate_at(0) == 1e-4 and recipe.rate_at(40_000) == pytest.approx(1e-4 * 0.5**0.9)
    assert recipe.rate_at(79_999) < 1e-8
    net = networks.network("gfnet_h_mini", 64, 11, 0.1)
    (group,) = optimizer_of(net, recipe).param_groups  # norms and biases decay too
    assert group["weight_decay"] == 1e-4 and len(group["params"]) == len(list(net.parameters()))
    rates = [m.drop_prob for m in net.modules() if type(m).__name__ == "DropPath"]
    assert rates == pytest.approx(np.linspace(0, 0.1, 5)[1:]) and net.dropout.p == 0.1
    assert optimizer_of(net, replace(recipe, optimizer="sgd")).param_groups[0]["momentum"] == 0.9


def test_ignored_pixels_cost_nothing_and_are_part_of_the_mean():
    logits = torch.tensor([2.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 1, 2)
    labels = torch.tensor([[[0, 255]]])
    assert loss_of(logits, labels).item() == pytest.approx(np.log(1 + np.exp(-2)) / 2)


def test_each_epoch_is_a_permutation():
    rows = order(5, 3, 0)
    first, second = [next(rows) for _ in range(5)], [next(rows) for _ in range(5)]
    assert sorted(first) == sorted(second) == list(range(5)) and first != second
    assert next(order(5, 3, 7)) == second[2]


def test_hue_and_saturation_are_those_of_hsv():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (6, 7, 3)).astype(np.float32)
    image[0, 0], image[0, 1], image[0, 2] = 0, 128, (255, 0, 255)
    ours = recoloured(image, 1.3, 25.0)
    for pixel, got in zip(image.reshape(-1, 3), ours.reshape(-1, 3), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*(pixel / 255))
        assert got / 255 == pytest.approx(colorsys.hsv_to_rgb((h + 25 / 360) % 1, min(1, s * 1.3), v), abs=1e-5)


def test_a_crop_is_padded_and_no_class_fills_it():
    scene = mini_scenes.scenes("training").read("mini_scenes/training/00001")
    grown = Augmentation(crop=96, box=(64, 64), factors=(1.0, 1.0), most=1.0, colours=False)
    image, labels = grown(scene, np.random.default_rng(0))
    assert image.shape == (96, 96, 3) and np.isnan(image[64:]).all() and (labels[:, 64:] == 255).all()
    assert np.array_equal(image[:64, :64], scene.image) or np.array_equal(image[:64, :64], scene.image[:, ::-1])
    assert np.array_equal(np.sort(labels[:64, :64], axis=None), np.sort(scene.labels, axis=None))
    picky = Augmentation(crop=24, box=(64, 64), factors=(1.0, 1.0), most=0.75, colours=False)
    shares = []
    for seed in range(40):
        counts = np.bincount(picky(scene, np.random.default_rng(seed))[1].ravel())
        shares.append(counts.max() / counts.sum())
    assert np.mean(np.array(shares) < 0.75) > 0.9  # ten tries may fail


def run_of(folder, recipe=RECIPE, name="gfnet_h_mini", **settings):
    torch.manual_seed(5)
    net = networks.network(name, 64, 11, 0.1)
    scenes = mini_scenes.scenes("training")
    return Training(net, scenes, recipe, folder / "state.pt", "a run", **settings)


def test_a_run_that_was_stopped_gives_the_weights_of_one_that_was_not(tmp_path, one_thread):
    whole = run_of(tmp_path / "a")
    log = whole.run()
    assert log.losses[-5:].mean() < log.losses[:5].mean() and log.rates[0] == np.float32(1e-3)
    stopped = run_of(tmp_path / "b")
    stopped.run(until=7)
    resumed = run_of(tmp_path / "b", workers=1)
    torch.manual_seed(99)  # what the process has drawn before does not count
    assert np.array_equal(resumed.run().losses, log.losses)
    for (name, a), b in zip(whole.network.state_dict().items(), resumed.network.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert read_state(tmp_path / "b" / "state.pt")["iteration"] == 20


def test_a_file_of_another_run_or_none_is_told(tmp_path):
    tiny = replace(RECIPE, iterations=1)
    run_of(tmp_path, tiny).run()
    with pytest.raises(GfnetBenchError, match="expected a run with these settings"):
        other = run_of(tmp_path, tiny)
        other.identity = "another"
        other.run()
    (tmp_path / "state.pt").write_bytes((tmp_path / "state.pt").read_bytes()[:5000])
    with pytest.raises(GfnetBenchError, match="found a damaged file"):
        run_of(tmp_path, tiny).run()
    torch.save({"state_dict": {}}, tmp_path / "state.pt")
    with pytest.raises(GfnetBenchError, match="found something else"):
        run_of(tmp_path, tiny).run()
    with pytest.raises(GfnetBenchError, match="3 processes can share equally, found 2"):
        run_of(tmp_path, tiny, group=Group(0, 3)).run()


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    with pytest.raises(GfnetBenchError, match=r"found nan|found inf"):
        run_of(tmp_path, replace(RECIPE, optimizer="sgd", rate=1e12)).run()


SHARED = replace(RECIPE, iterations=3, batch=4, optimizer="sgd", rate=0.01)


def shared(folder, group):
    """Three steps without dropout, which processes draw apart."""
    training = run_of(folder, SHARED, "resnet_h_mini", group=group)
    training.network.dropout.p = 0.0
    return training, training.run().losses


def test_two_processes_are_one_with_the_whole_batch(tmp_path, one_thread):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    program = (
        "import pathlib, sys, torch; sys.path.insert(0, sys.argv[2]); torch.set_num_threads(1)\n"
        "from gfnet_bench.segmentation.distributed import joined\n"
        "from test_segmentation_training import shared\n"
        "with joined(torch.device('cpu')) as group: shared(pathlib.Path(sys.argv[1]), group)"
    )
    processes = []
    for rank in "01":
        env = {**os.environ, "RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        command = [sys.executable, "-c", program, str(tmp_path / "two"), str(Path(__file__).parent)]
        processes.append(subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True))
    errors = [process.communicate(timeout=240)[1] for process in processes]
    assert not any(process.returncode for process in processes), errors
    alone, losses = shared(tmp_path / "one", Group())
    together = read_state(tmp_path / "two" / "state.pt")
    assert together["losses"].numpy() == pytest.approx(losses, rel=1e-5)
    start = run_of(tmp_path, SHARED, "resnet_h_mini").network.state_dict()
    for name, tensor in alone.network.state_dict().items():
        apart = torch.linalg.vector_norm((together["network"][name] - tensor).float())
        moved = torch.linalg.vector_norm((tensor - start[name]).float())
        assert apart <= 0.01 * moved, name


def test_processes_share_each_batch():
    scenes = mini_scenes.scenes("training")
    whole = next(batches(scenes, SHARED, 0, Group(), 1))[1]
    parts = [next(batches(scenes, SHARED, 0, Group(rank, 2), 1))[1] for rank in range(2)]
    assert np.array_equal(np.concatenate(parts), whole)
    assert len(list(batches(scenes, replace(SHARED, iterations=5), 3, Group(), 1))) == 2


@pytest.mark.parametrize("name", networks.MINI)
def test_a_network_for_another_size_has_its_weights_resampled(name):
    net = networks.network(name, 64, 11, 0.0).eval()
    other = networks.rebuilt(net, name, 11)
    image = torch.randn(1, 3, 64, 96)
    if other is None:
        assert net(image).shape == (1, 11, 16, 24)
        return
    assert other((64, 96))(image).shape == (1, 11, 16, 24)
    again = other((64, 64))  # from the first grid, not from the last
    assert torch.allclose(again(image[..., :64]), net(image[..., :64]), atol=1e-5)
    assert [m.img_size for m in net.modules() if isinstance(m, Classifier)] == [(64, 64)]


def test_the_networks_are_small():
    for name in networks.MINI:
        net = networks.network(name, 64, 11, 0.0)
        assert sum(p.numel() for p in net.parameters()) < 1.5e6 and isinstance(net, nn.Module)
