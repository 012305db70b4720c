"""How noise is added to images in training, and taken away in sampling: EDM's way, and flow matching's.

A process has noise levels, ``(B,)`` in training and one for all in sampling. ``predict`` asks the network, ``loss``
compares its prediction, and ``slope`` is the direction in which sampling follows it; predictions are affine in the
denoised image, so that guiding the one guides the other.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from examples.diffusion.config import Loss
from nda_augment.losses.diffusion import denoising_loss, denoising_target, edm_loss, edm_weight

Network = Callable[[Tensor, Tensor], Tensor]
"""From images and what stands for their noise levels, ``(B,)``, to numbers like the images."""


class Process(ABC):
    """What is between an image and noise."""

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
        """Draw noise levels to train on, ``(count,)``."""

    @abstractmethod
    def noisy(self, images: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
        """Add noise to images."""

    @abstractmethod
    def predict(self, network: Network, noisy: Tensor, levels: Tensor) -> Tensor:
        """What the network makes of noisy images at levels ``(B,)``."""

    @abstractmethod
    def loss(self, prediction: Tensor, images: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
        """How far the prediction is from what it should be: a scalar."""

    @abstractmethod
    def denoised(self, prediction: Tensor, noisy: Tensor, levels: Tensor) -> Tensor:
        """The image that the prediction stands for."""

    @abstractmethod
    def weight(self, levels: Tensor) -> Tensor:
        """The weights of the squared error of the denoised image in the loss, ``(B,)``."""

    @abstractmethod
    def levels(self, steps: int) -> list[float]:
        """The levels that sampling goes through, from noise to 0, one more than there are steps."""

    @abstractmethod
    def begin(self, noise: Tensor) -> Tensor:
        """Where sampling begins, of standard normal noise."""

    @abstractmethod
    def slope(self, prediction: Tensor, noisy: Tensor, level: float) -> Tensor:
        """The derivative of the noisy images in the level."""


class EDM(Process):
    """Noise of a growing deviation on top of the image; the network is preconditioned and predicts the image.

    Source: Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", NeurIPS 2022, table 1.
    """

    def __init__(self, settings: Loss) -> None:
        self.settings, self.sigma_data = settings, settings.sigma_data

    def draw(self, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
        """Log-normal."""
        normal = torch.randn(count, generator=generator, device=device)
        return (self.settings.sigma_mean + self.settings.sigma_std * normal).exp()

    def noisy(self, images: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
        """``x + σn``."""
        return images + _per_image(levels) * noise

    def predict(self, network: Network, noisy: Tensor, levels: Tensor) -> Tensor:
        """The denoised image."""
        sigma, data = _per_image(levels), self.sigma_data
        scale = (sigma.square() + data**2).sqrt()
        return noisy * (data / scale) ** 2 + network(noisy / scale, levels.log() / 4) * (sigma * data / scale)

    def loss(self, prediction: Tensor, images: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
        """The weighted squared error of the image."""
        return edm_loss(prediction, images, levels, sigma_data=self.sigma_data)

    def denoised(self, prediction: Tensor, noisy: Tensor, levels: Tensor) -> Tensor:
        """The prediction itself."""
        return prediction

    def weight(self, levels: Tensor) -> Tensor:
        """EDM's."""
        return edm_weight(levels, self.sigma_data)

    def levels(self, steps: int) -> list[float]:
        """Seventh powers of equal steps, and 0."""
        ends = self.settings.sigma_max ** (1 / 7), self.settings.sigma_min ** (1 / 7)
        return [*(torch.linspace(*ends, steps, dtype=torch.float64) ** 7).tolist(), 0.0]

    def begin(self, noise: Tensor) -> Tensor:
        """Noise of the largest deviation."""
        return self.settings.sigma_max * noise

    def slope(self, prediction: Tensor, noisy: Tensor, level: float) -> Tensor:
        """``(x − D) / σ``."""
        return (noisy - prediction) / level


class Flow(Process):
    """A straight line from the image at 0 to noise at 1; the network predicts the velocity.

    Source: Lipman et al., "Flow Matching for Generative Modeling", ICLR 2023, with the direction of time of diffusers.
    """

    def draw(self, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
        """Uniform."""
        return torch.rand(count, generator=generator, device=device)

    def noisy(self, images: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
        """``(1 − t)x + tn``."""
        return images.lerp(noise, _per_image(levels))

    def predict(self, network: Network, noisy: Tensor, levels: Tensor) -> Tensor:
        """The velocity; the network is told thousandths, as diffusers does."""
        return network(noisy, 1000 * levels)

    def loss(self, prediction: Tensor, images: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
        """The squared error of the velocity."""
        return denoising_loss(prediction, denoising_target(images, noise, "flow"))

    def denoised(self, prediction: Tensor, noisy: Tensor, levels: Tensor) -> Tensor:
        """Straight back along the velocity."""
        return noisy - _per_image(levels) * prediction

    def weight(self, levels: Tensor) -> Tensor:
        """An error of the velocity is one of the image over t."""
        return levels.square().reciprocal()

    def levels(self, steps: int) -> list[float]:
        """Equal steps from 1 to 0."""
        return torch.linspace(1, 0, steps + 1, dtype=torch.float64).tolist()

    def begin(self, noise: Tensor) -> Tensor:
        """The noise itself."""
        return noise

    def slope(self, prediction: Tensor, noisy: Tensor, level: float) -> Tensor:
        """The velocity itself."""
        return prediction


def build_process(settings: Loss) -> Process:
    """The process of a run."""
    return EDM(settings) if settings.process == "edm" else Flow()


def _per_image(levels: Tensor) -> Tensor:
    return levels.view(-1, 1, 1, 1)
