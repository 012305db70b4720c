import warnings

import pytest
import torch

from examples.common import data
from examples.common.settings import ConfigError
from examples.gan.instances import read_instances
from examples.gan.train import Training
from nda_augment.anomaly import GaussianDensity
from tests.examples.gan.test_train import differing, final

KINDS = ["LOSS.nda_weights={fake: 0.5, 'jigsaw,stitch': 0.2, history: 0.3}", "AUG.nda_history_every=2"]
DENSITY = ["AUG.nda_history_candidates=4", "AUG.nda_history_score=density"]
CLASSES = ["MODEL.g_cond_mtd=cBN", "MODEL.d_cond_mtd=PD"]
WRONG = ["LOSS.nda_weights={fake: 0.6, wrong_label: 0.2, history: 0.2}", "AUG.nda_history_every=2", *CLASSES]

pytestmark = pytest.mark.filterwarnings("ignore:the history has no snapshot")


def run_of(settings):
    return Training(settings, data.load(settings.DATA)[0])


# Before the first snapshot, between two, and right after one has gone.
@pytest.mark.parametrize(
    ("words", "stop"),
    [([*KINDS, "AUG.nda_history_candidates=3"], 3), ([*KINDS, *DENSITY], 3), (WRONG, 1), (WRONG, 6)],
    ids=["worst-3", "density-3", "classes-1", "classes-6"],
)
def test_a_run_with_a_history_that_was_stopped_ends_as_if_it_had_not(tiny, words, stop):
    words = [*words, "AUG.nda_history_capacity=2", "RUN.print_freq=1"]
    whole = final(tiny("whole", *words))
    final(tiny("parts", *words, f"OPTIMIZATION.total_steps={stop}"))
    parts = final(tiny("parts", *words))
    assert differing(whole, parts) == []
    assert [len(whole["past"]["snapshots"]), whole["past"]["updates"]] == [2, 8]


def test_control_a_history_that_is_not_restored_does_show(tiny, monkeypatch):
    whole = final(tiny("whole", *KINDS))
    fresh = run_of(tiny("fresh", *KINDS)).state_dict()
    final(tiny("parts", *KINDS, "OPTIMIZATION.total_steps=4"))
    load = Training.load_state_dict
    monkeypatch.setattr(Training, "load_state_dict", lambda run, state: load(run, {**state, "past": fresh["past"]}))
    assert "/generator/start.weight" in differing(whole, final(tiny("parts", *KINDS)))


def test_rows_hold_the_terms_and_the_gaps_of_all_kinds_from_the_first_snapshot_on(tiny):
    rows = final(tiny("kinds", *KINDS, "RUN.print_freq=1", "OPTIMIZATION.total_steps=3"))["history"]
    without = ["step", "real", "fake", "jigsaw,stitch", "generator", "gap jigsaw,stitch"]
    assert [list(row) for row in rows[:2]] == [without, without]
    assert set(rows[2]) == {*without, "history", "gap history"}


def test_before_the_first_snapshot_its_share_goes_to_generated_images(tiny):
    run = run_of(tiny("early", *KINDS))
    with pytest.warns(UserWarning, match="no snapshot before update 2"):
        loss, verdict = run.discriminator_loss(0)
    terms = verdict.terms
    expected = terms["real"] + 0.8 * terms["fake"] + 0.2 * terms["jigsaw,stitch"]
    torch.testing.assert_close(loss, expected)
    run.past.update()
    run.past.update()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss, verdict = run.discriminator_loss(1)
    terms = verdict.terms
    expected = terms["real"] + 0.5 * terms["fake"] + 0.2 * terms["jigsaw,stitch"] + 0.3 * terms["history"]
    torch.testing.assert_close(loss, expected)


def test_one_policy_with_its_weight_is_the_single_form_bit_for_bit(tiny, monkeypatch):
    monkeypatch.setattr("examples.gan.negatives.generator", _same_source)
    monkeypatch.setattr("examples.common.negatives.generator", _same_source)
    single = final(tiny("single", "AUG.nda_policy=jigsaw", "LOSS.nda_fake_weight=0.75"))
    kinds = final(tiny("kinds", "LOSS.nda_weights={fake: 0.75, jigsaw: 0.25}"))
    assert differing(single["discriminator"], kinds["discriminator"]) == []


def _same_source(seed, purpose, number, device="cpu"):
    return torch.Generator(device).manual_seed(number)


def test_all_weight_on_generated_images_is_the_plain_run_bit_for_bit(tiny):
    plain = final(tiny("plain", "AUG.apply_nda=false"))
    kinds = final(tiny("kinds", "LOSS.nda_weights={fake: 1, jigsaw: 0, history: 0}"))
    assert differing(plain["generator"], kinds["generator"]) == []
    late = final(tiny("late", *KINDS, "LOSS.nda_start_step=8"))
    assert differing(plain["generator"], late["generator"]) == []


def test_a_wrong_label_is_the_real_image_with_another_class(tiny):
    run = run_of(tiny("wrong", *WRONG))
    batch = run._batch(0)
    images, labels = run.kinds.of("wrong_label", batch, 0)
    assert torch.equal(images, batch.images)
    assert torch.equal(labels, 1 - batch.labels)


def test_the_worst_by_the_discriminator_is_taken_and_leaves_no_trace(tiny):
    run = run_of(tiny("worst", *KINDS, "AUG.nda_history_candidates=8"))
    run.past.update()
    run.past.update()
    before = {name: value.clone() for name, value in run.discriminator.network.state_dict().items()}
    images, _ = run.kinds.of("history", run._batch(0), 0)
    assert differing(before, dict(run.discriminator.network.state_dict())) == []
    assert run.discriminator.network.training
    latents = run.kinds.old._params["latents"]
    stage = run.generator.network.module.eval()
    everyone = run._badness(stage(latents.flatten(0, 1))).view(6, 8)
    torch.testing.assert_close(run._badness(images), everyone.amax(1))


def test_or_the_one_that_is_farthest_from_real_images(tiny):
    run = run_of(tiny("far", *KINDS, *DENSITY))
    run.past.update()
    run.past.update()
    images, _ = run.kinds.of("history", run._batch(0), 0)
    instances = read_instances(run.folder, run.settings)
    apart = GaussianDensity(64).fit(instances.features)
    everyone = run.generator.network.module.eval()(run.kinds.old._params["latents"].flatten(0, 1))
    scores = apart.score(instances.encoder(everyone)).view(6, 4)
    # In double precision, of features that float32 rounds as the size of the batch has it.
    torch.testing.assert_close(apart.score(instances.encoder(images)), scores.amax(1), rtol=1e-5, atol=0)
    with pytest.raises(ConfigError, match="there is only 1"):
        tiny("one", *KINDS, "AUG.nda_history_score=density")


class TestLateStart:
    def test_a_start_below_one_is_a_share_of_the_run(self, tiny):
        late = tiny("late", "LOSS.nda_start_step=0.75", "RUN.print_freq=1")
        assert [row["fake_weight"] for row in final(late)["history"]] == [1.0] * 6 + [0.75] * 2
        with pytest.raises(ConfigError, match=r"OPTIMIZATION\.total_steps \(was 8, now 9\)"):
            final(tiny("late", "LOSS.nda_start_step=0.75", "RUN.print_freq=1", "OPTIMIZATION.total_steps=9"))

    def test_a_part_of_a_step_is_refused(self, tiny):
        with pytest.raises(ConfigError, match=r"a whole step, or a share below 1, got 1\.5"):
            tiny("late", "LOSS.nda_start_step=1.5")


class TestBlend:
    def test_the_discriminator_sees_blends_in_two_passes(self, tiny):
        run = run_of(tiny("blend", "LOSS.nda_mode=blend", "LOSS.nda_fake_weight=0.5", "LOSS.nda_blend=0.3"))
        loss, verdict = run.discriminator_loss(1)
        torch.testing.assert_close(loss, verdict.terms["real"] + verdict.terms["fake"])
        assert "negative" not in verdict.terms
        assert verdict.gaps["negative"].isfinite()

    @pytest.mark.parametrize(("p", "blended"), [(1.0, 0), (0.0, 6)])
    def test_the_probability_may_be_that_of_ada(self, tiny, p, blended):
        words = ["LOSS.nda_mode=blend", "LOSS.nda_blend_ada=true", "AUG.apply_ada=true", "AUG.ada_aug_type=color"]
        run = run_of(tiny("ada", *words))
        run.positives.p = p
        fake = torch.zeros(6, 1, 8, 8)
        assert run._mixed(fake, None, run._batch(0), 0).count == blended

    def test_a_stopped_run_ends_as_if_it_had_not_stopped(self, tiny):
        words = ["LOSS.nda_mode=blend", "LOSS.nda_blend_ada=true", "AUG.apply_ada=true", "AUG.ada_aug_type=color"]
        words += ["RUN.print_freq=1", "AUG.ada_interval=1", "AUG.ada_kimg=0.1"]
        whole = final(tiny("whole", *words))
        final(tiny("parts", *words, "OPTIMIZATION.total_steps=3"))
        assert differing(whole, final(tiny("parts", *words))) == []
