import kornia.augmentation as K
import pytest
import torch
from torchvision.transforms import v2

from nda_augment import AsNegative, Jigsaw, LearnedMixture, Stitch

IMAGES = torch.rand(6, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def invert_half_of_the_time(images):
    return 1 - images if torch.rand(()) < 0.5 else images


@pytest.mark.parametrize(
    "module", [invert_half_of_the_time, K.RandomInvert(p=0.5), v2.RandomInvert(p=0.5)], ids=["function", "kornia", "v2"]
)
def test_every_image_changes_whatever_is_wrapped(module):
    negatives = AsNegative(module, min_change=0.05)(IMAGES)
    assert torch.allclose(negatives, 1 - IMAGES)


def test_each_image_has_its_own_draw_and_repeats_it():
    """torchvision draws once per call; wrapped, every image is a call."""
    negative = AsNegative(v2.RandomErasing(p=1.0), min_change=0.01)
    same = IMAGES[:1].expand(6, -1, -1, -1)
    negatives = negative(same)
    assert len({tuple(image.flatten().tolist()) for image in negatives}) == 6
    assert torch.equal(negatives, negative(same, params=negative._params))


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    AsNegative(invert_half_of_the_time)(IMAGES, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_other_devices_are_left_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("of images on the CPU"))
    AsNegative(invert_half_of_the_time)(IMAGES)


def test_an_image_that_never_changes_is_an_error_that_names_it():
    with pytest.raises(RuntimeError, match=r"image 0 changed by less than min_change=0.1 .* in each of 4 draws"):
        AsNegative(torch.clone, redraws=3)(IMAGES)


def test_redraws_are_counted():
    calls = []

    def unchanged(images):
        calls.append(len(images))
        return images

    with pytest.raises(RuntimeError, match="in each of 3 draws"):
        AsNegative(unchanged, redraws=2)(IMAGES)
    assert calls == [1, 1, 1]


def test_the_share_of_changed_pixels():
    """One row of twelve changes: a twelfth of the pixels."""

    def first_row(images):
        return torch.cat([images[..., :1, :] + 1, images[..., 1:, :]], dim=-2)

    AsNegative(first_row, min_change=0.08, measure="pixels")(IMAGES)
    with pytest.raises(RuntimeError, match="pixels"):
        AsNegative(first_row, min_change=0.09, measure="pixels", redraws=0)(IMAGES)


@pytest.mark.parametrize("measure", ["pixels", "relative_l2"])
def test_the_smallest_change_counts(measure):
    """A quarter of the rows changes in one channel of three, and a flat image by a quarter of itself."""

    def change(images):
        changed = images.clone()
        changed[:, :1, :3] += 1
        return changed if measure == "pixels" else images * 1.25

    images = torch.ones(1, 3, 12, 12)
    AsNegative(change, min_change=0.25, measure=measure, redraws=0)(images)
    with pytest.raises(RuntimeError, match="changed by less than"):
        AsNegative(change, min_change=0.2501, measure=measure, redraws=0)(images)


def test_what_learns_from_whole_batches_is_refused():
    with pytest.raises(ValueError, match="LearnedMixture is told of whole batches"):
        AsNegative(torch.nn.Sequential(LearnedMixture([Jigsaw(), Stitch()])))


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match="must keep both"):
        AsNegative(lambda images: images[..., :4])(IMAGES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_change": 0.0}, "min_change must be a finite number above 0"),
        ({"redraws": -1}, "redraws must be a whole number from 0 on, got -1"),
        ({"measure": "l2"}, "measure must be one of"),
        ({"measure": "pixels", "min_change": 2.0}, r"min_change must be in \[0, 1\], got 2.0"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        AsNegative(torch.neg, **arguments)
