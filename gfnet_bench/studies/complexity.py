"""Complexity: multiply-adds, latency and memory against the number of tokens, Table 1 and Figure 2 of the paper.

The subjects are single blocks that differ in their token mixer, as in the figure, or whole models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from gfnet_bench.errors import UsageError
from gfnet_bench.mixers import MIXERS
from gfnet_bench.mixers.self_attention import HEADS
from gfnet_bench.records import PROTOCOLS, Cell

STUDY = "complexity"

PATCH = 16
"""Pixels of a token: a model asked for n tokens gets images of this times the square root of n."""

SEGMENTATION_SIDES = (512, 1024)
"""Pixels of images that are segmented, in training and where the paper counts operations."""


TABLE1 = tuple(name for name in MIXERS if MIXERS[name].formula)
TABLE1_SETTINGS = {"measure": "table1", "subject": "mixer", "tokens": 196, "width": 384}


class Size(NamedTuple):
    """A model and the (height, width) of its images.

    Attributes:
        model: its name.
        img_size: in pixels.
        code: the hash of it, of a network of one's own.
        form: `fused` or `trained`, of a network that has two (see `models.reparameterized`); None of any other.
    """

    model: str
    img_size: tuple[int, int]
    code: str | None = None
    form: str | None = None


@dataclass(frozen=True)
class Options:
    """What decides a latency or a memory figure beside the subject and its size: stored in every such cell.

    Attributes:
        device: see `profiling.devices.device_key`.
        batch: images at a time.
        dtype: `float32`, `tf32`, or half precision under autocast: `bfloat16`, `float16`.
        mode: `forward`, or `forward_backward` (gradients to the weights, and to the input of a block).
        cuda_graphs: time the replay of a CUDA graph, which no launch can hold up.
    """

    device: dict[str, Any]
    batch: int = 32
    dtype: str = "float32"
    mode: str = "forward"
    cuda_graphs: bool = False


def count_cells(
    blocks: Sequence[str], tokens: Sequence[int], width: int, models: Sequence[Size], convention: str | None = None
) -> list[Cell]:
    """What is to be counted: each subject at each size, and the operations of Table 1 wherever blocks are asked for.

    Args:
        blocks: names in `MIXERS`.
        tokens: sizes of the blocks.
        width: features of the blocks.
        models: models, each with a size.
        convention: how FFTs and norms are charged; None is the paper's, `table1` for blocks, `authors` for models.
    """
    charge = {"measure": "count", "convention": convention or "table1"}
    found = [Cell(STUDY, PROTOCOLS[STUDY], b, {**charge, **_block(n, width)}) for n in tokens for b in blocks]
    found += [Cell(STUDY, PROTOCOLS[STUDY], mixer, TABLE1_SETTINGS) for mixer in (TABLE1 if blocks else ())]
    charge = {"measure": "count", "convention": convention or "authors"}
    found += [Cell(STUDY, PROTOCOLS[STUDY], m.model, {**charge, **_model(m)}) for m in models]
    return found


def segmentation_cells(backbones: Sequence[str]) -> list[Cell]:
    """Semantic FPN over each backbone, counted at the size of training crops and at that of the paper's Table 2."""
    sizes = [Size(name, (side, side)) for name in backbones for side in SEGMENTATION_SIDES]
    charge = {"measure": "count", "convention": "authors"}
    settings = [(size.model, {**charge, **_model(size), "subject": "semantic_fpn"}) for size in sizes]
    return [Cell(STUDY, PROTOCOLS[STUDY], name, chosen) for name, chosen in settings]


def timed_cells(
    blocks: Sequence[str], tokens: Sequence[int], width: int, models: Sequence[Size], options: Options
) -> list[Cell]:
    """What is to be measured on a device: memory, then latency, of each subject, small sizes first.

    Where one way is set for every global filter (`models.global_filter.filter_way`), it is a setting of the cells.
    """
    from gfnet_bench.models.global_filter import current_way

    subjects = [(b, _block(n, width)) for n in tokens for b in blocks] + [(m.model, _model(m)) for m in models]
    how = asdict(options)
    graphs = how.pop("cuda_graphs")
    how |= {"filter_way": current_way()} if current_way() != "auto" else {}
    return [
        Cell(STUDY, PROTOCOLS[STUDY], name, {"measure": measure, **subject, **how, **extra})
        for name, subject in subjects
        for measure, extra in (("memory", {}), ("latency", {"cuda_graphs": graphs}))
    ]


def _block(tokens: int, width: int) -> dict[str, Any]:
    return {"subject": "block", "tokens": tokens, "width": width}


def _model(size: Size) -> dict[str, Any]:
    height, width = size.img_size
    whole = height % PATCH == 0 and width % PATCH == 0
    tokens = height // PATCH * (width // PATCH) if whole else None
    code = {} if size.code is None else {"code": size.code}
    form = {"form": "fused"} if size.form == "fused" else {}  # cells of the other form are as they always were
    return {"subject": "model", "tokens": tokens, "img_size": list(size.img_size), **code, **form}


def check_width(width: int) -> None:
    """Raise UsageError if blocks cannot be that wide."""
    if width % HEADS or not HEADS <= width <= 65536:
        raise UsageError(f"--width {width}: expected a multiple of {HEADS}, the attention heads, up to 65532.")
