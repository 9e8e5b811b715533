"""Files for programs hold plain numbers: a unit in every name, marks apart, one unit for a quantity in all files."""

from __future__ import annotations

import csv
import json
import re
from unittest import mock

import pytest
from test_captions import FILTERS, blocks, models
from test_report_complexity import sweep
from test_report_paper import counted, pyramid, scored
from test_report_robustness import fill, imagenet, mini
from whole_records import every_kind

from gfnet_bench.records import Record
from gfnet_bench.reports.accuracy import accuracy
from gfnet_bench.reports.base import Report
from gfnet_bench.reports.claims import claims
from gfnet_bench.reports.compare import compare
from gfnet_bench.reports.complexity import complexity
from gfnet_bench.reports.drawing.tables import Table
from gfnet_bench.reports.filters import filters
from gfnet_bench.reports.quoted import ablation, transfer
from gfnet_bench.reports.robustness import robustness
from gfnet_bench.reports.segmentation import segmentation
from gfnet_bench.store import Store

UNITS = {
    "percent", "points", "s", "bytes", "px", "degrees", "tokens", "macs", "params", "images", "cycles", "channels",
    "nats", "repeats",
}  # fmt: skip
COUNTS = {
    "layer", "channel", "row", "column", "cluster", "clusters", "width", "threads", "batch", "severity", "limit",
    "vertical_frequencies", "horizontal_frequencies", "count", "cells", "iterations",
}  # fmt: skip
WITHOUT_UNIT = {
    "coherence", "silhouette", "energy", "magnitude", "kernel", "log_magnitude", "filter_magnitude", "norm", "p",
    "p_holm", "exponent", "r2", "finding", "finding_low", "finding_high",  # of a claim, with its unit beside it
}  # fmt: skip
YES_OR_NO = {"True", "False"}
MARKS = {"†", "‡", "≈", "*"}


def failed() -> list[Record]:
    return [Record(r.cell, error="RuntimeError: no") for r in blocks() if r.cell.settings["tokens"] == 784]


def of_filters(folder) -> Report:
    store = Store(folder)
    with mock.patch("os.fsync"):
        for record, arrays in [*FILTERS["everything"], *FILTERS["clusters"]]:
            store.save(record, arrays)
    return filters(store, channels=[0, 1])


def of_two_runs(folder) -> Report:
    items = [whole for _, whole in every_kind().items()]
    changed = [(Record(r.cell, r.values, provenance={**r.provenance, "device": "cuda"}), arrays) for r, arrays in items]
    return compare(fill(folder / "a", items), fill(folder / "b", changed)).report


REPORTS = {
    "comparison": of_two_runs,
    "costs": lambda _: complexity([*models(), *sweep()]),
    "costs with failures": lambda _: complexity(
        [*failed(), *(r for r in blocks() if r.cell.settings["tokens"] != 784)]
    ),
    "filters": of_filters,
    "robustness": lambda folder: robustness(fill(folder, [*imagenet(), *mini()]), metrics=["ece", "nll"]),
    "robustness, nothing measured": lambda _: robustness([], planned=["gfnet_s", "deit_small"]),
    "figures 3 and 4": lambda _: accuracy([counted("gfnet_s"), scored("gfnet_s"), scored("resnet50", images=500)]),
    "table 2": lambda _: segmentation([pyramid("gfnet_h_ti", 512), pyramid("gfnet_h_ti", 1024), counted("gfnet_s")]),
    "claims": lambda folder: claims(fill(folder, [*((r, {}) for r in sweep()), *mini()])),
    "ablation": lambda _: ablation(),
    "transfer": lambda _: transfer(),
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> dict[str, list[Table]]:
    found = {}
    for name, report in REPORTS.items():
        made = report(tmp_path_factory.mktemp("results"))
        data = [made.data] if made.data else []
        found[name] = [*made.tables, *made.details, *data, *(figure.data for figure in made.figures)]
    return found


def columns(table: Table) -> dict[str, list[str]]:
    head, *lines = csv.reader(table.render("csv").splitlines())
    assert len(set(head)) == len(head)
    return {name: [line[i] for line in lines] for i, name in enumerate(head)}


def is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", text) is not None


@pytest.mark.parametrize("name", REPORTS)
def test_a_column_holds_numbers_or_words(tables, name):
    assert tables[name]
    for table in tables[name]:
        for column, values in columns(table).items():
            there = [value for value in values if value]
            assert not {"-", "n/a", "nan", "None", "inf"} & set(there), (table.name, column)
            numbers = [value for value in there if is_number(value)]
            assert len(numbers) in (0, len(there)), (table.name, column, set(there))
            if column.endswith("_mark"):
                assert set(there) <= MARKS
            else:
                assert not [v for v in there if re.match(r"[-<≈]?\d[\d.,]*\s*[†‡*±(%≈]|<\d", v)], (table.name, column)


@pytest.mark.parametrize("name", REPORTS)
def test_every_number_has_its_unit_in_its_name(tables, name):
    for table in tables[name]:
        for column, values in columns(table).items():
            if any(is_number(value) for value in values):
                assert column in COUNTS | WITHOUT_UNIT or UNITS & set(column.split("_")), (table.name, column)


def test_a_quantity_has_one_unit_in_all_files(tables):
    units: dict[str, set[str]] = {}
    for table in (table for of in tables.values() for table in of):
        for column, values in columns(table).items():
            if any(map(is_number, values)):
                words = re.split(r"_(?=percent|points|s\b|s_|bytes|px|degrees|tokens|cycles)", column)
                units.setdefault(words[0], set()).add(words[1].split("_")[0] if len(words) > 1 else "")
    ends = {"low", "high"}  # of whatever the table is about
    assert {quantity: of for quantity, of in units.items() if len(of) > 1 and quantity not in ends} == {}
    assert len(units) > 30


@pytest.mark.parametrize("name", REPORTS)
def test_json_holds_what_csv_holds(tables, name):
    for table in tables[name]:
        rows = json.loads(table.render("json"))["rows"]
        from_csv = columns(table)
        assert all(list(row) == list(from_csv) for row in rows)
        for column, values in from_csv.items():
            assert ["" if row[column] is None else str(row[column]) for row in rows] == values


def test_shares_are_percent_everywhere(tables):
    """The clean accuracy of the surgery is 36 of 40, in whatever file it stands."""
    found = []
    for table in tables["filters"]:
        names = {"clean_top1_percent"} | ({"top1_percent"} if "perturbation" in columns(table) else set())
        for row in table.rows:
            if "as learned" in row.values() and row.get("perturbation", "clean") == "clean":
                found += [row[name] for name in names if name in row]
    assert found == [90.0] * 3
