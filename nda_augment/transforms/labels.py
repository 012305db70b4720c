"""Negatives for conditional models: the image stays, its label does not."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nda_augment import functional, sampling
from nda_augment._checks import as_share, as_whole
from nda_augment.transforms.base import Params, check_replay

__all__ = ["OtherClass", "OtherLabel"]


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
        self.num_classes = as_whole(num_classes, "num_classes", 2)
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
        source: sampling.Source = {"generator": generator, "device": labels.device}
        self._params = _drawn(
            self, "offsets", lambda: sampling.integers(1, self.num_classes, len(labels), **source), params, generator
        )
        return functional.other_class(labels, self._params["offsets"], self.num_classes)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"num_classes={self.num_classes}"


class OtherLabel(nn.Module):
    """Give every image a label that is far from its own: :class:`OtherClass` for labels that are numbers.

    For a regressor, or a GAN that is conditioned on an angle or an age, the pair of a real image and a label that is
    far off is the negative. A label is drawn, evenly, from the ``1 − quantile`` of the known labels that lie farthest
    from the image's own: so every label has some, those in the middle too, where nothing lies as far as between the
    ends.

    Args:
        labels: Labels of the training images, floating point ``(N,)``, finite.
        quantile: Share of the known labels that are too near to be drawn, in [0, 1). Dual-NDA has 0.5 for angles and
            0.9 for ages.

    Raises:
        ValueError: If the labels are not ``(N,)`` and finite, the quantile is not in [0, 1), or so many images have
            one and the same label that it would be drawn for itself.

    Shape:
        Floating point ``(B,)`` to the same. Parameters: ``shares``, float32 ``(B,)`` in [0, 1).

    Example:
        >>> ages = torch.arange(10.0, 60.0)
        >>> other = OtherLabel(ages, quantile=0.8)  # the ten ages that are farthest
        >>> wrong = other(torch.tensor([10.0, 59.0]))
        >>> bool(wrong[0] >= 50), bool(wrong[1] <= 19)
        (True, True)

    Source: Ding et al., Dual-NDA, AAAI 2024, its first kind of negatives.
    """

    known: Tensor

    def __init__(self, labels: Tensor, quantile: float = 0.9) -> None:
        super().__init__()
        _check_numbers(labels, "N")
        if not labels.isfinite().all():
            raise ValueError(f"{int((~labels.isfinite()).sum())} of the labels are not finite")
        self.quantile = as_share(quantile, "quantile", "in [0, 1)")
        self.count = round((1 - self.quantile) * len(labels))
        commonest = int(labels.unique(return_counts=True)[1].max())  # type: ignore[no-untyped-call]
        if not 0 < self.count <= len(labels) - commonest:
            raise ValueError(
                f"quantile={quantile} leaves {self.count} of {len(labels)} labels to draw from, and {commonest} have "
                f"one value: it must leave from 1 to {len(labels) - commonest}, so that no label is drawn for itself"
            )
        self.register_buffer("known", labels.detach().sort().values)
        self._params: Params = {}

    def forward(
        self, labels: Tensor, params: Params | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return a label far from its own for every label.

        Args:
            labels: Floating point ``(B,)``.
            params: A draw to repeat, as recorded in ``_params``.
            generator: Source of the draw; ``None`` is torch's global one.

        Returns:
            Tensor like ``labels``.

        Raises:
            TypeError: If the labels are no tensor, or the params no draw.
            ValueError: If the labels are not floating point of one dimension, or params come with a generator.
        """
        _check_numbers(labels, "B")
        source: sampling.Source = {"generator": generator, "device": labels.device}
        self._params = _drawn(self, "shares", lambda: sampling.uniform(len(labels), **source), params, generator)
        return functional.other_label(labels, self._params["shares"], self.known, self.count)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"{len(self.known)} labels, quantile={self.quantile}"


def _drawn(
    module: nn.Module, name: str, draw: Callable[[], Tensor], params: Params | None, generator: torch.Generator | None
) -> Params:
    """Return a new draw, or the one to repeat."""
    if params is None:
        return {name: draw()}
    check_replay(params, (generator,))
    if name not in params:
        raise ValueError(
            f"params hold no {name!r} for {type(module).__name__}, they hold {', '.join(params) or 'nothing'}"
        )
    return params


def _check_numbers(labels: Tensor, size: str) -> None:
    if not isinstance(labels, Tensor):
        raise TypeError(f"labels must be a floating point tensor ({size},), got {type(labels).__name__}")
    if labels.ndim != 1 or not labels.is_floating_point():
        raise ValueError(
            f"labels must be floating point ({size},), got {labels.dtype} {tuple(labels.shape)}; classes are for "
            "OtherClass"
        )
