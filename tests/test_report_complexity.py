"""The complexity report: its tables against a golden file, the figure by what it holds, fits by hand."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import pytest
from matplotlib.text import Text

from gfnet_bench.errors import MissingError
from gfnet_bench.published import rows as published_rows
from gfnet_bench.records import Cell, Record
from gfnet_bench.reports.base import REPORTS
from gfnet_bench.reports.complexity import complexity
from gfnet_bench.reports.complexity.growth import growth
from gfnet_bench.reports.complexity.plots import cost_plots
from gfnet_bench.reports.drawing import figures
from gfnet_bench.reports.drawing.figures import Label, name_curves, new_figure, spread_out
from gfnet_bench.reports.drawing.tables import RECORDS
from gfnet_bench.store import Store

GOLDEN = Path(__file__).parent / "golden"
GPU = {"kind": "cuda", "name": "NVIDIA H200"}
SIDES = (14, 28, 56, 84, 112)
MIXERS = ("global_filter", "self_attention", "self_attention_fused", "spatial_mlp", "depthwise_conv")
PER_TOKEN = {"global_filter": 1.2e6, "depthwise_conv": 1.21e6, "spatial_mlp": 1.5e6}
NO_MEMORY = {"out_of_memory": True, "reason": "CUDA out of memory."}


def cell(name: str, measure: str, tokens: int, **settings) -> Cell:
    return Cell(
        "complexity", 1, name, {"measure": measure, "subject": "block", "tokens": tokens, "width": 384, **settings}
    )


def macs(name: str, tokens: int) -> int:
    return round(PER_TOKEN.get(name, 1.8e6) * tokens + (768 * tokens**2 if "attention" in name else 0))


def count(name: str, tokens: int) -> Record:
    values = {
        "macs": macs(name, tokens), "operators": {"linear": macs(name, tokens) - 7, "fft": 7},
        "formula_operators": {"linear": macs(name, tokens) - 7, "fft": 5}, "unruled": {}, "unit": "MACs",
        "params": 1_000_000, "convention": "C N ceil(log2 N) for rfft2",
    }  # fmt: skip
    return Record(cell(name, "count", tokens, convention="table1"), values)


def point(name: str, tokens: int, **how) -> list[Record]:
    """Materialised attention takes 1 ns and 1 kB per pair of tokens and has room up to 56 x 56 of them."""
    quadratic = name == "self_attention"
    seconds = 1e-6 * (tokens**2 / 1000 if quadratic else tokens)
    size = 1e4 * (tokens**2 / 10 if quadratic else tokens)
    settings = {"device": GPU, "batch": 32, "dtype": "float32", "mode": "forward", **how}
    latency = {
        "out_of_memory": False, "latency_s": seconds, "latency_q1_s": 0.99 * seconds, "latency_q3_s": 1.01 * seconds,
        "spread": 0.02, "repeats": 20, "calls_per_repeat": 1, "stopped": "budget" if tokens == 784 else "spread",
        "launch_bound": tokens == 196,
    }  # fmt: skip
    memory = {
        "out_of_memory": False, "peak_bytes": round(size), "reserved_bytes": round(1.1 * size), "weights_bytes": 9,
        "mode": "allocated",
    }  # fmt: skip
    fits = not quadratic or tokens <= 3136
    return [
        Record(cell(name, "memory", tokens, **settings), memory if fits else NO_MEMORY),
        Record(cell(name, "latency", tokens, cuda_graphs=False, **settings), latency if fits else NO_MEMORY),
    ]


def table1(name: str, formula: str, value: int) -> Record:
    values = {
        "mixer": name, "complexity": formula, "params": "4 D^2", "formula_macs": value, "counted_macs": value,
        "formula_params": 589_824, "counted_params": 589_824,
    }  # fmt: skip
    settings = {"measure": "table1", "subject": "mixer", "tokens": 196, "width": 384}
    return Record(Cell("complexity", 1, name, settings), values)


def sweep() -> list[Record]:
    every = [r for side in SIDES for name in MIXERS for r in (count(name, side**2), *point(name, side**2))]
    return [*every, table1("self_attention", "4 HWD^2 + 2 H^2 W^2 D", 145_108_992)]


def shown(table, key: str) -> str:
    """What people read in the first row."""
    (column,) = [c for c in table.columns if c.key == key]
    return column.text(table.rows[0])


@pytest.fixture(scope="module")
def report():
    return complexity(sweep(), published=True)


@pytest.fixture(scope="module")
def drawn(report):
    return {drawing.name.endswith("loglog"): drawing.figure for drawing in report.figures}


def test_tables_for_people(report):
    assert report.render("text") == (GOLDEN / "complexity.txt").read_text(encoding="utf-8")


def test_a_row_of_data_by_hand(report):
    (row,) = [r for r in report.data.rows if (r["name"], r["tokens"]) == ("spatial_mlp", 784)]
    assert row == {
        "subject": "block", "name": "spatial_mlp", "tokens": 784, "image_height_px": None, "image_width_px": None,
        "width": 384, "macs_status": "measured", "macs": 1_176_000_000,
        "params": 1_000_000, "convention": "table1", "uncounted": None,
        "device": "NVIDIA H200", "threads": None, "batch": 32, "dtype": "float32", "mode": "forward",
        "cuda_graphs": False, "filter_way": None, "latency_status": "measured", "latency_s": 784e-6,
        "latency_q1_s": 0.99 * 784e-6, "latency_q3_s": 1.01 * 784e-6, "spread_percent": 2.0, "repeats": 20,
        "stopped": "budget", "launch_bound": False,
        "memory_status": "measured", "peak_memory_bytes": 7_840_000, "tensors_bytes": None,
        "reserved_memory_bytes": 8_624_000,
        "weights_bytes": 9, "memory_mode": "allocated", "reason": None,
    }  # fmt: skip


def test_every_number_leads_to_its_record(report):
    known = {r.cell.sha256: r.cell for r in sweep()}
    sweeps, quoted = report.tables
    for row in sweeps.rows:
        measures = dict.fromkeys(("peak_memory_bytes", "tensors_bytes", "reserved_memory_bytes"), "memory")
        measures |= {"macs": "count", **dict.fromkeys(("latency_s", "latency_q1_s", "spread_percent"), "latency")}
        assert set(row[RECORDS]) == set(measures)
        for key, (identity,) in row[RECORDS].items():
            found = known[identity]
            assert (found.model, found.settings["tokens"]) == (row["name"], row["tokens"])
            assert found.settings["measure"] == measures[key]
    ((identity,),) = set(quoted.rows[0][RECORDS].values())
    assert known[identity].settings["measure"] == "table1" and "complexity_published" not in quoted.rows[0][RECORDS]
    for row in report.details[0].rows:
        assert {known[i].settings["measure"] for (i,) in row[RECORDS].values()} == {"count"}


def test_notes_speak_of_what_the_table_holds():
    """No mark, column or measure is explained that is not there, though a name looks like one."""
    plain = [
        Record(
            Cell("complexity", 1, "≈*†reserved", r.cell.settings),
            {**r.values, "stopped": "spread", "launch_bound": False}
            | ({"reserved_bytes": None} if "mode" in r.values else {}),
        )
        for r in point("spatial_mlp", 784)
    ]
    for records, words in ((plain, {"Latency", "Memory"}), (plain[:1], {"Memory"}), (plain[1:], {"Latency"})):
        assert {note.partition(":")[0] for note in complexity(records).tables[0].notes} == words
    marked = complexity(sweep()).tables[0].notes
    assert [note[0] for note in marked if note[0] in "†*≈"] == ["†", "*", "≈", "≈", "≈"]


def test_a_failure_leads_to_its_record():
    failed = Record(cell("spatial_mlp", "count", 196, convention="table1"), error="RuntimeError: no")
    (table,) = complexity([failed]).tables
    (row,) = table.rows
    assert (
        row["macs_status"] == shown(table, "macs") == "failed"
        and row["macs"] is None
        and row[RECORDS] == {"macs": (failed.cell.sha256,)}
    )


@pytest.mark.parametrize(("size", "text"), [(300_000, "<1"), (12_345_678, "12"), (1_234_567_890, "1,235")])
def test_the_memory_of_a_process_is_told_in_whole_megabytes(size, text):
    _, record = reversed(point("spatial_mlp", 196))
    values = {**record.values, "peak_bytes": size, "reserved_bytes": None}
    of_process = complexity([Record(record.cell, {**values, "mode": "process"})]).tables[0]
    assert shown(of_process, "peak_memory_bytes") == text and of_process.rows[0]["peak_memory_bytes"] == size
    allocated = complexity([Record(record.cell, values)]).tables[0]
    assert shown(allocated, "peak_memory_bytes") == {"<1": "0.300", "12": "12.3", "1,235": "1235"}[text]


def test_plots_tell_the_memory_of_a_process_in_whole_megabytes_too():
    records = [r for side in SIDES[:2] for r in point("spatial_mlp", side**2)]
    of_process = [Record(r.cell, {**r.values, "mode": "process"}) for r in records]
    for found, digits in ((records, 3), (of_process, 0)):
        (plot,) = cost_plots(complexity(found))
        assert {c.key: c.digits for c in plot.table.columns}["peak_memory_bytes"] == digits
        (latency, memory) = plot.draw()
        tips = memory.hover.tooltips[-1][1]
        assert tips == ("@cost{0.000 a}" if digits else "@cost{0,0}")
        assert latency.hover.tooltips[-1][1] == "@cost{0.000 a}"


def test_what_was_not_tried_is_said_to_count_as_measured():
    predicted = {"out_of_memory": True, "reason": "not tried: expected to need about 9.0 GB, found 1.0 GB free"}
    record, tried = (Record(point("spatial_mlp", 196)[0].cell, values) for values in (predicted, NO_MEMORY))
    (note,) = [n for n in complexity([record]).tables[0].notes if "not tried" in n]
    assert "counts as measured" in note and "--overwrite always" in note
    assert not [n for n in complexity([tried]).tables[0].notes if "not tried" in n]


def test_the_data_of_a_figure_is_titled_for_readers(report):
    titles = [figure.data.title for figure in report.figures]
    assert titles[0] == (
        "Multiply-adds of one image, latency of one batch and peak memory without weights against the number of "
        "tokens, one block of width 384: NVIDIA H200, batch 32, float32, forward, linear axes"
    )
    assert titles[1] == titles[0].replace("linear", "logarithmic")


def test_estimates_are_never_data(report):
    (row,) = [r for r in report.data.rows if (r["name"], r["tokens"]) == ("self_attention", 84**2)]
    assert (row["latency_status"], row["latency_s"], row["peak_memory_bytes"]) == ("out of memory", None, None)
    assert row["reason"] == "memory: CUDA out of memory.; latency: CUDA out of memory."


def test_growth_by_hand():
    found = growth([100, 200, 400, 800, 1600], [5.0, 5.0, 400**1.5, 800**1.5, 1600**1.5])
    assert found.tokens == (400, 800, 1600)
    assert (found.exponent, found.factor, found.r2) == pytest.approx((1.5, 1.0, 1.0))
    assert found.at(3200) == pytest.approx(3200**1.5)
    assert growth([100, 200], [1.0, 2.0]) is None
    noisy = growth([1, 10, 100], [1.0, 20.0, 100.0])
    assert 0.9 < noisy.r2 < 1


def test_figure_has_panels_with_units(drawn):
    for log, figure in drawn.items():
        assert [axes.get_title(loc="left") for axes in figure.axes] == [
            "(a) Multiply-adds of one image", "(b) Latency of one batch", "(c) Peak memory without weights",
            "(d) Latency, as published", "(e) Memory, as published",
        ]  # fmt: skip
        assert {axes.get_xlabel() for axes in figure.axes} == {"number of tokens"}
        assert [axes.get_ylabel() for axes in figure.axes] == [
            "MACs (G)",
            "latency (ms)",
            "memory (GB)",
            "latency (s)",
            "memory (GB)",
        ]
        assert {axes.get_xscale() for axes in figure.axes} == {"log" if log else "linear"}


def solid(axes, colour):
    return [
        line
        for line in axes.lines
        if line.get_color() == colour and line.get_linestyle() == "-" and len(line.get_xdata()) > 1
    ]


def test_every_series_is_drawn_as_measured(drawn):
    tokens = [side**2 for side in SIDES]
    a, b, c, *_ = drawn[False].axes
    (line,) = solid(a, figures.look("global_filter").colour)
    assert list(line.get_xdata()) == tokens
    assert list(line.get_ydata()) == pytest.approx([n * 1.2e-3 for n in tokens])
    (line,) = solid(b, figures.look("spatial_mlp").colour)
    assert list(line.get_ydata()) == pytest.approx([n * 1e-3 for n in tokens])  # milliseconds
    (line,) = solid(c, figures.look("self_attention").colour)
    assert list(line.get_ydata()) == pytest.approx([n**2 * 1e-6 for n in tokens[:3]])  # gigabytes
    assert not solid(a, figures.look("self_attention_fused").colour)  # the same operations as self-attention
    assert len({figures.look(name).colour for name in MIXERS}) == len({figures.look(n).marker for n in MIXERS}) == 5


def test_estimate_is_dotted_and_says_what_it_is(drawn):
    for log, figure in drawn.items():
        (dotted,) = [line for line in figure.axes[1].lines if line.get_linestyle() == ":"]
        x, y = dotted.get_xdata(), dotted.get_ydata()
        assert x[0] == pytest.approx(3136) and y[-1] == pytest.approx(1e-6 * x[-1] ** 2)
        assert (x[-1] == pytest.approx(112**2)) == log  # linear axes end where the measured points do
        texts = [text.get_text() for text in figure.axes[1].texts]
        assert "self-attention\nestimate $N^{2.00}$\n($R^2$ = 1.0000)" in texts
        assert not [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]
        assert "Dotted in (b) and (c): out of memory, an estimate" in " ".join(figure.texts[0].get_text().split())


def test_a_bad_fit_does_not_keep_a_figure_from_being_drawn():
    # The power law through 1, 10 and 10 is 14.7 at the last of them: above the axis, which ends at 12.5.
    shown = [r for r in sweep() if r.cell.model == "self_attention" and r.cell.settings["measure"] == "latency"]
    odd = [
        Record(r.cell, {**r.values, **dict.fromkeys(("latency_s", "latency_q1_s", "latency_q3_s"), seconds)})
        if seconds
        else r
        for r, seconds in zip(shown, (1, 10, 10, None, None), strict=True)
    ]
    (panel,) = complexity(odd, published=False).figures[0].figure.axes
    (label,) = panel.texts
    assert "estimate" in label.get_text() and panel.get_ylim()[1] >= 14.6


def test_log_log_names_the_exponents(drawn):
    assert "spatial MLP $N^{1.00}$" in [text.get_text() for text in drawn[True].axes[1].texts]
    assert "spatial MLP" in [text.get_text() for text in drawn[False].axes[1].texts]


def test_launch_bound_points_are_hollow(drawn):
    hollow = [line for line in drawn[False].axes[1].lines if line.get_markerfacecolor() == "white"]
    assert [line.get_xdata()[0] for line in hollow] == [196] * len(MIXERS)
    assert not [line for line in drawn[False].axes[2].lines if line.get_markerfacecolor() == "white"]


def test_no_text_lies_on_another_or_outside(drawn):
    for figure in drawn.values():
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        texts = [text for axes in figure.axes for text in (*axes.texts, axes.xaxis.label, axes.yaxis.label)]
        for axes in figure.axes:
            for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
                ticks = zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=True)
                texts += [label for at, label in ticks if low <= at <= high]
        texts += figure.texts
        # An Annotation's own extent would include its line to the curve.
        boxes = [Text.get_window_extent(text, renderer) for text in texts if text.get_text()]
        assert len(boxes) > 30
        for box in boxes:
            assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 + 1
            assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1 + 1
        for one, other in itertools.combinations(boxes, 2):
            width = min(one.x1, other.x1) - max(one.x0, other.x0)
            height = min(one.y1, other.y1) - max(one.y0, other.y0)
            assert width <= 1 or height <= 2.5  # line spacing overlaps by less than descenders take


def greys(axes):
    return [line for line in axes.lines if line.get_color() == figures.GREY]


def test_paper_is_drawn_when_asked(drawn):
    counted, latency, memory, quoted_latency, quoted_memory = drawn[True].axes
    assert len(greys(counted)) == 3 and not greys(latency) and not greys(memory)
    for axes, column in ((quoted_latency, "latency_s_read"), (quoted_memory, "memory_gb_read")):
        assert greys(axes) == list(axes.lines) and len(axes.lines) == 3
        rows = [r for r in published_rows("fig2_efficiency") if r["model"] == "GFNet"]
        expected = [
            v for r in rows if (v := float(r[column])) >= {"latency_s_read": 0.008, "memory_gb_read": 0.2}[column]
        ]
        assert list(axes.lines[0].get_ydata()) == pytest.approx(expected)
    plain = complexity(sweep(), published=False).figures[0]
    assert not [line for axes in plain.figure.axes for line in greys(axes)]
    assert {row["kind"] for row in plain.data.rows} == {"counted", "measured", "estimate"}


@pytest.mark.parametrize(
    "how", [{"batch": 8}, {"device": {"kind": "cpu", "name": "X", "threads": 2}}, {"dtype": "float16"}, {"width": 96}]
)
def test_no_axes_hold_costs_of_two_machines_or_batches(how):
    """The paper's are of batch 32 and its own GPU: whatever ours are of, they have panels of their own."""
    records = [r for n in SIDES[:3] for name in ("global_filter", "spatial_mlp") for r in point(name, n**2, **how)]
    for drawing in complexity(records, published=True).figures:
        both = [axes for axes in drawing.figure.axes if greys(axes) and len(greys(axes)) < len(axes.lines)]
        assert both == []
        quoted = [axes.get_title("left")[4:] for axes in drawing.figure.axes if greys(axes)]
        assert quoted == ([] if "width" in how else ["Latency, as published", "Memory, as published"])
        assert ("batch 32 on the paper's GPU" in drawing.caption) == bool(quoted)


def test_fewer_than_three_repeats_have_no_spread():
    """Neither a bar of no length in the figure nor a spread of nought in the tables."""

    def of(record, repeats):
        ends = {"latency_s": 1.0, "latency_q1_s": 1.0, "latency_q3_s": float(repeats)}
        return Record(record.cell, {**record.values, **ends, "repeats": repeats, "spread": repeats - 1.0})

    records = [of(point("spatial_mlp", n, batch=repeats)[1], repeats) for n in (196, 784) for repeats in (1, 2, 3)]
    report = complexity(records)
    *few, three = report.tables
    for table in few:
        blank = [c for c in table.columns if c.key in ("spread_percent", "latency_q1_s")]
        assert {(r["spread_percent"], r["latency_q1_s"]) for r in table.rows} == {(None, None)}
        assert [column.text(table.rows[0]) for column in blank] == ["-", "-"]
        assert table.notes[0].startswith("Latency: of fewer than 3 repeats, which have no spread")
    assert {(r["spread_percent"], r["latency_q1_s"]) for r in three.rows} == {(200.0, 1.0)}
    without, _, _, _, drawn, _ = report.figures
    assert "Bars" not in without.caption and not without.figure.axes[0].collections
    assert "Bars in (a): from first to third quartile" in drawn.caption and drawn.figure.axes[0].collections
    mixed = complexity([of(point("spatial_mlp", n)[1], repeats) for n, repeats in ((196, 1), (784, 5), (3136, 5))])
    (bars,) = mixed.figures[0].figure.axes[0].collections
    assert len(bars.get_segments()) == 2 and "fewer than 3 have none" in mixed.tables[0].notes[0]


@pytest.mark.parametrize(("low", "high"), [(3.1, 3.9), (0.02, 0.9), (8, 13), (1, 50), (99.5, 100.5), (3e-7, 4e-7)])
def test_a_logarithmic_axis_has_ticks_wherever_it_lies(low, high):
    ticks = figures.log_ticks(low, high)
    assert len(ticks) >= 3 and all(low <= tick <= high for tick in ticks) and ticks == sorted(ticks)
    assert all(len(f"{tick:.3g}") <= 7 for tick in ticks)


def test_files_are_the_same_twice(report, tmp_path):
    report.figures[1].write(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    name = "complexity_block_nvidia_h200_batch32_loglog"
    assert sorted(before) == [f"{name}.csv", f"{name}.pdf", f"{name}.png"]
    report.figures[1].write(tmp_path)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    rows = list(csv.DictReader(before[f"{name}.csv"].decode().splitlines()))
    assert {row["kind"] for row in rows} == {"counted", "measured", "estimate", "published"}
    (estimate,) = [r for r in rows if (r["kind"], r["tokens"]) == ("estimate", "7056") and r["peak_memory_bytes"]]
    assert float(estimate["peak_memory_bytes"]) == pytest.approx(1000 * 7056**2, rel=1e-4)
    assert (float(estimate["exponent"]), float(estimate["r2"])) == pytest.approx((2, 1))


def test_setups_never_share_a_table_or_a_figure():
    others = [
        {},
        {"batch": 1},
        {"dtype": "bfloat16"},
        {"mode": "forward_backward"},
        {"device": {"kind": "cpu", "name": "X", "threads": 2}},
        {"filter_way": "fft"},
    ]
    records = [r for how in others for side in SIDES[:3] for r in point("spatial_mlp", side**2, **how)]
    graphs = [r for r in point("spatial_mlp", 196) if r.cell.settings["measure"] == "latency"]
    settings = {**graphs[0].cell.settings, "cuda_graphs": True}
    records.append(Record(Cell("complexity", 1, "spatial_mlp", settings), {**graphs[0].values, "latency_s": 1e-5}))
    found = complexity(records)
    assert len(found.tables) == len({t.name for t in found.tables}) == 7
    assert len({figure.name for figure in found.figures}) == 12  # one point is no curve
    (replayed,) = [r for r in found.data.rows if r["cuda_graphs"]]
    assert (replayed["latency_s"], replayed["peak_memory_bytes"]) == (
        1e-5,
        1_960_000,
    )  # memory is that of the eager run


def test_failures_and_uncounted_operators_have_a_reason():
    failed = [Record(r.cell, error="RuntimeError: no kernel\nmore") for r in point("spatial_mlp", 196)]
    counted = count("spatial_mlp", 196)
    counted = Record(counted.cell, {**counted.values, "unruled": {"aten.magic": 2}})
    report = complexity([counted, *failed])
    assert "Failed: latency of spatial_mlp at 196, memory of spatial_mlp at 196: RuntimeError: no kernel" in (
        report.tables[0].notes
    )
    assert "Not in the MACs of spatial_mlp, for want of a rule: aten.magic (2 calls)." in report.tables[0].notes
    assert report.data.rows[0]["latency_status"] == "failed"
    assert [r["difference_macs"] for r in report.details[0].rows] == [0, 2]


def test_counts_alone_make_a_table(tmp_path):
    found = complexity([count("spatial_mlp", 196)])
    assert [t.name for t in found.tables] == ["complexity_block"]
    assert [c.key for c in found.tables[0].columns] == ["name", "tokens", "macs"]
    assert found.figures == []


def test_from_a_store_and_by_name(tmp_path):
    with pytest.raises(MissingError, match="start with: gfnet-bench complexity"):
        REPORTS["complexity"](Store(tmp_path))
    store = Store(tmp_path)
    for record in (count("spatial_mlp", 196), count("global_filter", 196)):
        store.save(record)
    assert [r["name"] for r in complexity(store, models=["global_filter"]).data.rows] == ["global_filter"]


def test_boxes_are_moved_apart_as_little_as_needed():
    assert spread_out([0.1, 0.5, 0.9], [0.1] * 3, 0, 1) == pytest.approx([0.1, 0.5, 0.9])
    assert spread_out([0.5, 0.5], [0.2, 0.2], 0, 1) == pytest.approx([0.4, 0.6])
    assert spread_out([0.0, 0.0], [0.2, 0.4], 0, 1) == pytest.approx([0.1, 0.4])
    assert spread_out([0.3, 0.95, 1.0], [0.1, 0.2, 0.2], 0, 1) == pytest.approx([0.3, 0.7, 0.9])


def test_names_stand_at_the_ends_of_curves():
    figure = new_figure(3, 2)
    axes = figure.add_axes((0.1, 0.1, 0.5, 0.8))
    axes.set(xlim=(0, 10), ylim=(0, 1))
    name_curves(axes, [Label(10, 0.25, "low", "black"), Label(10, 0.75, "high", "red")])
    assert [(t.get_text(), t.get_color(), round(t.xyann[1], 6)) for t in axes.texts] == [
        ("low", "black", 0.25), ("high", "red", 0.75),
    ]  # fmt: skip
