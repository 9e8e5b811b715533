"""Anyone's images as a data set: a class a folder, or a CSV of paths and labels; any classes, sizes and colours.

The set is called after its folder, `images:brains`, and what its corruptions are measured on `images:brains:corrupted`.
Records of it are understood by that name, long after the folder is gone.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from gfnet_bench.catalog import Transform
from gfnet_bench.datasets.base import DATASETS, Corruption, DatasetSpec, Found, load_images
from gfnet_bench.datasets.image_files import BadFile, printable, read_file
from gfnet_bench.datasets.image_tree import images_below
from gfnet_bench.datasets.images import Images
from gfnet_bench.datasets.layouts import sorted_items
from gfnet_bench.errors import GfnetBenchError, MissingError, UsageError
from gfnet_bench.suites.own import CORRUPTED, PREFIX, own_suite, usual

LONGEST = 48  # characters of a name

PATHS = ("path", "filename", "file_name", "file", "image", "image_path", "filepath")
LABELS = ("label", "class", "class_name", "category", "target")

# Folders that hold class folders, and are never classes together.
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing", "eval", "dev"}


class OwnImages(NamedTuple):
    """What a folder of images holds.

    Attributes:
        name: of the data set.
        found: the files.
        classes: their names, sorted; the position is the label.
        remarks: sentences about what a reader might not expect.
        logits: of images in arrays the logit of each class, where labels say no more; None where names tell.
    """

    name: str
    found: Found
    classes: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    logits: tuple[int, ...] | None = None

    @property
    def counts(self) -> dict[str, int]:
        """How many files each class has."""
        of_label = Counter(self.found.items.labels.tolist())
        return {name: of_label[label] for label, name in enumerate(self.classes)}

    def __str__(self) -> str:
        of = f" of {described(self.counts)}" if self.classes else ""
        return f"{len(self.found.items.ids)} images{of} in {self.found.folder}"


def use(folder: Path | OwnImages) -> OwnImages:
    """List a folder of images, and let its data sets be known in this process under their names.

    Args:
        folder: has a folder for each class, or a CSV; or that CSV; or what was listed before.

    Raises:
        UsageError: if it is none of these; the text says what was found.
        GfnetBenchError: if it cannot be read, or has an image twice.
    """
    images = folder if isinstance(folder, OwnImages) else read(folder)
    _known[images.name] = images
    return images


def known(name: str) -> OwnImages:
    """What `use` listed last under this name."""
    return _known[name]


def images_of_folder(
    folder: Path | str,
    transform: Transform,
    *,
    limit: int | None = None,
    seed: int = 0,
    cache_dir: Path | None = None,
    workers: int = 0,
    progress: bool = True,
) -> Images:
    """Anyone's images as a model is to be shown them: `use`, and then `load_images`, whose arguments these are.

    Raises:
        UsageError, GfnetBenchError: as these.
    """
    name = use(Path(folder)).name
    return load_images(
        name, (), transform, limit=limit, seed=seed, cache_dir=cache_dir, workers=workers, progress=progress
    )


def read(folder: Path) -> OwnImages:
    """What a folder of images, or a CSV of them, holds; see `use`."""
    if folder.is_file():
        return _of_csv(folder, folder.absolute().parent, f"{_called(folder.absolute().parent)}-{folder.stem}")
    if not folder.is_dir():
        raise UsageError(f"--images {printable(folder)}: expected a folder, or a CSV of path and label, found neither")
    root = folder.absolute()
    paths = [image for image, _ in images_below(folder)]
    inside = [path for path in paths if "/" in path]
    flat = len(paths) - len(inside)
    tables = [] if len({path.partition("/")[0] for path in inside}) > 1 else _tables(root)
    if len(tables) > 1:
        names = ", ".join(printable(file.name) for file in tables[:3])
        raise UsageError(f"--images {printable(folder)}: expected one CSV of path and label, found {names}; name one")
    if tables:
        return _of_csv(tables[0], root, _called(root))
    if not inside:
        found = f"{flat} images in no class folder" if flat else "no images"
        raise UsageError(
            f"--images {printable(folder)}: expected a folder a class, or a CSV with the columns path and label, found "
            f"{found}"
        )
    labels = {path: printable(path.partition("/")[0]) for path in inside}
    classes = set(labels.values())
    if {name.lower() for name in classes} <= _SPLITS:
        raise UsageError(
            f"--images {printable(folder)}: expected a folder a class, found {', '.join(sorted(classes))}, which hold "
            f"them; name one: --images {printable(folder / min(classes))}"
        )
    remarks = [f"{flat} images lie beside the class folders, and are left out"] if flat else []
    return _own(
        _called(root), root, "a folder a class", {path: (root / path, labels[path]) for path in inside}, remarks
    )


def described(counts: Mapping[str, int], most: int = 6) -> str:
    """`3 classes (bird 20, cat 20, dog 20)`."""
    listed = ", ".join(f"{name} {count}" for name, count in list(counts.items())[:most])
    more = f" and {len(counts) - most} more" if len(counts) > most else ""
    return f"{len(counts)} class{'es' if len(counts) != 1 else ''} ({listed}{more})"


def _own(
    called: str, root: Path, layout: str, files: Mapping[str, tuple[Path, str]], remarks: Sequence[str] = ()
) -> OwnImages:
    """Files by their paths below the root, each with its class."""
    plain = re.sub(r"[^\w.-]+", "-", called).strip("-.") or "images"
    name = PREFIX + plain[:LONGEST]
    classes = tuple(sorted({label for _, label in files.values()}))
    label_of = {label: index for index, label in enumerate(classes)}
    rows = [(printable(path), label_of[label], file) for path, (file, label) in files.items()]
    if len(classes) == 1:
        remarks = [
            *remarks,
            f"all images are of one class, {classes[0]}; if the folders in it are the classes, name it as the folder",
        ]
    return OwnImages(name, Found(root, layout, sorted_items(name, rows)), classes, tuple(remarks))


def _called(folder: Path) -> str:
    """The name of a folder; of a part of a set, `test` say, with the name of the set."""
    return f"{folder.parent.name}-{folder.name}" if folder.name.lower() in _SPLITS else folder.name


class _Table(NamedTuple):
    """The rows of a CSV that have a path and a label, and where these stand."""

    lines: list[list[str]]
    path: int
    label: int


def _tables(folder: Path) -> list[Path]:
    """The CSVs in a folder that have a path and a label."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in (".csv", ".tsv") and file.is_file())
    return [file for file in files if not file.name.startswith(".") and _table(file) is not None]


def _of_csv(file: Path, root: Path, called: str) -> OwnImages:
    """The images that a CSV lists; where a path is no path here, slashes may lean the other way."""
    table = _table(file)
    if table is None:
        raise UsageError(
            f"--images {printable(file)}: expected a CSV whose first line names the columns path and label (or "
            "filename and class), found another file"
        )
    files: dict[str, tuple[Path, str]] = {}
    for number, line in enumerate(table.lines, 2):
        if not any(line):
            continue
        path, label = (line[at].strip() if at < len(line) else "" for at in (table.path, table.label))
        if not path or not label:
            lacking = "path" if not path else "label"
            raise UsageError(f"--images {printable(file)}: expected a {lacking} in line {number}, found none")
        place = root / path
        if "\\" in path and not place.exists():
            place = root / path.replace("\\", "/")
        inside = place.relative_to(root).as_posix() if place.is_relative_to(root) else place.as_posix()
        if inside in files:
            raise UsageError(f"--images {printable(file)}: expected each path once, found {printable(path)} again")
        files[inside] = place, printable(label)
    if not files:
        raise UsageError(f"--images {printable(file)}: expected a path and a label a line, found no lines")
    return _own(called, root, printable(file.name), files)


def _table(file: Path) -> _Table | None:
    """The lines of a CSV, whichever of the usual separators it has; None if it names no path and label."""
    try:
        text = read_file(file).decode("utf-8-sig", "surrogateescape")
    except BadFile as error:
        raise GfnetBenchError(f"cannot read {printable(file)}: {error}") from None
    head = text.partition("\n")[0]
    try:
        for separator in ",;\t":
            names = [name.strip().lower() for name in next(csv.reader([head], delimiter=separator), [])]
            path, label = (next((names.index(n) for n in known if n in names), None) for known in (PATHS, LABELS))
            if path is not None and label is not None:
                return _Table(list(csv.reader(io.StringIO(text), delimiter=separator))[1:], path, label)
    except csv.Error as error:
        raise UsageError(f"--images {printable(file)}: expected a CSV, found a file that is none ({error})") from None
    return None


_known: dict[str, OwnImages] = {}
"""The folders that were named in this process, by the names of their sets."""


def _read(spec: DatasetSpec, data_dirs: Sequence[Path], corruption: Corruption | None) -> Found:
    if spec.name not in _known:
        raise MissingError(f"{spec.name}: nothing tells where these images are. {spec.help}")
    return _known[spec.name].found


def _spec(name: str) -> DatasetSpec | None:
    """The data set of a name, whether its folder is known or not."""
    main = name.removesuffix(CORRUPTED)
    suite = own_suite(main)
    if suite is None:
        return None
    known = _known.get(main)
    spec = DatasetSpec(
        name=main,
        title=suite.title,
        images=len(known.found.items.ids) if known else 0,
        help="Name their folder with --images FOLDER.",
        short="",
        place=0,
        read=_read,
        suite=main,
        names=known.classes if known else (),
    )
    if name == main:
        return spec
    return replace(
        spec,
        name=name,
        title=f"{suite.title}, corrupted",
        short="corrupted",
        place=1,
        read=None,
        images_of=main,
        control=main,
        recipe=usual(suite.side).recipe,
    )


DATASETS.derive(_spec)
