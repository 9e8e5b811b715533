"""The sets of scenes that segmentation is measured on: what is known of each without its images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gfnet_bench.downloads.download import Download
from gfnet_bench.registry import Registry


@dataclass(frozen=True)
class SceneSet:
    """A set of images with a class for each pixel.

    Attributes:
        name: as cells and tables say it.
        title: as papers print it.
        names: of its classes, by label.
        images: how many each subset has.
        side: of the square that training cuts out, pixels.
        box: longest long and short side that validation images are fitted into; None where they stay as they are.
        corrupted_by: the recipe of corruptions for images of that size.
        cites: BibTeX keys.
        note: what a table has to say of it.
        downloads: the files it can be fetched as; none for one that is made of what the package holds.
    """

    name: str
    title: str
    names: tuple[str, ...]
    images: Mapping[str, int]
    side: int
    box: tuple[int, int] | None
    corrupted_by: str
    cites: tuple[str, ...]
    note: str = ""
    downloads: tuple[Download, ...] = ()

    @property
    def classes(self) -> int:
        """How many there are."""
        return len(self.names)


_OF_ADE20K = """
wall; building; sky; floor; tree; ceiling; road; bed; windowpane; grass; cabinet; sidewalk; person; earth; door;
table; mountain; plant; curtain; chair; car; water; painting; sofa; shelf; house; sea; mirror; rug; field; armchair;
seat; fence; desk; rock; wardrobe; lamp; bathtub; railing; cushion; base; box; column; signboard; chest of drawers;
counter; sand; sink; skyscraper; fireplace; refrigerator; grandstand; path; stairs; runway; case; pool table;
pillow; screen door; stairway; river; bridge; bookcase; blind; coffee table; toilet; flower; book; hill; bench;
countertop; stove; palm; kitchen island; computer; swivel chair; boat; bar; arcade machine; hovel; bus; towel;
light; truck; tower; chandelier; awning; streetlight; booth; television receiver; airplane; dirt track; apparel;
pole; land; bannister; escalator; ottoman; bottle; buffet; poster; stage; van; ship; fountain; conveyer belt;
canopy; washer; plaything; swimming pool; stool; barrel; basket; waterfall; tent; bag; minibike; cradle; oven; ball;
food; step; tank; trade name; microwave; pot; animal; bicycle; lake; dishwasher; screen; blanket; sculpture; hood;
sconce; vase; traffic light; tray; ashcan; fan; pier; crt screen; plate; monitor; bulletin board; shower; radiator;
glass; clock; flag
"""

ADE20K = SceneSet(
    name="ade20k",
    title="ADE20K, 150 classes of the scene parsing challenge of 2016",
    names=tuple(" ".join(_OF_ADE20K.split()).split("; ")),
    images={"training": 20210, "validation": 2000},
    side=512,
    box=(2048, 512),
    corrupted_by="imagenet_c",
    cites=("zhou2017scene",),
    downloads=(
        Download(
            (
                "https://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
                "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
            ),
            ("ADEChallengeData2016",),
            967_000_000,
            md5="7328b3957e407ddae1d3cbf487f149ef",  # not its authors': download scripts of others agree on it
        ),
    ),
)
MINI_SCENES = SceneSet(
    name="mini_scenes",
    title="scenes composed of embedded images",
    names=(
        *("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
        "background",
    ),
    images={"training": 2000, "validation": 300},
    side=64,
    box=None,
    corrupted_by="tiny_imagenet_c",
    cites=("xiao2017fashion",),
    note="scenes composed of embedded images by seed, 10 classes and background; not ADE20K.",
)
SCENE_SETS: Registry[SceneSet] = Registry("set of scenes")
for _scenes in (ADE20K, MINI_SCENES):
    SCENE_SETS.add(_scenes.name, _scenes)
