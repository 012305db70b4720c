"""What is added to the discriminator's loss to keep it smooth. All of it looks at real and generated images only.

A negative is meant to be told from real images sharply, so no penalty asks the discriminator to be flat between the two
or to answer alike to both.
"""

from collections.abc import Callable

import torch
from torch import Tensor


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


def _slopes(logits: Tensor, images: Tensor) -> Tensor:
    """Gradients of each image's logits, summed over what lies beyond the batch: ``(B, C·H·W)``."""
    # Images do not meet in the discriminator, so the gradient of the sum holds each image's own.
    (slopes,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return slopes.flatten(1)
