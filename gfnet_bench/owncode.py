"""Code of one's own is run: its folder is importable, its prints are no results, and what goes wrong is its line."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from gfnet_bench.errors import GfnetBenchError, UsageError, out_of_memory
from gfnet_bench.files import resolved
from gfnet_bench.interrupts import never_swallowed
from gfnet_bench.sourcecode import ALIAS, Code, importable

_neighbours: dict[str, Path] = {}
"""Modules that a file brought from its folder, and that folder: the `utils` of another file is another one."""


@contextlib.contextmanager
def running(code: Code) -> Iterator[None]:
    """A block that runs code of one's own: its folder is importable, it prints to stderr, what it raises is a sentence.

    Raises:
        UsageError: in place of whatever it raises; the text names its line.
        GfnetBenchError: if memory runs out.
    """
    root = resolved(code.root) if code.is_file else Path.cwd()
    for name, folder in list(_neighbours.items()):
        if code.is_file and folder != root:
            sys.modules.pop(name, None)
            del _neighbours[name]
    before = set(sys.modules)
    try:
        with importable(root), never_swallowed(), contextlib.redirect_stdout(sys.stderr):
            yield
    except UsageError:
        raise
    except (Exception, SystemExit) as error:  # anybody's code may raise anything, and may call sys.exit
        if out_of_memory(error):
            raise GfnetBenchError(f"{code}: memory ran out while it was run; free some.") from error
        _blame(code, error)
    finally:
        sources = {str(resolved(file)) for file in code.sources()} if code.is_file else set()
        for name in set(sys.modules) - before:
            place = getattr(sys.modules[name], "__file__", None)
            if place and not name.startswith(ALIAS) and str(resolved(place)) in sources:
                _neighbours[name] = root


def module_of(code: Code) -> ModuleType:
    """What running it gives, once: a file that was edited since is run anew."""
    if not code.is_file:
        return importlib.import_module(code.place)
    file = code.file
    # Under a name that is no other's: a file called numpy.py takes no place.
    name = f"{ALIAS}{hashlib.sha256(f'{resolved(file)} {code.sha256()}'.encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look classes up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _blame(code: Code, error: BaseException) -> NoReturn:
    """Say what code of one's own raised, and where: the last line of it that was being run."""
    sources = {resolved(file) for file in code.sources()}
    frames = traceback.extract_tb(error.__traceback__)
    own = [(f.filename, f.lineno) for f in frames if resolved(f.filename) in sources]
    if isinstance(error, SyntaxError) and error.filename:
        own.append((error.filename, error.lineno))
    file, line = own[-1] if own else (str(code.file), None)
    where = f"{Path(file).name}, line {line}" if line else Path(file).name
    reason = " ".join(str(error).split())[:300]
    raise UsageError(f"{code}: raised {type(error).__name__}{f': {reason}' if reason else ''} ({where})") from error
