import math

import pytest
import torch

import nda_augment as nda
from examples.gan.positives import FAMILIES, AdaptiveAugment, DiffAugment, undone_negatives


def images(*shape, seed=0, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 2 - 1


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------------------------------------------------------------
# Each family against a loop that is obviously right
# ---------------------------------------------------------------------------------------------------------------------


def color(image, draw):
    brightness, saturation, contrast = draw.tolist()
    image = image + (brightness - 0.5)
    grey = image.mean(dim=0, keepdim=True)
    image = grey + (image - grey) * (2 * saturation)
    return image.mean() + (image - image.mean()) * (contrast + 0.5)


def translation(image, draw):
    height, width = image.shape[1:]
    right = round(draw[0].item() * 2 * round(width / 8)) - round(width / 8)
    down = round(draw[1].item() * 2 * round(height / 8)) - round(height / 8)
    moved = torch.zeros_like(image)
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                moved[:, y, x] = image[:, y - down, x - right]
    return moved


def cutout(image, draw):
    """A square of half the side about a centre that may lie on the border."""
    holed = image.clone()
    ranges = []
    for length, place in zip((image.shape[2], image.shape[1]), draw.tolist(), strict=True):
        hole = round(length / 2)
        first = round(place * (length - hole % 2)) - hole // 2
        ranges.append(range(max(first, 0), min(first + hole, length)))
    for y in ranges[1]:
        for x in ranges[0]:
            holed[:, y, x] = 0
    return holed


def flip(image, draw):
    return image.flip(-1) if draw.item() > 0.5 else image


def rotate90(image, draw):
    return torch.rot90(image, round(3 * draw.item()), (-2, -1))


REFERENCES = {"color": color, "translation": translation, "cutout": cutout, "flip": flip, "rotate90": rotate90}


@pytest.mark.parametrize("shape", [(9, 3, 16, 16), (9, 1, 8, 24), (9, 3, 10, 14)], ids=str)
@pytest.mark.parametrize("family", REFERENCES)
def test_equals_a_loop(family, shape):
    batch, positives = images(*shape), DiffAugment(family)
    augmented = positives(batch, generator=seeded())
    expected = [REFERENCES[family](*pair) for pair in zip(batch, positives._params[family].double(), strict=True)]
    torch.testing.assert_close(augmented, torch.stack(expected))


def test_every_family_has_a_reference():
    assert set(REFERENCES) == set(FAMILIES)


@pytest.mark.parametrize("family", REFERENCES)
def test_draws_fill_their_range_and_say_what_was_done(family):
    draw = DiffAugment(family).sample((600, 3, 16, 16), generator=seeded())[family]
    assert draw.shape == (600, FAMILIES[family].size)
    assert draw.min() < 0.01
    assert draw.max() > 0.99
    assert ((draw >= 0) & (draw <= 1)).all()
    tolerance = 4 * 0.5 / math.sqrt(600)
    assert (draw.mean(dim=0) - 0.5).abs().max() < tolerance


def test_the_policy_is_applied_in_its_order():
    batch = images(4, 3, 16, 16)
    both = DiffAugment("cutout,color")
    augmented = both(batch, generator=seeded())
    first = DiffAugment("cutout")(batch, params={"cutout": both._params["cutout"]})
    assert torch.equal(augmented, DiffAugment("color")(first, params={"color": both._params["color"]}))


def test_images_differ_in_their_draws_and_a_seed_repeats_them():
    positives, batch = DiffAugment(), images(1, 3, 16, 16).expand(8, -1, -1, -1)
    augmented = positives(batch, generator=seeded(3))
    assert len({image.numpy().tobytes() for image in augmented}) == 8
    before = torch.get_rng_state()
    assert torch.equal(positives(batch, generator=seeded(3)), augmented)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(positives(batch, params=positives._params), augmented)


@pytest.mark.parametrize("family", REFERENCES)
def test_gradients_of_both_orders(family):
    batch, positives = images(2, 3, 4, 4).requires_grad_(), DiffAugment(family)
    params = positives.sample(batch.shape, generator=seeded())
    assert torch.autograd.gradcheck(lambda x: positives(x, params=params), batch)
    assert torch.autograd.gradgradcheck(lambda x: positives(x, params=params).square(), batch)


def test_keeps_dtype_shape_and_the_input():
    batch = images(3, 1, 8, 8, dtype=torch.bfloat16)
    before = batch.clone()
    augmented = AdaptiveAugment(",".join(FAMILIES))(batch)
    assert (augmented.dtype, augmented.shape) == (batch.dtype, batch.shape)
    assert torch.equal(batch, before)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("colour", "a policy is made of color, .* got 'colour' in 'colour'; did you mean 'color'?"),
        ("", "got '' in ''"),
        ("flip,flip", "policy 'flip,flip' names a family twice"),
    ],
)
def test_bad_policies_are_refused(policy, message):
    with pytest.raises(ValueError, match=message):
        DiffAugment(policy)


def test_bad_input_is_refused():
    positives = DiffAugment("flip")
    with pytest.raises(ValueError, match=r"must be \(B, C, H, W\), got shape \(3, 8, 8\)"):
        positives(images(3, 8, 8))
    with pytest.raises(TypeError, match=r"floating point, got torch.uint8"):
        positives(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match="pass them without a generator"):
        positives(images(2, 3, 8, 8), {"flip": torch.zeros(2, 1)}, generator=seeded())
    with pytest.raises(ValueError, match=r"draw for this policy and batch, {'flip': \(2, 1\)}, got {'flip': \(3, 1\)}"):
        positives(images(2, 3, 8, 8), {"flip": torch.zeros(3, 1)})


# ---------------------------------------------------------------------------------------------------------------------


class TestAdaptive:
    def test_at_zero_nothing_happens_and_at_one_everything(self):
        batch, adaptive = images(6, 3, 16, 16), AdaptiveAugment("color,cutout")
        assert torch.equal(adaptive(batch, generator=seeded()), batch)
        adaptive.p = 1.0
        always = DiffAugment("color,cutout")(batch, generator=seeded())
        assert torch.equal(adaptive(batch, generator=seeded()), always)

    def test_each_family_meets_each_image_with_probability_p(self):
        adaptive = AdaptiveAugment("flip,cutout")
        adaptive.p = 0.3
        applied = adaptive.sample((2000, 1, 8, 8), generator=seeded())["applied"]
        share = applied.double().mean(dim=0)
        assert (share - 0.3).abs().max() < 4 * math.sqrt(0.3 * 0.7 / 2000)
        together = (applied[:, 0] & applied[:, 1]).double().mean()
        assert together == pytest.approx(0.09, abs=4 * math.sqrt(0.09 * 0.91 / 2000))

    def test_p_follows_the_sign_of_real_logits(self):
        adaptive = AdaptiveAugment(target=0.5, interval=2, images=1000)
        sure, unsure = torch.full((50,), 0.1), torch.tensor([3.0] * 30 + [-9.0] * 20)
        assert [adaptive.update(sure) for _ in range(4)] == pytest.approx([0, 0.1, 0.1, 0.2])
        assert [adaptive.update(unsure) for _ in range(4)] == pytest.approx([0.2, 0.1, 0.1, 0])
        assert [adaptive.update(unsure) for _ in range(2)] == [0, 0]

    def test_p_does_not_exceed_one(self):
        adaptive = AdaptiveAugment(interval=1, images=10)
        assert [adaptive.update(torch.ones(7)) for _ in range(2)] == [0.7, 1.0]

    def test_waits_for_the_device_once_in_an_interval(self, monkeypatch):
        reads = []
        to_float = torch.Tensor.__float__
        monkeypatch.setattr(torch.Tensor, "__float__", lambda tensor: (reads.append(1), to_float(tensor))[1])
        adaptive = AdaptiveAugment(interval=4)
        for _ in range(8):
            adaptive.update(torch.ones(2, requires_grad=True))
        assert len(reads) == 2

    @pytest.mark.parametrize("stop", range(4))
    def test_resumes_exactly(self, stop):
        logits = [0.5 + torch.randn(16, generator=seeded(step)) for step in range(9)]
        unbroken, first, second = (AdaptiveAugment(target=0.3, interval=3, images=100) for _ in range(3))
        expected = [unbroken.update(some) for some in logits]
        for some in logits[:stop]:
            first.update(some)
        second.load_state_dict(first.state_dict())
        assert [second.update(some) for some in logits[stop:]] == expected[stop:]

    @pytest.mark.parametrize("arguments", [{"target": 1.0}, {"target": math.nan}, {"interval": 0}, {"images": 0}])
    def test_bad_settings_are_refused(self, arguments):
        (name,) = arguments
        with pytest.raises(ValueError, match=f"{name}"):
            AdaptiveAugment(**arguments)

    def test_bad_logits_are_refused(self):
        with pytest.raises(ValueError, match="real_logits is empty"):
            AdaptiveAugment().update(torch.zeros(0))
        with pytest.raises(ValueError, match="not finite: training diverged"):
            AdaptiveAugment(interval=1).update(torch.tensor([math.nan]))

    def test_a_state_of_another_setting_is_refused(self):
        state = {"_extra_state": {"p": 0.5, "signs": 0.0, "updates": 4, "seen": 0}}
        with pytest.raises(ValueError, match="interval=4"):
            AdaptiveAugment(interval=4).load_state_dict(state)


# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("negatives", "policy", "found"),
    [
        ("jigsaw,stitch,cutmix,mixup", ",".join(FAMILIES), []),
        ("cutout", "color,translation", []),
        ("cutout", "cutout", ["cutout is imitated by the positive cutout"]),
        ("roll,jigsaw", "translation", ["roll is imitated by the positive translation"]),
        ("rotate90", "rotate90", ["rotate90 is imitated by the positive rotate90"]),
        ("flip(direction=horizontal)", "flip", ["flip(direction=horizontal) is imitated by the positive flip"]),
        ("flip", "flip", []),
        ("flip", "flip,rotate90", ["flip is imitated by the positives flip and rotate90"]),
        ("cutout,roll", "cutout,translation", ["cutout is imitated", "roll is imitated"]),
    ],
)
def test_negatives_that_a_positive_imitates(negatives, policy, found):
    lines = undone_negatives(nda.from_policy(negatives), DiffAugment(policy))
    assert len(lines) == len(found)
    assert all(line.startswith(start) for line, start in zip(lines, found, strict=True))


def test_a_flip_and_half_a_turn_are_a_vertical_flip():
    batch = images(2, 3, 8, 8)
    params = {"flip": torch.ones(2, 1), "rotate90": torch.full((2, 1), 2 / 3)}
    assert torch.equal(DiffAugment("flip,rotate90")(batch, params), nda.Flip()(batch))


def test_members_of_mixtures_within_mixtures_are_found():
    nested = nda.Mixture([nda.Jigsaw(), nda.Mixture([nda.Cutout(side=0.3)])])
    assert undone_negatives(nested, DiffAugment("cutout"))[0].startswith("cutout(side=0.3-0.3) is imitated")
