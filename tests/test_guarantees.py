"""Every guarantee on every negative, and on mixtures of them. A new negative is covered by being registered."""

import re
from typing import Any

import kornia.augmentation as K
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.testing import assert_close
from torch.torch_version import TorchVersion
from torch.utils.data import DataLoader, Dataset

from nda_augment.transforms import Mixture
from nda_augment.transforms.base import Params
from tests.cases import (
    CASES,
    DTYPES,
    LARGE,
    REGISTERED,
    SIZES,
    WRAPPED,
    Case,
    apply,
    distinct,
    draw,
    generator,
    labels_for,
    on_meta,
    pool_for,
)
from tests.properties import PROPERTIES, Property, assert_same_pixels

each_case = pytest.mark.parametrize("case", CASES, ids=str)
on_images = pytest.mark.parametrize("case", [case for case in CASES if not case.module.needs_clips], ids=str)


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """What varies between batches; of sizes and numbers of channels each negative has its own."""
    return {
        "batch": draw(st.integers(2, 6)),
        "size": draw(st.integers(0, len(SIZES))),
        "channels": draw(st.integers(0, 3)),
        "dtype": draw(st.sampled_from(DTYPES)),
        "channels_last": draw(st.booleans()),
        "clip": draw(st.integers(0, 3)) == 3,
        "seed": draw(st.integers(0, 2**31)),
    }


def images_of(case: Case, spec: dict[str, Any]) -> Tensor:
    sizes = [size for size in case.sizes if min(size) < 20] or case.sizes
    channels, size = case.channels[spec["channels"] % len(case.channels)], sizes[spec["size"] % len(sizes)]
    shape = case.shape(spec["batch"], channels=channels, size=size, clip=spec["clip"])
    images = distinct(shape, seed=spec["seed"], dtype=spec["dtype"])
    if spec["channels_last"] and images.ndim == 4:
        return images.contiguous(memory_format=torch.channels_last)
    return images


@pytest.mark.parametrize("case", [*CASES, WRAPPED], ids=str)
@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda check: check.__name__)
@given(spec=specs())
def test_guarantee(case: Case, holds: Property, spec: dict[str, Any]) -> None:
    holds(case.make(), images_of(case, spec), spec["seed"])


# Shapes


@each_case
def test_takes_most_sizes_and_names_those_it_does_not(case: Case) -> None:
    assert len(case.sizes) >= len(SIZES) / 4
    assert any(height != width for height, width in case.sizes)
    for size in SIZES:
        images = torch.rand(case.shape(24, size=size))
        refusal = case.refusal(tuple(images.shape))
        # A mixture refuses too before it has drawn who is refused: a run must not fail after a day.
        assert (refusal is None) == (size in case.sizes)
        try:
            draw(case.make(), images)
        except ValueError:
            assert refusal is not None
        else:
            assert refusal is None, f"{refusal} comes after the draw"
        assert refusal is None or numbers_in(refusal) & set(size), f"{refusal} names none of {size}"


@each_case
@pytest.mark.parametrize("size", LARGE, ids=str)
def test_takes_large_images(case: Case, size: tuple[int, int]) -> None:
    images = case.images(2, channels=case.channels[0], size=size)
    refusal = case.refusal(tuple(images.shape))
    if refusal is None:
        assert not (apply(case.make(), images, seed=0) == images).flatten(1).all(dim=1).any()
    else:
        assert numbers_in(refusal) & set(size)


@each_case
def test_takes_any_number_of_channels_or_names_the_one_it_takes(case: Case) -> None:
    for channels in (1, 2, 3, 4, 13):
        images = case.images(channels=channels)
        if case.module.channels in (None, channels):
            assert apply(case.make(), images).shape == images.shape
        else:
            with pytest.raises(ValueError, match=f"{case.module.channels}.*channels") as caught:
                draw(case.make(), images)
            assert {channels, case.module.channels} <= numbers_in(caught.value)


@on_images
@given(seed=st.integers(0, 2**31), dtype=st.sampled_from([torch.float64, torch.uint8]))
def test_a_clip_has_one_draw_the_same_on_every_frame(case: Case, seed: int, dtype: torch.dtype) -> None:
    module, clips = case.make(), case.images(4, seed=seed, dtype=dtype, clip=True)
    negatives = apply(module, clips, seed=seed)
    for frame, negative in zip(clips.unbind(1), negatives.unbind(1), strict=True):
        alone = module.transform(frame, module._params | ({"pool": frame} if module.uses_partners else {}))
        assert_same_pixels(negative, alone)


@each_case
def test_what_is_no_batch_is_refused(case: Case) -> None:
    module = case.make()
    for shape in [(4,), (1, 1, *case.shape(4, clip=True))]:
        with pytest.raises(ValueError, match=re.escape(str(shape))):
            module(torch.rand(shape))
    for dtype in (torch.int64, torch.bool, torch.uint16):
        if not module.moves_values:
            with pytest.raises(TypeError, match=f"floating point or uint8, got {dtype}"):
                module(torch.zeros(case.shape(4), dtype=dtype))
    with pytest.raises(TypeError, match=r"must be a torch\.Tensor, got list"):
        module([[0.0]])


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.int64, torch.bool, torch.uint16, torch.uint32])
@pytest.mark.parametrize("case", [case for case in CASES if case.module.moves_values], ids=str)
def test_what_only_moves_takes_any_dtype(case: Case, dtype: torch.dtype) -> None:
    """A label map is broken as its image is, by the same draw."""
    module, images = case.make(), case.images()
    pool = pool_for(module, images)
    labels, others = ((100 * values).long() % (2 if dtype == torch.bool else 100) for values in (images, images + 1))
    given = {"pool": others.to(dtype)} if pool is not None else {"pool": None}
    negatives = apply(module, labels.to(dtype), seed=0, **given)
    assert negatives.dtype == dtype
    assert torch.equal(module(labels.to(dtype), params=module._params), negatives)
    expected = apply(module, labels.double(), seed=0, pool=None if pool is None else others.double())
    assert torch.equal(negatives.double(), expected)


@each_case
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_what_is_no_dense_tensor_is_refused(case: Case) -> None:
    images = case.images(2)
    for other in (images.to_sparse(), torch.nested.nested_tensor([images[0], images[1][..., :1]])):
        with pytest.raises(TypeError, match="must be a dense tensor"):
            case.make()(other)


@each_case
def test_a_draw_of_another_transform_is_named(case: Case) -> None:
    module, images = case.make(), case.images()
    needed = draw(module, images, seed=0)
    for params in ({}, {"strange": torch.ones(5)}):
        if needed:
            with pytest.raises(ValueError, match=f"params hold no .* for {type(module).__name__}"):
                module(images, params=params)
    with pytest.raises(TypeError, match=r"params must hold tensors, got list for"):
        module(images, params={**needed, "other": [1]})


@each_case
def test_a_pool_must_match_and_have_a_use(case: Case) -> None:
    module, images = case.make(), case.images()
    if not module.uses_partners:
        with pytest.raises(ValueError, match="call it without a pool"):
            module(images, pool=images)
        return
    for pool in (images.double(), images[..., :-1], images[:, :0]):
        with pytest.raises(ValueError, match="pool must hold images of shape"):
            apply(module, images, pool=pool)
    if not module.needs_labels:
        with pytest.raises(ValueError, match=r"no partner.*pool="):
            module(images[:1])


@each_case
def test_a_replay_takes_no_other_options(case: Case) -> None:
    module, images = case.make(), case.images()
    apply(module, images)
    with pytest.raises(ValueError, match="params repeat a draw"):
        module(images, params=module._params, generator=generator(0))


def numbers_in(error: ValueError) -> set[int]:
    return set(map(int, re.findall(r"\d+", str(error))))


@pytest.mark.parametrize("case", REGISTERED, ids=str)
def test_a_parameter_of_another_shape_is_named(case: Case) -> None:
    module, images = case.make(), case.images()
    params = draw(module, images, seed=0)
    for name, value in params.items():
        for other in (value[:-1], value[:1], value.unsqueeze(-1)):
            with pytest.raises(ValueError, match=f"^{name} must .*{re.escape(str(tuple(other.shape)))}"):
                module.transform(images, {**params, name: other})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8], ids=str)
@pytest.mark.parametrize("case", REGISTERED, ids=str)
def test_narrow_types_cost_no_more_than_their_rounding(case: Case, dtype: torch.dtype) -> None:
    module, images = case.make(), case.images(dtype=dtype)
    params = draw(module, images, seed=0)
    negatives, exact = module.transform(images, params), module.transform(images.float(), params)
    if dtype == torch.uint8:
        assert_close(negatives.float(), exact.clamp(0, 255), rtol=0.0, atol=0.5)
    else:  # the pixels are rounded once, and in mixup the weights too
        assert_close(negatives.float(), exact, rtol=0.0, atol=2 * torch.finfo(dtype).eps)


@each_case
def test_nothing_is_read_back_from_the_device(case: Case) -> None:
    """A tensor on the meta device has no values: whoever asks for one fails, as a GPU would have to be waited for."""
    for clip in (False, True):
        module, images = case.make(), case.images(5, clip=clip)
        labels = labels_for(module, images)
        there = {name: value.to("meta") for name, value in labels.items()}
        with on_meta():
            negatives = module(images.to("meta"), **there)
        assert negatives.device.type == "meta"
        assert negatives.shape == images.shape
        module(images, **labels)
        assert {name: value.shape for name, value in module._params.items()} == {
            name: value.shape for name, value in module.draw(images.shape, device="meta", **there).items()
        }


def test_reading_back_would_be_noticed() -> None:
    with pytest.raises((NotImplementedError, RuntimeError), match=r"meta"):
        WRAPPED.make()(WRAPPED.images().to("meta"))


# Derivatives, compilation, vectorisation


@each_case
def test_derivatives_are_right(case: Case) -> None:
    module = case.make()
    images = case.images(2, channels=case.channels[-1] if len(case.channels) == 1 else 1).double()
    params = draw(module, images, seed=0)
    leaf = images.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: module.transform(x, params), (leaf,), fast_mode=True)


@each_case
def test_compiled_equals_eager(case: Case) -> None:
    assert_compiles(case, backend="aot_eager")


@each_case
def test_one_compilation_serves_batches_of_any_size(case: Case) -> None:
    if case.name in ("mixup", "mixture", "random") and not knows_gamma():
        pytest.skip("torch 2.5 knows no gamma distribution of a size that varies")
    torch._dynamo.reset()
    counter, module = CompileCounter(), case.make()
    compiled = torch.compile(module, fullgraph=True, backend=counter)
    for batch in (4, 6, 7, 9, 4):
        images = case.images(batch)
        assert compiled(images, **labels_for(module, images)).shape == images.shape
    assert counter.frame_count <= 2
    images = case.images(5, size=case.sizes[-1])
    assert compiled(images, **labels_for(module, images)).shape == images.shape


def knows_gamma() -> bool:
    """Tell whether torch can trace what weights of mixup are drawn by."""
    try:
        torch._standard_gamma(torch.ones(1, device="meta"))
    except NotImplementedError:
        return False
    return True


@pytest.mark.skipif(torch.__version__ < TorchVersion("2.12"), reason="kornia takes a compilation for an export there")
@pytest.mark.parametrize("case", {case.module.card.family: case for case in REGISTERED}.values(), ids=str)
def test_one_export_serves_batches_of_any_size(case: Case) -> None:
    labels = labels_for(case.module, case.images(4))
    batch = {0: torch.export.Dim("batch", min=2, max=64)}
    dynamic = {"input": batch, **dict.fromkeys(labels, batch)}  # the first is called as in kornia
    exported = torch.export.export(case.make(), (case.images(4),), labels, dynamic_shapes=dynamic, strict=True).module()
    for count in (2, 7):
        images = case.images(count)
        negatives = exported(images, **labels_for(case.module, images))
        assert negatives.shape == images.shape
        assert not (negatives == images).flatten(1).all(dim=1).any()


@pytest.mark.slow
def test_compiled_by_inductor_equals_eager() -> None:
    try:
        assert_compiles(next(case for case in REGISTERED if case.name == "jigsaw"), backend="inductor")
    finally:
        torch.set_flush_denormal(False)  # what torch 2.5 has built sets it when it is loaded


def assert_compiles(case: Case, backend: str) -> None:
    torch._dynamo.reset()
    images, module = case.images(5), case.make()
    compiled = torch.compile(module, fullgraph=True, backend=backend)
    labels = {"labels": torch.arange(5) % 2} if module.needs_labels else {}
    torch.manual_seed(3)
    negatives = compiled(images, **labels)
    drawn = dict(module._params)
    assert_same_pixels(negatives, module(images, params=drawn))
    if backend == "aot_eager":  # inductor has a generator of its own
        torch.manual_seed(3)
        assert_same_pixels(negatives, module(images, **labels))
        assert all(torch.equal(module._params[name], value) for name, value in drawn.items())
    assert_same_pixels(compiled(images, params=drawn), negatives)


@pytest.mark.parametrize("case", [case for case in CASES if not isinstance(case.module, Mixture)], ids=str)
def test_vmap_of_the_kernel_equals_the_batch(case: Case) -> None:
    module, images = case.make(), case.images(4, dtype=torch.float64)
    params = draw(module, images, seed=0)
    pool = {"pool": images} if module.uses_partners else {}

    def transform(image: Tensor, own: Params) -> Tensor:
        return module.transform(image.unsqueeze(0), {name: value.unsqueeze(0) for name, value in own.items()} | pool)[0]

    assert_close(torch.func.vmap(transform)(images, params), module.transform(images, params))


# Containers


@on_images
def test_a_kornia_container_passes_everything_else_through(case: Case) -> None:
    if case.module.needs_labels:
        pytest.skip("kornia's containers cannot pass the labels that partners by class need")
    images = case.images(4)
    targets = {
        "mask": torch.rand(4, 1, *images.shape[-2:]),
        "bbox_xyxy": torch.tensor([[[1.0, 0.0, 4.0, 3.0]]]).repeat(4, 1, 1),
        "keypoints": torch.rand(4, 5, 2),
        "class": torch.arange(4),
    }
    sequence = K.AugmentationSequential(case.make(), data_keys=["input", *targets])
    negatives, *passed = sequence(images, *targets.values())
    assert not (negatives == images).flatten(1).all(dim=1).any()
    for (name, target), result in zip(targets.items(), passed, strict=True):
        assert torch.equal(result, target), name
    assert torch.equal(sequence(images, *targets.values(), params=sequence._params)[0], negatives)


@on_images
def test_kornia_containers_chain(case: Case) -> None:
    """Two of a kind behind each other, each with its own draw, between transforms of kornia and of torch."""
    if case.module.needs_labels:
        pytest.skip("kornia's containers cannot pass the labels that partners by class need")
    images = case.images(4)
    first, second = case.make(), case.make()
    chain = K.ImageSequential(first, K.RandomInvert(p=1.0), second, nn.Identity())
    torch.manual_seed(0)
    negatives = chain(images)
    expected = apply(second, 1 - apply(first, images, params=first._params), params=second._params)
    assert_close(negatives, expected)
    assert_close(chain(images, params=chain._params), negatives)
    assert_close(nn.Sequential(first, nn.Identity())(images).shape, images.shape)
    copies = images[:1].repeat(4, 1, 1, 1)
    shared = K.ImageSequential(case.make(), case.make(), same_on_batch=True)(copies)
    assert_same_pixels(shared, shared[:1].expand_as(shared))


class NegativesOfAll(Dataset[Tensor]):
    """Item ``i`` is a batch of negatives, all made in the worker."""

    def __init__(self) -> None:
        self.modules = [case.make() for case in CASES]
        self.images = [case.images(3) for case in CASES]

    def __len__(self) -> int:
        return len(self.modules)

    def __getitem__(self, index: int) -> Tensor:
        return apply(self.modules[index], self.images[index], seed=index)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_make_the_same_negatives() -> None:
    dataset = NegativesOfAll()
    for index, negatives in enumerate(DataLoader(dataset, batch_size=None, num_workers=2)):
        assert torch.equal(negatives, dataset[index]), CASES[index]


# Devices


@each_case
@given(seed=st.integers(0, 2**31), dtype=st.sampled_from([torch.float32, torch.uint8]))
@pytest.mark.cuda
def test_cuda_equals_the_cpu_without_waiting(case: Case, seed: int, dtype: torch.dtype) -> None:
    module, images = case.make(), case.images(seed=seed, dtype=dtype)
    negatives = apply(module, images, seed=seed)
    on_gpu, pool = images.cuda(), pool_for(module, images.cuda())
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        apply(module, on_gpu)
        apply(module, on_gpu, pool=pool)
        apply(module, on_gpu[:0])
        on_gpu_negatives = apply(module, on_gpu, seed=seed)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert on_gpu_negatives.device == on_gpu.device
    assert_same_pixels(on_gpu_negatives.cpu(), negatives)


@each_case
@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda check: check.__name__)
@given(spec=specs())
@pytest.mark.cuda
def test_guarantee_on_cuda(case: Case, holds: Property, spec: dict[str, Any]) -> None:
    holds(case.make().cuda(), images_of(case, spec).cuda(), spec["seed"])


@each_case
@pytest.mark.cuda
def test_a_kernel_is_captured_in_a_cuda_graph(case: Case) -> None:
    module, images = case.make(), case.images().cuda()
    params = {name: value.cuda() for name, value in draw(module, images).items()}
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):  # warm-up, as graphs ask for
        module.transform(images, params)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        negatives = module.transform(images, params)
    other = case.images(seed=1).cuda()
    expected = module.transform(other, params)
    images.copy_(other)
    graph.replay()
    assert_same_pixels(negatives, expected)
