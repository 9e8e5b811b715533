"""Everything that waits for a GPU, in three parts of less than nine minutes each.

Run:      python experiments/on_gpu.py a        ceilings, tests of every CUDA path, the filter of Figure 2's small grids
          python experiments/on_gpu.py b        Figure 2 with and without CUDA graphs, whole models, the main command
          python experiments/on_gpu.py c        Table 3 of `mini`, corruptions, the evaluation loop, large filters
          --dry-run makes every step tiny, on a CPU, and says what it would have been.
Result:   log_<part>.txt and res_<part>.tgz in the folder that OUT names, or build/gpu; both are written anew after each
          step, so that a machine that is taken away leaves what was measured. To unpack: tar xzf res_a.tgz -C results
Outcome:  2026-11-27, an H200: part a and most of c ran; of b Figure 2, which took longer than its limit, and nothing
          after it. Not run yet: filters beyond 56 alone, whole models, the main command.

Needs Python, torch, Triton and timm, and no network; part a wants pytest and simplejpeg, part c imagecorruptions too.
Each step runs in processes of its own within its own limit: one that hangs or fails keeps no other from running.
"""

from __future__ import annotations

import argparse
import os
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import _checkout

PART_S = 530.0
"""Seconds a part may take: nothing begins after them, and what runs is ended."""


class Step(NamedTuple):
    """Commands that run side by side.

    Attributes:
        name: for the log.
        limit_s: seconds it may take.
        estimate_s: seconds it should take.
        commands: what follows `python`; `{results}` is the folder to write to.
        tiny: what stands for them in a dry run.
    """

    name: str
    limit_s: float
    estimate_s: float
    commands: tuple[str, ...]
    tiny: tuple[str, ...]


TESTS = "-m pytest -q -p no:cacheprovider -m gpu"
COST = "-m gfnet_bench complexity --output-dir {results} --no-progress"
TINY = f"{COST} --device cpu --time-budget 0.01 --batch-size 1"
FILTER = "experiments/filter_speed.py --output {results}/tables"
LOOP = "experiments/evaluate_speed.py --output {results}/tables/evaluate_speed"
SHARDS = (
    "trusted",
    "auto and not trusted",
    "not auto and not triton and not trusted",
    "triton and not 70",
    "triton and 70",
)

PARTS: dict[str, tuple[Step, ...]] = {
    "a": (
        Step(
            "ceilings", 60, 20,
            ("experiments/ceilings.py --device cuda --output {results}/tables/ceilings_cuda.md",),
            ("experiments/ceilings.py --device cpu --bytes 4096 --side 16 --output {results}/tables/ceilings_cpu.md",),
        ),
        Step(
            "tests and table 3 of mini", 240, 150,
            (
                *(f"{TESTS} tests/test_global_filter.py -k '{words}'" for words in SHARDS),
                f"{TESTS} tests --ignore tests/test_global_filter.py",
                "-m gfnet_bench robustness --suite mini --device cuda --output-dir {results} --no-progress",
            ),
            (
                "-m gfnet_bench robustness --suite mini --model gfnet_mini --dataset mini --attack fgsm --limit 10 "
                "--device cpu --output-dir {results} --no-progress",
            ),
        ),
        Step(
            "filter", 280, 200,
            (f"{FILTER}/filter_speed_cuda.md --device cuda --sides 14 28 56 --rounds 5",),
            (f"{FILTER}/filter_speed_cpu.md --sides 4 --networks gfnet_mini --rounds 1 --batch-size 1",),
        ),
    ),
    "b": (
        Step(
            "figure 2", 240, 180,
            (f"{COST} --device cuda --tokens paper --published --time-budget 0.2",),
            (f"{TINY} --tokens 16 --width 24 --mixer global_filter_fast",),
        ),
        Step(
            "figure 2 by CUDA graphs", 240, 180,
            (f"{COST} --device cuda --tokens paper --published --time-budget 0.2 --cuda-graphs",),
            (f"{TINY} --tokens 16 --width 24 --mixer spatial_mlp",),
        ),
        Step(
            "whole models", 60, 40,
            (f"{COST} --device cuda --model gfnet_s deit_small resnet50 --img-size 224 384 --time-budget 0.2",),
            (f"{TINY} --model gfnet_mini",),
        ),
        Step(
            "the main command", 120, 80,
            (f"{COST} --device cuda --tokens 196..4096 --backward --time-budget 0.2",),
            (f"{TINY} --tokens 16 --width 24 --mixer global_filter_fast --backward",),
        ),
        Step(
            "tables", 60, 30,
            ("-m gfnet_bench report complexity --write md csv latex --output-dir {results}",),
            ("-m gfnet_bench report complexity --write md --output-dir {results}",),
        ),
    ),
    "c": (
        *(
            Step(
                f"evaluation loop, {dtype}", 60, 35,
                (f"{LOOP}_{dtype}_cuda.md --device cuda --model gfnet_s --images 4096 --rounds 3 --dtype {dtype}",),
                (f"{LOOP}_{dtype}_cpu.md --device cpu --images 4 --batch-size 2 --rounds 1 --dtype {dtype}",),
            )
            for dtype in ("float32", "tf32", "bfloat16")
        ),
        Step(
            "corruptions", 150, 110,
            (
                "experiments/corruption_speed.py --device cuda --images 128 --rounds 2 "
                "--output {results}/tables/corruption_speed_cuda.md",
            ),
            ("-c pass",),
        ),
        Step(
            "expected against measured", 60, 30,
            ("experiments/gpu_budget.py --sides --measured {results}/tables --output {results}/tables/budget_run.md",),
            ("experiments/gpu_budget.py --sides --model gfnet_mini --size 32 --output {results}/tables/budget.md",),
        ),
        Step(
            "filter of large grids", 150, 120,
            (f"{FILTER}/filter_speed_large_cuda.md --device cuda --sides 42 70 84 98 112 182 --networks --rounds 5",),
            (f"{FILTER}/filter_speed_large_cpu.md --sides 5 --networks --rounds 1 --batch-size 1",),
        ),
    ),
}  # fmt: skip


def together(commands: Sequence[str], log: Path, limit_s: float) -> str:
    """Run commands side by side; how they ended, in words. What they print is appended to the log."""
    files = [tempfile.TemporaryFile() for _ in commands]
    started = time.monotonic()
    running = [
        subprocess.Popen(
            [sys.executable, *shlex.split(command)],
            cwd=_checkout.ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        for command, file in zip(commands, files, strict=True)
    ]
    ends = []
    for process in running:
        try:
            ends.append(f"status {process.wait(max(0.0, started + limit_s - time.monotonic()))}")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # and whatever it started
            process.wait()
            ends.append(f"ended after its {limit_s:.0f} s")
    with log.open("ab") as out:
        for command, file, end in zip(commands, files, ends, strict=True):
            file.seek(0)
            out.write(f"$ python {command}\n".encode() + file.read() + f"({end})\n".encode())
            file.close()
    return ", ".join(ends)


def here(commands: Sequence[str], log: Path, limit_s: float) -> str:
    """Stands in for `together` in a dry run: one after the other in this process, which has imported torch already."""
    before = sys.argv
    with log.open("a", encoding="utf-8") as out:
        for command in commands:
            out.write(f"$ python {command}\n")
            script, *rest = shlex.split(command)
            if script == "-c":
                continue
            sys.argv = [*rest] if script == "-m" else [str(_checkout.ROOT / script), *rest]
            run = runpy.run_module if script == "-m" else runpy.run_path
            try:
                run(sys.argv[0], run_name="__main__")
            except SystemExit as error:
                if error.code:
                    return f"status {error.code}"
            finally:
                sys.argv = before
    return "status 0"


def keep(results: Path, log: Path, out: Path, part: str) -> None:
    """Write the log and everything measured so far, each in one go."""
    packed = out / f"res_{part}.tgz"
    with tarfile.open(packed.with_suffix(".part"), "w:gz") as archive:
        for path in sorted(results.iterdir()):
            archive.add(path, arcname=path.name)
    packed.with_suffix(".part").replace(packed)
    shutil.copyfile(log, out / f"log_{part}.txt")


def main() -> int:
    """Run one part; the exit status is the number of steps that failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--dry-run", action="store_true", help="every step tiny, on a CPU")
    parser.add_argument("--seconds", type=float, default=PART_S, help="that the part may take (default: %(default)s)")
    arguments = parser.parse_args()
    out = Path(os.environ.get("OUT") or _checkout.ROOT / "build" / "gpu")
    out.mkdir(parents=True, exist_ok=True)
    started, failed = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        results, log = Path(folder, "results"), Path(folder, "log.txt")
        for name in ("tables", "figures", "records"):
            (results / name).mkdir(parents=True)
        for step in PARTS[arguments.part]:
            left = arguments.seconds - (time.monotonic() - started)
            begun, limit = time.monotonic(), min(step.limit_s, left)
            commands = [c.format(results=results) for c in (step.tiny if arguments.dry_run else step.commands)]
            run = here if arguments.dry_run else together
            end = run(commands, log, limit) if limit > 5 else "not begun, for want of time"
            failed += set(end.split(", ")) != {"status 0"}
            line = f"{step.name}: {end}; {time.monotonic() - begun:.0f} s (estimate {step.estimate_s:.0f} s)"
            print(line, file=sys.stderr)
            with log.open("a", encoding="utf-8") as text:
                text.write(f"== {line}\n")
            keep(results, log, out, arguments.part)
    return failed


if __name__ == "__main__":
    sys.exit(main())
