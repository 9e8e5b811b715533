"""No option passes in silence: each either changes what is done, or is refused with the reason."""

import argparse
from pathlib import Path

import pytest

from gfnet_bench.cli import COMMANDS, main, parser

RESULTS = str(Path(__file__).parents[1] / "results")
MINI = ["robustness", "--suite", "mini"]
FIGURE5 = ["filters", "--model", "gfnet_mini"]
MODELS = ["complexity", "--model", "vit_mini"]
BLOCKS = ["complexity", "--tokens", "16"]
COUNT = [*BLOCKS, "--count-only"]
SHEET = ["corrupt", "photo.png", "--preview"]
COMPARE = ["report", "--compare", "a", "b"]

# A command line, and an option that would do nothing in it.
NOTHING = [
    ([*MINI, "--dataset", "mini_c"], ["--attack", "pgd"]),
    ([*MINI, "--dataset", "mini_c"], ["--eps", "4/255"]),
    ([*MINI, "--dataset", "mini_a"], ["--eps", "4/255"]),
    ([*MINI, "--dataset", "mini_a"], ["--steps", "4"]),
    ([*MINI, "--attack", "clean"], ["--eps", "4/255"]),
    ([*MINI, "--attack", "clean"], ["--steps", "5"]),
    ([*MINI, "--attack", "clean"], ["--relative-step", "0.5"]),
    ([*MINI, "--attack", "clean"], ["--no-random-start"]),
    ([*MINI, "--attack", "fgsm"], ["--steps", "5"]),
    ([*MINI, "--attack", "fgsm", "clean"], ["--relative-step", "1"]),
    ([*MINI, "--attack", "fgsm"], ["--no-random-start"]),
    ([*MINI, "--dataset", "mini"], ["--corruption", "fog"]),
    ([*MINI, "--dataset", "mini"], ["--severity", "1"]),
    ([*MINI, "--dataset", "mini", "mini_v2"], ["--recipe", "cifar_c"]),
    (["robustness"], ["--recipe", "imagenet_c"]),
    *(([command], ["--weights-key", "ema"]) for command in ("robustness", "filters", "attack-check")),
    (["verify", "gfnet_mini", "--output-dir", RESULTS], ["--checkpoint", __file__]),
    (["verify", "gfnet_mini", "--output-dir", RESULTS], ["--weights-key", "ema"]),
    (["robustness", "--dataset", "imagenet_c"], ["--recipe", "imagenet_c"]),
    *(([command], ["--class-names", "a"]) for command in ("robustness", "filters", "attack-check")),
    (["robustness"], ["--reference", "gfnet_s"]),
    *((["report", *of], ["--reference", "gfnet_s"]) for of in ([], ["--suite", "mini"], ["--bibtex"])),
    (FIGURE5, ["--images", "pets"]),
    *((FIGURE5, words) for words in (["--seed", "3"], ["--dtype", "bfloat16"], ["--limit", "9"], ["--norm", "4"])),
    *((FIGURE5, words) for words in (["--kind", "low_pass"], ["--cutoff", "0.1"], ["--transform", "paper"])),
    ([*FIGURE5, "--heatmap"], ["--attack", "pgd"]),
    ([*FIGURE5, "--heatmap"], ["--eps", "1/255"]),
    ([*FIGURE5, "--heatmap"], ["--severity", "3"]),
    ([*FIGURE5, "--surgery"], ["--frequencies", "3"]),
    *(([*FIGURE5, "--perturbation"], words) for words in (["--severity", "3"], ["--cutoff", "0.1"], ["--norm", "4"])),
    ([*FIGURE5, "--surgery", "--attack", "clean"], ["--eps", "1/255"]),
    ([*FIGURE5, "--surgery", "--dataset", "mini_v2"], ["--severity", "3"]),
    ([*FIGURE5, "--surgery", "--dataset", "mini_v2"], ["--corruption", "fog"]),
    (["filters", "--model", "vit_mini", "--heatmap"], ["--surgery"]),
    (["filters", "--model", "vit_mini", "--heatmap"], ["--layers", "0"]),
    (["filters", "--model", "vit_mini", "--heatmap"], ["--channels", "0"]),
    *((COUNT, words) for words in (["--backward"], ["--cuda-graphs"], ["--dtype", "float32"], ["--published"])),
    *((COUNT, words) for words in (["--batch-size", "4"], ["--time-budget", "1"])),
    (["segmentation"], ["--data-dir", "x"]),
    *((["segmentation", "--train-only"], words) for words in (["--corruption", "fog"], ["--severity", "1"])),
    *((["segmentation", "--train-only"], words) for words in (["--limit", "9"], ["--format", "md"])),
    (MODELS, ["--width", "384"]),
    (MODELS, ["--published"]),
    (BLOCKS, ["--img-size", "224"]),
    (MODELS, ["--as-trained"]),
    (BLOCKS, ["--name", "mine"]),
    (["paper", "table1"], ["--limit", "10"]),
    (["paper", "table1", "figure2"], ["--seed", "1"]),
    (["paper", "figure5"], ["--dtype", "bfloat16"]),
    (["paper", "table3"], ["--tokens", "196"]),
    (["paper", "table3"], ["--time-budget", "1"]),
    (["paper", "figure2", "--count-only"], ["--time-budget", "1"]),
    (["paper", "table1"], ["--batch-size", "4"]),
    (["paper", "table1", "figure2"], ["--suite", "mini"]),
    *((COMPARE, words) for words in (["--model", "a"], ["--suite", "mini"], ["--details"], ["--write", "md"])),
    *((COMPARE, words) for words in (["--output-dir", "x"], ["--bibtex"])),
    ([*COMPARE, "--html", "x.html"], ["--format", "md"]),
    *((["report", "--bibtex"], words) for words in (["--model", "a"], ["--html", "x"], ["--format", "md"])),
    *((["report", "--bibtex"], words) for words in (["--suite", "mini"], ["--details"], ["--write", "md"])),
    (["report", "--html", "x.html"], ["--details"]),
    (["report", "--html", "x.html"], ["--format", "text"]),
    (["report", "--format", "json"], ["--details"]),
    (["report", "complexity"], ["--suite", "mini"]),
    *((words, ["--metric", "ece"]) for words in (["report", "complexity"], ["report", "--bibtex"], COMPARE)),
    (["report", "ablation"], ["--model", "gfnet_s"]),
    (["report", "claims"], ["--model", "gfnet_s"]),
    (["list", "datasets"], ["--timm", "x*"]),
    *((SHEET, words) for words in (["--dry-run"], ["--severity", "1"], ["--corruption", "fog"], ["--no-resize"])),
    *((SHEET, words) for words in (["--batch-size", "4"], ["--workers", "2"], ["--device", "cpu"])),
    (["corrupt", "photos", "out", "--recipe", "imagecorruptions"], ["--no-resize"]),
]


DRY = ("robustness", "filters", "complexity", "paper", "segmentation")


def dry(words):
    """The same command line, which shall measure nothing should it pass."""
    return [*words, *(["--dry-run"] if words[0] in DRY else [])]


@pytest.mark.parametrize(("words", "option"), NOTHING, ids=lambda words: " ".join(words))
def test_an_option_that_would_do_nothing_is_refused_by_name(words, option, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(dry([*words, *option])) == 2
    out, err = capsys.readouterr()
    assert option[0] in err and err.count("\n") == 1 and not out
    assert not list(tmp_path.iterdir())


CONTRADICTIONS = [
    (["robustness", "--corruption", "all", "nope"], "unknown corruption 'nope'"),
    (["robustness", "--corruption", "nope", "all"], "unknown corruption 'nope'"),
    (["robustness", "--suite", "mini", "--dataset", "imagenet"], "--suite mini, imagenet (imagenet)"),
    (["robustness", "--suite", "imagenet", "--dataset", "mini_c"], "--suite imagenet, mini_c (mini)"),
    (["robustness", "--dataset", "mini", "imagenet_a"], "mini (mini), imagenet_a (imagenet)"),
    (["robustness", "-m", "gfnet_mini", "--dataset", "imagenet"], "imagenet (imagenet), gfnet_mini (mini)"),
    (["robustness", "-m", "resnet50", "--suite", "mini"], "--suite mini, resnet50 (imagenet)"),
    (["filters", "-m", "gfnet_mini", "--heatmap", "--dataset", "imagenet"], "do not go together"),
    (["report", "robustness", "--compare", "a", "b"], "--compare takes no names of reports"),
    (["report", "robustness", "--bibtex"], "--bibtex takes no names of reports"),
]


@pytest.mark.parametrize(("words", "message"), CONTRADICTIONS, ids=str)
def test_what_does_not_go_together_is_told(words, message, capsys):
    assert main(dry(words)) == 2
    assert message in capsys.readouterr().err


def test_one_thing_named_twice_is_refused_by_the_parser(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["robustness", "--amp", "--dtype", "bfloat16"])
    assert ended.value.code == 2 and "--amp" in capsys.readouterr().err


# Where and how to compute, print and keep: heeded by whatever is measured, whichever machine it is on.
ANYWHERE = {
    "--plugin",
    "--help",
    "--data-dir",
    "--output-dir",
    "--format",
    "--device",
    "--batch-size",
    "--workers",
    "--no-progress",
}
ANYWHERE |= {
    "--config",
    "--dry-run",
    "--plan-only",
    "--overwrite",
    "--channels-last",
    "--torchcompile",
    "--checkpoint",
    "--seed",
    "--time-limit",
    "--engine",
}
ANYWHERE |= {"--plan-only", "--name", "--mean", "--std", "--num-classes"}
ALWAYS = {
    "robustness": {
        "--model",
        "--suite",
        "--dataset",
        "--images",
        "--transform",
        "--img-size",
        "--limit",
        "--dtype",
        "--amp",
    },
    "filters": {"--model", "--suite", "--img-size", "--heatmap", "--perturbation", "--dataset", "--details"},
    "complexity": {"--model", "--mixer", "--tokens", "--count-only", "--convention"},
    "paper": {"--count-only", "--html"},
    "report": {"--compare"},
    "corrupt": {"--preview", "--recipe"},
    "attack-check": {"--model", "--images", "--attack", "--dataset", "--limit", "--eps", "--img-size"},
    "segmentation": {"--model", "--train-only", "--eval-only", "--iterations", "--rate", "--dtype"},
    "work": set(),
    "status": set(),
    "retry": {"--failed"},
    "verify": {"--sample"},
    "list": set(),
    "completion": set(),
    "pack": {"--unpack"},
}


@pytest.mark.parametrize("command", ALWAYS)
def test_every_option_is_heeded_always_or_tried_above(command):
    sub = next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction)).choices[command]
    tried = {option[0] for words, option in NOTHING if words[0] == command}
    options = {action.option_strings[-1] for action in sub._actions if action.option_strings}
    assert options <= tried | ALWAYS[command] | ANYWHERE


def test_every_command_has_been_thought_of():
    assert {command.NAME for command in COMMANDS} == set(ALWAYS) | {"data", "doctor"}


HEEDED = [
    [*MINI, "--attack", "clean", "fgsm", "pgd", "--steps", "20", "--eps", "1/255", "--no-random-start"],
    [*MINI, "--dataset", "mini", "mini_c", "--attack", "pgd", "--severity", "1", "--corruption", "all"],
    [*MINI, "--recipe", "cifar_c", "--corruption", "fog", "all"],
    ["robustness", "--dataset", "mini_c", "--severity", "2"],
    ["segmentation", "--limit", "9", "--severity", "1", "--corruption", "fog", "--rate", "0.1", "--iterations", "9"],
    ["segmentation", "--train-only", "--dtype", "bfloat16", "--batch-size", "4", "--seed", "3"],
    [*FIGURE5, "--surgery", "--eps", "1/255", "--attack", "clean", "fgsm", "--severity", "5", "--seed", "2"],
    [*FIGURE5, "--heatmap", "--norm", "2", "--frequencies", "3", "--dtype", "bfloat16", "--layers", "0"],
    [
        "filters",
        "--model",
        "vit_mini",
        "--perturbation",
        "--attack",
        "fgsm",
        "random",
        "--eps",
        "1/255",
        "--limit",
        "9",
    ],
    ["filters", "--suite", "mini", "--norm", "2", "--cutoff", "0.1", "0.2", "--kind", "band_stop"],
    [*MODELS, "--mixer", "global_filter", "--width", "24", "--img-size", "64", "--tokens", "16", "--device", "cpu"],
    ["paper", "figure5", "--suite", "mini", "--limit", "10", "--seed", "1", "--device", "cpu"],
    ["paper", "figure2", "--tokens", "196", "--time-budget", "1", "--batch-size", "2", "--device", "cpu"],
]


@pytest.mark.parametrize("words", HEEDED, ids=" ".join)
def test_an_option_that_something_heeds_passes(words, tmp_path, capsys):
    assert main([*dry(words), "--output-dir", str(tmp_path)]) == 0


def plan(capsys, *words):
    """The models of a dry run, without what would need the network."""
    main(["robustness", *words, "--dry-run", "--format", "csv", "--attack", "clean"])
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "inside", "outside"),
    [
        (["-m", "gfnet_*"], "gfnet_ti", "_mini"),
        (["-m", "resnet*"], "resnet18, resnet50, resnet101", "_mini"),
        (["-m", "*"], "mixer_b16", "_mini"),
        (["-m", "*", "--suite", "imagenet"], "gfnet_s", "_mini"),
        (["-m", "*", "--suite", "mini"], "gfnet_mini, vit_mini, resmlp_mini, resnet_mini", "gfnet_s"),
        (["-m", "*_mini"], "gfnet_mini, vit_mini, resmlp_mini, resnet_mini", "gfnet_s"),
        (["-m", "gfnet_*", "--dataset", "mini"], "gfnet_mini", "gfnet_s"),
        (["-m", "gfnet_*", "vit_mini"], "gfnet_mini, gfnet_mini_at, vit_mini", "gfnet_s"),
        (["-m", "gfnet_*", "deit_small"], "gfnet_h_b, deit_small", "_mini"),
        (["-m", "vit_*", "--dataset", "imagenet"], "vit_base_patch16_224", "vit_mini"),
        (["-m", "vit_*"], "vit_mini", "vit_base"),
        (["-m", "GFNet-[h-s]*"], "gfnet_s, gfnet_h_ti", "gfnet_b"),
    ],
)
def test_a_wildcard_stays_inside_the_suite_or_the_sets_that_were_named(words, inside, outside, capsys, tmp_path):
    out = plan(capsys, *words, "--data-dir", str(tmp_path), "--output-dir", str(tmp_path))
    assert inside in out and outside not in out


def test_a_wildcard_that_fits_nothing_in_the_suite_is_refused(capsys):
    assert main(["robustness", "-m", "deit_*", "--suite", "mini", "--dry-run"]) == 2
    assert "no model of the suite mini is called like 'deit_*'" in capsys.readouterr().err
