"""The whole path, as a user walks it: commands in, records, tables and exit statuses out."""

import json
import subprocess
import sys
import time

import pytest

from gfnet_bench.benches import robustness as bench_of
from gfnet_bench.cli import COMMANDS, main
from gfnet_bench.store import Store

# Four images of each class and four corrupted cells: the whole path in seconds.
QUICK = ["robustness", "--suite", "mini", "--model", "gfnet_mini", "resnet_mini", "--limit", "40", "--no-progress"]
QUICK += ["--corruption", "contrast", "pixelate", "--severity", "1", "5", "--workers", "0", "--device", "cpu"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A results folder with one small run in it, and what that run printed."""
    folder = tmp_path_factory.mktemp("results")
    done = subprocess.run(
        [sys.executable, "-m", "gfnet_bench", *QUICK, "--format", "json", "--output-dir", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_json_is_one_list_of_rows_and_nothing_else(measured):
    rows = json.loads(measured[1])
    by_column = {(row["model"], row["column"]): row for row in rows}
    clean = by_column["gfnet_mini", "Top-1"]
    assert clean["limit_images"] == 40 and clean["images"] == 40 and 70 <= clean["ours_percent"] <= 100
    assert clean["ours_percent_low"] < clean["ours_percent"] < clean["ours_percent_high"]
    assert by_column["gfnet_mini", "PGD 4/255 x5"]["ours_percent"] < clean["ours_percent"]


def test_the_same_command_again_measures_nothing_and_prints_the_same(measured, monkeypatch, capsys):
    monkeypatch.setattr(bench_of.Bench, "measure", lambda self, cell: pytest.fail(f"measured {cell} again"))
    assert main([*QUICK, "--format", "json", "--output-dir", str(measured[0])]) == 0
    assert capsys.readouterr().out == measured[1]


def test_report_draws_the_same_numbers_from_records(measured, capsys):
    assert main(["report", "robustness", "--format", "json", "--output-dir", str(measured[0])]) == 0
    assert sorted(map(str, json.loads(capsys.readouterr().out))) == sorted(map(str, json.loads(measured[1])))
    assert main(["report", "--details", "--output-dir", str(measured[0]), "--write", "md", "latex"]) == 0
    assert "Paired comparisons" in capsys.readouterr().out
    assert (measured[0] / "tables" / "robustness_mini.md").is_file()


def test_dry_run_prints_what_belongs_together_and_measures_nothing(tmp_path, capsys):
    assert main([*QUICK, "--dry-run", "--format", "json", "--output-dir", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    rows = {(row["dataset"], row["perturbation"]): row for row in json.loads(out)}
    assert {key: row["cells"] for key, row in rows.items()} == {
        ("mini", "clean"): 2,
        ("mini", "fgsm:epsilon=4/255"): 2,
        ("mini", "pgd:epsilon=4/255"): 2,
        ("mini_v2", "clean"): 2,
        ("mini_a", "clean"): 2,
        ("mini_c", "2 corruptions x 2 severities by cifar_c"): 8,
    }
    assert all(row["to_do"] == row["cells"] and row["state"] == "to do" for row in rows.values())
    assert {row["models"] for row in rows.values()} == {"gfnet_mini, resnet_mini"}
    assert err == "18 cells, 18 to do\n"
    assert list(tmp_path.iterdir()) == []


def test_dry_run_says_what_of_a_row_is_measured(measured, capsys):
    words = [*QUICK, "--dry-run", "--format", "json", "--output-dir", str(measured[0])]
    assert main(words) == 0
    assert {row["state"] for row in json.loads(capsys.readouterr().out)} == {"measured"}
    assert main([*words, "--severity", "1", "2"]) == 0
    states = {row["dataset"]: row["state"] for row in json.loads(capsys.readouterr().out)}
    assert states["mini_c"] == "4 of 8 measured"
    assert main([*words, "--overwrite", "always"]) == 0
    assert {row["state"] for row in json.loads(capsys.readouterr().out)} == {"to do"}


@pytest.mark.parametrize("command", ["robustness", "filters --surgery", "filters --heatmap", "paper table3"])
def test_dry_run_says_once_what_is_missing_and_fetches_nothing(command, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("GFNET_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a dry run needs no network"))
    model = [] if command.startswith("paper") else ["--model", "gfnet_s", "deit_small"]
    model = model[:2] if "surgery" in command else model
    words = [*command.split(), *model, "--data-dir", str(tmp_path / "none"), "--output-dir", str(tmp_path / "out")]
    assert main([*words, "--dry-run", "--device", "cpu"]) == 1
    err = capsys.readouterr().err
    lines = [line for line in err.splitlines() if line.startswith("not ready: ")]
    assert len(lines) == len(set(lines)) and all(sum(f" {n}: " in line for line in lines) == 1 for n in ["imagenet"])
    assert sum(line.startswith("not ready: weights of ") and "gfnet_s" in line for line in lines) == 1
    assert not (tmp_path / "out").exists() and not (tmp_path / "cache").exists()


def test_killed_runs_continue_to_byte_identical_tables(measured, tmp_path):
    """SIGKILL after the first, fourth and ninth record; then the command runs to its end."""
    command = [sys.executable, "-m", "gfnet_bench", *QUICK, "--format", "json", "--output-dir", tmp_path]
    for enough in (1, 4, 9):
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while len(list(tmp_path.glob("records/*/*/[!.]*.json"))) < enough and run.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        run.kill()
        run.wait()
    last = subprocess.run(command, capture_output=True, text=True, check=True)
    assert last.stdout == measured[1]
    undisturbed = {r.cell: r.values for r in Store(measured[0])}
    assert {r.cell: r.values for r in Store(tmp_path)} == undisturbed


def test_without_data_or_weights_everything_missing_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    arguments = ["robustness", "--model", "gfnet_s", "--data-dir", str(tmp_path), "--output-dir", str(tmp_path / "out")]
    assert main([*arguments, "--no-progress", "--severity", "1", "--corruption", "fog"]) == 1
    out, err = capsys.readouterr()
    assert "gfnet-bench robustness --suite mini" in err
    assert "imagenet_v2" in err and "imagenet_a" in err and "imagenet_c" in err
    assert err.count("gfnet-s.pth") == 1 and "cloud.tsinghua.edu.cn" in err  # and once in the table
    assert "missing" in out and "42.6" in out  # the published value stands beside the gap
    assert all(r.error and r.error.startswith("MissingError") for r in Store(tmp_path / "out"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["robustness", "-m", "gfnet-z"], "did you mean gfnet_"),
        (["robustness", "-m", "gfnet_mini", "gfnet_s"], "do not go together"),
        (["robustness", "--dataset", "imagenet_b"], "did you mean imagenet_"),
        (["robustness", "--attack", "pdg"], "did you mean pgd"),
        (["robustness", "--eps", "4"], "did you mean 4/255"),
        (["robustness", "--corruption", "frog"], "did you mean f"),
        (["robustness", "--checkpoint", "nowhere.pth"], "no such file"),
        (["robustness", "--suite", "mini", "--checkpoint", "pyproject.toml"], "one model's weights"),
        (["robustness", "--config", "nowhere.json"], "expected a JSON file"),
        (["robustness", "-m", "gfnet_mini", "--device", "cuda:99x"], "--device"),
        *(
            ([command, "--suite", "mini", "--dtype", "tf32", "--device", "cpu"], "found cpu, which has no TF32")
            for command in ("robustness", "filters", "paper")
        ),
        (["data", "get"], "needs names"),
        (["report", "robustnes"], "did you mean robustness"),
        (["doctor", "imagenet_x"], "did you mean imagenet_"),
    ],
)
def test_what_is_not_understood_is_one_sentence_and_status_2(arguments, message, tmp_path, capsys):
    stored = arguments[0] not in ("data", "doctor")
    assert main([*arguments, *(["--output-dir", str(tmp_path)] if stored else [])]) == 2
    out, err = capsys.readouterr()
    assert message in err and err.startswith("gfnet-bench: ") and err.count("\n") == 1 and not out


@pytest.mark.parametrize("option", [["--limit", "0"], ["--severity", "6"], ["--img-size", "big"], ["-b", "-3"]])
def test_values_out_of_range_are_refused_by_the_parser(option, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["robustness", *option])
    assert ended.value.code == 2
    assert option[0] in capsys.readouterr().err


def test_options_from_a_file_give_way_to_the_command_line(tmp_path, capsys):
    config = tmp_path / "options.json"
    config.write_text('{"suite": "mini", "limit": 7, "attack": ["clean"], "dry_run": true, "amp": false}')
    assert main(["robustness", "--config", str(config), "--limit", "9", "--output-dir", str(tmp_path)]) == 0
    assert "clean" in capsys.readouterr().out
    assert main(["robustness", f"--config={config}", "--format", "json", "--output-dir", str(tmp_path)]) == 0
    assert {row["perturbation"] for row in json.loads(capsys.readouterr().out) if row["dataset"] == "mini"} == {"clean"}


@pytest.mark.parametrize("command", ["", *(command.NAME for command in COMMANDS)])
def test_help_answers_without_loading_anything_heavy(command):
    code = (
        "import sys; from gfnet_bench.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'timm', 'numpy', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))"
    )
    words = [word for word in (command, "--help") if word]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert "heavy: []" in done.stdout
    assert "examples:" in done.stdout


@pytest.mark.parametrize("arguments", [["list"], ["--version"]])
def test_listing_needs_no_torch(arguments):
    code = "import sys; from gfnet_bench.cli import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n"
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")


def test_list_shows_every_kind(capsys):
    assert main(["list", "--format", "json"]) == 0
    names = {(row["kind"], row["name"]) for row in json.loads(capsys.readouterr().out)}
    expected = {("model", "gfnet_s"), ("dataset", "imagenet_a"), ("attack", "pgd"), ("corruption", "fog")}
    assert expected | {("report", "robustness")} <= names


def test_data_status_and_doctor_on_an_empty_folder(tmp_path, capsys):
    assert main(["data", "status", "--data-dir", str(tmp_path), "--format", "json"]) == 0
    state = {row["name"]: row["state"] for row in json.loads(capsys.readouterr().out)}
    assert state["imagenet"] == "missing" and state["mini"] == "1,000 of 1,000 images"
    assert main(["doctor", "--data-dir", str(tmp_path)]) == 0
    assert main(["doctor", "imagenet", "--data-dir", str(tmp_path)]) == 1
