"""Words of a command line and of `--config` files to options."""

import json
import re
import shutil
import subprocess

import pytest

from gfnet_bench.cli import COMMANDS, main, parser
from gfnet_bench.commands.parser import parse
from gfnet_bench.errors import UsageError


def parsed(*words):
    return parse(parser(), words)


@pytest.fixture
def config(tmp_path):
    """A file of options."""

    def write(content, name="options.json"):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return str(file)

    return write


def test_the_command_line_wins_wholly_and_lists_do_not_add_up(config):
    file = config({"model": ["vit_mini", "resnet_mini"], "eps": ["1/255", "2/255"], "limit": 7, "dry_run": True})
    for words in (["--config", file, "-m", "gfnet_mini"], ["-mgfnet_mini", f"--config={file}"]):
        found = parsed("robustness", *words)
        assert found.model == ["gfnet_mini"] and found.eps == ["1/255", "2/255"]
        assert found.limit == 7 and found.dry_run
        assert {"model", "eps", "limit", "dry_run", "config"} <= found.named and "seed" not in found.named


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("o.toml", 'model = ["vit_mini", "resnet_mini"]\neps = "1/255"\nlimit = 0.1\ndry_run = true\n'),
        ("o.yaml", "model: [vit_mini, resnet_mini]\neps: 1/255  # a remark\nlimit: 0.1\ndry-run: true\nseed: null\n"),
        ("o.yml", "model:\n- vit_mini\n- resnet_mini\neps: [1/255]\nlimit: .1\ndry_run: yes\n"),
        ("o", '{"model": ["vit_mini", "resnet_mini"], "eps": "1/255", "limit": 0.1, "dry_run": true}'),
    ],
)
def test_a_file_says_the_same_in_three_languages(name, text, config):
    found = parsed("robustness", "--config", config(text.encode(), name), "--seed", "4")
    assert (found.model, found.eps, found.limit) == (["vit_mini", "resnet_mini"], ["1/255"], 0.1)
    assert found.dry_run is True and found.seed == 4


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("o.yaml", b"model: [a", "expected a YAML file"),
        ("o.yaml", b"\x00", "expected a YAML file"),
        ("o.yaml", b"a: &a [x]\nmodel: [*a, *a]", "an alias (*)"),
        ("o.yaml", b"[" * 10_000, "expected"),
        ("o.yaml", b"1: a", "expected options by name"),
        ("o.yaml", b"!!python/object/apply:os.abort []", "expected a YAML file"),
        ("o.yaml", b"limit: 2020-01-01", "a word, a number or a list of these as 'limit'"),
        ("o.toml", b"model = [", "expected a TOML file"),
        ("o.toml", b"\xff", "expected a TOML file"),
        ("o.toml", b"[model]\na = 1", "a word, a number or a list of these as 'model'"),
        ("o.toml", b"limit = 2020-01-01", "a word, a number or a list of these as 'limit'"),
    ],
)
def test_what_a_file_in_another_language_cannot_say(name, content, message, config, capsys):
    assert main(["robustness", "--config", config(content, name)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_limit_is_a_number_or_a_share(capsys):
    assert [parsed("robustness", "--limit", text).limit for text in ("7", "0.1", ".25")] == [7, 0.1, 0.25]
    for text in ("0", "1.0", "1.5", "0.0", "-0.1", "1e-3", "nan"):
        assert "or a share such as 0.1, found" in refused(["robustness", "--limit", text], capsys)


def test_no_command_is_a_question_for_help(capsys):
    assert main([]) == 0
    assert all(command.NAME in capsys.readouterr().out for command in COMMANDS[:1])


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_shell_completes_commands_options_and_names(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("robustness", "attack-check", "count-only", "gfnet_mini", "imagenet_a", "glass_blur", "autoattack"):
        assert word in script


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_what_is_typed(tmp_path, capsys):
    main(["completion", "bash"])
    (tmp_path / "script").write_text(capsys.readouterr().out)
    typed = "COMP_WORDS=(gfnet-bench robustness --model gfnet_h); COMP_CWORD=3"
    ask = f"source {tmp_path}/script; {typed}; _shtab_gfnet_bench; echo ${{COMPREPLY[*]}}"
    found = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True).stdout
    assert found.split() == ["gfnet_h_ti", "gfnet_h_s", "gfnet_h_b"]


def test_a_later_file_wins_over_an_earlier_one(config):
    first, second = config({"limit": 1, "model": ["a", "b"]}), config({"model": ["c"], "seed": 5}, "second.json")
    found = parsed("robustness", "--config", first, "--config", second)
    assert (found.limit, found.model, found.seed) == (1, ["c"], 5)


def test_two_options_of_one_thing_are_one(config):
    assert parsed("robustness", "--config", config({"amp": True}), "--dtype", "bfloat16").dtype == "bfloat16"


def test_values_in_a_file_are_never_options(config, capsys):
    found = parsed("robustness", "--config", config({"model": ["--help", "-b8"], "eps": "-1/255"}))
    assert found.model == ["--help", "-b8"] and found.eps == ["-1/255"] and found.batch_size is None


def test_nothing_and_false_are_left_out(config):
    found = parsed("filters", "--config", config({"limit": None, "surgery": False, "heatmap": True, "seed": -3}))
    assert (found.limit, found.surgery, found.heatmap, found.seed) == (None, False, True, -3)
    assert "surgery" not in found.named


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a JSON file"),
        (b"\xff\xfe", "expected a JSON file"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b'{"limit": ' + b"9" * 5000 + b"}", "expected a JSON file"),
        (b" " * (1 << 20) + b"{}", "more than 1048576 bytes"),
        ([1], "expected options by name"),
        ({"limti": 5}, "did you mean --limit?"),
        ({"config": "other.json"}, "expected options of gfnet-bench robustness, found 'config'"),
        ({"help": True}, "found 'help'"),
        ({"item": ["table3"]}, "found 'item'"),
        ({"model": []}, "a word, a number or a list of these as 'model'"),
        ({"model": [["a"]]}, "as 'model', found [["),
        ({"model": {"a": 1}}, "as 'model'"),
        ({"limit": True}, "as 'limit', found true"),
        ({"limit": False}, "as 'limit', found false"),
        ({"dry_run": "yes"}, "expected true or false as 'dry-run'"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_a_file_cannot_say(content, message, config):
    with pytest.raises(UsageError, match=re.escape(message)):
        parsed("robustness", "--config", config(content))


@pytest.mark.parametrize("file", ["/dev/zero", "/proc/self/mem", ".", "no/such/file", "a" * 5000])
def test_what_is_no_file_of_options(file, capsys):
    assert main(["filters", "--config", file]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def refused(words, capsys):
    """The one line with which the command line is refused."""
    with pytest.raises(SystemExit) as ended:
        parsed(*words)
    out, err = capsys.readouterr()
    assert ended.value.code == 2 and not out
    assert err.startswith("gfnet-bench: ") and err.endswith("\n") and err.count("\n") == 1 and len(err) < 2500
    return err


@pytest.mark.parametrize("option", ["--lim", "--limt", "--output", "--conf", "--dat", "--mode"])
def test_half_an_option_is_no_option(option, capsys):
    assert "did you mean --" in refused(["robustness", option, "5"], capsys)


def test_a_negative_value_is_a_value(capsys):
    assert parsed("robustness", "--eps", "-1/255", "-.5", "-inf", "-nan").eps == ["-1/255", "-.5", "-inf", "-nan"]
    assert "found '-5'" in refused(["robustness", "--limit", "-5"], capsys)
    assert main(["robustness", "--suite", "mini", "--eps", "-1/255"]) == 2
    err = capsys.readouterr().err
    assert "expected a number from 0 to 1" in err and "found '-1/255'" in err


NUMBERS = ["nan", "inf", "-inf", "-1", "0", "", " ", "1e999", "9" * 5000, "-" + "9" * 5000, "٣", "१२", "1_0", "0x10"]
NUMBERS += ["²", "1.5.2", "+", "--", "1e-400", "½", "1,5", "\x00", "\n5", "None", "[1]", "1/0"]


def numeric(command):
    """The options of a command whose values are checked by a type."""
    sub = next(a for a in parser()._actions if a.choices).choices[command.NAME]
    return [a for a in sub._actions if a.option_strings and a.type and a.type.__name__ not in ("path", "label")]


CASES = [(command.NAME, action.option_strings[-1]) for command in COMMANDS for action in numeric(command)]


@pytest.mark.parametrize(("command", "option"), CASES)
def test_a_number_is_taken_as_it_is_meant_or_refused_in_a_line(command, option, capsys):
    positional = {"corrupt": ["a", "b"], "data": ["status"]}.get(command, [])
    taken, all_options = [], parser()
    for text in NUMBERS:
        try:
            found = parse(all_options, [command, *positional, f"{option}={text}"])
        except SystemExit as ended:
            assert ended.code == 2
        else:
            taken.append((text, getattr(found, option[2:].replace("-", "_"))))
        out, err = capsys.readouterr()
        assert not out and err.count("\n") <= 1 and len(err) < 2500
    for text, value in taken:
        assert text.isascii() and value in (float(text), [float(text)])


@pytest.mark.parametrize("option", ["--data-dir", "--output-dir", "--checkpoint", "--config"])
@pytest.mark.parametrize("value", ["", "a\0b"])
def test_no_path_is_empty_or_holds_a_null(option, value, capsys):
    assert "expected the name of a file or folder" in refused(["robustness", option, value], capsys)
