import pytest
import torch

import nda_augment as nda

CLIPS = [nda.FrameReverse(), nda.FrameShuffle(), nda.ClipStitch()]


@pytest.mark.parametrize("negative", CLIPS, ids=lambda negative: negative.word)
def test_two_frames_are_a_clip_and_one_is_none(negative: nda.NegativeTransform) -> None:
    clips = torch.rand(4, 2, 3, 4, 4)
    assert (negative(clips) != clips).flatten(1).any(1).all()
    for other in (clips[:, :1], clips[:, 0]):
        with pytest.raises(ValueError, match=r"at least two frames are needed, got shape \(4, "):
            negative(other)


def test_the_second_half_may_come_from_a_pool() -> None:
    clips = nda.ClipStitch()(torch.zeros(1, 4, 3, 2, 2), pool=torch.ones(5, 4, 3, 2, 2))
    assert clips[0, :, 0, 0, 0].tolist() == [0, 0, 1, 1]
