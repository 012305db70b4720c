"""Temporal kernels against loops over the frames."""

import re

import pytest
import torch

from nda_augment import functional, sampling
from tests.cases import DTYPES, distinct, generator


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("frames", [2, 3, 5])
class TestAgainstLoops:
    def test_frame_shuffle(self, frames: int, dtype: torch.dtype) -> None:
        clips = distinct((4, frames, 3, 2, 5), dtype=dtype)
        order = sampling.permutations(4, frames, generator=generator(0))
        expected = torch.stack(
            [torch.stack([clip[t] for t in own]) for clip, own in zip(clips, order.tolist(), strict=True)]
        )
        assert torch.equal(functional.frame_shuffle(clips, order), expected)

    def test_frame_reverse(self, frames: int, dtype: torch.dtype) -> None:
        clips = distinct((4, frames, 3, 2, 5), dtype=dtype)
        assert torch.equal(functional.frame_reverse(clips), torch.stack(list(reversed(clips.unbind(1))), dim=1))
        assert torch.equal(functional.frame_reverse(functional.frame_reverse(clips)), clips)

    @pytest.mark.parametrize("with_pool", [False, True])
    def test_clip_stitch(self, frames: int, dtype: torch.dtype, with_pool: bool) -> None:
        clips = distinct((4, frames, 3, 2, 5), dtype=dtype)
        pool = distinct((6, frames, 3, 2, 5), seed=1, dtype=dtype) if with_pool else clips
        partners = sampling.partners(4, 6 if with_pool else None, generator=generator(0))
        result = functional.clip_stitch(clips, partners, pool=pool if with_pool else None)
        for b, partner in enumerate(partners.tolist()):
            for t in range(frames):
                assert torch.equal(result[b, t], (clips[b] if t < frames // 2 else pool[partner])[t])


def test_errors() -> None:
    clips = torch.rand(2, 3, 1, 4, 4)
    for kernel in (
        functional.frame_reverse,
        lambda x: functional.frame_shuffle(x, torch.zeros(2, 3, dtype=torch.long)),
        lambda x: functional.clip_stitch(x, torch.tensor([1, 0])),
    ):
        with pytest.raises(ValueError, match=r"clips must be \(B, T, C, H, W\).*got shape \(2, 1, 4, 4\)"):
            kernel(clips[:, 0])
        with pytest.raises(ValueError, match=r"clips must be .*got shape \(4, 4\)"):
            kernel(clips[0, 0, 0])
        with pytest.raises(TypeError, match=r"clips must be a torch\.Tensor, got list"):
            kernel([clips])
    with pytest.raises(ValueError, match=re.escape("permutation must have shape (2, 3)")):
        functional.frame_shuffle(clips, torch.zeros(2, 4, dtype=torch.long))
    with pytest.raises(ValueError, match=re.escape("partners must have shape (2,)")):
        functional.clip_stitch(clips, torch.tensor([1]))
    with pytest.raises(ValueError, match="pool must hold images of shape"):
        functional.clip_stitch(clips, torch.tensor([1, 0]), pool=clips[:, :2])
