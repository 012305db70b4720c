import pytest
import torch

import nda_augment as nda
from nda_augment import anomaly
from nda_augment.anomaly import Encoder, Training, defect, defect_negatives, semantic, simclr_views


def test_everything_public_is_sorted_there_and_documented() -> None:
    assert anomaly.__all__ == sorted(set(anomaly.__all__))
    for name in anomaly.__all__:
        value = getattr(anomaly, name)
        assert name in ("BANKS", "Report") or value.__doc__, name


def test_defects_are_small_and_local() -> None:
    assert [type(negative) for negative in defect_negatives()] == [nda.CutPaste, nda.CutPasteScar, nda.PerlinBlend]
    images = torch.rand(32, 3, 32, 32)
    for negative in defect_negatives():
        changed = (negative(images) != images).any(dim=1).float().mean()
        assert 0 < changed < 0.5


def test_defect_outlines_damage() -> None:
    training = Training(steps=5)
    detector = defect(channels=1, training=training, width=4)
    assert isinstance(detector, anomaly.SegmentationDetector)
    assert (detector.channels, detector.width, detector.training_settings) == (1, 4, training)
    assert defect().channels == 3
    assert defect().training_settings == anomaly.SegmentationDetector().training_settings


def test_semantic_has_rotations() -> None:
    encoder, training = Encoder(width=4), Training(epochs=3)
    detector = semantic(encoder, encoder.features, (8, 8), method="uniclr", training=training, test_views=1)
    assert [shift.turns for shift in detector.shifts] == [1, 2, 3]
    assert (detector.method, detector.test_views, detector.training_settings) == ("uniclr", 1, training)


@pytest.mark.parametrize(("channels", "colours"), [(3, True), (1, False)])
def test_colours_are_augmented_where_there_are_some(channels, colours) -> None:
    encoder = Encoder(channels, width=4)
    views = semantic(encoder, encoder.features, (8, 8), channels=channels).views
    assert any(type(step).__name__ == "ColorJiggle" for step in views.children()) == colours


def test_views_of_ones_own() -> None:
    encoder, views = Encoder(width=4), simclr_views((8, 8), flip=True)
    assert semantic(encoder, encoder.features, (8, 8), views=views).views is views


def test_views_keep_shape_and_range() -> None:
    images = torch.rand(16, 3, 12, 8)
    views = simclr_views((12, 8), color=True, flip=True)(images)
    assert views.shape == images.shape
    assert views.min() >= 0
    assert views.max() <= 1


@pytest.mark.parametrize("size", [(4, 4), (5, 9), (33, 32)])
def test_the_encoder_takes_any_size(size) -> None:
    encoder = Encoder(channels=2, width=3)
    assert encoder(torch.rand(2, 2, *size)).shape == (2, encoder.features) == (2, 12)
