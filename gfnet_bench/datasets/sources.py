"""Fetching data sets from where each of them says; ImageNet itself is for its users to ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gfnet_bench.datasets.base import DATASETS, DatasetSpec
from gfnet_bench.datasets.layouts import archives_of
from gfnet_bench.datasets.packed import unpack_beside
from gfnet_bench.downloads.archives import unpack
from gfnet_bench.downloads.download import Download
from gfnet_bench.downloads.fetching import alone, fetch, make_room, readable
from gfnet_bench.downloads.remote import size_of
from gfnet_bench.errors import GfnetBenchError, MissingError, UsageError
from gfnet_bench.scene_sets import SCENE_SETS


def get(
    names: Sequence[str],
    data_dir: Path,
    *,
    corruptions: Sequence[str] = (),
    dry_run: bool = False,
    progress: bool = True,
) -> None:
    """Fetch and unpack open data sets, printing a line for each file; what is there already is left alone.

    An archive is removed once it is unpacked, unless it was there before.

    Args:
        names: data sets and sets of scenes, as `gfnet-bench list datasets` calls them.
        data_dir: where their folders go.
        corruptions: for ImageNet-C, corruptions or groups of them (noise, blur, weather, digital, extra); by default
            the fifteen of mCE.
        dry_run: print what would be fetched, and how much, and leave it at that.
        progress: show bars on stderr.

    Raises:
        UsageError: there is no such data set or corruption.
        MissingError: it is ImageNet's, or no address gave it.
        GfnetBenchError: a file is not the one expected, or the disk is too small.
    """
    total = 0
    for name, file in list(_wanted(names, data_dir, corruptions)):
        there = [data_dir / path for path in file.gives] if file else []
        packed = {} if file and (data_dir / file.file).exists() else _packed(name, data_dir)
        if packed and not _is_there(name, data_dir):
            _unpack_packed(name, packed, data_dir, dry_run, progress)
        elif file is None:
            print(f"{name}: nothing to fetch, {DATASETS[name].locate([data_dir]).folder} is there")
        elif all(path.exists() for path in there):
            print(f"{name}: nothing to fetch, {_listed(there)} is there")
        elif dry_run:
            size = size_of(file.urls[0]) or file.size
            total += size
            print(f"{name}: would fetch {readable(size)} from {file.urls[0]} for {_listed(there)}")
        else:
            if file.is_archive:
                _unpacked(name, file, data_dir, progress)
            else:
                _fetched(name, file, data_dir, progress)
            print(f"{name}: fetched {_listed(there)}")
    if dry_run:
        print(f"{readable(total)} in all; unpacking an archive needs its size again until it is done")


def _packed(name: str, data_dir: Path) -> dict[Path, str]:
    """Archives of a data set in the data folder, where somebody has put them."""
    if name in SCENE_SETS:
        return {}
    spec = DATASETS[name].source
    return archives_of((*spec.folders, *spec.archives), [data_dir])


def _is_there(name: str, data_dir: Path) -> bool:
    try:
        DATASETS[name].locate([data_dir])
    except MissingError:
        return False
    return True


def _unpack_packed(name: str, packed: Mapping[Path, str], data_dir: Path, dry_run: bool, progress: bool) -> None:
    """Unpack what lies there, and make sure that this gives the data set."""
    if dry_run:
        print(f"{name}: would unpack {_listed(list(packed))}")
        return
    made = unpack_beside(packed, progress=progress)
    print(f"{name}: unpacked {_listed(made)}")
    spec, found = DATASETS[name], DATASETS[name].locate([data_dir])
    count = f"{len(found.items.ids)} images" if spec.cells is None else f"{len(spec.cells(found.folder))} severities"
    print(f"{name}: {count} in {found.folder}")


def _wanted(names: Sequence[str], data_dir: Path, corruptions: Sequence[str]) -> Iterator[tuple[str, Download | None]]:
    """The files that data sets come in; None for one that is not fetched but may lie there."""
    scenes = [SCENE_SETS[name] for name in names if name in SCENE_SETS]
    for kind in scenes:
        if not kind.downloads:
            print(f"{kind.name}: nothing to fetch, it is part of gfnet-bench")
        yield from ((kind.name, file) for file in kind.downloads)
    for spec in (DATASETS[name] for name in names if name not in SCENE_SETS):
        name, source = spec.name, spec.source
        if shippers := sorted({package for file in spec.downloads if (package := file.shipped_by)}):
            whose = f"; its images are those of {source.name}" if source is not spec else ""
            print(f"{name}: nothing to fetch, {spec.downloads[0].file} comes with {', '.join(shippers)}{whose}")
        elif spec.downloads:
            yield from ((name, file) for file in _chosen(spec, corruptions))
        elif source.is_embedded:
            print(f"{name}: nothing to fetch, it is part of gfnet-bench")
        elif _packed(name, data_dir) or _is_there(name, data_dir):
            yield name, None
        else:
            whose = f"its images are those of {source.name}, which" if source is not spec else "this set"
            raise MissingError(
                f"{name}: {whose} cannot be fetched. {source.help} Put it into the folder that --data-dir names, and "
                "run the same command again."
            )


def _chosen(spec: DatasetSpec, corruptions: Sequence[str]) -> Iterator[Download]:
    """The files of a set; of archives of corruptions those that hold these, unpacked if one asked for is missing."""
    groups = {file.group: file for file in spec.downloads if file.group is not None}
    folders = {Path(path).name: path for file in groups.values() for path in file.gives}
    if unknown := [name for name in corruptions if groups and name not in groups and name not in folders]:
        raise UsageError(
            f"{spec.name}: unknown corruption {unknown[0]!r}; expected one of the groups {', '.join(groups)} or of "
            f"{', '.join(folders)}, which its archives hold."
        )
    for file in spec.downloads:
        if not groups or file.group in corruptions or (not corruptions and not file.on_request):
            yield file
        elif gives := tuple(folders[wanted] for wanted in corruptions if folders.get(wanted) in file.gives):
            yield replace(file, gives=gives)


def _unpacked(name: str, file: Download, data_dir: Path, progress: bool) -> None:
    there = [data_dir / path for path in file.gives]
    make_room(there[0].parent, 0, name)
    with alone(there[0]):
        if all(path.exists() for path in there):
            return  # another process has brought it meanwhile
        archive = data_dir / file.file
        was_there = archive.exists()
        if not was_there:
            part = archive.with_name(archive.name + ".part")
            arrived = part.stat().st_size if part.exists() else 0
            make_room(data_dir, 2 * file.size - arrived, name)  # the archive and, for a while, what is in it
        _fetched(name, file, data_dir, progress)
        found = unpack(archive, there[0].parent, progress=progress)
        if missing := [path for path in there if not path.exists()]:
            raise GfnetBenchError(
                f"{name}: expected {_listed(missing)} from {archive}, found {_listed(found)}; has the archive changed?"
            )
        if not was_there:
            archive.unlink()


def _fetched(name: str, file: Download, data_dir: Path, progress: bool) -> None:
    kind = "json" if file.file.endswith(".json") else "file"
    fetch(
        file.urls,
        data_dir / file.file,
        label=name,
        sha256=file.sha256,
        md5=file.md5,
        size=file.size,
        expect="archive" if file.is_archive else kind,
        progress=progress,
    )


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in paths) or "nothing"
