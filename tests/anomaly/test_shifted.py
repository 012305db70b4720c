import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nda_augment as nda
from nda_augment.anomaly import ShiftDetector, Training, rising_views, rotations, simclr_views
from nda_augment.losses.one_class import csi, uniclr
from tests.anomaly.conftest import stripes


def build(method="csi", shifts=None, **options) -> ShiftDetector:
    torch.manual_seed(1)
    shifts = rotations() if shifts is None else shifts
    options = {"views": nn.Identity(), "dim": 8, "test_views": 0} | options
    # Not a convolutional network: untrained, it hardly tells an image from its turned copies.
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(64, 16))
    return ShiftDetector(backbone, 16, shifts, method, **options).eval()


def embeddings(detector: ShiftDetector, images: torch.Tensor) -> torch.Tensor:
    """Features of the images under each shift, ``(B, K, D)``."""
    shifted = [images, *(images.rot90(turns, dims=(2, 3)) for turns in (1, 2, 3))]
    return torch.stack([detector.backbone(each) for each in shifted], dim=1)


def test_csi_loss_is_its_function_on_two_views_of_all_shifts() -> None:
    images, detector = stripes(3), build()
    features = embeddings(detector, images)
    z, logits = detector.head(features), detector.classify(features)
    torch.testing.assert_close(detector.loss(images), csi(z, z, torch.cat([logits, logits])))


def test_uniclr_loss_takes_shifted_copies_for_outliers() -> None:
    images, detector = stripes(3), build("uniclr")
    z = detector.head(embeddings(detector, images))
    twins = torch.stack([z, z], dim=2)
    expected = uniclr(twins[:, 0], twins[:, 1:].flatten(0, 1), aggregation_temperature=0.5)
    torch.testing.assert_close(detector.loss(images), expected)


def hierarchical(**options) -> ShiftDetector:
    torch.manual_seed(1)
    backbone = nn.Sequential(
        *(nn.Conv2d(1, 8, 3), nn.Tanh(), nn.Conv2d(8, 8, 3), nn.Tanh(), nn.Conv2d(8, 16, 4), nn.Flatten())
    )
    stages = {"stages": [("1", 8), ("3", 8)], "stage_views": [nn.Identity(), Darker()]}
    options = {"views": nn.Identity(), "dim": 8, "test_views": 0} | stages | options
    return ShiftDetector(backbone, 16, rotations(), options.pop("method", "uniclr"), **options).eval()


class Darker(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images / 2


def test_each_stage_learns_from_its_own_views_with_its_own_head() -> None:
    """The mean of UniCLR on the means of each stage's maps; soft aggregation is for the last stage alone."""
    images, detector = 5 * torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), hierarchical()
    layers = detector.backbone
    expected = []
    for last, head, scale, soft in (
        (2, detector.stage_heads[0], 1.0, None),
        (4, detector.stage_heads[1], 0.5, None),
        (5, detector.head, 1.0, 0.5),
    ):
        shifted = [scale * turned for turned in (images, *(images.rot90(turns, dims=(2, 3)) for turns in (1, 2, 3)))]
        z = torch.stack([head(layers[:last](each).mean(dim=(2, 3))) for each in shifted], dim=1)
        twins = torch.stack([z, z], dim=2)
        expected.append(uniclr(twins[:, 0], twins[:, 1:].flatten(0, 1), aggregation_temperature=soft))
    torch.testing.assert_close(detector.loss(images), torch.stack(expected).mean())


def test_without_stages_and_with_them_the_score_is_that_of_the_last_stage() -> None:
    normal, images = stripes(16), stripes(3, upright=False, seed=1)
    with_stages = remember(hierarchical(), normal)
    plain = hierarchical(stages=[], stage_views=[])
    plain.backbone.load_state_dict(with_stages.backbone.state_dict())
    remember(plain, normal)
    assert torch.equal(with_stages.score(images), plain.score(images))


def test_stages_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match='stages are for "uniclr", each with views of its own; got 2 stages and 2'):
        hierarchical(method="csi")
    with pytest.raises(ValueError, match="got 2 stages and 1 stage_views"):
        hierarchical(stage_views=[nn.Identity()])
    with pytest.raises(ValueError, match="stages must be a list of parts of the network"):
        hierarchical(stages=[("layer1", 8), ("3", 8)])


def test_views_rise_in_strength() -> None:
    images = torch.rand(64, 3, 16, 16)
    weak, middle = rising_views((16, 16), stages=2, color=True)
    torch.manual_seed(0)
    changes = [(views(images) - images).abs().mean() for views in (weak, middle, simclr_views((16, 16), color=True))]
    assert 0 < changes[0] < changes[1] < changes[2]


def remember(detector: ShiftDetector, normal: torch.Tensor) -> ShiftDetector:
    """Fit without training."""
    with torch.no_grad():
        detector._remember([normal[:10], normal[10:]])
    detector.fitted.fill_(True)
    return detector


@torch.no_grad()
def test_csi_score_is_what_is_written() -> None:
    normal, images = stripes(16), stripes(3, upright=False, seed=1)
    detector = remember(build(), normal)
    features = embeddings(detector, torch.cat([normal, images]))
    f, logits = detector.head(features), detector.classify(features)
    for number in range(3):
        total = 0.0
        for shift in range(4):
            own = f[16 + number, shift]
            nearest = max(float(own @ f[m, shift] / f[m, shift].norm()) for m in range(16))
            mean_norm = f[:16, shift].norm(dim=1).mean().item()
            mean_logit = logits[:16, shift, shift].abs().mean().item()
            total += nearest / mean_norm + logits[16 + number, shift, shift].item() / mean_logit
        assert detector.score(images)[number].item() == pytest.approx(-total / 4, rel=1e-4)


@torch.no_grad()
def test_uniclr_score_is_the_highest_cosine_of_backbone_features() -> None:
    normal, images = stripes(16), stripes(3, upright=False, seed=1)
    detector = remember(build("uniclr"), normal)
    bank, own = (F.normalize(detector.backbone(x), dim=1) for x in (normal, images))
    torch.testing.assert_close(detector.score(images), -(own @ bank.T).amax(dim=1))


@torch.no_grad()
def test_simclr_scores_by_features_alone() -> None:
    normal, images = stripes(16), stripes(3, upright=False, seed=1)
    detector = remember(build(shifts=[]), normal)
    bank, own = (detector.head(detector.backbone(x)) for x in (normal, images))
    nearest = (own @ F.normalize(bank, dim=1).T).amax(dim=1)
    torch.testing.assert_close(detector.score(images), -nearest / bank.norm(dim=1).mean())


def test_a_normal_image_scores_lowest_where_it_was_seen() -> None:
    normal = stripes(16)
    detector = remember(build("uniclr"), normal)
    torch.testing.assert_close(detector.score(normal), torch.full((16,), -1.0))


def test_test_views_are_averaged() -> None:
    class Steps(nn.Module):
        """Views that count."""

        def forward(self, images):
            return images + torch.rand(())

    normal = stripes(16)
    one = remember(build(views=Steps(), test_views=1), normal)
    two = remember(build(views=Steps(), test_views=2), normal)
    assert not torch.allclose(one.score(normal[:3]), two.score(normal[:3]))


def test_kornia_draws_once_for_all_images_in_scores_and_per_image_in_training() -> None:
    detector = remember(build(views=simclr_views((8, 8)), test_views=3), stripes(16))
    same = stripes(1).expand(4, 1, 8, 8)
    scores = detector.score(same)
    torch.testing.assert_close(scores, scores[:1].expand(4))
    torch.manual_seed(0)
    views = detector.views(same)
    assert not torch.allclose(views[0], views[1])


def test_random_shifts_are_the_same_for_all_images_in_scores() -> None:
    detector = remember(build(shifts=[nda.Jigsaw(), nda.Cutout(), nda.Stitch()]), stripes(16))
    scores = detector.score(stripes(1).expand(4, 1, 8, 8))
    torch.testing.assert_close(scores, scores[:1].expand(4))


def test_partners_of_scored_images_are_normal_ones() -> None:
    normal = stripes(16)
    assert torch.equal(remember(build(shifts=[nda.Stitch()]), normal).pool, normal[:10])
    assert remember(build(shifts=[nda.Jigsaw()]), normal).pool.numel() == 0


def test_weights_and_memory_move_with_the_state() -> None:
    detector = remember(build(shifts=[nda.Stitch()]), stripes(16))
    other = build(shifts=[nda.Stitch()])
    other.load_state_dict(detector.state_dict())
    for name in ("bank", "scales", "pool"):
        assert torch.equal(getattr(other, name), getattr(detector, name))


def test_fit_keeps_all_normal_images() -> None:
    detector = build(training=Training(epochs=1, accelerator="cpu")).fit(stripes(48).split(16))
    assert detector.bank.shape == (48, 4, 8)
    torch.testing.assert_close(detector.bank.norm(dim=-1), torch.ones(48, 4))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "cis"}, ValueError, "Did you mean 'csi'"),
        ({"method": "uniclr", "shifts": []}, ValueError, "one transform at least"),
        ({"shifts": [nda.Stitch(partner="other_class")]}, ValueError, "needs labels"),
        ({"shifts": [nn.Identity()]}, TypeError, "AsNegative"),
        ({"test_views": -1}, ValueError, "test_views must be 0 or more, got -1"),
        ({"temperature": 0.0}, ValueError, "temperature"),
    ],
)
def test_arguments_are_checked(options, error, message) -> None:
    with pytest.raises(error, match=message):
        build(**options)


def test_shifts_may_be_one_turn() -> None:
    assert build(shifts=[nda.Turn(2)]).classify.out_features == 2
