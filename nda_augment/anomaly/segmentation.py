"""Detection by outlining damage: a network that learned to find synthetic damage finds real one."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nda_augment._checks import as_share
from nda_augment.anomaly._loading import read, seeded
from nda_augment.anomaly._recipes import recipe
from nda_augment.anomaly._training import Objective, Training, Validation, adamw, train
from nda_augment.anomaly.blemish import Blemish
from nda_augment.anomaly.classifier import check_negatives
from nda_augment.anomaly.detector import Detector
from nda_augment.anomaly.measures import auroc
from nda_augment.anomaly.unet import UNet
from nda_augment.transforms import Mixture, NegativeTransform

_LIGHT = (0.2, 0.3)


class SegmentationDetector(Detector):
    """Learn to outline synthetic damage on normal images; the heat map is what the network outlines.

    A small U-Net tells, for every pixel, whether it was changed by a negative; its input is scaled by the mean and the
    deviation of the normal images. Every batch is seen twice, as it is and damaged, mirrored at random, and under light
    of another strength. The heat map holds the log-odds of damage at full resolution (``heatmap.sigmoid()`` are
    probabilities), and the score of an image is the mean of its highest values. Larger images are looked at in tiles.

    With ``restore`` a second U-Net first learns to take the damage away, and the first one sees an image together with
    what it should look like. It takes twice the time.

    Source: after Zavrtanik et al., "DRAEM", ICCV 2021, with a smaller network, the damage of :class:`Blemish`, and no
    restoration unless asked for.

    Args:
        channels: Channels of the images.
        negatives: Transforms that change a region and can return it as a mask, each for an equal share of the images;
            ``None`` is :class:`Blemish`.
        width: Channels of the U-Net at full resolution.
        restore: Whether a second network restores the image first.
        share: Share of the pixels of an image, as large as those learned from, that its score is the mean of.
        mirror: Whether to mirror images in training, for surfaces and parts without handedness.
        pool: Images ``(N, C, H, W)`` for negatives to borrow from, such as textures, in place of the batch.
        roi: Region of interest, bool ``(H, W)``: normal images are damaged inside only, and
            images of its size are scored inside only.
        training: Settings of the training.

    Raises:
        ValueError: If a negative returns no mask, needs labels or has ``p`` below 1, or ``share`` is out of bounds.
        TypeError: If a negative is none of this package's.

    Example:
        >>> detector = SegmentationDetector(channels=1, width=4, training=Training(steps=2))
        >>> detector = detector.fit(torch.rand(16, 1, 16, 16).split(8))
        >>> detector.score(torch.rand(3, 1, 16, 16)).shape, detector.heatmap(torch.rand(3, 1, 40, 16)).shape
        (torch.Size([3]), torch.Size([3, 1, 40, 16]))
    """

    has_heatmap = True
    mean: Tensor
    deviation: Tensor
    pool: Tensor | None
    roi: Tensor | None

    def __init__(
        self,
        channels: int = 3,
        negatives: Sequence[NegativeTransform] | None = None,
        *,
        width: int = 16,
        restore: bool = False,
        share: float = 0.01,
        mirror: bool = True,
        pool: Tensor | None = None,
        roi: Tensor | None = None,
        training: Training | None = None,
    ) -> None:
        super().__init__()
        chosen = [Blemish()] if negatives is None else negatives
        check_negatives(chosen)
        wholes = [type(each).__name__ for each in chosen if not each.changes_region]
        if wholes:
            raise ValueError(f"{', '.join(wholes)} change no region, so there is nothing to outline")
        self.negatives = nn.ModuleList(chosen)
        self.channels, self.width, self.restore, self.mirror = channels, width, restore, mirror
        self.share = as_share(share, "share")
        self.outline = UNet(channels * (2 if restore else 1), width=width)
        self.restorer = UNet(channels, outputs=channels, width=width) if restore else None
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("deviation", torch.ones(1, channels, 1, 1))
        self.register_buffer("pool", pool, persistent=False)
        self.register_buffer("roi", roi)
        self.training_settings = training or Training()

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments by name, without those of training alone."""
        names = ("channels", "width", "restore", "share", "mirror")
        return {"negatives": list(self.negatives), **{name: getattr(self, name) for name in names}}

    def _fit(self, loader: Iterable[Any]) -> None:
        settings = self.training_settings
        with seeded(settings.seed, -1, torch.device("cpu")):
            mean, deviation = _moments(loader)
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)
        objectives = [Objective("loss", adamw(self.parameters(), settings))]
        train(self, loader, objectives, settings, validate=self._validate, identity={"detector": recipe(self)})

    def loss(self, images: Tensor) -> Tensor:
        """The cross-entropy of all pixels of a batch and its damaged copy, a scalar."""
        images = _mirrored(images) if self.mirror else images
        damaged, mask = self._damage(images)
        seen = _in_other_light(torch.cat([self._scaled(images), self._scaled(damaged)]))
        target = torch.cat([torch.zeros_like(mask), mask]).to(images.dtype)
        if self.restorer is None:
            return F.binary_cross_entropy_with_logits(self.outline(seen), target)
        intact = seen[: len(images)].repeat(2, 1, 1, 1)
        restored = self.restorer(seen)
        logits = self.outline(torch.cat([seen, restored], dim=1))
        return F.binary_cross_entropy_with_logits(logits, target) + F.l1_loss(restored, intact)

    def _damage(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return damaged copies, and where they are damaged."""
        members = [each for each in self.negatives if isinstance(each, NegativeTransform)]
        negative = Mixture(members) if len(members) > 1 else members[0]
        borrow = {"pool": self.pool} if self.pool is not None and negative.uses_partners else {}
        damaged, mask = negative(images, return_mask=True, **borrow)
        if self.roi is not None:
            damaged, mask = torch.where(self.roi, damaged, images), mask & self.roi
        return damaged, mask

    def _validate(self, images: Tensor) -> Validation:
        damaged, _ = self._damage(images)
        scores = self._pool(self._heatmap(torch.cat([images, damaged])))
        count = len(images)
        value = auroc(scores, torch.arange(2 * count) >= count)
        return Validation("AUROC", value, 0.5, ((2 * count + 1) / (12 * count * count)) ** 0.5)

    def _heatmap(self, images: Tensor) -> Tensor:
        seen = self._scaled(images)
        if self.restorer is not None:
            seen = torch.cat([seen, self.restorer(seen)], dim=1)
        logits: Tensor = self.outline(seen)
        return logits

    def _pool(self, maps: Tensor) -> Tensor:
        # As many pixels as in an image that was learned from, whatever the size of this one.
        height, width = self._learned_size
        return maps.flatten(1).topk(max(1, round(self.share * height * width)), dim=1).values.mean(dim=1)

    def _region(self, roi: Tensor | None, images: Tensor) -> Tensor | None:
        if roi is None and self.roi is not None and self.roi.shape == images.shape[-2:]:
            roi = self.roi.view(1, 1, *self.roi.shape)
        return super()._region(roi, images)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        roi = state_dict.get(prefix + "roi")
        if roi is not None:
            self.roi = torch.empty_like(roi, device=self.device)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _scaled(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.deviation


def _moments(loader: Iterable[Any]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, ``(1, C, 1, 1)``."""
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for images in read(loader):
        values = images.double().cpu()
        count += len(values) * values[0, 0].numel()
        total = total + values.sum(dim=(0, 2, 3))
        squares = squares + values.square().sum(dim=(0, 2, 3))
    mean = total / count
    deviation = (squares / count - mean.square()).clamp(min=0).sqrt().clamp(min=1e-3)
    return mean.view(1, -1, 1, 1).float(), deviation.view(1, -1, 1, 1).float()


def _mirrored(images: Tensor) -> Tensor:
    """Mirror every image along each axis with a chance of a half."""
    for axis in (-1, -2):
        chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
        images = torch.where(chosen, images.flip(axis), images)
    return images


def _in_other_light(scaled: Tensor) -> Tensor:
    """Change contrast and brightness of an image and of its damaged copy, which follow each other, alike."""
    contrast, brightness = (
        ((2 * torch.rand(len(scaled) // 2, 1, 1, 1, device=scaled.device) - 1) * reach).repeat(2, 1, 1, 1)
        for reach in _LIGHT
    )
    return scaled * contrast.exp() + brightness
