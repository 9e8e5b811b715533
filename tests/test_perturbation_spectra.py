"""What an attack adds, by frequency: on a network whose gradient is a known wave, and drawn from known records."""

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
from test_report_filters import spectra_record
from whole_records import added

from gfnet_bench import spectra
from gfnet_bench.benches import robustness
from gfnet_bench.benches.filters import Bench
from gfnet_bench.benches.perturbation import shown
from gfnet_bench.catalog import Transform
from gfnet_bench.datasets.images import Images, Rows
from gfnet_bench.perturbations import parse
from gfnet_bench.reports.filters import filters
from gfnet_bench.runner import run_together
from gfnet_bench.spectra import noise
from gfnet_bench.store import Store
from gfnet_bench.studies import filters as study

WAVE = noise(np.array((-2, 1)), 8, 8)  # at a radius of the root of 5, in the ring of 2
IN_RING = int((np.rint(spectra.radii(8, 8) * 8) == 2).sum())
GREY = Images(
    Rows(np.full((7, 8, 8, 3), 128, dtype=np.uint8), np.arange(7)),
    np.zeros(7, dtype=np.int64),
    tuple(f"grey/{i}" for i in range(7)),
    np.zeros(7, dtype=np.int64),
)


class Linear(torch.nn.Module):
    """Says 1 where the images hold more than a little of one wave."""

    num_classes, params, weights_sha256, weights_source, weights_key, name = 2, 0, None, None, None, "linear"
    transform = Transform("paper", 8, 8, None, "bicubic")

    def __init__(self):
        super().__init__()
        self.wave = torch.from_numpy(WAVE).float()

    def forward(self, images):
        held = (images * self.wave).sum((1, 2, 3))
        return torch.stack([torch.full_like(held, 0.1), held], dim=1)


@pytest.fixture
def measured(monkeypatch, tmp_path):
    monkeypatch.setattr(robustness.Bench, "fitting_model", lambda self, cell: Linear())
    monkeypatch.setattr(robustness.Bench, "images", lambda self, cell, model: GREY)

    def measure(text, batch_size=64):
        cells = study.perturbation_cells(["linear"], dataset="mini", attacks=[parse(text)])
        store, bench = Store(tmp_path), Bench(robustness.Bench(progress=False, batch_size=batch_size))
        (record,) = run_together(cells, bench.measure, study.together, store, overwrite="always", progress=False)
        assert record.error is None
        return record, store.arrays(record)

    return measure


def test_a_step_along_a_known_gradient_is_at_its_frequency_alone(measured):
    record, arrays = measured("pgd:norm=l2,epsilon=0.3,steps=1,relative_step=1,random_start=false")
    square = 0.3**2 / (3 * 64)
    assert record.values["mean_square"] == pytest.approx(square, rel=1e-4)
    assert arrays["radial"][:, 2] == pytest.approx(square / IN_RING, rel=1e-4)
    assert np.delete(arrays["radial"], 2, axis=1).max() < 1e-9
    relative = spectra.against_white_noise(arrays["radial"], arrays["square"], 64)
    assert relative[:, 2] == pytest.approx(64 / IN_RING, rel=1e-4)
    wave = 0.3 * WAVE / np.sqrt(3)  # in each of three channels
    assert np.abs(arrays["difference"] - wave[None, :, :, None]).max() < 1e-6
    assert (arrays["clean"] == 128).all() and (arrays["labels"] == 0).all()
    assert (arrays["clean_answers"] == 0).all() and (arrays["answers"] == 1).all()  # holds 0.3 * sqrt(3) > 0.1


def test_fgsm_is_a_square_wave(measured):
    record, arrays = measured("fgsm:epsilon=4/255")
    signs = np.sign(WAVE) * 4 / 255
    assert np.abs(arrays["difference"] - signs[None, :, :, None]).max() < 1e-6
    by_hand = spectra.radial_profile(spectra.energy(signs)).mean
    assert arrays["radial"] == pytest.approx(np.tile(by_hand, (7, 1)), rel=1e-4, abs=1e-9)
    assert record.values["mean_square"] == pytest.approx((4 / 255) ** 2 * (WAVE != 0).mean(), rel=1e-4)


def test_images_made_for_another_network_have_its_spectrum(measured, monkeypatch):
    other = Linear()
    other.wave = torch.from_numpy(noise(np.array((-3, -3)), 8, 8)).float()
    monkeypatch.setattr(robustness.Bench, "model", lambda self, cell: Linear())
    monkeypatch.setattr(robustness.Bench, "source", lambda self, cell, attack: other)
    _, arrays = measured("transfer:resnet_mini,by=fgsm,epsilon=4/255")
    assert np.abs(arrays["difference"] - other.wave.sign().numpy()[None, :, :, None] * 4 / 255).max() < 1e-6


def test_a_random_direction_is_the_measure_of_it(measured):
    _, arrays = measured("random:epsilon=8/255")
    assert 0.6 < arrays["random"][1:].mean() < 1.4
    relative = spectra.against_white_noise(arrays["radial"], arrays["square"], 64)
    assert np.array_equal(relative.mean(0).astype(np.float32), arrays["random"])  # the attack is that direction


def test_neither_batch_nor_order_changes_a_spectrum(measured):
    (_, a), (_, b) = (measured("pgd:epsilon=2/255", size) for size in (64, 3))
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_the_images_to_look_at_are_drawn_by_the_seed_from_their_names():
    few = shown(GREY, 0)
    assert len(few) == 4 and len({tuple(shown(GREY, seed)) for seed in range(8)}) > 2
    turned = replace(GREY, ids=GREY.ids[::-1])
    assert {turned.ids[i] for i in shown(turned, 0)} == {GREY.ids[i] for i in few}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("results"))
    with mock.patch("os.fsync"):
        for record, arrays in (added(weights="gfnet_mini"), spectra_record("gfnet_mini", [(2, 2)], (4, 4))):
            store.save(record, arrays)
    return filters(store, channels=[0])


def test_the_table_tells_which_third_of_the_frequencies_an_attack_prefers(report):
    (table,) = [t for t in report.tables if t.name == "filters_perturbation"]
    (row,) = table.rows
    assert row["rms_levels"] == pytest.approx(255 * np.sqrt(1e-5))
    # Rings of 0, 1 and 2 cycles hold 1e-6 times 2, 1 and 0.5; white noise has 1e-5 / 16 at every frequency.
    white = 1e-5 / 16
    ratios = [row[f"{name}_ratio"] for name in ("low", "middle", "high")]
    assert ratios == pytest.approx([2e-6 / white, 1e-6 / white, 0.5e-6 / white], rel=1e-4)


def test_the_lines_are_the_numbers_and_stand_beside_the_filters(report):
    (drawing,) = [f for f in report.figures if f.name == "filters_perturbation_mini_pgd_6images"]
    lines, learned = drawing.figure.axes
    assert lines.get_yscale() == "log" and "Grey in (a), dotted: a random direction" in drawing.caption
    assert list(lines.lines[0].get_ydata()) == pytest.approx([1.6, 0.8], rel=1e-4)  # without zero frequency
    assert [list(line.get_xdata()) for line in learned.lines] == [[0, 1]]
    ends = [[patch.get_x() for patch in axes.patches] for axes in (lines, learned)]
    assert ends == [[2], [1, 2]]  # the Nyquist frequencies of 4 pixels and of 2 tokens


def test_a_sheet_shows_each_image_four_times(report):
    (sheet,) = [f for f in report.figures if f.name == "filters_perturbation_mini_pgd_gfnet_mini_limit_6"]
    axes = sheet.figure.axes
    assert len(axes) == 2 * 4 and all(len(one.images) == 1 for one in axes)
    words = [one.get_xlabel() for one in axes]
    assert [words[0], words[1], words[4], words[5]] == ["✓ class 1", "✓ class 1", "✓ class 2", "✗ class 3"]
    _, arrays = added()
    assert np.array_equal(axes[0].images[0].get_array(), arrays["clean"][0] / 255)
    largest = np.abs(arrays["difference"]).max()
    magnified = axes[6].images[0].get_array()
    assert np.abs(magnified - (0.5 + 0.5 * arrays["difference"][1] / largest)).max() < 1e-6
    right = max(one.get_position().x1 for one in axes)
    assert right <= 1  # nothing is cut off
