"""What the file of every record holds, whatever its study: read here, once, believing nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from gfnet_bench.files import open_regular
from gfnet_bench.schemas import attack_check, complexity, filters, robustness, segmentation
from gfnet_bench.schemas.arrays import unpack
from gfnet_bench.schemas.kinds import (
    COUNT,
    FLAG,
    OBJECT,
    TEXT,
    Beside,
    Fields,
    Unfit,
    check,
    check_plain,
    list_of,
    maybe,
    none_or,
    number,
    object_of,
    whole,
    word,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEMA = 1
"""The layout of a record file."""

STUDIES = {
    "robustness": robustness,
    "complexity": complexity,
    "filters": filters,
    "attack_check": attack_check,
    "segmentation": segmentation,
}
"""Each has `check_settings` and `check_values`."""

MOST_BYTES = 2**24
"""A record takes a few thousand, and some more where it names images that could not be read."""

_RECORD: Fields = {
    "schema": word(SCHEMA),
    "cell": OBJECT,
    "values": OBJECT,
    "error": none_or(TEXT),
    "artifacts": list_of(TEXT),
    "provenance": OBJECT,
}
_CELL: Fields = {"study": TEXT, "protocol": whole(0), "model": TEXT, "settings": OBJECT}
_PROVENANCE = maybe(
    {
        **dict.fromkeys(("gfnet_bench", "torch", "timm", "python", "machine", "commit", "device"), none_or(TEXT)),
        **dict.fromkeys(("weights_sha256", "weights_source", "weights_key", "label", "classes_by"), none_or(TEXT)),
        **dict.fromkeys(("data_sha256", "data_fingerprint", "ids_sha256"), none_or(TEXT)),
        "plugins": object_of(TEXT),
        "dirty": FLAG,
        "started": TEXT,
        "seconds": number(0),
        "params": COUNT,
        "batch_size": whole(1),
        "attack": OBJECT,
        "excluded": list_of(list_of(TEXT, 2)),
        "available": none_or(list_of(COUNT, 2)),
    }
)


def read_json(path: Path) -> Any:
    """What a file says.

    Raises:
        Unfit: if it is no JSON, or says what JSON does not.
        OSError: if it cannot be read.
    """
    with open_regular(path) as file:
        text = file.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise Unfit(f"found more than {MOST_BYTES} bytes")
    return parse_json(text)


def parse_json(text: bytes) -> Any:
    """What a text says.

    Raises:
        Unfit: if it is no JSON, or says what JSON does not.
    """
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_each_once, parse_constant=_no_number)
    except Unfit:
        raise
    except (ValueError, RecursionError) as error:
        raise Unfit(f"found a damaged file ({type(error).__name__}: {error})") from error


def check_record(content: Any) -> None:
    """Raise Unfit for what is no record of any study."""
    check_plain(content)
    if not isinstance(content, dict):
        raise Unfit(f"found {'nothing' if content is None else f'a {type(content).__name__}'} in place of an object")
    check(content, _RECORD)
    check(content["cell"], _CELL, "cell: ")
    check(content["provenance"], _PROVENANCE, "provenance: ")


def read_beside(
    path: Path, content: Mapping[str, Any], opened: Callable[[Path], IO[bytes]] = open_regular
) -> dict[str, NDArray[Any]]:
    """The arrays beside a record, once settings, values, names and arrays have been held against each other.

    Args:
        path: of the record.
        content: what it says, of the present protocol of its study.
        opened: opens the file of arrays, by its path.

    Raises:
        Unfit: if they do not agree.
        OSError: if the arrays cannot be read.
    """
    cell, values, artifacts = content["cell"], content["values"], content["artifacts"]
    file = path.with_suffix(".npz")
    study = STUDIES.get(cell["study"])
    if study is None:  # somebody's own, of which nothing is known
        return unpack(file, None, opened) if artifacts else {}
    study.check_settings(cell["settings"])
    if content["error"] is not None:
        check(content, {"values": word({}), "artifacts": word([])})
        return {}
    beside = study.check_values(cell["settings"], values)
    check(content, {"artifacts": word([file.name] if beside.arrays else [])})
    arrays = unpack(file, beside.arrays, opened) if beside.arrays else {}
    _check_agreement(values, beside, arrays)
    return arrays


def _check_agreement(values: Mapping[str, Any], beside: Beside, arrays: Mapping[str, NDArray[Any]]) -> None:
    for name, value in beside.follows(arrays).items():
        if name in values and not math.isclose(values[name], value, rel_tol=1e-5, abs_tol=1e-6):
            raise Unfit(f"{name} is {values[name]:g}, but its arrays say {value:g}")


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise Unfit("found a name twice in one object")
    return content


def _no_number(word: str) -> Any:
    raise Unfit(f"found {word} in place of a number")
