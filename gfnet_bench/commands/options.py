"""Options that several commands share, so that they look and behave the same everywhere."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfnet_bench import plugins, terminal
from gfnet_bench.commands import argtypes
from gfnet_bench.errors import GfnetBenchError, UsageError, about
from gfnet_bench.spelling import split
from gfnet_bench.suites import DEFAULT, SUITES, Suite
from gfnet_bench.terminal import one_line, shortened

if TYPE_CHECKING:
    from gfnet_bench.datasets.label_names import Matched
    from gfnet_bench.models import Asked

FORMATS = ("text", "md", "csv", "latex", "html", "json")


def add_list(parser: argparse._ActionsContainer, *names: str, **settings: Any) -> None:
    """An option of one or more values; given again, it adds to them."""
    parser.add_argument(*names, nargs="+", action="extend", **settings)


def add_model_option(parser: argparse._ActionsContainer, text: str) -> None:
    """Which models."""
    add_list(parser, "-m", "--model", metavar="NAME", help=text)


def add_config_option(parser: argparse._ActionsContainer) -> None:
    """Options from a file."""
    parser.add_argument(
        "--config",
        type=argtypes.path,
        action="append",
        metavar="FILE",
        help="options from a JSON, YAML or TOML file; what stands on the command line wins",
    )


def add_plugin_option(parser: argparse._ActionsContainer, dest: str = "plugin") -> None:
    """Code of the user's own that brings more of what commands take names of; before a command's name or behind it."""
    parser.add_argument(
        "--plugin",
        dest=dest,
        type=argtypes.path,
        action="append",
        default=[],
        metavar="FILE.py",
        help="code of yours that brings models, attacks, metrics ...; may be given again (and: $GFNET_BENCH_PLUGINS)",
    )


def add_suite_option(parser: argparse._ActionsContainer, text: str, default: str | None = None) -> None:
    """Which suite; what is called so is known once plug-ins are, see `settle`."""
    parser.add_argument("--suite", metavar="NAME", default=default, help=f"{text}; `gfnet-bench list suites`")


def settle(arguments: argparse.Namespace) -> None:
    """Load plug-ins, and look up what they may have brought.

    Raises:
        UsageError: if one cannot be loaded, or nothing is called so.
    """
    plugins.load(*arguments.plugins_of_all, *arguments.plugin)
    if getattr(arguments, "suite", None) is not None:
        arguments.suite = SUITES[arguments.suite].name


def add_data_options(parser: argparse._ActionsContainer) -> None:
    """Where images are."""
    parser.add_argument(
        "--data-dir",
        type=argtypes.path,
        action="append",
        metavar="DIR",
        help="folder to look for data sets in; may be given again (default: $GFNET_BENCH_DATA, else ./data)",
    )


def add_images_option(parser: argparse._ActionsContainer) -> None:
    """Images of the user's own."""
    parser.add_argument(
        "--images",
        type=argtypes.path,
        metavar="FOLDER",
        help="images of your own: a folder a class, or a CSV with the columns path and label",
    )


def add_own_images_options(parser: argparse._ActionsContainer) -> None:
    """Images of the user's own, and what models call their classes."""
    add_images_option(parser)
    add_list(
        parser,
        "--class-names",
        metavar="NAME",
        help="the model's classes in the order of its logits, or a file with one a line (default: what it says itself, "
        "else the sorted names of the folders)",
    )


def class_names(arguments: argparse.Namespace) -> list[str] | None:
    """The names that were given, or those in the file that was."""
    names: list[str] | None = arguments.class_names
    if names is None or len(names) > 1 or not Path(names[0]).is_file():
        return names
    try:
        with about(names[0]):
            lines = Path(names[0]).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"--class-names {names[0]}: expected a file of text, found bytes that are none") from error
    return [line.strip() for line in lines if line.strip()]


def matched(arguments: argparse.Namespace, models: Sequence[str], suite: str) -> dict[str, Matched]:
    """Where each model has the classes of the images that `--images` names; said on stderr. Nothing without them.

    Raises:
        UsageError, GfnetBenchError: as `own_images.matched`.
    """
    if arguments.images is None:
        refuse(arguments, {"class_names": "expected images of your own (--images) with it, found none"})
        return {}
    from gfnet_bench import spelling
    from gfnet_bench.datasets.own_images import known
    from gfnet_bench.studies.own_images import matched as among
    from gfnet_bench.suites import SUITES
    from gfnet_bench.suites.own import usual

    images = known(suite)
    note(f"{suite}: {images} ({images.found.layout})")
    for remark in images.remarks:
        note(f"{suite}: {remark}")
    found = among(images, models, class_names(arguments), asked(arguments))
    for model, of in found.items():
        note(f"classes of {model}: {of.how}")
    side = SUITES[suite].side
    recipe, epsilon, _ = usual(side)
    radius = spelling.number(epsilon, of_255=True)
    note(f"usual at {side} pixels: corruptions by recipe {recipe}, L-infinity attacks within {radius}")
    return found


def data_dirs(arguments: argparse.Namespace) -> tuple[Path, ...]:
    """The folders that were named, those of the environment otherwise, `data` at last."""
    if arguments.data_dir:
        return tuple(arguments.data_dir)
    named = os.environ.get("GFNET_BENCH_DATA", "")
    return tuple(Path(part) for part in named.split(os.pathsep) if part) or (Path("data"),)


def add_result_options(parser: argparse._ActionsContainer) -> None:
    """Where records are, and how tables look."""
    parser.add_argument(
        "--output-dir",
        type=argtypes.path,
        default=Path("results"),
        metavar="DIR",
        help="records and tables (default: results)",
    )
    parser.add_argument("--format", default="text", choices=FORMATS, help="of the table on stdout")


def add_limit_option(parser: argparse._ActionsContainer) -> None:
    """How many images."""
    what = "a seeded, stratified sample of N images of each set, or of a share of it (0.1)"
    parser.add_argument("--limit", type=argtypes.limit, metavar="N", help=what)


def add_seed_option(parser: argparse._ActionsContainer) -> None:
    """What is drawn."""
    parser.add_argument("--seed", type=argtypes.seed, default=0)


def add_dtype_option(parser: argparse._ActionsContainer) -> None:
    """The precision that is scored or timed."""
    parser.add_argument("--dtype", choices=("float32", "tf32", "bfloat16", "float16"), default="float32")


def add_size_option(parser: argparse._ActionsContainer) -> None:
    """The size that networks are shown images at."""
    parser.add_argument("--img-size", type=argtypes.image_size, metavar="N", help="224, or 224x320 (height first)")


def add_overwrite_option(parser: argparse._ActionsContainer, text: str = "default: failed") -> None:
    """Which cells are measured again."""
    parser.add_argument("--overwrite", choices=("never", "failed", "always"), default="failed", help=text)


def add_time_limit_option(parser: argparse._ActionsContainer) -> None:
    """How long a cell may take."""
    parser.add_argument(
        "--time-limit",
        type=argtypes.above_zero,
        metavar="SECONDS",
        help="end with status 75 where a cell takes longer; it is tried once more, and recorded as failed after that "
        "(default: none)",
    )


def add_progress_option(parser: argparse._ActionsContainer, text: str = "no bars on stderr") -> None:
    """Whether there are bars."""
    parser.add_argument("--no-progress", action="store_true", help=text)


def add_device_options(parser: argparse._ActionsContainer) -> None:
    """Where and how to compute."""
    parser.add_argument("--device", help="cpu, cuda, cuda:1 or mps (default: the fastest there is)")
    parser.add_argument("-b", "--batch-size", type=argtypes.positive, metavar="N", help="images at a time, at most")
    parser.add_argument(
        "-j", "--workers", type=argtypes.processes, metavar="N", help="processes that decode (default: one a core)"
    )


def device(arguments: argparse.Namespace) -> str:
    """The device that was named, or the fastest one there is.

    Raises:
        UsageError: if it is not on this machine.
    """
    import torch

    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if arguments.device is None:
        return next(kind for kind in ("cuda", "mps", "cpu") if counts[kind])
    kind = arguments.device.partition(":")[0]
    names = {kind, *(f"{kind}:{i}" for i in range(counts.get(kind, 0)))}
    if not counts.get(kind, 0) or arguments.device not in names:
        found = ", ".join(f"{kind}:{i}" if count > 1 else kind for kind, count in counts.items() for i in range(count))
        raise UsageError(f"--device {arguments.device}: not on this machine, which has {found}")
    return arguments.device


def check_dtype(dtype: str, device: str) -> None:
    """Raise UsageError if `device` does not know the precision: float32 in its place would pass for it."""
    if dtype == "tf32" and not device.startswith("cuda"):
        raise UsageError(f"--dtype tf32: expected --device cuda, found {device}, which has no TF32.")


def batch_size(arguments: argparse.Namespace, device: str) -> int:
    """The size that was named, or one that suits the device; memory that runs out halves it."""
    return arguments.batch_size or (256 if device.startswith("cuda") else 64)


def workers(arguments: argparse.Namespace) -> int:
    """The number that was named, or one process for each core this process may use."""
    if arguments.workers is not None:
        return arguments.workers
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def suite_and_models(arguments: argparse.Namespace, datasets: Sequence[str] = ()) -> tuple[str, list[str]]:
    """The suite that was named, or the one of the data sets and models that were; and those models.

    A wildcard stands for models of that suite. Where nothing tells, it is `mini` if that alone has short names like
    all wildcards, and `imagenet` otherwise.

    Raises:
        UsageError: if they do not go together.
    """
    from gfnet_bench.catalog import expand, find_spec, is_pattern, suites_of
    from gfnet_bench.datasets.base import DATASETS
    from gfnet_bench.datasets.own_images import use

    words: list[str] = arguments.model or []
    own = use(arguments.images).name if arguments.images else None
    told = {f"--images {arguments.images}": own} if own else {}
    told |= {f"--suite {arguments.suite}": arguments.suite} if arguments.suite else {}
    told |= {name: DATASETS[name].suite for name in datasets}
    specs = {word: find_spec(word) for word in words if not is_pattern(word)}
    tuned = told and getattr(arguments, "checkpoint", None)  # for any images
    if not (own or tuned):
        told |= {word: spec.suite for word, spec in specs.items() if spec.suite is not None}
    suites = set(told.values())
    if len(suites) > 1:
        listed = ", ".join(name if name.startswith("--") else f"{name} ({suite})" for name, suite in told.items())
        raise UsageError(f"models, data sets and suite do not go together: {listed}")
    if not suites:
        fitting = set().union(*(suites_of(word) for word in words))
        suites = fitting if len(fitting) == 1 else {DEFAULT}
    (suite,) = suites
    if own and not words:
        raise UsageError(
            f"--images {arguments.images}: expected a model to show them to, found none; name it with --model"
        )
    return suite, expand(words, None if own else suite)


def or_usual(named: Sequence[str], usual: Sequence[str], suite: Suite) -> list[str]:
    """The models that were named, the usual ones otherwise.

    Raises:
        UsageError: if the suite has none.
    """
    if not (named or usual):
        raise UsageError(
            f"the suite {suite.name} has no models of its own; name one of {suite.classes} classes with --model, "
            "for example a timm model that you trained, with --checkpoint FILE"
        )
    return list(named or usual)


def refuse(arguments: argparse.Namespace, unheeded: Mapping[str, str]) -> None:
    """Refuse options that would do nothing.

    Args:
        arguments: as `parser.parse` gives them.
        unheeded: destinations of options that the command would not heed, each with the reason.

    Raises:
        UsageError: if one of them was named; the text has the reason.
    """
    reasons: dict[str, list[str]] = {}
    for option, why in unheeded.items():
        if option in arguments.named:
            reasons.setdefault(why, []).append(f"--{option.replace('_', '-')}")
    if reasons:
        told = "; ".join(f"{', '.join(those)}: {why}" for why, those in reasons.items())
        raise UsageError(f"{told}; leave out what would do nothing")


def add_checkpoint_options(parser: argparse._ActionsContainer) -> None:
    """Weights of the user's own."""
    parser.add_argument(
        "--checkpoint", type=argtypes.path, metavar="FILE", help="weights instead of the published ones"
    )
    parser.add_argument(
        "--weights-key",
        metavar="KEY",
        help="which weights of that file, where it holds several: model_ema (default: as trained, not an average)",
    )


def checkpoint_sha256(arguments: argparse.Namespace) -> str | None:
    """The hash of the file that `--checkpoint` names, its shards included, if it does.

    Raises:
        UsageError: if there is no such file or it cannot be read, or if `--weights-key` stands alone.
    """
    from gfnet_bench.weightfile import sha256_of_weights

    file: Path | None = arguments.checkpoint
    if file is None:
        if arguments.weights_key is not None:
            raise UsageError("--weights-key: chooses among the weights of a file; name it with --checkpoint FILE")
        return None
    try:
        with about(file):
            return sha256_of_weights(file)
    except GfnetBenchError as error:
        raise UsageError(f"--checkpoint {error}") from error


def add_name_option(parser: argparse._ActionsContainer) -> None:
    """What tables call a model."""
    parser.add_argument("--name", type=argtypes.label, metavar="LABEL", help="what tables call the model, one alone")


def add_own_options(parser: argparse._ActionsContainer, named: bool = True) -> None:
    """What tables call a model, where it is `named`, and what is known of a network that does not say so itself."""
    if named:
        add_name_option(parser)
    for option, verb in (("--mean", "subtract from"), ("--std", "divide by")):
        parser.add_argument(
            option,
            nargs="+",
            type=argtypes.number,
            metavar="X",
            help=f"what to {verb} pixels in [0, 1], one number or three (default: what the network says)",
        )
    parser.add_argument(
        "--num-classes", type=argtypes.positive, metavar="K", help="how many classes the network tells apart"
    )


ABOUT_ONE_MODEL = {
    "checkpoint": "is one model's weights",
    "name": "is what one model is called",
    "mean": "is of one network",
    "std": "is of one network",
    "num_classes": "is of one network",
}


def check_one_model(arguments: argparse.Namespace, models: Sequence[str]) -> None:
    """Raise UsageError if an option that is about one model was named with several."""
    from gfnet_bench.catalog import MODELS

    for option, what in ABOUT_ONE_MODEL.items():
        if getattr(arguments, option, None) is not None and len(models) > 1:
            listed = ", ".join(models)
            raise UsageError(f"--{option.replace('_', '-')} {what}, but there are {len(models)}: {listed}")
    chosen: str | None = getattr(arguments, "name", None)
    if chosen is not None and chosen in MODELS and MODELS[chosen].name not in models:
        raise UsageError(f"--name {arguments.name}: is what the catalogue calls another model; choose another")


def asked(arguments: argparse.Namespace) -> Asked:
    """What is asked of every model of a command, as far as the command has such options."""
    from gfnet_bench.models import Asked

    return Asked(**{name: value for name, value in vars(arguments).items() if name in Asked._fields})


def own_settings(arguments: argparse.Namespace, models: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What the cells of each model say of it alone; networks of one's own are built for it.

    Raises:
        UsageError, GfnetBenchError: as `models.own_settings`, or if an option is about one model and there are several.
    """
    from gfnet_bench.models import own_settings

    check_one_model(arguments, models)
    return {model: own_settings(model, asked(arguments)) for model in models}


def add_corruption_options(parser: argparse._ActionsContainer) -> None:
    """Which corruptions, how strong."""
    add_list(
        parser,
        "--corruption",
        metavar="NAME",
        help="fog, or fog:severity=3 (default: the 15 of mCE; `all` adds the other 4)",
    )
    parser.add_argument(
        "--severity", nargs="+", type=argtypes.severities, metavar="S", help="1..5 (default), 3, or 1 3 5"
    )


def corruptions(arguments: argparse.Namespace) -> list[str]:
    """Those that were given, as they were written, those of mCE otherwise."""
    from gfnet_bench.catalog import CORRUPTIONS, MCE_NAMES

    words = arguments.corruption or MCE_NAMES
    for word in words:
        if word != "all":
            CORRUPTIONS[split(word)[0]]  # an unknown one is unknown beside `all` too
    return list(CORRUPTIONS) if "all" in words else list(dict.fromkeys(words))


def levels(arguments: argparse.Namespace) -> list[int] | None:
    """The severities that were given, growing; None if none were."""
    return sorted({level for part in arguments.severity for level in part}) if arguments.severity else None


def paragraph(head: str, text: str) -> str:
    """Text of any length beside a short head, wrapped to a terminal's width."""
    return textwrap.fill(
        text,
        terminal.screen().width - 2,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_on_hyphens=False,
    )


def note(text: str) -> None:
    """A line for people, on stderr: stdout is for results."""
    print(one_line(shortened(text, 2000)), file=sys.stderr)
