"""Memory or open files that run out are the machine's fault, never that of the file, image or network at hand."""

from __future__ import annotations

import contextlib
import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import timm
import torch

from gfnet_bench import weightfile
from gfnet_bench.catalog import Transform
from gfnet_bench.datasets import decode, image_files, pixel_file
from gfnet_bench.errors import GfnetBenchError, acquit, out_of_memory
from gfnet_bench.models import semantic_fpn
from gfnet_bench.profiling import flops
from gfnet_bench.records import Cell, Record
from gfnet_bench.schemas import record as schema
from gfnet_bench.store import Store

NO_MEMORY = [MemoryError(), OSError(12, "Cannot allocate memory")]
NO_MEMORY += [RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")]
NO_MEMORY += [torch.OutOfMemoryError("CUDA out of memory."), OSError("out of memory error when reading image file")]
NO_FILES = [OSError(24, "Too many open files"), OSError(23, "Too many open files in system")]
OTHERS = [
    OSError(2, "No such file or directory", "out of memory.jpg"),
    OSError(5, "Input/output error"),
    zlib.error("-3"),
]
OTHERS += [ValueError("x"), zlib.error("-3"), RuntimeError("shapes"), GfnetBenchError("says out of memory")]


def test_whose_fault_an_error_is() -> None:
    for error in NO_MEMORY:
        assert out_of_memory(error)
        with pytest.raises(MemoryError):
            acquit(error)
    for error in NO_FILES:
        assert not out_of_memory(error)
        with pytest.raises(OSError, match="Too many open files"):
            acquit(error)
    for error in OTHERS:
        assert not out_of_memory(error)
        acquit(error)


def test_what_led_to_an_error_counts() -> None:
    try:
        try:
            raise MemoryError
        except MemoryError as error:
            raise ValueError("a bad file") from error
    except ValueError as error:
        assert out_of_memory(error)


def image() -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (40, 40)).save(buffer, "PNG")
    return buffer.getvalue()


def reading_an_image(folder: Path) -> None:
    (folder / "a.png").write_bytes(image())
    decode.read_image(folder / "a.png", Transform("paper", 16, 16, 20, "bilinear"))


def statting_an_image(folder: Path) -> None:
    image_files.file_status(folder / "a.png")


def reading_decoded_images(folder: Path) -> None:
    with contextlib.suppress(FileExistsError):
        pixel_file.PixelFile.create(folder, (2, 4, 4, 3))
    file = pixel_file.PixelFile(folder, (2, 4, 4, 3))
    file.mark({0: file.write(0, np.zeros((4, 4, 3), np.uint8), 0)})
    list(file.unsound([0], [0]))


def reading_a_record(folder: Path) -> None:
    cell = Cell("mine", 1, "net", {"dataset": "x"})
    Store(folder).save(Record(cell))
    assert not Store(folder).load().problems


def opening_a_checkpoint(folder: Path) -> None:
    (folder / "a.pth").write_bytes(b"x")
    weightfile.check_file(folder / "a.pth")


def counting_flops(folder: Path) -> None:
    flops.count(torch.nn.Linear(2, 2), (1, 2))


def building_a_backbone(folder: Path) -> None:
    semantic_fpn.build("resnet18", 64, 2)


READERS: list[tuple[Callable[[Path], None], object, str]] = [
    (reading_an_image, image_files, "_without_waiting"),
    (reading_an_image, PIL.Image, "open"),
    (reading_an_image, torch.nn.functional, "interpolate"),
    (statting_an_image, Path, "stat"),
    (reading_decoded_images, pixel_file, "_fill"),
    (reading_decoded_images, Path, "stat"),
    (reading_a_record, schema, "open_regular"),
    (opening_a_checkpoint, Path, "stat"),
    (counting_flops, flops, "functional_call"),
    (building_a_backbone, timm, "create_model"),
]


@pytest.mark.parametrize(("read", "of", "name"), READERS, ids=lambda part: getattr(part, "__name__", str(part)))
@pytest.mark.parametrize("error", [*NO_MEMORY, *NO_FILES], ids=lambda error: f"{type(error).__name__} {error}"[:40])
def test_a_machine_that_runs_out_of_something_makes_no_file_bad(
    tmp_path: Path, read: Any, of: object, name: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.suppress(image_files.BadFile):
        read(tmp_path)  # with everything in place

    def full(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(of, name, full)
    with pytest.raises((MemoryError, OSError, RuntimeError)) as caught:
        read(tmp_path)
    assert caught.value is error or isinstance(caught.value, MemoryError)
