import pytest
import torch

from examples.anomaly.damage import KINDS, damaged


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_where_the_mask_says_and_little_beyond(kind: str) -> None:
    images = torch.rand(12, 1, 48, 40, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3
    changed, mask = damaged(images, kind)
    assert changed.shape == mask.shape == images.shape
    assert mask.dtype == torch.bool
    assert changed.min() >= 0
    assert changed.max() <= 1
    difference = (changed - images).abs()
    for own, inside in zip(difference, mask, strict=True):
        assert 0 < inside.float().mean() < 0.25
        assert own[inside].mean() > 5 * own[~inside].mean()
    assert torch.equal(damaged(images, kind)[0], changed)
    assert not torch.equal(damaged(images, kind, seed=1)[1], mask)


def test_kinds_differ_as_their_names_say() -> None:
    images = torch.full((8, 1, 48, 48), 0.5)
    signs = {kind: (changed - images)[mask].mean() for kind in KINDS for changed, mask in [damaged(images, kind)]}
    assert max(signs["crack"], signs["stain"]) < 0
    assert signs["scratch"] > 0
    assert signs["smear"].abs() < 1e-6  # nothing to smear
