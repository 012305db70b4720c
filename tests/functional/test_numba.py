"""Numba's kernels: on several threads, in forked processes, and where they cannot be had."""

import math
import sys
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nda_augment import functional
from nda_augment.functional import _kernels
from tests.cases import apply, distinct
from tests.functional import test_fused

numba = pytest.importorskip("numba")
_numba = pytest.importorskip("nda_augment.functional._numba")
_openmp = pytest.importorskip("nda_augment.functional._openmp")
CPU = torch.device("cpu")


@pytest.mark.skipif(_openmp._address_of_run() is None, reason="torch has another OpenMP than GNU's")
@pytest.mark.parametrize("module", test_fused.TRANSFORMS, ids=str)
def test_several_threads_do_the_same(module, monkeypatch) -> None:
    images = torch.rand(3, 3, 12, 12) * 255
    alone = apply(module, images, seed=3)
    monkeypatch.setattr(_openmp, "_LEAST", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    shared = apply(module, images, seed=3)
    torch.set_num_threads(before)
    assert torch.equal(shared, alone)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("module", test_fused.TRANSFORMS, ids=str)
def test_past_the_caches_it_is_the_same(module, layout, dtype, monkeypatch) -> None:
    """Of lines that are no whole lines of a cache, but images that are."""
    images, pool = distinct((10, 3, 12, 16), dtype=dtype).contiguous(memory_format=layout).split(5)
    assert not _numba._streams(images)
    pool = pool if module.uses_partners else None
    kept = apply(module, images, seed=3, pool=pool)
    monkeypatch.setattr(_numba, "_MOST_KEPT", 0)
    assert _numba._streams(images)
    assert torch.equal(apply(module, images, seed=3, pool=pool), kept)


@pytest.mark.parametrize(("start", "shape"), [(1, (2, 1, 8, 8, 1)), (0, (2, 1, 8, 9, 1)), (0, (2, 1, 8, 8, 1))])
def test_images_that_begin_within_a_line_of_a_cache_stay_in_it(start: int, shape, monkeypatch) -> None:
    monkeypatch.setattr(_numba, "_MOST_KEPT", 144)
    planes = torch.zeros(200, dtype=torch.uint8)[start : start + math.prod(shape)].view(shape)
    assert not _numba._streams(planes)
    monkeypatch.setattr(_numba, "_MOST_KEPT", 128)
    assert _numba._streams(planes) == (start == 0 and shape[3] == 8)


def test_strides_of_a_single_image_say_nothing_of_its_size(monkeypatch) -> None:
    monkeypatch.setattr(_numba, "_MOST_KEPT", 0)
    planes = torch.zeros(100, dtype=torch.uint8).as_strided((1, 1, 2, 12, 3), (64, 72, 36, 3, 1))
    assert planes.is_contiguous()
    assert not _numba._streams(planes)


@given(lengths=st.lists(st.integers(0, 200), min_size=1, max_size=12), streams=st.booleans())
def test_bytes_are_put_one_behind_another(lengths: list[int], streams: bool) -> None:
    lengths.append(-sum(lengths) % 64)
    source = np.arange(sum(lengths) + 300).astype(np.uint8)
    starts = [(7 * length) % 100 for length in lengths]
    target = torch.zeros(sum(lengths), dtype=torch.uint8).numpy()
    _append_all(target, source, np.array(starts), np.array(lengths), np.zeros(64, np.uint8), streams)
    expected = [source[start : start + length] for start, length in zip(starts, lengths, strict=True)]
    assert target.tolist() == np.concatenate(expected).tolist()


@numba.njit
def _append_all(target, source, starts, lengths, line, streams):
    to = _numba._at(target)
    for place in range(len(starts)):
        _numba._append(to, _numba._at(source) + starts[place], lengths[place], _numba._at(line) if streams else 0)
        to += lengths[place]
    _numba._settle(line)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("side", [8, 20])
def test_turns_of_whole_blocks_and_of_what_is_left(side: int, layout: torch.memory_format) -> None:
    images = torch.arange(4 * 3 * side * side).view(4, 3, side, side).contiguous(memory_format=layout)
    turned = functional.rotate90(images, torch.arange(4))
    for turns in range(4):
        assert torch.equal(turned[turns], images[turns].rot90(turns, (-2, -1)))


@pytest.mark.parametrize("number", [1, 2, 3, 64, 1000])
def test_places_of_keys_in_order(number: int) -> None:
    keys = torch.rand(7, number)
    assert torch.equal(_numba.order(keys), keys.argsort(dim=1))
    alike = (keys * number / 3).floor()
    assert torch.equal(_numba.order(alike), alike.argsort(dim=1, stable=True))


def test_what_numba_does_not_know_is_left_to_torch() -> None:
    images, other = torch.randint(256, (2, 1, 4, 4), dtype=torch.uint8), torch.tensor([1, 0])
    mixed = functional.mixup(images, other, torch.tensor([0.25, 0.5], dtype=torch.float16))
    assert torch.equal(mixed, functional.mixup(images, other, torch.tensor([0.25, 0.5])))
    assert _kernels.fused("mix_", images.half(), images) is None
    assert _kernels.fused("mix_", images.to(torch.complex64)) is None
    assert _kernels.fused("mix_", images, images.to("meta")) is None
    assert _kernels.fused("mix_", images[:0]) is None


@pytest.mark.parametrize("feather", [0.0, 0.5])
def test_weights_in_double_precision_keep_it(feather: float) -> None:
    images, weights = (
        torch.tensor([0.0, 1.0], dtype=torch.float64).view(2, 1, 1, 1),
        torch.full((2,), 0.1).double() + 1e-9,
    )
    box, stay = torch.tensor([[0, 0, 1, 1]]).expand(2, 4), torch.zeros(2, 2, dtype=torch.long)
    pasted = functional.cut_paste_foreign(images, torch.tensor([1, 0]), box, stay, weights, feather)
    assert pasted[0].item() == pytest.approx(weights[0].item(), rel=1e-15)


def test_without_numba_torch_does_it(monkeypatch) -> None:
    found = partial(_kernels._kernels_on.__wrapped__, CPU)
    assert found(fake=False) is _numba
    assert found(fake=True) is None, "no array has the values of a fake"
    with monkeypatch.context() as patched:
        patched.setattr(numba.config, "DISABLE_JIT", True)
        assert found(fake=False) is None
    monkeypatch.setattr(_numba, "paste_", lambda *arguments: 1 / 0)
    with pytest.warns(UserWarning, match="no fused kernel could be built .* on cpu, .* take longer: division by zero"):
        assert found(fake=False) is None
    monkeypatch.delattr(functional, "_numba")
    monkeypatch.setitem(sys.modules, _numba.__name__, None)
    assert found(fake=False) is None


@pytest.mark.parametrize("power", [0.0, 1.0, -3.0, 0.49999, 0.5, -0.5, 7.3, -100.7, 126.9])
def test_powers_of_two(power: float) -> None:
    assert _numba._exp2(np.float32(power)) == pytest.approx(2.0 ** float(np.float32(power)), rel=3e-7)


def test_powers_that_a_float_has_not() -> None:
    assert _numba._exp2(np.float32(1000)) == np.inf
    assert 0 <= _numba._exp2(np.float32(-1000)) < 1e-37


@pytest.mark.parametrize("angle", [0.0, 0.1, -0.7, math.pi / 4, math.pi / 2, 2.0, -3.0, 4.0, 5.5, -6.3, 100.0, -1000.0])
def test_sines_and_cosines(angle: float) -> None:
    sin, cos = _numba._sin_and_cos(np.float32(angle))
    assert sin == pytest.approx(math.sin(np.float32(angle)), abs=2e-7)
    assert cos == pytest.approx(math.cos(np.float32(angle)), abs=2e-7)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e30])
def test_places_that_are_none_stay_in_the_image(value: float) -> None:
    images, nodes = torch.rand(2, 3, 16, 16) + 1, functional.gaussian_field_nodes(0.5)
    warped = functional.field_warp(images, torch.full((2, 6, nodes, nodes), value), 0.5)
    assert ((warped >= 1) & (warped <= 2)).all()
