"""Detection by the discriminator of a GAN that was trained with negatives."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from nda_augment.anomaly._recipes import recipe
from nda_augment.anomaly._training import Objective, Training, train
from nda_augment.anomaly.classifier import check_negatives
from nda_augment.anomaly.detector import Detector
from nda_augment.losses.gan import FAKE_WEIGHT, DiscriminatorLoss, GANKind, generator_loss
from nda_augment.transforms import NegativeTransform


class DiscriminatorDetector(Detector):
    """Train a GAN with negatives on normal images; the score of an image is minus the discriminator's logit.

    The discriminator looks at no label and, when it scores, is in eval mode. Batches of one size keep generated and
    real images balanced, so use ``drop_last=True``.

    Source: Sinha et al., "Negative Data Augmentation", ICLR 2021, section 6.

    Args:
        generator: Latent vectors ``(B, latent)`` to images, scaled as the real ones.
        discriminator: Images ``(B, C, H, W)`` to logits ``(B,)`` or ``(B, 1)``; high means real.
        latent: Length of a latent vector.
        negatives: Transforms whose images real ones are told from, as from generated ones. ``None`` is the plain GAN.
        fake_weight: λ, the weight of generated images, in (0, 1]; negatives have ``1 − λ``.
        kind: Kind of the adversarial loss, see :func:`nda_augment.losses.discriminator_loss`.
        lr: Learning rates of generator and discriminator, for Adam with β = (0, 0.9). That of ``training`` is not
            used, nor is its weight decay.
        training: Settings of the training.

    Raises:
        ValueError: If ``fake_weight`` is below 1 without negatives, the negative needs labels or has ``p`` below 1, or
            ``latent`` is not at least 1.
        TypeError: If the negative is none of this package's.

    Example:
        >>> import nda_augment as nda
        >>> generator = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
        >>> discriminator = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
        >>> detector = DiscriminatorDetector(generator, discriminator, 4, nda.Jigsaw(), training=Training(epochs=1))
        >>> detector.fit(torch.rand(64, 1, 8, 8).split(16)).score(torch.rand(3, 1, 8, 8)).shape
        torch.Size([3])
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        latent: int,
        negatives: NegativeTransform | None,
        *,
        fake_weight: float | None = None,
        kind: GANKind = "softplus",
        lr: tuple[float, float] = (2e-4, 4e-4),
        training: Training | None = None,
    ) -> None:
        super().__init__()
        if latent < 1:
            raise ValueError(f"latent must be at least 1, got {latent}")
        if negatives is None and fake_weight not in (None, 1):
            raise ValueError(f"fake_weight={fake_weight} leaves weight for negatives, but there are none")
        if negatives is not None:
            check_negatives([negatives])
        self.generator, self.discriminator, self.latent, self.negatives = generator, discriminator, latent, negatives
        weight = (1.0 if negatives is None else FAKE_WEIGHT) if fake_weight is None else fake_weight
        self.criterion = DiscriminatorLoss(kind, weight)
        self.kind, self.lr = kind, lr
        self.training_settings = training or Training()

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments by name, without those of training alone."""
        names = ("generator", "discriminator", "latent", "negatives", "kind", "lr")
        return {"fake_weight": self.criterion.fake_weight, **{name: getattr(self, name) for name in names}}

    def _fit(self, loader: Iterable[Any]) -> None:
        generator_lr, discriminator_lr = self.lr
        players = (
            ("discriminator_loss", self.discriminator, discriminator_lr),
            ("generator_loss", self.generator, generator_lr),
        )
        objectives = [
            Objective(method, torch.optim.Adam(player.parameters(), lr, betas=(0.0, 0.9)))
            for method, player, lr in players
        ]
        train(self, loader, objectives, self.training_settings, identity={"detector": recipe(self)})

    def discriminator_loss(self, images: Tensor) -> Tensor:
        """Tell real images from generated ones and from negatives; a scalar."""
        with torch.no_grad():
            fake = self.generator(self._latents(images))
        negative_logits = None
        if self.negatives is not None and self.criterion.fake_weight < 1:
            negative_logits = self.discriminator(self.negatives(images))
        loss: Tensor = self.criterion(self.discriminator(images), self.discriminator(fake), negative_logits)
        return loss

    def generator_loss(self, images: Tensor) -> Tensor:
        """Look real to the discriminator; a scalar."""
        learned = [weight for weight in self.discriminator.parameters() if weight.requires_grad]  # some may be frozen
        for weight in learned:
            weight.requires_grad_(False)
        logits = self.discriminator(self.generator(self._latents(images)))
        for weight in learned:
            weight.requires_grad_(True)
        return generator_loss(logits, kind=self.kind)

    def _latents(self, images: Tensor) -> Tensor:
        return torch.randn(len(images), self.latent, device=images.device)

    def _score(self, images: Tensor) -> Tensor:
        logits: Tensor = self.discriminator(images)
        return -logits.reshape(len(images))
