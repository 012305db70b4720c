"""The guarantees of a negative, each a check of one module on one batch. ``test_guarantees`` runs them on everything.

Each takes the module, a batch that it accepts and a seed, and raises ``AssertionError`` if the guarantee is broken.
"""

import copy
import pickle
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from nda_augment.transforms import Mixture, NegativeTransform
from nda_augment.transforms.base import Params, select
from tests.cases import apply, distinct, draw, generator, labels_for, pool_for

Property = Callable[[NegativeTransform, Tensor, int], None]

PROPERTIES: list[Property] = []
"""Every guarantee, in the order of this file."""

# Parameters that are not one entry per image.
SHARED = ("pool",)

# A batch in which no two draws in a row agree by chance.
MANY = 32


def guarantee(check: Property) -> Property:
    PROPERTIES.append(check)
    return check


@guarantee
def is_never_its_own_source(module: NegativeTransform, images: Tensor, seed: int) -> None:
    for pool in (None, pool_for(module, images)):
        negatives = apply(module, images, seed=seed, pool=pool)
        unchanged = (negatives == images).flatten(1).all(dim=1)
        assert not unchanged.any(), f"images {unchanged.nonzero().flatten().tolist()} came back as they were"


@guarantee
def keeps_shape_dtype_device_and_layout(module: NegativeTransform, images: Tensor, seed: int) -> None:
    negatives = apply(module, images, seed=seed)
    assert negatives.shape == images.shape
    assert negatives.dtype == images.dtype
    assert negatives.device == images.device
    for memory_format in (torch.contiguous_format, torch.channels_last)[: 1 + (images.ndim == 4)]:
        if images.is_contiguous(memory_format=memory_format):
            assert negatives.is_contiguous(memory_format=memory_format), f"{memory_format} was lost"


@guarantee
def sees_pixels_not_strides(module: NegativeTransform, images: Tensor, seed: int) -> None:
    negatives = apply(module, images, seed=seed)
    wide = images.new_empty(*images.shape[:-1], 2 * images.shape[-1])
    layouts = [wide[..., ::2].copy_(images), images.transpose(-1, -2).contiguous().transpose(-1, -2)]
    if images.ndim == 4:
        layouts.append(images.contiguous(memory_format=torch.channels_last))
    for layout in layouts:
        assert_same_pixels(apply(module, layout, seed=seed), negatives)


@guarantee
def leaves_its_arguments_alone(module: NegativeTransform, images: Tensor, seed: int) -> None:
    params = draw(module, images, seed=seed, pool=pool_for(module, images))
    given = {"images": images, **params}
    before = {name: value.clone() for name, value in given.items()}
    versions = {name: value._version for name, value in given.items()}
    negatives = apply(module, images, params=params)
    assert ["images", *params] == list(given), "parameters were added or removed"
    for name, value in given.items():
        assert value._version == versions[name], f"{name} was written to"
        assert torch.equal(value, before[name]), f"{name} was changed"
    for name, value in given.items():
        shared = value.untyped_storage().data_ptr() == negatives.untyped_storage().data_ptr()
        assert not (shared and images.numel()), f"the result is a view of {name}"


@guarantee
def replays_a_draw(module: NegativeTransform, images: Tensor, seed: int) -> None:
    for pool in (None, pool_for(module, images)):
        negatives = apply(module, images, pool=pool)
        params = copy.deepcopy(module._params)
        apply(copy.deepcopy(module), images)  # elsewhere, time goes on
        assert torch.equal(apply(module, images, params=params), negatives)
        assert torch.equal(apply(copy.deepcopy(module), images, params=params), negatives)
        assert list(module._params) == list(params)
        assert all(torch.equal(module._params[name], value) for name, value in params.items())


@guarantee
def draws_one_set_per_image(module: NegativeTransform, images: Tensor, seed: int) -> None:
    params = draw_many(module, images, seed)
    for name, value in params.items():
        assert len(value) == MANY, f"{name} has {len(value)} entries for {MANY} images"
    if params and has_choices(images) and not module.same_on_batch:
        assert any((value != value[:1]).any() for value in params.values()), "all images have the same draw"


@guarantee
def honours_its_generator(module: NegativeTransform, images: Tensor, seed: int) -> None:
    torch.manual_seed(1)
    before, before_python = torch.get_rng_state(), random.getstate()
    negatives = apply(module, images, seed=seed)
    assert torch.equal(torch.get_rng_state(), before), "torch's global generator was used beside the given one"
    assert random.getstate() == before_python, "Python's generator was used"
    torch.manual_seed(2)
    assert torch.equal(apply(module, images, seed=seed), negatives)


@guarantee
def draws_anew(module: NegativeTransform, images: Tensor, seed: int) -> None:
    draws = [draw_many(module, images, seed + offset) for offset in range(8)]
    if draws[0] and has_choices(images):
        assert any(not torch.equal(params[name], draws[0][name]) for params in draws for name in params)


@guarantee
def repeats_under_a_global_seed(module: NegativeTransform, images: Tensor, seed: int) -> None:
    torch.manual_seed(seed)
    negatives = apply(module, images)
    torch.manual_seed(seed)
    assert torch.equal(apply(module, images), negatives)


@guarantee
def treats_images_one_by_one(module: NegativeTransform, images: Tensor, seed: int) -> None:
    images = as_double(images)
    params = draw(module, images, seed=seed)
    if module.uses_partners:
        params["pool"] = images
    negatives = module.transform(images, params)
    for index in range(len(images)):
        alone = module.transform(images[index : index + 1], select(params, torch.tensor([index], device=images.device)))
        assert_close(negatives[index : index + 1], alone)


@guarantee
def shares_one_draw_if_told(module: NegativeTransform, images: Tensor, seed: int) -> None:
    if module.needs_labels:
        return  # partners by class are chosen image by image; the constructor refuses
    shared = copy.deepcopy(module)
    shared.same_on_batch = True
    copies = images[:1].expand_as(images)
    for pool in (None, pool_for(module, images)):
        negatives = apply(shared, copies, seed=seed, pool=pool)
        assert_same_pixels(negatives, negatives[:1].expand_as(negatives))


@guarantee
def skips_images_bit_for_bit(module: NegativeTransform, images: Tensor, seed: int) -> None:
    sometimes = copy.deepcopy(module)
    sometimes.p = 0.5
    negatives = apply(sometimes, images, seed=seed)
    applied = sometimes._params["batch_prob"]
    assert applied.shape == (len(images),)
    assert torch.equal(negatives[~applied], images[~applied])
    assert torch.equal(negatives[applied], apply(module, images, params=sometimes._params)[applied])
    sometimes.p = 0.0
    assert torch.equal(apply(sometimes, images, seed=seed), images)


@guarantee
def does_not_clamp(module: NegativeTransform, images: Tensor, seed: int) -> None:
    for least in (-110.0, 10.0):
        negatives = apply(module, least + 100 * as_double(images), seed=seed)
        outside = (negatives < 0) | (negatives > 1)
        assert outside.double().mean() > 0.5, f"values of {least} to {least + 100} came back within 0 to 1"


@guarantee
def lets_gradients_flow(module: NegativeTransform, images: Tensor, seed: int) -> None:
    images = as_double(images).clone().requires_grad_()
    negatives = apply(module, images, seed=seed)
    weight = distinct(negatives.shape, seed=seed, dtype=torch.float64).to(images.device) + 0.5
    (gradient,) = torch.autograd.grad((weight * negatives).sum(), images)
    assert gradient.isfinite().all()
    reached = (gradient != 0).flatten(1).any(dim=1)
    assert reached.any(), "no image has a gradient"
    assert module.uses_partners or reached.all(), "some images have no gradient"


@guarantee
def survives_pickle_and_copy(module: NegativeTransform, images: Tensor, seed: int) -> None:
    negatives = apply(module, images, seed=seed)
    for twin in (pickle.loads(pickle.dumps(module)), copy.deepcopy(module)):
        assert repr(twin) == repr(module)
        assert str(twin) == str(module)
        assert torch.equal(apply(twin, images, params=twin._params), negatives), "the recorded draw was lost"
        assert torch.equal(apply(twin, images, seed=seed), negatives)
    rebuilt = type(module)(**module.arguments())
    rebuilt.load_state_dict(module.state_dict(), strict=True)
    assert torch.equal(apply(rebuilt, images, seed=seed), negatives)


@guarantee
def keeps_dtype_and_precision_under_autocast(module: NegativeTransform, images: Tensor, seed: int) -> None:
    if images.dtype == torch.float16 and images.device.type == "cpu":
        return  # torch itself refuses to mix half precision with autocast on the CPU
    negatives = apply(module, images, seed=seed)
    with torch.autocast(images.device.type, torch.bfloat16):
        under_autocast = apply(module, images, seed=seed)
    assert under_autocast.dtype == images.dtype
    assert_same_pixels(under_autocast, negatives)


@guarantee
def marks_the_region_it_changed(module: NegativeTransform, images: Tensor, seed: int) -> None:
    options = {**labels_for(module, images), "return_mask": True}
    if not module.changes_region:
        with pytest.raises(ValueError, match="changes no region"):
            module(images, **options)
        return
    for p in (1.0, 0.5):
        sometimes = copy.deepcopy(module)
        sometimes.p = p
        negatives, mask = sometimes(images, generator=generator(seed), **options)
        assert mask.shape == (len(images), 1, *images.shape[-2:])
        assert mask.dtype == torch.bool
        applied = sometimes._params.get("batch_prob", torch.ones(len(images), dtype=torch.bool, device=mask.device))
        assert torch.equal(mask.flatten(1).any(dim=1), applied), "empty, or of a skipped image"
        mask = mask.unsqueeze(1) if images.ndim == 5 else mask
        assert torch.equal(negatives.masked_fill(mask, 0), images.masked_fill(mask, 0)), "it changed more than it says"
        assert torch.equal(negatives, apply(sometimes, images, params=sometimes._params))


@guarantee
def says_what_share_it_kept(module: NegativeTransform, images: Tensor, seed: int) -> None:
    if not module.keeps_share:
        with pytest.raises(ValueError, match="keeps no share"):
            module(images, **labels_for(module, images), return_weight=True)
        return
    # Of nothing but zeros, with ones to borrow, what is not zero is not its own.
    nothing, pool = as_double(images) * 0, pool_for(module, as_double(images))
    pool = None if pool is None else torch.ones_like(pool)
    for p in (1.0, 0.5):
        sometimes = copy.deepcopy(module)
        sometimes.p = p
        options = {"generator": generator(seed), "pool": pool, **labels_for(module, images, pool)}
        if not module.changes_region:
            negatives, weights = sometimes(nothing, **options, return_weight=True)
        else:
            negatives, mask, weights = sometimes(nothing, **options, return_mask=True, return_weight=True)
            assert (weights + mask.double().mean(dim=(1, 2, 3)) > 1 - 1e-6).all(), "less is left than was not touched"
        assert (weights.shape, weights.dtype) == ((len(images),), torch.float32)
        if module.uses_partners and not isinstance(module, Mixture):
            assert_close(1 - negatives.flatten(1).mean(dim=1), weights.double(), rtol=0, atol=1e-6)
        applied = sometimes._params.get("batch_prob", torch.ones_like(weights)) > 0.5
        assert torch.equal(weights < 1, applied), "all is kept of what is a negative, or a part of what is not"


@guarantee
def takes_an_image_alone(module: NegativeTransform, images: Tensor, seed: int) -> None:
    pool = pool_for(module, images)
    alone = apply(module, images[:1], seed=seed, pool=pool)
    assert alone.shape == images[:1].shape
    if images.ndim == 4 and not module.needs_labels:
        unbatched = apply(module, images[0], seed=seed, pool=pool)
        assert torch.equal(unbatched, alone[0])
        if module.changes_region:
            _, mask = module(images[0], pool=pool, return_mask=True)
            assert mask.shape == (1, *images.shape[-2:])
        if images.shape[1] == 1:
            assert torch.equal(apply(module, images[0, 0], seed=seed, pool=pool), alone[0, 0])


@guarantee
def takes_an_empty_batch(module: NegativeTransform, images: Tensor, seed: int) -> None:
    nothing = apply(module, images[:0], seed=seed)
    assert nothing.shape == images[:0].shape
    assert nothing.dtype == images.dtype


def draw_many(module: NegativeTransform, images: Tensor, seed: int) -> Params:
    """Draw for a batch of many such images, and return what is drawn per image; there may be nothing to draw."""
    shape = (MANY, *images.shape[1:])
    params = module.draw(shape, generator=generator(seed), **labels_for(module, torch.empty(MANY)))
    return {name: value for name, value in params.items() if own_name(name) not in (*SHARED, "batch_prob")}


def has_choices(images: Tensor) -> bool:
    """Whether every draw has more than one outcome: tiny images leave no choice of a shift, oblong ones of a turn."""
    return images.shape[-2] == images.shape[-1] >= 6


def own_name(name: str) -> str:
    """The name of a parameter within its member of a mixture."""
    return name.rsplit(".", 1)[-1]


def as_double(images: Tensor) -> Tensor:
    """The images in double precision, in [0, 1]."""
    return images.double() / (255 if images.dtype == torch.uint8 else 1)


def assert_same_pixels(negatives: Tensor, expected: Tensor) -> None:
    """Equal up to the last bits of a sum in another order, and to one level of uint8, where that turns a rounding."""
    if negatives.dtype == torch.uint8:
        assert_close(negatives.int(), expected.int(), rtol=0, atol=1)
    else:
        assert_close(negatives, expected)
