from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from examples.common.contrastive.views import plain
from examples.common.randomness import seeded
from examples.common.settings import ConfigError
from examples.contrastive import config
from examples.contrastive.config import Augmentation
from examples.contrastive.views import Views
from tests.examples.gan.test_instances import trained as ic_gans  # noqa: F401  # a fixture

IMAGES = torch.randint(256, (4, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_views_differ_and_keep_the_shape() -> None:
    x0, x1 = Views(Augmentation(blur=0.5), 16)(IMAGES)
    assert x0.shape == x1.shape == IMAGES.shape
    assert not torch.equal(x0, x1)


def test_without_any_change_a_view_is_the_plain_image() -> None:
    nothing = Augmentation(min_scale=1.0, flip=0.0, jitter=0.0, grayscale=0.0)
    views = Views(nothing, 16)
    views.crop = torch.nn.Identity()  # its aspect is random
    x0, x1 = views(IMAGES)
    assert torch.equal(x0, plain(IMAGES))
    assert torch.equal(x1, x0)
    assert x0.min() >= -2
    assert x0.max() <= 2


def test_views_are_a_function_of_the_seed_and_the_place_and_leave_the_generator_alone() -> None:
    views, state = Views(Augmentation(), 16), torch.get_rng_state()

    def draw(seed: int, number: int) -> torch.Tensor:
        with seeded(seed, "views", number):
            return views(IMAGES)[0]

    assert torch.equal(draw(0, 3), draw(0, 3))
    assert not torch.equal(draw(0, 3), draw(0, 4))
    assert not torch.equal(draw(0, 3), draw(1, 3))
    assert torch.equal(torch.get_rng_state(), state)


NOTHING_BUT_CROPS = Augmentation(min_scale=0.2, flip=0.0, jitter=0.0, grayscale=0.0)


def test_originals_of_any_size_are_cropped_and_resized_once() -> None:
    draws = torch.Generator().manual_seed(1)
    originals = [torch.randint(256, (3, *side), generator=draws, dtype=torch.uint8) for side in ((40, 24), (9, 60))]

    def crop(image: Tensor) -> Tensor:
        top, left, height, width = v2.RandomResizedCrop.get_params(image, [0.2, 1.0], [3 / 4, 4 / 3])
        box = image[None, :, top : top + height, left : left + width].float()
        return F.interpolate(box, (16, 16), mode="bilinear", antialias=True)[0]

    torch.manual_seed(5)
    views = Views(NOTHING_BUT_CROPS, 16)(originals)
    torch.manual_seed(5)
    for view in views:
        expected = torch.stack([crop(image) for image in originals])
        assert view.shape == (2, 3, 16, 16)
        # uint8 is rounded along each axis: a step of 255, in units of the deviation of 1/4.
        assert (view - (expected / 255 - 0.5) / 0.25).abs().max() < 1.01 * 4 / 255


def test_a_crop_of_an_original_has_detail_that_the_resized_image_lost() -> None:
    board = 255 * (torch.arange(64)[:, None] // 2 + torch.arange(64) // 2).remainder(2).to(torch.uint8)
    original = board.expand(3, -1, -1)
    resized = v2.functional.resize(original, [16, 16], antialias=True)
    torch.manual_seed(0)
    views = Views(NOTHING_BUT_CROPS, 16)
    views.crop_original.scale = (0.05, 0.1)  # from 14 to 20 pixels a side
    sharp, dull = views([original])[0], views([resized])[0]
    assert sharp.std() > 1
    assert dull.std() < 0.5


@pytest.mark.parametrize("originals", [False, True])
def test_the_second_view_may_be_of_a_generated_image(ic_gans: list[Path], originals: bool) -> None:  # noqa: F811
    still = {"min_scale": 1.0, "flip": 0.0, "jitter": 0.0, "grayscale": 0.0}
    views = Views(Augmentation(generator=str(ic_gans[0]), generated=0.5, **still), 16)
    views.crop = views.crop_original = torch.nn.Identity()
    with seeded(0, "views"):
        x0, x1 = views(list(IMAGES) if originals else IMAGES)
    assert views.swap is not None
    chosen = views.swap._params["batch_prob"] > 0.5
    assert 0 < chosen.sum() < len(IMAGES)
    assert torch.equal(x0, plain(IMAGES))
    assert torch.equal(x1[~chosen], x0[~chosen])
    assert not any(torch.allclose(a, b, atol=0.1) for a, b in zip(x0[chosen], x1[chosen], strict=True))


def test_a_generator_that_is_told_classes_is_refused(ic_gans: list[Path]) -> None:  # noqa: F811
    with pytest.raises(ConfigError, match="is told classes"):
        Views(Augmentation(generator=str(ic_gans[1]), generated=0.5), 16)


def test_a_generator_and_its_share_go_together() -> None:
    with pytest.raises(ConfigError, match=r"AUG\.generator and AUG\.generated go together"):
        config.load(None, ["AUG.generated=0.5"])
