"""`gfnet-bench corrupt`: ImageNet-C, or the like of it, from any folder of images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gfnet_bench.commands import argtypes, options
from gfnet_bench.errors import UsageError

if TYPE_CHECKING:
    from gfnet_bench.corrupted_folder.folder import Folder

NAME = "corrupt"
HELP = "write a folder of images corrupted, in the layout of ImageNet-C, or draw one image under all corruptions"
EXAMPLES = """\
examples:
  gfnet-bench corrupt val imagenet-c                            the 15 corruptions of mCE at 5 severities
  gfnet-bench corrupt val out --corruption fog glass_blur --severity 1..3 --seed 7
  gfnet-bench corrupt photos out --recipe imagecorruptions --corruption all --dry-run
  gfnet-bench corrupt --preview photo.jpg sheet.png             what they look like: 19 rows, 5 columns

A run that was stopped continues where it stopped. Files: DST/<corruption>/<severity>/<subfolders of SRC>/<name>; those
of ImageNet's validation set go to class folders named by WordNet id, however they lie in SRC, so that
`robustness --dataset imagenet_c` reads them. It will not give the numbers of --dataset imagenet_c_generated to the last
digit: the same seed draws other random numbers there, and images are resized by another library, to a level or two.
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """From where to where, what, how."""
    parser.add_argument("source", type=argtypes.path, metavar="SRC", help="folder of images; with --preview, one image")
    parser.add_argument(
        "target", type=argtypes.path, nargs="?", metavar="DST", help="folder; with --preview: preview.png"
    )
    parser.add_argument("--preview", action="store_true", help="draw one image under all corruptions, and stop")
    options.add_corruption_options(parser)
    parser.add_argument(
        "--recipe",
        default="imagenet_c",
        metavar="NAME",
        help="imagenet_c (default: as published, JPEG included), imagecorruptions, cifar_c or tiny_imagenet_c",
    )
    parser.add_argument(
        "--no-resize",
        action="store_true",
        help="keep the size of images; without it imagenet_c cuts 224 x 224, tiny_imagenet_c 64, cifar_c 32",
    )
    options.add_seed_option(parser)
    options.add_device_options(parser)
    parser.add_argument("--dry-run", action="store_true", help="print what would be written, and stop")
    parser.add_argument("--no-progress", action="store_true", help="no bar on stderr")


def run(arguments: argparse.Namespace) -> int:
    """Write the files or the sheet; exit status 1 if an image was bad."""
    from gfnet_bench.corrupted_folder.folder import TRANSFORMS, Folder, corrupt_folder
    from gfnet_bench.corruptions import RECIPES

    recipe = RECIPES[arguments.recipe].name
    if arguments.preview:
        from gfnet_bench.corrupted_folder.contact_sheet import draw

        chosen = ("corruption", "severity", "no_resize", "dry_run", "batch_size", "workers", "device")
        options.refuse(
            arguments, dict.fromkeys(chosen, "--preview draws all 19 corruptions at 5 severities, on the CPU")
        )
        file = arguments.target or Path("preview.png")
        draw(arguments.source, file, recipe=recipe, seed=arguments.seed)
        options.note(f"wrote {file}")
        return 0
    if arguments.target is None:
        raise UsageError("corrupt needs SRC and DST, `gfnet-bench corrupt val imagenet-c`; or --preview and one image")

    if recipe not in TRANSFORMS:
        options.refuse(arguments, {"no_resize": f"{recipe} keeps the size of images as it is"})
    folder = Folder(arguments.source, arguments.target, recipe, arguments.seed, not arguments.no_resize)
    names = options.corruptions(arguments)
    levels = options.levels(arguments)
    if arguments.dry_run:
        return _dry_run(folder, names, levels)
    device = options.device(arguments)
    if device.startswith("mps"):  # it has no float64, which corruptions need
        device = "cpu"
    written, bad = corrupt_folder(
        folder,
        names,
        levels,
        device=device,
        # On a CPU images are corrupted one by one: more at a time would only make the bar move in leaps.
        batch_size=arguments.batch_size or (8 if device == "cpu" else 64),
        workers=options.workers(arguments),
        progress=not arguments.no_progress,
    )
    if folder.classes.unknown:
        options.note(
            f"--dataset imagenet_c will not read it, though its images are ImageNet's: {folder.classes.unknown}"
        )
    skipped = f"; {len(bad)} bad images skipped, see above" if bad else ""
    options.note(f"{folder.target}: wrote {written:,} files{skipped}")
    return 1 if bad else 0


def _dry_run(folder: Folder, names: list[str], levels: list[int] | None) -> int:
    """Print what would be written."""
    from collections import Counter

    from gfnet_bench.corrupted_folder.folder import cells_of
    from gfnet_bench.reports.drawing.tables import Column, render

    cells = cells_of(names, levels)
    jobs = folder.todo(cells)
    missing = Counter(cell for job in jobs for cell in job.cells)
    rows = [
        {"corruption": cell.corruption, "severity": cell.severity, "images": len(jobs), "to write": missing[cell]}
        for cell in cells
    ]
    print(render(rows, [Column(key, key) for key in rows[0]], "text"), end="")
    options.note(f"{missing.total():,} files to write in {folder.target}, images {folder.transform}")
    return 0
