"""Predictions beside the truth, as a sheet of pictures."""

from __future__ import annotations

import colorsys
import io

import numpy as np
from numpy.typing import NDArray

from gfnet_bench.metrics.segmentation import IGNORED
from gfnet_bench.segmentation.evaluation import Evaluator
from gfnet_bench.segmentation.resizing import resize_image, resize_labels
from gfnet_bench.segmentation.scenes import Scenes

SIDE, GAP, IMAGES = 192, 4, 6


def palette(classes: int) -> NDArray[np.uint8]:
    """(256, 3) colours: hues by the golden ratio, so that neighbours differ; ignored pixels and the rest are black."""
    colours = np.zeros((IGNORED + 1, 3), np.uint8)
    for label in range(classes):
        rgb = colorsys.hsv_to_rgb(label * 0.618034 % 1, 0.55 + 0.45 * (label % 2), 0.95 - 0.3 * (label % 3) / 2)
        colours[label] = np.round(np.array(rgb) * 255)
    return colours


def sheet(evaluator: Evaluator, scenes: Scenes, count: int = IMAGES) -> bytes:
    """A PNG: a row of images, one of their truth, one of what is predicted."""
    from PIL import Image

    colours, size = palette(len(scenes.classes)), (SIDE, SIDE)
    rows: list[list[NDArray[np.uint8]]] = [[], [], []]
    for name in scenes.ids[:count]:
        scene = scenes.read(name)
        rows[0].append(resize_image(scene.image, size))
        rows[1].append(colours[resize_labels(scene.labels, size)])
        rows[2].append(colours[resize_labels(evaluator.predict(scene.image), size)])
    border = ((GAP, 0), (GAP, 0), (0, 0))
    padded = [np.pad(np.concatenate([_edged(p) for p in row], axis=1), border, constant_values=255) for row in rows]
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(padded)).save(buffer, "PNG")
    return buffer.getvalue()


def _edged(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.pad(picture, ((0, 0), (0, GAP), (0, 0)), constant_values=255)
