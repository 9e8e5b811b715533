"""The filters report from records whose numbers are known, without torch."""

import csv
import itertools
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest
from matplotlib.text import Text

from gfnet_bench import metrics
from gfnet_bench.errors import MissingError, UsageError
from gfnet_bench.records import Cell, Record
from gfnet_bench.reports.base import REPORTS
from gfnet_bench.reports.drawing.tables import RECORDS
from gfnet_bench.reports.filters import filters
from gfnet_bench.spectra import noise_frequencies
from gfnet_bench.store import Store

USUAL = {"transform": "paper", "img_size": None, "checkpoint": None, "limit": 40, "seed": 0, "dtype": "float32"}
PGD = {"name": "pgd", "norm": "linf", "epsilon": 1 / 255, "relative_step": 0.5, "steps": 5, "random_start": True}
IMAGES = 40


def cell(model, measure, **settings):
    return Cell("filters", 1, model, {"measure": measure, **settings})


def spectra_record(model, grids, image):
    """Even layers keep zero frequency alone, odd ones the horizontal Nyquist frequency or the highest below it."""
    arrays = {}
    for i, (h, w) in enumerate(grids):
        weight = np.random.default_rng(i).normal(size=(h, w // 2 + 1, 26, 2)).astype(np.float32) * 1e-4
        weight[0, (i % 2) * (w // 2), :, 0] = 1
        arrays[f"layer_{i:02d}"] = weight
    values = {"layers": len(grids), "grids": [list(grid) for grid in grids], "image": list(image)}
    seen = {"weights_sha256": model}
    return Record(cell(model, "spectra", img_size=None, checkpoint=None), values, provenance=seen), arrays


def surgery_record(model, dataset, perturbation, kind, cutoff, layer, right):
    settings = {**USUAL, "dataset": dataset, "perturbation": perturbation, "kind": kind, "cutoff": cutoff}
    labels = np.zeros(IMAGES, dtype=np.int16)
    top5 = np.tile(np.arange(1, 6, dtype=np.int16), (IMAGES, 1))
    top5[:right, 0] = 0
    half = np.full(IMAGES, 0.5, dtype=np.float32)
    p = metrics.Predictions(top5, half, half, labels, ())
    seen = {"ids_sha256": "the same", "weights_sha256": model}
    record = Record(cell(model, "surgery", layer=layer, **settings), metrics.scores(p), provenance=seen)
    return record, metrics.to_arrays(p)


def heatmap_record(model, error, part=(0, 1)):
    frequencies = noise_frequencies(8, 8)
    chosen = np.array_split(np.arange(len(frequencies)), part[1])[part[0]]
    wrong = np.array([round(20 * error(*k)) for k in frequencies[chosen]])
    settings = {**USUAL, "dataset": "mini", "perturbation": {"name": "fourier", "norm": 4.0, "frequencies": None}}
    values = {"images": 20, "frequencies": len(chosen), "image": [8, 8], "clean_error": 0.1}
    values |= {"mean_error": float(wrong.mean() / 20)}
    seen = {"ids_sha256": "the same", "weights_sha256": model}
    record = Record(cell(model, "heatmap", part=list(part), **settings), values, provenance=seen)
    return record, {"frequencies": frequencies[chosen].astype(np.int16), "wrong": wrong.astype(np.int32)}


def surgery_records():
    fog = {"name": "fog", "severity": 3, "recipe": "cifar_c"}
    for dataset, perturbation, best in (("mini", {"name": "clean"}, 36), ("mini", PGD, 20), ("mini_c", fog, 12)):
        yield surgery_record("gfnet_mini", dataset, perturbation, None, None, None, best)
        for kind in ("low_pass", "high_pass"):
            for step, cutoff in enumerate((0.0, 0.15, 0.3)):
                kept = step if kind == "low_pass" else 2 - step
                for layer in (None, 0, 1, 2):
                    yield surgery_record("gfnet_mini", dataset, perturbation, kind, cutoff, layer, best - 6 + 3 * kept)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("results"))
    records = [
        spectra_record("gfnet_mini", [(4, 4)] * 3, (8, 8)),
        spectra_record("gfnet_h_ti", [(8, 8), (4, 4), (3, 5)], (32, 32)),
        *surgery_records(),
        *(heatmap_record("gfnet_mini", lambda v, h: 1.0 if (v, h) == (0, 0) else 0.5, (p, 2)) for p in (0, 1)),
        heatmap_record("vit_mini", lambda v, h: 0.2 if max(abs(v), abs(h)) < 4 else 0.6),
        heatmap_record("resnet_mini", lambda v, h: 0.3, part=(0, 2)),
        (Record(cell("gfnet_ti", "spectra", img_size=None, checkpoint=None), error="MissingError: no weights."), {}),
    ]
    with mock.patch("os.fsync"):
        for record, arrays in records:
            store.save(record, arrays)
    return store


@pytest.fixture(scope="module")
def report(store):
    return REPORTS["filters"](store)


@pytest.fixture(scope="module")
def drawn(report):
    return {drawing.name: drawing.figure for drawing in report.figures}


def table(report, name):
    return next(t for t in (*report.tables, *report.details) if t.name == name)


def test_layers_by_hand(report):
    rows = {(row["model"], row["layer"]): row for row in table(report, "filters_layers").rows}
    low, high = rows["gfnet_mini", 0], rows["gfnet_mini", 1]
    centres = [row["centre_cycles_per_token"] for row in (low, high)]
    assert centres == [pytest.approx(0, abs=1e-4), pytest.approx(0.5, abs=1e-4)]
    bands = [f"{band}_band_percent" for band in ("low", "middle", "high")]
    assert [low[b] for b in bands] == pytest.approx([100, 0, 0], abs=1e-3)
    assert [high[b] for b in bands] == pytest.approx([0, 0, 100], abs=1e-3)
    assert high["angle_degrees"] % 180 == pytest.approx(0, abs=0.1) and high["coherence"] == pytest.approx(1, abs=1e-3)
    # 16 equal energies: within a radius of root 2 lie 9 of them, within 2 one on either axis more, 11; within root 5
    # two for each of those, 15.
    assert low["erf50_tokens"] == pytest.approx(np.sqrt(2)) and low["erf90_tokens"] == pytest.approx(np.sqrt(5))
    (grid,) = (column for column in table(report, "filters_layers").columns if column.key == "grid")
    assert [grid.text(rows["gfnet_h_ti", i]) for i in range(3)] == ["8 x 8", "4 x 4", "3 x 5"]


def test_a_failed_cell_and_a_map_with_a_gap_are_told(report):
    notes = " ".join(table(report, "filters_layers").notes)
    assert "spectra of gfnet_ti: no weights." in notes and "heatmap of resnet_mini: 1 of 2 parts measured" in notes


def test_surgery_beside_the_filters_as_learned(report):
    shown = table(report, "filters_surgery_gfnet_mini_limit_40")
    keys = [f"{name}_top1_percent" for name in ("clean", "pgd", "fog_3")]
    assert [column.title for column in shown.columns] == ["Filters", "clean", "PGD", "fog 3"]
    assert [column.key for column in shown.columns] == ["operation", *keys]
    operations = ["as learned", *(f"{kind} {c}" for kind in ("low-pass", "high-pass") for c in ("0", "0.15", "0.3"))]
    assert [row["operation"] for row in shown.rows] == operations
    assert [row[keys[0]] for row in shown.rows] == [90.0, 75.0, 82.5, 90.0, 90.0, 82.5, 75.0]
    low, high = (100 * end for end in metrics.wilson_interval(36, 40))
    assert (shown.rows[0][f"{keys[0]}_low"], shown.rows[0][f"{keys[0]}_high"]) == pytest.approx((low, high))
    assert shown.columns[1].text(shown.rows[0]) == f"90.0 [{low:.1f}–{high:.1f}]"  # ± would not be true so near to 100
    paired = table(report, "filters_surgery_gfnet_mini_limit_40_paired")
    (row,) = [r for r in paired.rows if (r["perturbation"], r["operation"], r["layer"]) == ("PGD", "low-pass 0", 1)]
    right = np.arange(IMAGES)
    expected = metrics.compare(right < 14, right < 20)
    assert row["difference_points"] == pytest.approx(-15) and row["p"] == pytest.approx(expected.p)
    assert (row["low_points"], row["high_points"]) == pytest.approx([100 * end for end in expected.interval])


def test_heat_map_by_hand(report):
    rows = {row["model"]: row for row in table(report, "filters_heatmap").rows}
    vit = rows["vit_mini, limit 40"]
    assert [vit[f"{k}_error_percent"] for k in ("clean", "worst", "low_band")] == pytest.approx([10, 60, 20])
    gfnet = rows["gfnet_mini, limit 40"]
    # Low are frequencies within 8 / 6 of zero: zero itself, where all are wrong, and its four neighbours.
    assert gfnet["low_band_error_percent"] == pytest.approx(100 * (1 + 4 * 0.5) / 5)
    assert gfnet["high_band_error_percent"] == pytest.approx(50)


def test_every_number_leads_to_its_records(report, store):
    known = {record.cell.sha256: record.cell for record in store}
    rows = [row for t in (*report.tables, *report.details) for row in t.rows]
    assert all(known[identity] for row in rows for of in row[RECORDS].values() for identity in of)
    layer = table(report, "filters_layers").rows[0]
    (identity,) = layer[RECORDS]["centre_cycles_per_token"]
    assert known[identity].settings["measure"] == "spectra" and known[identity].model == layer["model"]
    (learned, *_, last) = table(report, "filters_surgery_gfnet_mini_limit_40").rows
    (identity,) = last[RECORDS]["fog_3_top1_percent"]
    s = known[identity].settings
    assert (s["dataset"], s["kind"], s["cutoff"], s["layer"]) == ("mini_c", "high_pass", 0.3, None)
    paired = table(report, "filters_surgery_gfnet_mini_limit_40_paired").rows
    (row,) = [r for r in paired if (r["perturbation"], r["operation"], r["layer"]) == ("PGD", "low-pass 0", 1)]
    (own,) = row[RECORDS]["top1_percent"]
    assert known[own].settings["layer"] == 1 and row[RECORDS]["p"] == (own, *learned[RECORDS]["pgd_top1_percent"])
    (gfnet,) = [r for r in table(report, "filters_heatmap").rows if r["model"].startswith("gfnet_mini")]
    assert [known[identity].settings["part"] for identity in gfnet[RECORDS]["worst_error_percent"]] == [[0, 2], [1, 2]]


def test_the_data_of_figures_is_titled_for_readers(report):
    titles = [figure.data.title for figure in report.figures]
    assert len(set(titles)) == len(titles)
    for figure, title in zip(report.figures, titles, strict=True):
        assert figure.name not in title and title.count(" ") > 8 and not title.endswith(".")
    assert "gfnet_mini, vit_mini under noise" in titles[-1] and titles[-1].endswith("beside the filters of gfnet_mini")


def test_data_holds_every_number(report):
    rows = list(csv.DictReader(report.render("csv").splitlines()))
    kinds = {measure: sum(row["measure"] == measure for row in rows) for measure in ("spectra", "surgery", "heatmap")}
    assert kinds == {"spectra": 6, "surgery": 3 * (1 + 2 * 3 * 4), "heatmap": 2}
    (vit,) = (row for row in rows if (row["measure"], row["model"]) == ("heatmap", "vit_mini"))
    assert (float(vit["clean_error_percent"]), vit["top1_percent"], vit["images"]) == (10, "", "20")
    learned = next(row for row in rows if row["measure"] == "surgery")
    assert (learned["kind"], learned["cutoff_cycles_per_token"], learned["layer"]) == ("as learned", "", "")


def test_suites_models_layers_and_channels_narrow_the_report(store):
    assert filters(store, suite="imagenet").figures[0].name == "figure5_gfnet_h_ti"
    one = filters(store, models=["gfnet_mini"], layers=[2, 0], channels=[25, 1])
    rows = [row for row in one.figures[0].data.rows if (row["panel"], row["row"], row["column"]) == ("a", 0, 0)]
    assert [(row["layer"], row["channel"]) for row in rows] == [(2, 25), (2, 1), (0, 25), (0, 1)]
    with pytest.raises(UsageError, match="gfnet_mini: expected layers from 0 to 2, found 3"):
        filters(store, models=["gfnet_mini"], layers=[3])
    with pytest.raises(UsageError, match="expected channels from 0 to 25, found 26"):
        filters(store, models=["gfnet_mini"], channels=[26])


def test_without_records(tmp_path):
    with pytest.raises(MissingError, match="found none; start with: gfnet-bench filters --model gfnet_mini"):
        filters(Store(tmp_path))


def test_figure_5_has_a_tile_for_every_layer_and_channel(report, drawn):
    in_frequency, in_space, magnitude, peak = drawn["figure5_gfnet_mini"].axes
    assert in_frequency.get_title("left") == "(a) frequency domain" and in_frequency.get_ylabel() == "layer"
    assert len(in_frequency.images) == 3 * 24 and len(in_space.images) == 3 * 6
    assert {image.get_clim() for image in in_frequency.images} == {in_frequency.images[0].get_clim()}
    first = in_frequency.images[0]
    assert first.get_cmap().name == "YlGnBu" and first.get_array()[2, 2] == pytest.approx(1, abs=1e-3)
    assert {image.get_clim() for image in in_space.images} == {(-1, 1)}  # each kernel in parts of its own peak
    assert all(np.abs(image.get_array()).max() == pytest.approx(1) for image in in_space.images)
    assert (magnitude.get_xlabel(), peak.get_xlabel()) == ("magnitude", "part of its peak")
    labels = [label.get_text() for label in drawn["figure5_gfnet_h_ti"].axes[0].get_yticklabels()]
    assert labels == ["0 (8)", "1 (4)", "2 (3)"]
    data = next(figure for figure in report.figures if figure.name == "figure5_gfnet_mini").data.rows
    assert [(row["row"], row["column"]) for row in data[:16]] == [(y, x) for y in range(4) for x in range(4)]
    assert np.array_equal(np.array([row["magnitude"] for row in data[:16]]).reshape(4, 4), first.get_array())


def test_surgery_curves_have_bands_and_reference_lines(drawn):
    low, high = drawn["filters_surgery_gfnet_mini_limit_40"].axes
    assert (low.get_title("left"), high.get_title("left")) == ("low-pass, all layers", "high-pass, all layers")
    assert low.get_ylabel() == "top-1 accuracy (%)" and "cycles/token" in low.get_xlabel()
    curves = [line for line in low.lines if len(line.get_xdata()) == 3]
    assert [line.get_ydata()[0] for line in curves] == pytest.approx([75, 35, 15]) and len(low.collections) == 3
    assert sorted(line.get_ydata()[0] for line in low.lines if line not in curves) == pytest.approx([30, 50, 90])
    assert {text.get_text() for text in high.texts} == {"clean", "PGD", "fog 3"}


def test_layers_and_cutoffs_as_a_map(drawn):
    panels = drawn["filters_surgery_gfnet_mini_limit_40_layers"].axes[:6]
    assert [axes.get_title("left") for axes in panels][::3] == ["low-pass, clean", "high-pass, clean"]
    assert panels[0].images[0].get_array().tolist() == pytest.approx(np.array([[-15, -7.5, 0]] * 3))


def test_heat_maps_stand_beside_the_filters(drawn):
    (name,) = [name for name in drawn if name.startswith("filters_heatmap")]
    titles = [axes.get_title("left") for axes in drawn[name].axes]
    assert titles[:3] == ["gfnet_mini", "vit_mini", "mean filter spectrum"]
    assert "error by frequency" in titles and "filters of gfnet_mini, by layer" in titles
    gfnet, vit, spectrum = (axes.images[0] for axes in drawn[name].axes[:3])
    assert gfnet.get_array()[4, 4] == 100 and gfnet.get_clim() == vit.get_clim() == (0, 100)
    assert spectrum.get_array().shape == (4, 4)


def overlaps(figure):
    """Pairs of words that are printed over one another."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    page = figure.bbox
    boxes = []
    unseen = set()  # what is never drawn: ticks beyond the limits, and all those of axes that are switched off
    for axes, axis in ((panel, axis) for panel in figure.axes for axis in (panel.xaxis, panel.yaxis)):
        low, high = sorted(axis.get_view_interval())
        beyond = [tick for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]
        hidden = beyond if axes.axison else [axis]
        unseen |= {id(text) for artist in hidden for text in artist.findobj(Text)}
    for text in figure.findobj(lambda artist: isinstance(artist, Text) and id(artist) not in unseen):
        box = Text.get_window_extent(text, renderer) if text.get_visible() and text.get_text().strip() else None
        if box is not None and box.width and page.overlaps(box):
            boxes.append((text.get_text(), box.padded(-0.5)))
    return [(a, b) for (a, first), (b, second) in itertools.combinations(boxes, 2) if first.overlaps(second)]


def test_no_words_overlap_and_none_leave_the_page(drawn):
    for name, figure in drawn.items():
        shown = [pair for pair in overlaps(figure) if len(set(pair)) == 2]
        assert shown == [], name
        for axes in figure.axes:
            for text in (axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label, *axes.texts):
                if text.get_text() and text.get_visible():
                    box = Text.get_window_extent(text)  # without the arrow of an annotation
                    assert box.x0 >= -1 and box.y0 >= -1, (name, text.get_text())
                    assert box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1, (name, text.get_text())


def test_files_repeat_to_the_byte(store, tmp_path):
    written = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        figure = filters(store, models=["gfnet_mini"], channels=[0, 1]).figures[0]
        written.append([path.read_bytes() for path in figure.write(folder)])
    assert written[0] == written[1] and len(written[0]) == 3


def test_the_report_needs_no_torch(store):
    code = (
        "import sys; from gfnet_bench.store import Store; from gfnet_bench.reports import REPORTS;"
        f"REPORTS['filters'](Store({str(store.folder)!r})); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def clustered(groups):
    """One layer of 24 channels that fall into so many groups, or into none: noise around a common spectrum."""
    random = np.random.default_rng(0)
    weight = np.exp(random.normal(size=(8, 5, 24, 1)) * (1 if groups == 1 else 0.05)) * np.ones((1, 1, 1, 2))
    for i in range(24):
        if groups > 1:
            weight[i % groups, :, i] *= 50
    values = {"layers": 1, "grids": [[8, 8]], "image": [8, 8]}
    name = f"gfnet_{groups}"
    return Record(cell(name, "spectra", img_size=None, checkpoint=None), values), {
        "layer_00": weight.astype(np.float32)
    }


def test_clusters_are_told_only_where_the_silhouette_shows_structure(tmp_path):
    """Up to 0.25 there is none (Kaufman and Rousseeuw 1990); the figure then shows all channels, and says so."""
    store = Store(tmp_path)
    for groups in (1, 3):
        store.save(*clustered(groups))
    report = filters(store)
    of = {row["model"]: row for row in table(report, "filters_layers").rows}
    assert (of["gfnet_1"]["clusters"], of["gfnet_3"]["clusters"]) == (0, 3)
    assert of["gfnet_1"]["silhouette"] <= 0.25 < of["gfnet_3"]["silhouette"]
    without, found = (f for name in ("1", "3") for f in report.figures if f.name == f"filters_gfnet_{name}_clusters")
    assert "no clusters of similar channels were found (silhouettes of 0." in without.caption
    assert [len(axes.images) for axes in without.figure.axes] == [1, 0]  # one picture and its colours
    assert "each group of similar channels" in found.caption and "no clusters" not in found.caption
    titles = [axes.get_title() for axes in found.figure.axes]
    assert titles == ["33 %", "33 %", "33 %", ""]
    assert {row["cluster"] for row in without.data.rows} == {None}
    shares = {row["cluster"]: row["share_percent"] for row in found.data.rows}
    assert shares == pytest.approx(dict.fromkeys(range(3), 100 / 3))


def test_surgery_that_was_cut_short_is_drawn_as_far_as_it_went(tmp_path):
    """Records of any subset of a plan, as a stopped run leaves them: no figure fails, no name is missing."""
    every = list(surgery_records())
    with mock.patch("os.fsync"):
        for n, kept in enumerate((every[:1], every[1:2], every[2:3], every[:3], every[7:9], [every[0], *every[25:29]])):
            store = Store(tmp_path / str(n))
            for record, arrays in kept:
                store.save(record, arrays)
            drawn = {figure.name: figure.figure for figure in filters(store).figures}
            all_layers = [r for r, _ in kept if r.cell.settings["kind"] and r.cell.settings["layer"] is None]
            assert ("filters_surgery_gfnet_mini_limit_40" in drawn) == bool(all_layers)
            for figure in drawn.values():
                assert overlaps(figure) == []


def test_files_of_two_networks_are_never_one(tmp_path):
    """Names that lose characters in a file name, or are too long for one, are told apart."""
    names = ["gfnet", "gfnet$", "$gfnet", "gf/net", "gf_net", "gf:net", "g" * 300, "g" * 301, "名前", "前名"]
    store = Store(tmp_path)
    with mock.patch("os.fsync"):
        for name in names:
            store.save(*spectra_record(name, [(2, 2)], (8, 8)))
    files = [figure.name for figure in filters(store, channels=[0]).figures]
    assert len(set(files)) == len(files) == 3 * len(names)
    assert max(map(len, files)) < 130 and all(file.isascii() and "/" not in file for file in files)
    assert {"figure5_gfnet", "figure5_gf_net"} < set(files)
