"""AutoAttack held against its authors' own code as it is kept up; `experiments/autoattack_speed.py` has more of it."""

import pytest
import torch

from gfnet_bench.attacks.apgd import APGDCE
from gfnet_bench.attacks.autoattack import AutoAttack
from gfnet_bench.datasets import load_images
from gfnet_bench.evaluation import to_pixels
from gfnet_bench.models import load_model
from gfnet_bench.randomness import image_seeds

authors = pytest.importorskip("pyautoattack", reason="pip install pyautoattack")


class Case:
    """A trained network and images, and who stands under an attack."""

    def __init__(self, count):
        self.model = load_model("resnet_mini")
        images = load_images("mini", (), self.model.transform, limit=count)
        self.pixels = to_pixels(images.pixels[:], torch.device("cpu")).contiguous()
        self.labels, self.seeds = torch.from_numpy(images.labels[:]), image_seeds(images.ids, "authors")

    def stands(self, found):
        with torch.no_grad():
            return self.model(found).argmax(1) == self.labels

    def ours(self, attack):
        return self.stands(attack(self.model, self.pixels, self.labels, self.seeds))

    def theirs(self, epsilon, **how):
        attack = authors.AutoAttack(self.model, norm="Linf", eps=epsilon, seed=0, **how)
        attack.apgd.n_restarts = 1
        return self.stands(attack.run_standard_evaluation(self.pixels, self.labels)[0])


def test_where_all_fall_none_stands_under_either(one_thread):
    case = Case(12)
    assert case.stands(case.pixels).sum() >= 10
    assert torch.equal(case.ours(AutoAttack(16 / 255)), case.theirs(16 / 255, version="standard"))


def test_apgd_leaves_the_same_images_where_some_stand(one_thread):
    case, epsilon = Case(16), 6 / 255
    ours, theirs = case.ours(APGDCE(epsilon)), case.theirs(epsilon, version="custom", attacks=["apgd-ce"])
    assert 3 <= int(theirs.sum()) <= 13, "a radius at which some stand"
    assert int((ours != theirs).sum()) <= 1
