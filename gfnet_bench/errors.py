"""The errors a user can act on: one sentence that says what was expected, what was found and what to do next."""

from __future__ import annotations


class GfnetBenchError(Exception):
    """A cell cannot be measured: its text is kept in the record, and the run goes on with the next cell."""


class UsageError(GfnetBenchError):
    """The command cannot be understood: printed as one line, exit status 2."""


class MissingError(GfnetBenchError):
    """Data or weights are not on this machine; the text says where they were looked for and how to get them."""
