import pytest
import torch

from nda_augment.anomaly import Blemish
from nda_augment.anomaly.blemish import MATERIALS, SHAPES


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(64, 3, 32, 40, generator=torch.Generator().manual_seed(0))


def test_nothing_changes_outside_the_region_and_something_does_inside(images) -> None:
    damaged, where = Blemish()(images, generator=torch.Generator().manual_seed(1), return_mask=True)
    assert torch.equal(torch.where(where, images, damaged), images)
    assert where.shape == (64, 1, 32, 40)
    assert where.flatten(1).any(dim=1).all()
    assert (damaged != images).flatten(1).any(dim=1).all()


def test_a_draw_can_be_repeated(images) -> None:
    blemish = Blemish()
    first = blemish(images)
    assert torch.equal(first, blemish(images, params=blemish._params))
    source = torch.Generator().manual_seed(3)
    assert torch.equal(blemish(images, generator=source), blemish(images, generator=source.manual_seed(3)))


def test_shapes_and_materials_come_as_often_as_they_should() -> None:
    params = Blemish().draw((6000, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    shares = {"shape": [1 / 3] * len(SHAPES), "material": [1 / 2, 1 / 6, 1 / 6, 1 / 6]}
    assert MATERIALS[0] == "tone"
    for name, expected in shares.items():
        counts = params[name].bincount(minlength=len(expected))
        assert ((counts / 6000 - torch.tensor(expected)).abs() < 0.03).all()


def test_a_tone_always_changes_and_copies_sometimes_come_as_they_are() -> None:
    params = Blemish().draw((4000, 1, 64, 64), generator=torch.Generator().manual_seed(0))
    tone, brightness = params["material"] == 0, params["brightness"]
    assert (brightness[tone].abs() >= 0.7).all()
    assert (params["shifts"][tone] == 0).all()
    assert (brightness[~tone] == 0).float().mean() == pytest.approx(0.1, abs=0.03)
    assert brightness.abs().max() <= 4
    assert {bool(value) for value in (brightness > 0).unique()} == {True, False}


def test_draws_stay_in_their_ranges() -> None:
    params = Blemish(feather=0.05, opacity=0.3).draw((4000, 1, 50, 80), generator=torch.Generator().manual_seed(0))
    length, width = params["extents"].unbind(1)
    assert (length >= 5).all()
    assert (length <= 35).all()
    assert (width <= length).all()
    assert (width >= 1).all()
    assert params["opacity"].min() >= 0.3
    assert params["opacity"].max() <= 1
    assert params["feather"].max() <= 0.05 * 50
    assert params["centres"].amax(dim=0).tolist() == [79, 49]
    assert params["centres"].amin(dim=0).tolist() == [0, 0]
    assert params["partners"].ne(torch.arange(4000)).all()


def test_each_shape_is_what_it_says() -> None:
    blemish = Blemish()
    params = blemish.draw((300, 1, 64, 64), generator=torch.Generator().manual_seed(0))
    areas = {}
    for number, shape in enumerate(SHAPES):
        params["shape"] = torch.full_like(params["shape"], number)
        areas[shape] = blemish.region((300, 1, 64, 64), params).float().mean(dim=(1, 2, 3))
    assert (areas["island"] != areas["strip"]).float().mean() > 0.8
    # A vein is a line: of an ellipse it fills a small part.
    assert areas["vein"].median() < 0.5 * areas["island"].median() + 0.02


def test_foreign_material_is_that_of_the_pool(images) -> None:
    blemish = Blemish(feather=0.0, opacity=1.0)
    pool = torch.full((2, 3, 32, 40), 9.0)
    params = blemish.draw(images.shape, pool=pool)
    params["material"] = torch.full_like(params["material"], MATERIALS.index("foreign"))
    params["contrast"], params["brightness"] = torch.ones(64), torch.zeros(64)
    damaged = blemish(images, params=params)
    where = blemish.region(images.shape, params).expand_as(images)
    torch.testing.assert_close(damaged[where], torch.full_like(damaged[where], 9.0))


def test_feathers_reach_inwards(images) -> None:
    blemish = Blemish(feather=0.1, opacity=1.0)
    params = blemish.draw(images.shape)
    params["shape"][:], params["material"][:] = 0, 0
    params["centres"] = torch.tensor([[20, 16]]).expand(64, -1)
    params["extents"] = torch.tensor([[20.0, 16.0]]).expand(64, -1)
    params["angles"] = torch.zeros(64)
    params["contrast"], params["brightness"] = torch.ones(64), torch.full((64,), 4.0)
    params["feather"] = torch.full((64,), 3.2)
    change = (blemish(images, params=params) - images).mean(dim=1)
    assert change[:, 16, 20].mean() > 1.2 * change[:, 16, 11].mean()
    assert (change[:, 16, 8] == 0).all()


@pytest.mark.parametrize("size", [(4, 4), (8, 8), (9, 30)])
def test_small_images(size) -> None:
    images = torch.rand(16, 1, *size)
    assert Blemish()(images).isfinite().all()


def test_smaller_ones_are_refused() -> None:
    with pytest.raises(ValueError, match="images must have 4 px a side at least, got 3x8"):
        Blemish()(torch.rand(2, 1, 3, 8))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"feather": 0.2}, r"feather must be a share of the image in \[0, 0.1\], got 0.2"), ({"opacity": 0.0}, "opacity")],
)
def test_arguments_are_checked(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        Blemish(**options)
