"""ADE20K as the scene parsing challenge of 2016 distributes it: ADEChallengeData2016, 150 classes.

ADEChallengeData2016/images/{training,validation}/ADE_*.jpg
ADEChallengeData2016/annotations/{training,validation}/ADE_*.png       0 is "other", 1 to 150 the classes
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gfnet_bench.datasets.decode import BadImage, decode
from gfnet_bench.datasets.image_files import BadFile, file_status, printable, read_file
from gfnet_bench.errors import GfnetBenchError, MissingError, acquit
from gfnet_bench.metrics.segmentation import IGNORED
from gfnet_bench.scene_sets import ADE20K
from gfnet_bench.segmentation.scenes import Scene, Scenes

NAME, CLASSES = ADE20K.name, ADE20K.classes
FOLDER = "ADEChallengeData2016"


def find(data_dirs: Sequence[Path]) -> Path:
    """The folder of the set: a data folder, or what is called ADEChallengeData2016 in one or in its `ade20k`.

    Raises:
        MissingError: if there is none.
    """
    for data_dir in data_dirs:
        for place in (
            data_dir / FOLDER,
            data_dir / "ade" / FOLDER,
            data_dir / NAME / FOLDER,
            data_dir / NAME,
            data_dir,
        ):
            if (place / "annotations").is_dir() and (place / "images").is_dir():
                return place
    looked = ", ".join(map(str, data_dirs)) or "no folder"
    raise MissingError(
        f"{NAME}: expected {FOLDER} with its folders images and annotations in {looked}, found none; name the folder "
        f"that holds it with --data-dir, or fetch it with gfnet-bench data get {NAME}"
    )


def files(folder: Path, subset: str) -> tuple[dict[str, Path], dict[str, Path]]:
    """The images and the masks of a subset by the names they share, sorted."""
    kinds = ("images", ".jpg"), ("annotations", ".png")
    pictures, masks = (
        {path.stem: path for path in sorted((folder / kind / subset).glob(f"*{suffix}"))} for kind, suffix in kinds
    )
    return pictures, masks


def scenes(data_dirs: Sequence[Path], subset: str) -> Scenes:
    """The images of a subset, of any number; each mask is looked at when its image is read.

    Raises:
        MissingError: if the set is in none of the folders, or has no such images.
        GfnetBenchError: if an image has no mask.
    """
    folder = find(data_dirs)
    pictures, masks = files(folder, subset)
    if not pictures:
        raise MissingError(f"{NAME}: expected JPEG files in {folder / 'images' / subset}, found none; unpack it again")
    if missing := sorted(pictures.keys() - masks.keys()):
        raise GfnetBenchError(
            f"{NAME}: expected a mask for each image in {folder / 'annotations' / subset}, found none for "
            f"{printable(missing[0])}.jpg{f' and {len(missing) - 1} others' if missing[1:] else ''}; unpack it again"
        )

    def read(name: str) -> Scene:
        path = pictures[name]
        try:
            scene = Scene(decode(read_file(path)), mask(read_file(masks[name])))
        except BadFile as error:
            raise GfnetBenchError(f"{NAME}: {printable(path)} or its mask cannot be used ({error})") from error
        if scene.image.shape[:2] != scene.labels.shape:
            raise GfnetBenchError(
                f"{NAME}: expected a mask of the size of its image, found {_by(scene.labels)} for {_by(scene.image)} "
                f"in {printable(name)}.png; unpack it again"
            )
        return scene

    return Scenes(NAME, subset, tuple(pictures), ADE20K.names, read, _fingerprint(pictures, masks))


def _fingerprint(pictures: Mapping[str, Path], masks: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for name, path in pictures.items():
        digest.update(f"{name} {_bytes(path)} {_bytes(masks[name])}\n".encode())
    return digest.hexdigest()


def mask(data: bytes) -> NDArray[np.uint8]:
    """A mask file to (h, w) labels: 1 to 150 become 0 to 149, and 0, what is none of them, does not count.

    Raises:
        BadImage: if it is no image of one channel, or holds other levels. A palette's indices are refused: whether
            they are labels, or numbers of colours, the file does not say.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode != "L":
                what = {"P": "a palette image", "RGB": "a colour image"}.get(image.mode, f"mode {image.mode}")
                raise BadImage(
                    f"expected a mask of 8-bit grey levels 0 to {CLASSES}, found {what}; convert it to these"
                )
            levels = np.asarray(image)
    except BadImage:
        raise
    except Exception as error:  # on damaged files Pillow's plugins raise whatever they happen to meet
        acquit(error)
        raise BadImage(f"no mask: {error}") from None
    return reduce_zero_label(levels)


def reduce_zero_label(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Levels of a mask file to labels: one less, and 0 becomes the label of ignored pixels.

    Raises:
        BadImage: if a level is above the number of classes.
    """
    if levels.size and (highest := levels.max()) > CLASSES:
        what = "of another set" if highest != IGNORED else "whose levels were made labels already"
        raise BadImage(f"expected levels 0 to {CLASSES}, found {highest}; is it a mask {what}?")
    return np.where(levels == 0, IGNORED, levels - np.uint8(1)).astype(np.uint8)


def _by(pixels: NDArray[np.uint8]) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"


def _bytes(path: Path) -> int:
    try:
        return file_status(path).st_size
    except BadFile as error:
        raise GfnetBenchError(f"{NAME}: {printable(path)} cannot be used ({error}); unpack the set again") from error
