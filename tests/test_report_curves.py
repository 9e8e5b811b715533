"""Accuracy against radius and steps: which points, which columns, and what is said of a curve that rises."""

import argparse
import itertools

import numpy as np
import pytest
import torch
from test_report_robustness import CLEAN, IMAGES, PGD, cell, fill, record

from gfnet_bench.attacks.random_direction import RandomDirection
from gfnet_bench.cli import main
from gfnet_bench.commands import sweeps
from gfnet_bench.errors import UsageError
from gfnet_bench.evaluation import evaluate
from gfnet_bench.metrics import wilson_interval
from gfnet_bench.perturbations import attacked, parse
from gfnet_bench.reports.robustness import robustness


def attack(radius, steps=5, name="pgd"):
    return parse(f"{name}:epsilon={radius}/255" + (f",steps={steps}" if name == "pgd" else "")).settings


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    right = {"gfnet_mini": (36, 34, 20, 4), "resnet_mini": (38, 36, 20, 38)}
    items = [
        item
        for model, (clean, *those) in right.items()
        for item in (
            record(cell(model, "mini", CLEAN), clean),
            *(record(cell(model, "mini", attack(r)), n) for r, n in zip((1, 4, 16), those, strict=True)),
            *(record(cell(model, "mini", attack(r, name="random")), clean) for r in (1, 4, 16)),
            *(record(cell(model, "mini", attack(4, steps)), 20 - steps) for steps in (1, 10)),
        )
    ]
    return robustness(fill(tmp_path_factory.mktemp("results"), items))


def table(report, name):
    (found,) = [t for t in report.tables if t.name == name]
    return found


def test_a_curve_has_a_column_for_each_point_and_its_random_direction(swept):
    by_radius = table(swept, "robustness_mini_pgd_x5_by_radius")
    assert [c.title for c in by_radius.columns] == ["Model", "clean", "1/255", "4/255", "16/255"]
    ours = {row["model"]: row for row in by_radius.rows}
    assert list(ours) == [
        f"{model}{end}" for end in ("", ", random direction") for model in ("resnet_mini", "gfnet_mini")
    ]
    assert ours["gfnet_mini"]["top1_at_4_255_percent"] == 100 * 20 / IMAGES
    low, high = wilson_interval(20, IMAGES)
    assert ours["gfnet_mini"]["top1_at_4_255_percent_low"] == pytest.approx(100 * low)
    assert ours["gfnet_mini"]["top1_at_4_255_percent_high"] == pytest.approx(100 * high)
    assert ours["resnet_mini, random direction"]["top1_at_16_255_percent"] == 95.0
    by_steps = table(swept, "robustness_mini_pgd_4_255_by_steps")
    assert [c.title for c in by_steps.columns] == ["Model", "clean", "x1", "x5", "x10"]
    assert {row["model"]: row for row in by_steps.rows}["gfnet_mini"]["top1_at_x10_percent"] == 25.0


def test_the_wide_table_keeps_the_attack_of_the_suite_alone(swept):
    headings = [c.title for c in table(swept, "robustness_mini").columns]
    assert [h for h in headings if "PGD" in h or "Random" in h] == ["PGD 4/255 x5"]
    assert len([row for row in swept.data.rows if row["row"] == "gfnet_mini"]) > 6  # every number is in the long one


def test_a_stronger_attack_that_helps_a_model_is_told(swept):
    told = [note for note in table(swept, "robustness_mini_pgd_x5_by_radius").notes if "rises" in note]
    assert len(told) == 1 and told[0].startswith("resnet_mini: the accuracy rises from 4/255 to 16/255 by more than")


def test_a_slow_rise_is_told_though_no_step_of_it_is(tmp_path):
    rising = (12, 19, 26, 33)  # the interval of each reaches into that of the next
    items = [record(cell("gfnet_mini", "mini", attack(r)), n) for r, n in zip((1, 2, 4, 8), rising, strict=True)]
    ends = [wilson_interval(n, IMAGES) for n in rising]
    assert all(b.low < a.high for a, b in itertools.pairwise(ends)) and ends[2].low > ends[0].high
    notes = table(robustness(fill(tmp_path, items)), "robustness_mini_pgd_x5_by_radius").notes
    assert [note[:52] for note in notes if "rises" in note] == ["gfnet_mini: the accuracy rises from 1/255 to 4/255 b"]


def test_the_curve_of_fgsm_on_a_linear_network_is_known():
    """A margin of m falls at the radius m / |w|, L1, as long as no pixel meets black or white."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3 * 4 * 4, generator=generator)
    images = torch.randint(100, 156, (200, 4, 4, 3), generator=generator, dtype=torch.uint8)

    def predict(x):
        held = (x - 0.5).flatten(1) @ weight
        return torch.stack([held, -held], dim=1)

    held = ((images.permute(0, 3, 1, 2).double() / 255 - 0.5).flatten(1) @ weight.double()).numpy()
    labels, names = (held < 0).astype(np.int64), [str(i) for i in range(200)]
    falls = np.abs(held) / weight.double().abs().sum().item()
    found, expected = [], []
    for attack in attacked("fgsm", sweeps.radii(["0.25/255..16/255"])):
        seen = evaluate(predict, images.numpy(), labels, names, classes=None, attack=attack.attack).predictions
        found.append(float((seen.top5[:, 0] == labels).mean()))
        expected.append(float((falls > attack.attack.epsilon).mean()))
    assert found == expected and len(set(found)) > 4 and found[-1] < 0.1


def test_the_figure_shows_every_point_and_explains_itself(swept, tmp_path):
    (drawing,) = [f for f in swept.figures if f.name == "robustness_mini_pgd_x5_by_radius"]
    (axes,) = drawing.figure.axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["clean", "1", "4", "16"]
    assert axes.get_xticks().tolist() == [-1, 0, 2, 4]  # doublings
    assert {line.get_linestyle() for line in axes.lines} >= {"-"} and len(axes.lines) == 4
    assert "Bands: 95 % intervals" in drawing.caption and "random direction" in drawing.caption
    assert len(drawing.data.rows) == 2 * (4 + 3)


def test_two_points_are_no_curve(tmp_path):
    items = [record(cell("gfnet_mini", "mini", attack(r)), 20) for r in (1, 2)]
    assert [t.name for t in robustness(fill(tmp_path, items)).tables] == ["robustness_mini"]
    assert PGD["epsilon"] == 1 / 255


@pytest.mark.parametrize(
    ("words", "points"),
    [
        (["0.25/255..2/255"], ["0.25/255", "0.5/255", "1/255", "2/255"]),
        (["1/255..3/255"], ["1/255", "2/255", "3/255"]),
        (["0.1..0.5"], ["0.1", "0.2", "0.4", "0.5"]),
        (["4/255", "1/255..4/255"], ["4/255", "1/255", "2/255"]),
        (None, None),
    ],
)
def test_a_range_of_radii_doubles(words, points):
    assert sweeps.radii(words) == points


def test_a_range_of_steps_doubles():
    assert sweeps.counts("1..50") == [1, 2, 4, 8, 16, 32, 50] and sweeps.counts("20") == [20]
    for text in ("50..1", "0..4", "1..", "a..b", "5..5"):
        with pytest.raises(argparse.ArgumentTypeError):
            sweeps.counts(text)
    for text in ("4/255..1/255", "0..1/255", "..", "1e-300..1"):
        with pytest.raises(UsageError, match=r"--eps .*expected"):
            sweeps.radii([text])


def test_a_sweep_is_so_many_cells(tmp_path, capsys):
    words = ["robustness", "-m", "gfnet_mini", "--dataset", "mini", "--output-dir", str(tmp_path), "--dry-run"]
    assert main([*words, "--attack", "pgd", "random", "--eps", "1/255..4/255", "--steps", "1..4"]) == 0
    out = capsys.readouterr().out
    assert out.count("pgd:") == 9 and out.count("random:") == 3


def test_a_random_direction_goes_as_far_as_the_ball():
    images = torch.full((3, 3, 8, 8), 0.5)
    images[0] = 0.999
    seeds = torch.arange(3)
    moved = RandomDirection(8 / 255)(lambda x: x, images, seeds, seeds) - images
    assert moved[1:].abs().sub(8 / 255).abs().max() < 1e-6 and 0.4 < (moved[1:] > 0).float().mean() < 0.6
    assert (images + moved).max() <= 1 and not torch.equal(moved[1], moved[2])
    alone = RandomDirection(8 / 255)(lambda x: x, images[2:], seeds[2:], seeds[2:]) - images[2:]
    assert torch.equal(alone[0], moved[2])
    lengths = (
        (RandomDirection(0.5, "l2")(lambda x: x, images[1:], seeds, seeds[1:]) - images[1:]).flatten(1).norm(dim=1)
    )
    torch.testing.assert_close(lengths, torch.full((2,), 0.5))
