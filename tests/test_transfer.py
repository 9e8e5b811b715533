"""Images made for one network and shown to another: who is attacked, who is measured, and the matrix of both."""

import pytest
import torch
from test_report_robustness import CLEAN, cell, fill, record
from torch import nn

from gfnet_bench.attacks.pgd import PGD
from gfnet_bench.attacks.transfer import Transfer
from gfnet_bench.benches.robustness import Bench
from gfnet_bench.cli import main
from gfnet_bench.errors import GfnetBenchError, UsageError
from gfnet_bench.perturbations import Attacked, of_cell, parse
from gfnet_bench.reports.robustness import robustness
from gfnet_bench.store import Store


def test_images_are_made_for_the_source_and_no_other():
    torch.manual_seed(0)
    images, labels, seeds = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0]), torch.arange(4)
    source, other = (nn.Sequential(nn.Flatten(), nn.Linear(192, 3)) for _ in range(2))
    made = Transfer("vit_mini", epsilon=0.1).on(source)
    expected = PGD(0.1)(source, images, labels, seeds)
    assert torch.equal(made(other, images, labels, seeds), expected)
    assert not torch.equal(expected, PGD(0.1)(other, images, labels, seeds))
    assert (made.norm, made.epsilon, made.name) == ("linf", 0.1, "transfer")
    with pytest.raises(UsageError, match="expected to be given the network vit_mini, found none"):
        Transfer("vit_mini")(other, images, labels, seeds)


def test_it_is_written_and_stored_as_any_attack():
    written = parse("transfer:vit_mini,by=apgd_ce,epsilon=4/255")
    assert isinstance(written, Attacked) and parse(written.spelling) == written
    assert written.settings == {
        "name": "transfer", "norm": "linf", "source": "vit_mini", "by": "apgd_ce", "epsilon": 4 / 255,
    }  # fmt: skip
    for wrong, told in (
        ("transfer:vit_mimi", "did you mean vit_mini"),
        ("transfer", "expected a value of source"),
        ("transfer:vit_mini,by=pgdd", "did you mean pgd"),
        ("transfer:vit_mini,by=pgd:norm=l2", "expected by to be an attack in L-infinity"),
    ):
        with pytest.raises(UsageError, match=told):
            parse(wrong)


def test_to_itself_it_is_the_attack_and_to_others_less(tmp_path):
    words = ["robustness", "-m", "gfnet_mini", "vit_mini", "--dataset", "mini", "--limit", "40", "--no-progress"]
    words += ["--output-dir", str(tmp_path), "--attack", "pgd", "transfer:gfnet_mini"]
    assert main(words) == 0
    found = {(r.cell.model, of_cell(r.cell).name): r for r in Store(tmp_path).load().records}
    assert found["gfnet_mini", "transfer"].values == found["gfnet_mini", "pgd"].values
    assert found["vit_mini", "transfer"].values["top1"] > found["vit_mini", "pgd"].values["top1"]


def test_a_source_that_is_shown_other_images_is_refused():
    attack = parse("transfer:gfnet_mini")
    bench, asked = Bench(data_dirs=(), device="cpu"), cell("vit_mini", "mini", attack.settings)
    model = bench.source(asked, Transfer("vit_mini"))
    model.num_classes = 7
    with pytest.raises(GfnetBenchError, match="expected a network for 7 classes of 32 x 32 pixels, found one for 10"):
        bench.attack(asked, attack)


def test_the_matrix_has_the_attack_itself_where_source_and_row_are_one(tmp_path):
    radius = {"epsilon": 4 / 255}
    pgd = parse("pgd:epsilon=4/255").settings
    items = []
    for model, (clean, own, carried) in {"gfnet_mini": (36, 10, 30), "vit_mini": (35, 12, 28)}.items():
        other = {"gfnet_mini": "vit_mini", "vit_mini": "gfnet_mini"}[model]
        items += [
            record(cell(model, "mini", CLEAN), clean),
            record(cell(model, "mini", pgd), own),
            record(cell(model, "mini", {**parse(f"transfer:{other}").settings, **radius}), carried),
        ]
    report = robustness(fill(tmp_path, items))
    (table,) = [t for t in report.tables if t.name == "robustness_mini_pgd_4_255_x5_transfer"]
    keys = [f"{model}_top1_percent" for model in ("gfnet_mini", "vit_mini")]
    assert [(row["source"], *(row[key] for key in keys)) for row in table.rows] == [
        ("clean", 90, 87.5), ("gfnet_mini", 25, 70), ("vit_mini", 75, 30),
    ]  # fmt: skip
    assert "Transfer" not in " ".join(c.title for c in report.tables[0].columns)
    (drawing,) = report.figures
    shown = {text.get_text() for text in drawing.figure.axes[0].texts}
    assert shown == {"75", "30", "25", "70"} and "Bold: the network that the images are made for" in drawing.caption
