"""Negatives for conditional models: the image stays, its label does not."""

import torch
from torch import Tensor, nn

from nda_augment import functional, sampling
from nda_augment._checks import as_whole
from nda_augment.transforms.base import Params, check_replay

__all__ = ["OtherClass"]


class OtherClass(nn.Module):
    """Give every image a wrong label: the pair of a real image and another class is the negative.

    A conditional discriminator that sees the pair as a fake learns what the label means. The images are not touched,
    so this is a module on labels and no member of a mixture.

    Args:
        num_classes: Number of classes, at least 2.

    Raises:
        ValueError: If there are fewer than two classes.

    Shape:
        int64 ``(B,)`` to the same. Parameters: ``offsets``, int64 ``(B,)`` in 1..num_classes - 1.

    Example:
        >>> other = OtherClass(num_classes=2)
        >>> other(torch.tensor([0, 1, 1])).tolist()
        [1, 0, 0]

    Source: Mirza and Osindero, 2014, and Reed et al., ICML 2016, whose discriminator sees mismatched pairs as fakes.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = as_whole(num_classes, "num_classes")
        if self.num_classes < 2:
            raise ValueError(f"a wrong label needs at least 2 classes, got num_classes={num_classes}")
        self._params: Params = {}

    def forward(
        self, labels: Tensor, params: Params | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return a class other than its own for every label, uniform over all others.

        Args:
            labels: int64 ``(B,)`` in 0..num_classes - 1.
            params: A draw to repeat, as recorded in ``_params``.
            generator: Source of the draw; ``None`` is torch's global one.

        Returns:
            int64 ``(B,)``.

        Raises:
            TypeError: If the labels are no tensor, or the params no draw.
            ValueError: If the labels are no integers of one dimension, or params come with a generator.
        """
        if not isinstance(labels, Tensor):
            raise TypeError(
                f"labels must be an int64 tensor (B,), got {type(labels).__name__}; use torch.tensor(labels)"
            )
        if labels.ndim != 1 or labels.is_floating_point():
            raise ValueError(f"labels must be int64 (B,), got {labels.dtype} {tuple(labels.shape)}")
        if params is None:
            source: sampling.Source = {"generator": generator, "device": labels.device}
            params = {"offsets": sampling.integers(1, self.num_classes, len(labels), **source)}
        else:
            check_replay(params, (generator,))
            if "offsets" not in params:
                raise ValueError(f"params hold no 'offsets' for OtherClass, they hold {', '.join(params) or 'nothing'}")
        self._params = params
        return functional.other_class(labels, params["offsets"], self.num_classes)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"num_classes={self.num_classes}"
