"""What is added to the discriminator's loss to keep it smooth. All of it looks at real and generated images only.

A negative is meant to be told from real images sharply, so no penalty asks the discriminator to be flat between the two
or to answer alike to both.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Half the squared slope of the logits at real images, ``½ E‖∇D(x)‖²``, to be weighted by γ.

    Args:
        logits: ``(B, ...)`` of the images, in the same graph.
        images: Real images ``(B, C, H, W)`` that required gradients when the logits were made. Slopes are taken where
            the discriminator sees the images, so hand over augmented ones if they are.

    Returns:
        A scalar with a graph of its own.

    Raises:
        ValueError: If the images do not require gradients.

    Example:
        >>> images = torch.rand(2, 1, 4, 4, requires_grad=True)
        >>> r1_penalty(3 * images.sum(dim=(1, 2, 3)), images).item()  # ½ · 16 · 3²
        72.0

    Source: Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018.
    """
    if not images.requires_grad:
        raise ValueError("images must require gradients before the discriminator sees them: images.requires_grad_()")
    return 0.5 * _slopes(logits, images).square().sum(dim=1).mean()


def gradient_penalty(
    discriminator: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """How far slopes are from 1 between real and generated images, ``E(‖∇D(x̂)‖ − 1)²``.

    Each x̂ lies at a random place on the line from a real image to a generated one.

    Args:
        discriminator: From images to logits ``(B, ...)``; a condition can be bound with ``functools.partial``.
        real: Real images ``(B, C, H, W)``.
        fake: As many generated images.
        generator: Source of the places; ``None`` is torch's global one.

    Returns:
        A scalar with a graph of its own.

    Raises:
        ValueError: If the two batches differ in shape.

    Example:
        >>> images = torch.rand(4, 1, 4, 4)
        >>> gradient_penalty(lambda x: x.sum(dim=(1, 2, 3)), images, -images).item()  # (√16 − 1)²
        9.0

    Source: Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017.
    """
    if real.shape != fake.shape:
        raise ValueError(f"real and fake must have one shape, got {tuple(real.shape)} and {tuple(fake.shape)}")
    device = real.device if generator is None else generator.device
    place = torch.rand(len(real), 1, 1, 1, generator=generator, device=device, dtype=real.dtype)
    place = place.to(real.device, non_blocking=True)
    between = torch.lerp(real.detach(), fake.detach(), place).requires_grad_()
    slopes = _slopes(discriminator(between), between)
    penalty: Tensor = (torch.linalg.vector_norm(slopes, dim=1) - 1).square().mean()
    return penalty


def consistency(logits: Tensor, augmented_logits: Tensor) -> Tensor:
    """How differently the discriminator answers to images and to augmented ones, ``E(D(x) − D(T(x)))²``.

    Args:
        logits: ``(B, ...)`` of real, or of generated images.
        augmented_logits: Of the same images after a positive augmentation, same shape.

    Returns:
        A scalar.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> consistency(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
        tensor(2.)

    Source: Zhang et al., "Consistency Regularization for Generative Adversarial Networks", ICLR 2020 (real images);
    Zhao et al., "Improved Consistency Regularization for GANs", AAAI 2021 (both, which they call balanced).
    """
    if logits.shape != augmented_logits.shape:
        raise ValueError(
            f"both logits must have one shape, got {tuple(logits.shape)} and {tuple(augmented_logits.shape)}"
        )
    return (logits.float() - augmented_logits.float()).square().mean()


class LeCam(nn.Module):
    """Keeps logits near where the other kind's have been: for discriminators that learn few images by heart.

    ``E[relu(D(x) − a_fake)²] + E[relu(a_real − D(G(z)))²]``, with running means ``a`` of both kinds' logits; so real
    images may not rise far above what generated ones had, nor those fall far below what real ones had. It is the form
    of the authors' code; the paper's has no relu.

    Args:
        decay: How much of the running means a batch leaves, in [0, 1).

    Example:
        >>> lecam = LeCam(decay=0.5)
        >>> lecam.update(torch.tensor(2.0), torch.tensor(-1.0))
        >>> lecam.update(torch.tensor(4.0), torch.tensor(-1.0))
        >>> lecam.real, lecam(torch.tensor([1.0]), torch.tensor([0.0]))  # (1 + 1)² + (3 − 0)²
        (tensor(3.), tensor(13.))

    Source: Tseng et al., "Regularizing Generative Adversarial Networks under Limited Data", CVPR 2021.
    """

    real: Tensor
    fake: Tensor
    begun: Tensor

    def __init__(self, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("real", torch.zeros(()))
        self.register_buffer("fake", torch.zeros(()))
        self.register_buffer("begun", torch.zeros(()))

    @torch.no_grad()
    def update(self, real: Tensor, fake: Tensor) -> None:
        """Take note of the mean logits of a batch of real and of generated images; the first are taken as they are."""
        share = 1 - self.decay * self.begun
        self.real.lerp_(real.float(), share)
        self.fake.lerp_(fake.float(), share)
        self.begun.fill_(1)

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """The penalty on the logits of a batch, a scalar."""
        return F.relu(real.float() - self.fake).square().mean() + F.relu(self.real - fake.float()).square().mean()


def _slopes(logits: Tensor, images: Tensor) -> Tensor:
    """Gradients of each image's logits, summed over what lies beyond the batch: ``(B, C·H·W)``."""
    # Images do not meet in the discriminator, so the gradient of the sum holds each image's own.
    (slopes,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return slopes.flatten(1)
