"""Several negatives at once, each image getting exactly one of them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Unpack, cast

import torch
from torch import Tensor, nn

from nda_augment import sampling
from nda_augment._checks import check_index, check_parameter
from nda_augment._constants import kept
from nda_augment._negatives import check_negative
from nda_augment.functional._kernels import fused
from nda_augment.functional._layout import (
    Chosen,
    as_images,
    as_planes,
    donor_planes,
    few_at_once,
    put,
    slices_pay,
    take,
)
from nda_augment.functional.patches import Cells, chosen_cells, copy_chosen, cross_patch_shuffle
from nda_augment.sampling import Source
from nda_augment.transforms.base import Common, DrawContext, NegativeTransform, Params, is_exporting, select

__all__ = ["Mixture"]


class Mixture(NegativeTransform):
    """Give every image exactly one of several negatives, drawn per image; only that one is computed for it.

    An image gets transform ``k`` with probability ``weights[k]`` exactly. Within a batch the choices are spread
    evenly: the number of images that get transform ``k`` differs from its share by less than one. Apart from the lower
    variance this bounds every group's size before the draw, so that no device is asked for it.

    Args:
        transforms: Negative transforms, each with ``p=1``; of a mapping, such as presets are, the values. Names them by
            position in ``_params``: ``"0.permutation"``.
        weights: One non-negative number per transform, in any scale; equal by default.
        **common: ``p``, ``same_on_batch`` (one transform and one draw for the whole batch), ``keepdim`` of
            :class:`NegativeTransform`.

    Raises:
        ValueError: If no transform is given, or the weights are not as many, negative, not finite or all zero, or a
            transform has ``p`` below 1.
        TypeError: If a member is not a negative transform of this package (wrap others in ``AsNegative``).

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``choice``, int64 ``(B,)``, and those of each
        transform.

    Example:
        >>> from nda_augment import Jigsaw, Stitch
        >>> mixture = Mixture([Jigsaw(), Stitch()], weights=[3, 1])
        >>> negatives = mixture(torch.rand(8, 3, 32, 32))
        >>> mixture._params["choice"].bincount().tolist()
        [6, 2]
    """

    learns = False
    """Whether it, or a mixture within, is told how hard its last negatives were."""

    def __init__(
        self,
        transforms: Sequence[NegativeTransform] | Mapping[str, NegativeTransform],
        weights: Sequence[float] | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        members = _as_members(transforms)
        self.transforms = nn.ModuleList(members)
        self.weights = _as_weights(weights, len(members))
        self._learners = [
            number for number, member in enumerate(members) if isinstance(member, Mixture) and member.learns
        ]
        self.learns = self.learns or bool(self._learners)
        self.uses_partners = any(member.uses_partners for member in self.members)
        self.needs_labels = any(member.needs_labels for member in self.members)
        self.needs_clips = any(member.needs_clips for member in self.members)
        self.changes_region = all(member.changes_region for member in self.members)
        self.keeps_share = all(member.keeps_share for member in self.members)
        self.moves_values = all(member.moves_values for member in self.members)
        self.channels = next((member.channels for member in self.members if member.channels), None)

    @property
    def members(self) -> list[NegativeTransform]:
        """The transforms, in order."""
        return list(self.transforms)  # type: ignore[arg-type]  # nn.ModuleList forgets what it holds

    @property
    def probabilities(self) -> tuple[float, ...]:
        """The weights, scaled to sum to 1."""
        return tuple(weight / sum(self.weights) for weight in self.weights)

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments by name."""
        return {**super().arguments(), "transforms": self.members}

    def __str__(self) -> str:
        """Return the policy string of this mixture: its members and weights, without its own ``p``."""
        members = (f"({member})" if type(member) is Mixture else str(member) for member in self.members)
        weights = (
            "" if weight == 1.0 else f":{int(weight) if weight.is_integer() else weight}" for weight in self.weights
        )
        return ",".join(map("".join, zip(members, weights, strict=True)))

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw the transform of each image."""
        return {"choice": sampling.stratified_choice(shape[0], self.probabilities, **source)}

    def draw_kernel_params(self, context: DrawContext) -> Params:
        """Draw the choices, and the parameters of every member for every image."""
        params = super().draw_kernel_params(context)
        for number, member in enumerate(self.members):
            own = member.draw_kernel_params(_for_member(context, member))
            params.update({f"{number}.{name}": value for name, value in own.items()})
        return params

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply to each image the transform of its choice, and none to those that their coins leave alone."""
        return self._mixed(images, params, len(images), self.same_on_batch)

    def _negatives(self, images: Tensor, params: Params) -> Tensor:
        negatives = super()._negatives(images, params)
        if self._learners and not is_exporting():
            gated = self.p < 1.0 and "batch_prob" in params
            self._remember(params, params["batch_prob"] > 0.5 if gated else params["choice"] >= 0)
        return negatives

    def _remember(self, params: Params, reached: Tensor) -> None:
        """Tell mixtures within that learn which images got one of their members.

        Args:
            params: Parameters of this mixture.
            reached: True for images that got a negative of this mixture, bool ``(B,)``.
        """
        for number in self._learners:
            member = cast(Mixture, self.members[number])
            member._remember(_member_params(params, number), reached & (params["choice"] == number))

    def _mixed(self, images: Tensor, params: Params, drawn_for: int, shared: bool) -> Tensor:
        """Mix images that are some of the ``drawn_for`` that the choices were drawn for, or one choice was."""
        choice = params["choice"]
        check_index(choice, "choice", (len(images),), len(self.members))
        if len(self.members) == 1:
            return self._of_member(0, images, self._own(params, 0), drawn_for, shared)
        if self.p < 1.0 and "batch_prob" in params:
            check_parameter(params["batch_prob"], "batch_prob", (len(images),))
            choice = torch.where(params["batch_prob"] > 0.5, choice, len(self.members))
        planes = as_planes(images)
        begin = self._written if fused("put_", planes, choice) else self._moved
        done, started = begin(images, choice, params)
        negatives = as_planes(started)
        pool = params.get("pool", as_images(planes, images))
        rest = [number for number in range(len(self.members)) if number not in done]
        own = {number: {"pool": pool, **_member_params(params, number)} for number in rest}
        copies = as_images(negatives, images)
        for number, (index, chosen) in zip(rest, self._groups(choice, rest, drawn_for, shared), strict=True):
            if chosen is None and self._changed(number, copies, index, own[number]):
                continue
            for part in few_at_once(index, images):
                group = as_images(take(planes, part), images[: len(part)])
                values = as_planes(self._of_member(number, group, select(own[number], part), drawn_for, shared))
                if chosen is not None:
                    values = torch.where(chosen.view(-1, 1, 1, 1, 1), values, take(negatives, part))
                put(negatives, part, values)
        return copies

    def _changed(self, number: int, copies: Tensor, index: Tensor, params: Params) -> bool:
        """Let a member change copies of images where they lie, if it can and that takes less time."""
        planes = as_planes(copies)
        if not slices_pay(len(index), planes[: len(index)], *params.values()):
            return False
        places = planes.unbind()
        donors = donor_planes(params, copies)
        return self.members[number].change([places[image] for image in index.tolist()], donors, select(params, index))

    def _written(self, images: Tensor, choice: Tensor, params: Params) -> tuple[set[int], Tensor]:
        """Let every member write the images that chose it, and return the numbers of who can, and all images so far.

        Of those that chose another, or none, there are copies.
        """
        planes, done = as_planes(images), set()
        target, images = torch.empty_like(planes), as_images(planes, images)
        for number, member in enumerate(self.members):
            chosen = Chosen(choice, number)
            if member.write(target, images, self._own(params, number), chosen):
                done.add(number)
            else:
                copy_chosen(target, planes, chosen)
        if self.p < 1.0:
            copy_chosen(target, planes, Chosen(choice, len(self.members)))
        return done, as_images(target, images)

    def _moved(self, images: Tensor, choice: Tensor, params: Params) -> tuple[set[int], Tensor]:
        """Do at once what moves cells of a grid, and return the numbers of who does, and a copy of all images so far.

        Of several grids it is the first.
        """
        found = {number: self._cells_of(number, tuple(images.shape), params) for number in range(len(self.members))}
        options = {number: cells for number, cells in found.items() if cells is not None}
        if not options:
            return set(), as_images(as_planes(images).clone(), images)
        first = next(iter(options.values())).grid
        options = {number: cells for number, cells in options.items() if cells.grid == first}
        grid, sources, permutation = chosen_cells(options, choice)
        return set(options), cross_patch_shuffle(images, sources, permutation, grid)

    def cells(self, shape: tuple[int, ...], params: Params) -> Cells | None:
        """Return what the only member does."""
        return self._cells_of(0, shape, params) if len(self.members) == 1 else None

    def write(self, target: Tensor, images: Tensor, params: Params, chosen: Chosen) -> bool:
        """Let the only member write the chosen images."""
        return len(self.members) == 1 and self.members[0].write(target, images, self._own(params, 0), chosen)

    def _cells_of(self, number: int, shape: tuple[int, ...], params: Params) -> Cells | None:
        return self.members[number].cells(shape, self._own(params, number))

    def _own(self, params: Params, number: int) -> Params:
        """Return the parameters of a member, and the pool of the mixture that this one is in."""
        borrowed = {"pool": params["pool"]} if "pool" in params else {}
        return {**borrowed, **_member_params(params, number)}

    def _of_member(self, number: int, images: Tensor, params: Params, drawn_for: int, shared: bool) -> Tensor:
        member = self.members[number]
        if isinstance(member, Mixture):
            return member._mixed(images, params, drawn_for, shared or member.same_on_batch)
        return member.transform(images, params)

    def _transform_chosen(self, images: Tensor, params: Params) -> Tensor:
        # Of several negatives, none is computed for images that their coins leave alone.
        return super()._transform_chosen(images, params) if len(self.members) == 1 else self.transform(images, params)

    def region(self, shape: tuple[int, ...], params: Params) -> Tensor:
        """Return the region that each image's own transform changed."""
        if not self.changes_region:
            whole = [type(member).__name__ for member in self.members if not member.changes_region]
            raise ValueError(f"{', '.join(whole)} changes no region of the image; call the mixture without return_mask")
        regions = [member.region(shape, _member_params(params, number)) for number, member in enumerate(self.members)]
        choice = params["choice"].view(-1, 1, 1, 1)
        return torch.stack([region & (choice == number) for number, region in enumerate(regions)]).any(0)

    def own_share(self, shape: tuple[int, ...], params: Params) -> Tensor:
        """Return the share of each image that its own transform left."""
        if not self.keeps_share:
            whole = [type(member).__name__ for member in self.members if not member.keeps_share]
            raise ValueError(f"{', '.join(whole)} keeps no share of the image; call the mixture without return_weight")
        shares = [member.own_share(shape, _member_params(params, number)) for number, member in enumerate(self.members)]
        return torch.stack(shares, dim=1).gather(1, params["choice"].unsqueeze(1)).squeeze(1)

    def _groups(
        self, choice: Tensor, numbers: list[int], drawn_for: int, shared: bool
    ) -> Iterable[tuple[Tensor, Tensor | None]]:
        """Return, for each numbered transform, the images that chose it.

        On the CPU these are known. Elsewhere, and while compiling, a group is a fixed number of places, at least as
        many as can have chosen the transform, with a mask of those that did.
        """
        if not numbers:
            return []
        ordered, order = choice.sort(stable=True)
        if _may_count(choice):
            chosen = torch.split(order, choice.bincount(minlength=len(self.members)).tolist())
            return [(chosen[number], None) for number in numbers]
        most = self._most(choice, drawn_for, shared)
        sizes = [min(len(choice), most[number]) for number in numbers]
        places = kept(_places, len(choice), tuple(numbers), tuple(sizes), device=choice.device)
        number, _, size, latest, rank = places.unbind()
        # Where each group's own part of the order begins, and where it ends.
        start, end = torch.searchsorted(ordered, places[:2]).unbind()
        fits = end - start <= size
        torch._assert_async(fits.all(), "more images chose one transform than Mixture can have drawn")
        place = torch.minimum(start, latest) + rank
        index, chosen_by = order[place], ordered[place] == number
        return zip(torch.split(index, sizes), torch.split(chosen_by, sizes), strict=True)

    def _most(self, choice: Tensor, drawn_for: int, shared: bool) -> list[int]:
        """Return how many images can have chosen each transform."""
        if shared:
            return [len(choice)] * len(self.members)
        # One more than systematic sampling gives: the borders between options are rounded. Of images that another
        # mixture picked out, as many may share a choice as of all.
        return [math.ceil(drawn_for * probability) + 1 for probability in self.probabilities]


def set_strength(transform: NegativeTransform, strength: float) -> bool:
    """Set the strength of a negative, or of the members of a mixture; tell whether any of them has one."""
    if "strength" in transform.defaults():
        setattr(transform, "strength", strength)  # noqa: B010 - which transforms have one is known at run time only
        return True
    reached = [set_strength(member, strength) for member in transform.members] if isinstance(transform, Mixture) else []
    return any(reached)


def _places(batch: int, numbers: tuple[int, ...], sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """Return for every place of every group its group, the next, its size, the latest it can begin, and the rank."""
    known = [
        torch.stack(
            [
                *(
                    torch.full((size,), value, dtype=torch.long, device=device)
                    for value in (number, number + 1, size, batch - size)
                ),
                torch.arange(size, device=device),
            ]
        )
        for number, size in zip(numbers, sizes, strict=True)
    ]
    return torch.cat(known, dim=1)


def _may_count(choice: Tensor) -> bool:
    """Tell whether images can be counted without waiting for a device, or breaking a graph."""
    return choice.device.type == "cpu" and not torch.compiler.is_compiling()


def _for_member(context: DrawContext, member: NegativeTransform) -> DrawContext:
    """Return the context that a member gets: without what it has no use for."""
    labels = context.labels if member.needs_labels else None
    return DrawContext(
        context.shape,
        context.generator,
        context.device,
        pool=context.pool if member.uses_partners else None,
        labels=labels,
        pool_labels=None if labels is None else context.pool_labels,
        same_on_batch=context.same_on_batch or member.same_on_batch,
    )


def _member_params(params: Params, number: int) -> Params:
    prefix = f"{number}."
    return {name.removeprefix(prefix): value for name, value in params.items() if name.startswith(prefix)}


def _as_members(transforms: Any) -> list[NegativeTransform]:
    if not isinstance(transforms, Iterable):
        raise TypeError(f"a mixture is made of a list of transforms, got {type(transforms).__name__}")
    members = list(transforms.values() if isinstance(transforms, Mapping) else transforms)
    if not members:
        raise ValueError("a mixture needs at least one transform, got none")
    for transform in members:
        check_negative(transform, "the members of a mixture", labels=True, clips=True)
    return members


def _as_weights(weights: Sequence[float] | None, number: int) -> tuple[float, ...]:
    if weights is None:
        return (1.0,) * number
    if len(weights) != number:
        raise ValueError(f"{len(weights)} weights for {number} transforms; give one weight per transform")
    if not all(0.0 <= weight < math.inf for weight in weights) or sum(weights) == 0.0:
        raise ValueError(f"weights must be finite, not negative and not all zero, got {list(weights)}")
    return tuple(float(weight) for weight in weights)
