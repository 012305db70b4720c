import copy
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from torch.nn import functional as F
from typer.testing import CliRunner

from examples.common import data
from examples.common.randomness import batch_indices, generator
from examples.common.runs import DivergedError, hold
from examples.common.settings import ConfigError
from examples.common.training import CHECKPOINT, update_average
from examples.gan import config, train
from examples.gan.train import Training
from nda_augment._files import CheckpointError, InUseError, load_checkpoint
from nda_augment.losses import GapWatch


def final(settings):
    """Train and return what the run saved."""
    # Each call stands for a fresh process: whatever is left in the global stream must not matter.
    torch.seed()
    return load_checkpoint(train.train(settings) / CHECKPOINT, {})


def differing(a, b, path=""):
    """Paths of everything that is not equal bit for bit, the config aside."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [x for key in a if key != "config" for x in differing(a[key], b[key], f"{path}/{key}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [x for i, (p, q) in enumerate(zip(a, b, strict=True)) for x in differing(p, q, f"{path}/{i}")]
    same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    return [] if same else [path]


class TestExactResume:
    # Four batches an epoch and eight steps: within an epoch, at its end, before the last step.
    @pytest.mark.parametrize("stop", [3, 4, 7])
    @pytest.mark.parametrize("updates", [1, 3])
    def test_a_stopped_run_ends_as_if_it_had_not_stopped(self, tiny, stop, updates):
        words = [f"OPTIMIZATION.d_updates_per_step={updates}", "RUN.print_freq=1"]
        whole = final(tiny("whole", *words))
        final(tiny("parts", *words, f"OPTIMIZATION.total_steps={stop}"))
        assert differing(whole, final(tiny("parts", *words))) == []

    def test_a_crash_costs_only_the_steps_since_the_last_checkpoint(self, tiny, monkeypatch):
        whole = final(tiny("whole"))
        step = Training.generator_step

        def crash(run):
            if run.step == 6:
                raise KeyboardInterrupt
            return step(run)

        monkeypatch.setattr(Training, "generator_step", crash)
        with pytest.raises(KeyboardInterrupt):
            final(tiny("crashed"))
        monkeypatch.undo()
        settings = tiny("crashed")
        assert load_checkpoint(Path(settings.RUN.save_dir) / CHECKPOINT, {})["step"] == 4
        assert differing(whole, final(settings)) == []

    def test_every_tensor_of_the_run_changes_in_training(self, tiny):
        # So that equality above is not that of tensors nobody trains. Adam's step counts and empty history aside.
        early, late = final(tiny("early", "OPTIMIZATION.total_steps=1")), final(tiny("late"))
        early["history"] = late["history"] = []
        tensors = differing(early, {**late, "step": 1})
        for part in ("average", "generator", "discriminator", "generator_optimizer", "discriminator_optimizer"):
            assert sum(path.startswith(f"/{part}/") for path in tensors) > 5

    def test_control_draws_from_a_stream_that_is_not_saved_do_differ(self, tiny, monkeypatch):
        def streamed(name, *words):
            stream = torch.Generator().manual_seed(0)
            monkeypatch.setattr(train, "generator", lambda *_, **__: stream)
            return final(tiny(name, *words))

        whole = streamed("whole")
        assert differing(whole, streamed("again")) == []
        streamed("parts", "OPTIMIZATION.total_steps=4")
        assert "/generator/start.weight" in differing(whole, streamed("parts"))

    @pytest.mark.parametrize("forgotten", ["generator_optimizer", "discriminator", "average", "step"])
    def test_control_a_part_of_the_state_that_is_not_restored_does_show(self, tiny, monkeypatch, forgotten):
        whole = final(tiny("whole"))
        fresh = Training(tiny("fresh"), data.load(tiny("fresh").DATA)[0]).state_dict()
        final(tiny("parts", "OPTIMIZATION.total_steps=4"))
        load = Training.load_state_dict
        monkeypatch.setattr(
            Training, "load_state_dict", lambda run, state: load(run, {**state, forgotten: fresh[forgotten]})
        )
        paths = differing(whole, final(tiny("parts")))
        assert [path for path in paths if path.startswith(("/generator/", "/discriminator/", "/average/"))]


class TestNegatives:
    def test_real_images_that_stay_below_negatives_are_named(self, tiny, monkeypatch):
        run = Training(tiny("below"), data.load(tiny("below").DATA)[0])
        run.gap_watches["negative"] = GapWatch(steps=1)
        discriminator_loss = run.discriminator_loss

        def below(number):
            loss, verdict = discriminator_loss(number)
            return loss, verdict._replace(gaps={"negative": torch.tensor(-0.5)})

        monkeypatch.setattr(run, "discriminator_loss", below)
        with pytest.warns(UserWarning, match="for 1 steps .* below those of negatives"):
            run.discriminator_steps()

    def test_at_lambda_one_the_run_is_the_plain_one_bit_for_bit(self, tiny):
        plain = final(tiny("plain", "AUG.apply_nda=false"))
        assert differing(plain, final(tiny("one", "LOSS.nda_fake_weight=1"))) == []
        assert "/generator/start.weight" in differing(plain, final(tiny("nda", "LOSS.nda_fake_weight=0.99")))

    def test_the_plain_run_is_a_plain_gan(self, tiny):
        settings = tiny("plain", "AUG.apply_nda=false")
        state = final(settings)
        training, _ = data.load(settings.DATA)
        images = data.normalize(training.images)
        run = Training(settings, training)  # for its first weights only
        g, d, average = run.generator.network.module, run.discriminator.network.module, run.average
        g_optimizer = torch.optim.Adam(g.parameters(), lr=2e-4, betas=(0.0, 0.9))
        d_optimizer = torch.optim.Adam(d.parameters(), lr=4e-4, betas=(0.0, 0.9))
        for step in range(8):
            latents = [torch.randn(6, 4, generator=generator(0, f"{player} latent", step)) for player in "DG"]
            real = images[batch_indices(24, 6, 0, step)]
            loss = F.softplus(-d(real).logits).mean() + F.softplus(d(g(latents[0]).detach()).logits).mean()
            d_optimizer.zero_grad()
            loss.backward()
            d_optimizer.step()
            loss = F.softplus(-d(g(latents[1])).logits).mean()
            g_optimizer.zero_grad()
            loss.backward()
            g_optimizer.step()
            update_average(average, g, 0.99 if step >= 2 else 0.0)
        for name, network in (("generator", g), ("discriminator", d), ("average", average)):
            assert differing(state[name], network.state_dict()) == []

    def test_rows_hold_the_terms_and_the_gap(self, tiny):
        settings = tiny("nda", "OPTIMIZATION.total_steps=2")
        row = final(settings)["history"][-1]
        assert list(row) == ["step", "real", "fake", "negative", "generator", "gap"]
        plain = final(tiny("plain", "AUG.apply_nda=false", "OPTIMIZATION.total_steps=2"))["history"][-1]
        assert list(plain) == ["step", "real", "fake", "generator", "gap"]

    def test_the_gap_of_a_plain_run_is_that_between_real_images_and_negatives(self, tiny):
        settings = tiny("plain", "AUG.apply_nda=false")
        training, _ = data.load(settings.DATA)
        run = Training(settings, training)
        run.step = 1
        real = data.normalize(training.images[batch_indices(24, 6, 0, 0)])
        network = run.discriminator.network
        before = copy.deepcopy(network.state_dict())
        gap = run._measure_gap()
        assert differing(before, dict(network.state_dict())) == []
        assert network.training
        negatives = run.negatives.transform(real, generator=generator(0, "negatives", 0))
        on_real, on_negatives = network.eval()(real).logits, network(negatives).logits
        assert gap.item() == pytest.approx((on_real.mean() - on_negatives.mean()).item(), abs=1e-6)

    def test_until_their_start_there_are_none(self, tiny):
        late = tiny("late", "LOSS.nda_start_step=6", "RUN.print_freq=1")
        rows = final(late)["history"]
        assert [row["fake_weight"] for row in rows] == [1.0] * 6 + [late.LOSS.nda_fake_weight] * 2
        assert ["negative" in row for row in rows] == [False] * 6 + [True] * 2
        plain = final(tiny("plain", "AUG.apply_nda=false", "OPTIMIZATION.total_steps=6"))
        early = final(tiny("early", "LOSS.nda_start_step=6", "OPTIMIZATION.total_steps=6"))
        assert differing(early["generator"], plain["generator"]) == []

    @pytest.mark.parametrize("kind", ["hinge", "least_squares", "wasserstein"])
    def test_every_loss_trains(self, tiny, kind):
        state = final(tiny(kind, f"LOSS.adv_loss={kind}", "OPTIMIZATION.total_steps=2"))
        assert all(weight.isfinite().all() for weight in state["generator"].values())

    def test_mixed_precision_trains(self, tiny):
        state = final(tiny("bf16", "RUN.precision=bf16-mixed", "OPTIMIZATION.total_steps=2"))
        assert all(weight.isfinite().all() for weight in state["generator"].values())
        assert state["generator"]["start.weight"].dtype == torch.float32
        whole = final(tiny("float32", "OPTIMIZATION.total_steps=2"))["generator"]["start.weight"]
        assert 0 < (state["generator"]["start.weight"] - whole).abs().max() < 1e-2


class TestRunFolder:
    def test_files(self, tiny):
        folder = train.train(tiny("run"))
        names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        logs = {name for name in names if name.startswith("events.out.tfevents")}
        assert len(logs) == 1
        assert names - logs == {"checkpoint.pt", "config.yaml", "samples/000004.png", "samples/000008.png"}
        assert config.load(folder / "config.yaml") == tiny("run")

    def test_a_finished_run_is_not_trained_further(self, tiny):
        state = final(tiny("run"))
        assert differing(state, final(tiny("run"))) == []

    def test_leftovers_of_a_kill_are_swept(self, tiny):
        folder = Path(tiny("run").RUN.save_dir)
        folder.mkdir()
        (folder / ".checkpoint.pt.123.tmp").write_bytes(b"half a checkpoint")
        train.train(tiny("run", "OPTIMIZATION.total_steps=1"))
        assert not [name for name in os.listdir(folder) if name.endswith(".tmp")]

    def test_other_settings_are_refused_by_name(self, tiny):
        train.train(tiny("run", "OPTIMIZATION.total_steps=1"))
        with pytest.raises(ConfigError, match=r"LOSS.nda_fake_weight \(was 0.75, now 0.5\), RUN.seed \(was 0, now 1\)"):
            train.train(tiny("run", "LOSS.nda_fake_weight=0.5", "RUN.seed=1"))

    def test_a_run_that_is_further_is_refused(self, tiny):
        train.train(tiny("run", "OPTIMIZATION.total_steps=3"))
        with pytest.raises(ConfigError, match=r"already at step 3, beyond OPTIMIZATION.total_steps=2"):
            train.train(tiny("run", "OPTIMIZATION.total_steps=2"))

    def test_other_images_are_refused_wherever_they_lie(self, tiny, tmp_path):
        train.train(tiny("run", "OPTIMIZATION.total_steps=1"))
        arrays = dict(np.load(tmp_path / "images.npz"))
        (tmp_path / "images.npz").rename(tmp_path / "moved.npz")
        moved = tiny("run", "OPTIMIZATION.total_steps=2", f"DATA.path={tmp_path / 'moved.npz'}")
        assert final(moved)["step"] == 2
        arrays["images"][0, 0, 0] ^= 1
        np.savez(tmp_path / "moved.npz", **arrays)
        with pytest.raises(ConfigError, match="other images"):
            train.train(moved)

    def test_too_few_images_for_a_batch_are_an_error(self, tiny):
        with pytest.raises(ValueError, match="24 training images do not fill a batch of 25"):
            train.train(tiny("run", "OPTIMIZATION.batch_size=25"))

    def test_a_loss_that_is_no_number_stops_the_run_and_the_last_good_checkpoint_stays(self, tiny, monkeypatch):
        settings = tiny("run")
        whole = Training.generator_loss

        def diverges(self, number):
            loss = whole(self, number)
            return loss * float("nan") if number == 5 else loss

        monkeypatch.setattr(Training, "generator_loss", diverges)
        with pytest.raises(DivergedError, match="at step 6 the loss is not finite: generator = nan"):
            train.train(settings)
        monkeypatch.undo()
        state = load_checkpoint(Path(settings.RUN.save_dir) / CHECKPOINT, {})
        assert state["step"] == 4
        assert differing(final(settings), final(tiny("whole"))) == []

    def test_weights_that_are_no_numbers_are_not_saved(self, tiny, monkeypatch):
        settings = tiny("run", "OPTIMIZATION.total_steps=4")
        whole = Training.generator_step

        def poisons(self):
            loss = whole(self)
            if self.step == 3:
                next(self.average.parameters()).fill_(float("inf"))
            return loss

        monkeypatch.setattr(Training, "generator_step", poisons)
        with pytest.raises(DivergedError, match="at step 4 average has weights that are not finite"):
            train.train(settings)
        assert not (Path(settings.RUN.save_dir) / CHECKPOINT).exists()

    def test_a_new_run_may_begin_with_the_players_of_another(self, tiny):
        first = final(tiny("first", "OPTIMIZATION.total_steps=2"))
        start = f"RUN.init_from={tiny('first').RUN.save_dir}"
        run = Training(tiny("second", start, "OPTIMIZATION.g_lr=0.001"), data.load(tiny("second").DATA)[0])
        run.begin_with(Path(tiny("first").RUN.save_dir) / CHECKPOINT)
        state = run.state_dict()
        for name in ("generator", "discriminator", "average"):
            assert differing(state[name], first[name]) == []
        assert state["step"] == 0
        assert run.generator.optimizer.param_groups[0]["lr"] == 0.001
        ended = final(tiny("second", start, "OPTIMIZATION.g_lr=0.001"))
        assert differing(ended["generator"], final(tiny("third", "OPTIMIZATION.g_lr=0.001"))["generator"])
        with pytest.raises(ConfigError, match=r"has no checkpoint\.pt"):
            train.train(tiny("fourth", "RUN.init_from=nowhere"))

    def test_learning_rates_fall_to_zero(self, tiny):
        words = ["OPTIMIZATION.lr_decay_start=1", "OPTIMIZATION.lr_decay_steps=4"]
        run = Training(tiny("run", *words), data.load(tiny("run").DATA)[0])
        seen = []
        for run.step in (0, 1, 3, 5, 9):
            run.set_learning_rates()
            seen.append(run.generator.optimizer.param_groups[0]["lr"] / run.settings.OPTIMIZATION.g_lr)
        assert seen == [1, 1, 0.5, 0, 0]
        assert run.discriminator.optimizer.param_groups[0]["lr"] == 0

    def test_a_run_in_a_folder_in_use_is_refused(self, tiny):
        settings = tiny("run", "OPTIMIZATION.total_steps=1")
        with hold(Path(settings.RUN.save_dir) / CHECKPOINT), pytest.raises(InUseError):
            train.train(settings)

    def test_a_damaged_checkpoint_is_told(self, tiny):
        path = train.train(tiny("run", "OPTIMIZATION.total_steps=1")) / CHECKPOINT
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(CheckpointError, match="is cut off, or no checkpoint at all"):
            train.train(tiny("run"))

    def test_the_seed_changes_the_run(self, tiny):
        assert differing(final(tiny("a")), final(tiny("b", "RUN.seed=1")))


class TestCommandLine:
    def test_trains_from_a_file_and_words(self, tiny, tmp_path):
        tiny("run").save(tmp_path / "c.yaml")
        result = CliRunner().invoke(_app(), ["--config", str(tmp_path / "c.yaml"), "OPTIMIZATION.total_steps=1"])
        assert result.exit_code == 0, result.output
        assert load_checkpoint(tmp_path / "run" / CHECKPOINT, {})["step"] == 1

    def test_mistakes_end_with_a_message_not_a_traceback(self):
        result = CliRunner().invoke(_app(), ["RUN.sed=1"])
        assert result.exit_code == 2
        assert "RUN.seed" in result.output


def _app():
    app = typer.Typer()
    app.command()(train.main)
    return app
