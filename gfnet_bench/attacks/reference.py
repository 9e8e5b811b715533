"""Any attack of torchattacks by name, `torchattacks:PGD`: an independent implementation to compare with.

Needs the extra `reference`. Our attacks never depend on it.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gfnet_bench.attacks.base import Predict, check_epsilon
from gfnet_bench.attacks.pgd import finite
from gfnet_bench.errors import MissingError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

PREFIX = "torchattacks:"

# Neither random nor coupled within a batch (by a shared stopping rule, say), read from their source. PGD joins them
# without a random start. Everything else runs image by image.
BATCHED = frozenset({"VANILA", "FGSM", "BIM", "MIFGSM", "NIFGSM", "SINIFGSM"})

# Their eps is a length in L2, for which the paper's 1/255 would be next to nothing.
L2 = frozenset({"PGDL2", "PGDRSL2"})


@dataclass(frozen=True)
class TorchAttack:
    """An attack of torchattacks; a field that is None is left to its constructor's default.

    torchattacks draws from the global generators, batch by batch. To keep one image's result independent of the
    others, an attack outside `BATCHED` sees one image at a time, with the generators set to that image's seed. That
    is slow; the generators' states are put back afterwards.

    Attributes:
        name: `torchattacks:` and the class name.
        version: of torchattacks.
        eps: radius of the ball.
        alpha: length of a step, absolute.
        steps: gradient steps.
        random_start: whether to start at a random point of the ball.
    """

    name: str
    version: str
    eps: float | None = None
    alpha: float | None = None
    steps: int | None = None
    random_start: bool | None = None

    def __call__(self, predict: Predict, images: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
        """See `Attack`.

        Raises:
            MissingError: if torchattacks is absent or another version than recorded.
        """
        import numpy as np
        import torch

        attack = _attacks(self.version)[self.name.removeprefix(PREFIX)]
        arguments = {key: value for key, value in asdict(self).items() if value is not None}
        del arguments["name"], arguments["version"]
        size = len(images) if self._batched else 1
        takes_seed = "seed" in inspect.signature(attack).parameters  # AutoAttack's default is the clock
        model = _pixel_model(predict, images)
        results = []
        with _generators_kept(), torch.enable_grad():
            for batch, label, seed in zip(images.split(size), labels.split(size), seeds[::size].tolist(), strict=True):
                torch.manual_seed(seed)
                np.random.seed(seed % 2**32)
                seeded = {"seed": seed} if takes_seed else {}
                results.append(attack(model, **arguments, **seeded)(batch, label).detach())
        return torch.cat(results)

    @property
    def _batched(self) -> bool:
        name = self.name.removeprefix(PREFIX)
        return name in BATCHED or (name == "PGD" and self.random_start is False)


def torch_attack(
    name: str,
    *,
    epsilon: float | None = None,
    steps: int | None = None,
    relative_step: float | None = None,
    random_start: bool | None = None,
) -> TorchAttack:
    """The torchattacks class called `name`, given those of our arguments that its constructor takes.

    Where nothing is stated, an L-infinity attack gets the paper's epsilon, 1/255, and one that walks in steps the
    paper's five steps of half that; the rest is left to torchattacks.

    Raises:
        MissingError: if torchattacks is not installed.
        UsageError: if it has no such attack.
    """
    attacks = _attacks()
    spelling = {known.lower(): known for known in attacks}
    if name.lower() not in spelling:
        near = difflib.get_close_matches(name.lower(), spelling, n=3)
        names = " or ".join(PREFIX + spelling[n] for n in near) if near else f"one of {', '.join(sorted(attacks))}"
        raise UsageError(f"unknown attack {PREFIX + name!r}; did you mean {names}?")
    name = spelling[name.lower()]
    takes = inspect.signature(attacks[name]).parameters
    if name not in L2:
        epsilon = 1 / 255 if epsilon is None else epsilon
        check_epsilon(epsilon)
        if {"alpha", "steps"} <= takes.keys():
            relative_step = 0.5 if relative_step is None else relative_step
            steps = 5 if steps is None else steps
    alpha = relative_step * epsilon if relative_step is not None and epsilon is not None else None
    wanted: dict[str, Any] = {"eps": epsilon, "alpha": alpha, "steps": steps, "random_start": random_start}
    return TorchAttack(PREFIX + name, _version(), **{key: value for key, value in wanted.items() if key in takes})


def _version() -> str:
    import torchattacks

    return str(torchattacks.__version__)


def _attacks(version: str | None = None) -> dict[str, type]:
    """Name -> class, without the wrappers that combine other attacks."""
    wanted = 'torchattacks: expected {}, found {}. Run: pip install "gfnet-bench[reference]"'
    try:
        import torchattacks
    except ImportError as error:
        raise MissingError(wanted.format("the package", str(error))) from error
    if version not in (None, torchattacks.__version__):
        raise MissingError(wanted.format(f"version {version}", torchattacks.__version__))
    names = set(torchattacks.__all__) - set(torchattacks.__wrapper__)
    return {name: getattr(torchattacks, name) for name in sorted(names)}


def _pixel_model(predict: Predict, images: Tensor) -> Any:
    """`predict` as the module torchattacks wants: in eval mode, its first parameter on the device to work on.

    It takes pixels in [0, 1] and nothing is said about normalisation, which torchattacks would otherwise apply itself.
    """
    import torch

    class PixelModel(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.device = torch.nn.Parameter(images.new_empty(0), requires_grad=False)

        def forward(self, pixels: Tensor) -> Tensor:
            return finite(predict(pixels))

    return PixelModel().eval()


@contextmanager
def _generators_kept() -> Iterator[None]:
    """Put the global generators of torch (every device) and NumPy back as they were."""
    import numpy as np
    import torch

    state = np.random.get_state()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        np.random.set_state(state)
