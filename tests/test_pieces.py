"""A cell that is cut and put together is the cell in one piece, to the last bit, whoever measured what."""

import numpy as np
import pytest

from gfnet_bench import pieces, runner
from gfnet_bench.benches.robustness import Bench
from gfnet_bench.cli import main
from gfnet_bench.records import Cell
from gfnet_bench.store import Store
from gfnet_bench.studies import robustness as study

WORDS = "robustness -m gfnet_mini resnet_mini --dataset mini mini_c --attack clean fgsm pgd autoattack".split()
WORDS += "--corruption fog:severity=3 --eps 16/255 --limit 23 --device cpu -j 0 -b 4 --no-progress".split()


def measured(words, folder, monkeypatch, parts=1):
    """Records by cell, and arrays by cell, of a command that is a worker of a run cut into so many pieces."""
    from gfnet_bench.commands import robustness, spreading
    from gfnet_bench.runs import Run

    real = spreading.planned

    def as_worker(arguments, cells, *rest, **more):
        if parts > 1:
            arguments.of_run = Run(arguments.words, ".", [], {}, {}, pieces=parts)
            arguments.overwrite = {}
        return False

    monkeypatch.setattr(robustness.spreading, "planned", as_worker if parts > 1 else real)
    assert main([*words, "--output-dir", str(folder)]) == 0
    store = Store(folder)
    return {r.cell: (r.values, r.provenance["batch_size"], r.provenance.get("attack"), store.arrays(r)) for r in store}


@pytest.mark.parametrize("count", [2, 5])
def test_a_cell_in_pieces_is_the_cell_to_the_last_bit(count, tmp_path, monkeypatch, one_thread):
    alone = measured(WORDS, tmp_path / "alone", monkeypatch)
    passes = []
    real = Bench._measure_whole

    def seen(self, cells):
        passes.append((self._piece, len(cells)))
        return real(self, cells)

    monkeypatch.setattr(Bench, "_measure_whole", seen)
    cut = measured(WORDS, tmp_path / "cut", monkeypatch, count)
    assert len(alone) == 10 and cut.keys() == alone.keys()
    for cell, (values, batch_size, attack, arrays) in alone.items():
        assert cut[cell][:3] == (values, batch_size, attack)
        for name, array in arrays.items():
            np.testing.assert_array_equal(cut[cell][3][name], array)
    assert all(piece is not None for piece, several in passes if several)  # nothing was measured whole


def test_cuts_lie_between_batches_and_leave_nothing_out():
    for images, batch, count in [(23, 4, 2), (23, 4, 5), (64, 64, 3), (1000, 64, 7), (5, 1, 5)]:
        ranges = [pieces.rows(images, batch, (n, count)) for n in range(count)]
        assert [row for rows in ranges for row in rows] == list(range(images))
        assert all(rows.start % batch == 0 or not rows for rows in ranges)


def test_a_piece_knows_its_cell():
    cells = [Cell("robustness", 3, name, {"dataset": "mini"}) for name in ("a", "b")]
    cut = pieces.cut(cells, 3)
    assert len(set(cut)) == 6 and [pieces.whole(piece) for piece in cut] == cells * 3
    assert [pieces.number(piece) for piece in cut] == [(0, 3), (0, 3), (1, 3), (1, 3), (2, 3), (2, 3)]


def test_a_cell_of_which_a_piece_is_missing_or_failed_is_not_put_together(tmp_path):
    cell, store = Cell("robustness", 3, "a", {"dataset": "mini"}), Store(tmp_path)

    def measure(piece):
        if pieces.number(piece)[0] == 1:
            raise ValueError("no luck")
        return runner.Outcome({}, {"top5": np.zeros((1, 5))})

    runner.run(pieces.cut([cell], 2)[:1], measure, store, progress=False)
    assert pieces.put_together(cell, 2, store) is None
    runner.run(pieces.cut([cell], 2), measure, store, progress=False)
    assert pieces.put_together(cell, 2, store) is None


def test_long_cells_come_first_where_several_share(tmp_path):
    cells = [
        Cell("of_my_own", 1, name, {"dataset": "mini", "weight": w})
        for name, w in zip("abcd", (1, 9, 4, 9), strict=True)
    ]
    order = []

    def measure(group):
        order.extend(cell.model for cell in group)
        return [runner.Outcome({"top1": 0.5}) for _ in group]

    how = {"progress": False, "weight": lambda cell: cell.settings["weight"]}
    records = runner.run_together(cells, measure, lambda cell: cell, Store(tmp_path), **how)
    assert order == ["b", "d", "c", "a"] and [record.cell for record in records] == cells


def test_autoattack_weighs_more_than_pgd_and_that_more_than_nothing():
    from gfnet_bench.perturbations import CLEAN, attacked

    datasets = [("mini", [CLEAN, *attacked("pgd", [], 4 / 255), *attacked("autoattack", [], 4 / 255)])]
    clean, pgd, autoattack = map(study.weight, study.cells(["gfnet_mini"], datasets=datasets, corruptions=[]))
    assert (clean, pgd) == (1000, 11_000) and autoattack > 100 * pgd
