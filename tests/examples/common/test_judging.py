import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

from examples.common import data, judging
from examples.common.data import Data, Images
from examples.common.negatives import Negatives
from examples.common.randomness import Share


def features(n, d, seed, scale=1.0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) * scale


class TestFrechetDistance:
    def test_agrees_with_the_formula(self):
        real, fake = features(300, 6, seed=0), features(200, 6, seed=1, scale=1.5) + 0.3
        a, b = real.double().numpy(), fake.double().numpy()
        cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
        root = scipy.linalg.sqrtm(cov_a @ cov_b).real
        expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root)
        assert judging.frechet_distance(real, fake) == pytest.approx(expected, rel=1e-9)

    def test_closed_forms(self):
        real = features(100, 5, seed=0)
        assert judging.frechet_distance(real, real.clone()) == pytest.approx(0, abs=1e-9)
        assert judging.frechet_distance(real, real + 2) == pytest.approx(5 * 2**2, rel=1e-6)

    def test_features_that_are_always_zero_do_no_harm(self):
        real, fake = features(50, 4, seed=0), features(50, 4, seed=1)
        padded = [torch.cat([x, torch.zeros(50, 3)], dim=1) for x in (real, fake)]
        assert judging.frechet_distance(*padded) == pytest.approx(judging.frechet_distance(real, fake), rel=1e-6)


class TestKernelDistance:
    def test_agrees_with_the_formula_where_the_subset_is_nearly_all(self):
        """k(x, y) = (x·y / d + 1)³; pairs of one point with itself are left out."""
        real, fake = features(60, 4, seed=0).double(), features(60, 4, seed=1).double() + 0.5

        def mean_kernel(a, b, same):
            kernels = (a @ b.T / 4 + 1) ** 3
            return (kernels.sum() - kernels.trace()) / (60 * 59) if same else kernels.mean()

        expected = mean_kernel(real, real, True) + mean_kernel(fake, fake, True) - 2 * mean_kernel(real, fake, False)
        mean, deviation = judging.kernel_distance(real, fake)
        assert mean == pytest.approx(expected.item(), abs=4 * deviation / judging._KERNEL_SUBSETS**0.5)

    def test_repeats_and_leaves_the_random_state_alone(self):
        real, fake = features(50, 3, seed=0), features(40, 3, seed=1)
        before = torch.get_rng_state()
        first = judging.kernel_distance(real, fake)
        torch.rand(1)
        assert judging.kernel_distance(real, fake) == first
        assert first[1] > 0
        torch.set_rng_state(before)

    def test_grows_with_the_distance(self):
        real, fake = features(200, 3, seed=0), features(200, 3, seed=1)
        near, far = judging.kernel_distance(real, fake)[0], judging.kernel_distance(real, fake + 1)[0]
        assert abs(near) < far / 10


class TestInception:
    def test_without_weights_the_error_says_where_they_are(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"weights-inception-2015-12-05-6726825d.pth from the releases"):
            judging.inception_features(tmp_path / "weights.pth")

    @pytest.mark.skipif(importlib.util.find_spec("torch_fidelity") is not None, reason="torch-fidelity is installed")
    def test_without_the_network_the_error_names_the_package(self, tmp_path):
        (tmp_path / "weights.pth").write_bytes(b"")
        with pytest.raises(ImportError, match="pip install torch-fidelity"):
            judging.inception_features(tmp_path / "weights.pth")

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

        monkeypatch.setattr(judging, "FrechetInceptionDistance", metric)
        extract = judging.inception_features(tmp_path / "weights.pth")
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
        classifier = judging.train_classifier(Images(self.images, self.labels), epochs=5, batch_size=20)
        again = judging.train_classifier(Images(self.images, self.labels), epochs=5, batch_size=20)
        assert torch.equal(torch.get_rng_state(), before)
        assert judging._accuracy(classifier, Images(self.images, self.labels)) == 1
        assert all(torch.equal(a, b) for a, b in zip(classifier.parameters(), again.parameters(), strict=True))
        assert not classifier.training
        assert classifier.features(torch.zeros(3, 1, 8, 8)).shape == (3, judging.FEATURES)

    def test_needs_labels(self):
        with pytest.raises(ValueError, match="needs labels"):
            judging.train_classifier(Images(self.images, None))

    def test_without_labels_it_learns_how_images_were_turned(self):
        turned = judging.turned(Images(self.images, None))
        assert len(turned) == 240
        assert turned.labels.bincount().tolist() == [60] * 4
        assert torch.equal(turned.images[60], self.images[0].rot90(1, (1, 2)))


@pytest.fixture(scope="module")
def digits():
    """A judge of digits, their negatives jigsaws."""
    parts = data.load(Data(name="digits", img_size=16, holdout=0.5))
    return judging.Judge(*parts, Negatives("jigsaw", 0, Share()), classifier_epochs=4)


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

    def test_copies_are_known_by_what_the_generator_has_seen(self, digits):
        assert digits.references()["real (training)"].copies == 1
        assert digits.references()["negatives (held out)"].copies < 0.5
        seen = digits.held_out[:50]
        assert digits.score(digits._training, seen=seen).copies < 0.5


class TestNearCopies:
    held_out = torch.arange(4.0).view(4, 1, 1, 1)

    def test_it_is_the_share_of_those_nearer_to_what_was_seen(self):
        images = torch.tensor([0.1, 0.6, 1.4, 9.0]).view(4, 1, 1, 1)
        assert judging.near_copies(images, self.held_out + 0.5, self.held_out) == 0.75

    def test_as_many_of_both_are_looked_at(self):
        images = torch.tensor([2.1, 3.1]).view(2, 1, 1, 1)
        assert judging.near_copies(images, torch.tensor([2.6]).view(1, 1, 1, 1), self.held_out) == 1
        assert judging.near_copies(images, self.held_out - 0.2, self.held_out[:2]) == 0
