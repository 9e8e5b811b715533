"""The command line, `gfnet-bench <command>`: which commands there are, and what their endings mean.

Exit status: 0 all measured; 1 something could not be measured (the rest is saved); 2 the command was not understood;
130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gfnet_bench import __version__, interrupts, terminal
from gfnet_bench.commands import (
    attack_check,
    completion,
    complexity,
    corrupt,
    data,
    doctor,
    filters,
    listing,
    options,
    packing,
    paper,
    report,
    retry,
    robustness,
    segmentation,
    status,
    verify,
    work,
)
from gfnet_bench.commands.parser import Parser, parse
from gfnet_bench.errors import GfnetBenchError, UsageError, sentence

COMMANDS = (
    paper,
    robustness,
    complexity,
    filters,
    segmentation,
    attack_check,
    work,
    status,
    retry,
    corrupt,
    report,
    verify,
    data,
    doctor,
    packing,
    listing,
    completion,
)

EXAMPLES = """\
examples:
  gfnet-bench paper --suite mini                   the whole report in minutes; needs no data, no GPU, no network
  gfnet-bench robustness --model gfnet_s --data-dir DATA
  gfnet-bench data status --data-dir DATA
"""


def parser() -> argparse.ArgumentParser:
    """All options of all commands."""
    top = Parser(
        prog="gfnet-bench",
        description="How robust, how general and how costly image classifiers are.",
        epilog=EXAMPLES,
    )
    top.add_argument("--version", action="version", version=f"gfnet-bench {__version__}")
    options.add_plugin_option(top, "plugins_of_all")
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = subparsers.add_parser(
            command.NAME,
            help=command.HELP,
            description=command.HELP[0].upper() + command.HELP[1:] + ".",
            epilog=command.EXAMPLES,
        )
        command.add_options(sub)
        options.add_plugin_option(sub)
        sub.set_defaults(run=command.run, parser=sub, top=top, command=command.NAME)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    try:
        with terminal.screened():
            return _run(sys.argv[1:] if argv is None else argv)
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        return 1
    except OSError as error:  # standard output could not be written
        return _complain(sentence(error), 1)


def _run(argv: Sequence[str]) -> int:
    """What ends a command is told in a sentence, unless it is a mistake of ours: that shows its traceback."""
    try:
        if not argv:
            parser().print_help()
            return 0
        arguments = parse(parser(), argv)
        options.settle(arguments)
        with interrupts.doing(f"at work on {arguments.command}"):
            return arguments.run(arguments)
    except UsageError as error:
        return _complain(str(error), 2)
    except GfnetBenchError as error:
        return _complain(str(error), 1)
    except OSError as error:  # what it is about, a file, a disk, a network, is the user's
        return _complain(sentence(error), 1)
    except KeyboardInterrupt:
        return _complain(interrupts.farewell(), interrupts.STATUS)
    except MemoryError:
        return _complain("memory ran out; a smaller --batch-size or --limit, or fewer --workers, need less", 1)


def _complain(text: str, status: int) -> int:
    print(f"gfnet-bench: {terminal.one_line(terminal.shortened(text, 4000))}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
