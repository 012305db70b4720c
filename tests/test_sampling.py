"""The draws: their guarantees hold for every draw, their distributions are those that are promised."""

import itertools
import math
import re

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from nda_augment import functional, sampling
from tests.cases import distinct, generator, on_meta

DRAWS = 100_000
# A right sampler fails a test of this level once in 10,000 seeds; the seeds are fixed.
LEVEL = 1e-4


def p_value(counts: Tensor, expected: Tensor | None = None) -> float:
    """Of a chi-square test; uniform by default."""
    return float(stats.chisquare(counts.numpy(), None if expected is None else expected.numpy()).pvalue)


def test_p_value_tells_a_biased_sampler() -> None:
    biased = torch.randint(0, 23 * 5 - 1, (DRAWS,), generator=generator(0)) // 5  # one option a fifth rarer
    assert p_value(torch.bincount(biased, minlength=23)) < LEVEL


class TestPermutations:
    def test_all_orders_of_twenty_are_equally_likely(self) -> None:
        # 64 random bits modulo 20! would give the ranks below 0.58 of all 8/7 of the others' chance: 0.58, not 0.55.
        first = sampling.permutations(20_000, 20, generator=generator(0))[:, 0]
        assert (first < 11).double().mean().item() == pytest.approx(0.55, abs=0.015)

    def test_no_jigsaw_of_a_coded_image_is_the_image_and_all_layouts_are_equally_frequent(self) -> None:
        image = distinct((1, 1, 2, 2))
        permutation = sampling.permutations(DRAWS, 4, generator=generator(1))
        negatives = functional.jigsaw(image.expand(DRAWS, -1, -1, -1).contiguous(), permutation)
        assert not (negatives == image).flatten(1).all(dim=1).any()
        layouts, counts = negatives.flatten(1).unique(dim=0, return_counts=True)
        assert len(layouts) == math.factorial(4) - 1
        assert p_value(counts) > LEVEL

    @pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 9, 19, 20, 21, 49])
    def test_are_valid_and_never_the_identity(self, n: int) -> None:
        permutation = sampling.permutations(20_000 if n < 20 else 2_000, n, generator=generator(n))
        identity = torch.arange(n)
        assert permutation.dtype == torch.int64
        assert (permutation.sort(dim=1).values == identity).all()
        assert not (permutation == identity).all(dim=1).any()

    @pytest.mark.parametrize("n", [2, 3, 4, 5])
    def test_every_other_order_is_equally_frequent(self, n: int) -> None:
        permutation = sampling.permutations(20_000, n, generator=generator(n))
        orders, counts = permutation.unique(dim=0, return_counts=True)
        assert set(map(tuple, orders.tolist())) == set(itertools.permutations(range(n))) - {tuple(range(n))}
        if n > 2:
            assert p_value(counts) > LEVEL

    @pytest.mark.parametrize("n", [6, 9, 16, 20, 21, 49])
    def test_each_element_is_everywhere_equally_often(self, n: int) -> None:
        permutation = sampling.permutations(20_000, n, generator=generator(n))
        counts = torch.zeros(n, n).scatter_add_(1, permutation.T, torch.ones(n, 20_000))
        # Rows and columns of the counts add up to the number of draws: (n-1)^2 of the n^2 cells are free.
        # Leaving the identity out moves a count by 1 part in n! only, which no such sample sees.
        statistic = ((counts - 20_000 / n) ** 2 / (20_000 / n)).sum() * (n - 1) / n
        assert stats.chi2.sf(float(statistic), (n - 1) ** 2) > LEVEL

    def test_a_drawn_identity_is_replaced_beyond_twenty(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sampling, "uniform", lambda *shape, **_: torch.arange(shape[1] * 1.0).expand(shape))
        assert sampling.permutations(2, 25)[:, :4].tolist() == [[1, 0, 2, 3]] * 2

    def test_only_the_identity_is_replaced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        scores = torch.stack([torch.arange(25.0), -torch.arange(25.0)])
        monkeypatch.setattr(sampling, "uniform", lambda *shape, **_: scores)
        assert sampling.permutations(2, 25).tolist() == [[1, 0, *range(2, 25)], [*reversed(range(25))]]

    @pytest.mark.parametrize("n", [0, 1])
    def test_one_element_has_no_other_order(self, n: int) -> None:
        with pytest.raises(ValueError, match=f"at least 2 elements, got {n}"):
            sampling.permutations(4, n)


class TestPartners:
    @pytest.mark.parametrize("same_on_batch", [False, True])
    def test_nobody_gets_itself_at_any_batch_size(self, same_on_batch: bool) -> None:
        g = generator(0)
        for batch in range(2, 258):
            partners = sampling.partners(batch, same_on_batch=same_on_batch, generator=g)
            everyone = torch.arange(batch)
            assert not (partners == everyone).any(), batch
            assert torch.equal(partners.sort().values, everyone), batch

    @pytest.mark.parametrize("batch", [2, 3, 5])
    @pytest.mark.parametrize("same_on_batch", [False, True])
    def test_everybody_else_is_equally_likely(self, batch: int, same_on_batch: bool) -> None:
        g = generator(batch)
        drawn = torch.stack([sampling.partners(batch, same_on_batch=same_on_batch, generator=g) for _ in range(4_000)])
        for image in range(batch):
            counts = torch.bincount(drawn[:, image], minlength=batch)
            assert counts[image] == 0
            others = counts[torch.arange(batch) != image]
            assert batch == 2 or p_value(others) > LEVEL

    def test_are_drawn_from_the_whole_pool(self) -> None:
        counts = torch.bincount(sampling.partners(DRAWS, 7, generator=generator(0)), minlength=7)
        assert len(counts) == 7
        assert p_value(counts) > LEVEL

    def test_a_pool_of_one_serves_all(self) -> None:
        assert sampling.partners(3, 1).tolist() == [0, 0, 0]

    def test_one_draw_from_the_pool_if_told(self) -> None:
        g = generator(0)
        drawn = torch.stack([sampling.partners(4, 5, same_on_batch=True, generator=g) for _ in range(100)])
        assert (drawn == drawn[:, :1]).all()
        assert drawn.unique().numel() == 5

    def test_one_shift_of_the_batch_if_told(self) -> None:
        shift = (sampling.partners(6, same_on_batch=True) - torch.arange(6)) % 6
        assert shift.unique().numel() == 1

    @pytest.mark.parametrize("same_on_batch", [False, True])
    def test_an_image_alone_needs_a_pool(self, same_on_batch: bool) -> None:
        with pytest.raises(ValueError, match=r"^a batch of one image has no partner.* a larger batch.*drop_last=True$"):
            sampling.partners(1, same_on_batch=same_on_batch)

    def test_an_empty_pool_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"^the pool is empty.*image$"):
            sampling.partners(3, 0)

    @pytest.mark.parametrize("same_on_batch", [False, True])
    def test_nobody_needs_nobody(self, same_on_batch: bool) -> None:
        assert sampling.partners(0, same_on_batch=same_on_batch).shape == (0,)
        assert sampling.partners(0, 3, same_on_batch=same_on_batch).shape == (0,)

    def test_a_derangement_is_one_circle(self) -> None:
        nxt, seen, here = sampling.derangement(9).tolist(), [], 0
        while here not in seen:
            seen.append(here)
            here = nxt[here]
        assert len(seen) == 9


class TestOtherImages:
    @pytest.mark.parametrize("same_on_batch", [False, True])
    def test_no_part_comes_from_the_image_itself(self, same_on_batch: bool) -> None:
        g = generator(0)
        for batch in (2, 3, 7, 64, 257):
            sources = sampling.other_images(batch, 16, same_on_batch=same_on_batch, generator=g)
            assert sources.shape == (batch, 16)
            assert not (sources == torch.arange(batch).unsqueeze(1)).any()
            assert sources.min() >= 0
            assert sources.max() < batch
            shifts = (sources - torch.arange(batch).unsqueeze(1)) % batch
            assert bool((shifts == shifts[:1]).all()) == (same_on_batch or batch == 2)

    def test_every_other_image_is_equally_likely(self) -> None:
        sources = sampling.other_images(5, DRAWS // 5, generator=generator(0))
        for image in range(5):
            counts = torch.bincount(sources[image], minlength=5)
            assert counts[image] == 0
            assert p_value(counts[torch.arange(5) != image]) > LEVEL

    def test_come_from_the_whole_pool(self) -> None:
        counts = torch.bincount(sampling.other_images(10, DRAWS // 10, 7, generator=generator(0)).flatten())
        assert len(counts) == 7
        assert p_value(counts) > LEVEL
        shared = sampling.other_images(4, 50, 7, same_on_batch=True, generator=generator(0))
        assert (shared == shared[:1]).all()
        assert shared.unique().numel() == 7

    def test_an_image_alone_needs_a_pool(self) -> None:
        with pytest.raises(ValueError, match=r"^a batch of one image has no partner.* a larger batch.*drop_last=True$"):
            sampling.other_images(1, 4)
        with pytest.raises(ValueError, match="pool is empty"):
            sampling.other_images(3, 4, 0)
        assert sampling.other_images(0, 4).shape == (0, 4)


class TestClassPartners:
    LABELS = torch.tensor([0, 0, 1, 1, 1, 2, 2])

    @pytest.mark.parametrize("same_class", [False, True])
    @pytest.mark.parametrize("with_pool", [False, True])
    def test_are_uniform_over_the_candidates(self, same_class: bool, with_pool: bool) -> None:
        pool = torch.tensor([2, 1, 0, 0]) if with_pool else None
        g = generator(0)
        drawn = torch.stack(
            [sampling.class_partners(self.LABELS, pool, same_class=same_class, generator=g) for _ in range(3_000)]
        )
        others = self.LABELS if pool is None else pool
        for image, label in enumerate(self.LABELS.tolist()):
            candidate = (others == label) == same_class
            if pool is None:
                candidate[image] = False
            counts = torch.bincount(drawn[:, image], minlength=len(others))
            assert counts[~candidate].sum() == 0
            assert candidate.sum() == 1 or p_value(counts[candidate]) > LEVEL

    def test_an_image_without_candidate_is_named_by_its_class(self) -> None:
        with pytest.raises(
            ValueError, match=r"no image of its own class to borrow from for classes \[5\]; pass a pool"
        ):
            sampling.class_partners(torch.tensor([4, 4, 5]), same_class=True)
        with pytest.raises(ValueError, match=r"no image of another class to borrow from for classes \[4\]"):
            sampling.class_partners(torch.tensor([4, 4]), same_class=False)
        with pytest.raises(ValueError, match=r"classes \[3, 9\]"):
            sampling.class_partners(torch.tensor([9, 3, 1]), torch.tensor([1, 1]), same_class=True)
        assert sampling.class_partners(torch.zeros(0, dtype=torch.long), same_class=True).shape == (0,)


class TestLengths:
    @pytest.mark.parametrize(
        ("length", "fractions", "expected"),
        [
            (32, (1 / 3, 1 / 2), (11, 16)),
            (33, (1 / 3, 1 / 3), (11, 11)),
            (224, (16 / 224, 72 / 224), (16, 72)),
            (5, (0.01, 1.0), (1, 5)),
        ],
    )
    def test_are_uniform_over_the_whole_numbers_in_range(self, length: int, fractions, expected) -> None:
        drawn = sampling.lengths(DRAWS, length, fractions, generator=generator(0))
        assert (drawn.min(), drawn.max()) == expected
        assert expected[0] == expected[1] or p_value(torch.bincount(drawn - expected[0])) > LEVEL

    def test_a_range_without_a_whole_number_is_named(self) -> None:
        with pytest.raises(
            ValueError, match=r"\(0\.4, 0\.45\) of an image side of 4 px.* use larger images or a wider range$"
        ):
            sampling.lengths(2, 4, (0.4, 0.45))


class TestAreaBoxes:
    @pytest.mark.parametrize("size", [(256, 256), (200, 320)], ids=str)
    def test_have_their_area_and_aspect_and_reach_every_border(self, size: tuple[int, int]) -> None:
        boxes = sampling.area_boxes(DRAWS, size, area=(0.02, 0.15), aspect=(0.3, 3.3), generator=generator(0))
        x0, y0, x1, y1 = boxes.unbind(dim=1)
        height, width = (y1 - y0).double(), (x1 - x0).double()
        assert (x0.min(), y0.min(), x1.max(), y1.max()) == (0, 0, size[1], size[0])
        # Sides are rounded down: by half a pixel on average.
        area = (height + 0.5) * (width + 0.5) / (size[0] * size[1])
        assert stats.kstest(area.numpy(), "uniform", args=(0.02, 0.13)).statistic < 0.02
        log_ratio = ((height + 0.5) / (width + 0.5)).log()
        low, high = math.log(0.3), math.log(3.3)
        assert stats.kstest(log_ratio.numpy(), "uniform", args=(low, high - low)).statistic < 0.02

    @pytest.mark.parametrize(
        ("size", "sides"),
        [((8, 4), (7, 4)), ((4, 8), (4, 7)), ((6, 6), (6, 5)), ((2, 1), (1, 1)), ((1, 2), (1, 1)), ((1, 1), (1, 1))],
    )
    def test_one_that_would_fill_the_image_is_a_line_shorter(self, size: tuple[int, int], sides) -> None:
        # A little too large, so that rounding leaves the whole image.
        area, aspect = 1.001, size[0] / size[1]
        boxes = sampling.area_boxes(5, size, area=(area, area), aspect=(aspect, aspect), generator=generator(0))
        x0, y0, x1, y1 = boxes.unbind(dim=1)
        assert torch.stack([y1 - y0, x1 - x0], dim=1).tolist() == [list(sides)] * 5

    def test_one_that_spans_the_image_one_way_keeps_its_other_side(self) -> None:
        for size, area, aspect, sides in (
            ((8, 4), 0.51, 1.0, (4, 4)),
            ((4, 8), 0.51, 1.0, (4, 4)),
            ((8, 4), 0.27, 8.0, (8, 1)),
            ((4, 8), 0.27, 0.12, (1, 8)),
            ((2, 9), 0.51, 0.7, (2, 3)),
        ):
            boxes = sampling.area_boxes(5, size, area=(area, area), aspect=(aspect, aspect), generator=generator(0))
            x0, y0, x1, y1 = boxes.unbind(dim=1)
            assert torch.stack([y1 - y0, x1 - x0], dim=1).tolist() == [list(sides)] * 5

    def test_the_smallest_is_a_pixel(self) -> None:
        boxes = sampling.area_boxes(5, (8, 8), area=(0.001, 0.001), aspect=(1.0, 1.0), generator=generator(0))
        assert (boxes[:, 2:] - boxes[:, :2]).tolist() == [[1, 1]] * 5

    @given(
        size=st.tuples(st.integers(1, 40), st.integers(1, 40)).filter(lambda size: size[0] * size[1] > 1),
        area=st.tuples(st.floats(0.001, 0.5), st.floats(0.001, 0.5)).map(sorted),
        aspect=st.tuples(st.floats(0.05, 20), st.floats(0.05, 20)).map(sorted),
        seed=st.integers(0, 2**31),
    )
    @example(size=(1, 4), area=(0.5, 0.5), aspect=(0.05, 0.05), seed=0)  # so flat that it could fill the image
    def test_leave_another_place_in_the_image(self, size, area, aspect, seed: int) -> None:
        boxes = sampling.area_boxes(64, size, area=tuple(area), aspect=tuple(aspect), generator=generator(seed))
        shifts = sampling.other_places(boxes, size, generator=generator(seed))
        x0, y0, x1, y1 = boxes.unbind(dim=1)
        for low, high, shift, length in ((y0, y1, shifts[:, 1], size[0]), (x0, x1, shifts[:, 0], size[1])):
            assert (high > low).all()
            for side in (low, high, low - shift, high - shift):
                assert (side >= 0).all()
                assert (side <= length).all()
        assert (shifts != 0).any(dim=1).all()


def test_other_places_are_uniform_over_all_but_its_own() -> None:
    box = torch.tensor([[1, 2, 3, 5]])
    shifts = sampling.other_places(box.expand(DRAWS, 4), (6, 5), generator=generator(0))
    places, counts = (box[:, :2] - shifts).unique(dim=0, return_counts=True)
    assert set(map(tuple, places.tolist())) == {(x, y) for x in range(4) for y in range(4)} - {(1, 2)}
    assert p_value(counts) > LEVEL


def test_windows_are_uniform_over_all_places_but_the_corner() -> None:
    corners = sampling.window_corners(torch.tensor([3, 5]), (6, 7), 100, DRAWS // 100, generator=generator(0))
    for side, own in zip((3, 5), corners, strict=True):
        places, counts = own.flatten(0, 1).unique(dim=0, return_counts=True)
        expected = {(x, y) for x in range(8 - side) for y in range(7 - side)} - {(0, 0)}
        assert set(map(tuple, places.tolist())) == expected
        assert p_value(counts) > LEVEL


def test_places_come_from_the_generator() -> None:
    side, box = torch.full((50,), 3), torch.tensor([[1, 2, 3, 5]]).expand(50, 4)
    for draw in (
        lambda source: sampling.window_corners(side, (40, 40), 2, 3, generator=source),
        lambda source: sampling.other_places(box, (40, 40), generator=source),
    ):
        before = torch.get_rng_state()
        first = draw(generator(0))
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(draw(generator(0)), first)
        assert not torch.equal(draw(generator(1)), first)
    windows = sampling.window_corners(side, (40, 40), 2, 3, generator=generator(0))
    assert windows.shape == (50, 2, 3, 2)
    assert (windows != windows[:1]).any()


class TestBoxes:
    SIDE = (1 / 3, 1 / 2)

    @pytest.mark.parametrize(
        ("size", "heights", "widths"),
        [
            ((32, 32), (11, 16), (11, 16)),
            ((33, 33), (11, 16), (11, 16)),
            ((64, 48), (22, 32), (16, 24)),
            ((224, 224), (75, 112), (75, 112)),
        ],
    )
    def test_have_their_sides_uniform_and_reach_every_border(
        self, size: tuple[int, int], heights: tuple[int, int], widths: tuple[int, int]
    ) -> None:
        boxes = sampling.boxes(DRAWS, size, side=self.SIDE, generator=generator(0))
        assert boxes.dtype == torch.int64
        x0, y0, x1, y1 = boxes.unbind(dim=1)
        for low, high, extent, length in ((y0, y1, heights, size[0]), (x0, x1, widths, size[1])):
            assert low.min() == 0
            assert high.max() == length
            side = high - low
            assert (side.min(), side.max()) == extent
            assert p_value(torch.bincount(side - extent[0])) > LEVEL
            # Given its side, a box is anywhere with equal probability.
            places = low[side == extent[0]]
            assert p_value(torch.bincount(places, minlength=length + 1 - extent[0])) > LEVEL

    def test_height_and_width_are_drawn_apart(self) -> None:
        x0, y0, x1, y1 = sampling.boxes(DRAWS, (32, 32), side=self.SIDE, generator=generator(0)).unbind(dim=1)
        pairs = torch.stack([y1 - y0, x1 - x0], dim=1).unique(dim=0, return_counts=True)[1]
        assert len(pairs) == 36
        assert p_value(pairs) > LEVEL
        assert abs(torch.corrcoef(torch.stack([x0, y0]).float())[0, 1]) < 0.02

    @given(
        height=st.integers(1, 300),
        width=st.integers(1, 300),
        side=st.tuples(st.floats(0.01, 1.0), st.floats(0.01, 1.0)),
        seed=st.integers(0, 2**31),
    )
    def test_are_inside_and_never_empty(self, height: int, width: int, side: tuple[float, float], seed: int) -> None:
        side = (min(side), max(side))
        for draw in (sampling.boxes, sampling.squares):
            lengths = (height, width) if draw is sampling.boxes else (min(height, width),) * 2
            narrow = [n for n in lengths if math.floor(side[1] * n + 1e-6) < max(math.ceil(side[0] * n - 1e-6), 1)]
            if side[0] == side[1]:  # a single fraction is rounded
                narrow = [n for n in lengths if n == 1 and side[1] < 1]
            if narrow:
                with pytest.raises(ValueError, match=re.escape(f"{side} of an image side of {narrow[0]} px")):
                    draw(64, (height, width), side=side)
                continue
            x0, y0, x1, y1 = draw(64, (height, width), side=side, generator=generator(seed)).unbind(dim=1)
            for low, high, length, reference in ((y0, y1, height, lengths[0]), (x0, x1, width, lengths[1])):
                assert (low >= 0).all()
                assert (high <= length).all()
                assert (high > low).all()
                slack = 1.0 if side[0] == side[1] else 1e-5 * reference
                assert ((high - low) >= side[0] * reference - slack).all()
                assert ((high - low) <= side[1] * reference + slack).all()

    @pytest.mark.parametrize("length", [3, 6, 33, 99, 333])
    def test_a_third_is_a_third_whatever_the_last_bit_says(self, length: int) -> None:
        x0, _, x1, _ = sampling.boxes(16, (length, length), side=(1 / 3, 1 / 3)).unbind(dim=1)
        assert (x1 - x0).unique().tolist() == [length // 3]

    @pytest.mark.parametrize("size", [(32, 32), (48, 64)])
    def test_squares_are_square_and_reach_every_border(self, size: tuple[int, int]) -> None:
        boxes = sampling.squares(DRAWS, size, side=(10 / 32, 19 / 32), generator=generator(0))
        x0, y0, x1, y1 = boxes.unbind(dim=1)
        assert torch.equal(x1 - x0, y1 - y0)
        assert p_value(torch.bincount(x1 - x0)[int(10 / 32 * min(size)) :]) > LEVEL
        assert (x0.min(), y0.min(), x1.max(), y1.max()) == (0, 0, size[1], size[0])

    @pytest.mark.parametrize("size", [(1, 1), (2, 3), (32, 32), (64, 48)])
    def test_clipped_boxes_are_inside_and_never_empty(self, size: tuple[int, int]) -> None:
        x0, y0, x1, y1 = sampling.clipped_boxes(DRAWS, size, generator=generator(0)).unbind(dim=1)
        for low, high, length in ((y0, y1, size[0]), (x0, x1, size[1])):
            assert (low.min(), high.max()) == (0, length)
            assert (high > low).all()
            assert low.dtype == high.dtype == torch.int64
            # The smallest are one pixel wide, in the middle of the image as well.
            assert length < 32 or (high - low)[high < length].min() == 1

    def test_clipped_boxes_have_uniform_area_before_they_are_clipped(self) -> None:
        x0, y0, x1, y1 = sampling.clipped_boxes(DRAWS, (1000, 1000), generator=generator(0)).unbind(dim=1)
        inside = (x0 > 0) & (y0 > 0) & (x1 < 1000) & (y1 < 1000)
        side = (x1 - x0)[inside] / 1000
        # Of all centres a share (1 - s)^2 keeps a box of side s inside; with s^2 uniform, the density is 12 s (1-s)^2.
        assert stats.kstest(side.numpy(), lambda s: 12 * (s**2 / 2 - 2 * s**3 / 3 + s**4 / 4)).statistic < 0.02


class TestSymmetricBeta:
    @pytest.mark.parametrize("alpha", [0.2, 1.0, 2.0, 25.0])
    def test_has_the_moments_of_beta(self, alpha: float) -> None:
        weights = sampling.symmetric_beta(DRAWS, alpha, generator=generator(0)).double()
        variance = 1 / (4 * (2 * alpha + 1))
        assert weights.mean().item() == pytest.approx(0.5, abs=4 * math.sqrt(variance / DRAWS))
        assert weights.var().item() == pytest.approx(variance, rel=0.03)

    @pytest.mark.parametrize("alpha", [1.0, 25.0])
    def test_has_the_distribution_of_beta(self, alpha: float) -> None:
        weights = sampling.symmetric_beta(20_000, alpha, generator=generator(1))
        kept = weights[(weights > 1e-3) & (weights < 1 - 1e-3)]
        assert len(kept) > 0.99 * len(weights)
        assert stats.kstest(kept.numpy(), "beta", args=(alpha, alpha)).pvalue > LEVEL

    def test_keeps_both_images(self) -> None:
        weights = sampling.symmetric_beta(DRAWS, 0.01, generator=generator(0))
        assert weights.isfinite().all()
        assert weights.min() >= 1e-3
        assert weights.max() <= 1 - 1e-3


class TestStratifiedChoice:
    @given(
        weights=st.lists(st.floats(0.05, 1.0), min_size=1, max_size=6),
        batch=st.integers(0, 70),
        seed=st.integers(0, 2**31),
    )
    def test_counts_are_within_one_of_their_share(self, weights: list[float], batch: int, seed: int) -> None:
        probabilities = tuple(weight / sum(weights) for weight in weights)
        choice = sampling.stratified_choice(batch, probabilities, generator=generator(seed))
        counts = torch.bincount(choice, minlength=len(weights))
        assert len(counts) == len(weights)
        for count, probability in zip(counts.tolist(), probabilities, strict=True):
            # Borders are rounded to float32: an image that lies on one may fall to either side.
            assert abs(count - batch * probability) < 1 + 1e-4

    def test_every_image_gets_each_option_with_its_probability(self) -> None:
        probabilities = (0.05, 0.55, 0.4)
        g = generator(0)
        drawn = torch.stack([sampling.stratified_choice(7, probabilities, generator=g) for _ in range(10_000)])
        alone = torch.cat([sampling.stratified_choice(1, probabilities, generator=g) for _ in range(10_000)])
        for image in (*drawn.unbind(dim=1), alone):
            assert p_value(torch.bincount(image, minlength=3), 10_000 * torch.tensor(probabilities)) > LEVEL

    def test_images_are_chosen_apart(self) -> None:
        g = generator(0)
        drawn = torch.stack([sampling.stratified_choice(40, (0.5, 0.5), generator=g) for _ in range(4_000)]).float()
        correlation = torch.corrcoef(drawn.T).fill_diagonal_(0)
        # Equal counts make two images of 40 disagree by 1 part in 39.
        assert (correlation + 1 / 39).fill_diagonal_(0).abs().max() < 0.1

    def test_an_option_without_weight_is_never_taken(self) -> None:
        g = generator(0)
        for _ in range(300):
            assert set(sampling.stratified_choice(5, (0.5, 0.0, 0.5), generator=g).tolist()) == {0, 2}
            assert set(sampling.stratified_choice(5, (0.0, 1.0, 0.0), generator=g).tolist()) == {1}

    @pytest.mark.parametrize("batch", [1, 8, 1000])
    @pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (0.5, 0.5, 0.0), (0.7, 0.0, 0.3)], ids=str)
    @pytest.mark.parametrize("extreme", [0.0, 1 - 2**-24])
    def test_not_even_by_rounding(self, monkeypatch: pytest.MonkeyPatch, batch: int, weights, extreme: float) -> None:
        real = sampling.uniform
        monkeypatch.setattr(
            sampling,
            "uniform",
            lambda *shape, **source: torch.tensor([extreme]) if shape == (1,) else real(*shape, **source),
        )
        taken = set(sampling.stratified_choice(batch, weights).tolist())
        assert taken <= {option for option, weight in enumerate(weights) if weight > 0}


class TestIntegersAndUniform:
    def test_integers_below_a_bound_per_element(self) -> None:
        high = torch.arange(1, 6).repeat(DRAWS // 5)
        drawn = sampling.integers(0, high, DRAWS, generator=generator(0))
        for bound in range(1, 6):
            counts = torch.bincount(drawn[high == bound], minlength=bound)
            assert len(counts) == bound
            assert bound == 1 or p_value(counts) > LEVEL

    def test_the_bound_itself_is_never_drawn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        below_one = torch.nextafter(torch.tensor(1.0), torch.tensor(0.0))
        monkeypatch.setattr(sampling, "uniform", lambda *shape, **_: below_one.expand(shape))
        high = torch.tensor([1, 3, 2**24, 2**25 + 3])
        assert (sampling.integers(0, high, 4) < high).all()

    def test_uniform_covers_its_range(self) -> None:
        drawn = sampling.uniform(DRAWS, low=-3.0, high=2.0, generator=generator(0))
        assert drawn.dtype == torch.float32
        assert stats.kstest(drawn.numpy(), "uniform", args=(-3.0, 5.0)).pvalue > LEVEL

    def test_normal_is_normal(self) -> None:
        assert stats.kstest(sampling.normal(DRAWS, generator=generator(0)).numpy(), "norm").pvalue > LEVEL

    @pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
    def test_bernoulli_lands_as_often_as_told(self, p: float) -> None:
        landed = sampling.bernoulli(DRAWS, p, generator=generator(0))
        assert landed.dtype == torch.bool
        assert landed.float().mean().item() == pytest.approx(p, abs=0.006)


SAMPLERS = {
    "uniform": lambda **source: sampling.uniform(8, **source),
    "uniform-range": lambda **source: sampling.uniform(8, low=1.0, high=3.0, **source),
    "normal": lambda **source: sampling.normal(8, **source),
    "integers": lambda **source: sampling.integers(0, 1000, 8, **source),
    "integers-bounds": lambda **source: sampling.integers(0, torch.full((8,), 1000), 8, **source),
    "bernoulli": lambda **source: sampling.bernoulli(64, 0.5, **source),
    "permutations": lambda **source: sampling.permutations(8, 4, **source),
    "permutations-many": lambda **source: sampling.permutations(8, 30, **source),
    "derangement": lambda **source: sampling.derangement(16, **source),
    "partners": lambda **source: sampling.partners(16, **source),
    "partners-pool": lambda **source: sampling.partners(16, 40, **source),
    "partners-shift": lambda **source: sampling.partners(1000, same_on_batch=True, **source),
    "other_images": lambda **source: sampling.other_images(8, 8, **source),
    "other_images-pool": lambda **source: sampling.other_images(8, 8, 9, **source),
    "class_partners": lambda **source: sampling.class_partners(torch.arange(64) % 2, same_class=True, **source),
    "class_partners-none": lambda **source: torch.cat(
        [
            sampling.class_partners(torch.zeros(0, dtype=torch.long), same_class=True, **source),
            sampling.class_partners(torch.arange(64) % 2, torch.arange(64) % 3, same_class=False, **source),
        ]
    ),
    "lengths": lambda **source: sampling.lengths(8, 1000, (0.1, 0.9), **source),
    "area_boxes": lambda **source: sampling.area_boxes(8, (32, 32), area=(0.1, 0.4), aspect=(0.5, 2.0), **source),
    "boxes": lambda **source: sampling.boxes(8, (32, 32), side=(0.2, 0.8), **source),
    "squares": lambda **source: sampling.squares(8, (32, 32), side=(0.2, 0.8), **source),
    "clipped_boxes": lambda **source: sampling.clipped_boxes(8, (32, 32), **source),
    "symmetric_beta": lambda **source: sampling.symmetric_beta(8, 2.0, **source),
    "stratified_choice": lambda **source: sampling.stratified_choice(64, (0.5, 0.5), **source),
}


@pytest.mark.parametrize("draw", SAMPLERS.values(), ids=SAMPLERS)
class TestSources:
    def test_draws_come_from_the_generator_alone(self, draw, device: torch.device) -> None:
        before = torch.get_rng_state()
        g = generator(3, device)
        first, second = draw(generator=g), draw(generator=g)
        assert torch.equal(torch.get_rng_state(), before)
        assert not torch.equal(first, second)
        assert torch.equal(draw(generator=generator(3, device)), first)

    def test_without_one_the_global_seed_repeats_them(self, draw) -> None:
        torch.manual_seed(3)
        first = draw()
        torch.manual_seed(3)
        assert torch.equal(draw(), first)

    def test_land_on_the_device(self, draw, device: torch.device) -> None:
        assert draw(device=device).device.type == device.type
        assert draw(generator=generator(0), device=device).device.type == device.type

    def test_read_nothing_back_from_the_device(self, draw) -> None:
        """A tensor on the meta device has no values: whoever asks for one fails."""
        with on_meta():
            drawn = draw(device="meta")
        assert drawn.device.type == "meta"
        assert drawn.shape == draw().shape
        assert drawn.dtype == draw().dtype

    def test_a_generator_of_the_cpu_draws_for_a_device_that_has_no_other(self, draw) -> None:
        assert draw(generator=generator(0), device="meta").device.type == "meta"

    def test_a_generator_of_the_cpu_draws_the_same_for_any_device(self, draw, device: torch.device) -> None:
        assert torch.equal(draw(generator=generator(0), device=device).cpu(), draw(generator=generator(0)))

    def test_the_device_defaults_to_that_of_the_generator(self, draw, device: torch.device) -> None:
        assert draw(generator=generator(0, device)).device.type == device.type
