"""Negatives in Lightly's losses, views and Lightning modules; for Lightly 1.5.26 to 1.6."""

from collections.abc import Callable, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor
from torch.nn import functional as F

from nda_augment._checks import as_full_precision
from nda_augment._negatives import check_negative
from nda_augment.losses import ContrastiveOptions, NegativeOptions, info_nce, nt_xent
from nda_augment.losses.contrastive import contrast_images, stack_views
from nda_augment.losses.options import KeepsOptions, complete, describe
from nda_augment.transforms import NegativeTransform

from ._optional import optional_import

with optional_import("lightly"):
    from lightly.loss import DCLLoss, DCLWLoss, NTXentLoss
    from lightly.transforms.multi_view_transform import MultiViewTransform

# Lightly needs torchvision as well.
from .torchvision import NegativeTransform as NegativeView
from .torchvision import Pool


class _ReadsNegatives(KeepsOptions):
    """What the losses share: how they read negatives, and in which precision."""

    full_precision: bool
    # The parents have none of these.
    concentration = 0.0
    feature_modification = 0.0

    def parents(self, forward: Callable[[Tensor, Tensor], Tensor], out0: Tensor, out1: Tensor) -> Tensor:
        """The parent's loss, outside autocast if asked for."""
        if not self.full_precision:
            return forward(out0, out1)
        with torch.autocast(out0.device.type, enabled=False):
            return forward(as_full_precision(out0, "out0"), as_full_precision(out1, "out1"))

    def extra_repr(self) -> str:
        """The settings, as in the constructor."""
        own = {"temperature", "gather_distributed", *NegativeOptions.__annotations__}
        settings = {name: value for name, value in self.options.items() if name in own}
        return describe({**settings, "full_precision": self.full_precision})


class NDANTXentLoss(_ReadsNegatives, NTXentLoss):  # type: ignore[misc]  # Lightly is untyped
    """Lightly's ``NTXentLoss`` with negatives in the denominator: SimCLR in the batch, MoCo with a memory bank.

    Without negatives it is the parent, bit for bit. With them, the parent's logits get further columns on the right,
    ``α · cos(anchor, negative) / τ``; anchors are ``out0`` with a memory bank, both outputs in the batch. Negatives
    never enter the bank: later queries of other images would meet them there.

    Args:
        temperature: τ of the parent.
        memory_bank_size: Size of the memory bank, ``(K, D)``; 0 for none.
        gather_distributed: Whether candidates, and negatives of ``scope="batch"``, of all ranks are joined.
        full_precision: Whether the loss is computed outside autocast without negatives too; with them it always is. In
            half precision a loss at τ = 0.05 is off by 0.01 to 0.2.
        **options: Keyword arguments of :class:`nda_augment.losses.NegativeOptions`. Unless said otherwise, gradient
            flows into negatives where it flows into the parent's other candidates: in the batch, but not with a
            memory bank.

    Raises:
        TypeError: If an option is unknown.
        ValueError: If an option is out of range, ``temperature`` is not above 0, and what the parent raises.

    Example:
        >>> import torch
        >>> criterion = NDANTXentLoss(temperature=0.5)
        >>> z0, z1 = torch.eye(2), torch.eye(2)
        >>> torch.equal(criterion(z0, z1), NTXentLoss(temperature=0.5)(z0, z1))
        True
        >>> bool(criterion(z0, z1, negatives=-torch.eye(2)) > criterion(z0, z1))
        True
    """

    def __init__(
        self,
        temperature: float = 0.5,
        memory_bank_size: int | Sequence[int] = 0,
        gather_distributed: bool = False,
        *,
        full_precision: bool = False,
        **options: Unpack[NegativeOptions],
    ) -> None:
        super().__init__(temperature, memory_bank_size, gather_distributed)
        parents: ContrastiveOptions = {"temperature": temperature, "gather_distributed": gather_distributed}
        self.keep({"negative_gradient": not self.has_bank, **parents}, **options)
        self.full_precision = full_precision

    @property
    def has_bank(self) -> bool:
        """Whether the candidates come from a memory bank."""
        rows: int = self.memory_bank.size[0]
        return rows > 0

    def forward(
        self,
        out0: Tensor,
        out1: Tensor,
        negatives: Tensor | None = None,
        negative_mask: Tensor | None = None,
        candidate_mask: Tensor | None = None,
    ) -> Tensor:
        """The loss of two views' projections, in the presence of negatives.

        Args:
            out0: Projections ``(B, D)``; with a memory bank, the queries.
            out1: Projections ``(B, D)``; with a memory bank, the keys, which it takes in afterwards.
            negatives: Projections of negatives, ``(B, D)``, ``(B, M, D)`` or ``(M, D)``; see
                :mod:`nda_augment.losses.contrastive`.
            negative_mask: Booleans that say which negatives count; see :func:`nda_augment.losses.info_nce`.
            candidate_mask: Booleans that say which other images count for an image, as in
                :func:`nda_augment.losses.nt_xent`; with a memory bank ``(B, K)``, which of its rows count for a query.

        Returns:
            A scalar.

        Raises:
            TypeError: If negatives are not floating point.
            ValueError: If the shape of negatives does not fit, they are not finite (looked for on the CPU), or
                ``temperature`` is no longer above 0.
            RuntimeError: If the memory bank would take in keys in eval mode.
        """
        if self.has_bank and out0.requires_grad and not self.training:
            raise RuntimeError(
                "in eval mode the memory bank must not take in keys, but out0 carries gradient, Lightly's sign to do "
                "so: compute the outputs under torch.no_grad(), or call train() on the loss"
            )
        if _all_absent(negatives, negative_mask, candidate_mask):
            return self.parents(super().forward, out0, out1)
        given: dict[str, Any] = {
            "negatives": negatives,
            "negative_mask": negative_mask,
            "candidate_mask": candidate_mask,
            **self.options,
        }
        if not self.has_bank:
            return nt_xent(out0, out1, **given)
        keys = F.normalize(out1, dim=1)
        _, bank = self.memory_bank(keys)
        loss = info_nce(out0, out1, queue=bank.T, **given)
        # Only now: where a mask does not fit, the bank is as it was.
        if out0.requires_grad:
            self.memory_bank(keys, update=True)
        return loss


class NDADCLLoss(_ReadsNegatives, DCLLoss):  # type: ignore[misc]  # Lightly is untyped
    """Lightly's ``DCLLoss`` with negatives in the denominator; without them it is the parent, bit for bit.

    Args:
        temperature: τ of the parent.
        weight_fn: Weights of the positives, as the parent takes it.
        gather_distributed: Whether candidates, and negatives of ``scope="batch"``, of all ranks are joined.
        full_precision: Whether the loss is computed outside autocast without negatives too; with them it always is. In
            half precision a loss at τ = 0.05 is off by 0.01 to 0.2.
        **options: Keyword arguments of :class:`nda_augment.losses.NegativeOptions`.

    Raises:
        TypeError: If an option is unknown.
        ValueError: If an option is out of range, ``temperature`` is not above 0, and what the parent raises.

    Example:
        >>> import torch
        >>> criterion = NDADCLLoss(temperature=1.0)
        >>> criterion(torch.eye(2), torch.eye(2))
        tensor(-0.3069)
        >>> criterion(torch.eye(2), torch.eye(2), negatives=-torch.eye(2))
        tensor(-0.1380)
    """

    def __init__(
        self,
        temperature: float = 0.1,
        weight_fn: Callable[[Tensor, Tensor], Tensor] | None = None,
        gather_distributed: bool = False,
        *,
        full_precision: bool = False,
        **options: Unpack[NegativeOptions],
    ) -> None:
        super().__init__(temperature, weight_fn, gather_distributed)
        self.keep({"temperature": temperature, "gather_distributed": gather_distributed}, **options)
        self.full_precision = full_precision

    def forward(
        self,
        out0: Tensor,
        out1: Tensor,
        negatives: Tensor | None = None,
        negative_mask: Tensor | None = None,
        candidate_mask: Tensor | None = None,
    ) -> Tensor:
        """The loss of two views' projections ``(B, D)``, in the presence of negatives.

        Args:
            out0: Projections of the first views, ``(B, D)``.
            out1: Projections of the second views, ``(B, D)``.
            negatives: Projections of negatives, ``(B, D)``, ``(B, M, D)`` or ``(M, D)``; see
                :mod:`nda_augment.losses.contrastive`.
            negative_mask: Booleans that say which negatives count; see :func:`nda_augment.losses.info_nce`.
            candidate_mask: Booleans that say which other images count; see :func:`nda_augment.losses.dcl`.

        Returns:
            A scalar.

        Raises:
            TypeError: If negatives are not floating point.
            ValueError: If the shape of negatives does not fit, they are not finite (looked for on the CPU), or
                ``temperature`` is no longer above 0.
        """
        if _all_absent(negatives, negative_mask, candidate_mask):
            return self.parents(super().forward, out0, out1)
        return _decoupled(self, out0, out1, negatives, negative_mask, candidate_mask)


class NDADCLWLoss(_ReadsNegatives, DCLWLoss):  # type: ignore[misc]  # Lightly is untyped
    """Lightly's ``DCLWLoss`` with negatives in the denominator; without them it is the parent, bit for bit.

    Args:
        temperature: τ of the parent.
        sigma: Width of the parent's weights of the positives.
        gather_distributed: Whether candidates, and negatives of ``scope="batch"``, of all ranks are joined.
        full_precision: Whether the loss is computed outside autocast without negatives too; with them it always is. In
            half precision a loss at τ = 0.05 is off by 0.01 to 0.2.
        **options: Keyword arguments of :class:`nda_augment.losses.NegativeOptions`.

    Raises:
        ValueError: As :class:`NDADCLLoss`.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        sigma: float = 0.5,
        gather_distributed: bool = False,
        *,
        full_precision: bool = False,
        **options: Unpack[NegativeOptions],
    ) -> None:
        super().__init__(temperature, sigma, gather_distributed)
        self.keep({"temperature": temperature, "gather_distributed": gather_distributed}, **options)
        self.full_precision = full_precision

    def forward(
        self,
        out0: Tensor,
        out1: Tensor,
        negatives: Tensor | None = None,
        negative_mask: Tensor | None = None,
        candidate_mask: Tensor | None = None,
    ) -> Tensor:
        """The loss of two views' projections ``(B, D)`` and of negatives; see :meth:`NDADCLLoss.forward`."""
        if _all_absent(negatives, negative_mask, candidate_mask):
            return self.parents(super().forward, out0, out1)
        return _decoupled(self, out0, out1, negatives, negative_mask, candidate_mask)


class NDAMultiViewTransform(MultiViewTransform):
    """Lightly's views of an image, and after them a negative of the first: for the workers of a DataLoader.

    A batch then starts with ``x0, x1, negatives``, as with :class:`NegativesOnDevice`, which is the faster way where
    there is a GPU, and needs no pool.

    Args:
        views: Lightly's transform, such as ``SimCLRTransform(input_size=32)``, or the transforms of the views.
        negative: A negative of the core.
        pool: Images that a pair transform borrows from, as :class:`nda_augment.adapters.torchvision.NegativeTransform`
            takes it: views of *other* images, of the same size and normalisation.

    Raises:
        TypeError: If ``negative`` is not one of this package's.
        ValueError: If there are no views, ``negative`` leaves some images as they are (``p`` below 1), or a pool comes
            with a transform that borrows nothing; and in a call what the transform raises, such as for a pair transform
            without a pool.

    Example:
        >>> import torch
        >>> import nda_augment as nda
        >>> from torchvision.transforms import v2
        >>> transform = NDAMultiViewTransform([v2.RandomHorizontalFlip(), v2.Identity()], nda.Jigsaw())
        >>> x0, x1, negative = transform(torch.rand(3, 32, 32))
        >>> negative.shape
        torch.Size([3, 32, 32])
    """

    def __init__(
        self,
        views: MultiViewTransform | Sequence[Callable[[Any], Any]],
        negative: NegativeTransform,
        pool: Pool | None = None,
    ) -> None:
        transforms = list(views.transforms if isinstance(views, MultiViewTransform) else views)
        if not transforms:
            raise ValueError("views must hold at least one transform: the negative is made of the first view")
        check_negative(negative, "negative", labels=True, clips=True)
        super().__init__(transforms)
        self.negative = NegativeView(negative, pool)

    def __call__(self, image: Any) -> list[Any]:
        """Return the views of a PIL image or tensor, and the negative of the first view."""
        views = list(super().__call__(image))
        return [*views, self.negative(views[0])]


class NegativesOnDevice:
    """Mixin for a Lightning module: makes the negatives of a training batch where the batch already is.

    Put it before ``LightningModule`` among the bases and set ``self.nda_transform``. Batches are Lightly's,
    ``[views, labels, ...]``; in training their views get one more at the end, the negatives of the first view, so that
    ``training_step`` reads ``x0, x1, negatives = batch[0]``. Validation, test and prediction batches are left alone.
    The work is done in ``on_after_batch_transfer``: for the whole batch at once, and outside autocast.

    Attributes:
        nda_transform: The negative, or ``None`` to train without.

    Raises:
        TypeError: If a class has ``LightningModule`` before it.

    Example:
        >>> import nda_augment as nda
        >>> from pytorch_lightning import LightningModule
        >>> class SimCLR(NegativesOnDevice, LightningModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.nda_transform = nda.from_policy("jigsaw,cutout")
    """

    # Annotated only: a value on the class would hide the transform, which nn.Module keeps elsewhere.
    nda_transform: NegativeTransform | None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Behind it, the module's own hook would be found first, and there would be no negatives and no error.
        before = cls.__mro__[: cls.__mro__.index(NegativesOnDevice)]
        if any(base.__name__ == "LightningModule" for base in before):
            raise TypeError(f"{cls.__name__} must have NegativesOnDevice before LightningModule among its bases")

    def make_negatives(self, images: Tensor) -> Tensor:
        """Return the negatives of views ``(B, C, H, W)``; override it to choose the generator, for example."""
        negatives: Tensor = self.nda_transform(images)  # type: ignore[misc]  # called only if there is one
        return negatives

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Append the negatives to the views of a training batch.

        Raises:
            TypeError: If the batch does not start with a list of views, or ``nda_transform`` is not one of this
                package's.
            ValueError: If ``nda_transform`` leaves some images as they are (``p`` below 1), which would be their own
                negatives.
        """
        batch = super().on_after_batch_transfer(batch, dataloader_idx)  # type: ignore[misc]  # LightningModule's
        if self.nda_transform is None or not self.trainer.training:  # type: ignore[attr-defined]  # likewise
            return batch
        check_negative(self.nda_transform, "nda_transform", labels=True, clips=True)
        views = batch[0] if isinstance(batch, Sequence) else None
        if not isinstance(views, Sequence) or not all(isinstance(view, Tensor) for view in views):
            raise TypeError(
                "NegativesOnDevice reads batches [views, labels, ...] whose views are a list of tensors, got "
                f"{type(batch).__name__}{'' if views is None else f' that starts with {type(views).__name__}'}"
            )
        with torch.no_grad(), torch.autocast(views[0].device.type, enabled=False):
            negatives = self.make_negatives(views[0])
        return [[*views, negatives], *batch[1:]]


def _all_absent(*given: Tensor | None) -> bool:
    return all(each is None for each in given)


def _decoupled(
    criterion: NDADCLLoss | NDADCLWLoss,
    out0: Tensor,
    out1: Tensor,
    negatives: Tensor | None,
    negative_mask: Tensor | None,
    candidate_mask: Tensor | None,
) -> Tensor:
    """The parent's formula with negatives among the candidates; its weights, if any, are those of the positives."""
    views, weight_fn = stack_views(out0, out1), criterion.weight_fn
    z0, z1 = views.unbind(dim=1)
    with torch.autocast(views.device.type, enabled=False):
        weights = None if weight_fn is None else torch.stack([weight_fn(z0, z1), weight_fn(z1, z0)], dim=1)
    return contrast_images(
        views,
        negatives,
        negative_mask,
        candidate_mask,
        complete(criterion.options),
        decoupled=True,
        positive_weight=weights,
    )
