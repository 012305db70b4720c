"""Constructor arguments that make no sense, by transform; the message names the value and what would be right."""

import math
import re
from collections.abc import Callable

import numpy as np
import pytest

import nda_augment as nda

REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: nda.Jigsaw(grid=(1, 1)), "grid must be whole numbers (rows, columns) with at least two cells, got (1, 1)"),
    (lambda: nda.Jigsaw(grid=1), "at least two cells, got 1"),
    (lambda: nda.Jigsaw(grid=0), "at least two cells, got 0"),
    (lambda: nda.Jigsaw(grid=(2, -1)), "at least two cells, got (2, -1)"),
    (lambda: nda.Jigsaw(grid=(2.5, 2)), "at least two cells, got (2.5, 2)"),
    (lambda: nda.Jigsaw(grid=(2, 2, 2)), "got (2, 2, 2)"),
    (lambda: nda.PatchShuffle(grid=(1, 1)), "at least two cells"),
    (lambda: nda.PatchRotate(grid=(0, 4)), "at least two cells"),
    (lambda: nda.CrossPatchShuffle(grid=(0, 4)), "at least two cells"),
    (lambda: nda.CrossPatchShuffle(partner="other_class"), "partner must be one of 'any', got 'other_class'"),
    (lambda: nda.PatchInfill(rate=0.5), "rate must be one of 0.25, 0.375, got 0.5"),
    (lambda: nda.Stitch(axis="vertcal"), "got 'vertcal'. Did you mean 'vertical'?"),
    (
        lambda: nda.Cutout(fill="patchmean"),
        "unknown fill 'patchmean'; known are patch_mean, image_mean, zero, a number, "
        "or one per channel. Did you mean 'patch_mean'?",
    ),
    (lambda: nda.Stitch(axis="diagonal"), "axis must be one of 'random', 'horizontal', 'vertical', got 'diagonal'"),
    (lambda: nda.Stitch(keep="left"), "keep must be one of 'random', 'first', 'second', got 'left'"),
    (lambda: nda.Stitch(partner="own"), "partner must be one of 'any', 'other_class', 'same_class', got 'own'"),
    (lambda: nda.Stitch(partner="same_class", same_on_batch=True), "same_on_batch=True shares one draw"),
    (lambda: nda.CutMix(side=0.0), "side must be a fraction or a range of fractions 0 < low <= high <= 1, got 0.0"),
    (lambda: nda.CutMix(side=(0.5, 0.3)), "got (0.5, 0.3)"),
    (lambda: nda.CutMix(side=(0.5, 1.5)), "got (0.5, 1.5)"),
    (lambda: nda.CutMix(side=math.nan), "side must be"),
    (lambda: nda.CutMix(side=(0.5, 1.0)), "side must stay below 1, got (0.5, 1.0): a box of the whole image is the"),
    (lambda: nda.CutMix(side=(0.1, 0.2, 0.3)), "side must be"),
    (lambda: nda.Cutout(side=-0.1), "got -0.1"),
    (lambda: nda.Cutout(fill="mean"), "unknown fill 'mean'; known are patch_mean, image_mean, zero, a number"),
    (lambda: nda.Cutout(fill=math.nan), "fill must be made of finite numbers, got nan"),
    (lambda: nda.Mixup(alpha=0.0), "alpha must be a finite number above 0, got 0.0"),
    (lambda: nda.Mixup(alpha=-1.0), "alpha must be a finite number above 0, got -1.0"),
    (lambda: nda.Mixup(alpha=math.inf), "alpha must be a finite number above 0, got inf"),
    (lambda: nda.Mixup(alpha=math.nan), "alpha must be a finite number above 0, got nan"),
    (lambda: nda.CutPaste(area=0.6), "area must be at most 1/2, so that there is another place in the image, got 0.6"),
    (lambda: nda.CutPaste(area=(0.0, 0.1)), "area must be a fraction"),
    (lambda: nda.CutPaste(aspect=(0.0, 1.0)), "aspect must be a positive number or a range 0 < low <= high, got (0.0"),
    (lambda: nda.CutPaste(jitter=2.0), "jitter must be in [0, 1], got 2.0"),
    (lambda: nda.CutPasteScar(length=0.0), "length must be a fraction"),
    (lambda: nda.CutPasteScar(width=1.1), "width must be a fraction"),
    (
        lambda: nda.CutPasteScar(angle=(0.0, math.inf)),
        "angle must be a number or a range low <= high, and finite, got (0.0, inf)",
    ),
    (lambda: nda.CutPasteForeign(feather=-0.5), "feather must be in [0, 1], got -0.5"),
    (lambda: nda.CutPasteForeign(strength=1.5), "strength must be in [0, 1], got 1.5"),
    (lambda: nda.PerlinBlend(scales=(3, 1)), "scales must be whole numbers 0 <= low <= high, got (3, 1)"),
    (lambda: nda.PerlinBlend(scales=(-1, 1)), "got (-1, 1)"),
    (lambda: nda.PerlinBlend(scales=(0.5, 1)), "got (0.5, 1)"),
    (lambda: nda.PerlinBlend(weight=0.0), "weight must be a fraction"),
    (lambda: nda.PerlinBlend(threshold=math.nan), "threshold must be"),
    (lambda: nda.PatchTile(side=1.0), "side must stay below 1, got 1.0"),
    (lambda: nda.TextureResample(side=(0.5, 1.0)), "side must stay below 1, got (0.5, 1.0)"),
    (lambda: nda.Roll(shift=(0.5, 1.0)), "shift must stay below 1, got (0.5, 1.0)"),
    (lambda: nda.Flip(direction="up"), "direction must be one of 'vertical', 'horizontal', got 'up'"),
    (
        lambda: nda.RandomFieldWarp(correlation=0.0),
        "correlation must be a fraction of the sides in [0.01, 10], got 0.0",
    ),
    (lambda: nda.Turn(turns=4), "turns must be one of 1, 2, 3, got 4"),
    (lambda: nda.RandomFieldWarp(displacement=math.nan), "displacement must be"),
    (lambda: nda.RandomFieldWarp(rotation=-1.0), "rotation must be"),
    (lambda: nda.RandomFieldColor(strength=-0.1), "strength must be in [0, 1], got -0.1"),
    (lambda: nda.RandomFieldColor(hue=math.inf), "hue must be"),
    (lambda: nda.OtherClass(num_classes=1), "num_classes must be a whole number from 2 on, got 1"),
    (lambda: nda.OtherClass(num_classes=-1), "num_classes must be a whole number from 2 on, got -1"),
    (lambda: nda.AsNegative(abs, min_change=0.0), "min_change must be a finite number above 0, got 0.0"),
    (lambda: nda.AsNegative(abs, min_change=1.5, measure="pixels"), "min_change must be in [0, 1], got 1.5"),
    (lambda: nda.AsNegative(abs, measure="l1"), "measure must be one of 'relative_l2', 'pixels', got 'l1'"),
    (lambda: nda.AsNegative(abs, redraws=1.5), "redraws must be a whole number from 0 on, got 1.5"),
    (lambda: nda.PerlinBlend(threshold=-2), "threshold must be in [0, 1], got -2"),
    (lambda: nda.AsNegative(abs, redraws=-1), "redraws must be a whole number from 0 on, got -1"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (lambda: nda.Jigsaw(3).grid, (3, 3)),
        (lambda: nda.Jigsaw((1, 2)).grid, (1, 2)),
        (lambda: nda.Jigsaw([2, 3]).grid, (2, 3)),
        (lambda: nda.CutMix(0.5).side, (0.5, 0.5)),
        (lambda: nda.CutMix([0.25, 0.5]).side, (0.25, 0.5)),
        (lambda: nda.Cutout(1).side, (1.0, 1.0)),
        (lambda: nda.Jigsaw(np.int64(3)).grid, (3, 3)),
        (lambda: nda.Cutout(np.float32(0.5)).side, (0.5, 0.5)),
        (lambda: nda.PerlinBlend(scales=np.array([1, 2]).tolist()).scales, (1, 2)),
        (lambda: nda.Cutout(fill=[1, 2]).fill, (1, 2)),
        (lambda: nda.Mixup(1).alpha, 1.0),
        (lambda: nda.CutPasteScar(angle=30).angle, (30.0, 30.0)),
        (lambda: nda.PerlinBlend(scales=(2, 2)).scales, (2, 2)),
    ],
)
def test_is_stored_in_one_form(given: Callable[[], object], stored: object) -> None:
    assert given() == stored
    assert type(given()) is type(stored)
