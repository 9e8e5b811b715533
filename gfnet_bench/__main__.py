"""The process `gfnet-bench`, also `python -m gfnet_bench`: Ctrl-C is answered before anything else is loaded."""

import sys


def main() -> int:
    """Run the command line in this process; its exit status."""
    try:
        from gfnet_bench import interrupts

        interrupts.answer()
    except KeyboardInterrupt:  # in the first milliseconds
        print("gfnet-bench: interrupted before it began; run the same command again", file=sys.stderr)
        return 130
    from gfnet_bench import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
