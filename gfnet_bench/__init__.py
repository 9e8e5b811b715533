"""gfnet-bench: how robust, how general and how costly image classifiers are.

    import gfnet_bench as gb

    model = gb.wrap(net, mean=0.5, std=0.25)  # any nn.Module, or gb.load_model("gfnet_s")
    images = gb.load_images("imagenet_a", "data")  # or a folder of images of one's own
    result = gb.evaluate(model, images, attack=gb.PGD(epsilon=4 / 255))
    result.top1, result.interval("top1")

The names below are all there is to know; each is loaded when it is first used, and importing this loads neither torch
nor NumPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.3.0"

if TYPE_CHECKING:
    from gfnet_bench.api.evaluate import evaluate
    from gfnet_bench.api.image_set import images_of_arrays, load_images
    from gfnet_bench.api.models import load_model, wrap
    from gfnet_bench.api.studies import complexity, robustness
    from gfnet_bench.attacks.fgsm import FGSM
    from gfnet_bench.attacks.pgd import PGD
    from gfnet_bench.errors import GfnetBenchError
    from gfnet_bench.perturbations import Corrupted as Corruption
    from gfnet_bench.store import Store

_PLACES = {
    "FGSM": "attacks.fgsm",
    "PGD": "attacks.pgd",
    "Corruption": "perturbations:Corrupted",
    "GfnetBenchError": "errors",
    "Store": "store",
    "complexity": "api.studies",
    "evaluate": "api.evaluate",
    "images_of_arrays": "api.image_set",
    "load_images": "api.image_set",
    "load_model": "api.models",
    "robustness": "api.studies",
    "wrap": "api.models",
}
"""Where each name is, and what it is called there if that is something else."""

__all__ = [
    "FGSM",
    "PGD",
    "Corruption",
    "GfnetBenchError",
    "Store",
    "complexity",
    "evaluate",
    "images_of_arrays",
    "load_images",
    "load_model",
    "robustness",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    module, _, called = _PLACES[name].partition(":")
    found = getattr(import_module(f"{__name__}.{module}"), called or name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
