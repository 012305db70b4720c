import math

import pytest
import torch
from torch.nn import functional as F

from examples.gan.conditioning import (
    Head,
    Judgement,
    class_loss,
    contrastive_loss,
    cross_entropy_of_pairs,
    multi_hinge,
)

LABELS = torch.tensor([0, 1, 0, 2, 1])


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosine(a, b):
    return (a @ b / (a.norm() * b.norm())).item()


class TestContrastive:
    def test_agrees_with_the_formula_image_by_image(self):
        embeddings, proxies, t = rand(5, 4), rand(5, 4, seed=1), 0.7
        expected = []
        for i in range(5):
            to_proxy = math.exp(cosine(embeddings[i], proxies[i]) / t)
            others = {j: math.exp(cosine(embeddings[i], embeddings[j]) / t) for j in range(5) if j != i}
            near = sum(value for j, value in others.items() if LABELS[j] == LABELS[i])
            expected.append(-math.log((to_proxy + near) / (to_proxy + sum(others.values()))))
        loss = contrastive_loss(embeddings, proxies, LABELS, t)
        assert loss.item() == pytest.approx(sum(expected) / 5, abs=1e-5)

    def test_one_class_leaves_nothing_to_ask(self):
        assert contrastive_loss(rand(4, 3), rand(4, 3, seed=1), torch.zeros(4), 1.0).item() == pytest.approx(
            0, abs=1e-6
        )


class TestCrossEntropyOfPairs:
    @pytest.mark.parametrize("margin", [0.98, 0.7])
    def test_agrees_with_the_formula_image_by_image(self, margin):
        embeddings, proxies, t = rand(5, 4), rand(5, 4, seed=1), 0.5
        expected = []
        for i in range(5):
            easy = math.exp(min(cosine(embeddings[i], proxies[i]) - margin, 0) / t)
            hard = sum(
                math.exp(max(cosine(embeddings[i], embeddings[j]) - (1 - margin), 0) / t)
                for j in range(5)
                if LABELS[j] != LABELS[i]
            )
            expected.append(-math.log(easy / (easy + hard)))
        loss = cross_entropy_of_pairs(embeddings, proxies, LABELS, t, margin)
        assert loss.item() == pytest.approx(sum(expected) / 5, abs=1e-5)

    def test_beyond_the_margin_there_is_no_gradient_to_the_proxy(self):
        embeddings = torch.eye(3, 4).requires_grad_()
        proxies = (torch.eye(3, 4) + 0.01).requires_grad_()
        cross_entropy_of_pairs(embeddings, proxies, torch.arange(3), 0.5, 0.98).backward()
        assert not proxies.grad.any()


class TestMultiHinge:
    def test_agrees_with_the_definition(self):
        logits = rand(5, 4)
        expected = []
        for row, label in zip(logits.tolist(), LABELS.tolist(), strict=True):
            wrong = max(value for k, value in enumerate(row) if k != label)
            expected.append(max(0, 1 + wrong - row[label]))
        assert multi_hinge(logits, LABELS).item() == pytest.approx(sum(expected) / 5)

    def test_realness_is_the_lead_over_not_real(self):
        judgement = Judgement(torch.tensor([[3.0, 1.0, 0.5], [0.0, -1.0, 2.0]]))
        assert judgement.realness.tolist() == [2.5, -2.0]
        assert Judgement(torch.tensor([1.0, 2.0])).realness.tolist() == [1, 2]


def test_projection_adds_the_product_with_the_class():
    torch.manual_seed(0)
    head = Head(4, "PD", 3, 0)
    features = torch.randn(5, 4)
    expected = head.logits(features).squeeze(1) + torch.stack(
        [features[i] @ head.project.weight[label] for i, label in enumerate(LABELS)]
    )
    assert torch.allclose(head(features, LABELS).logits, expected, atol=1e-6)


def test_class_losses_by_method():
    torch.manual_seed(0)
    features = torch.randn(5, 4)
    for method in ("W/O", "PD", "MH"):
        judgement = Head(4, method, 3, 2)(features, LABELS)
        assert class_loss(judgement, LABELS, method=method, temperature=1.0, margin=0.9) is None
    judgement = Head(4, "AC", 3, 2)(features, LABELS)
    loss = class_loss(judgement, LABELS, method="AC", temperature=1.0, margin=0.9)
    assert torch.equal(loss, F.cross_entropy(judgement.classes, LABELS))
    judgement = Head(4, "2C", 3, 2)(features, LABELS)
    loss = class_loss(judgement, LABELS, method="2C", temperature=0.5, margin=0.9)
    assert torch.equal(loss, contrastive_loss(judgement.embeddings, judgement.proxies, LABELS, 0.5))
    loss = class_loss(judgement, LABELS, method="D2DCE", temperature=0.5, margin=0.9)
    assert torch.equal(loss, cross_entropy_of_pairs(judgement.embeddings, judgement.proxies, LABELS, 0.5, 0.9))
