"""Every quick example runs, learns from its negatives, and fits on a screen."""

from pathlib import Path

import pytest
import torch

from examples import quick
from examples.quick import anomaly, classifier, gan, moco, simclr, video

FILES = sorted(Path(quick.__file__).parent.glob("[!_]*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_is_one_short_file(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 80
    assert "examples." not in text.replace(f"python -m examples.quick.{path.stem}", "")


def test_the_gan_holds_real_images_and_negatives_apart():
    generator, gap = gan.train(steps=60)
    assert gap > 0.5
    assert generator(torch.randn(3, gan.Z)).shape == (3, 1, 16, 16)


@pytest.mark.parametrize("example", [simclr, moco], ids=["simclr", "moco"])
def test_the_encoder_tells_digits_apart(example):
    assert example.accuracy(example.train(steps=5)) > 0.8


def test_the_classifier_becomes_unsure_of_negatives():
    plain, unsure = (classifier.measure(classifier.train(60, negative_weight=weight), "jigsaw") for weight in (0, 1))
    assert plain[0] > 0.6
    assert unsure[2] < plain[2]


@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*isinstance.treespec, LeafSpec", "ignore:after"
)
def test_the_detector_scores_all_digits():
    assert 0 < anomaly.measure(anomaly.fit(epochs=1)) < 1


def test_clips_become_features():
    assert 0 <= video.accuracy(video.train(steps=2)) <= 1
