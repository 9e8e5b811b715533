"""Why a measured number may differ from a published one: what its cell and the quoted figure say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from gfnet_bench.metrics import METRICS
from gfnet_bench.perturbations import Corrupted, from_settings
from gfnet_bench.published import Published

SPREAD = 0.3
"""Points: what the same weights differ by from one environment to the next (0.1 to 0.3, README of the RVT code)."""


class Reason(NamedTuple):
    """One thing that differs: a word for a table, and a sentence."""

    word: str
    sentence: str


def departures(settings: Mapping[str, Any]) -> list[Reason]:
    """What a cell does otherwise than the paper's protocol."""
    found = []
    if settings.get("limit") is not None:
        some = settings["limit"]
        sample = f"a sample of {some} images" if isinstance(some, int) else f"a sample, {some:.4g} of the images"
        found.append(Reason("sample", f"{sample}, not the whole set"))
    if settings.get("dtype", "float32") != "float32":
        found.append(Reason("precision", f"computed in {settings['dtype']}, not float32"))
    if settings.get("checkpoint") is not None:
        found.append(Reason("weights", f"weights of your own (sha256 {settings['checkpoint'][:8]})"))
    if settings.get("img_size") is not None:
        size = " x ".join(str(side) for side in settings["img_size"])
        found.append(Reason("size", f"images of {size} pixels, not of the model's own size"))
    if settings.get("transform") == "model":
        found.append(Reason("transform", "the model's own resize and crop, not the paper's"))
    perturbation = settings.get("perturbation")
    done = from_settings(perturbation) if isinstance(perturbation, Mapping) else None
    if isinstance(done, Corrupted) and done.recipe is not None:
        found.append(Reason("generated", f"corrupted here by the recipe {done.recipe}, not the published files"))
    return found


def explained(
    difference: float, settings: Mapping[str, Any], quoted: Published, metric: str, *, complete: bool = True
) -> str:
    """Words for what may explain a difference in points: `spread` if small, else every reason, else `no`.

    Args:
        difference: ours minus published.
        settings: of the row; those of timm's figures are the model's own transform.
        quoted: the figure it is held against.
        metric: its name; points of corruption errors are no accuracies.
        complete: whether every image of the set was scored; if not, that is named before anything else.
    """
    if complete and METRICS[metric].over != "corruptions" and abs(difference) <= SPREAD:
        return "spread"
    words = [] if complete else ["incomplete"]
    words += [reason.word for reason in departures(settings) if reason.word != "transform"]
    words += ["figure"] if quoted.doubtful or not quoted.verified else []
    return ", ".join(words) or "no"


EXPLAINED = {
    "spread": f"no more than {SPREAD} points, what one environment differs from the next",
    "incomplete": "images of the set are missing or could not be read",
    "sample": "a sample of the images",
    "precision": "another precision than float32",
    "weights": "weights of your own",
    "size": "another image size",
    "generated": "images corrupted here, not the published files",
    "figure": "the published figure is quoted from memory",
    "no": "nothing in the records explains it",
}
"""The words of `explained`, for the notes of a table."""
