import pytest
import torch
from torchmetrics.functional.classification import binary_auroc

from nda_augment.auditing.measuring import probes as M


@pytest.mark.parametrize("shape", [(40, 6), (24, 50)], ids=["more examples", "more features"])
def test_leaving_groups_out_is_what_training_on_the_others_gives(shape):
    features, targets = torch.randn(shape, dtype=torch.float64), torch.randn(shape[0], 2, dtype=torch.float64)
    groups = torch.arange(shape[0]) % 4
    x, y = features - features.mean(0), targets - targets.mean(0)
    expected = torch.empty_like(targets)
    for group in range(4):
        kept = groups != group
        gram = x[kept].T @ x[kept] + 0.1 * shape[0] * torch.eye(shape[1], dtype=torch.float64)
        expected[~kept] = x[~kept] @ torch.linalg.inv(gram) @ x[kept].T @ y[kept] + targets.mean(0)
    torch.testing.assert_close(M.leave_groups_out(features, targets, groups, ridge=0.1), expected)


def test_a_ridge_regression_minimises_its_loss():
    features, targets = torch.randn(30, 4, dtype=torch.float64), torch.randn(30, 2, dtype=torch.float64)
    weights = M.ridge_regression(features, targets, ridge=0.2).requires_grad_()
    loss = (M.with_one(features) @ weights - targets).square().sum() + 0.2 * 30 * weights[:-1].square().sum()
    loss.backward()
    assert weights.grad.abs().max() < 1e-9


def test_sets_of_one_distribution_are_not_told_apart_and_others_are():
    groups = torch.arange(400) % 10
    same = M.told_apart(torch.randn(400, 8), torch.randn(400, 8), groups, ridge=0.01)
    other = M.told_apart(torch.randn(400, 8), torch.randn(400, 8) + 3, groups, ridge=0.01)
    assert abs(float(same.mean()) - 0.5) < 0.06
    assert float(other.mean()) > 0.98
    assert set(same.tolist()) <= {0.0, 0.5, 1.0}


def test_copies_are_told_apart_by_chance_only():
    """A test set that held copies of what the other half was trained on would be told wrong, not by chance."""
    first = torch.randn(100, 300)
    told = M.told_apart(first, first.clone(), torch.arange(100) % 10, ridge=1.0)
    assert torch.equal(told, torch.full((100,), 0.5))


def test_how_often_a_score_is_higher_is_the_area_under_the_curve():
    first, second = torch.randn(300).round(decimals=1), (torch.randn(200) + 0.7).round(decimals=1)
    labels = torch.cat([torch.zeros(300), torch.ones(200)]).long()
    expected = binary_auroc(torch.cat([first, second]).sigmoid(), labels)
    torch.testing.assert_close(M.told_by_score(first, second).mean(), expected)
    assert M.told_by_score(first, first).mean() == pytest.approx(0.5)
