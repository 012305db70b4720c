"""What can be switched on in a run: that it trains, that it does what it says, and that it survives a kill."""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch

import nda_augment as nda
from examples.common import data
from examples.common.randomness import generator
from examples.common.regularizers import consistency, gradient_penalty, r1_penalty
from examples.common.training import CHECKPOINT
from examples.gan import augself, config, train
from examples.gan.conditioning import Judgement, Told, class_loss
from examples.gan.generation import load_generator, sample, told_of
from examples.gan.positives import DiffAugment
from examples.gan.train import Training
from nda_augment._files import load_checkpoint
from tests.examples.gan.conftest import settings_of
from tests.examples.gan.test_train import differing, final

ROOT = Path(__file__).parents[3]
CONDITIONAL = ["MODEL.g_cond_mtd=cBN", "MODEL.d_embed_dim=4"]
BIGGAN = [
    "MODEL.backbone=big_resnet",
    "MODEL.apply_attn=true",
    "MODEL.attn_g_loc=[1]",
    "MODEL.hierarchical_z=true",
    "MODEL.g_shared_dim=3",
    "MODEL.apply_g_sn=true",
    "MODEL.g_init=ortho",
    "MODEL.g_conv_dim=2",
    "MODEL.d_conv_dim=2",
]
INSTANCES = ["MODEL.instance_cond=true", "MODEL.instance_neighbours=5", "MODEL.g_instance_dim=3"]
MODES = {
    "dcgan": ["MODEL.backbone=deep_conv"],
    "dcgan without spectral norm": ["MODEL.backbone=deep_conv", "MODEL.apply_d_sn=false"],
    "biggan": [*CONDITIONAL, *BIGGAN, "MODEL.d_cond_mtd=PD"],
    "AC": [*CONDITIONAL, "MODEL.d_cond_mtd=AC"],
    "2C": [*CONDITIONAL, "MODEL.d_cond_mtd=2C"],
    "D2DCE": [*CONDITIONAL, "MODEL.d_cond_mtd=D2DCE"],
    "MH": [*CONDITIONAL, "MODEL.d_cond_mtd=MH", "LOSS.adv_loss=MH"],
    "rumi": ["LOSS.adv_loss=rumi_least_squares"],
    "replacement": ["LOSS.nda_mode=replace"],
    "R1": ["LOSS.apply_r1_reg=true"],
    "WGAN-GP": ["LOSS.adv_loss=wasserstein", "LOSS.apply_gp=true", "MODEL.apply_d_sn=false"],
    "CR": ["LOSS.apply_cr=true"],
    "LeCam": ["LOSS.apply_lecam=true", "LOSS.lecam_ema_start_iter=1"],
    "ADA": ["AUG.apply_ada=true", "AUG.ada_aug_type='color,flip'", "AUG.ada_kimg=0.05", "AUG.ada_interval=2"],
    "AugSelf": ["AUG.apply_diffaug=true", "AUG.diffaug_type='color,translation'", "LOSS.apply_augself=true"],
    "accumulation": ["OPTIMIZATION.acml_steps=2"],
    "fp16": ["RUN.precision=16-mixed"],
    "bf16": ["RUN.precision=bf16-mixed"],
    "adaptive": ["LOSS.nda_adaptive=true", "LOSS.nda_adaptive_interval=2", "LOSS.nda_adaptive_rate=0.01"],
    "learned": ["AUG.nda_learned=true", "OPTIMIZATION.d_updates_per_step=4"],
    "instances": INSTANCES,
    "instances and classes": [*INSTANCES, *CONDITIONAL, "MODEL.d_cond_mtd=PD", "MODEL.g_shared_dim=3"],
    "schedule": ["LOSS.nda_schedule=linear", "LOSS.nda_schedule_steps=4", "LOSS.nda_schedule_delay=2"],
}
THREE_STEPS = ["OPTIMIZATION.total_steps=3", "RUN.print_freq=1", "RUN.save_freq=1"]
# All that has a state of its own, at once; every move of it large enough to be seen within a few steps.
STATEFUL = [
    *MODES["ADA"],
    *MODES["adaptive"],
    *MODES["fp16"],
    *MODES["accumulation"],
    *MODES["learned"],
    *MODES["LeCam"],
    *INSTANCES,
    "AUG.ada_initial_augment_p=0.5",
    "AUG.ada_target=-0.9",
    "AUG.ada_kimg=0.5",
    "AUG.nda_policy='jigsaw,stitch'",
    "OPTIMIZATION.total_steps=6",
    "RUN.print_freq=1",
    "RUN.save_freq=1",
]
# The same with what has no part in λ that moves: several kinds, one of them the generator's past.
HISTORY = [
    "LOSS.nda_weights={fake: 0.7, jigsaw: 0.1, history: 0.2}",
    "AUG.nda_history_every=1",
    "AUG.nda_history_capacity=2",
    "AUG.nda_history_candidates=2",
    "RUN.print_freq=1",
    "RUN.save_freq=1",
]


@pytest.fixture
def quick(tiny):
    """Settings of a run of three steps."""
    return lambda name, *words: tiny(name, "AUG.nda_policy='jigsaw,stitch'", *THREE_STEPS, *words)


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory):
    """A run of three steps with nothing switched on."""
    return final(
        settings_of(tmp_path_factory.mktemp("ordinary"))("run", "AUG.nda_policy='jigsaw,stitch'", *THREE_STEPS)
    )


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_trains_resumes_exactly_and_generates(quick, ordinary, mode):
    whole = final(quick("whole", *MODES[mode]))
    assert differing(whole["discriminator"], ordinary["discriminator"])
    final(quick("parts", *MODES[mode], "OPTIMIZATION.total_steps=1"))
    assert differing(whole, final(quick("parts", *MODES[mode]))) == []
    assert all(torch.as_tensor(value).isfinite().all() for row in whole["history"] for value in row.values())

    folder = Path(quick("whole", *MODES[mode]).RUN.save_dir)
    network, instances = load_generator(folder)
    images = sample(network, 5, 0, "test", instances)
    assert images.shape == (5, 1, 8, 8)
    assert torch.equal(images, sample(network, 5, 0, "test", load_generator(folder)[1]))


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
@pytest.mark.filterwarnings("ignore:the history has no snapshot")
@pytest.mark.parametrize("stateful", [STATEFUL, HISTORY], ids=["stateful", "history"])
def test_a_killed_process_goes_on_as_if_nothing_had_happened(tiny, tmp_path, stateful):
    settings = tiny("killed", *stateful)
    settings.save(tmp_path / "c.yaml")
    saved = Path(settings.RUN.save_dir) / CHECKPOINT
    # More steps than it will live to see; how many they are is no part of what makes a run.
    words = ["--config", str(tmp_path / "c.yaml"), "OPTIMIZATION.total_steps=1000000"]
    command = [sys.executable, "-m", "examples.gan.train", *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not saved.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    step = load_checkpoint(saved, {})["step"]
    assert step >= 1
    more = f"OPTIMIZATION.total_steps={step + 3}"
    whole = final(tiny("whole", *stateful, more))
    assert differing(whole, final(tiny("killed", *stateful, more))) == []
    # Nothing of what is stateful stood still.
    if stateful is HISTORY:
        assert whole["past"]["updates"] == step + 3
        return
    assert whole["adaptive_weight"]["fake_weight"] != nda.losses.FAKE_WEIGHT
    assert whole["positives"]["_extra_state"]["p"] != 0.5
    assert whole["scaler"]["_growth_tracker"] > 0


def test_control_a_state_that_is_not_restored_does_show(tiny, monkeypatch):
    whole = final(tiny("whole", *STATEFUL))
    final(tiny("parts", *STATEFUL, "OPTIMIZATION.total_steps=3"))
    saved = Path(tiny("parts").RUN.save_dir)
    for part in ("adaptive_weight", "positives", "scaler"):
        shutil.copytree(saved, saved.with_name(part))
        with monkeypatch.context() as patch:
            patch.setattr(Training, "load_state_dict", lambda run, state, part=part: _load_without(part, run, state))
            found = differing(whole, final(tiny(part, *STATEFUL)))
        assert any(path.startswith(f"/{part}/") for path in found)


def _load_without(part, run, state):
    run.step, run.history = state["step"], state["history"]
    for name, each in run.stateful().items():
        if name != part:
            each.load_state_dict(state[name])


class TestNegativeTerm:
    @pytest.mark.parametrize("mode", ["separate", "replace"])
    @pytest.mark.parametrize("word", ["LOSS.nda_fake_weight=1", "LOSS.nda_schedule_delay=100"])
    def test_at_lambda_one_nothing_is_made_and_nothing_differs(self, quick, mode, word, monkeypatch):
        plain = final(quick("plain", "AUG.apply_nda=false", "RUN.print_freq=9"))
        made = []
        of = train.Negatives.of
        monkeypatch.setattr(train.Negatives, "of", lambda *args: (made.append(1), of(*args))[1])
        one = final(quick("one", f"LOSS.nda_mode={mode}", word, "RUN.print_freq=9"))
        one["history"] = [{k: v for k, v in row.items() if k != "fake_weight"} for row in one["history"]]
        assert differing(plain, one) == []
        assert len(made) == 1  # for the gap in the only logged row

    def test_negatives_are_judged_with_the_labels_of_their_images(self, quick, monkeypatch):
        run, judged = _recorded(quick("a", *CONDITIONAL, "MODEL.d_cond_mtd=PD"), monkeypatch)
        run.discriminator_loss(3)
        real, fake, negative = judged
        batch = run._batch(3)
        assert torch.equal(real[0], batch.images)
        assert torch.equal(real[1].labels, negative[1].labels)
        assert torch.equal(negative[0], run.negatives.of(batch, 3))
        assert not torch.equal(fake[1].labels, real[1].labels)

    @pytest.mark.parametrize("method", ["AC", "2C", "D2DCE"])
    def test_no_class_loss_sees_them(self, quick, method):
        words = [*CONDITIONAL, f"MODEL.d_cond_mtd={method}"]
        terms = []
        for policy in ("jigsaw", "cutout"):
            run = _run(quick(policy, *words, f"AUG.nda_policy={policy}"))
            terms.append(run.discriminator_loss(0)[1].terms)
        assert terms[0]["class"] == terms[1]["class"]
        assert terms[0]["negative"] != terms[1]["negative"]

    def test_regularisers_look_at_real_and_generated_images_only(self, quick):
        words = ["LOSS.apply_r1_reg=true", "LOSS.apply_gp=true", "LOSS.apply_cr=true", "OPTIMIZATION.total_steps=2"]
        run = _run(quick("a", *words, "AUG.nda_policy=jigsaw"))
        other = _run(quick("b", *words, "AUG.nda_policy=cutout", "LOSS.nda_mode=replace"))
        first, second = run.discriminator_loss(0)[1].terms, other.discriminator_loss(0)[1].terms
        network = _run(quick("c", *words)).discriminator.network
        batch = run._batch(0)
        with torch.no_grad():
            fake, _ = run._generate("D", 0)
        real = batch.images.requires_grad_()
        # The networks of both runs are equal, but each look at a spectral norm is a step of its power iteration.
        r1 = 10 * r1_penalty(network(real).logits, real)
        assert first["r1"].item() == second["r1"].item() == pytest.approx(r1.item(), rel=1e-5)
        source = generator(0, "gradient penalty", 0, 0)
        gp = 10 * gradient_penalty(lambda x: network(x).logits, real, fake, generator=source)
        assert first["gp"].item() == pytest.approx(gp.item(), rel=0.05)
        other_view = DiffAugment("translation")(real, generator=generator(0, "positives, consistency", 0))
        cr = 10 * consistency(network(real).logits, network(other_view).logits)
        assert first["cr"].item() == pytest.approx(cr.item(), rel=0.05)

    def test_replacement_takes_two_passes_and_the_loss_of_the_mixed_batch(self, quick, monkeypatch):
        run, judged = _recorded(quick("a", "LOSS.nda_mode=replace", "LOSS.nda_fake_weight=0.5"), monkeypatch)
        loss, verdict = run.discriminator_loss(1)
        assert len(judged) == 2
        batch = run._batch(1)
        with torch.no_grad():
            fake, _ = run._generate("D", 1)
        mixed = run.negatives.mix(fake, Told(), batch, 1, 0.5)
        assert 0 < mixed.count < 6
        # Generating once more moved no weights: the generator's batch norm works on the batch.
        assert torch.equal(judged[1][0], mixed.images)
        assert loss.item() == pytest.approx((verdict.terms["real"] + verdict.terms["fake"]).item())
        assert verdict.gaps["negative"].isfinite()

    @pytest.mark.parametrize("weight", [0.25, 0.75])
    def test_replacement_has_the_separate_loss_on_average(self, quick, weight):
        run = _run(quick("a", "AUG.nda_policy=flip"))  # makes the same negatives in every batch
        network = run.discriminator.network.eval()
        batch = run._batch(0)
        with torch.no_grad():
            fake, _ = run._generate("D", 0)
            on_real, on_fake, on_negative = (
                network(images).logits for images in (batch.images, fake, run.negatives.of(batch, 0))
            )
            separate = run.objective.discriminator(
                Judgement(on_real),
                Judgement(on_fake),
                {"negative": Judgement(on_negative)},
                None,
                {"fake": weight, "negative": 1 - weight},
            )
            totals = []
            for number in range(1000):
                mixed = run.negatives.mix(fake, Told(), batch, number, weight)
                logits = torch.where(mixed.gone, on_negative, on_fake)
                if number == 0:
                    assert torch.allclose(network(mixed.images).logits, logits, atol=1e-6)
                verdict = run.objective.discriminator(Judgement(on_real), Judgement(logits), {}, None, {"fake": 1.0})
                totals.append(verdict.total.item())
        assert statistics.stdev(totals) > 0
        error = statistics.stdev(totals) / 1000**0.5
        assert statistics.mean(totals) == pytest.approx(separate.total.item(), abs=4 * error)


def test_channels_last_is_a_layout_and_nothing_else(quick):
    on, off = (_run(quick(word, f"RUN.channels_last={word}")) for word in ("true", "false"))
    for run, last in ((on, True), (off, False)):
        weight = run.discriminator.network.body[0].conv2.weight
        assert weight.is_contiguous(memory_format=torch.channels_last) == last
    losses = [run.discriminator_loss(0)[0].item() for run in (on, off)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_positives_come_after_negatives_and_change_every_kind_of_image(quick, monkeypatch):
    words = ["AUG.apply_diffaug=true", "AUG.diffaug_type='color'"]
    run, judged = _recorded(quick("a", *words), monkeypatch)
    run.discriminator_loss(2)
    run.generator_loss(2)
    batch = run._batch(2)
    plain = [batch.images, None, run.negatives.of(batch, 2), None]
    for (shown, *_), image, purpose in zip(judged, plain, ("real", "fake", "negative", "G fake"), strict=True):
        source = generator(0, f"positives, {purpose}", 2)
        drawn = DiffAugment("color").sample((6, 1, 8, 8), generator=source)
        if image is not None:
            assert torch.equal(shown, DiffAugment("color")(image, drawn))
            assert not torch.equal(shown, image)
    assert judged[3][0].grad_fn is not None


def test_a_positive_that_undoes_a_negative_is_a_warning(quick):
    words = ["AUG.nda_policy='jigsaw,cutout'", "AUG.apply_diffaug=true"]
    with pytest.warns(UserWarning, match="cutout is imitated by the positive cutout"):
        _run(quick("a", *words))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _run(quick("b", *words, "AUG.apply_nda=false"))


def test_augself_is_asked_of_real_and_generated_images(quick):
    run = _run(quick("a", *MODES["AugSelf"]))
    loss, verdict = run.discriminator_loss(0)
    weights = {"real": 1, "fake": nda.losses.FAKE_WEIGHT, "negative": 1 - nda.losses.FAKE_WEIGHT}
    others = sum(verdict.terms[name] * weight for name, weight in weights.items())
    assert verdict.terms["augself"].item() == pytest.approx((loss - others).item(), rel=1e-4)
    assert verdict.terms["augself"] > 0


@pytest.mark.parametrize("mode", ["AC", "2C", "D2DCE", "AugSelf"])
def test_the_generator_answers_for_classes_and_for_augmentation(quick, mode, monkeypatch):
    words = ["LOSS.cond_lambda=0.7", "LOSS.augself_lambda=0.3"]
    run, judged = _recorded(quick("a", *MODES[mode], *words), monkeypatch)
    loss = run.generator_loss(0)
    ((_, (labels, _), judgement),) = judged
    expected = run.objective.generator(judgement, labels)
    if mode == "AugSelf":
        drawn = run.positives.sample((6, 1, 8, 8), generator=generator(0, "positives, G fake", 0))
        expected = expected + 0.3 * augself.generator_loss(judgement.told, drawn)
    else:
        expected = expected + 0.7 * class_loss(judgement, labels, method=mode, temperature=1.0, margin=0.98)
    assert loss.item() == pytest.approx(expected.item())


def test_accumulated_batches_make_the_update_of_their_mean(quick):
    # Two batches of three images and one of both would meet other batch norms; the discriminator has none.
    words = ["AUG.apply_nda=false", "OPTIMIZATION.batch_size=3", "MODEL.apply_d_sn=false"]
    run = _run(quick("a", *words, "OPTIMIZATION.acml_steps=2"))
    gradients = []
    for number in (0, 1):
        run.discriminator.network.zero_grad()
        run.discriminator_loss(number)[0].backward()
        gradients.append([parameter.grad.clone() for parameter in run.discriminator.network.parameters()])
    run.discriminator_steps()
    for parameter, *parts in zip(run.discriminator.network.parameters(), *gradients, strict=True):
        assert torch.allclose(parameter.grad, sum(parts) / 2, atol=1e-6)


def test_without_an_average_samples_are_those_of_the_generator(quick):
    state = final(quick("a", "MODEL.apply_g_ema=false"))
    assert differing(state["generator"], state["average"]) == []
    assert differing(*(final(quick("b"))[name] for name in ("generator", "average")))


def test_lambda_follows_its_schedule(quick):
    words = ["LOSS.nda_schedule=linear", "LOSS.nda_schedule_steps=2", "LOSS.nda_schedule_delay=1", "RUN.print_freq=1"]
    rows = final(quick("a", *words, "OPTIMIZATION.total_steps=4"))["history"]
    assert [row["fake_weight"] for row in rows] == [1.0, 1.0, 0.875, 0.75]  # step 0, still; 1, where it begins; 2; 3
    assert ["negative" in row for row in rows] == [False, False, True, True]


def test_samples_go_through_the_classes(quick):
    folder = train.train(quick("a", *CONDITIONAL, "MODEL.d_cond_mtd=AC"))
    network, _ = load_generator(folder)
    assert network.classes == 2
    assert told_of(network, 5, 0, "test").labels.tolist() == [0, 1, 0, 1, 0]
    latents = torch.randn(5, 4, generator=generator(0, "test"))
    assert torch.equal(sample(network, 5, 0, "test"), network(latents, torch.tensor([0, 1, 0, 1, 0])))


def test_labels_are_asked_for_where_they_are_needed(quick, tmp_path):
    import numpy as np

    arrays = dict(np.load(tmp_path / "images.npz"))
    np.savez(tmp_path / "bare.npz", images=arrays["images"])
    settings = quick("a", *CONDITIONAL, "MODEL.d_cond_mtd=AC", f"DATA.path={tmp_path / 'bare.npz'}")
    with pytest.raises(ValueError, match=r"MODEL.d_cond_mtd=AC needs labels"):
        _run(settings)


def test_synchronised_batch_norm_needs_a_gpu(quick):
    with pytest.raises(config.ConfigError, match=r"RUN.synchronized_bn needs GPUs"):
        _run(quick("a", "RUN.synchronized_bn=true"))


def _run(settings):
    return Training(settings, data.load(settings.DATA)[0])


def _recorded(settings, monkeypatch):
    """A run, and a list of the images that its discriminator gets to see, of what it is told and of what it says."""
    run, seen = _run(settings), []
    judge = type(run.discriminator).judge

    def record(player, images, told, plain=None):
        judgement = judge(player, images, told, plain)
        seen.append((images, told, judgement))
        return judgement

    monkeypatch.setattr(type(run.discriminator), "judge", record)
    return run, seen
