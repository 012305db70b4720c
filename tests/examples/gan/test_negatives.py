import numpy as np
import pytest
import torch

import nda_augment as nda
from examples.common.randomness import Share, generator
from examples.common.settings import ConfigError
from examples.gan.conditioning import Batch, Told
from examples.gan.negatives import Negatives

POLICIES = ["jigsaw", "stitch", "jigsaw,stitch:2,cutout,mixup", "(jigsaw,cutmix),stitch", "cutmix(partner=other_class)"]


@pytest.fixture
def batch():
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Batch(images, torch.arange(6) % 2)


class TestTransform:
    @pytest.mark.parametrize("policy", POLICIES)
    def test_the_same_draw_as_the_transform_alone(self, tiny, batch, policy):
        made = Negatives(tiny("a", f"AUG.nda_policy='{policy}'"), 1, Share()).of(batch, 3)
        labels = batch.labels if "other_class" in policy else None
        alone = nda.from_policy(policy)(batch.images, generator=generator(0, "negatives", 3), labels=labels)
        assert torch.equal(made, alone)

    @pytest.mark.parametrize("policy", POLICIES)
    def test_the_shares_of_processes_make_up_the_batch(self, tiny, batch, policy):
        settings = tiny("a", f"AUG.nda_policy='{policy}'")
        whole = Negatives(settings, 1, Share()).of(batch, 3)
        shares = [Negatives(settings, 1, Share(rank, 3)).of(batch, 3) for rank in range(3)]
        assert torch.equal(torch.cat(shares), whole)

    def test_batches_and_seeds_differ(self, tiny, batch):
        negatives = Negatives(tiny("a"), 1, Share())
        assert not torch.equal(negatives.of(batch, 0), negatives.of(batch, 1))
        assert not torch.equal(negatives.of(batch, 0), Negatives(tiny("a", "RUN.seed=1"), 1, Share()).of(batch, 0))

    def test_strength_follows_its_schedule(self, tiny):
        words = ["AUG.nda_policy='mixup,jigsaw'", "AUG.nda_strength_schedule=linear", "AUG.nda_strength_steps=4"]
        negatives = Negatives(tiny("a", *words), 1, Share())
        found = []
        for step in (0, 1, 4, 9):
            negatives.set_strength(step)
            found.append(negatives.transform.members[0].strength)
        assert found == [0.0, 0.25, 1.0, 1.0]

    def test_learned_weights_follow_what_they_are_told(self, tiny, batch):
        negatives = Negatives(tiny("a", "AUG.nda_learned=true", "AUG.nda_policy='jigsaw,stitch'"), 1, Share())
        for number in range(negatives.transform.interval):
            negatives.of(batch, number)
            negatives.learn(torch.where(negatives.transform._params["choice"] == 1, 3.0, 0.0))
        assert negatives.transform.hardness == pytest.approx((0.0, 3.0))
        assert negatives.transform.probabilities[1] > 0.8

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["AUG.nda_policy=jigsaw"], "AUG.nda_policy=jigsaw must name two at least"),
            (["AUG.nda_policy='jigsaw,stitch:2'"], "and no weights"),
            (["AUG.nda_policy='jigsaw,stitch'", "LOSS.nda_mode=replace"], "LOSS.nda_mode=separate"),
        ],
    )
    def test_what_weights_cannot_be_learned_of_is_refused(self, tiny, words, message):
        with pytest.raises(ConfigError, match=message):
            tiny("a", "AUG.nda_learned=true", *words)


class TestUndesiredImages:
    @pytest.fixture
    def settings(self, tiny, tmp_path):
        images = np.arange(5, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2)
        np.savez(tmp_path / "undesired.npz", images=images)
        return tiny("a", "AUG.nda_source=images", f"AUG.nda_path={tmp_path / 'undesired.npz'}")

    def test_they_are_drawn_anew_for_each_batch(self, settings, batch):
        negatives = Negatives(settings, 1, Share())
        shown = [((negatives.of(batch, n)[:, 0, 0, 0] + 1) * 127.5).round().int().tolist() for n in range(8)]
        assert {value for values in shown for value in values} == set(range(5))
        assert len({tuple(values) for values in shown}) > 4

    def test_the_shares_of_processes_make_up_the_batch(self, settings, batch):
        whole = Negatives(settings, 1, Share()).of(batch, 3)
        assert torch.equal(torch.cat([Negatives(settings, 1, Share(rank, 2)).of(batch, 3) for rank in (0, 1)]), whole)

    def test_grey_ones_are_shown_in_colour(self, settings, batch):
        assert Negatives(settings, 3, Share()).of(batch, 0).shape == (6, 3, 8, 8)

    def test_coloured_ones_are_not_shown_in_grey(self, settings, tmp_path):
        np.savez(tmp_path / "undesired.npz", images=np.zeros((2, 8, 8, 3), np.uint8))
        with pytest.raises(ValueError, match="are in colour, those of the run are not"):
            Negatives(settings, 1, Share())


class TestReplacement:
    def mixed(self, tiny, batch, number, weight=0.25, share=None):
        negatives = Negatives(tiny("a"), 1, share or Share())
        own = negatives.share.of(batch.images)
        fake, labels = torch.full_like(own, 7.0), torch.full((len(own),), 9)
        return negatives.mix(fake, Told(labels), batch, number, weight), negatives.of(batch, number)

    def test_an_image_is_a_fake_or_the_negative_in_its_place_label_included(self, tiny, batch):
        for number in range(5):
            mixed, negatives = self.mixed(tiny, batch, number)
            assert mixed.count == int(mixed.gone.sum())
            for place, gone in enumerate(mixed.gone):
                expected = negatives[place] if gone else torch.full((1, 8, 8), 7.0)
                assert torch.equal(mixed.images[place], expected)
                assert mixed.told.labels[place] == (batch.labels[place] if gone else 9)

    @pytest.mark.parametrize("weight", [0.25, 0.75])
    def test_a_fake_gives_way_with_probability_one_minus_lambda(self, tiny, batch, weight):
        many = Batch(torch.rand(2000, 1, 8, 8), None)
        negatives = Negatives(tiny("a"), 1, Share())
        mixed = negatives.mix(torch.zeros(2000, 1, 8, 8), Told(), many, 0, weight)
        assert mixed.count / 2000 == pytest.approx(1 - weight, abs=0.04)  # four standard errors
        assert mixed.told.labels is None

    def test_the_shares_of_processes_make_up_the_batch(self, tiny, batch):
        whole, _ = self.mixed(tiny, batch, 2)
        parts = [self.mixed(tiny, batch, 2, share=Share(rank, 2))[0] for rank in (0, 1)]
        assert torch.equal(torch.cat([part.images for part in parts]), whole.images)

    @pytest.mark.parametrize("weight", [0.25, 0.75, 0.9])
    def test_the_gaps_of_processes_average_to_that_of_the_batch(self, tiny, batch, weight):
        settings, fake, bare = tiny("a"), torch.zeros(6, 1, 8, 8), 0
        alone, *ranks = (Negatives(settings, 1, share) for share in (Share(), *(Share(rank, 3) for rank in range(3))))
        real, logits = torch.randn(6), torch.randn(6)
        for number in range(12):
            whole = alone.mix(fake, Told(), batch, number, weight).gap(real, logits)
            gaps = []
            for each in ranks:
                own = each.mix(each.share.of(fake), Told(), batch, number, weight)
                gaps.append(own.gap(each.share.of(real), each.share.of(logits)))
                bare += whole is not None and not own.gone.any()
            # All or none: they would wait for each other forever.
            assert {gap is None for gap in gaps} == {whole is None}
            if whole is not None:
                assert torch.stack(gaps).mean().item() == pytest.approx(whole.item(), abs=1e-5)
        assert bare > 0

    def test_the_gap_is_that_to_the_negatives_among_them(self, tiny, batch):
        mixed, _ = self.mixed(tiny, batch, 0, weight=0.5)
        real, logits = torch.randn(6), torch.randn(6)
        assert mixed.gap(real, logits).item() == pytest.approx(
            (real.mean() - logits[mixed.gone].mean()).item(), abs=1e-6
        )
        none, _ = self.mixed(tiny, batch, 0, weight=1.0)
        assert none.count == 0
        assert none.gap(real, logits) is None


class TestBlending:
    def test_an_image_stays_or_has_its_share_of_the_negative_and_keeps_its_label(self, tiny, batch):
        negatives = Negatives(tiny("a"), 1, Share())
        fake, labels = torch.full_like(batch.images, 7.0), torch.full((len(batch),), 9)
        mixed = negatives.mix(fake, Told(labels), batch, 3, 0.5, blend=0.2)
        assert 0 < mixed.count < len(batch)
        blended = 0.8 * fake + 0.2 * negatives.of(batch, 3)
        torch.testing.assert_close(mixed.images[mixed.gone], blended[mixed.gone])
        assert torch.equal(mixed.images[~mixed.gone], fake[~mixed.gone])
        assert torch.equal(mixed.told.labels, labels)
        assert torch.equal(mixed.gone, negatives.mix(fake, Told(labels), batch, 3, 0.5).gone)
