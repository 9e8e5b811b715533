"""Batches of images on the device that computes: all of them there beforehand, or the next one on its way meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SHARE = 4
"""A set of images may take one part in so many of the memory that is free; the rest is for what is computed on it."""

BLOCK = 1 << 26
"""Bytes that are uploaded at a time where a whole set is."""

Wait = Callable[[], None]


class Sent(NamedTuple):
    """Images on their way to the device.

    Attributes:
        images: what they will be.
        arrive: has the stream that computes wait for them; the caller goes on.
    """

    images: Tensor
    arrive: Wait


class Lane:
    """Pinned host memory, two buffers in turn, and a stream of its own: a copy that keeps nobody waiting.

    Images go in by a thread that reads ahead; the device is told to wait for them when they are to be used.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._buffers: list[Tensor | None] = [None, None]
        self._copied = [torch.cuda.Event(), torch.cuda.Event()]
        self._turn = 0

    def send(self, images: NDArray[np.uint8]) -> Sent:
        """Begin to copy (b, h, w, 3) images; waits for the copy before last, whose buffer they take."""
        self._turn = 1 - self._turn
        self._copied[self._turn].synchronize()
        buffer = self._buffer(images.shape)
        buffer.copy_(torch.from_numpy(images))
        with torch.cuda.stream(self._stream):
            there = buffer.to(self._device, non_blocking=True)
        arrived = self._copied[self._turn] = torch.cuda.Event()
        arrived.record(self._stream)

        def arrive() -> None:
            computing = torch.cuda.current_stream(self._device)
            computing.wait_event(arrived)
            there.record_stream(computing)

        return Sent(there, arrive)

    def _buffer(self, shape: tuple[int, ...]) -> Tensor:
        buffer = self._buffers[self._turn]
        if buffer is None or buffer.shape[1:] != shape[1:] or len(buffer) < shape[0]:
            buffer = self._buffers[self._turn] = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        return buffer[: shape[0]]


class Feed:
    """The images of one pass, batch by batch; use it as a context.

    On CUDA a thread reads the batch after the one that was asked for, and sends it, while that one is computed on: no
    call waits for the device. Elsewhere a batch is read when it is asked for.

    Args:
        images: (n, h, w, 3) uint8: an array, `Rows` of a file, or a tensor on the device.
        device: where batches are wanted.
        lane: how images get there by themselves; None where there is no such way.
    """

    def __init__(self, images: Any, device: torch.device, lane: Lane | None = None) -> None:
        self._images, self._device = images, device
        is_there = isinstance(images, Tensor)
        self._lane = lane or (Lane(device) if device.type == "cuda" and not is_there else None)
        self._ahead: tuple[tuple[int, int], Future[Sent]] | None = None
        self._reader = ThreadPoolExecutor(1, "images") if self._lane else None

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *error: object) -> None:
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)

    def take(self, start: int, size: int) -> Tensor:
        """(size, 3, h, w) uint8 on the device: the images from `start` on, and where they end the first ones again."""
        if self._reader is None:
            return on_device(_read(self._images, start, size), self._device)
        asked, ahead = (start, size), self._ahead
        found = ahead[1] if ahead is not None and ahead[0] == asked else self._begin(*asked)
        sent, self._ahead = found.result(), None
        if start + size < len(self._images):
            self._ahead = ((start + size, size), self._begin(start + size, size))
        sent.arrive()
        return sent.images.permute(0, 3, 1, 2)

    def _begin(self, start: int, size: int) -> Future[Sent]:
        assert self._reader is not None and self._lane is not None
        lane = self._lane
        return self._reader.submit(lambda: lane.send(_writable(_read(self._images, start, size))))


def resident(images: Any, device: torch.device) -> Any:
    """The images as one tensor on a CUDA device, (n, h, w, 3) uint8, where they take up little of it; else as they are.

    Every pass over them then reads no file and copies nothing.
    """
    if device.type != "cuda" or isinstance(images, Tensor):
        return images
    fits = int(np.prod(images.shape)) * SHARE <= torch.cuda.mem_get_info(device)[0]
    return upload(images, device) if fits else images


def upload(images: Any, device: torch.device, lane: Lane | None = None) -> Tensor:
    """All images as one tensor on a device, `BLOCK` bytes at a time, one block being read while another is copied."""
    n, *each = images.shape
    whole = torch.empty(images.shape, dtype=torch.uint8, device=device)
    size = min(n, max(1, BLOCK // int(np.prod(each))))
    with Feed(images, device, lane) as feed:
        for start in range(0, n, size):
            count = min(size, n - start)
            whole[start : start + count] = feed.take(start, size)[:count].permute(0, 2, 3, 1)
    return whole


def on_device(images: NDArray[np.uint8] | Tensor, device: torch.device) -> Tensor:
    """(b, h, w, 3) uint8 to (b, 3, h, w) uint8 on `device`."""
    tensor = images if isinstance(images, Tensor) else torch.from_numpy(_writable(images))
    return tensor.to(device, non_blocking=True).permute(0, 3, 1, 2)


def around(column: Tensor, start: int, size: int) -> Tensor:
    """(size, ...), the rows from `start` on, and where they end the first ones again; a view where they do not."""
    rest = start + size - len(column)
    return column[start : start + size] if rest <= 0 else torch.cat([column[start:], column[:rest]])


def _read(images: Any, start: int, size: int) -> Any:
    """The next images; a plain slice where it is one, which a file serves without gathering."""
    if isinstance(images, Tensor):
        return around(images, start, size)
    rest = start + size - len(images)
    return images[start : start + size] if rest <= 0 else images[np.arange(start, start + size) % len(images)]


def _writable(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As torch takes it."""
    return np.require(images, requirements=["C", "W"])
