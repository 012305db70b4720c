import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nda_augment.losses import CSILoss, UniCLRLoss, csi, nt_xent, sup_con, uniclr


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosine(a: Tensor, b: Tensor) -> float:
    dot = sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))
    return dot / math.sqrt(sum(x * x for x in a.tolist())) / math.sqrt(sum(y * y for y in b.tolist()))


# ---------------------------------------------------------------------------------------------------------------------
# CSI
# ---------------------------------------------------------------------------------------------------------------------


def csi_written_out(z0: Tensor, z1: Tensor, logits: Tensor, temperature: float, weight: float) -> float:
    """Every shifted copy is an instance: anchors, their one positive, and all others, one at a time."""
    names = [(view, image, shift) for view in (0, 1) for image in range(len(z0)) for shift in range(z0.shape[1])]
    place = {name: (z0, z1)[name[0]][name[1], name[2]] for name in names}
    contrast = 0.0
    for view, image, shift in names:
        anchor = place[view, image, shift]
        others = {name: math.exp(cosine(anchor, z) / temperature) for name, z in place.items()}
        del others[view, image, shift]
        contrast -= math.log(others[1 - view, image, shift] / sum(others.values())) / len(names)
    entropy = 0.0
    for row in logits.tolist():
        for shift, values in enumerate(row):
            entropy -= values[shift] - math.log(sum(map(math.exp, values)))
    return contrast + weight * entropy / (logits.shape[0] * logits.shape[1])


@given(st.integers(1, 3), st.integers(2, 4), st.sampled_from([0.2, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0]))
def test_csi_is_what_is_written(batch: int, shifts: int, temperature: float, weight: float) -> None:
    z0, z1 = normal(batch, shifts, 5), normal(batch, shifts, 5, seed=1)
    logits = normal(2 * batch, shifts, shifts, seed=2)
    loss = csi(z0, z1, logits, temperature=temperature, shift_weight=weight)
    assert loss.item() == pytest.approx(csi_written_out(z0, z1, logits, temperature, weight))


def test_csi_without_shifts_is_nt_xent() -> None:
    z0, z1 = normal(4, 1, 5), normal(4, 1, 5, seed=1)
    assert csi(z0, z1, normal(8, 1, 1)).item() == pytest.approx(nt_xent(z0[:, 0], z1[:, 0]).item())


def test_csi_of_perfect_logits_leaves_the_contrast() -> None:
    z0, z1 = normal(3, 2, 5), normal(3, 2, 5, seed=1)
    perfect = 1e3 * torch.eye(2, dtype=torch.float64).expand(6, 2, 2)
    assert csi(z0, z1, perfect).item() == pytest.approx(csi(z0, z1, perfect, shift_weight=0.0).item())


def test_csi_pushes_an_image_and_its_shifted_copy_apart() -> None:
    z = normal(1, 2, 5).requires_grad_()
    csi(z, z.detach(), torch.zeros(1, 2, 2), shift_weight=0.0).backward()
    with torch.no_grad():
        nearer = torch.cosine_similarity(z[0, 0], z[0, 1], dim=0)
        after = z - 0.01 * z.grad
        assert torch.cosine_similarity(after[0, 0], after[0, 1], dim=0) < nearer


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (((4, 5), (4, 5), (4, 2, 2)), {}, r"must both be \(B, K, D\), got \(4, 5\)"),
        (((4, 2, 5), (3, 2, 5), (4, 2, 2)), {}, r"\(4, 2, 5\) and \(3, 2, 5\)"),
        (((4, 2, 5), (4, 2, 5), (4, 3, 3)), {}, r"must be \(N, 2, 2\) here, got \(4, 3, 3\)"),
        (((4, 2, 5), (4, 2, 5), (8, 2)), {}, r"got \(8, 2\)"),
        (((4, 2, 5), (4, 2, 5), (8, 2, 2)), {"temperature": 0.0}, "temperature"),
        (((4, 2, 5), (4, 2, 5), (8, 2, 2)), {"shift_weight": -1.0}, "shift_weight.*-1"),
        (((4, 2, 5), (4, 2, 5), (8, 2, 2)), {"shift_weight": math.nan}, "shift_weight.*nan"),
        (((2, 2, 4), (2, 2, 4), (0, 2, 2)), {}, "^shift_logits is empty"),
    ],
)
def test_csi_says_what_is_wrong(shapes, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        csi(*(normal(*shape) for shape in shapes), **options)


# ---------------------------------------------------------------------------------------------------------------------
# UniCLR
# ---------------------------------------------------------------------------------------------------------------------


def uniclr_written_out(inliers: Tensor, outliers: Tensor, temperature: float, soft: float | None) -> float:
    """Equations of the paper, one anchor, one positive and one candidate at a time."""
    normal_views = list(inliers.reshape(-1, inliers.shape[-1]))
    negative_views = [(image, view) for image, views in enumerate(outliers) for view in views]
    everything = normal_views + [view for _, view in negative_views]

    def weight(p: int) -> float:
        if soft is None:
            return 1.0
        here = normal_views[p]
        return sum(math.exp(cosine(here, z) / soft) for j, z in enumerate(normal_views) if j != p)

    def probability(anchor: int, positive: int) -> float:
        scores = [math.exp(cosine(everything[anchor], z) / temperature) for z in everything]
        return scores[positive] / (sum(scores) - scores[anchor])

    total = 0.0
    for anchor in range(len(everything)):
        if anchor < len(normal_views):
            positives = {p: weight(p) for p in range(len(normal_views)) if p != anchor}
        else:
            image = negative_views[anchor - len(normal_views)][0]
            same = [n + len(normal_views) for n, (other, _) in enumerate(negative_views) if other == image]
            positives = {p: 1.0 for p in same if p != anchor}
        logs = sum(w * math.log(probability(anchor, p)) for p, w in positives.items())
        total -= logs / sum(positives.values())
    return total / len(everything)


@given(st.integers(1, 3), st.integers(2, 3), st.integers(1, 3), st.sampled_from([None, 0.2, 0.5]))
def test_uniclr_is_what_is_written(batch: int, views: int, negatives: int, soft: float | None) -> None:
    inliers, outliers = normal(batch, views, 4), normal(negatives, views, 4, seed=1)
    loss = uniclr(inliers, outliers, temperature=0.3, aggregation_temperature=soft)
    assert loss.item() == pytest.approx(uniclr_written_out(inliers, outliers, 0.3, soft))


def test_uniclr_is_supervised_contrast_of_one_class_and_many() -> None:
    inliers, outliers = normal(3, 2, 4), normal(5, 2, 4, seed=1)
    labels = torch.tensor([0, 0, 0, 1, 2, 3, 4, 5])
    plain = sup_con(torch.cat([inliers, outliers]), labels, temperature=0.5)
    assert uniclr(inliers, outliers).item() == pytest.approx(plain.item())


def test_soft_aggregation_tends_to_the_plain_loss() -> None:
    inliers, outliers = normal(3, 2, 4), normal(5, 2, 4, seed=1)
    plain = uniclr(inliers, outliers).item()
    assert uniclr(inliers, outliers, aggregation_temperature=1e6).item() == pytest.approx(plain)
    assert uniclr(inliers, outliers, aggregation_temperature=0.1).item() != pytest.approx(plain)


def test_soft_aggregation_listens_less_to_an_atypical_image() -> None:
    typical = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64).repeat(4, 2, 1) + 0.1 * normal(4, 2, 3)
    atypical = torch.tensor([[[-1.0, 0.3, 0.0], [-1.0, 0.2, 0.1]]], dtype=torch.float64)
    inliers = torch.cat([typical, atypical]).requires_grad_()
    outliers = normal(3, 2, 3, seed=1)
    pulls = {}
    for soft in (None, 0.2):
        (gradient,) = torch.autograd.grad(uniclr(inliers, outliers, aggregation_temperature=soft), inliers)
        pulls[soft] = gradient[:4].norm().item()
    assert pulls[0.2] < pulls[None]


def test_weights_carry_no_gradient() -> None:
    inliers = normal(2, 2, 4).requires_grad_()
    outliers = normal(2, 2, 4, seed=1)
    assert torch.autograd.gradcheck(lambda x: uniclr(x, outliers), inliers)
    # With the weights held fixed by hand, the gradient is the same: none flows through them.
    (gradient,) = torch.autograd.grad(uniclr(inliers, outliers, aggregation_temperature=0.5), inliers)
    fixed = inliers.detach()
    units = torch.nn.functional.normalize(torch.cat([inliers, outliers]).flatten(0, 1), dim=1)
    similarities = units @ units.T
    with torch.no_grad():
        own = torch.nn.functional.normalize(fixed.flatten(0, 1), dim=1)
        typicality = (own @ own.T / 0.5).exp().fill_diagonal_(0).sum(0)
    terms = []
    for anchor in range(8):
        others = [j for j in range(8) if j != anchor]
        positives = [p for p in range(4) if p != anchor] if anchor < 4 else [anchor ^ 1]
        weights = torch.tensor([typicality[p].item() if anchor < 4 else 1.0 for p in positives], dtype=torch.float64)
        logits = similarities[anchor] / 0.5
        terms.append(logits[others].logsumexp(0) - (weights * logits[positives]).sum() / weights.sum())
    (expected,) = torch.autograd.grad(torch.stack(terms).mean(), inliers)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (((4, 5), (4, 2, 5)), {}, r"inliers must be \(N, views, D\), got \(4, 5\)"),
        (((4, 2, 5), (4, 1, 5)), {}, r"outliers must be .* two views at least, got \(4, 1, 5\)"),
        (((1, 1, 5), (4, 2, 5)), {}, "^a single normal view has no other to be drawn to"),
        (((0, 2, 5), (4, 2, 5)), {}, "^inliers is empty"),
        (((4, 2, 5), (4, 2, 6)), {}, "outliers must have 5 features"),
        (((4, 2, 5), (0, 2, 5)), {}, "outliers is empty"),
        (((4, 2, 5), (4, 2, 5)), {"temperature": -1.0}, "^temperature must be"),
        (((4, 2, 5), (4, 2, 5)), {"aggregation_temperature": 0.0}, "^aggregation_temperature must"),
    ],
)
def test_uniclr_says_what_is_wrong(shapes, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        uniclr(*(normal(*shape) for shape in shapes), **options)


def test_values_that_are_not_finite_are_named() -> None:
    broken = normal(2, 2, 4)
    broken[0, 0, 0] = math.nan
    with pytest.raises(ValueError, match="outliers has 1 values that are not finite"):
        uniclr(normal(2, 2, 4), broken)


# ---------------------------------------------------------------------------------------------------------------------
# Both
# ---------------------------------------------------------------------------------------------------------------------


def test_modules_are_their_functions() -> None:
    z0, z1, logits = normal(3, 2, 4), normal(3, 2, 4, seed=1), normal(6, 2, 2, seed=2)
    module = CSILoss(0.3, shift_weight=0.5)
    assert module(z0, z1, logits) == csi(z0, z1, logits, temperature=0.3, shift_weight=0.5)
    assert repr(module) == "CSILoss(temperature=0.3, shift_weight=0.5)"
    soft = UniCLRLoss(0.3, aggregation_temperature=0.2)
    assert soft(z0, z1) == uniclr(z0, z1, temperature=0.3, aggregation_temperature=0.2)
    assert repr(soft) == "UniCLRLoss(temperature=0.3, aggregation_temperature=0.2)"


def test_modules_have_the_defaults_of_their_functions() -> None:
    z0, z1, logits = normal(3, 2, 4), normal(3, 2, 4, seed=1), normal(6, 2, 2, seed=2)
    assert CSILoss()(z0, z1, logits) == csi(z0, z1, logits)
    assert UniCLRLoss()(z0, z1) == uniclr(z0, z1)


@pytest.mark.parametrize(
    ("loss", "settings"),
    [
        (CSILoss, {"temperature": 0.0}),
        (CSILoss, {"shift_weight": -1.0}),
        (CSILoss, {"shift_weight": math.inf}),
        (UniCLRLoss, {"temperature": math.inf}),
        (UniCLRLoss, {"aggregation_temperature": 0.0}),
    ],
)
def test_modules_check_at_construction(loss, settings) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(settings))} must be"):
        loss(**settings)


def test_half_precision_is_computed_in_full() -> None:
    z0, z1, logits = (x.bfloat16() for x in (normal(3, 2, 4), normal(3, 2, 4, seed=1), normal(6, 2, 2, seed=2)))
    assert csi(z0, z1, logits).dtype == torch.float32
    assert uniclr(z0, z1).item() == pytest.approx(uniclr(z0.float(), z1.float()).item(), abs=1e-5)
