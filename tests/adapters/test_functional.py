from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nda_augment as nda
from nda_augment.adapters import functional
from nda_augment.adapters.functional import NDA
from nda_augment.registry import NEGATIVES
from tests.adapters.pictures import SIZE, distinct

WORDS = [negative.word for negative in NEGATIVES if not negative.needs_clips]


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("word", WORDS)
def test_it_is_the_policy_of_the_core(word: str) -> None:
    images = distinct(4, 3, *SIZE)
    assert torch.equal(NDA(images, word, generator=generator()), nda.from_policy(word)(images, generator=generator()))


@given(words=st.lists(st.sampled_from(["jigsaw", "stitch", "cutmix", "cutout:3"]), min_size=1), seed=st.integers(0, 99))
def test_any_policy_any_seed(words: list[str], seed: int) -> None:
    policy, images = ",".join(words), distinct(6, 3, 12, 24, seed=seed)
    kept = images.clone()
    negatives = NDA(images, policy=policy, generator=generator(seed))
    assert torch.equal(negatives, nda.from_policy(policy)(images, generator=generator(seed)))
    assert (negatives != images).flatten(1).any(1).all()
    assert torch.equal(images, kept)


def test_the_default_is_what_the_signature_says() -> None:
    images = distinct(8, 3, 16, 16)
    expected = nda.from_policy("jigsaw,stitch")(images, generator=generator())
    assert torch.equal(NDA(images, generator=generator()), expected)


def test_each_image_meets_one_member() -> None:
    images = torch.rand(40, 3, 12, 12)
    negatives = NDA(images, "flip,cutout(fill=-1)")
    flipped = (negatives == images.flip(-2)).flatten(1).all(1)
    cut = (negatives == -1).flatten(1).any(1)
    assert flipped.sum() == cut.sum() == 20
    assert not (flipped & cut).any()


def test_without_a_generator_the_global_one_is_used() -> None:
    images = distinct(4, 3, 12, 12)
    torch.manual_seed(1)
    first = NDA(images)
    assert not torch.equal(NDA(images), first)
    torch.manual_seed(1)
    assert torch.equal(NDA(images), first)


def test_with_a_generator_the_global_one_is_not_touched() -> None:
    before = torch.get_rng_state()
    NDA(distinct(4, 3, 12, 12), generator=generator())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8])
def test_channels_last(dtype: torch.dtype) -> None:
    images = distinct(4, 3, 12, 24, dtype=dtype)
    negatives = NDA(images.movedim(1, -1), channels_first=False, generator=generator())
    assert negatives.is_contiguous()
    assert torch.equal(negatives, NDA(images, generator=generator()).movedim(1, -1))


def test_a_policy_is_read_once() -> None:
    functional._cached.cache_clear()
    for _ in range(3):
        NDA(distinct(4, 3, 12, 12), policy="stitch")
    assert functional._cached.cache_info().misses == 1


def test_gradients_flow() -> None:
    images = distinct(4, 3, 12, 12).requires_grad_()
    NDA(images, "jigsaw").sum().backward()
    assert torch.equal(images.grad, torch.ones_like(images))


def test_labels_reach_policies_that_choose_by_class() -> None:
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 8, 8)
    negatives = NDA(images, "stitch(partner=same_class)", labels=torch.tensor([0, 0, 1, 1]))
    assert [sorted(negative.unique().tolist()) for negative in negatives] == [[0, 1], [0, 1], [2, 3], [2, 3]]


def test_threads_share_a_policy() -> None:
    images = [distinct(4, 3, 12, 12, seed=seed) for seed in range(16)]
    expected = [NDA(batch, generator=generator(seed)) for seed, batch in enumerate(images)]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda seed: NDA(images[seed], generator=generator(seed)), range(16)))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_bad_input_is_refused_by_name() -> None:
    images = distinct(4, 3, 12, 12)
    with pytest.raises(ValueError, match="at least one transform"):
        NDA(images, policy="")
    with pytest.raises(ValueError, match="did you mean 'stitch'"):
        NDA(images, policy="stich")
    with pytest.raises(ValueError, match="four dimensions"):
        NDA(images[0])
    with pytest.raises(ValueError, match="labels"):
        NDA(images, "stitch(partner=other_class)")
    with pytest.raises(ValueError, match="no use for labels"):
        NDA(images, "stitch", labels=torch.zeros(4, dtype=torch.long))
    with pytest.raises(TypeError, match="float"):
        NDA(images.long(), policy="cutout")
