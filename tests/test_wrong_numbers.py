"""Every guard speaks to its exhibit in the museum of wrong numbers, and none to twenty honest runs."""

import csv
import importlib
from functools import reduce
from pathlib import Path

import pytest
from test_experiments import imported

RESULT = Path(__file__).parents[1] / "results" / "tables" / "wrong_numbers.csv"
NAMES = """
    normalised_box epsilon_twice train_mode all_classes folder_numbers text_sorted part_of_set nineteen unnormalised
    mixed_sources resized_again unpaired best_seed free_transform mixed_units fused_missed unsynchronised swapped_events
""".split()


@pytest.fixture(scope="module")
def museum(one_thread):
    with pytest.MonkeyPatch.context() as patch:
        yield imported("wrong_numbers", patch)


@pytest.mark.parametrize("name", NAMES)
def test_the_guard_stops_its_exhibit(museum, name):
    exhibit = museum.EXHIBITS[name]
    assert exhibit.wrong(museum.sample(10)).said
    module, _, path = exhibit.guard.partition(":")
    assert reduce(getattr, path.split("."), importlib.import_module(module))


@pytest.mark.parametrize("seed", range(1, 21))
def test_no_guard_stops_an_honest_run(museum, seed):
    honest = {name: exhibit.right(museum.sample(10, seed)).said for name, exhibit in museum.EXHIBITS.items()}
    assert honest == dict.fromkeys(NAMES)


def test_the_table_is_of_this_museum_and_every_mistake_in_it_matters(museum):
    with RESULT.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["mistake"] for row in rows] == [exhibit.mistake for exhibit in museum.EXHIBITS.values()]
    assert all(row["wrong"] != row["right"] for row in rows)
