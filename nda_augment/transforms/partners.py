"""What transforms share that borrow from another image: who the other image is."""

from typing import Literal, Unpack, get_args

from torch import Tensor

from nda_augment import sampling
from nda_augment._checks import as_one_of
from nda_augment.transforms.base import Common, DrawContext, NegativeTransform, Params

__all__ = ["PairTransform"]

Partner = Literal["any", "other_class", "same_class"]


class PairCommon(Common, total=False):
    """The constructor arguments that every pair transform takes."""

    partner: Partner


class PairTransform(NegativeTransform):
    """Base of the negatives that borrow from a partner, an image of the batch or of a pool.

    Args:
        partner: ``"any"`` other image; one of ``"other_class"``, or of the ``"same_class"``. The last two need
            ``labels=`` at the call, and ``pool_labels=`` with a pool.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.
    """

    uses_partners = True

    def __init__(self, partner: Partner = "any", **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.partner: Partner = as_one_of(partner, "partner", get_args(Partner))
        if self.needs_labels and self.same_on_batch:
            raise ValueError("partners are chosen by class image by image; same_on_batch=True shares one draw")

    @property
    def needs_labels(self) -> bool:  # type: ignore[override]  # a constant in the base
        """Whether partners are chosen by class."""
        return self.partner != "any"

    def draw_kernel_params(self, context: DrawContext) -> Params:
        """Draw the kernel's parameters, the partners, and keep the pool with them."""
        own = {**super().draw_kernel_params(context), **self.draw_partners(context)}
        return own if context.pool is None else {**own, "pool": context.pool}

    def draw_partners(self, context: DrawContext) -> Params:
        """Draw one partner per image."""
        if not self.needs_labels:
            pool_size = None if context.pool is None else len(context.pool)
            drawn = sampling.partners(context.batch, pool_size, same_on_batch=context.same_on_batch, **context.source)
            return {"partners": drawn}
        return {"partners": self._partners_by_class(context)}

    def _partners_by_class(self, context: DrawContext) -> Tensor:
        if context.labels is None:
            raise ValueError(
                f"{type(self).__name__}(partner={self.partner!r}) needs labels=, which kornia's containers "
                "cannot pass; call it directly"
            )
        same_class = self.partner == "same_class"
        return sampling.class_partners(context.labels, context.pool_labels, same_class=same_class, **context.source)
