import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from examples.anomaly.metrics import MEASURES, detection


@given(st.integers(0, 20), st.integers(1, 3))
def test_measures_are_those_of_scikit_learn(seed, decimals) -> None:
    generator = torch.Generator().manual_seed(seed)
    normal, anomalous = torch.randn(60, generator=generator), 1 + torch.randn(40, generator=generator)
    normal, anomalous = (scores.round(decimals=decimals) for scores in (normal, anomalous))  # which makes ties
    labels, scores = [0] * 60 + [1] * 40, torch.cat([normal, anomalous]).tolist()
    false_positives, true_positives, _ = metrics.roc_curve(labels, scores, drop_intermediate=False)
    expected = {
        "AUROC": metrics.roc_auc_score(labels, scores),
        "AP": metrics.average_precision_score(labels, scores),
        "FPR95": false_positives[true_positives >= 0.95].min(),
    }
    assert detection(normal, anomalous) == pytest.approx({name: 100 * value for name, value in expected.items()})


def test_limits() -> None:
    low, high = torch.zeros(10), torch.ones(10)
    assert detection(low, high) == {"AUROC": 100, "AP": 100, "FPR95": 0}
    assert detection(high, low)["AUROC"] == 0
    assert detection(low, low) == {"AUROC": 50, "AP": 50, "FPR95": 100}
    assert set(detection(low, high)) == set(MEASURES)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_scale_of_scores_does_not_matter(factor) -> None:
    """A sigmoid would tie all scores of 40 and more, and hardly tell the small ones apart."""
    normal, anomalous = torch.randn(50), 1 + torch.randn(50)
    assert detection(factor * normal + 100 * factor, factor * anomalous + 100 * factor) == pytest.approx(
        detection(normal, anomalous), abs=0.5
    )


def test_scores_are_checked() -> None:
    with pytest.raises(ValueError, match="0 normal and 3 anomalous"):
        detection(torch.zeros(0), torch.zeros(3))
    with pytest.raises(ValueError, match="1 scores are not finite"):
        detection(torch.tensor([float("nan"), 0.0]), torch.zeros(3))
