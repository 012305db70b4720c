"""Negatives in anomalib: the synthetic anomalies that DRAEM is trained on and that synthetic splits are made of.

:class:`AnomalyGenerator` needs torchvision only, :func:`synthetic_anomalies` needs anomalib.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from nda_augment._negatives import check_negative
from nda_augment.transforms import NegativeTransform

from ._optional import optional_import

with optional_import("anomalib"):
    from torchvision.transforms import v2


class AnomalyGenerator(v2.Transform):  # type: ignore[misc]  # torchvision is untyped
    """Return an image with an anomaly and the mask of it, as anomalib's ``PerlinAnomalyGenerator`` does.

    Assign it to ``Draem.augmenter``; :func:`synthetic_anomalies` brings it to synthetic splits.

    Args:
        transform: A negative that changes a region: ``CutPaste``, ``CutPasteScar``, ``CutPasteForeign``,
            ``PerlinBlend``, ``Cutout``, ``CutMix``, or a mixture of these. Its ``p`` is the share of images that get
            an anomaly, 0.5 in DRAEM; the mask of the others is empty.
        pool: Images ``(N, C, H, W)`` to borrow from, such as textures, of the size of the images; without one,
            transforms that borrow do so within the batch, and cannot be used on single images.

    Raises:
        TypeError: If the transform is none of this package's; and in a call if the image is neither floating point
            nor uint8.
        ValueError: If the transform changes no region or needs labels, or a pool comes with a transform that borrows
            nothing; and in a call if the image is neither ``(C, H, W)`` nor ``(B, C, H, W)``.

    Shape:
        ``(C, H, W)`` in [0, 1] to the same and a float mask ``(1, H, W)`` of zeros and ones; ``(B, C, H, W)`` to the
        same and ``(B, 1, H, W)``.

    Example:
        >>> import nda_augment as nda
        >>> generator = AnomalyGenerator(nda.CutPaste(p=0.5))
        >>> image, mask = generator(torch.rand(8, 3, 64, 64))
        >>> image.shape, mask.shape
        (torch.Size([8, 3, 64, 64]), torch.Size([8, 1, 64, 64]))
    """

    def __init__(self, transform: NegativeTransform, pool: Tensor | None = None) -> None:
        super().__init__()
        check_negative(transform, "transform", always=False)
        if not transform.changes_region:
            raise ValueError(f"{transform!r} changes no region of the image, so there is no mask; take CutPaste, say")
        if pool is not None and not transform.uses_partners:
            raise ValueError(f"{transform!r} borrows from no other image; leave out the pool")
        self.negative = transform
        self.register_buffer("pool", pool, persistent=False)

    def forward(self, img: Tensor) -> tuple[Tensor, Tensor]:
        """Return the image or batch with anomalies, and their masks."""
        images = img.as_subclass(Tensor)  # anomalib's batches are of torchvision's kind
        if images.ndim not in (3, 4):
            raise ValueError(f"img must be (C, H, W) or (B, C, H, W), got shape {tuple(images.shape)}")
        # To the device only: to another dtype pixels would go with the range they have.
        pool = None if self.pool is None else self.pool.to(images.device)
        negatives, changed = self.negative(images, pool=pool, return_mask=True)
        mask = changed.to(images.dtype if images.is_floating_point() else torch.float32)
        return negatives, mask


@contextmanager
def synthetic_anomalies(generator: AnomalyGenerator) -> Iterator[None]:
    """Let anomalib make synthetic splits with a generator of this package's instead of its own.

    For data modules with ``val_split_mode="synthetic"`` or ``test_split_mode="synthetic"``: call their ``setup()``
    within. anomalib has no argument for it, so the name that it looks its generator up by is replaced for as long; do
    not use it from several threads. The anomalies are written to files in [0, 1] and read from there.

    Args:
        generator: Its transform must have ``p=1``, since every image that it is given is labelled anomalous.

    Raises:
        ImportError: If anomalib is missing.
        ValueError: If the transform has ``p`` below 1.
        RuntimeError: If the installed anomalib makes its splits in another way.
    """
    check_negative(generator.negative, "the generator's transform")
    with optional_import("anomalib"):
        import anomalib
        from anomalib.data.utils import synthetic
    own = getattr(synthetic, "PerlinAnomalyGenerator", None)
    if own is None:
        raise RuntimeError(
            f"anomalib {anomalib.__version__} makes synthetic splits in a way that this package does not know; "
            "it knows that of 2.7"
        )

    def replacement(*_: Any, **__: Any) -> AnomalyGenerator:
        return generator

    synthetic.PerlinAnomalyGenerator = replacement
    try:
        yield
    finally:
        synthetic.PerlinAnomalyGenerator = own
