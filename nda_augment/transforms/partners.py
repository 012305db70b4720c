"""What transforms share that borrow from another image: who the other image is."""

from typing import Literal, Unpack, get_args

from torch import Tensor

from nda_augment import sampling
from nda_augment.transforms._arguments import one_of
from nda_augment.transforms.base import Common, NegativeTransform, Params, Request

Partner = Literal["any", "other_class", "same_class"]


class PairCommon(Common, total=False):
    """The constructor arguments that every pair transform takes."""

    partner: Partner


class PairTransform(NegativeTransform):
    """Base of the negatives that borrow from a partner, an image of the batch or of a pool.

    Args:
        partner: ``"any"`` other image; one of ``"other_class"``, or of the ``"same_class"``. The last two need
            ``labels=`` at the call, and ``pool_labels=`` beside a pool.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.
    """

    uses_partners = True

    def __init__(self, partner: Partner = "any", **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.partner: Partner = one_of(partner, get_args(Partner), "partner")
        if self.needs_labels and self.same_on_batch:
            raise ValueError("partners are chosen by class image by image; same_on_batch=True shares one draw")

    @property
    def needs_labels(self) -> bool:  # type: ignore[override]  # a constant in the base
        """Whether partners are chosen by class."""
        return self.partner != "any"

    def draw_own(self, request: Request) -> Params:
        """Draw the kernel's parameters, the partners, and keep the pool beside them."""
        own = {**super().draw_own(request), **self.draw_partners(request)}
        return own if request.pool is None else {**own, "pool": request.pool}

    def draw_partners(self, request: Request) -> Params:
        """Draw one partner per image."""
        if not self.needs_labels:
            pool_size = None if request.pool is None else len(request.pool)
            drawn = sampling.partners(request.batch, pool_size, same_on_batch=request.same_on_batch, **request.source)
            return {"partners": drawn}
        return {"partners": self._partners_by_class(request)}

    def _partners_by_class(self, request: Request) -> Tensor:
        if request.labels is None:
            raise ValueError(
                f"{type(self).__name__}(partner={self.partner!r}) needs labels=, which kornia's containers "
                "cannot pass; call it directly"
            )
        same_class = self.partner == "same_class"
        return sampling.class_partners(request.labels, request.pool_labels, same_class=same_class, **request.source)
