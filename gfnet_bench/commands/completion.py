"""`gfnet-bench completion`: what a shell needs to complete commands, options and names."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping

from gfnet_bench.commands import argtypes

NAME = "completion"
HELP = "completion of commands, options and names for a shell"
EXAMPLES = """\
examples:
  gfnet-bench completion bash > ~/.local/share/bash-completion/completions/gfnet-bench
  gfnet-bench completion zsh > ~/.zfunc/_gfnet-bench       where fpath has ~/.zfunc
"""
SHELLS = ("bash", "zsh", "tcsh")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which shell."""
    parser.add_argument("shell", choices=SHELLS)


def run(arguments: argparse.Namespace) -> int:
    """Print the shell's script; names are those of today, plug-ins of this command line included."""
    import shtab

    names = _names()
    for action in _actions(arguments.top):
        if action.dest in names and action.choices is None:
            action.choices = names[action.dest]
        elif action.type is argtypes.path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(arguments.top, arguments.shell), end="")
    return 0


def _names() -> Mapping[str, Iterable[str]]:
    """By the destination of the option that takes them."""
    from gfnet_bench.attacks.base import ATTACKS
    from gfnet_bench.catalog import CORRUPTIONS, MODELS
    from gfnet_bench.datasets.base import DATASETS
    from gfnet_bench.metrics import METRICS
    from gfnet_bench.mixers import MIXERS

    return {
        "model": list(MODELS),
        "reference": list(MODELS),
        "dataset": list(DATASETS),
        "attack": list(ATTACKS),
        "corruption": list(CORRUPTIONS),
        "metric": list(METRICS),
        "mixer": list(MIXERS),
    }


def _actions(parser: argparse.ArgumentParser) -> Iterable[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
