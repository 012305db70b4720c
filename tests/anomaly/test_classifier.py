import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nda_augment as nda
from nda_augment.anomaly import ClassifierDetector, Encoder, Training
from nda_augment.anomaly.classifier import _random_windows, _rows_of_windows, _spread
from tests.anomaly.conftest import stripes


class Mean(nn.Module):
    """A backbone whose two features are the mean and the mean square of an image."""

    def forward(self, images):
        return torch.stack([images.mean(dim=(1, 2, 3)), images.square().mean(dim=(1, 2, 3))], dim=1)


def build(**options) -> ClassifierDetector:
    options = {"negatives": [nda.Jigsaw(), nda.Cutout()]} | options
    return ClassifierDetector(Mean(), 2, **options)


def test_one_class_for_each_negative_beside_the_real_one() -> None:
    assert build().head.out_features == 3
    assert build(classes="two").head.out_features == 2


def test_loss_is_the_cross_entropy_of_all_groups() -> None:
    images = stripes(6)
    detector = build()
    torch.manual_seed(5)
    loss = detector.loss(images)
    torch.manual_seed(5)
    groups = [images, nda.Jigsaw()(images), nda.Cutout()(images)]
    expected = torch.stack(
        [F.cross_entropy(detector.head(Mean()(group)), torch.full((6,), label)) for label, group in enumerate(groups)]
    )
    torch.testing.assert_close(loss, expected.mean())


def test_two_classes_mix_the_negatives() -> None:
    images, detector = stripes(6), build(classes="two")
    torch.manual_seed(5)
    loss = detector.loss(images)
    torch.manual_seed(5)
    negatives = nda.Mixture([nda.Jigsaw(), nda.Cutout()])(images)
    logits = detector.head(Mean()(torch.cat([images, negatives])))
    torch.testing.assert_close(loss, F.cross_entropy(logits, torch.tensor([0] * 6 + [1] * 6)))


def test_views_come_before_the_negatives() -> None:
    seen = []

    class Views(nn.Module):
        def forward(self, images):
            return images + 10

    class Spy(Mean):
        def forward(self, images):
            seen.append(images)
            return super().forward(images)

    detector = ClassifierDetector(Spy(), 2, [nda.Cutout(fill=20.0)], views=Views())
    detector.loss(stripes(4))
    assert seen[0].shape == (8, 1, 8, 8)
    assert seen[0].min() >= 10


def test_windows_are_where_they_should_be() -> None:
    images = torch.arange(2 * 6 * 8.0).view(2, 1, 6, 8)
    rows = list(_rows_of_windows(images, side=4, step=2))
    assert len(rows) == 2
    for row, windows in enumerate(rows):
        assert len(windows) == 2 * 3
        for image in range(2):
            for column in range(3):
                here = images[image, :, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4]
                assert torch.equal(windows[image * 3 + column], here)


@pytest.mark.parametrize(("side", "step"), [(4, 3), (4, 4), (5, 2), (7, 7)])
def test_every_pixel_is_in_a_window(side, step) -> None:
    images = torch.arange(7 * 9.0).view(1, 1, 7, 9)
    windows = torch.cat(list(_rows_of_windows(images, side, step)))
    assert windows.shape[1:] == (1, side, side)
    assert torch.equal(windows.unique(), images.flatten())
    assert torch.equal(windows[-1, 0], images[0, 0, -side:, -side:])


def test_random_windows_are_parts_of_their_own_images() -> None:
    images = torch.arange(50 * 2 * 6 * 8.0).view(50, 2, 6, 8)
    windows = _random_windows(images, 4)
    assert windows.shape == (50, 2, 4, 4)
    corners = []
    for image, window in zip(images, windows, strict=True):
        first = int(window[0, 0, 0] - image[0, 0, 0])
        row, column = divmod(first, 8)
        assert torch.equal(window, image[:, row : row + 4, column : column + 4])
        corners.append((row, column))
    assert {row for row, _ in corners} == {0, 1, 2}
    assert {column for _, column in corners} == {0, 1, 2, 3, 4}


def test_equal_scores_are_a_flat_map() -> None:
    spread = _spread(torch.full((1, 1, 3, 4), 7.0), side=4, step=2, size=(8, 10))
    torch.testing.assert_close(spread, torch.full((1, 1, 8, 10), 7.0))


def test_a_map_is_the_weighted_mean_of_the_windows_that_hold_a_pixel() -> None:
    scores = torch.randn(2, 1, 3, 4)
    spread = _spread(scores, side=4, step=2, size=(7, 9))
    for y in range(7):
        for x in range(9):
            total = weights = 0.0
            for row, first in enumerate((0, 2, 3)):
                for column, second in enumerate((0, 2, 4, 5)):
                    top, left = y - first, x - second
                    if 0 <= top < 4 and 0 <= left < 4:
                        weight = float(torch.tensor(-0.5 * ((top - 1.5) ** 2 + (left - 1.5) ** 2)).exp())
                        total, weights = total + weight * scores[1, 0, row, column].item(), weights + weight
            assert spread[1, 0, y, x].item() == pytest.approx(total / weights, rel=1e-4, abs=1e-5)


def test_the_heat_is_where_the_defect_is() -> None:
    torch.manual_seed(0)
    encoder = Encoder(channels=1, width=4)
    training = Training(epochs=3, accelerator="cpu")
    detector = ClassifierDetector(encoder, encoder.features, [nda.CutPaste()], patch=0.25, training=training)
    normal = 0.5 + 0.02 * torch.randn(48, 1, 24, 32)
    detector.fit(normal.split(16))
    damaged = normal[:4].clone()
    damaged[:, :, 14:20, 20:26] += 0.4
    heat = detector.heatmap(damaged)
    assert heat.shape == (4, 1, 24, 32)
    peak = heat.flatten(1).argmax(dim=1)
    assert ((peak // 32 - 16.5).abs() <= 5).all()
    assert ((peak % 32 - 22.5).abs() <= 5).all()
    torch.testing.assert_close(detector.score(damaged), heat.amax(dim=(1, 2, 3)))
    assert detector.score(damaged).min() > detector.score(normal[4:]).max()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"negatives": []}, ValueError, "one transform at least"),
        ({"negatives": "jigsaw"}, ValueError, "one transform at least, got 'jigsaw'"),
        ({"negatives": [nn.Identity()]}, TypeError, "nda_augment.AsNegative"),
        ({"negatives": [nda.Stitch(partner="other_class")]}, ValueError, "needs labels"),
        ({"negatives": [nda.Jigsaw(p=0.5)]}, ValueError, "use p=1"),
        ({"classes": "ech"}, ValueError, "Did you mean 'each'"),
        ({"patch": 1.0}, ValueError, r"patch must be whole pixels, a share of the image in \(0, 1\), or None, got 1.0"),
        ({"patch": 0.0}, ValueError, "got 0.0"),
        ({"stride": 0.0}, ValueError, r"stride must be a share of the window in \(0, 1\], got 0.0"),
    ],
)
def test_arguments_are_checked(options, error, message) -> None:
    with pytest.raises(error, match=message):
        build(**options)
