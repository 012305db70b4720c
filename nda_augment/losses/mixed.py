"""Mixed images as positives: what a classifier should say of an image that two classes share."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nda_augment._checks import as_deviation, as_full_precision, check_index, check_share


def decoupled_mixup(
    logits: Tensor,
    labels: Tensor,
    partner_labels: Tensor,
    weights: Tensor,
    *,
    decoupled_weight: float = 0.1,
    power: float = 1.0,
) -> Tensor:
    """Cross-entropy of mixed images, plus one of each of the two classes where the other is left out.

    With an image's own share ``λ``, ``CE`` the cross-entropy and ``CE∖b`` the one over all logits but that of class
    ``b``, the loss of an image is ``λ CE(a) + (1 − λ) CE(b) + η (λᵖ CE∖b(a) + (1 − λ)ᵖ CE∖a(b))``. In the plain
    cross-entropy the two classes that are both there compete, and a network is held to what cannot be told from the
    image, the exact shares; without each other, each should be certain. Of an image whose two classes are the same the
    loss is the plain one.

    Use it where pair transforms serve as *positives*, CutMix or ResizeMix in the training of a classifier; the shares
    come from ``return_weight=True``. It changes nothing but the loss.

    Args:
        logits: Logits of mixed images, ``(B, C)``.
        labels: Classes of the images, int64 ``(B,)``.
        partner_labels: Classes of their partners, int64 ``(B,)``.
        weights: Share of the image itself, ``(B,)``, in [0, 1].
        decoupled_weight: Weight η of the terms without the other class, 0 or more. At 0 the loss is the cross-entropy
            of mixup.
        power: Power p of the shares in these terms, 0 or more; 1 and 0 are both in the authors' settings.

    Returns:
        The mean over the images, a scalar in float32 or wider.

    Raises:
        TypeError: If the logits are not floating point, or an argument is not a tensor.
        ValueError: If a shape does not fit, a label is none of the classes, a weight is out of [0, 1], or a number is
            negative.

    Example:
        >>> images, labels = torch.rand(8, 3, 32, 32), torch.arange(8) % 4
        >>> from nda_augment import ResizeMix
        >>> mix = ResizeMix()
        >>> mixed, weights = mix(images, return_weight=True)
        >>> logits = torch.zeros(8, 4)  # of the mixed images
        >>> decoupled_mixup(logits, labels, labels[mix._params["partners"]], weights, decoupled_weight=0)
        tensor(1.3863)

    Source: Liu et al., Harnessing Hard Mixed Samples with Decoupled Regularizer, NeurIPS 2023. Their code has η = 0.1
    on ImageNet and 0.01 on CIFAR-100, and leaves images with λ = 1/2 out of the second term, where it cannot tell the
    two classes apart.
    """
    as_deviation(decoupled_weight, "decoupled_weight")
    as_deviation(power, "power")
    if logits.ndim != 2:
        raise ValueError(f"logits must have shape (B, C), got {tuple(logits.shape)}")
    logits = as_full_precision(logits, "logits")
    batch, classes = logits.shape
    check_index(labels, "labels", (batch,), classes)
    check_index(partner_labels, "partner_labels", (batch,), classes)
    check_share(weights, "weights", (batch,))
    shares = torch.stack([weights, 1 - weights]).to(logits.dtype)
    pairs = ((labels, partner_labels), (partner_labels, labels))
    mixed = sum(
        share * F.cross_entropy(logits, own, reduction="none")
        for share, (own, _) in zip(shares.unbind(), pairs, strict=True)
    )
    assert isinstance(mixed, Tensor)
    if decoupled_weight == 0:
        return mixed.mean()
    alone = sum(
        torch.where(share > 0, share**power, 0.0) * _without(logits, own, other)
        for share, (own, other) in zip(shares.unbind(), pairs, strict=True)
    )
    return (mixed + decoupled_weight * alone).mean()


def _without(logits: Tensor, labels: Tensor, other: Tensor) -> Tensor:
    """Cross-entropy ``(B,)`` of labels over all classes but another one; 0 where that is the label itself."""
    left_out = F.one_hot(other, logits.shape[1]).bool() & (labels != other).unsqueeze(1)
    loss = F.cross_entropy(logits.masked_fill(left_out, -torch.inf), labels, reduction="none")
    return torch.where(labels == other, 0.0, loss)


class DecoupledMixupLoss(nn.Module):
    """Module twin of :func:`decoupled_mixup`, with the same settings.

    Example:
        >>> criterion = DecoupledMixupLoss()
        >>> labels, partner_labels = torch.tensor([0, 1]), torch.tensor([1, 2])
        >>> criterion(torch.zeros(2, 3), labels, partner_labels, torch.tensor([0.5, 0.75]))
        tensor(1.1679)
    """

    def __init__(self, decoupled_weight: float = 0.1, power: float = 1.0) -> None:
        super().__init__()
        self.decoupled_weight = as_deviation(decoupled_weight, "decoupled_weight")
        self.power = as_deviation(power, "power")

    def forward(self, logits: Tensor, labels: Tensor, partner_labels: Tensor, weights: Tensor) -> Tensor:
        """The loss of ``(B, C)`` logits with two classes and a share each; see :func:`decoupled_mixup`."""
        return decoupled_mixup(
            logits, labels, partner_labels, weights, decoupled_weight=self.decoupled_weight, power=self.power
        )

    def extra_repr(self) -> str:
        """The settings, as in the constructor."""
        return f"decoupled_weight={self.decoupled_weight}, power={self.power}"
