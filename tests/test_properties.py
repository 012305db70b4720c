"""Every check of ``properties`` can fail: a sound negative passes them all, a broken one fails the check it breaks."""

import random
from typing import Unpack

import pytest
import torch
from torch import Tensor

from nda_augment import sampling
from nda_augment.sampling import Source
from nda_augment.transforms import NegativeTransform
from nda_augment.transforms.base import Params
from tests.cases import distinct
from tests.properties import PROPERTIES, Property


class Sound(NegativeTransform):
    """Adds the mean of another image, weighted; returns the region it changed, which is all of it."""

    uses_partners = True
    changes_region = True

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        return {"weights": sampling.uniform(shape[0], low=0.25, high=0.75, **source)}

    def draw_kernel_params(self, context):
        params = super().draw_kernel_params(context)
        pool_size = None if context.pool is None else len(context.pool)
        params["partners"] = sampling.partners(
            context.batch, pool_size, same_on_batch=context.same_on_batch, **context.source
        )
        return params if context.pool is None else {**params, "pool": context.pool}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        others = params.get("pool", images).index_select(0, params["partners"])
        dtype = torch.float64 if images.dtype == torch.float64 else torch.float32
        weights = params["weights"].to(dtype).view(-1, *(1,) * (images.ndim - 1))
        blend = weights * images.to(dtype) + (1 - weights) * others.to(dtype)
        if images.dtype == torch.uint8:
            blend = blend.round()
        planes = images.is_contiguous() or images.ndim == 5
        layout = torch.contiguous_format if planes else torch.channels_last
        return blend.to(images.dtype).contiguous(memory_format=layout)

    def region(self, shape: tuple[int, ...], params: Params) -> Tensor:
        return torch.ones(shape[0], 1, *shape[-2:], dtype=torch.bool)


class ItsOwnSource(Sound):
    def transform(self, images: Tensor, params: Params) -> Tensor:
        return images.clone()


class ItsOwnPartner(Sound):
    def draw_kernel_params(self, context):
        params = super().draw_kernel_params(context)
        return params | ({} if "pool" in params else {"partners": torch.randperm(context.batch)})


class OtherDtype(Sound):
    def transform(self, images: Tensor, params: Params) -> Tensor:
        return super().transform(images, params).double().float()


class OtherLayout(Sound):
    def transform(self, images: Tensor, params: Params) -> Tensor:
        return super().transform(images, params).transpose(-1, -2).contiguous().transpose(-1, -2)


class SeesStrides(Sound):
    def transform(self, images: Tensor, params: Params) -> Tensor:
        storage = images.as_strided(images.shape, torch.empty(images.shape).stride())
        return super().transform(storage.contiguous(), params)


class WritesToItsInput(Sound):
    def transform(self, images: Tensor, params: Params) -> Tensor:
        negatives = super().transform(images, params)
        images.add_(1)
        return negatives


class WritesToItsParameters(Sound):
    def transform(self, images: Tensor, params: Params) -> Tensor:
        params["weights"].mul_(0.5)
        return super().transform(images, params)


class ReturnsAView(Sound):
    def transform(self, images: Tensor, params: Params) -> Tensor:
        return images.view_as(images)


class DrawsInTheKernel(Sound):
    def transform(self, images: Tensor, params: Params) -> Tensor:
        return super().transform(images, {**params, "weights": torch.rand_like(params["weights"])})


class OneDrawForAll(Sound):
    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        return {"weights": super().make_params((1,), **source)["weights"].expand(shape[0])}

    def draw_kernel_params(self, context):
        params = super().draw_kernel_params(context)
        return params | {"partners": torch.zeros_like(params["partners"])}


class OneTooFew(Sound):
    def draw_kernel_params(self, context):
        params = super().draw_kernel_params(context)
        return params | {"extra": params["weights"][1:]}


class IgnoresItsGenerator(Sound):
    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        return super().make_params(shape, generator=None, device=source["device"])


class DrawsFromPython(Sound):
    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        random.random()
        return super().make_params(shape, **source)


class AlwaysTheSame(Sound):
    def draw_kernel_params(self, context):
        params = super().draw_kernel_params(context)
        params["weights"] = torch.linspace(0.3, 0.7, context.batch)
        return params | {"partners": torch.arange(context.batch).roll(1)}


class IgnoresTheGlobalSeed(Sound):
    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        seed = random.SystemRandom().getrandbits(32)
        return super().make_params(shape, generator=torch.Generator().manual_seed(seed), device=source["device"])


class MixesTheBatch(Sound):
    def transform(self, images: Tensor, params: Params) -> Tensor:
        return super().transform(images - images.mean(dim=0, keepdim=True), params)


class IgnoresSameOnBatch(Sound):
    def draw_kernel_params(self, context):
        params = super().draw_kernel_params(context)
        return params | {"weights": sampling.uniform(context.batch, **context.source)}


class TransformsTheSkipped(Sound):
    def _gated(self, changed, unchanged, params):
        return changed


class Clamps(Sound):
    def transform(self, images: Tensor, params: Params) -> Tensor:
        return super().transform(images, params).clamp(0, 1)


class StopsGradients(Sound):
    def transform(self, images: Tensor, params: Params) -> Tensor:
        return super().transform(images.detach(), params) + 0 * images


class CannotBePickled(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.key = lambda: None

    @classmethod
    def defaults(cls):
        return {}


class ForgetsAnArgument(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.share = 0.5

    def __getstate__(self):
        return super().__getstate__() | {"share": 0.4}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        return super().transform(images, {**params, "weights": params["weights"] * self.share})


class LosesPrecisionUnderAutocast(Sound):
    def forward(self, images, *args, **kwargs):
        unit = torch.eye(images.shape[-1], dtype=torch.float64 if images.dtype == torch.float64 else torch.float32)
        return super().forward((images.to(unit.dtype) @ unit).to(images.dtype), *args, **kwargs)


class KeptLessThanItSays(Sound):
    keeps_share = True

    def own_share(self, shape: tuple[int, ...], params: Params) -> Tensor:
        return params["weights"].sqrt()


class NeedsCompany(Sound):
    def transform(self, images: Tensor, params: Params) -> Tensor:
        return super().transform(images, params).repeat(2 if len(images) == 1 else 1, *(1,) * (images.ndim - 1))


class NeedsSomebody(Sound):
    def transform(self, images: Tensor, params: Params) -> Tensor:
        return super().transform(images, params) if len(images) else images.new_zeros(1, *images.shape[1:])


class MarksTheWrongRegion(Sound):
    def region(self, shape: tuple[int, ...], params: Params) -> Tensor:
        mask = super().region(shape, params)
        mask[..., 0, :] = False
        return mask


class MarksTheSkipped(Sound):
    def forward(self, images, *args, return_mask=False, **kwargs):
        negatives = super().forward(images, *args, **kwargs)
        return (negatives, self.region(images.shape, self._params)) if return_mask else negatives


BROKEN: dict[str, list[type[NegativeTransform]]] = {
    "is_never_its_own_source": [ItsOwnSource, ItsOwnPartner],
    "keeps_shape_dtype_device_and_layout": [OtherDtype, OtherLayout],
    "sees_pixels_not_strides": [SeesStrides],
    "leaves_its_arguments_alone": [WritesToItsInput, WritesToItsParameters, ReturnsAView],
    "replays_a_draw": [DrawsInTheKernel],
    "draws_one_set_per_image": [OneDrawForAll, OneTooFew],
    "honours_its_generator": [IgnoresItsGenerator, DrawsFromPython],
    "draws_anew": [AlwaysTheSame],
    "repeats_under_a_global_seed": [IgnoresTheGlobalSeed],
    "treats_images_one_by_one": [MixesTheBatch],
    "shares_one_draw_if_told": [IgnoresSameOnBatch],
    "skips_images_bit_for_bit": [TransformsTheSkipped],
    "does_not_clamp": [Clamps],
    "lets_gradients_flow": [StopsGradients],
    "survives_pickle_and_copy": [CannotBePickled, ForgetsAnArgument],
    "keeps_dtype_and_precision_under_autocast": [LosesPrecisionUnderAutocast],
    "marks_the_region_it_changed": [MarksTheWrongRegion, MarksTheSkipped],
    "says_what_share_it_kept": [KeptLessThanItSays],
    "takes_an_image_alone": [NeedsCompany],
    "takes_an_empty_batch": [NeedsSomebody],
}

BATCHES = [
    distinct((4, 3, 6, 6)),
    distinct((3, 3, 8, 8)).contiguous(memory_format=torch.channels_last),
    distinct((2, 2, 3, 6, 6), dtype=torch.uint8),
    distinct((4, 1, 6, 6), dtype=torch.float64),
]


def holds_everywhere(check: Property, module: NegativeTransform) -> None:
    for seed, images in enumerate(BATCHES):
        check(module, images.clone(memory_format=torch.preserve_format), seed)


def test_there_is_a_broken_one_for_every_guarantee() -> None:
    assert list(BROKEN) == [check.__name__ for check in PROPERTIES]


@pytest.mark.parametrize("check", PROPERTIES, ids=lambda check: check.__name__)
def test_a_sound_negative_passes(check: Property) -> None:
    holds_everywhere(check, Sound())


@pytest.mark.parametrize(
    ("check", "broken"),
    [(check, broken) for check in PROPERTIES for broken in BROKEN.get(check.__name__, [])],
    ids=lambda value: value.__name__,
)
def test_a_broken_negative_is_caught(check: Property, broken: type[NegativeTransform]) -> None:
    # A negative that cannot be pickled raises of its own accord, everything else is found by an assertion.
    expected = (AssertionError, AttributeError) if broken is CannotBePickled else AssertionError
    with pytest.raises(expected):
        holds_everywhere(check, broken())
