"""Where the open data sets are fetched from, and fetching them; ImageNet itself is for its users to ask for."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gfnet_bench.catalog import CORRUPTION_GROUPS
from gfnet_bench.datasets.base import DATASETS
from gfnet_bench.datasets.layouts import archives_of
from gfnet_bench.datasets.packed import unpack_beside
from gfnet_bench.downloads.archives import unpack
from gfnet_bench.downloads.fetching import alone, fetch, make_room, readable
from gfnet_bench.downloads.remote import size_of
from gfnet_bench.errors import GfnetBenchError, MissingError, UsageError
from gfnet_bench.registry import Registry


@dataclass(frozen=True)
class Source:
    """One file to download.

    Attributes:
        file: its name in the data folder, where it may also be put by hand.
        urls: addresses of the same file, tried in turn.
        gives: what is in the data folder once it is unpacked; the file itself if it is no archive.
        size: in bytes, rounded where only a rounded number is published.
        sha256: published checksum.
        md5: published checksum, where there is no sha256.
    """

    file: str
    urls: tuple[str, ...]
    gives: tuple[str, ...]
    size: int
    sha256: str | None = None
    md5: str | None = None

    @property
    def is_archive(self) -> bool:
        """Whether it has to be unpacked."""
        return self.gives != (self.file,)


SOURCES: Registry[tuple[Source, ...]] = Registry("dataset")


def _add(name: str, urls: tuple[str, ...], gives: str, size: int, sha256: str) -> None:
    file = urls[0].rpartition("/")[2]
    SOURCES.add(name, (Source(file, urls, (gives,), size, sha256),))


# Sizes and sha256: the checksum tables of TensorFlow Datasets. The V2 files are called .tar.gz whether they are
# compressed or not; unpacking goes by the content.
_V2 = "https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main"
_add(
    "imagenet_v2",
    (f"{_V2}/imagenetv2-matched-frequency.tar.gz",),
    "imagenetv2-matched-frequency-format-val",
    1264079360,
    "f0c37fdf925916b19ea1323cd9a2208cdb6959ba2c32eef2a7fc393835c9ca7c",
)
_add(
    "imagenet_v2_threshold",
    (f"{_V2}/imagenetv2-threshold0.7.tar.gz",),
    "imagenetv2-threshold0.7-format-val",
    1249906176,
    "32142bfe998f9cfa4141be691f6a80eeb1e27b24bd532a668eb08c26d98897a2",
)
_add(
    "imagenet_v2_top",
    (f"{_V2}/imagenetv2-top-images.tar.gz",),
    "imagenetv2-top-images-format-val",
    1245927936,
    "85e4ace30f3f0d660152062254b8759dda66267b27f7ec0fd8d5768f1073a04b",
)
_add(
    "imagenet_a",
    ("https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar",),
    "imagenet-a",
    687552512,
    "3bb3632277e6ba6392ea64c02ddbf4dd2266c9caffd6bc09c9656d28f012589e",
)
_add(
    "imagenet_r",
    ("https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar",),
    "imagenet-r",
    2191079936,
    "18c6bf493b39a0d975d48e587437f562caab9c52ae6327dcfa9dd8eb54aa1b52",
)
# The checksum was published for the authors' file on Google Drive. That the hub has the same file, under this path,
# is what public set-up scripts assume, and could not be tried: Drive, as second address, would then be asked.
_add(
    "imagenet_sketch",
    (
        "https://huggingface.co/datasets/songweig/imagenet_sketch/resolve/main/data/ImageNet-Sketch.zip",
        "https://drive.google.com/file/d/1Mj0i5HBthqH1p_yeXzsg22gZduvgoNeA/view",
    ),
    "sketch",
    7593573012,
    "4d3ce6b82a7c48aabf14aeac105eb533e75707f152cc858f55bfc022031a72ed",
)
_add(
    "imagenet_real",
    ("https://raw.githubusercontent.com/google-research/reassessed-imagenet/master/real.json",),
    "real.json",
    388478,
    "d83e9bff374c631aae8439eb064c7019acc56e1b3bc3f56b8380c2a710b0220b",
)

# Gigabytes (rounded) and md5 as several public loaders of Zenodo record 2235448 have them. mCE leaves out `extra`.
_ARCHIVES = {
    "noise": (21, "e80562d7f6c3f8834afb1ecf27252745"),
    "blur": (7, "2d8e81fdd8e07fef67b9334fa635e45c"),
    "weather": (12, "33ffea4db4d93fe4a428c40a6ce0c25d"),
    "digital": (7, "89157860d7b10d5797849337ca2e5c03"),
    "extra": (15, "d492dfba5fc162d8ec2c3cd8ee672984"),
}
SOURCES.add(
    "imagenet_c",
    tuple(
        Source(
            f"{_group}.tar",
            tuple(f"https://zenodo.org/{page}/2235448/files/{_group}.tar" for page in ("record", "records")),
            tuple(f"imagenet-c/{corruption}" for corruption in CORRUPTION_GROUPS[_group]),
            _gigabytes * 10**9,
            md5=_md5,
        )
        for _group, (_gigabytes, _md5) in _ARCHIVES.items()
    ),
)

_OF_IMAGENET = ("imagenet", "imagenet_a_control", "imagenet_r_control", "imagenet_c_generated")
_EMBEDDED = ("mini", "mini_v2", "mini_a", "mini_c")
for _name in (*_OF_IMAGENET, *_EMBEDDED):
    SOURCES.add(_name, ())  # known names, so that a misspelt one is told from one there is nothing to fetch for


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
        names: data sets, as `gfnet-bench list datasets` calls them.
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
    for name, source in list(_wanted(names, data_dir, corruptions)):
        there = [data_dir / path for path in source.gives] if source else []
        packed = {} if source and (data_dir / source.file).exists() else _packed(name, data_dir)
        if packed and not _is_there(name, data_dir):
            _unpack_packed(name, packed, data_dir, dry_run, progress)
        elif source is None:
            print(f"{name}: nothing to fetch, {DATASETS[name].locate([data_dir]).folder} is there")
        elif all(path.exists() for path in there):
            print(f"{name}: nothing to fetch, {_listed(there)} is there")
        elif dry_run:
            size = size_of(source.urls[0]) or source.size
            total += size
            print(f"{name}: would fetch {readable(size)} from {source.urls[0]} for {_listed(there)}")
        else:
            if source.is_archive:
                _unpacked(name, source, data_dir, progress)
            else:
                _fetched(name, source, data_dir, progress)
            print(f"{name}: fetched {_listed(there)}")
    if dry_run:
        print(f"{readable(total)} in all; unpacking an archive needs its size again until it is done")


def _packed(name: str, data_dir: Path) -> dict[Path, str]:
    """Archives of a data set in the data folder, where somebody has put them."""
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
    found = DATASETS[name].locate([data_dir])
    print(f"{name}: {len(found.items.ids)} images in {found.folder}")


def _wanted(names: Sequence[str], data_dir: Path, corruptions: Sequence[str]) -> Iterator[tuple[str, Source | None]]:
    """The files that data sets come in; None for one that is not fetched but may lie there."""
    for given in names:
        sources = SOURCES[given]
        name = SOURCES.canonical(given) or given
        if name in _OF_IMAGENET and (_packed(name, data_dir) or _is_there(name, data_dir)):
            yield name, None
        elif name in _OF_IMAGENET:
            raise MissingError(
                f"{name}: uses the ImageNet validation set, which may not be passed on; request "
                "ILSVRC2012_img_val.tar at https://image-net.org/download.php, put it into the folder that --data-dir "
                "names, and run the same command again."
            )
        elif name in _EMBEDDED:
            print(f"{name}: nothing to fetch, it is part of gfnet-bench")
        elif name == "imagenet_real" and _timm_has_real():
            print(f"{name}: nothing to fetch, the labels come with timm; its images are those of imagenet")
        elif name == "imagenet_c":
            yield from ((name, source) for source in _groups(corruptions))
        else:
            yield from ((name, source) for source in sources)


def _groups(corruptions: Sequence[str]) -> Iterator[Source]:
    """The ImageNet-C archives that hold these, each to be unpacked if one of those asked for is missing."""
    everything = {source.file.removesuffix(".tar"): source for source in SOURCES["imagenet_c"]}
    folders = {Path(path).name: path for source in everything.values() for path in source.gives}
    for wanted in corruptions:
        if wanted not in everything and wanted not in folders:
            raise UsageError(
                f"unknown corruption {wanted!r}; expected one of the groups {', '.join(everything)} or of "
                f"{', '.join(folders)}."
            )
    for group, source in everything.items():
        if group in corruptions or (not corruptions and group != "extra"):
            yield source
        elif gives := tuple(folders[wanted] for wanted in corruptions if folders.get(wanted) in source.gives):
            yield replace(source, gives=gives)


def _unpacked(name: str, source: Source, data_dir: Path, progress: bool) -> None:
    there = [data_dir / path for path in source.gives]
    make_room(there[0].parent, 0, name)
    with alone(there[0]):
        if all(path.exists() for path in there):
            return  # another process has brought it meanwhile
        archive = data_dir / source.file
        was_there = archive.exists()
        if not was_there:
            part = archive.with_name(archive.name + ".part")
            arrived = part.stat().st_size if part.exists() else 0
            make_room(data_dir, 2 * source.size - arrived, name)  # the archive and, for a while, what is in it
        _fetched(name, source, data_dir, progress)
        found = unpack(archive, there[0].parent, progress=progress)
        if missing := [path for path in there if not path.exists()]:
            raise GfnetBenchError(
                f"{name}: expected {_listed(missing)} from {archive}, found {_listed(found)}; has the archive changed?"
            )
        if not was_there:
            archive.unlink()


def _fetched(name: str, source: Source, data_dir: Path, progress: bool) -> None:
    fetch(
        source.urls,
        data_dir / source.file,
        label=name,
        sha256=source.sha256,
        md5=source.md5,
        size=source.size,
        expect="archive" if source.is_archive else "json",
        progress=progress,
    )


def _timm_has_real() -> bool:
    """Whether the timm installed here ships the labels; looked up without importing it."""
    timm = importlib.util.find_spec("timm")
    folders = (timm and timm.submodule_search_locations) or []
    return any(Path(folder, "data", "_info", "imagenet_real_labels.json").is_file() for folder in folders)


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in paths) or "nothing"
