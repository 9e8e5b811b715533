"""CIFAR-10's test images as its authors' batch or in class folders, and CIFAR-10-C as its published arrays."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfnet_bench.catalog import CORRUPTIONS, SEVERITIES
from gfnet_bench.datasets.base import DATASETS, Corruption, DatasetSpec, Found, Pixels
from gfnet_bench.datasets.image_files import BadFile, read_file
from gfnet_bench.datasets.layouts import class_folders, find_folder, index_label, items_of_folders, sorted_items
from gfnet_bench.errors import GfnetBenchError, MissingError, acquit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCH, LABELS = "test_batch", "labels.npy"
CITES = (
    """@techreport{krizhevsky2009learning,
  title = {Learning Multiple Layers of Features from Tiny Images},
  author = {Krizhevsky, Alex},
  institution = {University of Toronto},
  year = {2009}
}""",
)


def label_of(folder: str) -> int | None:
    """The class of a folder named by it, or by its number."""
    return NAMES.index(folder.lower()) if folder.lower() in NAMES else index_label(folder)


def read(spec: DatasetSpec, data_dirs: Sequence[Path], corruption: Corruption | None) -> Found:
    """Find and list the test images; those of the batch go by their position in it, as those of CIFAR-10-C do."""

    def recognise(folder: Path) -> str | None:
        if (folder / BATCH).is_file():
            return "the python batch of the test images"
        named = [name for name in class_folders(folder) if name.lower() in NAMES]
        return "class folders" if len(named) == len(NAMES) else None

    folder, layout = find_folder(spec, data_dirs, recognise)
    if not (folder / BATCH).is_file():
        return Found(folder, layout, items_of_folders(spec.name, folder, label_of, range(10), NAMES.__getitem__))
    images, labels = read_batch(folder / BATCH)
    return _found(spec, folder, layout, folder / BATCH, images, labels)


def read_corrupted(spec: DatasetSpec, data_dirs: Sequence[Path], corruption: Corruption | None) -> Found:
    """Find the arrays, and list the images of one corruption and severity: a fifth of its file, the mildest first."""

    def recognise(folder: Path) -> str | None:
        there = cells(folder)
        return f"{len(there) // len(SEVERITIES)} corruptions as arrays" if there else None

    folder, layout = find_folder(spec, data_dirs, recognise)
    if corruption is None:
        return Found(folder, layout, sorted_items(spec.name, []))
    file = folder / f"{corruption.name}.npy"
    if not file.is_file():
        known = ", ".join(sorted({cell.name for cell in cells(folder)}))
        raise MissingError(f"{spec.name}: expected {file.name} in {folder}, found those of {known}. {spec.help}")
    images, labels = _array(file), _array(folder / LABELS)
    if images.dtype.str[1:] != "u1" or images.ndim != 4 or images.shape[1:] != (32, 32, 3):
        raise GfnetBenchError(f"{file}: expected bytes of shape (n, 32, 32, 3), found {images.dtype} {images.shape}")
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu" or len(labels) % len(SEVERITIES):
        raise GfnetBenchError(
            f"{folder / LABELS}: expected a class for each of the {len(images)} images of {file.name}, "
            f"{len(SEVERITIES)} severities of as many, found {labels.dtype} {labels.shape}"
        )
    each = len(labels) // len(SEVERITIES)
    part = slice((corruption.severity - 1) * each, corruption.severity * each)
    return _found(spec, folder, layout, file, images[part], labels[part])


def cells(folder: Path) -> list[Corruption]:
    """The corruptions in a folder, each at all severities."""
    there = [name for name in CORRUPTIONS if (folder / f"{name}.npy").is_file()] if folder.is_dir() else []
    return [Corruption(name, severity) for name in there for severity in SEVERITIES]


def read_batch(file: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (n, 32, 32, 3) and labels of a python batch, of which no code is run.

    Raises:
        GfnetBenchError: if it is no such batch.
    """
    import numpy as np

    try:
        batch = _Batch(io.BytesIO(read_file(file)), encoding="bytes").load()
        rows, labels = batch[b"data"], np.asarray(batch[b"labels"], dtype=np.int64)
        pixels = np.frombuffer(rows.content, dtype=np.uint8).reshape(len(labels), 3, 32, 32)
    except Exception as error:  # whatever a damaged or hostile pickle leads to
        acquit(error)
        text = str(error) if isinstance(error, BadFile) else f"{type(error).__name__}: {error}"
        raise GfnetBenchError(
            f"{file}: expected CIFAR-10's batch of test images, found another or a damaged file ({text}); unpack "
            "cifar-10-python.tar.gz again"
        ) from None
    return pixels.transpose(0, 2, 3, 1), labels


class _Bytes:
    """What an array of bytes in a pickle comes to here: NumPy itself is never told what to make."""

    content = b""

    def __setstate__(self, state: Any) -> None:
        self.content = bytes(state[-1])


class _Batch(pickle.Unpickler):
    """Reads dictionaries, lists, numbers, text and arrays of bytes; whatever else a pickle names is refused."""

    def find_class(self, module: str, name: str) -> Any:
        known: Mapping[str, Callable[..., Any]] = {
            "_reconstruct": lambda *_: _Bytes(),
            "ndarray": _Bytes,
            "dtype": lambda *_: _Bytes.__new__(_Type),
            "encode": lambda text, *_: text.encode("latin1"),
        }
        if module.partition(".")[0] not in ("numpy", "_codecs") or name not in known:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return known[name]


class _Type(_Bytes):
    """The type of such an array, whose state says nothing that a shape does not."""

    def __setstate__(self, state: Any) -> None:
        pass


def _array(file: Path) -> NDArray[Any]:
    """An array on disk, read as far as it is used.

    Raises:
        GfnetBenchError: if it is none.
    """
    import numpy as np

    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:
        acquit(error)
        raise GfnetBenchError(
            f"{file}: expected an array of CIFAR-10-C, found none that can be read ({type(error).__name__}: {error}); "
            "unpack CIFAR-10-C.tar again"
        ) from None


def _found(
    spec: DatasetSpec, folder: Path, layout: str, file: Path, images: NDArray[np.uint8], labels: NDArray[Any]
) -> Found:
    """Images of an array, named by their positions."""
    if strange := sorted({*labels.tolist()} - {*range(len(NAMES))}):
        raise GfnetBenchError(f"{spec.name}: expected classes 0 to 9 in {folder}, found {strange[:3]}")
    rows = [(f"cifar10/test/{row:05d}", label, file) for row, label in enumerate(labels.tolist())]
    pixels: Pixels = partial(_pixels, images)
    return Found(folder, layout, sorted_items(spec.name, rows), pixels)


def _pixels(images: NDArray[np.uint8], ids: Sequence[str]) -> NDArray[np.uint8]:
    return images[[int(image.rpartition("/")[2]) for image in ids]]


_HELP = "Get cifar-10-python.tar.gz at https://www.cs.toronto.edu/~kriz/cifar.html."
DATASETS.add(
    "cifar10",
    DatasetSpec(
        name="cifar10",
        title="CIFAR-10",
        images=10000,
        short="",
        place=0,
        cites=CITES,
        folders=("cifar-10-batches-py", "cifar-10-python", "cifar10", "cifar10/test"),
        archives=("cifar-10-python",),
        read=read,
        suite="cifar10",
        help=_HELP,
    ),
)
DATASETS.add(
    "cifar10_c",
    DatasetSpec(
        name="cifar10_c",
        title="CIFAR-10-C",
        images=10000,
        short="C10-C",
        place=1,
        cites=("hendrycks2019benchmarking", *CITES),
        folders=("cifar-10-c",),
        read=read_corrupted,
        control="cifar10",
        cells=cells,
        file_side=32,
        suite="cifar10",
        help="Get CIFAR-10-C.tar at https://zenodo.org/records/2535967.",
    ),
)
DATASETS.add(
    "cifar10_c_generated",
    DatasetSpec(
        name="cifar10_c_generated",
        title="CIFAR-10-C (generated)",
        images=10000,
        short="C10-C generated",
        place=1,
        cites=("hendrycks2019benchmarking", *CITES),
        images_of="cifar10",
        control="cifar10",
        recipe="cifar_c",
        suite="cifar10",
        help="The images are those of cifar10.",
    ),
)
