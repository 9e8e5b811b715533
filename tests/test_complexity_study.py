"""The complexity study: which sizes, which cells, what becomes of a point that does not fit, and the whole command."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import pytest
import torch

from gfnet_bench import cli, runner
from gfnet_bench.benches import complexity as bench_of
from gfnet_bench.errors import GfnetBenchError, UsageError
from gfnet_bench.mixers import MIXERS
from gfnet_bench.models import Asked, load_model
from gfnet_bench.models.gfnet import ways_taken
from gfnet_bench.models.global_filter import current_way, filter_way
from gfnet_bench.models.reparameterized import can_be_fused, fused
from gfnet_bench.profiling import devices, latency, memory
from gfnet_bench.records import Record
from gfnet_bench.reports.complexity import complexity
from gfnet_bench.reports.complexity import results as costs
from gfnet_bench.schemas.complexity import check_values
from gfnet_bench.schemas.kinds import Unfit
from gfnet_bench.store import Store
from gfnet_bench.studies import complexity as study
from gfnet_bench.studies.tokens import PAPER_SIDES, parse_tokens

CPU = {"kind": "cpu", "name": "some CPU", "threads": 1}
TINY = ["--tokens", "16,64", "--width", "24", "--batch-size", "2", "--time-budget", "0.02", "--no-progress"]


@pytest.fixture
def quick(monkeypatch):
    """Memory without a process for each point, which other tests start."""
    monkeypatch.setattr(memory, "peak", lambda build, device: memory.Memory(1000, None, 10, "process"))


def test_ranges_have_square_grids_about_a_factor_2_apart():
    tokens = parse_tokens("196..4096")
    assert tokens == [196, 400, 900, 1936, 4096]
    assert all(1.7 < high / low < 2.4 for low, high in itertools.pairwise(tokens))
    assert parse_tokens("16..64") == [16, 36, 64]
    assert parse_tokens("196..196") == [196]


def test_lists_and_the_sizes_of_the_paper():
    assert parse_tokens("3136,196, 784,196") == [196, 784, 3136]
    assert parse_tokens("paper") == [side**2 for side in PAPER_SIDES]
    assert (len(PAPER_SIDES), PAPER_SIDES[0], PAPER_SIDES[-1]) == (13, 14, 182)
    assert parse_tokens("paper,16..64")[:4] == [16, 36, 64, 196]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("200", "near ones are 196 and 225"),
        ("4096..196", "expected the smaller end first; write 196..4096"),
        ("196..4000", "found 4000"),
        ("-4", "found '-4'"),
        ("1e4", "expected 196..4096, 196,784,3136 or paper"),
        ("196..", "found ''"),
        ("", "found ''"),
        ("0", "expected 1 to 1048576 tokens"),
        ("1" + "0" * 40, "expected 1 to 1048576 tokens"),
        ("196...4096", "found '.4096'"),
    ],
)
def test_other_sizes_are_refused_in_one_sentence(text, says):
    with pytest.raises(UsageError) as error:
        parse_tokens(text)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_cells_hold_what_decides_a_number():
    options = study.Options(CPU, batch=32)
    (memory_cell, latency_cell) = study.timed_cells(["global_filter"], [196], 384, [], options)
    shared = {
        "subject": "block", "tokens": 196, "width": 384, "device": CPU, "batch": 32, "dtype": "float32",
        "mode": "forward",
    }  # fmt: skip
    assert memory_cell.settings == {"measure": "memory", **shared}
    assert latency_cell.settings == {"measure": "latency", "cuda_graphs": False, **shared}
    elsewhere = study.Options({**CPU, "threads": 2}, batch=32)
    assert study.timed_cells(["global_filter"], [196], 384, [], elsewhere)[1] != latency_cell
    (count,) = study.count_cells([], [], 384, [study.Size("gfnet_s", (224, 224))])
    assert count.settings == {
        "measure": "count", "convention": "authors", "subject": "model", "tokens": 196, "img_size": [224, 224],
    }  # fmt: skip


def test_the_whole_sweep_of_the_paper_is_counted():
    cells = study.count_cells(["global_filter", "spatial_mlp", "self_attention"], parse_tokens("paper"), 384, [])
    bench = bench_of.Bench()
    found = {
        (c.model, c.settings["tokens"]): bench.measure(c).values for c in cells if c.settings["measure"] == "count"
    }
    assert len(found) == 39
    last = [found[name, 182**2] for name in ("global_filter", "spatial_mlp", "self_attention")]
    assert [round(values["macs"] / 1e9, 1) for values in last] == [39.3, 460.4, 901.3]
    assert all(values["operators"] == values["formula_operators"] for values in found.values())
    assert not any(values["unruled"] for values in found.values())


@pytest.mark.parametrize(
    ("convention", "head", "shown"), [("standard", "FLOPs (G)", "0.4655"), ("none", "MACs (G)", "0.2320")]
)
def test_a_table_names_the_unit_of_its_convention(convention, head, shown):
    (cell, *_) = study.count_cells(["global_filter"], [196], 384, [], convention)
    report = complexity([Record(cell, bench_of.Bench().measure(cell).values)])
    text = report.render("text")
    assert head in text and shown in text and f"{head[:5].strip()}: of one image" in text
    assert report.data.rows[0]["macs"] < 0.24e9  # in data a multiply-add counts once


def test_a_network_with_a_form_for_inference_is_counted_and_timed_in_it():
    """1.088 GMACs and 5.29 M parameters are trained; 0.275 and 2.08 are what its paper publishes."""
    name, bench = "timm/mobileone_s0", bench_of.Bench()
    (merged,), (trained,) = bench_of.sizes([name], [None]), bench_of.sizes([name], [None], as_trained=True)
    cells = [study.count_cells([], [], 384, [size])[0] for size in (merged, trained)]
    assert cells[0].settings == {**cells[1].settings, "form": "fused"}
    costs_of = [bench.measure(cell).values for cell in cells]
    found = [(round(values["macs"] / 1e9, 3), round(values["params"] / 1e6, 2)) for values in costs_of]
    assert found == [(0.275, 2.08), (1.088, 5.29)]
    records = [Record(cell, values) for cell, values in zip(cells, costs_of, strict=True)]
    assert {point.name for point in costs.points(records)} == {"mobileone_s0", "mobileone_s0 (fused)"}
    sides = [size._replace(img_size=(32, 32)) for size in (merged, trained)]
    cells = [study.timed_cells([], [], 384, [size], study.Options(CPU, batch=1))[0] for size in sides]
    works = [bench_of.build(cell, torch.device("cpu")) for cell in cells]
    assert works[0].weights_bytes < works[1].weights_bytes / 2
    assert works[0].step()().shape == (1, 1000)


def test_fusing_changes_no_result():
    torch.manual_seed(0)
    model = load_model("timm/mobileone_s0", Asked(img_size=64), pretrained=False)
    images = torch.rand(2, 3, 64, 64)
    before = model(images)
    assert (fused(model)(images) - before).abs().max() <= 1e-5 * before.abs().max()
    assert can_be_fused(load_model("timm/levit_128s", pretrained=False)) and not can_be_fused(load_model("gfnet_mini"))


@pytest.mark.parametrize("what", ["memory", "latency"])
@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried"), memory.OutOfMemory("not tried"), MemoryError()]
)
def test_out_of_memory_is_a_result(monkeypatch, what, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(memory, "peak", fail)
    monkeypatch.setattr(latency, "measure", fail)
    cells = study.timed_cells(["spatial_mlp"], [16], 24, [], study.Options(CPU, batch=2))
    (cell,) = [c for c in cells if c.settings["measure"] == what]
    assert bench_of.Bench().measure(cell).values == {"out_of_memory": True, "reason": str(error) or "MemoryError"}


def test_other_errors_are_failures(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(latency, "measure", fail)
    cell = study.timed_cells(["spatial_mlp"], [16], 24, [], study.Options(CPU, batch=2))[1]
    with pytest.raises(RuntimeError, match="no such kernel"):
        bench_of.Bench().measure(cell)


def test_materialised_attention_over_33124_tokens_is_not_tried():
    cell = study.timed_cells(["self_attention"], [182**2], 384, [], study.Options(CPU, batch=32))[0]
    values = bench_of.Bench().measure(cell).values
    assert values["out_of_memory"]
    # Scores and their softmax: 2 x 32 images x 6 heads x 33,124^2 x 4 bytes are 1,685 GB.
    needed = float(values["reason"].split("about ")[1].split(" GB")[0])
    assert 1685 < needed < 1.25 * 1685


@pytest.mark.parametrize("name", list(MIXERS))
@pytest.mark.parametrize("mode", ["forward", "forward_backward"])
def test_every_block_can_be_built_and_run(name, mode):
    cell = study.timed_cells([name], [16], 24, [], study.Options(CPU, batch=2, mode=mode))[1]
    found = bench_of.build(cell, torch.device("cpu")).step()()
    if mode == "forward":
        assert found.shape == (2, 16, 24)
    else:
        assert found[0].shape == (2, 16, 24)  # of the input
        assert all(gradient is not None for gradient in found)


def test_latency_keeps_raw_repeats():
    cell = study.timed_cells(["depthwise_conv"], [16], 24, [], study.Options(CPU, batch=2))[1]
    outcome = bench_of.Bench(budget_s=0.05).measure(cell)
    assert len(outcome.arrays["seconds"]) == outcome.values["repeats"]
    assert outcome.values["latency_s"] == pytest.approx(float(torch.tensor(outcome.arrays["seconds"]).quantile(0.5)))
    assert outcome.provenance["before"]["platform"]
    assert outcome.values["stopped"] in ("spread", "repeats", "budget")


def test_a_single_repeat_is_kept_and_said_to_have_no_spread(tmp_path):
    cell = study.timed_cells(["depthwise_conv"], [16], 24, [], study.Options(CPU, batch=2))[1]
    store = Store(tmp_path)
    runner.run([cell], bench_of.Bench(budget_s=1e-9).measure, store, progress=False)
    record = store.find(cell)
    assert record.values["repeats"] == 1 and record.values["spread"] is record.values["latency_q1_s"] is None
    broken = {**record.values, "repeats": 3}
    with pytest.raises(Unfit, match="expected them of 3 repeats or more"):
        check_values(cell.settings, broken)


def test_what_small_points_leave_pays_for_large_ones(monkeypatch):
    spare = []

    def measured(call, device, budget_s, spare_s):
        spare.append(spare_s)
        return latency.Latency((1.0,) * 3, (1.0,) * 3, 1, "spread", False, spent_s=(1.0, 6.0, 2.0)[len(spare) - 1])

    monkeypatch.setattr(latency, "measure", measured)
    cell = study.timed_cells(["depthwise_conv"], [16], 24, [], study.Options(CPU, batch=2))[1]
    bench = bench_of.Bench(budget_s=3.0)
    for _ in range(3):
        bench.measure(cell)
    assert spare == [0.0, 2.0, 0.0]


def test_a_way_that_was_set_is_a_setting_of_cells():
    options = study.Options(CPU, batch=2)
    usual = study.timed_cells(["global_filter_fast"], [16], 24, [], options)
    with filter_way("fft"):
        chosen = study.timed_cells(["global_filter_fast"], [16], 24, [], options)
    for before, cell in zip(usual, chosen, strict=True):
        assert "filter_way" not in before.settings and cell.settings == {**before.settings, "filter_way": "fft"}


@pytest.mark.parametrize(
    ("name", "way", "found"),
    [
        ("global_filter_fast", "auto", ["dense"]),
        ("global_filter_fast", "fft", ["fft"]),
        ("global_filter", "fft", None),  # plain torch.fft, none of our filters
        ("spatial_mlp", "auto", None),
    ],
)
def test_records_tell_how_filters_were_computed(name, way, found, monkeypatch):
    seen = []

    def peak(build, device):
        seen.append(current_way())
        return memory.Memory(1000, None, 10, "process")

    monkeypatch.setattr(memory, "peak", peak)
    with filter_way(way):
        cells = study.timed_cells([name], [16], 24, [], study.Options(CPU, batch=2))
    for cell in cells:  # a cell is measured as it says, whatever is set by now
        assert bench_of.Bench(budget_s=0.01).measure(cell).values.get("filter_ways") == found
    assert seen == [way] and current_way() == "auto"


def test_a_pyramid_has_a_way_for_each_grid():
    size = study.Size("gfnet_h_ti", (1024, 1024))  # grids of 256, 128, 64 and 32 tokens a side
    cell = study.timed_cells([], [], 24, [size], study.Options(CPU, batch=1))[0]
    module = bench_of.build(cell, torch.device("meta")).module
    assert ways_taken(module, torch.device("cpu")) == ["fft", "dense"]


def test_the_driver_is_asked_once_a_latency(monkeypatch):
    asked = []
    monkeypatch.setattr(memory, "peak", lambda build, device: memory.Memory(1000, None, 10, "process"))
    monkeypatch.setattr(devices, "device_state", lambda device, clocks=True: asked.append(clocks) or {})
    cells = study.timed_cells(["spatial_mlp"], [16], 24, [], study.Options(CPU, batch=2))
    for cell in cells:
        bench_of.Bench(budget_s=0.01).measure(cell)
    assert asked == [False, False, False, True]  # memory before and after, latency before and after


def test_models_are_tried_at_every_size_first():
    assert bench_of.sizes(["gfnet_mini"], [None, (64, 64)]) == [
        study.Size("gfnet_mini", (32, 32)), study.Size("gfnet_mini", (64, 64)),
    ]  # fmt: skip
    with pytest.raises(UsageError, match="cannot be built for images of 225 x 225"):
        bench_of.sizes(["deit_tiny"], [(225, 225)])


def test_command_end_to_end_and_again(tmp_path, quick, capsys, monkeypatch):
    words = ["complexity", *TINY, "--output-dir", str(tmp_path), "--format", "json", "--device", "cpu"]
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    rows = json.loads(out)
    assert {(r["name"], r["tokens"]) for r in rows} == {(b, n) for b in MIXERS for n in (16, 64)}
    assert all(r["macs"] > 0 and r["latency_s"] > 0 and r["peak_memory_bytes"] == 1000 for r in rows)
    assert err.count("wrote ") == 6
    assert len(Store(tmp_path).load().records) == 6 * 2 * 3 + 4

    def never(*_):
        raise AssertionError("measured twice")

    monkeypatch.setattr(bench_of.Bench, "measure", never)
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out) == rows


def test_an_interrupted_sweep_goes_on_where_it_stopped(tmp_path):
    cells = study.count_cells(["spatial_mlp"], [16, 36, 64], 24, [])
    bench, seen = bench_of.Bench(), []

    def measure(cell):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(cell)
        return bench.measure(cell)

    with pytest.raises(KeyboardInterrupt):
        runner.run(cells, measure, Store(tmp_path), progress=False)
    assert len(Store(tmp_path).load().records) == 2
    again = []
    runner.run(cells, lambda c: again.append(c) or bench.measure(c), Store(tmp_path), progress=False)
    assert again == cells[2:]


def test_count_only_times_nothing_and_draws_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench_of.Bench, "_on_device", None)
    words = ["complexity", "--tokens", "16..64", "--width", "24", "--count-only", "--output-dir", str(tmp_path)]
    assert cli.main([*words, "--no-progress", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert len(json.loads(out)) == 18
    assert err == ""


def test_dry_run_measures_nothing(tmp_path, capsys):
    words = ["complexity", *TINY, "--device", "cpu", "--output-dir", str(tmp_path), "--dry-run", "--format", "json"]
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    assert err == "40 cells, 40 to do\n"
    assert {row["measure"]: row["to_do"] for row in json.loads(out)} == {
        "count": 12, "table1": 4, "memory": 12, "latency": 12,
    }  # fmt: skip
    assert {row["sizes"] for row in json.loads(out)} == {"16 tokens, 64 tokens", "196 tokens"}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--tokens", "200"], "near ones are 196 and 225"),
        (["--mixer", "self_atention"], "did you mean self_attention"),
        (["--width", "100"], "multiple of 6"),
        (["--model", "deit_tiny", "--img-size", "225"], "multiples of its 16 x 16 patches"),
        (["--model", "deit_tiny", "--img-size", "999999"], "at most 16384 pixels a side, found 999999"),
        (["--model", "gfnet_q"], "unknown model 'gfnet_q'"),
        (["--model", "gfnet_s", "--img-size", "224", "--tokens", "196"], "found both"),
        (["--img-size", "224"], "blocks take --tokens"),
        (["--cuda-graphs", "--device", "cpu"], "expected --device cuda, found cpu"),
        (["--dtype", "tf32", "--device", "cpu"], "found cpu, which has no TF32"),
        (["--device", "cuda:99"], "--device cuda:99: not on this machine, which has cpu"),
        (["--device", "cpu:x"], "--device cpu:x: not on this machine, which has cpu"),
    ],
)
def test_bad_input_ends_with_one_sentence_and_status_2(words, says, tmp_path, capsys):
    assert cli.main(["complexity", *words, "--output-dir", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.startswith("gfnet-bench: ") and err.count("\n") == 1


@pytest.mark.parametrize("words", [["--batch-size", "0"], ["--time-budget", "-1"], ["--time-budget", "nan"]])
def test_bad_numbers_end_with_status_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["complexity", *words])
    assert ended.value.code == 2
    assert "expected a" in capsys.readouterr().err


def test_models_by_tokens(tmp_path, capsys):
    words = ["complexity", "--model", "vit_mini", "--tokens", "4,16", "--count-only", "--format", "json"]
    assert cli.main([*words, "--output-dir", str(tmp_path), "--no-progress"]) == 0
    rows = json.loads(capsys.readouterr().out)
    found = [(r["image_height_px"], r["image_width_px"], r["tokens"], r["convention"]) for r in rows]
    assert found == [(32, 32, 4, "authors"), (64, 64, 16, "authors")]


def test_help_needs_no_torch():
    code = (
        "import sys; from gfnet_bench import cli\n"
        "try: cli.main(['complexity', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'timm', 'numpy', 'matplotlib'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "gfnet-bench complexity --tokens 196..4096" in done.stdout


def test_an_unknown_dtype_is_refused():
    cell = study.timed_cells(["spatial_mlp"], [16], 24, [], study.Options(CPU, batch=2, dtype="float8"))[1]
    with pytest.raises(GfnetBenchError, match="dtype must be one of"):
        bench_of.Bench().measure(cell)
