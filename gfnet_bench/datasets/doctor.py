"""What is on this machine, and what is wrong with it: names, counts and sizes at a glance, every pixel if asked."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gfnet_bench.catalog import MCE_NAMES, SEVERITIES, Transform, paper_transform
from gfnet_bench.datasets import own_images
from gfnet_bench.datasets.base import DATASETS, Corruption, DatasetSpec, Found, suite_of
from gfnet_bench.datasets.classes import agreement, file_number
from gfnet_bench.datasets.decode import check
from gfnet_bench.datasets.decoding import defects
from gfnet_bench.datasets.image_files import BadFile, file_status, printable, read_file
from gfnet_bench.datasets.layouts import NowhereError, class_folders, how_to_unpack, wnid_or_index_label
from gfnet_bench.errors import GfnetBenchError

SAMPLE = 1000  # images that are looked at; opening all of them takes minutes on a network disk
TAIL = 64  # bytes at the end of a JPEG among which its end marker is
MANY = 100  # unreadable images that are named


class Finding(NamedTuple):
    """One thing seen in a data set; `severity` is `error` (numbers would be wrong), `warning` or `ok`."""

    severity: str
    dataset: str
    text: str


class Status(NamedTuple):
    """One line of an overview.

    Attributes:
        name: of the data set.
        title: as papers print it.
        found: how many units there are.
        expected: how many the whole set has.
        unit: `images`, or `corruption folders` for published files of corrupted images.
        where: the folder; empty if there is none.
        note: how the files lie there, or what is wrong, or how to get them.
    """

    name: str
    title: str
    found: int
    expected: int
    unit: str
    where: str
    note: str


def status(data_dirs: Sequence[Path]) -> list[Status]:
    """An overview of every data set; the files that several sets share are listed once."""
    sources = _located(data_dirs)
    return [_status(spec, sources[spec.source.name], data_dirs) for spec in map(DATASETS.__getitem__, DATASETS)]


def there(data_dirs: Sequence[Path]) -> list[str]:
    """The data sets whose folder is there, whatever is wrong with it; told of the set whose images they are alone."""
    sources = _located(data_dirs)
    specs = map(DATASETS.__getitem__, DATASETS)
    return [
        spec.name
        for spec in specs
        if not isinstance(found := sources[spec.source.name], NowhereError)
        and (spec.images_of is None or isinstance(found, Found))
    ]


def _located(data_dirs: Sequence[Path]) -> dict[str, Found | GfnetBenchError]:
    """Where the sets with files of their own are, or why not."""
    found: dict[str, Found | GfnetBenchError] = {}
    for spec in map(DATASETS.__getitem__, DATASETS):
        if spec.images_of is None:
            try:
                found[spec.name] = spec.locate(data_dirs)
            except GfnetBenchError as error:
                found[spec.name] = error
    return found


def _status(spec: DatasetSpec, found: Found | GfnetBenchError, data_dirs: Sequence[Path]) -> Status:
    there = () if spec.cells is None or isinstance(found, GfnetBenchError) else spec.cells(found.folder)
    # The fifteen of mCE; of the extra ones those that somebody unpacked.
    cells = len(SEVERITIES) * len({*MCE_NAMES, *(corruption.name for corruption in there)})
    expected, unit = (spec.images, "images") if spec.cells is None else (cells, "corruption folders")
    try:
        if isinstance(found, GfnetBenchError):
            raise found
        items = spec.restrict(found).items
    except GfnetBenchError as error:
        note = str(error)
        if spec.images_of is not None and found is error:
            note = spec.help  # why is told of the set whose images they are
        elif isinstance(error, NowhereError):
            packed = how_to_unpack(spec.name, data_dirs, (*spec.folders, *spec.archives))
            note = packed.removeprefix(", which ") or spec.help
        return Status(spec.name, spec.title, 0, expected, unit, "", note)
    count = len(items.ids) if spec.cells is None else len(there)
    return Status(spec.name, spec.title, count, expected, unit, str(found.folder), found.layout)


def examine(name: str, data_dirs: Sequence[Path], *, deep: bool = False, workers: int = 0) -> list[Finding]:
    """What is wrong with a data set.

    Args:
        name: of a registered data set.
        data_dirs: folders to look in.
        deep: decode every image instead of looking at the last bytes of some.
        workers: processes that decode; 0 decodes in this one.

    Returns:
        At least one finding; a single `ok` if nothing is wrong.
    """
    spec = DATASETS[name]
    try:
        found = spec.locate(data_dirs)
    except GfnetBenchError as error:
        return [Finding("warning" if isinstance(error, NowhereError) else "error", spec.name, str(error))]
    if spec.cells is not None:
        return _examine_corruptions(spec, found, data_dirs, deep, workers)
    findings = _examine_counts(spec, spec.name, found)
    if spec.read is not None and found.pixels is None:
        findings += _examine_names(spec.name, found)
        findings += _examine_files(spec.name, found, paper_transform(224, 224), deep, workers)
    return findings or [_all_well(spec, found)]


def _all_well(spec: DatasetSpec, found: Found) -> Finding:
    text = f"{len(found.items.ids)} images in {found.folder} ({found.layout})"
    share, known = agreement([file_number(image) for image in found.items.ids], found.items.labels.tolist())
    if known:
        text += f"; {share:.1%} of the labels agree with ReaL"
    return Finding("ok", spec.name, text)


def _examine_counts(spec: DatasetSpec, label: str, found: Found) -> list[Finding]:
    findings = []
    count = len(found.items.ids)
    if count != spec.images:
        findings.append(Finding("error", label, f"expected {spec.images} images in {found.folder}, found {count}"))
    classes = suite_of(spec.name).classes
    # Sets with as many images in each class are those of all classes whose number says so; a sample need not be one.
    if classes and spec.images % classes == 0 and spec.classes is None and not spec.is_embedded:
        each = spec.images // classes
        counts = Counter(found.items.labels.tolist())
        wrong = [f"class {label} has {counts[label]}" for label in range(classes) if counts[label] != each]
        if wrong:
            text = f"expected {each} images of each class, found others in {len(wrong)} classes: {some(wrong)}"
            findings.append(Finding("error", label, text))
    return findings


def examine_own(folder: Path, *, deep: bool = False, workers: int = 0) -> list[Finding]:
    """What a folder of anyone's images holds, and what is wrong with it; see `examine`.

    Raises:
        UsageError, GfnetBenchError: as `own_images.read`.
    """
    images = own_images.read(folder)
    findings = [Finding("warning", images.name, remark) for remark in images.remarks]
    findings += _examine_files(images.name, images.found, paper_transform(224, 224), deep, workers)
    return [Finding("ok", images.name, f"{images} ({images.found.layout})"), *findings]


def _examine_names(label: str, found: Found) -> list[Finding]:
    """Folders that are of no class, where the images lie in class folders."""
    paths = found.items.paths
    used = {path.relative_to(found.folder).parts[0] for path in paths if path.is_relative_to(found.folder)}
    strange = sorted(n for n in class_folders(found.folder) if n not in used and wnid_or_index_label(n) is None)
    if strange and paths and paths[0].parent != found.folder:
        return [Finding("warning", label, f"folders in {found.folder} that name no class: {some(strange)}")]
    return []


def _examine_files(label: str, found: Found, transform: Transform, deep: bool, workers: int) -> list[Finding]:
    findings = []
    paths = found.items.paths
    empty, odd = _without_content(paths)
    if empty:
        findings.append(Finding("error", label, f"{len(empty)} empty files: {some(empty)}; unpack the archive again"))
    open_ended: list[Path] = []
    whole = [path for path in paths if path not in odd and path not in set(empty)]
    if deep:
        odd.update(defects(whole, transform, workers))
    else:
        ids = dict(zip(paths, found.items.ids, strict=True))
        whole.sort(key=lambda path: hashlib.blake2b(ids[path].encode(), digest_size=8).digest())
        del whole[SAMPLE:]
        for path in whole:
            try:
                if not _has_end(read_file(path), transform):
                    open_ended.append(path)
            except BadFile as error:
                odd[path] = str(error)
    if odd:
        named = some([f"{path} ({odd[path]})" for path in sorted(odd)], MANY)
        findings.append(Finding("error", label, f"{len(odd)} images cannot be read: {named}"))
    if open_ended:
        text = f"{len(open_ended)} of {len(whole)} images looked at have no end marker: {some(open_ended)}; look at "
        findings.append(Finding("warning", label, text + "every pixel with --deep"))
    return findings


def _without_content(paths: Sequence[Path]) -> tuple[list[Path], dict[Path, str]]:
    """The files that are empty, and what is no file at all, with the reason."""
    empty: list[Path] = []
    odd: dict[Path, str] = {}
    for path in paths:
        try:
            if file_status(path).st_size == 0:
                empty.append(path)
        except BadFile as error:
            odd[path] = str(error)
    return empty, odd


def _has_end(data: bytes, transform: Transform) -> bool:
    """Whether the last bytes of a JPEG have its end marker; other formats pass.

    Raises:
        BadImage: if it does not even begin as an image does.
    """
    check(data, transform)
    return not data.startswith(b"\xff\xd8") or b"\xff\xd9" in data[-TAIL:]


def _examine_corruptions(
    spec: DatasetSpec, root: Found, data_dirs: Sequence[Path], deep: bool, workers: int
) -> list[Finding]:
    findings = []
    names = sorted({corruption.name for corruption in spec.cells(root.folder)}) if spec.cells else []
    for corruption in (Corruption(name, severity) for name in names for severity in range(1, 6)):
        label = f"{spec.name} {corruption.name} {corruption.severity}"
        try:
            found = spec.locate(data_dirs, corruption)
        except GfnetBenchError as error:
            findings.append(Finding("error", label, str(error)))
            continue
        findings += _examine_counts(spec, label, found)
        if found.pixels is None:
            findings += _examine_names(label, found)
            findings += _examine_files(label, found, Transform("", 224, 224, None, "bicubic"), deep, workers)
    if not set(MCE_NAMES) <= set(names):
        text = f"expected 15 corruptions in {root.folder}, found {len(names)}: {', '.join(names)}. {spec.help}"
        findings.append(Finding("warning", spec.name, text))
    return findings or [Finding("ok", spec.name, f"{root.layout} in {root.folder}")]


def some(things: Sequence[object], most: int = 3) -> str:
    """The first few, and how many there are besides."""
    more = f" and {len(things) - most} more" if len(things) > most else ""
    return ", ".join(printable(thing) for thing in things[:most]) + more
