"""A device that counts bytes, for tests: tensors that do not fit beside those still alive raise what torch raises."""

import torch

from gfnet_bench.profiling.footprint import _Live


class Room(_Live):
    """Within it, all tensors made take at most so many bytes."""

    def __init__(self, size):
        super().__init__(set())
        self.size = size

    def _follow(self, storage):
        if storage._cdata not in self._storages and self.live + storage.nbytes() > self.size:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {storage.nbytes()} bytes.")
        super()._follow(storage)


class Hungry(torch.nn.Module):
    """A network whose activations take `size` bytes an image, all of them held to the end."""

    def __init__(self, net, size):
        super().__init__()
        self.net, self.size, self.seen = net, size, []

    def forward(self, images):
        self.seen.append(len(images))
        held = []
        for _ in range(4):
            held.append(images.new_empty(len(images), self.size // 16))  # kept by a traceback
        return self.net(images)
