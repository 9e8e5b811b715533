"""The command line, `gfnet-bench <command>`: which commands there are, and what their endings mean.

Exit status: 0 all measured; 1 something could not be measured (the rest is saved); 2 the command was not understood.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gfnet_bench import __version__
from gfnet_bench.commands import (
    attack_check,
    complexity,
    corrupt,
    data,
    doctor,
    filters,
    listing,
    paper,
    report,
    robustness,
)
from gfnet_bench.commands.options import with_config
from gfnet_bench.errors import GfnetBenchError, UsageError

COMMANDS = (paper, robustness, complexity, filters, attack_check, corrupt, report, data, doctor, listing)

EXAMPLES = """\
examples:
  gfnet-bench paper --suite mini                   the whole report in minutes; needs no data, no GPU, no network
  gfnet-bench robustness --model gfnet_s --data-dir DATA
  gfnet-bench data status --data-dir DATA
"""


def parser() -> argparse.ArgumentParser:
    """All options of all commands."""
    top = argparse.ArgumentParser(
        prog="gfnet-bench",
        description="How robust, how general and how costly image classifiers are.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"gfnet-bench {__version__}")
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = subparsers.add_parser(
            command.NAME,
            help=command.HELP,
            description=command.HELP[0].upper() + command.HELP[1:] + ".",
            epilog=command.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_options(sub)
        sub.set_defaults(run=command.run)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    try:
        arguments = parser().parse_args(with_config(sys.argv[1:] if argv is None else argv))
        return arguments.run(arguments)
    except UsageError as error:
        print(f"gfnet-bench: {error}", file=sys.stderr)
        return 2
    except GfnetBenchError as error:
        print(f"gfnet-bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("gfnet-bench: interrupted; the same command continues where this one stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        sys.stderr.close()
        return 1


if __name__ == "__main__":
    sys.exit(main())
