"""Images in the style that a model finds hardest."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nda_augment import functional
from nda_augment._checks import as_positive
from nda_augment.transforms.base import Params, check_replay

__all__ = ["AdversarialStyle"]


class AdversarialStyle(nn.Module):
    """Move mean and deviation of each image's channels a step up a loss: light and colours that a model finds hard.

    What it yields depends on the loss. With the loss of the task and the labels it is a *hard positive*, to be learned
    together with the image, under the same label; its source trains on both. With what a discriminator returns it is a
    *negative that looks real*: give it negatives, and their style, which is not what makes them negative, gets out of
    the way. It is a module on a batch and a loss, and cannot be in a mixture; where the loss is flat, the
    image comes back as it was, up to rounding: it guarantees no change.

    Args:
        rate: Length of the step in gradients, above 0. The gradient of a mean over a batch is smaller the larger the
            batch: for steps that do not depend on it, return one loss per image.

    Raises:
        ValueError: If the rate is not above 0 and finite.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)``, floating point, to the same. Parameters: ``means`` and ``deviations``,
        ``(B, C)``.

    Example:
        >>> style = AdversarialStyle(rate=0.5)
        >>> darkness = lambda images: -images.sum(dim=(1, 2, 3))
        >>> bool((style(torch.rand(4, 3, 8, 8), darkness).mean() < 0))
        True

    Source: Zhong et al., Adversarial Style Augmentation, NeurIPS 2022, with a rate of 1; as a negative it is this
    package's.
    """

    def __init__(self, rate: float = 1.0) -> None:
        super().__init__()
        self.rate = as_positive(rate, "rate")
        self._params: Params = {}

    def forward(
        self, images: Tensor, loss: Callable[[Tensor], Tensor] | None = None, params: Params | None = None
    ) -> Tensor:
        """Return the images in another style, without gradient.

        Args:
            images: Images to start from.
            loss: Function of such images to climb; a scalar, or one value per image, ``(B,)``. Weights get no gradient;
                a network in training mode takes note of the batch all the same, as its batch norm does.
            params: A draw to repeat, as recorded in ``_params``; without a loss.

        Returns:
            Tensor like ``images``.

        Raises:
            TypeError: If the images are not floating point, or params are not a draw.
            ValueError: If neither or both of loss and params are given, or the loss is of another shape or does not
                depend on the images.
        """
        if (loss is None) == (params is None):
            raise ValueError("give a loss to climb, or params to repeat what was found: one of the two")
        if params is not None:
            check_replay(params, ())
            missing = [name for name in ("means", "deviations") if name not in params]
            if missing:
                raise ValueError(f"params hold no {missing[0]!r} for AdversarialStyle, they hold {', '.join(params)}")
        else:
            assert loss is not None
            params = self._climbed(images.detach(), loss)
        self._params = params
        return functional.restyle(images.detach(), params["means"], params["deviations"])

    def _climbed(self, images: Tensor, loss: Callable[[Tensor], Tensor]) -> Params:
        statistics = [statistic.requires_grad_() for statistic in functional.channel_statistics(images)]
        with torch.enable_grad():
            value = loss(functional.restyle(images, *statistics))
            if tuple(value.shape) not in ((), (len(images),)):
                raise ValueError(f"the loss must be a scalar or one value per image, got shape {tuple(value.shape)}")
            found = torch.autograd.grad(value.sum(), statistics, allow_unused=True) if value.requires_grad else ()
        gradients = [gradient for gradient in found if gradient is not None]
        if len(gradients) < len(statistics):
            raise ValueError("the loss has no gradient: it must be computed from the images that it is given")
        moved = [(before + self.rate * step).detach() for before, step in zip(statistics, gradients, strict=True)]
        return {"means": moved[0], "deviations": moved[1]}

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"rate={self.rate}"
