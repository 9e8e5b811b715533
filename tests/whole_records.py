"""One whole record of every kind, as its study writes it, and the arrays beside it."""

from __future__ import annotations

from typing import Any

import numpy as np

from gfnet_bench import metrics
from gfnet_bench.records import PROTOCOLS, Cell, Record
from gfnet_bench.spectra import noise_frequencies

Whole = tuple[Record, dict[str, np.ndarray]]

SCORED: dict[str, Any] = {
    "dataset": "imagenet", "perturbation": {"name": "clean"}, "transform": "paper", "img_size": None,
    "checkpoint": None, "limit": None, "seed": 0, "dtype": "float32",
}  # fmt: skip
SEEN = {
    "torch": "2.8.0", "commit": "0123abc", "dirty": False, "started": "2026-01-31T12:00:00Z", "seconds": 41.2,
    "device": "cpu", "batch_size": 64, "params": 24_869_608, "weights_sha256": "ab" * 32, "weights_source": "us",
    "data_fingerprint": "cd" * 32, "ids_sha256": "ef" * 32, "excluded": [["n01440764/7.JPEG", "truncated"]],
}  # fmt: skip
TIMED: dict[str, Any] = {
    "subject": "block", "tokens": 196, "width": 384, "device": {"kind": "cpu", "name": "Xeon", "threads": 2},
    "batch": 8, "dtype": "float32", "mode": "forward",
}  # fmt: skip


def cell(study: str, model: str, settings: dict[str, Any]) -> Cell:
    """A cell of the present protocol."""
    return Cell(study, PROTOCOLS[study], model, settings)


def scored(
    study: str = "robustness", model: str = "gfnet_s", images: int = 12, *, brier: bool = False, **settings: Any
) -> Whole:
    """Accuracy on a few images, two thirds of them right; with ReaL, every fourth image has no answer."""
    settings = {**SCORED, **settings}
    labels = np.arange(images) % 10
    top5 = (labels[:, None] + np.arange(5)) % 10
    top5[::3] = top5[::3, ::-1]
    confidence = np.linspace(0.3, 0.9, images)
    answers = None
    if settings["dataset"] == "imagenet_real":
        answers = [() if i % 4 == 0 else (int(label),) for i, label in enumerate(labels)]
    nll = 1 - confidence.astype(np.float32)
    p = metrics.Predictions(top5, confidence.astype(np.float32), nll, labels, (), 2 * nll**2 if brier else None)
    values = {**metrics.scores(p, answers), "excluded": 1}
    return Record(cell(study, model, settings), values, provenance=SEEN), metrics.to_arrays(p, answers)


def counted(subject: str = "block") -> Whole:
    """Multiply-adds."""
    settings = {"measure": "count", "convention": "table1", "subject": subject, "tokens": 196}
    settings |= {"width": 384} if subject == "block" else {"img_size": [224, 224]}
    values = {
        "macs": 1_234_567, "operators": {"linear": 1_234_000, "fft": 567}, "formula_operators": {"linear": 1_234_567},
        "unruled": {"aten::mystery": 2}, "unit": "MACs", "params": 1000, "convention": "one transform is charged",
    }  # fmt: skip
    return Record(cell("complexity", "global_filter", settings), values, provenance=SEEN), {}


def row_of_table1() -> Whole:
    """Symbolic and counted complexity of a mixer."""
    settings = {"measure": "table1", "subject": "mixer", "tokens": 196, "width": 384}
    values = {
        "mixer": "global_filter", "complexity": "H W D", "params": "H W D", "formula_macs": 1, "counted_macs": 1,
        "formula_params": 2, "counted_params": 2,
    }  # fmt: skip
    return Record(cell("complexity", "global_filter", settings), values, provenance=SEEN), {}


def timed(latency_s: float = 0.010) -> Whole:
    """A latency of five repeats."""
    seconds = latency_s * np.array([1.0, 0.9, 1.1, 0.8, 1.3])
    low, median, high = np.quantile(seconds, (0.25, 0.5, 0.75)).tolist()
    values = {
        "out_of_memory": False, "predicted_bytes": 10**6, "latency_s": median, "latency_q1_s": low,
        "latency_q3_s": high, "spread": (high - low) / median, "repeats": 5, "calls_per_repeat": 1, "stopped": "spread",
        "launch_bound": False,
    }  # fmt: skip
    one = cell("complexity", "global_filter", {"measure": "latency", **TIMED, "cuda_graphs": False})
    return Record(one, values, provenance=SEEN), {"seconds": seconds, "host_seconds": seconds / 2}


def weighed() -> Whole:
    """A peak of memory."""
    values = {
        "out_of_memory": False, "predicted_bytes": 10**6, "peak_bytes": 10**6, "reserved_bytes": None,
        "weights_bytes": 1000, "mode": "process",
    }  # fmt: skip
    return Record(cell("complexity", "global_filter", {"measure": "memory", **TIMED}), values, provenance=SEEN), {}


def drawn(model: str = "gfnet_mini") -> Whole:
    """Two layers of learned filters, 24 channels each."""
    rng = np.random.default_rng(0)
    grids = [[4, 4], [2, 3]]
    arrays = {
        f"layer_{i:02d}": rng.standard_normal((h, w // 2 + 1, 24, 2)).astype(np.float32)
        for i, (h, w) in enumerate(grids)
    }
    one = cell("filters", model, {"measure": "spectra", "img_size": None, "checkpoint": None})
    return Record(one, {"layers": 2, "grids": grids, "image": [32, 32]}, provenance=SEEN), arrays


def operated(**settings: Any) -> Whole:
    """Accuracy without the high frequencies of the filters."""
    how = {"measure": "surgery", "kind": "low_pass", "cutoff": 0.2, "layer": None, "dataset": "mini", "limit": 12}
    return scored("filters", "gfnet_mini", **{**how, **settings})


def mapped(part: int = 0, parts: int = 1) -> Whole:
    """Errors under noise of one frequency after the other, of images of 4 x 4 pixels."""
    noise = {"name": "fourier", "norm": 4.0, "frequencies": None}
    settings = {**SCORED, "dataset": "mini", "perturbation": noise, "measure": "heatmap", "part": [part, parts]}
    frequencies = np.array_split(noise_frequencies(4, 4), parts)[part].astype(np.int16)
    wrong = np.arange(len(frequencies), dtype=np.int32) % 12
    values = {
        "images": 12, "frequencies": len(wrong), "image": [4, 4], "clean_error": 0.25,
        "mean_error": float(wrong.mean() / 12), "excluded": 0,
    }  # fmt: skip
    one = cell("filters", "gfnet_mini", settings)
    return Record(one, values, provenance=SEEN), {"frequencies": frequencies, "wrong": wrong}


def added(images: int = 6, weights: str = "ab" * 32) -> Whole:
    """The spectrum of what PGD added to images of 4 x 4 pixels, two of which are kept."""
    pgd = {"name": "pgd", "norm": "linf", "epsilon": 1 / 255, "relative_step": 0.5, "steps": 5, "random_start": True}
    settings = {**SCORED, "dataset": "mini", "limit": images, "perturbation": pgd, "measure": "perturbation"}
    rng, square = np.random.default_rng(0), np.full(images, 1e-5, dtype=np.float32)
    arrays = {
        "radial": np.tile(np.array([2, 1, 0.5], dtype=np.float32) * 1e-6, (images, 1)),
        "square": square,
        "random": np.ones(3, dtype=np.float32),
        "clean": rng.integers(0, 256, (2, 4, 4, 3), dtype=np.uint8),
        "difference": rng.uniform(-1 / 255, 1 / 255, (2, 4, 4, 3)).astype(np.float32),
        **{name: np.array(x, dtype=np.int16) for name, x in (("labels", (1, 2)), ("clean_answers", (1, 2)))},
        "answers": np.array([1, 3], dtype=np.int16),
    }
    values = {"images": images, "image": [4, 4], "shown": 2, "mean_square": float(square.mean(dtype="f8"))}
    seen = {**SEEN, "weights_sha256": weights}
    return Record(cell("filters", "gfnet_mini", settings), {**values, "excluded": 0}, provenance=seen), arrays


def every_kind() -> dict[str, Whole]:
    """One of each, by name."""
    fgsm = {"name": "fgsm", "norm": "linf", "epsilon": 1 / 255}
    return {
        "clean": scored(),
        "with brier": scored(brier=True),
        "attacked": scored(perturbation=fgsm, limit=12),
        "corrupted": scored(dataset="mini_c", perturbation={"name": "fog", "severity": 3, "recipe": "cifar_c"}),
        "real": scored(dataset="imagenet_real"),
        "block": counted(),
        "model": counted("model"),
        "table1": row_of_table1(),
        "latency": timed(),
        "memory": weighed(),
        "spectra": drawn(),
        "surgery": operated(),
        "heatmap": mapped(),
        "perturbation": added(),
    }
