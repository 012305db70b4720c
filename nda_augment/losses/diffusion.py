"""Denoising losses of diffusion and flow models, for the predictions in use, and LD-Diffusion's negative term.

Negatives enter a denoiser best as a condition (:mod:`nda_augment.guidance`), not as a term of its loss; the term that
has been published is here to be compared with.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from nda_augment._checks import as_full_precision, as_positive, check_parameter, check_word

Prediction = Literal["epsilon", "v_prediction", "sample", "flow"]
_PREDICTIONS = get_args(Prediction)


def denoising_target(
    images: Tensor,
    noise: Tensor,
    prediction: Prediction = "epsilon",
    *,
    signal: Tensor | None = None,
    sigma: Tensor | None = None,
) -> Tensor:
    """Return what a denoiser should predict for ``signal · images + sigma · noise``.

    Args:
        images: ``(B, ...)`` clean images.
        noise: Standard normal noise of the same shape.
        prediction: Quantity that the denoiser predicts: ``"epsilon"``, the noise; ``"sample"``, the image;
            ``"v_prediction"``, ``signal · noise − sigma · images``; ``"flow"``, the velocity ``noise − images``.
        signal: ``(B,)`` weights of the images; needed for ``"v_prediction"`` only.
        sigma: ``(B,)`` weights of the noise; likewise.

    Returns:
        Tensor like ``images``.

    Raises:
        ValueError: If shapes differ, the word is unknown, or a weight that it needs is missing.

    Example:
        >>> import torch
        >>> denoising_target(torch.tensor([[1.0]]), torch.tensor([[3.0]]), "flow")
        tensor([[2.]])

    Source: ε: Ho et al., NeurIPS 2020; v: Salimans and Ho, ICLR 2022; flow: Lipman et al., ICLR 2023, with the
    direction of time of diffusers (data at 0, noise at 1).
    """
    check_word(prediction, "prediction", _PREDICTIONS)
    check_parameter(noise, "noise", tuple(images.shape))
    if prediction == "epsilon":
        return noise
    if prediction == "sample":
        return images
    if prediction == "flow":
        return noise - images
    if signal is None or sigma is None:
        raise ValueError("v_prediction needs signal= and sigma=, the weights of images and noise in the noisy images")
    return _per_image(signal, images, "signal") * noise - _per_image(sigma, images, "sigma") * images


def denoising_loss(output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared error of a denoiser, each image with a weight of its own.

    Args:
        output: ``(B, ...)`` output of the denoiser, floating point.
        target: Tensor of the same shape, of :func:`denoising_target`.
        weight: ``(B,)`` weights; ones by default.

    Returns:
        Scalar, in float32 or wider.

    Raises:
        TypeError: If the output is not floating point.
        ValueError: If shapes differ or the batch is empty.

    Example:
        >>> import torch
        >>> denoising_loss(torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1)).item()
        5.0
        >>> denoising_loss(torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1), weight=torch.tensor([1.0, 0.0])).item()
        0.5
    """
    output = as_full_precision(output, "output")
    check_parameter(target, "target", tuple(output.shape))
    error = (output - target).square()
    return (error if weight is None else _per_image(weight, error, "weight") * error).mean()


def edm_loss(denoised: Tensor, images: Tensor, sigma: Tensor, *, sigma_data: float = 0.5) -> Tensor:
    """The loss of EDM: the squared error of the denoised image, weighted so that no noise level dominates.

    Args:
        denoised: ``(B, ...)`` output of the preconditioned denoiser, an estimate of the image.
        images: Clean images of the same shape.
        sigma: ``(B,)`` standard deviations of the noise, above 0.
        sigma_data: Standard deviation of the images.

    Returns:
        Scalar, the mean of ``w · (denoised − images)²`` with ``w = (sigma² + sigma_data²) / (sigma · sigma_data)²``.

    Raises:
        TypeError: If the output is not floating point.
        ValueError: If shapes differ or ``sigma_data`` is not positive.

    Example:
        >>> import torch
        >>> edm_loss(torch.ones(1, 1), torch.zeros(1, 1), torch.tensor([0.5])).item()
        8.0

    Source: Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", NeurIPS 2022.
    """
    return denoising_loss(denoised, images, edm_weight(sigma, sigma_data))


def edm_weight(sigma: Tensor, sigma_data: float = 0.5) -> Tensor:
    """Return EDM's weight of each noise level, ``(sigma² + sigma_data²) / (sigma · sigma_data)²``, in float32 or wider.

    Example:
        >>> import torch
        >>> edm_weight(torch.tensor([0.5, 1.0])).tolist()
        [8.0, 5.0]
    """
    as_positive(sigma_data, "sigma_data")
    # In half precision the square of a low level is none.
    sigma = sigma.to(torch.promote_types(sigma.dtype, torch.float32))
    return (sigma.square() + sigma_data**2) / (sigma * sigma_data).square()


def repulsion_from_negatives(
    denoised: Tensor, negatives: Tensor, weight: Tensor | None = None, *, offset: float = 100.0
) -> Tensor:
    """LD-Diffusion's negative term: the denoised image is pushed off a negative, pixel by pixel.

    The term hardly acts at its published offset. The derivative of ``1 / (d² + offset)`` in the distance ``d`` of two
    pixels is at most ``0.65 · offset^−1.5``, 6.5e-4 at ``d = 5.8`` for an offset of 100, and no more than 3.7e-4 at
    distances that images in [−1, 1] can have (d ≤ 2), where that of the squared error is up to 4.

    Args:
        denoised: ``(B, ...)`` estimate of the image.
        negatives: Negatives of the clean images, of the same shape.
        weight: ``(B,)`` weights of the denoising loss, by whose inverse this term is weighted; ones by default.
        offset: Number added to the squared distance, above 0.

    Returns:
        Scalar, the mean of ``1 / (weight · ((denoised − negatives)² + offset))``, to be added to the denoising loss.

    Raises:
        TypeError: If the output is not floating point.
        ValueError: If shapes differ or ``offset`` is not positive.

    Example:
        >>> import torch
        >>> repulsion_from_negatives(torch.zeros(1, 1), torch.ones(1, 1), offset=1.0).item()
        0.5

    Source: Zhang et al., LD-Diffusion, ICML 2025, as in a public copy of its training code.
    """
    denoised = as_full_precision(denoised, "denoised")
    check_parameter(negatives, "negatives", tuple(denoised.shape))
    as_positive(offset, "offset")
    term = 1 / ((denoised - negatives).square() + offset)
    return (term if weight is None else term / _per_image(weight, term, "weight")).mean()


def _per_image(values: Tensor, like: Tensor, name: str) -> Tensor:
    check_parameter(values, name, (len(like),))
    return values.view(-1, *(1,) * (like.ndim - 1))
