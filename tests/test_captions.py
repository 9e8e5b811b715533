"""A caption says what is drawn and nothing else: every figure, from many sets of records, looked at line by line."""

from __future__ import annotations

import itertools
import re
import warnings
from unittest import mock

import pytest
from matplotlib.collections import LineCollection, PolyCollection, QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from test_report_complexity import NO_MEMORY, SIDES, cell, count, point, sweep
from test_report_filters import clustered, heatmap_record, spectra_record, surgery_records
from test_report_paper import counted, scored
from test_report_robustness import fill, mini
from test_tables import HOSTILE
from whole_records import added

from gfnet_bench.errors import MissingError
from gfnet_bench.records import Cell, Record
from gfnet_bench.reports.accuracy import accuracy
from gfnet_bench.reports.complexity import complexity
from gfnet_bench.reports.complexity.plots import cost_plots
from gfnet_bench.reports.drawing.figures import new_figure, plain, short
from gfnet_bench.reports.filters import filters
from gfnet_bench.reports.robustness import robustness
from gfnet_bench.reports.robustness.plots import robustness_plots
from gfnet_bench.store import Store

STYLES = {"--": "dashed", "-.": "dash-dotted", ":": "dotted"}
WORDS = r"\b(dashed|dash-dotted|dotted|solid|hollow|filled|grey|bars|bands|frames|dash)\b"


def is_grey(colour) -> bool:
    red, green, blue = to_rgb(colour)
    return red == green == blue and 0 < red < 1


def seen(axes) -> set[str]:
    """What a reader sees beside plain curves in colour, by style, colour and shape alone."""
    found = set()
    for line in axes.lines:
        points = line.get_xydata()
        grey, drawn = is_grey(line.get_color()), line.get_linestyle() != "None" and len(points) > 1
        found |= {"grey"} if grey else set()
        if drawn and (style := STYLES.get(line.get_linestyle(), "solid" if grey else None)):
            found.add(style)
        if drawn and len(points) == 5 and (points[0] == points[-1]).all():
            found.add("frames")
        assert len({*line.get_xdata()}) > 1 or line.get_linestyle() == "None" or len(points) < 2  # a bar is no curve
        if line.get_marker() == "_":
            found.add("dash")
        elif line.get_marker() not in ("None", "", None):
            found.add("hollow" if to_rgb(line.get_markerfacecolor()) == (1, 1, 1) else "filled")
    for collection in axes.collections:
        if isinstance(collection, LineCollection):
            found |= {"bars"} if any(segment[0][1] != segment[1][1] for segment in collection.get_segments()) else set()
        elif isinstance(collection, PolyCollection):
            found |= {"bands"} if any(path.get_extents().height > 0 for path in collection.get_paths()) else set()
        else:
            raise AssertionError(collection)
    return found


def told(caption: str) -> dict[str, set[str]]:
    """What a caption tells: word -> letters of the panels that it names, none where it is all of them."""
    found: dict[str, set[str]] = {}
    for sentence in re.split(r"(?<=\.) (?=[A-Z])", caption):
        head, _, rest = sentence.partition(": ")
        for part in (head, *rest.split(", ")):
            places = re.findall(r"\(([a-e])\)", sentence if part is head else head + part)
            for word in re.findall(WORDS, part.lower()):
                found.setdefault(word, set()).update(places)
    return found


def check(drawing) -> dict[str, set[str]]:
    """Hold a caption against its figure, panel by panel; what it tells."""
    figure, caption = drawing.figure, told(drawing.caption)
    panels = [axes for axes in figure.axes if not any(isinstance(c, QuadMesh) for c in axes.collections)]  # no colours
    letters = {m[1]: axes for axes in panels if (m := re.match(r"\(([a-z])\) ", axes.get_title("left")))}
    everywhere = set().union(*map(seen, panels))
    optional = {"filled"} - set(caption)  # plain marks need a word only where others are hollow
    assert set(caption) == everywhere - optional, drawing.caption
    for word, named in caption.items():
        if named:
            places = {letter for letter, axes in letters.items() if word in seen(axes)}
            assert named == places, (word, drawing.caption)
    shown, whole = figure.texts[-1].get_text(), plain(drawing.caption)
    assert "".join(shown.split()) == "".join(whole.split())  # long names are broken
    assert Text.get_window_extent(figure.texts[-1]).x1 <= figure.bbox.x1
    assert not re.search(r"\b(nan|inf|None)\b", drawing.caption)
    return caption


CPU = {"device": {"kind": "cpu", "name": "X", "threads": 2}, "batch": 8}
MIXERS = ("global_filter", "self_attention", "spatial_mlp", "depthwise_conv")


def blocks(**how) -> list[Record]:
    return [r for n in SIDES[:3] for name in MIXERS for r in (count(name, n**2), *point(name, n**2, **how))]


def models(names=("gfnet_s", "vit_x"), sides=(14, 24)) -> list[Record]:
    """Whole models, counted."""
    settings = [
        {"measure": "count", "subject": "model", "tokens": s**2, "img_size": [16 * s, 16 * s], "convention": "authors"}
        for s in sides
    ]
    values = count("global_filter", 196).values
    return [
        Record(Cell("complexity", 1, name, of), {**values, "macs": (i + 1) * of["tokens"] * 10**6})
        for i, name in enumerate(names)
        for of in settings
    ]


def once(records: list[Record]) -> list[Record]:
    return [Record(r.cell, {**r.values, **({"repeats": 1} if "repeats" in r.values else {})}) for r in records]


def without_launches(records: list[Record]) -> list[Record]:
    return [Record(r.cell, {**r.values, **({"launch_bound": False} if "repeats" in r.values else {})}) for r in records]


QUOTED = {"grey", "solid", "dash-dotted", "dashed"}
COSTS = {
    "whole models": (models(), set()),
    # To 3,136 tokens GFNet and ResMLP have one point each that can be told from nought in the published multiply-adds.
    "blocks, counted": ([r for r in blocks() if r.cell.settings["measure"] == "count"], {"grey", "dash-dotted"}),
    "a CPU": (without_launches(blocks(**CPU)), {*QUOTED, "bars"}),
    "a GPU": (sweep(), {*QUOTED, "bars", "hollow", "dotted"}),
    "mixed": ([*models(), *blocks(**CPU), *sweep()], None),
    "one repeat": (once(without_launches(blocks())), QUOTED),
    "no mixer of the paper": (
        [r for n in SIDES[:3] for r in without_launches(point("depthwise_conv", n**2))], {"bars"}
    ),
    "another width": (without_launches(blocks(width=96)), None),
    "latency alone": ([point("spatial_mlp", n**2)[1] for n in SIDES], {"bars", "hollow", "grey", "dashed"}),
    "memory alone": ([point("global_filter", n**2)[0] for n in SIDES], {"grey", "solid"}),
    "memory ran out at once": (
        [Record(cell("spatial_mlp", "memory", n, device=CPU["device"], batch=8, dtype="float32", mode="forward"),
                {"peak_bytes": 9, "mode": "allocated", "out_of_memory": False} if n == 196 else NO_MEMORY)
         for n in (196, 784)],
        {"grey", "dashed"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("published", [True, False])
@pytest.mark.parametrize("name", COSTS)
def test_captions_of_costs(name, published):
    records, expected = COSTS[name]
    drawings = complexity(records, published=published).figures
    assert drawings
    for drawing in drawings:
        said = set(check(drawing))
        assert published or not said & QUOTED
        assert expected is None or said == (expected if published else expected - QUOTED)


def test_one_point_is_no_figure_and_nothing_is_no_report():
    assert complexity(point("spatial_mlp", 196)).figures == []
    with pytest.raises(MissingError):
        complexity([])


def faint(grids: list, scale: float):
    """A network whose layers from the second on are scaled: 0 leaves no energy at all."""
    record, arrays = spectra_record("gfnet_mini", grids, (8, 8))
    return record, {name: weight * (scale if name != "layer_00" else 1) for name, weight in arrays.items()}


FILTERS = {
    "everything": [
        spectra_record("gfnet_mini", [(4, 4)] * 3, (8, 8)),
        spectra_record("gfnet_h_ti", [(8, 8), (4, 4), (3, 5)], (32, 32)),
        *surgery_records(),
        heatmap_record("gfnet_mini", lambda v, h: 0.5),
        heatmap_record("vit_mini", lambda v, h: 0.2),
    ],
    "one layer": [spectra_record("gfnet_mini", [(4, 4)], (8, 8)), heatmap_record("gfnet_mini", lambda v, h: 0.0)],
    "clusters": [clustered(1), clustered(3)],
    "a layer without energy": [faint([(4, 4)] * 3, 0.0)],
    "grids of a single token": [faint([(2, 2), (1, 1), (1, 2)], 1.0)],
    "maps without filters": [heatmap_record("vit_mini", lambda v, h: 0.2)],
    "maps on an oblong grid": [
        spectra_record("gfnet_mini", [(3, 5)], (8, 8)), heatmap_record("gfnet_mini", lambda v, h: 0.3)
    ],
    "a perturbation": [spectra_record("gfnet_mini", [(2, 2)], (4, 4)), added(weights="gfnet_mini")],
    "one cutoff": [(r, a) for r, a in surgery_records() if r.cell.settings["cutoff"] in (None, 0.15)],
    "nothing to compare with": [(r, a) for r, a in surgery_records() if r.cell.settings["kind"]],
}  # fmt: skip

SAID = {
    "everything": {"bands", "dashed", "frames"},
    "one layer": {"bars", "dash", "dashed", "frames"},
    "clusters": {"bars", "dash"},
    "a layer without energy": {"bands", "dashed"},
    "grids of a single token": {"bands", "dashed"},
    "maps without filters": set(),
    "maps on an oblong grid": {"bars", "dash", "dashed", "frames"},
    "a perturbation": {"grey", "dotted", "bars", "dash", "bands"},
    "one cutoff": {"bars", "dashed"},
    "nothing to compare with": {"bands"},
}


@pytest.mark.parametrize("name", FILTERS)
def test_captions_of_filters(name, tmp_path):
    store = Store(tmp_path)
    with mock.patch("os.fsync"):
        for record, arrays in FILTERS[name]:
            store.save(record, arrays)
    said = [set(check(drawing)) for drawing in filters(store, channels=[0, 1]).figures]
    assert set().union(*said) == SAID[name]


def test_a_frame_is_as_large_as_the_grid_of_tokens(tmp_path):
    store = Store(tmp_path)
    for record, arrays in FILTERS["maps on an oblong grid"]:
        store.save(record, arrays)
    (drawing,) = (f for f in filters(store, channels=[0]).figures if "heatmap" in f.name)
    (frame,) = drawing.figure.axes[0].lines
    assert (set(frame.get_xdata()), set(frame.get_ydata())) == ({-2.5, 2.5}, {-1.5, 1.5})


WEIGHTS = ("gfnet_s", "deit_small", "resmlp_24", "resnet50", "swin_tiny")

ACCURACIES = {
    "nothing measured": ([], set()),
    "counted alone": ([counted(name) for name in WEIGHTS], set()),
    "one": ([scored("gfnet_s"), counted("gfnet_s")], {"filled", "bars"}),
    "many": ([r for name in WEIGHTS for r in (scored(name), counted(name))], {"filled", "bars"}),
    "scored, not counted": ([scored("gfnet_s")], {"filled", "bars"}),
    "a part of the set": ([scored("gfnet_s", images=500)], set()),
    "a failure": ([Record(scored("gfnet_s").cell, error="OSError: no")], set()),
}


@pytest.mark.parametrize("name", ACCURACIES)
def test_captions_of_figures_3_and_4(name):
    records, expected = ACCURACIES[name]
    (transformers, pyramids) = accuracy(records).figures
    assert set(check(transformers)) == {"hollow", "dashed"} | expected  # dashed: GFNet at 384 pixels
    assert set(check(pyramids)) == {"hollow"} | (expected if name == "many" else set())
    assert ("At the published multiply-adds" in transformers.caption) == (name == "scored, not counted")


@pytest.mark.parametrize("model", ["gfnet_b", "deit_tiny", "swin_tiny"])
def test_a_figure_of_one_model_has_ticks_and_promises_no_line(model):
    (drawing,) = accuracy([], models=[model]).figures
    (axes,) = drawing.figure.axes
    low, high = axes.get_xlim()
    assert set(check(drawing)) <= {"hollow"} and len([t for t in axes.get_xticks() if low <= t <= high]) >= 3


# The page's interactive plots


def glyphs(figure, kind: str) -> list:
    return [r for r in figure.renderers if type(r.glyph).__name__ == kind]


def test_interactive_plots_speak_of_intervals_where_they_are_drawn(tmp_path):
    """The reference of the mini suite's mCE is exact: no line of no length stands for its interval."""
    report = robustness(fill(tmp_path, mini()))
    (plot,) = (p for p in robustness_plots(report, []) if "against_accuracy" in p.name)
    assert "with 95 % intervals; mini-C mCE of resnet_mini has none" in plot.text
    for panel in plot.draw():
        exact = [r for r in plot.table.rows if r["column"] == panel.title.text and r["value_percent_low"] is None]
        assert len(glyphs(panel, "Segment")) == len(glyphs(panel, "Scatter")) - len(exact)
        for renderer in glyphs(panel, "Segment"):
            assert (
                renderer.data_source.data["value_percent_low"][0] < renderer.data_source.data["value_percent_high"][0]
            )
        said = [r.data_source.data["says"][0] for r in glyphs(panel, "Scatter")]
        assert [" to " in text for text in said].count(False) == len(exact)


@pytest.mark.parametrize("name", ["whole models", "a CPU", "a GPU", "mixed", "latency alone"])
def test_interactive_costs_are_titled_by_what_they_are_of(name):
    """Two setups never look the same, and no setup is split by what of it was timed."""
    report = complexity(COSTS[name][0])
    shown = cost_plots(report)
    assert len({plot.title for plot in shown}) == len(shown) == len(of_setup_with_curves(report))
    for plot in shown:
        titles = [panel.title.text for panel in plot.draw()]
        assert all(title.lower() in plot.text for title in titles)
        assert ("batch" in plot.title) == any(row["batch"] for row in plot.table.rows)


def of_setup_with_curves(report) -> set:
    keys = ("subject", "width", "device", "threads", "batch", "dtype", "mode", "cuda_graphs", "filter_way")
    return {tuple(row[key] or None for key in keys) for row in report.data.rows if row["tokens"]}


# Names are text

LONG = "vit_base_patch16_clip_224.laion2b_ft_in12k_in1k" * 3
NAMES = [*HOSTILE, r"\$x^$", "$a$ and $b$", r"$\frac{1}{0}$", "$", LONG, "名前🙂"]


def test_names_are_drawn_as_text(tmp_path):
    """In labels, titles and captions: no formula, no missing glyph, no crash, nothing wider than its place."""
    store = Store(tmp_path)
    with mock.patch("os.fsync"):
        for name in (NAMES[0], NAMES[5], LONG, NAMES[-1]):
            for record, arrays in (spectra_record(name, [(4, 4)] * 2, (8, 8)), heatmap_record(name, lambda v, h: 0.3)):
                store.save(record, arrays)
    costs = complexity(models(NAMES)).figures
    steep = complexity(models(("gfnet_s", LONG), (14, 24, 32, 40))).figures  # with exponents beside the names
    drawings = [*costs, *steep, *filters(store, channels=[0]).figures]
    assert len(drawings) == 2 + 2 + 4 * 3 + 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for drawing in drawings:
            check(drawing)
            drawing.figure.draw_without_rendering()
            for text in (text for axes in drawing.figure.axes for text in axes.texts):
                box, page = Text.get_window_extent(text), drawing.figure.bbox
                assert box.x1 <= page.x1 + 1 and page.y0 <= box.y0 and box.y1 <= page.y1, text.get_text()
        assert [path.stat().st_size > 0 for path in costs[1].write(tmp_path)] == [True] * 3
    labels = [text.get_text() for text in costs[0].figure.axes[0].texts]
    assert labels == [short(name) for name in NAMES]
    assert {row["name"] for row in costs[0].data.rows} == set(NAMES)


def test_a_name_is_read_as_it_is_written():
    """matplotlib itself says that none of it is a formula, whatever stands around it."""
    figure = new_figure(2, 1)
    for name, after in itertools.product(NAMES, ("", " $N^{2}$")):
        text = figure.text(0, 0, short(name, 1000) + after)
        clean, is_math = text._preprocess_math(text.get_text())
        assert bool(is_math) == bool(after)
        if not after and name.isascii() and name.isprintable() and "  " not in name:
            assert clean == name
    figure.draw_without_rendering()
