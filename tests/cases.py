"""What the tests feed to each negative. Everything is asked of the class, so a new negative needs no line here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import pytest
import torch
from torch import Tensor

from nda_augment import presets
from nda_augment.registry import NEGATIVES
from nda_augment.transforms import (
    AsNegative,
    Flip,
    Jigsaw,
    Mixture,
    NegativeTransform,
    Random,
    Roll,
    Stitch,
)
from nda_augment.transforms.base import Params

# Small first; odd and uneven ones, and those that a fine grid divides.
SIZES = [
    (2, 2), (2, 3), (3, 3), (4, 4), (5, 8), (6, 6), (8, 8), (7, 14), (12, 10), (16, 16), (18, 12), (16, 24), (28, 28),
    (33, 32), (64, 48),
]  # fmt: skip
LARGE = [(224, 224), (512, 300)]
CHANNELS = [3, 1, 4, 13]
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8]
FRAMES = 6


@dataclass(frozen=True)
class Case:
    """A negative under test: how to make it, and which inputs it takes."""

    name: str
    make: Callable[[], NegativeTransform]

    def __str__(self) -> str:
        return self.name

    @cached_property
    def module(self) -> NegativeTransform:
        """One that only answers questions."""
        return self.make()

    @cached_property
    def channels(self) -> list[int]:
        """The numbers of channels it takes."""
        return CHANNELS if self.module.channels is None else [self.module.channels]

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """The sizes it takes, small first."""
        return [size for size in SIZES if self.refusal(self.shape(4, size=size)) is None]

    @property
    def size(self) -> tuple[int, int]:
        """A small size, with enough pixels for most of them to differ."""
        return next((size for size in self.sizes if min(size) >= 6), self.sizes[-1])

    def refusal(self, shape: tuple[int, ...]) -> ValueError | None:
        """Return the error that meets a batch of this shape, if one does."""
        try:
            apply(self.make(), torch.rand(shape), seed=0)
        except ValueError as error:
            return error
        return None

    def shape(
        self, batch: int, *, channels: int | None = None, size: tuple[int, int] | None = None, clip: bool = False
    ) -> tuple[int, ...]:
        """Return the shape of a batch that it takes: images, or clips if it needs frames."""
        frames = (FRAMES,) if clip or self.module.needs_clips else ()
        return (batch, *frames, channels or self.channels[0], *(size or self.size))

    def images(self, batch: int = 5, *, seed: int = 0, dtype: torch.dtype = torch.float32, **shape: Any) -> Tensor:
        return distinct(self.shape(batch, **shape), seed=seed, dtype=dtype)


def _mixture() -> Mixture:
    """A mixture of one negative of each family, of those that take images of a common size."""
    images = [case for case in REGISTERED if not case.module.needs_clips and not case.module.needs_labels]
    size = max(SIZES, key=lambda size: sum(size in case.sizes for case in images))
    members: dict[str, NegativeTransform] = {}
    for case, negative in zip(REGISTERED, NEGATIVES, strict=True):
        if case in images and size in case.sizes and 3 in case.channels:
            members.setdefault(negative.card.family, case.make())
    return Mixture(list(members.values()), weights=[1 + index % 3 for index in range(len(members))])


def shift_or_flip(images: Tensor) -> Tensor:
    """A transform of no library, which leaves some images as they are."""
    draw = torch.rand(())
    return images.roll(1, -1) if draw < 0.4 else images.flip(-2) if draw < 0.8 else images


def _of_entry(negative: type[NegativeTransform]) -> Case:
    return Case(negative.word, negative)


def _of_presets() -> Iterator[Case]:
    """The settings of the presets that are not a default."""
    for name, module in presets.reference().items():
        if str(module) not in presets.paper():
            yield Case(f"reference-{name}", partial(_from_reference, name))


def _from_reference(name: str) -> NegativeTransform:
    return presets.reference()[name]


REGISTERED = [_of_entry(negative) for negative in NEGATIVES]
SOFT = [
    Case("jigsaw-soft", partial(Jigsaw, offset="random", feather=0.5)),
    Case("stitch-soft", partial(Stitch, feather=0.5)),
]
SEVERAL = [
    Case("mixture", _mixture),
    Case("random", lambda: Random(2, transforms=[Flip(), Roll(), Stitch()])),
]
CASES = [*REGISTERED, *SEVERAL, *_of_presets(), *SOFT]

# It asks the images whether they changed and loops over them: its guarantees hold, but it neither compiles nor maps.
WRAPPED = Case("asnegative", partial(AsNegative, shift_or_flip, min_change=1e-4, redraws=50))


def apply(
    module: NegativeTransform,
    images: Tensor,
    *,
    seed: int | None = None,
    pool: Tensor | None = None,
    params: Params | None = None,
) -> Tensor:
    """Call a module on images, with classes if it needs them, drawing from a generator of that seed if there is one."""
    if params is not None:
        return module(images, params=params)
    source = None if seed is None else generator(seed)
    return module(images, generator=source, pool=pool, **labels_for(module, images, pool))


def draw(module: NegativeTransform, images: Tensor, *, seed: int | None = None, pool: Tensor | None = None) -> Params:
    """Draw as :func:`apply` does, without applying."""
    source = None if seed is None else generator(seed)
    labels = labels_for(module, images, pool)
    return module.draw(images.shape, generator=source, device=images.device, pool=pool, **labels)


def labels_for(module: NegativeTransform, images: Tensor, pool: Tensor | None = None) -> dict[str, Tensor]:
    """Return classes of which every batch has two, if the module needs classes."""
    if not module.needs_labels:
        return {}
    labels = {"labels": torch.arange(len(images), device=images.device) % 2}
    return labels if pool is None else {**labels, "pool_labels": torch.arange(len(pool), device=images.device) % 2}


def pool_for(module: NegativeTransform, images: Tensor, size: int = 3, seed: int = 0) -> Tensor | None:
    """Return other images to borrow from, if the module borrows: no value of theirs is one of the batch's."""
    if not module.uses_partners:
        return None
    shape = (size, *images.shape[1:])
    if images.dtype == torch.uint8:
        return distinct(shape, seed=seed + 1, dtype=torch.uint8).to(images.device)
    return (distinct(shape, seed=seed + 1, dtype=torch.float64) + 2.0).to(images.device, images.dtype)


def distinct(shape: tuple[int, ...], *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return images in which no two values of the batch agree, in random order.

    Floats lie in [0, 1); in half precision and uint8 there are not that many numbers, and some values do agree.
    """
    count = torch.Size(shape).numel()
    order = torch.randperm(count, generator=generator(seed)).view(shape)
    if dtype == torch.uint8:
        return (order % 256).to(torch.uint8)
    return (order.double() / max(count, 1)).to(dtype)


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


@contextmanager
def on_meta() -> Iterator[None]:
    """Skip what this torch cannot run on the meta device: before 2.6 it has no gamma distribution there."""
    try:
        yield
    except NotImplementedError as error:
        if "aten::_standard_gamma" not in str(error):
            raise
        pytest.skip(f"torch {torch.__version__} has no _standard_gamma for the meta device")
