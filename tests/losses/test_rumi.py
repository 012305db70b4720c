import inspect
import math
import pickle
from typing import get_args

import pytest
import torch
from torch import Tensor

from nda_augment.losses import (
    RumiDiscriminatorLoss,
    RumiGeneratorLoss,
    RumiKind,
    RumiLabels,
    discriminator_loss,
    rumi_discriminator_loss,
    rumi_generator_loss,
)

KINDS = get_args(RumiKind)
LABELS = RumiLabels(positive=1.5, negative=-1.0, fake=0.25, target=3.0)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


def reference(kind: str, real: Tensor, fake: Tensor, negative: Tensor, a_plus: float, a_minus: float) -> float:
    """The formulas, one logit after the other."""
    real, fake, negative = (logits.flatten().tolist() for logits in (real, fake, negative))
    if kind == "least_squares":
        terms = [(x - LABELS.positive) ** 2 for x in real], [(x - LABELS.negative) ** 2 for x in negative]
        return a_plus * mean(terms[0]) + a_minus * mean(terms[1]) + mean((x - LABELS.fake) ** 2 for x in fake)
    if kind == "wasserstein":
        return -a_plus * (mean(real) - mean(fake)) + a_minus * (mean(negative) - mean(fake))
    positive, avoided = mean(math.log1p(math.exp(-x)) for x in real), mean(math.log1p(math.exp(x)) for x in negative)
    return a_plus * positive + a_minus * avoided + mean(math.log1p(math.exp(x)) for x in fake)


def labels_of(kind: str) -> RumiLabels | None:
    return LABELS if kind == "least_squares" else None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trailing", [(), (1,), (2, 3)], ids=str)
def test_equals_the_formula(kind, trailing):
    real, fake, negative = normal(5, *trailing), normal(3, *trailing, seed=1), normal(4, *trailing, seed=2)
    loss = rumi_discriminator_loss(
        real, fake, negative, kind=kind, positive_weight=1.7, negative_weight=0.6, labels=labels_of(kind)
    )
    assert loss.shape == ()
    assert loss.item() == pytest.approx(reference(kind, real, fake, negative, 1.7, 0.6), rel=1e-12)


def test_the_generators_loss_equals_the_formula():
    fake = normal(6)
    values = fake.tolist()
    assert rumi_generator_loss(fake, labels=LABELS).item() == pytest.approx(mean((x - 3) ** 2 for x in values))
    assert rumi_generator_loss(fake, kind="wasserstein").item() == pytest.approx(-mean(values))
    expected = mean(math.log1p(math.exp(-x)) for x in values)
    assert rumi_generator_loss(fake, kind="softplus").item() == pytest.approx(expected)


@pytest.mark.parametrize(("kind", "fake_weight"), [("softplus", 0.25), ("softplus", 0.6), ("wasserstein", 0.25)])
def test_contains_the_nda_loss(kind, fake_weight):
    logits = normal(5), normal(5, seed=1), normal(5, seed=2)
    weights = {"positive_weight": 1 / fake_weight, "negative_weight": (1 - fake_weight) / fake_weight}
    expected = discriminator_loss(*logits, kind=kind, fake_weight=fake_weight) / fake_weight
    torch.testing.assert_close(rumi_discriminator_loss(*logits, kind=kind, **weights), expected)


# ---------------------------------------------------------------------------------------------------------------------
# Optima on a few atoms. An atom's probability is how often its logit is repeated, of twenty times.
# ---------------------------------------------------------------------------------------------------------------------

DATA = torch.tensor([0.4, 0.3, 0.2, 0.1, 0.0], dtype=torch.float64)
UNWANTED = torch.tensor([0.1, 0.1, 0.1, 0.1, 0.6], dtype=torch.float64)
MADE = torch.tensor([0.2, 0.2, 0.2, 0.2, 0.2], dtype=torch.float64)


def expectation(logits: Tensor, probabilities: Tensor) -> Tensor:
    return logits.repeat_interleave((20 * probabilities).round().long())


def best_logits(kind: str, made: Tensor, a_plus: float, a_minus: float) -> Tensor:
    """The logits that minimise the loss, found by gradients: Newton steps, since each atom stands alone."""
    logits = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    for _ in range(30):
        samples = (expectation(logits, p) for p in (DATA, made, UNWANTED))
        loss = rumi_discriminator_loss(*samples, kind=kind, positive_weight=a_plus, negative_weight=a_minus)
        (slope,) = torch.autograd.grad(loss, logits, create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), logits)
        logits = (logits - slope / bend.clamp(min=1e-9)).clamp(-8, 8).detach().requires_grad_()
    return logits.detach()


def test_the_best_least_squares_discriminator_is_the_weighted_mean_of_the_labels():
    a_plus, a_minus, label = 2.5, 0.5, RumiLabels()
    wanted = a_plus * label.positive * DATA + a_minus * label.negative * UNWANTED + label.fake * MADE
    expected = wanted / (a_plus * DATA + a_minus * UNWANTED + MADE)
    torch.testing.assert_close(best_logits("least_squares", MADE, a_plus, a_minus), expected)


def test_the_best_corrected_sgan_discriminator_is_a_log_ratio():
    expected = (2.5 * DATA / (0.5 * UNWANTED + MADE)).log()
    torch.testing.assert_close(best_logits("softplus", MADE, 2.5, 0.5)[:4], expected[:4])
    assert best_logits("softplus", MADE, 2.5, 0.5)[4] == -8  # no data: as low as it may go


def rest(weight_data: float, weight_unwanted: float) -> Tensor:
    return weight_data * DATA - weight_unwanted * UNWANTED


def test_the_least_squares_generator_rests_where_the_docstring_says():
    """On four atoms, without the one that has no data: there the best logits are level, so nothing is to be gained."""
    label, a_plus, a_minus = RumiLabels(), 2.5, 0.5
    k = (a_plus * label.positive + a_minus * label.negative + label.fake) / (a_plus + a_minus + 1)
    eta_plus = a_plus * (label.positive - k) / (k - label.fake)
    eta_minus = a_minus * (k - label.negative) / (k - label.fake)
    assert (round(eta_plus, 2), round(eta_minus, 2)) == (2.05, 1.05)
    assert eta_plus - eta_minus == pytest.approx(1)
    made = rest(eta_plus, eta_minus)
    logits = a_plus * label.positive * DATA + a_minus * label.negative * UNWANTED + label.fake * made
    logits = logits / (a_plus * DATA + a_minus * UNWANTED + made)
    torch.testing.assert_close(logits, torch.full_like(logits, k))


@pytest.mark.parametrize("a_plus", [1.0, 2.5])
def test_the_corrected_sgan_generator_rests_where_the_docstring_says(a_plus):
    """At (1 + a⁻)p⁺ − a⁻p⁻ = 1.5 p⁺ − 0.5 p⁻ the log ratio is level on all that the generator makes."""
    made = rest(1.5, 0.5)[:4]
    logits = (a_plus * DATA[:4] / (0.5 * UNWANTED[:4] + made)).log()
    torch.testing.assert_close(logits, torch.full_like(logits, math.log(a_plus / 1.5)))


def test_what_the_corrected_sgan_corrects():
    """As shipped, with the negatives called real, the log ratio favours what only the negatives show."""
    shipped = ((2.5 * DATA + UNWANTED) / MADE).log()
    ours = best_logits("softplus", MADE, 2.5, 1.0)
    assert shipped[4] > shipped[3]
    assert ours[4] < ours[:4].min()


def test_the_wasserstein_loss_is_level_where_the_docstring_says():
    """There real, negative and generated images cancel, whatever the critic."""
    made = rest(2.5 / 2, 0.5 / 2)
    for seed in range(3):
        critic = normal(5, seed=seed)
        terms = [(critic * p).sum().reshape(1) for p in (DATA, made, UNWANTED)]
        loss = rumi_discriminator_loss(*terms, kind="wasserstein", positive_weight=2.5, negative_weight=0.5)
        assert loss.item() == pytest.approx(0, abs=1e-12)


# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_downhill_parts_real_from_the_rest(kind):
    real, fake, negative = (torch.full((4,), 0.1, requires_grad=True) for _ in range(3))
    rumi_discriminator_loss(real, fake, negative, kind=kind).backward()
    assert (real.grad < 0).all()
    assert (fake.grad > 0).all()
    assert (negative.grad > 0).all()
    generated = torch.zeros(4, requires_grad=True)
    rumi_generator_loss(generated, kind=kind).backward()
    assert (generated.grad < 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind):
    logits = [normal(4, seed=seed).requires_grad_() for seed in range(3)]
    assert torch.autograd.gradcheck(lambda r, f, n: rumi_discriminator_loss(r, f, n, kind=kind), logits)
    assert torch.autograd.gradcheck(lambda f: rumi_generator_loss(f, kind=kind), logits[:1])


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_averaged_in_float32(kind):
    logits = [300 * normal(1000, seed=seed).half() for seed in range(3)]
    loss = rumi_discriminator_loss(*logits, kind=kind)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, rumi_discriminator_loss(*[x.float() for x in logits], kind=kind))
    assert torch.equal(rumi_generator_loss(logits[0], kind=kind), rumi_generator_loss(logits[0].float(), kind=kind))


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_equals_eager(kind):
    logits = [normal(4, seed=seed) for seed in range(3)]
    criterion = RumiDiscriminatorLoss(kind)
    compiled = torch.compile(criterion, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(*logits), criterion(*logits))


@pytest.mark.parametrize("kind", KINDS)
def test_modules_equal_functions(kind):
    logits = [normal(4, seed=seed) for seed in range(3)]
    settings = {"kind": kind, "positive_weight": 2.0, "negative_weight": 0.3, "labels": labels_of(kind)}
    criterion = pickle.loads(pickle.dumps(RumiDiscriminatorLoss(**settings)))
    assert torch.equal(criterion(*logits), rumi_discriminator_loss(*logits, **settings))
    generator = RumiGeneratorLoss(kind, labels_of(kind))
    assert torch.equal(generator(logits[0]), rumi_generator_loss(logits[0], kind=kind, labels=labels_of(kind)))
    weights = "positive_weight=2.0, negative_weight=0.3"
    assert repr(criterion) == f"RumiDiscriminatorLoss(kind={kind!r}, {weights}, labels={labels_of(kind)})"
    assert repr(RumiGeneratorLoss("softplus")) == "RumiGeneratorLoss(kind='softplus', labels=None)"


def test_modules_have_the_functions_defaults():
    for function, module in (
        (rumi_discriminator_loss, RumiDiscriminatorLoss),
        (rumi_generator_loss, RumiGeneratorLoss),
    ):
        defaults = {name: parameter.default for name, parameter in inspect.signature(module).parameters.items()}
        of_function = inspect.signature(function).parameters
        assert defaults == {name: of_function[name].default for name in defaults}


@pytest.mark.parametrize("weight", [0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("name", ["positive_weight", "negative_weight"])
def test_weights_are_positive(name, weight):
    logits = torch.zeros(2)
    for call in (
        lambda: rumi_discriminator_loss(logits, logits, logits, **{name: weight}),
        lambda: RumiDiscriminatorLoss(**{name: weight}),
    ):
        with pytest.raises(ValueError, match=f"{name} must be a finite number above 0, got {weight}"):
            call()


def test_wasserstein_needs_the_heavier_positives():
    with pytest.raises(ValueError, match=r"negative_weight must be below positive_weight, got 1.0 and 1.0"):
        RumiDiscriminatorLoss("wasserstein", 1.0, 1.0)
    RumiDiscriminatorLoss("softplus", 1.0, 1.0)


@pytest.mark.parametrize(
    "labels",
    [
        RumiLabels(negative=0.0),
        RumiLabels(positive=-0.5),
        RumiLabels(target=-1.0),
        RumiLabels(positive=math.nan),
        RumiLabels(negative=-math.inf),
    ],
    ids=["negative above fake", "positive at fake", "target below fake", "nan", "infinite"],
)
def test_labels_out_of_order(labels):
    for call in (
        lambda: rumi_discriminator_loss(*torch.zeros(3, 2), labels=labels),
        lambda: rumi_generator_loss(torch.zeros(2), labels=labels),
        lambda: RumiDiscriminatorLoss(labels=labels),
        lambda: RumiGeneratorLoss(labels=labels),
    ):
        with pytest.raises(ValueError, match="labels must be finite, with negative <= fake < positive"):
            call()


def test_negatives_may_be_labelled_as_generated_images_are():
    labels = RumiLabels(negative=-0.5)
    logits = normal(4), normal(4, seed=1), normal(4, seed=2)
    expected = 2.5 * (logits[0] - 2).square().mean() + (logits[1] + 0.5).square().mean()
    expected = expected + 0.5 * (logits[2] + 0.5).square().mean()
    torch.testing.assert_close(rumi_discriminator_loss(*logits, labels=labels), expected)


@pytest.mark.parametrize("kind", ["wasserstein", "softplus"])
def test_labels_are_not_ignored(kind):
    with pytest.raises(ValueError, match=f"labels belong to kind='least_squares', kind='{kind}' has no use"):
        RumiGeneratorLoss(kind, RumiLabels())


def test_unknown_kind():
    with pytest.raises(ValueError, match=r"kind must be one of 'least_squares'.*got 'hinge'"):
        RumiGeneratorLoss("hinge")
    with pytest.raises(ValueError, match="Did you mean 'least_squares'"):
        RumiDiscriminatorLoss("leastsquares")


@pytest.mark.parametrize("position", ["fake", "negative"])
def test_trailing_shapes_must_agree(position):
    logits = {"real": torch.zeros(4), "fake": torch.zeros(4), "negative": torch.zeros(4), position: torch.zeros(4, 1)}
    with pytest.raises(ValueError, match=rf"{position} has logits of shape \(4, 1\) but real has \(4,\)"):
        rumi_discriminator_loss(**logits)


@pytest.mark.parametrize("position", ["real", "fake", "negative"])
def test_empty_and_integer_logits(position):
    logits = {"real": torch.zeros(4), "fake": torch.zeros(4), "negative": torch.zeros(4)}
    with pytest.raises(ValueError, match=f"{position} is empty"):
        rumi_discriminator_loss(**{**logits, position: torch.zeros(0)})
    with pytest.raises(TypeError, match=rf"{position} must be floating point, got torch.int64"):
        rumi_discriminator_loss(**{**logits, position: torch.zeros(4, dtype=torch.long)})


def test_generated_logits_of_the_generator_are_named():
    with pytest.raises(ValueError, match=r"^fake is empty"):
        rumi_generator_loss(torch.zeros(0))
