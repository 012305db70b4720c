"""Partners by class, for every negative that borrows."""

import pytest
import torch
from kornia.augmentation import VideoSequential

import nda_augment as nda
from tests.cases import REGISTERED, Case, distinct, generator

PAIRS = [case for case in REGISTERED if case.module.uses_partners]


def by_class(case: Case, partner: str):
    try:
        return type(case.module)(partner=partner)
    except ValueError:
        pytest.skip(f"{case} borrows from many images at once and has partners of any class only")


@pytest.mark.parametrize("case", PAIRS, ids=str)
@pytest.mark.parametrize("partner", ["other_class", "same_class"])
class TestByClass:
    LABELS = torch.tensor([0, 1, 0, 2, 1, 2])

    def test_partners_are_of_that_class(self, case: Case, partner: str) -> None:
        module, images = by_class(case, partner), case.images(6)
        for seed in range(20):
            module(images, labels=self.LABELS, generator=generator(seed))
            chosen = module._params["partners"]
            assert ((self.LABELS[chosen] == self.LABELS) == (partner == "same_class")).all()
            assert not (chosen == torch.arange(6)).any()

    def test_partners_from_a_pool_are_of_that_class(self, case: Case, partner: str) -> None:
        module, images = by_class(case, partner), case.images(6)
        pool, pool_labels = distinct((4, *images.shape[1:]), seed=1), torch.tensor([2, 0, 1, 0])
        for seed in range(20):
            module(images, labels=self.LABELS, pool=pool, pool_labels=pool_labels, generator=generator(seed))
            chosen = pool_labels[module._params["partners"]]
            assert ((chosen == self.LABELS) == (partner == "same_class")).all()

    def test_classes_of_a_pool_are_one_each(self, case: Case, partner: str) -> None:
        module, images = by_class(case, partner), case.images(6)
        with pytest.raises(ValueError, match=r"pool_labels.*\(6,\).*\(5,\)"):
            module(images, labels=self.LABELS, pool=images, pool_labels=self.LABELS[:5])

    def test_replays_without_labels(self, case: Case, partner: str) -> None:
        module, images = by_class(case, partner), case.images(6)
        negatives = module(images, labels=self.LABELS)
        assert torch.equal(module(images, params=module._params), negatives)
        with pytest.raises(ValueError, match="params repeat a draw"):
            module(images, params=module._params, labels=self.LABELS)

    def test_the_lonely_are_named(self, case: Case, partner: str) -> None:
        module, images = by_class(case, partner), case.images(3)
        labels = torch.tensor([7, 7, 7] if partner == "other_class" else [7, 7, 8])
        with pytest.raises(ValueError, match=r"no image of (its own|another) class.*\[[78]\]"):
            module(images, labels=labels)


def test_partners_by_class_are_no_shared_draw() -> None:
    with pytest.raises(ValueError, match=r"^partners are chosen by class image by image"):
        nda.Stitch(partner="other_class", same_on_batch=True)


@pytest.mark.parametrize(
    "transform", [nda.Stitch(), nda.Mixture([nda.Jigsaw(), nda.CutMix()])], ids=["stitch", "mixture"]
)
def test_partners_of_kornias_video_container_would_be_frames_of_other_clips(transform: nda.NegativeTransform) -> None:
    clips = torch.rand(4, 5, 3, 8, 8)
    name = type(transform).__name__
    with pytest.raises(ValueError, match=f"^{name} borrows from other clips, whose places kornia's VideoSequential"):
        VideoSequential(transform, data_format="BTCHW", same_on_frame=True)(clips)
    assert transform(clips).shape == clips.shape


def test_kornias_video_container_takes_what_does_not_borrow() -> None:
    clips = torch.rand(2, 3, 1, 8, 8)
    assert VideoSequential(nda.Jigsaw(), data_format="BTCHW", same_on_frame=True)(clips).shape == clips.shape
