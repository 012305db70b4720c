"""Detection by telling real images from negatives, and by the density of the features that come of it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nda_augment._checks import check_word
from nda_augment._negatives import check_negative
from nda_augment.anomaly._loading import AT_ONCE, seeded
from nda_augment.anomaly._recipes import recipe
from nda_augment.anomaly._training import Objective, Training, Validation, adamw, train
from nda_augment.anomaly.density import DensityDetector
from nda_augment.transforms import Mixture, NegativeTransform

Classes = Literal["each", "two"]


class ClassifierDetector(DensityDetector):
    """Learn to tell normal images from their negatives; score by a Gaussian density on the normal features.

    With ``patch``, everything happens on square windows: they are cut from the images first and made negative then,
    the density is that of normal windows, the heat map spreads the score of every window over it with a Gaussian, and
    the score of an image is the highest of its map. Windows must be large enough for the backbone and the negatives.

    With :func:`defect_negatives` and windows of a quarter of the image it loses to its own network untrained on cracks
    in roads, 69.9 ± 9.8 against 78.3 ± 0.3 % of image AUROC; on faults in solar cells it wins, 93.5 ± 5.6 against
    84.9 ± 1.4 (docs/results/anomaly.md). For defects take :func:`defect`.

    Source: Li et al., "CutPaste: Self-Supervised Learning for Anomaly Detection and Localization", CVPR 2021. There
    windows of 64 pixels are learned from, and windows of 32 are scored.

    Args:
        backbone: Images ``(B, C, H, W)`` to features ``(B, D)``, trained in place.
        features: ``D``.
        negatives: Transforms whose images normal ones are told from. Those that need labels cannot be used.
        classes: ``"each"``: one class per negative, and one for the real images; ``"two"``: real or negative, and an
            image has one of the negatives.
        patch: Side of the windows in pixels, or as a share in (0, 1) of the shorter side of the images that are learned
            from; ``None``: whole images. Windows keep their size in pixels on images of any other size.
        stride: Step from window to window as a share of the window's side, in (0, 1]; for scores and maps.
        views: Positive augmentation of normal images before they are made negative, a callable on batches.
        normalize: Whether to scale features to length one before the density sees them.
        training: Settings of the training.

    Raises:
        ValueError: If no negative is given, or one that needs labels or has ``p`` below 1, ``patch`` or ``stride`` is
            out of bounds, or ``classes`` is another word.
        TypeError: If a negative is none of this package's.

    Example:
        >>> import nda_augment as nda
        >>> from nda_augment.anomaly import Encoder
        >>> backbone = Encoder(channels=1, width=4)
        >>> detector = ClassifierDetector(
        ...     backbone, backbone.features, [nda.CutPaste()], patch=0.5, training=Training(epochs=1)
        ... )
        >>> detector = detector.fit(torch.rand(64, 1, 16, 16).split(16))
        >>> detector.score(torch.rand(3, 1, 16, 16)).shape, detector.heatmap(torch.rand(3, 1, 16, 16)).shape
        (torch.Size([3]), torch.Size([3, 1, 16, 16]))
    """

    def __init__(
        self,
        backbone: nn.Module,
        features: int,
        negatives: Sequence[NegativeTransform],
        *,
        classes: Classes = "each",
        patch: float | int | None = None,
        stride: float = 0.25,
        views: nn.Module | None = None,
        normalize: bool = True,
        training: Training | None = None,
    ) -> None:
        super().__init__(backbone, features, normalize=normalize)
        check_negatives(negatives)
        check_word(classes, "classes", ("each", "two"))
        if patch is not None and not (0 < patch < 1 or (isinstance(patch, int) and patch >= 1)):
            raise ValueError(f"patch must be whole pixels, a share of the image in (0, 1), or None, got {patch}")
        if not 0 < stride <= 1:
            raise ValueError(f"stride must be a share of the window in (0, 1], got {stride}")
        self.given, self.classes = list(negatives), classes
        self.negatives = nn.ModuleList(negatives if classes == "each" else [Mixture(negatives)])
        self.head = nn.Linear(features, 1 + len(self.negatives))
        self.views = views or nn.Identity()
        self.patch, self.stride = patch, stride
        self.has_heatmap = patch is not None
        self.training_settings = training or Training()

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments by name, without those of training alone."""
        names = ("classes", "patch", "stride")
        return {**super().arguments(), "negatives": self.given, **{name: getattr(self, name) for name in names}}

    def _fit(self, loader: Iterable[Any]) -> None:
        settings = self.training_settings
        self._check_window(min(self._learned_size))
        objectives = [Objective("loss", adamw(self.parameters(), settings))]
        identity = {"detector": recipe(self), "views": repr(self.views)}
        train(self, loader, objectives, settings, validate=self._validate, identity=identity)
        # A loader that shuffles and drops its last batch, or augments, draws once more.
        with seeded(settings.seed, -3, self.device):
            super()._fit(loader)

    def loss(self, images: Tensor) -> Tensor:
        """The cross-entropy of real images and all their negatives, a scalar."""
        seen, classes = self._groups(images)
        # One pass for all: apart, batch norm would tell the groups from each other by their statistics.
        return F.cross_entropy(self.head(self.backbone(seen)), classes)

    def _groups(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Real images with all their negatives, ``(N, C, h, w)``, and their classes ``(N,)``."""
        real = self.views(images)
        if self.patch is not None:
            real = _random_windows(real, self._side)
        groups = [real, *(negative(real) for negative in self.negatives)]
        return torch.cat(groups), torch.arange(len(groups), device=real.device).repeat_interleave(len(real))

    def _validate(self, images: Tensor) -> Validation:
        seen, classes = self._groups(images)
        logits = torch.cat([self.head(self.backbone(some)) for some in torch.split(seen, AT_ONCE)])
        chance = 1 / logits.shape[1]
        accuracy = (logits.argmax(dim=1) == classes).float().mean().item()
        return Validation("accuracy", accuracy, chance, (chance * (1 - chance) / len(classes)) ** 0.5)

    def _normal_features(self, images: Tensor) -> Tensor:
        if self.patch is None:
            return super()._normal_features(images)
        return torch.cat([self.backbone(some) for some in _rows_of_windows(images, self._side, self._side // 2)])

    def _heatmap(self, images: Tensor) -> Tensor:
        side = self._side
        step = max(1, round(side * self.stride))
        rows = [self.density.score(self.backbone(some)) for some in _rows_of_windows(images, side, step)]
        scores = torch.stack([row.view(len(images), -1) for row in rows], dim=1).unsqueeze(1)
        return _spread(scores, side, step, (images.shape[-2], images.shape[-1]))

    def _map(self, images: Tensor) -> Tensor:
        self._check_window(min(images.shape[-2:]))
        return self._heatmap(images)

    @property
    def _side(self) -> int:
        """Side of a window in pixels."""
        shorter = min(self._learned_size)
        return self.patch if isinstance(self.patch, int) else max(1, round(shorter * (self.patch or 1)))

    def _check_window(self, shorter: int) -> None:
        if self.patch is not None and self._side > shorter:
            raise ValueError(f"a window of {self._side} px does not fit into images of which a side is {shorter} px")


def check_negatives(negatives: Sequence[NegativeTransform]) -> None:
    """Refuse an empty list, things that are no negatives, and negatives that need labels or leave images unchanged."""
    if isinstance(negatives, str) or not len(negatives):
        raise ValueError(f"negatives must be a list of one transform at least, got {negatives!r}")
    for negative in negatives:
        check_negative(negative, clips=True)


def _random_windows(images: Tensor, side: int) -> Tensor:
    """One window of each image at a random place, ``(B, C, side, side)``."""
    batch, _, height, width = images.shape
    device = images.device
    top = torch.randint(height - side + 1, (batch, 1, 1), device=device) + torch.arange(side, device=device)[:, None]
    left = torch.randint(width - side + 1, (batch, 1, 1), device=device) + torch.arange(side, device=device)
    # Advanced indices apart from each other put what they pick first: (B, side, side, C).
    return images[torch.arange(batch, device=device)[:, None, None], :, top, left].movedim(-1, 1)


def _rows_of_windows(images: Tensor, side: int, step: int) -> Iterator[Tensor]:
    """Windows ``(B · columns, C, side, side)``: row by row, and in each image by image."""
    step = max(1, step)
    lefts = _starts(images.shape[-1], side, step)
    for top in _starts(images.shape[-2], side, step):
        row = images[..., top : top + side, :]
        windows = torch.stack([row[..., left : left + side] for left in lefts], dim=1)
        yield windows.flatten(0, 1)


def _starts(length: int, side: int, step: int) -> list[int]:
    """Where windows begin: one every ``step``, and one at the end if the steps do not get there."""
    last = length - side
    return [*range(0, last, step), last]


def _spread(scores: Tensor, side: int, step: int, size: tuple[int, int]) -> Tensor:
    """Turn scores of windows into scores of pixels: the mean over a pixel's windows, the nearer the heavier."""
    rows, columns = (_weights(length, side, step).to(scores) for length in size)
    return rows @ scores @ columns.T / (rows.sum(dim=1, keepdim=True) * columns.sum(dim=1))


def _weights(length: int, side: int, step: int) -> Tensor:
    """How much each window ``(length, windows)`` counts at each place: a Gaussian around its middle, 0 outside."""
    place = torch.arange(length)[:, None] - torch.tensor(_starts(length, side, step))
    bell = torch.exp(-0.5 * ((place - (side - 1) / 2) / (side / 4)).square())
    return bell * ((place >= 0) & (place < side))
