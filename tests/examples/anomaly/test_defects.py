import pytest
import torch

from examples.anomaly import defects
from examples.common.randomness import generator


def test_patches_are_parts_of_the_wall() -> None:
    picture = defects.wall()
    assert (picture.shape, picture.dtype) == ((1, 256, 256), torch.float32)
    assert 0 <= picture.min() < 0.3
    assert 0.6 < picture.max() <= 1
    ramp = torch.arange(256 * 300.0).view(1, 256, 300)
    for patch in defects.patches(ramp, 20, generator(0, "test")):
        top, left = divmod(int(patch[0, 0, 0]), 300)
        assert torch.equal(patch, ramp[:, top : top + 64, left : left + 64])


def test_damage_is_where_the_mask_is() -> None:
    images = defects.patches(defects.wall(), 20, generator(0, "test"))
    damaged, masks = defects.damage(images, generator(1, "test"))
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    assert (masks.flatten(1).mean(dim=1) > 0.005).all()
    assert (masks.flatten(1).mean(dim=1) < 0.1).all()
    near = torch.nn.functional.max_pool2d(masks, 3, stride=1, padding=1)
    assert torch.equal(damaged[near == 0], images[near == 0])
    change = (damaged - images).abs()
    assert (change * masks).flatten(1).amax(dim=1).min() > 0.1
    assert 0 <= damaged.min() <= damaged.max() <= 1


@pytest.mark.filterwarnings("ignore:.*it has learned nothing:UserWarning")  # nor should it, in seven steps
def test_it_runs_and_draws(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(defects, "SIDE", 32)
    rows = defects.run(1, 0, tmp_path / "heat.png")
    assert set(rows) == {"images", "pixels"}
    assert all(0 <= value <= 100 for row in rows.values() for value in row.values())
    assert (tmp_path / "heat.png").stat().st_size > 1000
