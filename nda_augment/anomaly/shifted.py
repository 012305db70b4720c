"""Detection by shifted instances: contrast normal images with shifted copies of themselves."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nda_augment._checks import check_word
from nda_augment.anomaly._loading import read, seeded
from nda_augment.anomaly._recipes import recipe
from nda_augment.anomaly._training import Objective, Training, Validation, adamw, train
from nda_augment.anomaly.backbones import check_stages, stage_maps
from nda_augment.anomaly.classifier import check_negatives
from nda_augment.anomaly.detector import Detector
from nda_augment.losses.one_class import CSILoss, UniCLRLoss
from nda_augment.transforms import NegativeTransform
from nda_augment.transforms.base import select

Method = Literal["csi", "uniclr"]
_POOL = 64


class ShiftDetector(Detector):
    """Contrast images with their shifted copies; the score is how unlike an image is to its nearest normal one.

    ``"csi"``: every shifted copy is an image of its own in NT-Xent, and a linear head tells the shifts apart. With
    features ``f_k`` (after the projection head) and the shift logits of an image under shift ``k``, the score is minus
    the mean over ``k`` of ``max_m ⟨f_k(x), f_k(x_m) / ‖f_k(x_m)‖⟩ / c_k + logit_k / s_k``. ``c_k`` and ``s_k``, the
    mean norm and the mean absolute logit of the normal images, calibrate the terms. Without shifts it is SimCLR with
    CSI's score.

    ``"uniclr"``: all normal images are drawn together, every shifted copy is a class of its own, and typical images
    weigh more (soft aggregation). The score is minus the highest cosine similarity between the backbone's features of
    an image and of the normal ones. With ``stages`` it is hierarchical: earlier stages of the backbone learn the same,
    each with a head of its own and from views of its own, which are to be the weaker the earlier the stage is; the loss
    is the mean over all of them. Each costs a pass of the backbone in training, and nothing when it scores.

    Features are means over ``test_views`` augmented copies. Their draws, and those of shifts that are random, are the
    same for every image and every call, so the score of an image depends on nothing but the image.

    Source: Tack et al., CSI, NeurIPS 2020 (ten test views with crops of a fixed size there); Wang et al., UniCon-HA,
    ICCV 2023, in whose hierarchy the maps of a stage are brought to the shape of the last ones; here their mean is,
    by the first layer of the head. Their strengths of views and weights of stages are not published: all weigh alike.

    Args:
        backbone: Images ``(B, C, H, W)`` to features ``(B, D)``, trained in place.
        features: ``D``.
        shifts: The bank: any negatives that need no labels. Those that borrow from other images do so from a few
            normal ones, which are kept.
        method: ``"csi"`` or ``"uniclr"``.
        views: Positive augmentation, a random callable on batches; kornia modules draw per image in training and once
            for all images when they score.
        stages: Parts of the backbone that learn too, with ``"uniclr"``: the name of each, as in
            ``backbone.named_modules()``, and how many channels its maps have. The last stage always learns.
        stage_views: Views of each of these stages, as many; :func:`rising_views` makes some.
        dim: Size of the embeddings that the loss sees.
        temperature: τ.
        test_views: Number of augmented copies that a score looks at; 0 for the image as it is.
        training: Settings of the training.

    Raises:
        ValueError: If ``method`` is another word, a shift needs labels or has ``p`` below 1, ``test_views`` is
            negative, ``"uniclr"`` has no shift, or there are stages with ``"csi"``, of other names than the backbone's
            parts, or as many as there are no views for.
        TypeError: If a shift is none of this package's negatives.

    Example:
        >>> from nda_augment.anomaly import Encoder, rotations, simclr_views
        >>> backbone = Encoder(channels=1, width=4)
        >>> detector = ShiftDetector(
        ...     backbone, backbone.features, rotations(), views=simclr_views((8, 8)), training=Training(epochs=1)
        ... )
        >>> detector.fit(torch.rand(32, 1, 8, 8).split(16)).score(torch.rand(3, 1, 8, 8)).shape
        torch.Size([3])
    """

    bank: Tensor
    scales: Tensor
    pool: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        features: int,
        shifts: Sequence[NegativeTransform],
        method: Method = "csi",
        *,
        views: nn.Module,
        stages: Sequence[tuple[str, int]] = (),
        stage_views: Sequence[nn.Module] = (),
        dim: int = 64,
        temperature: float = 0.5,
        test_views: int = 4,
        training: Training | None = None,
    ) -> None:
        super().__init__()
        check_word(method, "method", ("csi", "uniclr"))
        if len(shifts) or method == "uniclr":
            check_negatives(shifts)
        if test_views < 0:
            raise ValueError(f"test_views must be 0 or more, got {test_views}")
        if len(stages) != len(stage_views) or (len(stages) and method != "uniclr"):
            raise ValueError(
                f'stages are for "uniclr", each with views of its own; got {len(stages)} stages and {len(stage_views)} '
                f"stage_views for {method!r}"
            )
        if len(stages):
            check_stages(backbone, [name for name, _ in stages])
        self.backbone, self.shifts, self.views = backbone, nn.ModuleList(shifts), views
        self.stages, self.stage_views = [(name, channels) for name, channels in stages], nn.ModuleList(stage_views)
        self.head = _head(features, features, dim)
        self.stage_heads = nn.ModuleList(_head(channels, features, dim) for _, channels in self.stages)
        self.classify = nn.Linear(features, 1 + len(shifts))
        self.csi = CSILoss(temperature)
        self.uniclr = UniCLRLoss(temperature, aggregation_temperature=temperature)
        self.stage_uniclr = UniCLRLoss(temperature)
        self.method, self.test_views = method, test_views
        self.training_settings = training or Training()
        # What a fit learns beside weights: normal features, the scales of both terms per shift, images to borrow from.
        self.register_buffer("bank", torch.zeros(0))
        self.register_buffer("scales", torch.zeros(0))
        self.register_buffer("pool", torch.zeros(0))

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments by name, without those of training alone."""
        return {
            "backbone": self.backbone,
            "features": self.classify.in_features,
            "shifts": list(self.shifts),
            "method": self.method,
            "views": self.views,
            "stages": self.stages,
            "stage_views": list(self.stage_views),
            "dim": self.head[-1].out_features,
            "test_views": self.test_views,
        }

    def _fit(self, loader: Iterable[Any]) -> None:
        settings = self.training_settings
        objectives = [Objective("loss", adamw(self.parameters(), settings))]
        validate = self._validate if self.method == "csi" and len(self.shifts) else None
        views = repr([self.views, *self.stage_views])
        identity = {"detector": recipe(self), "views": views, "temperature": self.csi.temperature}
        train(self, loader, objectives, settings, validate=validate, identity=identity)
        # A loader that shuffles draws once more, and its first images are the pool.
        with torch.no_grad(), seeded(settings.seed, -3, self.device):
            self._remember(loader)

    def loss(self, images: Tensor) -> Tensor:
        """The loss of a batch of normal images, a scalar."""
        shifted = torch.stack([images, *(shift(images) for shift in self.shifts)], dim=1)
        batch, count = shifted.shape[:2]
        features = self.backbone(_two_views(self.views, shifted))
        z = self.head(features).view(2, batch, count, -1)
        if self.method == "csi":
            loss: Tensor = self.csi(*z, self.classify(features).view(2 * batch, count, count))
            return loss
        losses = [self.uniclr(*_twins(z))]
        for (name, _), views, head in zip(self.stages, self.stage_views, self.stage_heads, strict=True):
            maps = stage_maps(self.backbone, [name], _two_views(views, shifted))[name]
            losses.append(self.stage_uniclr(*_twins(head(maps.mean(dim=(2, 3))).view(2, batch, count, -1))))
        return torch.stack(losses).mean()

    def _validate(self, images: Tensor) -> Validation:
        shifted = torch.cat([images, *(shift(images) for shift in self.shifts)])
        classes = torch.arange(1 + len(self.shifts), device=images.device).repeat_interleave(len(images))
        accuracy = (self.classify(self.backbone(self.views(shifted))).argmax(dim=1) == classes).float().mean().item()
        chance = 1 / (1 + len(self.shifts))
        return Validation("accuracy", accuracy, chance, (chance * (1 - chance) / len(classes)) ** 0.5)

    def _remember(self, loader: Iterable[Any]) -> None:
        features: list[Tensor] = []
        logits: list[Tensor] = []
        for batch in read(loader):
            images = batch.to(self.device)
            if not features and any(shift.uses_partners for shift in self._shifts):
                self.pool = images[:_POOL].clone()
            some, of_shift = self._look(images)
            features.append(some)
            logits.append(of_shift)
        normal = torch.cat(features)
        self.bank = F.normalize(normal, dim=-1)
        self.scales = torch.stack([normal.norm(dim=-1).mean(dim=0), torch.cat(logits).abs().mean(dim=0)])

    def _score(self, images: Tensor) -> Tensor:
        features, logits = self._look(images)
        if self.method == "uniclr":
            features = F.normalize(features, dim=-1)
        # (K, B, D) with (K, D, N): the nearest normal image under each shift.
        nearest: Tensor = (features.transpose(0, 1) @ self.bank.permute(1, 2, 0)).amax(dim=2).T
        if self.method == "uniclr":
            return -nearest[:, 0]
        norms, sizes = self.scales.unbind()
        terms = nearest / norms + logits / sizes if len(self.shifts) else nearest / norms
        return -terms.mean(dim=1)

    def _look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``(B, K, D)`` of images under each shift, and the logit ``(B, K)`` of the right one."""
        shifts = [images]
        if self.method == "csi":
            shifts += [self._shift(shift, images, number) for number, shift in enumerate(self._shifts)]
        seen = [self._mean_features(each) for each in shifts]
        features = torch.stack([embedding for embedding, _ in seen], dim=1)
        logits = torch.stack([logits[:, number] for number, (_, logits) in enumerate(seen)], dim=1)
        return features, logits

    def _shift(self, shift: NegativeTransform, images: Tensor, number: int) -> Tensor:
        """Apply a shift with one draw for all images, always the same."""
        source = torch.Generator().manual_seed(number)
        pool = self.pool if shift.uses_partners else None
        one = shift.draw((1, *images.shape[1:]), generator=source, device=images.device, pool=pool)
        params = select(one, torch.zeros(len(images), dtype=torch.long, device=images.device))
        params["forward_input_shape"] = torch.tensor(images.shape)
        shifted: Tensor = shift(images, params=params)
        return shifted

    def _mean_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features and shift logits, each the mean over test views; for UniCLR the backbone's features."""
        views = _same_for_all(self.views)
        copies = [] if self.test_views else [images]
        for number in range(self.test_views):
            with seeded(0, number, images.device):
                copies.append(views(images))
        features = torch.stack([self.backbone(view) for view in copies])
        logits = self.classify(features).mean(dim=0)
        return (self.head(features) if self.method == "csi" else features).mean(dim=0), logits

    @property
    def _shifts(self) -> list[NegativeTransform]:
        return list(self.shifts)  # type: ignore[arg-type]  # nn.ModuleList forgets what it holds

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # How many normal images there are is known from the state only.
        for name in ("bank", "scales", "pool"):
            if prefix + name in state_dict:
                setattr(self, name, self.fitted.new_empty(state_dict[prefix + name].shape, dtype=torch.float32))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _head(features: int, hidden: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, dim))


def _two_views(views: nn.Module, shifted: Tensor) -> Tensor:
    """Two views of images under each shift, ``(B, K, C, H, W)`` to ``(2 · B · K, C, H, W)``."""
    return torch.cat([views(shifted.flatten(0, 1)) for _ in range(2)])


def _twins(z: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings ``(2, B, K, D)`` as UniCLR takes them: inliers ``(B, 2, D)``, outliers ``(B · (K - 1), 2, D)``."""
    twins = z.permute(1, 2, 0, 3)
    return twins[:, 0], twins[:, 1:].flatten(0, 1)


def _same_for_all(views: nn.Module) -> nn.Module:
    """A copy of augmentations that draws once for a whole batch."""
    views = copy.deepcopy(views)
    for module in views.modules():
        if hasattr(module, "same_on_batch"):
            setattr(module, "same_on_batch", True)  # noqa: B010 - kornia's, which nn.Module knows nothing of
    return views
