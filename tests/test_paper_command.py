"""`gfnet-bench paper`: what is planned is told, what can be measured is, and the page shows both."""

import json

import pytest

from gfnet_bench.cli import main
from gfnet_bench.store import Store


def rows(capsys):
    return {row["item"]: row for row in json.loads(capsys.readouterr().out)}


def test_a_dry_run_plans_everything_and_measures_nothing(tmp_path, capsys):
    words = ["--data-dir", str(tmp_path), "--output-dir", str(tmp_path / "out")]
    assert main(["paper", "--dry-run", "--device", "cpu", "--format", "json", *words]) == 1
    found = rows(capsys)
    assert set(found) == {
        "table1", "table2", "table3", "figure2", "figure3", "figure4", "figure5", "claims", "ablation", "transfer",
    }  # fmt: skip
    assert found["table3"]["missing"] == found["table3"]["cells"] == 5 * (3 + 4 + 75)
    assert "expected a folder val" in found["table3"]["why"]
    assert found["table3"]["fill"] == "gfnet-bench paper table3 --data-dir DATA"
    assert not (tmp_path / "out").exists()


def test_what_needs_no_data_is_measured_and_shown(tmp_path, capsys):
    words = ["paper", "table1", "table3", "ablation", "--count-only", "--device", "cpu", "--no-progress"]
    words += ["--data-dir", str(tmp_path), "--output-dir", str(tmp_path), "--format", "json"]
    assert main(words) == 1  # Table 3 has no data here
    found = rows(capsys)
    assert (found["table1"]["measured"], found["table1"]["missing"]) == (4, 0)
    assert (found["table3"]["measured"], found["table3"]["failed"]) == (0, 0)
    assert {r.cell.model for r in Store(tmp_path)} == {
        "depthwise_conv", "self_attention", "spatial_mlp", "global_filter",
    }  # fmt: skip
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "gfnet-bench paper table3 --data-dir DATA" in page  # how to fill the gap
    assert "- (21.0†)" in page  # GFNet-S under PGD: not measured, published
    assert "Local Conv 7x7" in page  # the ablation, as published
    assert (tmp_path / "tables" / "complexity_table1.tex").is_file()


def test_the_same_records_give_the_same_page(tmp_path, capsys):
    words = ["paper", "table1", "--count-only", "--device", "cpu", "--no-progress", "--output-dir", str(tmp_path)]
    pages = []
    for name in ("a.html", "b.html"):
        assert main([*words, "--html", str(tmp_path / name)]) == 0
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table9"], "unknown item of the paper 'table9'; did you mean"),
        (["figure2", "--tokens", "200"], "expected square numbers"),
        (["table1", "--device", "cuda:99"], "--device cuda:99"),
    ],
)
def test_what_cannot_be_asked_for(words, message, tmp_path, capsys):
    assert main(["paper", *words, "--output-dir", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
