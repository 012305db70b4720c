"""A discriminator that knows how its input was augmented: the self-supervised head of AugSelf-GAN.

The head sees the difference that an augmentation made to an image's features and says by which draw it was made. On
real images it learns the draw, on generated ones its opposite; the generator is driven to where the draw can be told
as on real images. Source: Hou et al., "Augmentation-Aware Self-Supervision for Data-Efficient GAN Training", NeurIPS
2023.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

Predictions = dict[str, Tensor]


class AugmentationHead(nn.Module):
    """Tell from features how an image was augmented.

    Args:
        features: Length of the discriminator's feature vectors.
        sizes: Numbers per family of augmentation, :attr:`examples.gan.positives.DiffAugment.sizes`.

    Raises:
        ValueError: If there is no family.

    Example:
        >>> head = AugmentationHead(128, {"color": 3, "translation": 2})
        >>> said = head(torch.rand(8, 128), torch.rand(8, 128))
        >>> {family: tuple(draw.shape) for family, draw in said.items()}
        {'color': (8, 3), 'translation': (8, 2)}
    """

    def __init__(self, features: int, sizes: Mapping[str, int]) -> None:
        super().__init__()
        if not sizes:
            raise ValueError("there is no augmentation to tell: sizes is empty")
        self.families = nn.ModuleDict({name: spectral_norm(nn.Linear(features, size)) for name, size in sizes.items()})

    def forward(self, augmented: Tensor, plain: Tensor) -> Predictions:
        """Say for each family by which draw ``plain`` became ``augmented``.

        Args:
            augmented: Features ``(B, features)`` of augmented images.
            plain: Features of the same images without augmentation. They cost a second pass of the discriminator.

        Raises:
            ValueError: If the shapes differ.
        """
        if augmented.shape != plain.shape:
            raise ValueError(
                f"both features must have one shape, got {tuple(augmented.shape)} and {tuple(plain.shape)}"
            )
        return {name: family(augmented - plain) for name, family in self.families.items()}


def discriminator_loss(
    real: Mapping[str, Tensor],
    fake: Mapping[str, Tensor],
    real_params: Mapping[str, Tensor],
    fake_params: Mapping[str, Tensor],
) -> Tensor:
    """What the head adds to the discriminator's loss: for each family ``MSE(real, w) + MSE(fake, −w)``.

    Args:
        real: What the head says of real images.
        fake: What it says of generated images.
        real_params: The draws w in [0, 1] by which the real images were augmented.
        fake_params: Those of the generated images.

    Returns:
        A scalar, summed over the families.

    Raises:
        ValueError: If families or shapes do not match.

    Example:
        >>> said, draw = {"flip": torch.tensor([[0.5]])}, {"flip": torch.tensor([[1.0]])}
        >>> discriminator_loss(said, said, draw, draw)  # (0.5 − 1)² + (0.5 + 1)²
        tensor(2.5000)
    """
    return _distance(real, real_params, sign=1) + _distance(fake, fake_params, sign=-1)


def generator_loss(fake: Mapping[str, Tensor], fake_params: Mapping[str, Tensor]) -> Tensor:
    """What the head adds to the generator's loss: for each family ``MSE(fake, w) − MSE(fake, −w)``.

    The squares cancel, so this equals ``−4 E(fake · w)`` and has no lower bound of its own: the head's spectral norms
    keep it in check.

    Args:
        fake: What the head says of generated images.
        fake_params: The draws by which they were augmented.

    Returns:
        A scalar, summed over the families.

    Raises:
        ValueError: If families or shapes do not match.

    Example:
        >>> generator_loss({"flip": torch.tensor([[0.5]])}, {"flip": torch.tensor([[1.0]])})
        tensor(-2.)
    """
    return _distance(fake, fake_params, sign=1) - _distance(fake, fake_params, sign=-1)


def _distance(said: Mapping[str, Tensor], params: Mapping[str, Tensor], sign: int) -> Tensor:
    shapes, wanted = ({name: tuple(value.shape) for name, value in some.items()} for some in (said, params))
    if shapes != wanted:
        raise ValueError(f"what the head says must match the draws, {wanted}, got {shapes}")
    return torch.stack([(said[name].float() - sign * params[name]).square().mean() for name in said]).sum()
