"""Batches on their way to a device: the right images, read ahead, and nobody waits. The device is played by the CPU."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from gfnet_bench import evaluation, feeding
from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.feeding import Feed, Lane, Sent, around, resident, upload

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).integers(0, 256, (11, 4, 6, 3), dtype=np.uint8)


class Slow:
    """A lane whose images are there only once they were waited for."""

    def send(self, images):
        there = torch.zeros(images.shape, dtype=torch.uint8)
        return Sent(there, lambda: np.copyto(there.numpy(), images))


class Read:
    """Images that tell when they are read."""

    shape = IMAGES.shape

    def __init__(self):
        self.asked = []
        self.was_asked = threading.Event()

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, index):
        self.asked.append(index)
        self.was_asked.set()
        if isinstance(index, slice) and index.start == 8:
            raise GfnetBenchError("cannot read decoded images")
        return IMAGES[index].copy()


def whole(feed, sizes):
    start, parts = 0, []
    for size in sizes:
        parts.append(feed.take(start, size).permute(0, 2, 3, 1).numpy())
        start += size
    return np.concatenate(parts)


@pytest.mark.parametrize("lane", [None, Slow()], ids=["read when asked", "sent ahead"])
@pytest.mark.parametrize("sizes", [[11], [4, 4, 4], [1] * 11, [8, 2, 2], [25]], ids=str)
def test_batches_are_the_images_in_order_and_then_the_first_ones_again(lane, sizes):
    expected = np.resize(IMAGES, (sum(sizes), *IMAGES.shape[1:]))
    for images in (IMAGES, torch.from_numpy(IMAGES)) if lane is None else (IMAGES,):
        if sizes == [25] and lane is None and isinstance(images, torch.Tensor):
            continue  # a batch is never larger than the set
        with Feed(images, CPU, lane) as feed:
            np.testing.assert_array_equal(whole(feed, sizes), expected)


def test_the_next_batch_is_read_while_this_one_is_computed_on():
    images = Read()
    with Feed(images, CPU, Slow()) as feed:
        feed.take(0, 4)
        images.was_asked.clear()
        if len(images.asked) < 2:
            assert images.was_asked.wait(10)
        assert images.asked == [slice(0, 4), slice(4, 8)]
        feed.take(4, 2)  # memory ran out: what was read ahead is of no use
        feed.take(6, 2)
    assert images.asked[:4] == [slice(0, 4), slice(4, 8), slice(4, 6), slice(6, 8)]


def test_what_cannot_be_read_is_told_when_it_is_wanted():
    with Feed(Read(), CPU, Slow()) as feed:
        feed.take(0, 4)
        feed.take(4, 4)
        with pytest.raises(GfnetBenchError, match="cannot read decoded images"):
            feed.take(8, 3)


def test_a_whole_set_is_uploaded_in_blocks(monkeypatch):
    monkeypatch.setattr(feeding, "BLOCK", 3 * IMAGES[0].nbytes + 5)
    images = Read.__new__(Read)
    images.asked, images.was_asked = [], threading.Event()
    monkeypatch.setattr(Read, "__getitem__", lambda self, i: (self.asked.append(i), IMAGES[i].copy())[1])
    assert torch.equal(upload(images, CPU, Slow()), torch.from_numpy(IMAGES))
    assert [i for i in images.asked if isinstance(i, slice)] == [slice(0, 3), slice(3, 6), slice(6, 9)]
    assert resident(IMAGES, CPU) is IMAGES


def test_a_set_stays_on_the_device_if_a_quarter_of_the_memory_takes_it(monkeypatch):
    monkeypatch.setattr(feeding, "upload", lambda images, device: "there")
    for free, found in ((4 * IMAGES.nbytes, "there"), (4 * IMAGES.nbytes - 1, IMAGES)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10**12))
        assert resident(IMAGES, torch.device("cuda")) is found


def test_a_buffer_is_filled_anew_only_when_its_copy_is_over(monkeypatch):
    """The protocol of `Lane`, its calls of CUDA written down."""
    told = []

    class Event:
        made = 0

        def __init__(self):
            Event.made += 1
            self.name = Event.made

        def record(self, stream):
            told.append(f"record {self.name} on {stream.name}")

        def synchronize(self):
            told.append(f"host waits for {self.name}")

    class Stream:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            told.append(f"on {self.name}")

        def __exit__(self, *error):
            told.append("off")

        def wait_event(self, event):
            told.append(f"{self.name} waits for {event.name}")

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream("side"))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream("computing"))
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: told.append(f"kept for {stream.name}"))
    real = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, pin_memory=False, **k: real(*a, **k))
    lane = Lane(CPU)
    sent = [lane.send(IMAGES[i : i + 2].copy()) for i in (0, 2, 4)]
    assert [line for line in told if "waits" in line] == ["host waits for 2", "host waits for 1", "host waits for 3"]
    assert told[1:4] == ["on side", "off", "record 3 on side"]
    told.clear()
    sent[0].arrive()
    assert told == ["computing waits for 3", "kept for computing"]


class Claimed:
    """A lane to nowhere."""

    def send(self, images):
        return Sent(torch.empty(images.shape, dtype=torch.uint8, device="cuda"), lambda: None)


class AtOnce(ThreadPoolExecutor):
    """Does what is submitted before it says so."""

    def submit(self, work):
        done = Future()
        done.set_result(work())
        return done


class Copies(TorchDispatchMode):
    """Counts what passes between host and device."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        devices = {t.device.type for t in (*args, found) if isinstance(t, torch.Tensor)}
        self.count += len(devices) > 1
        return found


@pytest.mark.parametrize("wrong", [None, "copies", "waits"])
def test_no_batch_of_a_pass_waits_for_the_device(wrong, monkeypatch):
    """On tensors that only claim to be on CUDA: whatever would have to know a value of theirs raises.

    What passes between host and device must not grow with the batches; images go by `Lane`, which has its own test.
    """
    monkeypatch.setattr(evaluation._Pass, "evaluation", lambda one, known, size: one.error)
    monkeypatch.setattr(feeding, "ThreadPoolExecutor", AtOnce)  # such tensors are made in this thread alone
    monkeypatch.setattr(feeding, "Lane", lambda device: Claimed())

    def count(batch_size):
        with FakeTensorMode(allow_non_fake_inputs=True), Copies() as copies:
            with torch.device("cuda"):
                net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4), torch.nn.Flatten(), torch.nn.Linear(24, 7))

            def predict(images):
                if wrong == "waits" and images.sum() > 0:
                    raise AssertionError
                return net(images) + (torch.ones(7).to("cuda") if wrong == "copies" else 0)

            names = [str(i) for i in range(len(IMAGES))]
            labels = np.arange(len(IMAGES)) % 5
            options = {"classes": [0, 1, 2, 3, 4, 6], "batch_size": batch_size, "device": "cuda"}
            assert evaluation.evaluate_all([predict] * 2, IMAGES, labels, names, **options) == [None, None]
        return copies.count

    if wrong == "waits":
        with pytest.raises(Exception, match=r"data-dependent|local_scalar_dense"):
            count(4)
    else:
        assert (count(2) == count(11)) == (wrong is None)


def test_rows_go_round():
    column = torch.arange(5)
    assert around(column, 1, 3).data_ptr() == column[1:].data_ptr()
    assert around(column, 3, 4).tolist() == [3, 4, 0, 1]
