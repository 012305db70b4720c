"""The settings of the paper and of its code, and what the latter does differently."""

import pytest
import torch

import nda_augment as nda
from nda_augment import presets
from tests.cases import distinct, generator
from tests.test_sampling import LEVEL, p_value

NAMES = ["jigsaw", "stitch", "mixup", "cutout", "cutmix"]


@pytest.mark.parametrize("preset", [presets.paper, presets.reference])
def test_has_the_five_by_name_and_makes_new_ones_each_time(preset) -> None:
    first, second = preset(), preset()
    assert list(first) == NAMES
    for name, cls in zip(NAMES, [nda.Jigsaw, nda.Stitch, nda.Mixup, nda.Cutout, nda.CutMix], strict=True):
        assert isinstance(first[name], cls)
        assert first[name] is not second[name]
    images = distinct((10, 3, 32, 32))
    negatives = nda.Mixture(list(first.values()))(images)
    assert not (negatives == images).flatten(1).all(dim=1).any()


def test_the_weight_of_the_paper_has_a_name_of_its_own() -> None:
    """The losses' default is another."""
    assert presets.PAPER_FAKE_WEIGHT == 0.25 != nda.losses.FAKE_WEIGHT
    assert not hasattr(presets, "FAKE_WEIGHT")


def test_the_paper_is_the_default() -> None:
    assert {name: str(module) for name, module in presets.paper().items()} == {name: name for name in NAMES}
    paper = presets.paper()
    assert paper["jigsaw"].grid == (2, 2)
    assert paper["cutout"].side == paper["cutmix"].side == (1 / 3, 1 / 2)
    assert paper["cutout"].fill == "patch_mean"
    assert paper["mixup"].alpha == 25.0
    assert not any(module.same_on_batch for module in paper.values())


class TestReference:
    IMAGES = distinct((6, 3, 32, 32))

    def draws(self, name: str, number: int) -> list[dict[str, torch.Tensor]]:
        module, source = presets.reference()[name], generator(0)
        return [module.draw(tuple(self.IMAGES.shape), generator=source) for _ in range(number)]

    def test_stitch_has_one_direction_per_batch_and_keeps_the_first_half(self) -> None:
        draws = self.draws("stitch", 50)
        for params in draws:
            assert params["axis"].unique().numel() == 1
            assert (params["keep"] == 0).all()
        assert {int(params["axis"][0]) for params in draws} == {0, 1}

    def test_mixup_has_one_weight_per_batch(self) -> None:
        draws = self.draws("mixup", 50)
        assert all(params["weights"].unique().numel() == 1 for params in draws)
        assert len({float(params["weights"][0]) for params in draws}) == 50

    def test_cutout_has_squares_of_10_to_19_pixels_per_image(self) -> None:
        boxes = torch.cat([params["boxes"] for params in self.draws("cutout", 1000)])
        width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        assert torch.equal(width, height)
        assert (width.min(), width.max()) == (10, 19)
        assert p_value(torch.bincount(width - 10)) > LEVEL

    def test_cutout_scales_with_the_image(self) -> None:
        boxes = presets.reference()["cutout"].draw((1000, 3, 224, 224))["boxes"]
        side = boxes[:, 2] - boxes[:, 0]
        assert (side.min(), side.max()) == (70, 133)

    def test_cutmix_has_one_box_per_batch_of_any_size(self) -> None:
        draws = self.draws("cutmix", 500)
        assert all((params["boxes"] == params["boxes"][:1]).all() for params in draws)
        boxes = torch.stack([params["boxes"][0] for params in draws])
        width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        assert min(width.min(), height.min()) >= 1
        assert width.max() > 28
        assert width.min() < 4

    def test_shared_draws_still_never_pair_an_image_with_itself(self) -> None:
        for name in ("stitch", "mixup", "cutmix"):
            for params in self.draws(name, 100):
                shift = (params["partners"] - torch.arange(6)) % 6
                assert shift.unique().numel() == 1
                assert (shift != 0).all()
