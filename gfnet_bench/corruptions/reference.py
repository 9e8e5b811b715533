"""The corruptions as the package imagecorruptions 1.1.2 makes them, repeatable and in a current environment.

Needs the extra `reference`. Not the published ImageNet-C: that one was made by another script and saved as JPEG.

The package no longer runs as it is, draws from NumPy's global generator, and would have to be patched. What is
patched here is a private copy of its module, loaded from its file, in which the names `np`, `sk`, `cv2`, `gaussian`
and `resource_filename` mean something else; the package itself and NumPy stay as they are for everybody else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib import metadata
from importlib.machinery import SourceFileLoader
from pathlib import Path
from threading import Lock
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gfnet_bench.catalog import CORRUPTIONS
from gfnet_bench.corruptions.batch import SMALLEST, check_severity
from gfnet_bench.errors import GfnetBenchError, MissingError

VERSION = "1.1.2"  # another one gives other bytes

_generator_in_use = Lock()


def corrupt_reference(images: NDArray[np.uint8], name: str, severity: int, seeds: Sequence[int]) -> NDArray[np.uint8]:
    """Corrupted images; each one depends on its own pixels and seed alone.

    Args:
        images: (n, h, w, 3) uint8, sides of 32 pixels or more.
        name: one of `CORRUPTIONS`.
        severity: 1 to 5.
        seeds: n non-negative integers, of which the low 32 bits count (NumPy's old generator takes no more).

    Returns:
        (n, h, w, 3) uint8.

    Raises:
        UsageError: if the name or the severity is unknown.
        GfnetBenchError: if the images are not of that shape and type.
        MissingError: if imagecorruptions is not installed.
    """
    name = CORRUPTIONS[name].name
    check_severity(severity)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or min(images.shape[1:3]) < SMALLEST:
        raise GfnetBenchError(
            f"{name}: expected images (n, h, w, 3) uint8 with sides of {SMALLEST} pixels or more, "
            f"found {images.shape} {images.dtype}. Resize or convert them first."
        )
    package = _package()
    with _generator_in_use:
        pairs = zip(images, seeds, strict=True)
        return np.stack([_corrupt_one(package, image, name, severity, seed) for image, seed in pairs])


def _corrupt_one(package: Any, image: NDArray[np.uint8], name: str, severity: int, seed: int) -> NDArray[np.uint8]:
    # The same stream as np.random.seed(seed) and the global functions, without touching them.
    package.np.random = np.random.RandomState(seed % 2**32)
    corrupted = getattr(package, name)(Image.fromarray(image), severity)
    return np.asarray(corrupted).astype(np.uint8)


class NumpyDraws:
    """`Draws` as the package draws them: from NumPy's old generator, one an image, in the order its functions ask.

    With them our corruptions get the numbers that `corrupt_reference` gets for the same seeds.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        """One stream for each seed, of which the low 32 bits count."""
        self._states = [np.random.RandomState(int(seed) % 2**32) for seed in seeds]

    def uniform(self, low: float, high: float, shape: Sequence[int]) -> Tensor:
        """(b, *shape) float64 in [low, high)."""
        return self._each(lambda state: state.uniform(low, high, shape))

    def normal(self, shape: Sequence[int]) -> Tensor:
        """(b, *shape) float64 of mean 0 and standard deviation 1."""
        return self._each(lambda state: state.normal(size=shape))

    def integers(self, low: int, high: int | Tensor, shape: Sequence[int]) -> Tensor:
        """(b, *shape) int64 in [low, high); `high` may be (b,)."""
        highs = torch.as_tensor(high).expand(len(self._states)).tolist()
        drawn = [
            np.asarray(state.randint(low, high, shape), dtype=np.int64)
            for state, high in zip(self._states, highs, strict=True)
        ]
        return torch.from_numpy(np.stack(drawn))

    def poisson(self, levels: Tensor, scale: float) -> Tensor:
        """(b, ...) int64 of mean levels / 255 * scale."""
        rates = levels.numpy() / 255.0 * scale
        drawn = [state.poisson(rate) for state, rate in zip(self._states, rates, strict=True)]
        return torch.from_numpy(np.stack(drawn))

    def _each(self, draw: Callable[[np.random.RandomState], Any]) -> Tensor:
        return torch.from_numpy(np.stack([np.asarray(draw(state)) for state in self._states]))


@lru_cache(maxsize=1)
def _package() -> Any:
    """The patched private copy of `imagecorruptions.corruptions`."""
    wanted = f'imagecorruptions: expected version {VERSION}, found {{}}. Run: pip install "gfnet-bench[reference]"'
    try:
        installed = metadata.distribution("imagecorruptions")
        import cv2
        import skimage
        from scipy.ndimage import map_coordinates
        from skimage.filters import gaussian
        from skimage.util import random_noise
    except ImportError as error:
        raise MissingError(wanted.format(f"none that can be imported ({error})")) from error
    if installed.version != VERSION:
        raise MissingError(wanted.format(installed.version))

    folder = Path(str(installed.locate_file("imagecorruptions")))
    package: Any = ModuleType("_imagecorruptions")
    # Both are gone or going (setuptools 81, SciPy 2), and one function of each is all that is used.
    gone = {
        "pkg_resources": {"resource_filename": lambda _, path: str(folder / path)},
        "scipy.ndimage.interpolation": {"map_coordinates": map_coordinates},
    }
    with _stand_ins(gone):
        SourceFileLoader(package.__name__, str(folder / "corruptions.py")).exec_module(package)

    numpy = SimpleNamespace(**{**vars(np), "float_": np.float64})  # the alias went with NumPy 2

    def gaussian_with_multichannel(image: Any, *args: Any, multichannel: bool = False, **options: Any) -> Any:
        return gaussian(image, *args, channel_axis=-1 if multichannel else None, **options)

    def seeded_noise(image: Any, **options: Any) -> Any:
        # Left alone, scikit-image seeds a fresh generator from the system: impulse_noise would never repeat.
        return random_noise(image, rng=numpy.random.randint(2**31), **options)

    spatter = package.spatter

    def spatter_or_nothing(image: Any, severity: int) -> Any:
        # The drops are divided by the strongest one, and a small image may get none: 0 / 0 everywhere.
        try:
            with np.errstate(invalid="raise"):
                return spatter(image, severity)
        except FloatingPointError:
            return image

    package.np = numpy
    package.sk = SimpleNamespace(color=skimage.color, util=SimpleNamespace(random_noise=seeded_noise))
    package.spatter = spatter_or_nothing
    package.gaussian = gaussian_with_multichannel
    # Frost reads its texture anew for every image, which is most of its time on small ones.
    package.cv2 = SimpleNamespace(**{**vars(cv2), "imread": lru_cache(cv2.imread)})
    return package


@contextmanager
def _stand_ins(modules: dict[str, dict[str, Any]]) -> Iterator[None]:
    """Modules of these names and contents, whatever is installed, for as long as the context lasts."""
    before = {name: sys.modules[name] for name in modules if name in sys.modules}
    for name, contents in modules.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(contents)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]
        sys.modules.update(before)
