"""`gfnet-bench work`: one worker of a run; any number may be started, at any time, wherever the folder is."""

from __future__ import annotations

import argparse

from gfnet_bench.commands import spreading

NAME = "work"
HELP = "measure what is left of a run that --plan-only wrote, together with all others who do"
EXAMPLES = """\
examples:
  gfnet-bench robustness --suite mini --plan-only run.json
  gfnet-bench work run.json                        in as many terminals, jobs or containers as there are
  gfnet-bench status run.json
  gfnet-bench retry run.json
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which run."""
    spreading.add_run_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Claim and measure until nothing is left, then do what the command does at its end; its exit status."""
    _, command = spreading.of_run(arguments.file, arguments.top)
    return command.run(command)
