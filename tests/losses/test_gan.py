import inspect
import math
import pickle
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from nda_augment.losses import (
    DiscriminatorLoss,
    GANKind,
    GeneratorLoss,
    discriminator_loss,
    discriminator_terms,
    gan,
    generator_loss,
    rumi_discriminator_loss,
    rumi_generator_loss,
    with_negatives,
)
from nda_augment.losses._logits import SigmoidWatch

KINDS = get_args(GANKind)


def penalty(kind: str, role: str, logit: float) -> float:
    """The textbook penalty of one logit."""
    if kind == "softplus":
        return math.log1p(math.exp(logit if role == "fake" else -logit))
    if kind == "hinge":
        return {"real": max(0.0, 1 - logit), "fake": max(0.0, 1 + logit), "generator": -logit}[role]
    if kind == "least_squares":
        return 0.5 * (logit - (0 if role == "fake" else 1)) ** 2
    return logit if role == "fake" else -logit


def mean_penalty(kind: str, role: str, logits: Tensor) -> float:
    values = [penalty(kind, role, logit) for logit in logits.flatten().tolist()]
    return sum(values) / len(values)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=25)
@given(
    sizes=st.tuples(*[st.integers(1, 5)] * 3),
    trailing=st.lists(st.integers(1, 3), max_size=3),
    fake_weight=st.floats(0.01, 1),
    seed=st.integers(0, 2**31),
)
def test_equals_the_sum_written_out(kind, sizes, trailing, fake_weight, seed):
    real, fake, negative = (normal(size, *trailing, seed=seed + i) for i, size in enumerate(sizes))
    expected = mean_penalty(kind, "real", real) + fake_weight * mean_penalty(kind, "fake", fake)
    expected += (1 - fake_weight) * mean_penalty(kind, "fake", negative)
    loss = discriminator_loss(real, fake, negative, kind=kind, fake_weight=fake_weight)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected, rel=1e-8, abs=1e-8)
    assert generator_loss(fake, kind=kind).item() == pytest.approx(mean_penalty(kind, "generator", fake), rel=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_is_a_mixture_of_two_plain_losses(kind):
    """A trainer that only has ``d_loss(real, fake)`` gets the same from two calls of it."""
    real, fake, negative = normal(6), normal(6, seed=1), normal(6, seed=2)
    plain_fake = discriminator_loss(real, fake, kind=kind, fake_weight=1)
    plain_negative = discriminator_loss(real, negative, kind=kind, fake_weight=1)
    loss = discriminator_loss(real, fake, negative, kind=kind, fake_weight=0.3)
    torch.testing.assert_close(loss, 0.3 * plain_fake + 0.7 * plain_negative)


PLAIN = {
    "softplus": lambda real, fake: F.softplus(-real).mean() + F.softplus(fake).mean(),
    "hinge": lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
    "least_squares": lambda real, fake: (0.5 * (real - 1) ** 2).mean() + (0.5 * fake**2).mean(),
    "wasserstein": lambda real, fake: -real.mean() + fake.mean(),
}


@pytest.mark.parametrize("negative", [None, normal(64, seed=2), torch.full((64,), math.nan)])
@pytest.mark.parametrize("kind", KINDS)
def test_weight_one_is_the_plain_loss_bit_for_bit(kind, negative):
    real, fake = normal(64, dtype=torch.float32), normal(64, seed=1, dtype=torch.float32)
    loss = discriminator_loss(real, fake, negative, kind=kind, fake_weight=1)
    assert torch.equal(loss, PLAIN[kind](real, fake))
    assert torch.equal(DiscriminatorLoss(kind, fake_weight=1.0)(real, fake, negative), loss)


@pytest.mark.parametrize("kind", KINDS)
def test_weight_one_has_the_plain_gradients(kind):
    real, fake, negative = (normal(8, seed=seed).requires_grad_() for seed in range(3))
    discriminator_loss(real, fake, negative, kind=kind, fake_weight=1).backward()
    expected = torch.autograd.grad(PLAIN[kind](real, fake), [real, fake])
    assert torch.equal(real.grad, expected[0])
    assert torch.equal(fake.grad, expected[1])
    assert negative.grad is None


@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind):
    logits = [normal(4, 2, seed=seed).requires_grad_() for seed in range(3)]
    assert torch.autograd.gradcheck(lambda r, f, n: discriminator_loss(r, f, n, kind=kind, fake_weight=0.4), logits)
    assert torch.autograd.gradcheck(lambda f: generator_loss(f, kind=kind), logits[:1])


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_downhill_parts_real_from_the_rest(kind):
    real, fake, negative = (torch.zeros(4, requires_grad=True) for _ in range(3))
    discriminator_loss(real, fake, negative, kind=kind, fake_weight=0.25).backward()
    assert (real.grad < 0).all()
    if kind != "least_squares":  # its target for what is not real is the 0 it starts from
        assert (fake.grad > 0).all()
        torch.testing.assert_close(negative.grad, 3 * fake.grad)
    generated = torch.zeros(4, requires_grad=True)
    generator_loss(generated, kind=kind).backward()
    assert (generated.grad < 0).all()


# ---------------------------------------------------------------------------------------------------------------------
# The theorem, on distributions over a few points. A point's probability is how often its logit is repeated.
# ---------------------------------------------------------------------------------------------------------------------

DATA = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
UNIFORM = torch.full((4,), 0.25, dtype=torch.float64)
ONE_MODE = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
# The loss of the best discriminator, at one point with so much data (p) and so much of the rest (q) on it.
BEST_LOGIT = {
    "softplus": lambda p, q: (p / q).log(),
    "least_squares": lambda p, q: p / (p + q),
    "hinge": lambda p, q: torch.sign(p - q),
}


def expectation(logits: Tensor, probabilities: Tensor) -> Tensor:
    return logits.repeat_interleave((20 * probabilities).round().long())


def best_loss(kind: str, generator: Tensor, fake_weight: float) -> float:
    """The loss at the optimal discriminator, the negatives being two points where there is no data."""
    on_data = BEST_LOGIT[kind](DATA, fake_weight * generator)
    on_negatives = BEST_LOGIT[kind](torch.zeros(2).double(), torch.full((2,), (1 - fake_weight) / 2).double())
    real, fake = expectation(on_data, DATA), expectation(on_data, generator)
    return discriminator_loss(real, fake, on_negatives, kind=kind, fake_weight=fake_weight).item()


@pytest.mark.parametrize(("fake_weight", "divergence"), [(0.75, 0.19121), (0.5, 0.43152), (0.25, 0.76079)])
def test_softplus_at_the_optimum_is_the_closed_form(fake_weight, divergence):
    """There L = 2 log 2 − D_f(data ‖ Q), and D_f = (1 − λ) f(0) + λ f(1/λ) for f(u) = u log u − (u+1) log((u+1)/2)."""

    def f(u: float) -> float:
        return (u * math.log(u) if u else 0.0) - (u + 1) * math.log((u + 1) / 2)

    exact = (1 - fake_weight) * f(0) + fake_weight * f(1 / fake_weight)
    assert exact == pytest.approx(divergence, abs=5e-6)
    assert best_loss("softplus", DATA, fake_weight) == pytest.approx(2 * math.log(2) - exact, abs=1e-12)


@pytest.mark.parametrize("fake_weight", [0.75, 0.5, 0.25])
def test_other_kinds_at_the_optimum_are_their_closed_forms(fake_weight):
    expected = 0.5 * fake_weight / (1 + fake_weight)
    assert best_loss("least_squares", DATA, fake_weight) == pytest.approx(expected, abs=1e-12)
    assert best_loss("hinge", DATA, fake_weight) == pytest.approx(2 * fake_weight, abs=1e-12)


@pytest.mark.parametrize("kind", ["softplus", "least_squares"])
def test_strictly_convex_kinds_single_out_the_data(kind):
    """A generator makes the best discriminator's loss as large as it can."""
    wrong = (UNIFORM, ONE_MODE, torch.tensor([0.45, 0.25, 0.2, 0.1], dtype=torch.float64))
    for fake_weight in (0.25, 0.5, 1.0):
        assert all(
            best_loss(kind, DATA, fake_weight) > best_loss(kind, other, fake_weight) + 1e-5 for other in wrong
        ), fake_weight


def test_hinge_does_not_single_out_the_data():
    assert best_loss("hinge", UNIFORM, 0.25) == pytest.approx(best_loss("hinge", DATA, 0.25))
    assert best_loss("hinge", ONE_MODE, 0.25) == pytest.approx(best_loss("hinge", DATA, 0.25))
    assert best_loss("hinge", ONE_MODE, 1.0) < best_loss("hinge", DATA, 1.0) - 0.1


def test_wasserstein_moves_the_optimum():
    """Data on 0 and 1, negatives on 2: a generator that leaves 1 to the negatives beats the data itself."""

    def best(generator: Tensor) -> float:
        critics = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 2)  # every slope the Lipschitz bound allows
        values = torch.cat([torch.zeros(len(critics), 1), critics.cumsum(dim=1)], dim=1)
        data = torch.tensor([0.5, 0.5, 0.0])
        losses = [
            discriminator_loss(
                expectation(v, data), expectation(v, generator), v[2:], kind="wasserstein", fake_weight=0.5
            )
            for v in values
        ]
        return min(losses).item()

    assert best(torch.tensor([0.5, 0.5, 0.0])) == pytest.approx(-0.75)
    assert best(torch.tensor([1.0, 0.0, 0.0])) == pytest.approx(-0.5)


# ---------------------------------------------------------------------------------------------------------------------


def test_terms_are_for_logging():
    real, fake, negative = (normal(5, seed=seed).requires_grad_() for seed in range(3))
    terms = discriminator_terms(real, fake, negative)
    assert terms.logit_gap.item() == pytest.approx((real.mean() - negative.mean()).item())
    assert not terms.logit_gap.requires_grad
    assert torch.equal(terms.total(0.4), discriminator_loss(real, fake, negative, fake_weight=0.4))
    assert torch.equal(terms.total(), discriminator_loss(real, fake, negative))
    torch.testing.assert_close(terms.hardness, (negative - real.mean()).detach())
    assert not terms.hardness.requires_grad
    assert terms.logit_gap == -terms.hardness.mean()
    without = discriminator_terms(real, fake)
    assert (without.negative, without.logit_gap, without.hardness) == (None, None, None)
    assert torch.equal(without.real, terms.real)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_averaged_in_float32(kind, dtype):
    real, fake, negative = (300 * normal(1000, seed=seed).to(dtype) for seed in range(3))
    loss = discriminator_loss(real, fake, negative, kind=kind)
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert torch.equal(loss, discriminator_loss(real.float(), fake.float(), negative.float(), kind=kind))
    assert torch.equal(generator_loss(fake, kind=kind), generator_loss(fake.float(), kind=kind))


@pytest.mark.parametrize("kind", KINDS)
def test_compiles_in_one_piece(kind):
    real, fake, negative = normal(4, 1), normal(4, 1, seed=1), normal(4, 1, seed=2)
    for criterion in (DiscriminatorLoss(kind, 0.25), DiscriminatorLoss(kind, 1)):
        compiled = torch.compile(criterion, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(real, fake, negative), criterion(real, fake, negative))
    compiled = torch.compile(GeneratorLoss(kind), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(fake), generator_loss(fake, kind=kind))


@pytest.mark.parametrize("kind", KINDS)
def test_modules_equal_functions(kind):
    real, fake, negative = normal(4), normal(4, seed=1), normal(4, seed=2)
    criterion = pickle.loads(pickle.dumps(DiscriminatorLoss(kind, fake_weight=0.4)))
    assert torch.equal(
        criterion(real, fake, negative), discriminator_loss(real, fake, negative, kind=kind, fake_weight=0.4)
    )
    criterion.fake_weight = 0.7
    assert torch.equal(
        criterion(real, fake, negative), discriminator_loss(real, fake, negative, kind=kind, fake_weight=0.7)
    )
    assert torch.equal(GeneratorLoss(kind)(fake), generator_loss(fake, kind=kind))
    assert repr(criterion) == f"DiscriminatorLoss(kind={kind!r}, fake_weight=0.7)"
    assert repr(GeneratorLoss(kind)) == f"GeneratorLoss(kind={kind!r}, prior=1.0)"


def test_modules_have_the_functions_defaults():
    function, module = inspect.signature(discriminator_loss).parameters, inspect.signature(DiscriminatorLoss).parameters
    assert {name: module[name].default for name in module} == {name: function[name].default for name in module}
    function, module = inspect.signature(generator_loss).parameters, inspect.signature(GeneratorLoss).parameters
    assert {name: module[name].default for name in module} == {
        name: function[name].default for name in function if name != "fake"
    }


@pytest.mark.parametrize("fake_weight", [0, -0.25, 1.5, math.nan, math.inf])
def test_fake_weight_outside_its_range(fake_weight):
    logits = torch.zeros(2)
    for call in (
        lambda: discriminator_loss(logits, logits, logits, fake_weight=fake_weight),
        lambda: discriminator_terms(logits, logits, logits).total(fake_weight),
        lambda: DiscriminatorLoss(fake_weight=fake_weight),
    ):
        with pytest.raises(ValueError, match=rf"\(0, 1\], got {fake_weight}"):
            call()


def test_missing_negatives_say_what_to_do():
    with pytest.raises(ValueError, match=r"fake_weight=0.75 leaves 0.25 .* to negatives.*or fake_weight=1"):
        discriminator_loss(torch.zeros(2), torch.zeros(2))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("softmax", "Did you mean 'softplus'?"),
        ("Hinge", "Did you mean 'hinge'?"),
        ("relativistic", ""),
        *((word, "which is 'softplus' here") for word in ("bce", "BCE", "vanilla", "logistic", "ns", "non-saturating")),
        *((word, "which is 'least_squares' here") for word in ("lsgan", "LSGAN", "mse")),
        *((word, "which is 'wasserstein' here") for word in ("wgan", "wgan-gp", "WGAN-GP")),
    ],
)
def test_unknown_kind(word, message):
    for call in (
        lambda: discriminator_loss(torch.zeros(2), torch.zeros(2), torch.zeros(2), kind=word),
        lambda: generator_loss(torch.zeros(2), kind=word),
        lambda: DiscriminatorLoss(word),
        lambda: GeneratorLoss(word),
    ):
        with pytest.raises(ValueError, match=f"kind must be one of 'softplus'.*got '{word}'") as error:
            call()
        assert message in str(error.value)


@pytest.mark.parametrize("position", ["fake", "negative"])
def test_trailing_shapes_must_agree(position):
    logits = {"real": torch.zeros(4), "fake": torch.zeros(4), "negative": torch.zeros(4), position: torch.zeros(4, 1)}
    with pytest.raises(ValueError, match=rf"{position} has logits of shape \(4, 1\) but real has \(4,\)"):
        discriminator_loss(**logits)


def test_one_logit_without_a_batch_dimension():
    """A discriminator that squeezes its output hands over a 0-d tensor for a batch of one."""
    assert torch.equal(discriminator_loss(*torch.zeros(3)), discriminator_loss(*torch.zeros(3, 1)))


@pytest.mark.parametrize("position", ["real", "fake", "negative"])
def test_empty_and_integer_logits(position):
    logits = {"real": torch.zeros(4), "fake": torch.zeros(4), "negative": torch.zeros(4)}
    with pytest.raises(ValueError, match=f"{position} is empty"):
        discriminator_loss(**{**logits, position: torch.zeros(0)})
    with pytest.raises(TypeError, match=rf"{position} must be floating point, got torch.int64"):
        discriminator_loss(**{**logits, position: torch.zeros(4, dtype=torch.long)})


def test_the_generator_minimises_softplus_by_default_and_names_its_logits():
    fake = torch.tensor([-1.0, 2.0])
    assert torch.equal(generator_loss(fake), generator_loss(fake, kind="softplus"))
    with pytest.raises(TypeError, match=r"^fake must be floating point"):
        generator_loss(fake.long())


# ---------------------------------------------------------------------------------------------------------------------


def test_the_prior_undoes_the_shift_of_the_best_discriminator():
    """Against the best discriminator at λ, the corrected generator pulls as against the best plain one."""
    data, generator = torch.tensor([0.7, 0.3]).double(), torch.tensor([0.4, 0.6]).double()
    plain, shifted = (data / generator).log(), (data / (0.4 * generator)).log()
    assert generator_loss(shifted, prior=0.4).item() == pytest.approx(generator_loss(plain).item(), abs=1e-12)
    assert generator_loss(shifted).item() < generator_loss(plain).item() - 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_prior_the_generator_is_as_it_was_bit_for_bit(kind):
    fake = normal(1000, dtype=torch.float32)
    expected = {
        "softplus": F.softplus(-fake).mean(),
        "least_squares": (0.5 * (fake - 1).square()).mean(),
    }.get(kind, (-fake).mean())
    assert torch.equal(generator_loss(fake, kind=kind, prior=1), expected)
    assert torch.equal(GeneratorLoss(kind)(fake), expected)
    assert GeneratorLoss("softplus", prior=0.5)(fake) == generator_loss(fake, prior=0.5)


def test_a_prior_that_means_nothing():
    for prior in (0, 1.5, math.nan):
        with pytest.raises(ValueError, match=rf"prior \(λ\) must be in \(0, 1\], got {prior}"):
            generator_loss(torch.zeros(2), prior=prior)
    for kind in ("hinge", "least_squares", "wasserstein"):
        with pytest.raises(ValueError, match=f"prior=0.5 shifts log-odds, which the logits of kind='{kind}' are not"):
            GeneratorLoss(kind, prior=0.5)


@pytest.mark.parametrize("output", [(torch.zeros(2),), [torch.zeros(2)] * 3, {"adv": torch.zeros(2)}, 0.5])
def test_several_outputs_are_named_with_what_to_do(output):
    logits = torch.zeros(2)
    calls = {
        "real": lambda: discriminator_loss(output, logits, logits),
        "fake": lambda: discriminator_loss(logits, output, logits),
        "negative": lambda: discriminator_loss(logits, logits, output),
    }
    for name, call in calls.items():
        with pytest.raises(TypeError, match=f"^{name} must be one tensor of logits, got {type(output).__name__}"):
            call()
    for loss in (generator_loss, rumi_generator_loss):
        with pytest.raises(TypeError, match=r"^fake must be one tensor.*losses\.with_negatives"):
            loss(output)
    with pytest.raises(TypeError, match=r"^real must be one tensor"):
        rumi_discriminator_loss(output, logits, logits)


class TestProbabilities:
    """A discriminator that ends in a sigmoid gave 1.446 at λ = 1 where its own loss has 0.693, without a word."""

    outputs = tuple(torch.sigmoid(normal(4, 1, seed=seed)) for seed in range(3))

    @pytest.fixture(autouse=True)
    def fresh(self, monkeypatch):
        monkeypatch.setattr(gan, "_SIGMOIDS", SigmoidWatch())

    @staticmethod
    def judge_often(*logits, kind="softplus"):
        for _ in range(SigmoidWatch.batches):
            discriminator_terms(*logits, kind=kind)

    @pytest.mark.parametrize("kind", ["softplus", "hinge"])
    @pytest.mark.parametrize("count", [2, 3])
    def test_they_are_named_once(self, kind, count):
        with pytest.warns(UserWarning, match=r"50 batches .* as after a sigmoid.*with_negatives") as caught:
            self.judge_often(*self.outputs[:count], kind=kind)
        assert len(caught) == 1
        self.judge_often(*self.outputs[:count], kind=kind)

    @pytest.mark.parametrize("kind", ["least_squares", "wasserstein"])
    def test_where_they_belong_nothing_is_said(self, kind):
        self.judge_often(*self.outputs, kind=kind)

    def test_nor_of_logits(self):
        real, fake, negative = self.outputs
        self.judge_often(real, fake, negative - 1)
        self.judge_often(real + 0.5, fake, negative)
        torch.vmap(discriminator_loss)(*self.outputs)

    def test_nor_of_chance(self):
        for _ in range(2):
            for _ in range(SigmoidWatch.batches - 1):
                discriminator_terms(*self.outputs)
            discriminator_terms(*self.outputs[:2], -self.outputs[2])

    def test_the_recipe_with_their_own_loss(self):
        """What with_negatives is for: the user's cross-entropy, with and without negatives."""

        def own(real, fake):
            ones, zeros = torch.ones_like(real), torch.zeros_like(fake)
            return F.binary_cross_entropy(real, ones) + F.binary_cross_entropy(fake, zeros)

        real, fake, negative = self.outputs
        logits = [output.logit() for output in self.outputs]
        with_logits = discriminator_loss(*logits, fake_weight=0.75)
        assert with_negatives(own, real, fake, negative, 0.75).item() == pytest.approx(with_logits.item())
        assert torch.equal(with_negatives(own, real, fake, negative, 1), own(real, fake))
