import io
import json

import numpy as np
import pytest
import scipy.linalg
import torch
from rich.console import Console

from examples.gan import evaluate, train
from examples.gan.data import Images


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
        with pytest.raises(ValueError, match="need labels"):
            evaluate.train_classifier(Images(self.images, None))


class TestReport:
    def test_rows_are_the_reference_and_the_runs(self, tiny, tmp_path):
        runs = {"plain": train.train(tiny("plain", "AUG.apply_nda=false")), "nda": train.train(tiny("nda"))}
        report = evaluate.evaluate(runs, classifier_epochs=1)
        assert (report.n, report.feature_dim, report.nearest_k) == (8, 64, 5)
        assert list(report.rows) == ["real (training)", "plain", "nda"]
        for scores in report.rows.values():
            assert scores.frechet >= 0
            assert all(0 <= value <= 1 for value in (scores.precision, scores.recall, scores.coverage))
            assert scores.density >= 0

        evaluate.save_report(report, tmp_path / "m.json", steps=8)
        saved = json.loads((tmp_path / "m.json").read_text())
        assert saved["rows"]["nda"]["frechet"] == report.rows["nda"].frechet
        assert saved["steps"] == 8

        console = Console(width=120, record=True, file=io.StringIO())
        console.print(evaluate.table(report, "title"))
        text = console.export_text()
        assert f"{report.rows['plain'].coverage:.3f}" in text
        assert "n = 8;" in text

    def test_the_reference_row_is_near_the_best_on_digits(self, tiny):
        words = ["DATA.name=digits", "OPTIMIZATION.total_steps=1"]
        report = evaluate.evaluate({"untrained": train.train(tiny("run", *words))}, classifier_epochs=3)
        reference, untrained = report.rows["real (training)"], report.rows["untrained"]
        assert report.n == 449
        assert report.classifier_accuracy > 0.8
        assert reference.coverage > 0.8
        assert untrained.coverage < 0.2
        assert reference.frechet < untrained.frechet / 10

    def test_generated_images_are_those_of_the_average(self, tiny):
        folder = train.train(tiny("run"))
        images = evaluate.generate(folder, 10)
        assert images.shape == (10, 1, 8, 8)
        assert torch.equal(images, evaluate.generate(folder, 10))

    def test_runs_on_different_data_are_not_compared(self, tiny):
        words = ["OPTIMIZATION.total_steps=1"]
        a, b = train.train(tiny("a", *words)), train.train(tiny("b", *words, "DATA.holdout=0.5"))
        with pytest.raises(ValueError, match="different data"):
            evaluate.evaluate({"a": a, "b": b})

    def test_without_held_out_images_there_is_nothing_to_compare_with(self, tiny):
        folder = train.train(tiny("a", "OPTIMIZATION.total_steps=1", "DATA.holdout=0"))
        with pytest.raises(ValueError, match=r"only 0 images to compare; raise DATA.holdout"):
            evaluate.evaluate({"a": folder})
