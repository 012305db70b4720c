from itertools import pairwise

import pytest
import torch
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from nda_augment.anomaly import auroc, average_precision, per_region_overlap
from nda_augment.anomaly.measures import regions


@pytest.fixture(params=["distinct", "ties"])
def scored(request: pytest.FixtureRequest) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    anomalous = torch.rand(200) < 0.3
    scores = (torch.rand(200) + 0.3 * anomalous) / 1.3
    return (scores if request.param == "distinct" else (scores * 8).round() / 8), anomalous


def test_they_are_as_torchmetrics_defines_them(scored) -> None:
    scores, anomalous = scored
    assert auroc(scores, anomalous) == pytest.approx(binary_auroc(scores, anomalous.long()).item(), abs=1e-6)
    expected = binary_average_precision(scores, anomalous.long()).item()
    assert average_precision(scores, anomalous) == pytest.approx(expected, abs=1e-6)


def test_only_the_order_counts(scored) -> None:
    scores, anomalous = scored
    for measure in (auroc, average_precision):
        assert measure(1e3 * scores - 7, anomalous) == measure(scores, anomalous)


def reference_overlap(maps: torch.Tensor, masks: torch.Tensor, limit: float) -> float:
    """Threshold by threshold, region by region."""
    parts = []
    for number, mask in enumerate(masks[:, 0]):
        left = {(int(y), int(x)) for y, x in mask.nonzero()}
        while left:
            part, front = set(), [left.pop()]
            while front:
                y, x = front.pop()
                part.add((y, x))
                near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
                left -= near
                front.extend(near)
            parts.append([(number, 0, y, x) for y, x in part])
    points = [(0.0, 0.0)]
    for threshold in sorted({float(value) for value in maps.flatten()}, reverse=True):
        false = float((maps[~masks] >= threshold).double().mean())
        shares = [sum(float(maps[place]) >= threshold for place in part) / len(part) for part in parts]
        points.append((false, sum(shares) / len(shares)))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        end = min(x1, limit)
        if end > x0:
            height = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
            area += (end - x0) * (y0 + height) / 2
    return area / limit


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("steps", [1000, 6])
def test_the_overlap_of_regions_is_that_of_a_slow_reference(limit, steps) -> None:
    torch.manual_seed(1)
    masks = torch.rand(3, 1, 12, 14) < 0.15
    masks[1] = False
    maps = ((torch.rand(3, 1, 12, 14) + 0.4 * masks) * steps).round() / steps
    assert per_region_overlap(maps, masks, limit) == pytest.approx(reference_overlap(maps, masks, limit), abs=1e-9)


def test_limits_of_the_overlap() -> None:
    masks = torch.zeros(1, 1, 20, 20, dtype=torch.bool)
    masks[..., :5, :5] = True
    assert per_region_overlap(masks.double(), masks) == pytest.approx(1.0)
    assert per_region_overlap(torch.zeros(1, 1, 20, 20), masks) == pytest.approx(0.15)  # the diagonal up to 0.3


def test_small_regions_count_as_much_as_large_ones() -> None:
    masks = torch.zeros(1, 1, 10, 20, dtype=torch.bool)
    masks[..., :, :8] = True
    masks[..., 0, 12] = True
    maps = torch.zeros(1, 1, 10, 20)
    maps[..., :, :8] = 1.0
    found = per_region_overlap(maps, masks, 0.3)
    assert found == pytest.approx(0.5 + 0.5 * 0.15)


def test_regions_hold_together_by_corners_and_end_at_images() -> None:
    masks = torch.tensor([[[[1, 0, 0], [0, 1, 0], [0, 0, 0]]], [[[1, 1, 0], [0, 0, 0], [0, 0, 1]]]]).bool()
    found = regions(masks)
    assert found[0].unique().numel() == 2
    assert found[1].unique().numel() == 3
    assert not set(found[0].unique().tolist()) & set(found[1].unique().tolist()) - {0}


@pytest.mark.parametrize(
    ("scores", "anomalous", "message"),
    [
        (torch.zeros(3), torch.zeros(4).bool(), "must have one shape"),
        (torch.tensor([0.0, float("nan")]), torch.tensor([True, False]), "1 scores are not finite"),
        (torch.zeros(3), torch.ones(3).bool(), "both kinds are needed, got 3 anomalies of 3"),
    ],
)
def test_inputs_are_checked(scores, anomalous, message) -> None:
    for measure in (auroc, average_precision):
        with pytest.raises(ValueError, match=message):
            measure(scores, anomalous)


@pytest.mark.parametrize("measure", [auroc, average_precision, per_region_overlap])
def test_masks_of_numbers_are_errors(measure) -> None:
    masks = torch.tensor([[[[0, 255, 255, 0]]]], dtype=torch.uint8)
    with pytest.raises(TypeError, match=r"anomalies must be bool, got torch.uint8; of numbers: anomalous > 0"):
        measure(torch.rand(1, 1, 1, 4), masks)
