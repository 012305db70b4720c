"""A few negatives in a row, drawn per image from many."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from nda_augment._checks import as_share, as_whole
from nda_augment.functional._layout import Chosen
from nda_augment.functional.patches import Cells
from nda_augment.transforms.base import Common, DrawContext, NegativeTransform, Params
from nda_augment.transforms.filters import Blur, Noise
from nda_augment.transforms.generated import Generated
from nda_augment.transforms.geometry import Flip, Roll
from nda_augment.transforms.mixture import Mixture, set_strength
from nda_augment.transforms.pairs import CutMix, Mixup, ResizeMix, Stitch
from nda_augment.transforms.patches import Jigsaw, PatchRotate
from nda_augment.transforms.regions import Cutout, CutPaste, CutPasteForeign, PerlinBlend
from nda_augment.transforms.warps import RandomFieldWarp

__all__ = ["Random"]

# Of every family of images some that take any number of channels; their defaults want even sides at most.
_CATALOGUE: tuple[type[NegativeTransform], ...] = (
    Jigsaw, PatchRotate, Stitch, CutMix, ResizeMix, Mixup, Cutout, CutPaste, CutPasteForeign, PerlinBlend, Roll, Flip,
    RandomFieldWarp, Noise, Blur,
)  # fmt: skip


class Random(Mixture):
    """Change every image by a few negatives in a row, each drawn from many, at a common strength.

    With two settings in place of a choice and of its arguments it is where to start when nothing is known of the data,
    or when a detector should meet as many kinds of damage as there are. Draws are uniform and independent, with
    replacement. All partners are images of the batch or of the pool, as they came.

    Negatives can undo each other, as two flips do. Where a row comes back to its source, the image gets the first
    negative of its row alone, so that the composition keeps the guarantee of its members.

    Args:
        n: Number of negatives per image, 1 or more.
        strength: Strength of those that have one, in [0, 1]; at 0 these leave images as they are, where a schedule may
            begin. The others are as strong as they are.
        transforms: Negatives to draw from, with ``p=1``, which are copied; by default 15 of this package that take any
            image of even sides.
        **common: ``p``, ``same_on_batch`` (one row for the whole batch), ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If a number is out of bounds, there is nothing to draw from, or a member has a generator.
        TypeError: If a member is not a negative transform of this package.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: those of a :class:`Mixture` for each place in
        the row, ``"0.choice"``, ``"1.choice"`` and so on.

    Example:
        >>> random = Random(n=2, strength=0.5)
        >>> random(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])

    Source: after Cubuk et al., RandAugment, NeurIPS 2020, which draws positives so.
    """

    def __init__(
        self,
        n: int = 2,
        strength: float = 0.5,
        transforms: Sequence[NegativeTransform] | Mapping[str, NegativeTransform] | None = None,
        **common: Unpack[Common],
    ) -> None:
        self._default = transforms is None
        members = [negative() for negative in _CATALOGUE] if transforms is None else copy.deepcopy(transforms)
        super().__init__(members, None, **common)
        if any(isinstance(part, Generated) for part in self.modules()):
            raise ValueError(
                "members are copied, and a copy of Generated would keep its generator as it is now; put it beside the "
                "row: Mixture([Random(...), Generated(...)])"
            )
        if self.learns:
            raise ValueError(
                "members are copied, and an image may get several of a row, so that LearnedMixture could not be told "
                "how hard its own was; put it beside the row: Mixture([Random(...), LearnedMixture(...)])"
            )
        self.keeps_share = False
        self.n = as_whole(n, "n", 1)
        self.strength = strength

    @property
    def strength(self) -> float:
        """The common strength; to set it sets that of the members that have one."""
        return self._strength

    @strength.setter
    def strength(self, strength: float) -> None:
        self._strength = as_share(strength, "strength")
        for member in self.members:
            set_strength(member, self._strength)

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Return all arguments of the constructor by name, with their defaults."""
        return {name: value for name, value in super().defaults().items() if name != "weights"}

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments by name."""
        return {**NegativeTransform.arguments(self), "transforms": None if self._default else self.members}

    def __str__(self) -> str:
        """Return the policy string; of other members than the default ones there is none, but a representation."""
        return NegativeTransform.__str__(self) if self._default else repr(self)

    def draw_kernel_params(self, context: DrawContext) -> Params:
        """Draw a mixture's parameters for every place in the row."""
        rows = [super(Random, self).draw_kernel_params(context) for _ in range(self.n)]
        return {f"{place}.{name}": value for place, row in enumerate(rows) for name, value in row.items()}

    def region(self, shape: tuple[int, ...], params: Params) -> Tensor:
        """Return all that one of the row changed; where a row led back, the first alone did, and less was changed."""
        rows = [super(Random, self).region(shape, _of_place(params, place)) for place in range(self.n)]
        return torch.stack(rows).any(0)

    def own_share(self, shape: tuple[int, ...], params: Params) -> Tensor:
        """Refuse: what a negative kept may be what the next one replaced."""
        return NegativeTransform.own_share(self, shape, params)

    def _mixed(self, images: Tensor, params: Params, drawn_for: int, shared: bool) -> Tensor:
        pool = params.get("pool", images)
        rows = [{"pool": pool, **_of_place(params, place)} for place in range(self.n)]
        first = negatives = super()._mixed(images, rows[0], drawn_for, shared)
        for row in rows[1:]:
            negatives = super()._mixed(negatives, row, drawn_for, shared)
        undone = (negatives == images).flatten(1).all(dim=1)
        return torch.where(undone.view(-1, *(1,) * (images.ndim - 1)), first, negatives)

    def cells(self, shape: tuple[int, ...], params: Params) -> Cells | None:
        """Return nothing: a row is more than one move of cells."""
        return None

    def write(self, target: Tensor, images: Tensor, params: Params, chosen: Chosen) -> bool:
        """Write nothing: what one of a row has made the next one changes."""
        return False

    def _transform_chosen(self, images: Tensor, params: Params) -> Tensor:
        return NegativeTransform._transform_chosen(self, images, params)


def _of_place(params: Params, place: int) -> Params:
    prefix = f"{place}."
    return {name.removeprefix(prefix): value for name, value in params.items() if name.startswith(prefix)}
