"""What stands beside the numbers of the robustness report: families of comparisons, letters."""

from __future__ import annotations

import numpy as np
import pytest
from test_report_robustness import CLEAN, cell, fill, record

from gfnet_bench import metrics
from gfnet_bench.metrics import METRICS
from gfnet_bench.reports.robustness import robustness

RIGHT = {"vit_mini": range(40), "gfnet_mini": range(36), "resmlp_mini": range(32), "resnet_mini": range(8)}
"""Which of 40 images each network has right."""


def passes(right, dataset: str = "mini") -> list:
    """A clean pass of each network."""
    items = []
    for model, images in right.items():
        r, arrays = record(cell(model, dataset, CLEAN), len(images))
        arrays["top5"][:, 0] = np.where(np.isin(np.arange(40), list(images)), arrays["labels"], arrays["labels"] ^ 1)
        arrays["top5"][:, 1:] = 9
        values = {**r.values, **{name: METRICS[name].value(arrays) for name in ("top1", "top5", "ece")}}
        items.append((r.__class__(r.cell, values, None, (), r.provenance), arrays))
    return items


def table(report, name: str):
    return next(t for t in (*report.tables, *report.details) if t.name == f"robustness_mini_{name}")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return robustness(fill(tmp_path_factory.mktemp("four"), passes(RIGHT)))


def test_comparisons_are_corrected_for_all_of_their_table(drawn):
    rows = table(drawn, "paired").rows
    assert len(rows) == 12 and table(drawn, "paired").notes[-1].startswith("p (Holm): corrected for the 12 comparisons")
    assert [row["p_holm"] for row in rows] == metrics.holm([row["p"] for row in rows])
    (row,) = (r for r in rows if (r["column"], r["first"], r["second"]) == ("Top-1", "gfnet_mini", "resmlp_mini"))
    assert (row["only_first_images"], row["only_second_images"], row["p"]) == (4, 0, metrics.mcnemar_p(4, 0))
    assert row["smallest_points"] == pytest.approx(100 * metrics.smallest_difference(40, 4 / 40))


def test_letters_in_every_format(drawn):
    found = table(drawn, "groups")
    # Each has what the next has, so p is 2^-d: 4 images are not enough, and 8 are, also after correction.
    letters = {row["model"]: row["top1_percent_letters"] for row in found.rows}
    assert letters == {"vit_mini": "a", "gfnet_mini": "ab", "resmlp_mini": "b", "resnet_mini": "c"}
    for format in ("text", "md", "latex", "html"):
        assert "] ab" in found.render(format)
    assert "gfnet_mini,90.0,ab," in found.render("csv")
