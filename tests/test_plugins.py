"""Plug-ins: what a file or a package outside brings is like what is built in, and what is wrong with one is said."""

import sys
from pathlib import Path

import pytest

from gfnet_bench import plugins
from gfnet_bench.attacks import ATTACKS
from gfnet_bench.cli import main
from gfnet_bench.errors import UsageError
from gfnet_bench.files import resolved
from gfnet_bench.suites import SUITES

TOYS = Path(__file__).parent / "plugins"


@pytest.fixture(autouse=True)
def _apart():
    with plugins.apart():
        yield


def package(folder, name, entries, **modules):
    """An installed package, as Python finds it, with entry points and modules."""
    info = folder / f"{name}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("".join(f"[gfnet_bench.{g}]\n{line}\n" for g, line in entries.items()))
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text)


def test_a_package_brings_what_it_declares_once_it_is_asked_for(tmp_path, monkeypatch, capsys):
    text = (TOYS / "toy_suite.py").read_text()
    package(tmp_path, "toys", {"suites": "toy = toysuite"}, toysuite=text)
    package(tmp_path, "broken", {"attacks": "crash = crashing", "metrics": "m = gone"}, crashing="1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    assert SUITES["mini"].name == "mini" and "toysuite" not in sys.modules, "nothing that is here needs it"
    assert SUITES["toy"].title == "Toys"
    assert SUITES.origin("toy").name == "toysuite of toys 1.2" and SUITES.origin("mini") is None
    assert "crashing" not in sys.modules, "it brings attacks, and nobody asked for one"
    assert ATTACKS["pgd"] and main(["list", "attacks"]) == 0
    crashed = "plug-in crashing of broken 1.2: raised ZeroDivisionError: division by zero (crashing.py, line 1)"
    assert capsys.readouterr().err == f"left out: {crashed}\n"
    with pytest.raises(UsageError) as told:
        ATTACKS["crash"]
    assert str(told.value) == crashed
    assert main(["list", "metrics"]) == 0
    assert "expected a module gone, found none here or installed" in capsys.readouterr().err


def test_an_entry_point_may_name_the_thing_itself(tmp_path, monkeypatch):
    text = "from gfnet_bench.suites import Suite\nTOY = Suite('other', 'Others', 'others')\n"
    package(tmp_path, "others", {"suites": "other = others_here:TOY"}, others_here=text)
    monkeypatch.syspath_prepend(tmp_path)
    assert SUITES["other"].title == "Others" and SUITES.origin("other").version == "others 1.2"


WRONG = {
    "takes constants": (
        "from gfnet_bench.corruptions.base import corruption\n"
        "corruption('fog', imagenet_c=(1, 2, 3, 4, 5))(lambda images, level, draws: images)",
        "corruption 'fog by imagenet_c': expected a name of its own, found one that gfnet-bench itself has",
    ),
    "lacks a group": (
        "from gfnet_bench.corruptions.base import corruption\n"
        "corruption('rain', imagenet_c=(1, 2, 3, 4, 5))(lambda images, level, draws: images)",
        "raised ValueError: rain: expected group=..., since ImageNet-C has no such corruption, found none (wrong.py,",
    ),
    "raises": ("import nothing_of_this_name", "raised ModuleNotFoundError: No module named 'nothing_of_this_name'"),
    "does not parse": ("x = (", "raised SyntaxError: '(' was never closed"),
    "exits": ("raise SystemExit(0)", "raised SystemExit: 0"),
    "takes a name": (
        "from gfnet_bench.suites import SUITES\nSUITES.add('Mini', SUITES['mini'])",
        "suite 'Mini': expected a name of its own, found one that gfnet-bench itself has; rename that of wrong.py",
    ),
    "takes another's name": (
        (TOYS / "toy_suite.py").read_text(),
        "suite 'toy': expected a name of its own, found one that toy_suite.py has; rename that of wrong.py",
    ),
}


@pytest.mark.parametrize(("text", "told"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_a_file_is_said_in_a_sentence_and_none_of_it_stays(
    text, told, tmp_path, monkeypatch, capsys
):
    plugins.load(TOYS / "toy_suite.py")
    known = list(SUITES)
    (tmp_path / "wrong.py").write_text(
        "from gfnet_bench.suites import SUITES, Suite\nSUITES.add('x', Suite('x', 'x', 'x'))\n" + text
    )
    assert main(["list", "suites", "--plugin", str(tmp_path / "wrong.py")]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"gfnet-bench: plug-in wrong.py: {told}") and err.count("\n") == 1 and not out
    assert list(SUITES) == known
    with plugins.apart():  # of the environment: only what needs it fails
        monkeypatch.setenv(plugins.VARIABLE, str(tmp_path / "wrong.py"))
        if "toy_suite" not in told:
            assert main(["list", "suites"]) == 0
            assert capsys.readouterr().err.startswith(f"left out: plug-in wrong.py: {told}")
            with pytest.raises(UsageError, match="unknown suite 'x'; plug-in wrong"):
                SUITES["x"]


def test_a_file_that_was_edited_is_loaded_anew(tmp_path):
    file = tmp_path / "suite.py"
    for title in ("Toys", "Games"):
        file.write_text((TOYS / "toy_suite.py").read_text().replace("Toys", title))
        plugins.load(file)
        plugins.load(file)
        assert SUITES["toy"].title == title


def test_files_of_the_environment_are_known_everywhere(monkeypatch):
    monkeypatch.setenv(plugins.VARIABLE, str(TOYS / "toy_suite.py"))
    assert SUITES["toy"].title == "Toys"


def test_links_in_a_circle_lead_to_no_file(tmp_path, capsys):
    (tmp_path / "circle.py").symlink_to("circle.py")
    assert main(["list", "suites", "--plugin", str(tmp_path / "circle.py")]) == 2
    assert "found no such file" in capsys.readouterr().err
    assert resolved(tmp_path / "circle.py").name == "circle.py"
