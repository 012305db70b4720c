import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from examples.common import data
from examples.common.randomness import Share, batch_indices, generator
from examples.common.runs import DivergedError
from examples.common.settings import ConfigError
from examples.common.training import CHECKPOINT, update_average
from examples.diffusion import train
from examples.diffusion.sampling import SNAPSHOT
from examples.diffusion.train import Training
from nda_augment._files import load_checkpoint
from nda_augment.guidance import Kind
from nda_augment.losses import edm_loss
from tests.examples.gan.test_train import differing


def final(settings):
    """Train and return what the run saved."""
    torch.seed()  # each call stands for a fresh process: what is left in the global stream must not matter
    return load_checkpoint(train.train(settings) / CHECKPOINT, {})


def training(settings):
    return Training(settings, data.load(settings.DATA)[0])


class TestExactResume:
    @pytest.mark.parametrize("stop", [3, 4])
    def test_a_stopped_run_ends_as_if_it_had_not_stopped(self, tiny, stop):
        words = ["RUN.print_freq=1", "RUN.snapshot_step=4"]
        whole = final(tiny("whole", *words))
        final(tiny("parts", *words, f"OPTIMIZATION.total_steps={stop}"))
        assert differing(whole, final(tiny("parts", *words))) == []
        folders = [Path(tiny(name).RUN.save_dir) for name in ("whole", "parts")]
        assert differing(*(load_checkpoint(folder / SNAPSHOT, {}) for folder in folders)) == []

    def test_every_tensor_of_the_run_changes_in_training(self, tiny):
        early, late = final(tiny("early", "OPTIMIZATION.total_steps=1")), final(tiny("late"))
        same = set(early["denoiser"]) - {path.split("/")[-1] for path in differing(early["denoiser"], late["denoiser"])}
        assert same == set()
        assert len(differing(early["average"], late["average"])) == len(early["average"])

    @pytest.mark.parametrize("forgotten", ["optimizer", "average", "step"])
    def test_control_a_part_of_the_state_that_is_not_restored_does_show(self, tiny, monkeypatch, forgotten):
        whole = final(tiny("whole"))
        fresh = training(tiny("fresh")).state_dict()
        final(tiny("parts", "OPTIMIZATION.total_steps=4"))
        load = Training.load_state_dict
        monkeypatch.setattr(
            Training, "load_state_dict", lambda run, state: load(run, {**state, forgotten: fresh[forgotten]})
        )
        assert differing(whole["average"], final(tiny("parts"))["average"]) != []

    @pytest.mark.slow
    def test_killed_and_started_again_it_ends_with_the_same_weights(self, tiny, tmp_path):
        words = ["OPTIMIZATION.total_steps=24", "RUN.save_freq=4"]
        settings = tiny("killed", *words)
        settings.save(tmp_path / "killed.yaml")
        command = [sys.executable, "-m", "examples.diffusion.train", "--config", str(tmp_path / "killed.yaml")]
        checkpoint = tmp_path / "killed" / CHECKPOINT
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while not checkpoint.exists() and process.poll() is None:
                time.sleep(0.01)
            process.kill()
        assert 0 < load_checkpoint(checkpoint, {})["step"] < 24
        assert differing(final(tiny("whole", *words)), final(settings)) == []


class TestStep:
    def test_the_plain_run_is_plain_edm(self, tiny):
        settings = tiny("plain", "AUG.apply_nda=false", "OPTIMIZATION.total_steps=4")
        state = final(settings)
        run = training(settings)  # for its first weights only
        images = data.normalize(run.images.images)
        denoiser, average = run.denoiser.module, run.average
        optimizer = torch.optim.Adam(denoiser.parameters(), lr=2e-3)
        for step in range(4):
            source = generator(0, "noise", step)
            real, noise = images[batch_indices(24, 6, 0, step)], torch.randn(6, 1, 8, 8, generator=source)
            sigma = (1.2 * torch.randn(6, generator=source) - 1.2).exp()
            optimizer.param_groups[0]["lr"] = 2e-3 * min(1, (step + 1) / 2)
            noisy = real + sigma.view(-1, 1, 1, 1) * noise
            loss = edm_loss(denoiser(noisy, sigma, torch.zeros(6, dtype=torch.long)), real, sigma)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            update_average(average, denoiser, 0.99 if step >= 2 else 0.0)
        for name, network in (("denoiser", denoiser), ("average", average)):
            assert all(
                torch.allclose(state[name][key], value, atol=1e-6) for key, value in network.state_dict().items()
            )

    def test_no_negative_is_trained_under_the_kind_real(self, tiny, monkeypatch):
        run = training(tiny("run"))
        seen = []
        forward = run.denoiser.module.forward

        def remember(noisy, levels, kinds, labels=None):
            seen.append(kinds)
            return forward(noisy, levels, kinds, labels)

        monkeypatch.setattr(run.denoiser.module, "forward", remember)
        for number in range(6):
            batch = run._batch(number)
            clean, kinds = run._mixed(batch, number)
            is_real = (clean == batch.images).flatten(1).all(1)
            assert is_real[kinds == Kind.REAL].all()
            assert not is_real[kinds == Kind.NEGATIVE].any()
            assert (~is_real).sum() in (2, 3)  # 40 % of six
            run.losses(number)
            assert torch.equal(seen[-1], kinds)

    def test_the_shares_of_processes_make_up_the_batch(self, tiny):
        run = training(tiny("run"))
        batch = run._batch(3)
        whole = run._mixed(batch, 3)
        parts = []
        for rank in range(3):
            run.share = run.negatives.share = Share(rank, 3)
            parts.append(run._mixed(batch, 3))
        for name in ("images", "kinds"):
            assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))

    def test_repulsion_is_a_term_of_its_own(self, tiny):
        plain = training(tiny("plain", "AUG.apply_nda=false"))
        other = training(tiny("other", "AUG.apply_nda=false", "LOSS.repulsion_weight=3"))
        alone, both = plain.losses(0), other.losses(0)
        assert torch.equal(alone["denoising"], both["denoising"])
        assert 0 < both["repulsion"].item() < 3 / 100  # 1 / (w · (d² + 100)) with w ≥ 4
        assert list(alone) == ["denoising"]

    @pytest.mark.parametrize("process", ["edm", "flow"])
    def test_repulsion_trains(self, tiny, process):
        words = [f"LOSS.process={process}", "AUG.apply_nda=false", "LOSS.repulsion_weight=1"]
        terms = training(tiny(process, *words)).advance()
        assert list(terms) == ["denoising", "repulsion"]
        assert all(term.isfinite() for term in terms.values())

    @pytest.mark.parametrize("process", ["edm", "flow"])
    def test_classes_kinds_and_attention_go_together(self, tiny, process):
        words = [f"LOSS.process={process}", "MODEL.conditional=true", "MODEL.attention=true", "SAMPLING.scale=1"]
        words += ["RUN.precision=bf16-mixed", "OPTIMIZATION.total_steps=2"]
        state = final(tiny(process, *words))
        assert state["classes"] == 2
        assert state["denoiser"]["network.class_embedding.weight"].shape[0] == 6
        assert all(weight.isfinite().all() for weight in state["denoiser"].values())

    def test_float16_trains(self, tiny):
        state = final(tiny("half", "RUN.precision=16-mixed", "OPTIMIZATION.total_steps=2"))
        assert all(weight.isfinite().all() for weight in state["denoiser"].values())
        assert state["scaler"]


class TestRunFolder:
    def test_samples_are_plain_until_there_is_a_snapshot_to_move_away_from(self, tiny):
        words = ["RUN.snapshot_step=2", "SAMPLING.away_from=snapshot"]
        run, plain = (training(tiny("run", *words, f"SAMPLING.scale={scale}")) for scale in (2, 0))
        assert torch.equal(run.samples(3), plain.samples(3))
        run = training(tiny("run", *words, "SAMPLING.scale=2", "OPTIMIZATION.total_steps=4"))
        train.train(run.settings)
        run.go_on_from(run.folder)
        plain.average.load_state_dict(run.average.state_dict())
        assert not torch.equal(run.samples(3), plain.samples(3))

    def test_files(self, tiny):
        folder = train.train(tiny("run", "RUN.snapshot_step=2"))
        names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert {name for name in names if "tfevents" not in name} == {
            "checkpoint.pt", "config.yaml", "samples/000008.png", "snapshot.pt",
        }  # fmt: skip

    def test_other_settings_are_refused_by_name_and_how_to_sample_is_free(self, tiny):
        train.train(tiny("run", "OPTIMIZATION.total_steps=1"))
        with pytest.raises(ConfigError, match=r"AUG.nda_share \(was 0.4, now 0.2\)"):
            train.train(tiny("run", "AUG.nda_share=0.2"))
        assert final(tiny("run", "OPTIMIZATION.total_steps=2", "SAMPLING.scale=2"))["step"] == 2

    def test_a_loss_that_is_no_number_stops_the_run_and_the_last_good_checkpoint_stays(self, tiny, monkeypatch):
        whole = Training.losses
        monkeypatch.setattr(
            Training,
            "losses",
            lambda run, number: {n: t * (torch.nan if number == 5 else 1) for n, t in whole(run, number).items()},
        )
        with pytest.raises(DivergedError, match="at step 6 the loss is not finite: denoising = nan"):
            train.train(tiny("run"))
        assert load_checkpoint(Path(tiny("run").RUN.save_dir) / CHECKPOINT, {})["step"] == 4

    def test_labels_that_are_asked_for_must_be_there(self, tiny, tmp_path):
        import numpy as np

        np.savez(tmp_path / "bare.npz", images=np.zeros((32, 8, 8), np.uint8))
        with pytest.raises(ConfigError, match="needs labels"):
            train.train(tiny("run", f"DATA.path={tmp_path / 'bare.npz'}", "MODEL.conditional=true"))
