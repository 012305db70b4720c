import math

import pytest
import torch
from kornia.filters import gaussian_blur2d
from torch.nn import functional as F

import nda_augment as nda
from nda_augment import anomaly
from nda_augment.anomaly import Blemish, Derivatives, PixelNet, SegmentationDetector, Training, UNet
from nda_augment.anomaly.pixels import _smoothed
from nda_augment.anomaly.segmentation import balanced_cross_entropy

QUICK = Training(steps=3, accelerator="cpu")


def texture(count: int, size: tuple[int, int] = (48, 40), seed: int = 0) -> torch.Tensor:
    return 0.5 + 0.05 * torch.randn(count, 1, *size, generator=torch.Generator().manual_seed(seed))


def test_inside_and_outside_weigh_the_same() -> None:
    torch.manual_seed(0)
    logits, mask = torch.randn(3, 1, 4, 5), torch.rand(3, 1, 4, 5) < 0.2
    mask[:, :, 0, 0] = True
    losses = []
    for each, where in zip(logits, mask, strict=True):
        inside = F.binary_cross_entropy_with_logits(each[where], torch.ones(int(where.sum())))
        outside = F.binary_cross_entropy_with_logits(each[~where], torch.zeros(int((~where).sum())))
        losses.append((inside + outside) / 2)
    torch.testing.assert_close(balanced_cross_entropy(logits, mask), torch.stack(losses).mean())


def test_it_outlines_a_stain_that_it_has_not_seen() -> None:
    torch.manual_seed(0)
    training = Training(steps=60, lr=1e-2, holdout=0.0, accelerator="cpu")
    detector = SegmentationDetector(1, width=6, training=training).fit(texture(64).split(8))
    stained = texture(8, seed=1)
    stained[:, :, 10:20, 12:22] -= 0.15
    heat = detector.heatmap(stained)
    assert heat.shape == stained.shape
    assert heat[:, :, 12:18, 14:20].mean() > heat[:, :, 30:, :].mean() + 1
    assert detector.score(stained).min() > detector.score(texture(8, seed=2)).max()


def parts(count: int, seed: int) -> torch.Tensor:
    """Parts that lie alike: a dark bar across each."""
    images = texture(count, seed=seed)
    images[:, :, 20:23] -= 0.2
    return images


def test_what_all_normal_images_have_at_a_place_is_usual_there(tmp_path) -> None:
    torch.manual_seed(0)
    training = Training(steps=30, lr=1e-2, holdout=0.0, accelerator="cpu")
    detector = SegmentationDetector(1, width=4, training=training).fit(parts(64, 0).split(8))
    assert detector.usual.shape == (1, 1, 48, 40)
    maps = detector.heatmap(parts(64, 0))
    before = maps + detector.usual
    assert maps.mean(0).std() < 0.1 * before.mean(0).std()
    torch.testing.assert_close(maps.mean(), before.mean())
    detector.save(tmp_path / "detector.pt")
    images = parts(3, 1)
    torch.testing.assert_close(anomaly.load(tmp_path / "detector.pt").heatmap(images), detector.heatmap(images))
    # Another fit, of images of another size, begins from nothing.
    detector.training_settings = Training(steps=3, holdout=0.0, accelerator="cpu")
    assert detector.fit(parts(16, 0)[..., :32].split(8)).usual.shape == (1, 1, 48, 32)


def test_on_a_surface_that_is_the_same_everywhere_the_border_alone_is_usual() -> None:
    torch.manual_seed(0)
    training = Training(steps=3, holdout=0.0, accelerator="cpu")
    surface = texture(24, (128, 128))
    detector = SegmentationDetector(1, width=4, training=training).fit(surface.split(8))
    middle = (..., slice(44, -44), slice(44, -44))
    assert detector.usual[middle].std() < 0.5 * detector.usual.std()


def test_what_is_usual_is_so_inside_the_region_of_interest() -> None:
    torch.manual_seed(0)
    roi = torch.zeros(48, 40, dtype=torch.bool)
    roi[:, 20:] = True
    training = Training(steps=3, holdout=0.0, accelerator="cpu")
    detector = SegmentationDetector(1, width=4, roi=roi, training=training).fit(parts(32, 0).split(8))
    assert detector.usual[..., :20].abs().max() == 0
    assert detector.usual[..., 20:].std() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_usual_has_the_type_of_the_weights(dtype: torch.dtype) -> None:
    training = Training(steps=1, holdout=0.0, accelerator="cpu")
    detector = SegmentationDetector(1, width=2, training=training).to(dtype).fit(texture(8).to(dtype).split(4))
    assert detector.usual.dtype == dtype
    other = SegmentationDetector(1, width=2)
    other.load_state_dict(detector.state_dict())
    assert other.heatmap(texture(2)).dtype == torch.float32


def test_the_score_is_the_mean_of_as_many_pixels_as_a_share_of_the_images_learned_from() -> None:
    detector = SegmentationDetector(1, width=2, share=0.1, training=QUICK).fit(texture(16).split(8))
    for images in (texture(2, seed=1), texture(2, (60, 90), seed=1)):
        top = detector.heatmap(images).flatten(1).topk(round(0.1 * 48 * 40), dim=1).values
        torch.testing.assert_close(detector.score(images), top.mean(dim=1))


def test_larger_images_are_looked_at_in_tiles_and_smaller_ones_are_errors() -> None:
    detector = SegmentationDetector(1, width=2, training=QUICK).fit(texture(16).split(8))
    large = texture(1, (100, 100), seed=1)
    heat = detector.heatmap(large)
    # A corner is in one tile only.
    torch.testing.assert_close(heat[..., :10, :8], detector.heatmap(large[..., :48, :40])[..., :10, :8])
    with pytest.raises(ValueError, match="images of 40x40 px are smaller than the 48x40 px"):
        detector.score(texture(1, (40, 40)))


def test_a_region_of_interest_restricts_damage_and_scores() -> None:
    roi = torch.zeros(48, 40, dtype=torch.bool)
    roi[:, 20:] = True
    detector = SegmentationDetector(1, width=2, crop=1.0, roi=roi, mirror=False, training=QUICK)
    images = texture(16)
    damaged, mask = detector._damage(images, roi)
    assert torch.equal(damaged[..., :20], images[..., :20])
    assert not mask[..., :20].any()
    detector.fit(images.split(8))
    changed = images.clone()
    changed[..., 5:10, 2:6] = 0.0
    far = torch.zeros(1, 1, 48, 40, dtype=torch.bool)
    far[..., 30:] = True
    heat = detector.heatmap(changed, far)
    assert (heat[..., :30] <= heat.amin(dim=(1, 2, 3), keepdim=True)).all()
    with pytest.raises(TypeError, match=r"roi must be bool, got torch.float32; for a mask of numbers: mask > 0"):
        detector.score(images, far.float())
    with pytest.raises(ValueError, match=r"roi must be \(16, 1, 48, 40\), or one for all, got \(1, 1, 48, 39\)"):
        detector.score(images, far[..., 1:])
    with pytest.raises(ValueError, match="roi leaves nothing"):
        detector.score(images, far & False)


def test_negatives_that_change_no_region_are_errors() -> None:
    with pytest.raises(ValueError, match="Jigsaw change no region, so there is nothing to outline"):
        SegmentationDetector(1, [nda.Jigsaw()])


def test_several_negatives_and_a_pool_of_textures() -> None:
    pool = torch.full((2, 1, 48, 40), 7.0)
    members = [nda.CutPaste(), nda.CutPasteForeign(area=(0.2, 0.3))]
    detector = SegmentationDetector(1, members, width=2, crop=1.0, pool=pool, training=QUICK)
    damaged, mask = detector._damage(texture(8), None)
    assert (damaged == 7).flatten(1).any(dim=1).sum() == 4
    assert mask.flatten(1).any(dim=1).all()
    assert detector.fit(texture(16).split(8)).score(texture(2)).isfinite().all()


def test_crops_are_mirrored_parts_of_the_images() -> None:
    detector = SegmentationDetector(1, crop=0.5)
    images = torch.arange(2 * 140 * 160.0).view(2, 1, 140, 160)
    places = set()
    for _ in range(30):
        crops, _ = detector._crops(images)
        assert crops.shape == (2, 1, 70, 80)
        places.add(float(crops.min()))
        assert crops[0].unique().numel() == 5600
    assert len(places) > 20
    assert detector._crops(images[..., :60, :96])[0].shape == (2, 1, 60, 64), "no smaller than 64, but the image is"


def test_lines_edges_and_spots_are_told_apart_whatever_their_direction() -> None:
    images = torch.zeros(3, 1, 41, 41)
    images[0, :, 20, :] = 1  # a line
    images[1, :, :, 20] = 1  # the same, upright
    images[2, :, 20, 20] = 1  # a spot
    maps = Derivatives(1)(images)[:, :, 20, 20].view(3, 17)
    torch.testing.assert_close(maps[0], maps[1], atol=1e-3, rtol=1e-3)
    high, low = maps[:, 2], maps[:, 3]
    assert low[0] < 10 * -abs(high[0])
    assert low[2] == pytest.approx(float(high[2]), rel=1e-2)


@pytest.mark.parametrize("size", [(20, 36), (5, 7)])
@pytest.mark.parametrize("sigma", [0.7, 5.6])
def test_smoothing_is_that_of_kornia_as_far_as_it_reaches(size: tuple[int, int], sigma: float) -> None:
    images = torch.rand(2, 1, *size, dtype=torch.float64)
    sides = tuple(2 * min(math.ceil(3 * sigma), length - 1) + 1 for length in size)
    torch.testing.assert_close(_smoothed(images, sigma), gaussian_blur2d(images, sides, (sigma, sigma)))


def test_pixels_of_a_long_line_are_smoothed_in_half_precision_too() -> None:
    images = torch.rand(1, 1, 3, 700)
    halves = _smoothed(images.bfloat16(), 2.8).float()
    torch.testing.assert_close(halves, _smoothed(images, 2.8), rtol=0.03, atol=0.03)


def test_contrast_does_not_count_but_the_mean_is_kept() -> None:
    images = torch.rand(2, 2, 30, 30)
    maps, others = Derivatives(2)(images), Derivatives(2)(3 * images + 1)
    torch.testing.assert_close(others[:, [0, 1, 2, 3, 12, 17]], maps[:, [0, 1, 2, 3, 12, 17]], rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(others[:, 16], 3 * maps[:, 16] + 1, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("network", [UNet, PixelNet])
def test_networks_of_pixels(network) -> None:
    net = network(channels=2, outputs=3, width=2)
    assert net(torch.rand(2, 2, 13, 19)).shape == (2, 3, 13, 19)
    with pytest.raises(ValueError, match="at least 1, got 2, 0 and 2"):
        network(channels=2, outputs=0, width=2)


def test_a_pixel_sees_22_pixels_around_it() -> None:
    torch.manual_seed(0)
    net = PixelNet(channels=1).eval()
    maps = torch.rand(1, net.derivatives.features, 61, 61, requires_grad=True)
    net.layers(maps)[0, 0, 30, 30].backward()
    seen = maps.grad[0].abs().sum(dim=0)
    assert seen[30].nonzero().flatten()[[0, -1]].tolist() == [8, 52]
    assert seen[:, 30].nonzero().flatten()[[0, -1]].tolist() == [8, 52]


def test_the_scoring_path_can_be_exported() -> None:
    for restore in (False, True):
        detector = SegmentationDetector(1, width=2, restore=restore, training=QUICK).fit(texture(16).split(8))
        images = texture(3, seed=1)
        scores, maps = torch.export.export(detector.scorer(), (images,)).module()(images)
        torch.testing.assert_close(scores, detector.score(images))
        torch.testing.assert_close(maps, detector.heatmap(images))


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="crop must be a fraction"):
        SegmentationDetector(1, crop=0.0)
    with pytest.raises(ValueError, match="share must be in"):
        SegmentationDetector(1, share=2.0)
    assert isinstance(SegmentationDetector(1).negatives[0], Blemish)


def regional(roi: torch.Tensor | None, training: Training = QUICK) -> SegmentationDetector:
    torch.manual_seed(0)
    return SegmentationDetector(1, width=2, roi=roi, training=training)


def left_half() -> torch.Tensor:
    roi = torch.zeros(48, 40, dtype=torch.bool)
    roi[:, :20] = True
    return roi


@pytest.mark.parametrize("change", ["roi", "no roi", "pool"])
def test_a_checkpoint_of_another_region_or_pool_is_refused(change: str, tmp_path) -> None:
    settings = Training(steps=2, accelerator="cpu", checkpoint=tmp_path / "fit.pt")
    regional(left_half(), settings).fit(texture(16).split(8))
    other = regional({"roi": ~left_half(), "no roi": None}.get(change, left_half()), settings)
    if change == "pool":
        other.pool = texture(4, seed=3)
    with pytest.raises(ValueError, match=rf"fit\.pt is of another training \({change.split()[-1]}: "):
        other.fit(texture(16).split(8))


def test_a_state_of_another_region_is_refused() -> None:
    state = regional(left_half()).fit(texture(16).split(8)).state_dict()
    with pytest.raises(ValueError, match="another region of interest, roi"):
        regional(~left_half()).load_state_dict(state)
    again = regional(None)
    again.load_state_dict(state)
    assert torch.equal(again.roi, left_half())


def test_what_is_exported_looks_at_the_region_alone() -> None:
    detector = regional(left_half()).fit(texture(16).split(8))
    images = texture(2, seed=1)
    images[..., 20:30, 30:35] = 1.0
    scores, maps = detector.scorer()(images)
    torch.testing.assert_close(scores, detector.score(images))
    torch.testing.assert_close(maps, detector.heatmap(images))


def test_a_region_smaller_than_the_share_counts_as_a_whole_and_nothing_outside_does() -> None:
    detector = SegmentationDetector(1, width=2, share=0.5, training=QUICK).fit(texture(16).split(8))
    roi = torch.zeros(2, 1, 48, 40, dtype=torch.bool)
    roi[0, :, 10, 5:7] = roi[1, :, :5] = True
    images = texture(2, seed=1)
    heat = detector.heatmap(images)
    expected = torch.stack([each[where].mean() for each, where in zip(heat, roi, strict=True)])
    torch.testing.assert_close(detector.score(images, roi), expected)


@pytest.mark.parametrize(
    ("roi", "error", "message"),
    [
        (torch.ones(48, 40), TypeError, r"roi must be bool, got torch.float32; of a mask of numbers: mask > 0"),
        (torch.zeros(48, 40, dtype=torch.bool), ValueError, r"leave something to look at, got 0 of \(48, 40\) px"),
        (torch.ones(1, 48, 40, dtype=torch.bool), ValueError, r"roi must be \(H, W\).* got 1920 of \(1, 48, 40\) px"),
    ],
)
def test_regions_that_are_none_are_errors(roi: torch.Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SegmentationDetector(1, width=2, roi=roi)


def test_a_region_and_channels_that_are_not_those_of_the_images_are_errors() -> None:
    with pytest.raises(ValueError, match=r"roi is of \(48, 40\) px and images are of \(48, 48\)"):
        regional(left_half()).fit(texture(16, (48, 48)).split(8))
    with pytest.raises(ValueError, match="images have 1 channels, this detector takes 3"):
        SegmentationDetector(3, width=2, training=QUICK).fit(texture(16).split(8))
    with pytest.raises(ValueError, match="images have 3 channels, this detector takes 1"):
        regional(None).fit(texture(16).split(8)).score(texture(2).repeat(1, 3, 1, 1))
