"""Samplers: Heun's method on EDM's noise levels, and Euler's for flows; a denoiser takes images and a level."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, float], Tensor]


def edm_sigmas(steps: int, lowest: float = 0.002, highest: float = 80.0, rho: float = 7.0) -> list[float]:
    """Return EDM's ``steps`` noise levels from the highest down, and 0 behind them (Karras et al., 2022, eq. 5)."""
    ramp = torch.linspace(highest ** (1 / rho), lowest ** (1 / rho), steps, dtype=torch.float64) ** rho
    return [*ramp.tolist(), 0.0]


def heun(denoiser: Denoiser, noise: Tensor, sigmas: list[float]) -> Tensor:
    """Return images from standard normal noise: the probability flow by Heun's second-order steps."""
    images = noise * sigmas[0]
    for sigma, following in pairwise(sigmas):
        slope = (images - denoiser(images, sigma)) / sigma
        ahead = images + (following - sigma) * slope
        if following > 0:
            slope = (slope + (ahead - denoiser(ahead, following)) / following) / 2
            ahead = images + (following - sigma) * slope
        images = ahead
    return images


def euler(velocity: Denoiser, noise: Tensor, steps: int) -> Tensor:
    """Return images from standard normal noise: a flow from time 1 to time 0 in equal steps."""
    images = noise
    for step in range(steps, 0, -1):
        images = images - velocity(images, step / steps) / steps
    return images
