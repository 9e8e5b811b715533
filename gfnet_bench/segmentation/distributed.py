"""Several processes that train together, as torchrun starts them: torch's own DDP, and batch norms over all of them."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gfnet_bench.errors import GfnetBenchError


@dataclass(frozen=True)
class Group:
    """The processes; by default this one alone.

    Attributes:
        rank: of this one, from 0.
        size: how many.
        device: of this one.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def mean(self, value: Tensor) -> float:
        """The mean of a number over the processes."""
        if self.size == 1:
            return float(value)
        total = value.clone()
        dist.all_reduce(total)
        return float(total) / self.size


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Group]:
    """The group that torchrun's environment variables name, joined for the block.

    Raises:
        GfnetBenchError: if they are not what torchrun sets, or the others cannot be reached.
    """
    size = os.environ.get("WORLD_SIZE", "1")
    if size == "1":
        yield Group(device=device)
        return
    try:
        rank, local, count = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0")), int(size)
        if device.type == "cuda":
            device = torch.device("cuda", local)
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except (KeyError, ValueError, RuntimeError) as error:
        raise GfnetBenchError(
            f"expected the variables that torchrun sets, and the other processes, found WORLD_SIZE={size} "
            f"({error}); start it with torchrun, or unset WORLD_SIZE"
        ) from error
    try:
        yield Group(rank, count, device)
    finally:
        dist.destroy_process_group()


def wrapped(network: nn.Module, group: Group) -> nn.Module:
    """The network as it is to be called in training: its gradients averaged, its batch norms over all images."""
    if group.size == 1:
        return network
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _SyncedBatchNorm
    ids = [group.device.index] if group.device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(network, device_ids=ids)


def _summed(x: Tensor) -> Tensor:
    """The sum over all processes; gradients go back through it."""
    from torch.distributed.nn.functional import all_reduce

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # its successor is private, and not in all versions of torch
        return all_reduce(x)


class _SyncedBatchNorm(nn.BatchNorm2d):
    """A batch norm over equal shares of a batch; torch's own has no way to do that on a CPU, where it is tested."""

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and dist.is_initialized()):
            return super().forward(x)
        size = dist.get_world_size()
        inputs = x.float()
        mean = _summed(inputs.mean((0, 2, 3))) / size
        centred = inputs - mean[:, None, None]
        variance = _summed(centred.square().mean((0, 2, 3))) / size
        self._note(mean.detach(), variance.detach(), size * x.numel() // x.shape[1])
        ones, zeros = torch.ones_like(mean), torch.zeros_like(mean)
        scaled = centred * (variance + self.eps).rsqrt()[:, None, None]
        weight, bias = (ones if self.weight is None else self.weight), (zeros if self.bias is None else self.bias)
        return (scaled * weight[:, None, None] + bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _note(self, mean: Tensor, variance: Tensor, count: int) -> None:
        if self.running_mean is None or self.running_var is None or self.momentum is None:
            return
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
