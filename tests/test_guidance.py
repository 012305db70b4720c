import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nda_augment as nda
from nda_augment.guidance import Guided, Kind, draw_kinds, guide, mix_kinds


def batch(size=20):
    images = torch.rand(size, 3, 8, 8)
    return images, images + 10  # a negative can be told from its source


class TestMixKinds:
    @given(st.integers(1, 64), st.floats(0.05, 0.95))
    def test_the_share_is_the_one_asked_for(self, size, share):
        kinds = mix_kinds(*batch(size), share=share, drop=0.0).kinds
        assert abs((kinds == Kind.NEGATIVE).sum().item() - share * size) < 1 + 1e-4

    def test_every_place_of_the_batch_is_as_likely(self):
        torch.manual_seed(0)
        counts = sum(draw_kinds(8, share=0.25)["is_negative"].float() for _ in range(2000)) / 2000
        assert torch.allclose(counts, torch.full((8,), 0.25), atol=0.04)

    @pytest.mark.parametrize("drop", [0.0, 0.5])
    def test_no_negative_is_called_real(self, drop):
        torch.manual_seed(0)
        images, negatives = batch(200)
        mixed, kinds = mix_kinds(images, negatives, share=0.4, drop=drop)
        is_negative = (mixed == negatives).flatten(1).all(1)
        is_real = (mixed == images).flatten(1).all(1)
        assert (is_negative ^ is_real).all()
        assert is_negative.sum() == 80
        assert is_real[kinds == Kind.REAL].all()
        assert is_negative[kinds == Kind.NEGATIVE].all()
        dropped = kinds == Kind.ANY
        assert dropped.any() == (drop > 0)
        if drop:
            assert (dropped & is_real).any()
            assert (dropped & is_negative).any()

    def test_kinds_are_dropped_as_often_as_asked(self):
        torch.manual_seed(0)
        dropped = draw_kinds(10_000, drop=0.1)["is_dropped"].float().mean()
        assert abs(dropped - 0.1) < 0.01

    def test_a_draw_repeats(self):
        images, negatives = batch()
        params = draw_kinds(20, share=0.5, generator=torch.Generator().manual_seed(0))
        again = mix_kinds(images, negatives, share=0.5, generator=torch.Generator().manual_seed(0))
        for one, other in zip(mix_kinds(images, negatives, params=params), again, strict=True):
            assert torch.equal(one, other)

    def test_it_takes_the_negatives_of_a_policy(self):
        images = torch.rand(8, 3, 16, 16)
        mixed, kinds = mix_kinds(images, nda.from_policy("jigsaw,rotate90")(images), share=0.5, drop=0.0)
        changed = (mixed != images).flatten(1).any(1)
        assert torch.equal(changed, kinds == Kind.NEGATIVE)

    @pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
    def test_a_share_outside_its_range_is_named(self, share):
        with pytest.raises(ValueError, match=r"share .*\(0, 1\).*try 0.15"):
            mix_kinds(*batch(), share=share)

    @pytest.mark.parametrize("drop", [1.0, -0.1])
    def test_a_drop_outside_its_range_is_named(self, drop):
        with pytest.raises(ValueError, match=r"drop .*\[0, 1\)"):
            mix_kinds(*batch(), drop=drop)

    def test_bad_batches_and_draws_are_named(self):
        images, negatives = batch()
        with pytest.raises(ValueError, match="like the images"):
            mix_kinds(images, negatives[:3])
        with pytest.raises(ValueError, match="like the images"):
            mix_kinds(images, negatives.double())
        with pytest.raises(ValueError, match="draw of draw_kinds"):
            mix_kinds(images, negatives, params={"permutation": torch.zeros(20)})
        with pytest.raises(ValueError, match=r"is_negative must have shape \(20,\)"):
            mix_kinds(images, negatives, params=draw_kinds(3))
        with pytest.raises(ValueError, match="without a generator"):
            mix_kinds(images, negatives, params=draw_kinds(20), generator=torch.Generator())


class TestGuide:
    def test_it_is_the_formula(self):
        real, negative = torch.randn(2, 4, 3, 8, 8)
        assert torch.allclose(guide(real, negative, 1.5), 2.5 * real - 1.5 * negative, atol=1e-6)

    def test_scale_0_is_the_real_prediction_bit_for_bit(self):
        real = torch.tensor([float("inf"), -0.0, 1.0])
        assert guide(real, torch.full((3,), float("nan")), 0.0) is real

    def test_it_acts_within_the_interval_only(self):
        real, negative = torch.ones(4, 1), torch.zeros(4, 1)
        levels = torch.tensor([0.1, 0.2, 0.5, 0.6])
        assert guide(real, negative, 1.0, (0.2, 0.5), levels).flatten().tolist() == [1.0, 2.0, 2.0, 1.0]
        assert [guide(real, negative, 1.0, (0.2, 0.5), level)[0].item() for level in levels.tolist()] == [1, 2, 2, 1]

    def test_guiding_any_affine_prediction_guides_the_image(self):
        noisy, real, negative = torch.randn(3, 4, 8, dtype=torch.float64)
        signal, sigma = 0.8, 0.6
        image = guide((noisy - sigma * real) / signal, (noisy - sigma * negative) / signal, 2.0)
        assert torch.allclose(image, (noisy - sigma * guide(real, negative, 2.0)) / signal)

    @pytest.mark.parametrize("scale", [-1.0, float("inf"), float("nan")])
    def test_a_bad_scale_is_named(self, scale):
        with pytest.raises(ValueError, match="at least 0"):
            guide(torch.ones(1), torch.ones(1), scale)
        with pytest.raises(ValueError, match="at least 0"):
            Guided(lambda *_: None, scale)

    def test_bad_arguments_are_named(self):
        with pytest.raises(ValueError, match="one shape"):
            guide(torch.ones(1), torch.ones(2), 1.0)
        with pytest.raises(ValueError, match="lowest < highest"):
            guide(torch.ones(1), torch.ones(1), 1.0, (0.5, 0.5), 0.5)
        with pytest.raises(ValueError, match="noise_level="):
            guide(torch.ones(1), torch.ones(1), 1.0, (0.2, 0.5))


class TestGuided:
    def test_it_asks_for_both_kinds_under_the_same_conditions(self):
        seen = []

        def denoiser(noisy, noise_level, kinds, labels):
            seen.append((noisy, noise_level, kinds, labels))
            return noisy * (1 + kinds + 10 * labels).view(-1, 1)

        noisy, labels = torch.randn(3, 2), torch.tensor([0, 1, 2])
        guided = Guided(denoiser, scale=2.0)(noisy, 0.3, labels=labels)
        ((both, level, kinds, twice),) = seen
        assert torch.equal(both, torch.cat([noisy, noisy]))
        assert level == 0.3
        assert kinds.tolist() == [0, 0, 0, 1, 1, 1]
        assert twice.tolist() == [0, 1, 2, 0, 1, 2]
        # real + 2 (real − negative), where the negative's prediction is larger by one times the input.
        assert torch.allclose(guided, noisy * (1 + 10 * labels - 2).view(-1, 1))

    @pytest.mark.parametrize(("scale", "interval"), [(0.0, None), (1.0, (0.4, 0.5))])
    def test_without_effect_it_is_the_plain_denoiser_and_costs_as_much(self, scale, interval):
        calls = []

        def denoiser(noisy, noise_level, kinds):
            calls.append(len(noisy))
            return noisy + kinds.view(-1, 1)

        noisy = torch.randn(3, 2)
        assert torch.equal(Guided(denoiser, scale, interval)(noisy, 0.3), noisy)
        assert calls == [3]

    def test_a_learned_variance_is_that_of_the_real_prediction(self):
        def denoiser(noisy, noise_level, kinds):
            return torch.cat([noisy, noisy], dim=1) + kinds.view(-1, 1)

        guided = Guided(denoiser, scale=2.0)(torch.zeros(1, 2), 0.3)
        assert guided.tolist() == [[-2.0, -2.0, 0.0, 0.0]]
