import importlib.util
import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.linalg
import torch
import typer
from rich.console import Console
from torch import nn
from typer.testing import CliRunner

from examples.common.data import Images
from examples.gan import config, evaluate, train
from examples.gan.generation import CHECKPOINT, load_generator, sample
from nda_augment._files import load_checkpoint, save_checkpoint


def features(n, d, seed, scale=1.0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) * scale


class TestFrechetDistance:
    def test_agrees_with_the_formula(self):
        real, fake = features(300, 6, seed=0), features(200, 6, seed=1, scale=1.5) + 0.3
        a, b = real.double().numpy(), fake.double().numpy()
        cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
        root = scipy.linalg.sqrtm(cov_a @ cov_b).real
        expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root)
        assert evaluate.frechet_distance(real, fake) == pytest.approx(expected, rel=1e-9)

    def test_closed_forms(self):
        real = features(100, 5, seed=0)
        assert evaluate.frechet_distance(real, real.clone()) == pytest.approx(0, abs=1e-9)
        assert evaluate.frechet_distance(real, real + 2) == pytest.approx(5 * 2**2, rel=1e-6)

    def test_features_that_are_always_zero_do_no_harm(self):
        real, fake = features(50, 4, seed=0), features(50, 4, seed=1)
        padded = [torch.cat([x, torch.zeros(50, 3)], dim=1) for x in (real, fake)]
        assert evaluate.frechet_distance(*padded) == pytest.approx(evaluate.frechet_distance(real, fake), rel=1e-6)


class TestKernelDistance:
    def test_agrees_with_the_formula_where_the_subset_is_nearly_all(self):
        """k(x, y) = (x·y / d + 1)³; pairs of one point with itself are left out."""
        real, fake = features(60, 4, seed=0).double(), features(60, 4, seed=1).double() + 0.5

        def mean_kernel(a, b, same):
            kernels = (a @ b.T / 4 + 1) ** 3
            return (kernels.sum() - kernels.trace()) / (60 * 59) if same else kernels.mean()

        expected = mean_kernel(real, real, True) + mean_kernel(fake, fake, True) - 2 * mean_kernel(real, fake, False)
        mean, deviation = evaluate.kernel_distance(real, fake)
        assert mean == pytest.approx(expected.item(), abs=4 * deviation / evaluate._KERNEL_SUBSETS**0.5)

    def test_repeats_and_leaves_the_random_state_alone(self):
        real, fake = features(50, 3, seed=0), features(40, 3, seed=1)
        before = torch.get_rng_state()
        first = evaluate.kernel_distance(real, fake)
        torch.rand(1)
        assert evaluate.kernel_distance(real, fake) == first
        assert first[1] > 0
        torch.set_rng_state(before)

    def test_grows_with_the_distance(self):
        real, fake = features(200, 3, seed=0), features(200, 3, seed=1)
        near, far = evaluate.kernel_distance(real, fake)[0], evaluate.kernel_distance(real, fake + 1)[0]
        assert abs(near) < far / 10


class TestInception:
    def test_without_weights_the_error_says_where_they_are(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"weights-inception-2015-12-05-6726825d.pth from the releases"):
            evaluate.inception_features(tmp_path / "weights.pth")

    @pytest.mark.skipif(importlib.util.find_spec("torch_fidelity") is not None, reason="torch-fidelity is installed")
    def test_without_the_network_the_error_names_the_package(self, tmp_path):
        (tmp_path / "weights.pth").write_bytes(b"")
        with pytest.raises(ImportError, match="pip install torch-fidelity"):
            evaluate.inception_features(tmp_path / "weights.pth")

    def test_the_network_is_frozen_and_sees_whole_numbers_in_colour(self, tmp_path, monkeypatch):
        (tmp_path / "weights.pth").write_bytes(b"")
        seen, asked = [], {}

        class Network(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.ones(()))

            def forward(self, images):
                seen.append((images, self.training, self.weight.requires_grad))
                return images.float().flatten(1)[:, :5] * self.weight

        def metric(**settings):
            asked.update(settings)
            return SimpleNamespace(inception=Network())

        monkeypatch.setattr(evaluate, "FrechetInceptionDistance", metric)
        extract = evaluate.inception_features(tmp_path / "weights.pth")
        extracted = extract(torch.tensor([-1.0, 0.0, 1.0, 2.0]).view(4, 1, 1, 1).expand(4, 1, 8, 8))
        assert asked == {"feature": 2048, "feature_extractor_weights_path": str(tmp_path / "weights.pth")}
        ((images, training, trainable),) = seen
        assert (images.shape, images.dtype) == ((4, 3, 8, 8), torch.uint8)
        assert images[:, 0, 0, 0].tolist() == [0, 128, 255, 255]
        assert not training
        assert not trainable
        assert extracted.shape == (4, 5)


class TestClassifier:
    images = torch.zeros(60, 1, 8, 8, dtype=torch.uint8)
    images[::2, :, :4] = 255
    labels = torch.arange(60) % 2

    def test_learns_repeats_and_is_ready_for_use(self):
        before = torch.get_rng_state()
        classifier = evaluate.train_classifier(Images(self.images, self.labels), epochs=5, batch_size=20)
        again = evaluate.train_classifier(Images(self.images, self.labels), epochs=5, batch_size=20)
        assert torch.equal(torch.get_rng_state(), before)
        assert evaluate._accuracy(classifier, Images(self.images, self.labels)) == 1
        assert all(torch.equal(a, b) for a, b in zip(classifier.parameters(), again.parameters(), strict=True))
        assert not classifier.training
        assert classifier.features(torch.zeros(3, 1, 8, 8)).shape == (3, evaluate.FEATURES)

    def test_needs_labels(self):
        with pytest.raises(ValueError, match="needs labels"):
            evaluate.train_classifier(Images(self.images, None))

    def test_without_labels_it_learns_how_images_were_turned(self):
        turned = evaluate.turned(Images(self.images, None))
        assert len(turned) == 240
        assert turned.labels.bincount().tolist() == [60] * 4
        assert torch.equal(turned.images[60], self.images[0].rot90(1, (1, 2)))


@pytest.fixture(scope="module")
def digits():
    """A judge of digits, their negatives jigsaws."""
    words = ["DATA.name=digits", "AUG.apply_nda=true", "AUG.nda_policy=jigsaw", "RUN.seed=3"]
    return evaluate.Judge(config.load(None, words), classifier_epochs=4)


class TestJudge:
    def test_the_references_are_near_the_ends_of_every_scale(self, digits):
        assert digits.n == 898
        rows = digits.references()
        assert list(rows) == ["real (training)", "real (held out)", "negatives (held out)"]
        real, held_out, negatives = rows.values()
        assert digits.accuracy > 0.9
        assert real.coverage > 0.8
        assert real.forbidden is None
        assert held_out.frechet is None
        assert held_out.forbidden < 0.15
        assert negatives.forbidden > 0.85
        assert negatives.coverage < real.coverage / 2
        assert real.frechet < negatives.frechet / 10
        assert real.kernel < negatives.kernel / 10

    def test_the_forbidden_share_counts_negatives(self, digits):
        half = torch.cat([digits.held_out[:100], digits._negatives[:100]])
        parts = [digits.forbidden_share(some) for some in (digits.held_out[:100], digits._negatives[:100])]
        assert digits.forbidden_share(half) == pytest.approx(sum(parts) / 2)

    def test_noise_is_far_from_everything(self, digits):
        noise = torch.rand(digits.n, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
        assert digits.score(noise).coverage < 0.2

    def test_the_seed_of_the_run_plays_no_part(self, tiny):
        first, second = (evaluate.Judge(tiny("run", f"RUN.seed={seed}"), classifier_epochs=1) for seed in (0, 1))
        assert first.references() == second.references()

    def test_features_can_be_inceptions(self, tiny, monkeypatch):
        monkeypatch.setattr(evaluate, "inception_features", lambda path: lambda images: images.flatten(1)[:, :7])
        judge = evaluate.Judge(tiny("run"), classifier_epochs=1, inception=Path("weights.pth"))
        report = judge.report({})
        assert report.feature_dim == 7
        assert report.features.startswith("Inception")
        assert report.classifier_accuracy is None
        assert "Inception" in evaluate.table(report, "title").caption

    def test_undesired_images_can_be_what_is_forbidden(self, tiny, tmp_path):
        np.savez(tmp_path / "undesired.npz", images=np.zeros((5, 8, 8), dtype=np.uint8))
        settings = tiny("run", "AUG.nda_source=images", f"AUG.nda_path={tmp_path / 'undesired.npz'}")
        judge = evaluate.Judge(settings, classifier_epochs=30)
        assert judge.negatives == f"images of {tmp_path / 'undesired.npz'}"
        assert judge.forbidden_share(torch.full((3, 1, 8, 8), -1.0)) == 1
        assert judge.forbidden_share(judge.held_out) == 0

    def test_without_held_out_images_there_is_nothing_to_compare_with(self, tiny):
        with pytest.raises(ValueError, match=r"only 0 images to compare; raise DATA.holdout"):
            evaluate.Judge(tiny("a", "DATA.holdout=0"))


class TestReport:
    def test_rows_are_the_references_and_the_runs(self, tiny, tmp_path):
        runs = {"plain": train.train(tiny("plain", "AUG.apply_nda=false")), "nda": train.train(tiny("nda"))}
        report = evaluate.evaluate(runs, classifier_epochs=1)
        assert (report.n, report.feature_dim, report.nearest_k) == (8, 64, 5)
        assert report.negatives == "jigsaw,stitch,cutout"
        assert list(report.rows)[3:] == ["plain", "nda"]
        for name, folder in runs.items():
            scores = report.rows[name]
            assert scores.frechet >= 0
            assert all(0 <= value <= 1 for value in (scores.precision, scores.recall, scores.coverage))
            assert 0 <= scores.forbidden <= 1
            rows = load_checkpoint(folder / CHECKPOINT, {})["history"]
            assert scores.logit_gap == pytest.approx(rows[-1]["gap"])  # of four logged rows a tenth is one

        evaluate.save_report(report, tmp_path / "m.json", steps=8)
        saved = json.loads((tmp_path / "m.json").read_text())
        assert saved["rows"]["nda"]["frechet"] == report.rows["nda"].frechet
        assert saved["steps"] == 8

        console = Console(width=160, record=True, file=io.StringIO())
        console.print(evaluate.table(report, "title"))
        text = console.export_text()
        assert f"{report.rows['plain'].coverage:.3f}" in text
        assert "n = 8;" in text
        assert "an own classifier" in text

    def test_the_gap_is_a_mean_over_the_last_tenth_of_the_log(self, tmp_path):
        rows = [{"step": step, "gap": float(step)} for step in range(40)]
        del rows[38]["gap"]
        save_checkpoint({"history": rows}, tmp_path / CHECKPOINT)
        assert evaluate.logit_gap(tmp_path) == (36 + 37 + 39) / 3
        save_checkpoint({"history": [{"step": 1}]}, tmp_path / CHECKPOINT)
        assert evaluate.logit_gap(tmp_path) is None

    def test_generated_images_are_those_of_the_average(self, tiny):
        folder = train.train(tiny("run"))
        images = evaluate.generate(folder, 10)
        assert images.shape == (10, 1, 8, 8)
        assert torch.equal(images, evaluate.generate(folder, 10))
        expected = sample(load_generator(folder), 10, seed=0, purpose="evaluation")
        assert torch.equal(images, expected)


class TestWhatRunsHaveInCommon:
    def test_runs_on_different_data_are_not_compared(self, tiny):
        with pytest.raises(ValueError, match="different data"):
            evaluate._common_settings({"a": tiny("a"), "b": tiny("b", "DATA.holdout=0.5")}, None)

    def test_the_negatives_are_those_that_a_run_was_trained_with(self, tiny):
        runs = {"plain": tiny("a", "AUG.apply_nda=false"), "nda": tiny("b", "AUG.nda_policy=cutout")}
        assert evaluate._common_settings(runs, None).AUG.nda_policy == "cutout"
        assert evaluate._common_settings({"plain": runs["plain"]}, None).AUG.nda_policy == "jigsaw,stitch,cutout"

    def test_different_negatives_need_a_choice(self, tiny):
        runs = {"a": tiny("a", "AUG.nda_policy=cutout"), "b": tiny("b", "AUG.nda_policy=stitch")}
        with pytest.raises(ValueError, match=r"different negatives, cutout; stitch: say which .* --policy"):
            evaluate._common_settings(runs, None)
        assert evaluate._common_settings(runs, "mixup").AUG.nda_policy == "mixup"


def test_the_command_line_writes_the_numbers_and_names_what_is_wrong(tiny, tmp_path):
    folder = train.train(tiny("run", "OPTIMIZATION.total_steps=1"))
    app = typer.Typer()
    app.command()(evaluate.main)
    result = CliRunner().invoke(app, [str(folder), "--output", str(tmp_path / "m.json")])
    assert result.exit_code == 0
    assert str(folder) in json.loads((tmp_path / "m.json").read_text())["rows"]
    refused = CliRunner().invoke(app, [str(folder), "--inception", "nowhere.pth"])
    assert refused.exit_code == 2
    assert "no Inception weights" in refused.output
