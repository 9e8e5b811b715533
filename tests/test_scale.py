"""The simulated scheduler: cases that can be worked out by hand, and what no schedule can do."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))
import scale


@pytest.mark.parametrize(
    ("seconds", "longest_first", "makespan"),
    [
        ([1, 1, 2], False, 3),  # one each, then the long one
        ([1, 1, 2], True, 2),  # the long one beside both others
        ([3, 3, 2, 2, 2], True, 7),  # the known worst case of longest first: 6 would do
        ([5], True, 5),
    ],
)
def test_two_workers_by_hand(seconds, longest_first, makespan):
    found = scale.play(seconds, 2, longest_first=longest_first)
    assert found.makespan == makespan and found.done == [1] * len(seconds) and not found.deaths


def test_the_bound_is_never_beaten_and_every_group_is_done_once_though_workers_die():
    seconds = [float(n % 7 + 1) * 600 for n in range(500)]
    for longest_first in (False, True):
        found = scale.play(seconds, 20, longest_first=longest_first, death_s=7200)
        assert found.deaths > 50 and found.done == [1] * 500
        assert scale.bound(seconds, 20) < found.makespan


def test_what_dies_is_taken_up_once_its_lease_has_ended(monkeypatch):
    """One worker, one group of 100 s; the first try dies after 40: 30 to be replaced, but 120 until the lease ends."""

    class Chance:
        lives = iter([40.0, 1000.0])

        def exponential(self, mean):
            return next(self.lives)

    monkeypatch.setattr(scale.np.random, "default_rng", lambda seed: Chance())
    assert scale.play([100.0], 1, longest_first=True, death_s=1.0) == (40 + 120 + 100, [1], 1)


def test_cutting_loses_nothing():
    assert scale.cut([10.0, 3.0], 4.0) == pytest.approx([10 / 3] * 3 + [3.0])


def test_streamed_records_are_those_that_were_made(tmp_path, capsys):
    scale.make(401, tmp_path)
    scale.read(tmp_path)
    seconds, peak, mean = map(float, capsys.readouterr().out.split())
    assert seconds > 0 and peak > 0 and mean == pytest.approx(200 / 401)
