"""Any attack of torchattacks by name, `torchattacks:PGD`: an independent implementation to compare with.

Needs the extra `reference`. Our attacks never depend on it.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gfnet_bench.attacks.base import Predict, check_epsilon
from gfnet_bench.attacks.pgd import loss_gradient
from gfnet_bench.errors import GfnetBenchError, MissingError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from gfnet_bench.watch import Watch

PREFIX = "torchattacks:"

# What an attack keeps small, where it is not the L-infinity distance.
NORMS = {
    **dict.fromkeys(("CW", "DeepFool", "PGDL2", "PGDRSL2"), "l2"),
    **dict.fromkeys(("OnePixel", "Pixle", "SparseFool"), "l0"),
    **dict.fromkeys(("GN", "VANILA"), None),
}

# Neither random nor coupled within a batch (by a shared stopping rule, say), read from their source. PGD joins them
# without a random start. Everything else runs image by image.
BATCHED = frozenset({"VANILA", "FGSM", "BIM", "MIFGSM", "NIFGSM", "SINIFGSM"})

# They call `view` on tensors strided like the images, so they need plain (b, c, h, w) memory. The others keep the
# strides that they are given, since their random numbers follow them: the same seed must give the same image.
PLAIN = frozenset({"AutoAttack", "FAB", "PGDL2", "PGDRS", "PGDRSL2", "SparseFool"})


@dataclass(frozen=True)
class TorchAttack:
    """An attack of torchattacks; a field that is None is left to its constructor's default.

    torchattacks draws from the global generators, batch by batch. To keep one image's result independent of the
    others, an attack outside `BATCHED` sees one image at a time, with the generators set to that image's seed. That
    is slow; the generators' states are put back afterwards.

    Attributes:
        name: `torchattacks:` and the class name.
        version: of torchattacks.
        eps: radius of the ball, in `norm`.
        alpha: length of a step, absolute.
        steps: gradient steps.
        random_start: whether to start at a random point of the ball.
    """

    cites: ClassVar[tuple[str, ...]] = ("kim2020torchattacks",)

    name: str
    version: str
    eps: float | None = None
    alpha: float | None = None
    steps: int | None = None
    random_start: bool | None = None

    @property
    def norm(self) -> str | None:
        """See `Attack`."""
        return norm_of(self.name)

    @property
    def epsilon(self) -> float | None:
        """See `Attack`; the constructor's default where `eps` is left to it."""
        return self.eps if self.eps is not None else _defaults(_attacks(self.version)[self._class]).get("eps")

    def __call__(self, predict: Predict, images: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
        """See `Attack`.

        Raises:
            MissingError: if torchattacks is absent or another version than recorded.
            GfnetBenchError: if it cannot work on these images or that many classes.
        """
        import torch

        from gfnet_bench.watch import watched

        if self.norm == "l2" and self.epsilon == 0:  # they divide by the length of what is left, which is 0
            return images.detach().clone()
        size = len(images) if self._batched else 1
        parts = [slice(start, start + size) for start in range(0, len(images), size)]
        plain = images.contiguous() if self._class in PLAIN else images
        results = []
        with _generators_kept(), torch.enable_grad(), watched(predict, images, labels) as watch:
            for part, seed in zip(parts, seeds[::size].tolist(), strict=True):
                results.append(self._run(watch.of(part), plain[part], labels[part], seed))
            if watch.passes["forward"] and not watch.passes["backward"]:  # CW and Jitter have a gradient of their own
                loss_gradient(watch.predict, images[:1], labels[:1])
        return torch.cat(results)

    def _run(self, watch: Watch, images: Tensor, labels: Tensor, seed: int) -> Tensor:
        """The attack on images that it may see together."""
        import numpy as np
        import torch

        attack = _attacks(self.version)[self._class]
        arguments = {key: value for key, value in asdict(self).items() if value is not None}
        del arguments["name"], arguments["version"]
        takes = _defaults(attack)
        if "seed" in takes:  # AutoAttack's default is the clock
            arguments["seed"] = seed
        if "n_classes" in takes:  # 10 by default, of which it aims at the likeliest; there may be fewer
            with torch.no_grad():
                arguments["n_classes"] = min(watch(images).shape[1], takes["n_classes"])
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        model = _pixel_model(watch)
        try:
            return attack(model, **arguments)(images, labels).detach()
        except Exception as error:
            if error is model.error:
                raise
            problem = watch.fault()
            if problem is not None:
                raise problem from error
            loss_gradient(watch.predict, images[:1], labels[:1])  # raises if the model gives none
            if isinstance(error, (RuntimeError, MemoryError)):  # of torch; memory among them
                raise
            raise GfnetBenchError(
                f"{self.name} does not work on {tuple(images.shape[1:])} images and this model's classes "
                f"({type(error).__name__}: {error}); try another attack"
            ) from error
        finally:
            model.watch = None

    @property
    def _class(self) -> str:
        return self.name.removeprefix(PREFIX)

    @property
    def _batched(self) -> bool:
        return self._class in BATCHED or (self._class == "PGD" and self.random_start is False)


def norm_of(name: str) -> str | None:
    """What an attack of torchattacks keeps small: see `Attack`."""
    return NORMS.get(name[len(PREFIX) :], "linf")


_FIELDS = {"epsilon": float, "alpha": float, "steps": int, "relative_step": float, "random_start": bool}
"""What can be stated of an attack that takes it."""


def fields_of(name: str) -> dict[str, type]:
    """What can be stated of an attack of torchattacks, and the type of each; see `torch_attack`."""
    takes = _defaults(_named(name)[1])
    needs = {"epsilon": {"eps"}, "relative_step": {"eps", "alpha"}}
    return {key: kind for key, kind in _FIELDS.items() if needs.get(key, {key}) <= takes.keys()}


def torch_attack(
    name: str,
    *,
    epsilon: float | None = None,
    alpha: float | None = None,
    steps: int | None = None,
    relative_step: float | None = None,
    random_start: bool | None = None,
) -> TorchAttack:
    """The torchattacks class called `name`, `torchattacks:` included, in any capitals.

    Where nothing is stated, an L-infinity attack gets the paper's epsilon, 1/255, and one that walks in steps the
    paper's five steps of half that. An attack in L2 gets torchattacks' own radius (1.0) and steps (10, each a fifth
    of the radius). The rest is left to torchattacks.

    Raises:
        MissingError: if torchattacks is not installed.
        UsageError: if it has no such attack, or a value makes no sense.
    """
    if alpha is not None and relative_step is not None:
        raise UsageError(f"{name}: expected one length of its steps, found alpha and relative_step; leave one out")
    name, attack = _named(name)
    norm, takes = NORMS.get(name, "linf"), _defaults(attack)
    usual: dict[str, Any] = {"eps": 1 / 255, "alpha": 0.5 / 255, "steps": 5} if norm == "linf" else takes
    if "eps" in takes:
        epsilon = float(usual["eps"]) if epsilon is None else epsilon
        check_epsilon(epsilon, norm)
        if {"alpha", "steps"} <= takes.keys():
            relative_step = usual["alpha"] / usual["eps"] if relative_step is None else relative_step
            steps = usual["steps"] if steps is None else steps
    if alpha is None and relative_step is not None and epsilon is not None:
        alpha = relative_step * epsilon
    wanted: dict[str, Any] = {"eps": epsilon, "alpha": alpha, "steps": steps, "random_start": random_start}
    return TorchAttack(PREFIX + name, _version(), **{key: value for key, value in wanted.items() if key in takes})


def _named(name: str) -> tuple[str, type]:
    """The class that is meant, and what torchattacks calls it."""
    attacks = _attacks()
    spelling = {known.lower(): known for known in attacks}
    member = name[len(PREFIX) :].lower()
    if member not in spelling:
        near = difflib.get_close_matches(member, spelling, n=3)
        names = " or ".join(PREFIX + spelling[n] for n in near) if near else f"one of {', '.join(sorted(attacks))}"
        raise UsageError(f"unknown attack {name!r}; did you mean {names}?")
    return spelling[member], attacks[spelling[member]]


def _defaults(attack: type) -> dict[str, Any]:
    """The arguments of its constructor but the model, and their defaults."""
    return {name: p.default for name, p in inspect.signature(attack).parameters.items() if name != "model"}


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


def _pixel_model(watch: Watch) -> Any:
    """`watch` as the module torchattacks wants: in eval mode, its first parameter on the device to work on.

    It takes pixels in [0, 1] and nothing is said about normalisation, which torchattacks would otherwise apply itself.
    """
    import torch

    class PixelModel(torch.nn.Module):
        def __init__(self, watch: Watch) -> None:
            super().__init__()
            self.device = torch.nn.Parameter(torch.empty(0, device=watch.logits.device), requires_grad=False)
            self.watch: Watch | None = watch  # until the attack is over: torchattacks and classes keep themselves alive
            self.error: Exception | None = None

        def forward(self, pixels: Tensor) -> Tensor:
            assert self.watch is not None
            shown = pixels.view_as(pixels)
            if shown.requires_grad and pixels.is_contiguous():  # then so is the gradient: see `PLAIN`
                shown.register_hook(torch.Tensor.contiguous)
            try:
                return self.watch(shown)
            except Exception as error:  # the model's own, not torchattacks'
                self.error = error
                raise

    return PixelModel(watch).eval()


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
