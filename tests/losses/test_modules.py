"""A module is its function with the settings kept: each of them reaches the function, and the defaults are the same."""

import inspect
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from nda_augment import losses
from nda_augment.losses import (
    RumiLabels,
    classification,
    contrastive,
    dense,
    gan,
    hard_negatives,
    mixed,
    one_class,
    rumi,
)
from nda_augment.losses.options import complete

SEEDED = torch.Generator().manual_seed(0)
CONTRASTIVE = {
    "temperature": 0.3,
    "negative_scale": 2.0,
    "negative_weight": 0.7,
    "concentration": 0.5,
    "feature_modification": 0.1,
    "scope": "batch",
    "negative_gradient": True,
    "gather_distributed": True,
}

COUNTS = {"n_hardest": 5, "n_mix": 4, "n_mix_query": 3}


class Twins(NamedTuple):
    """A module, its function, where that lives, how many tensors both take, and settings unlike the defaults."""

    cls: type[nn.Module]
    where: ModuleType
    function: str
    inputs: int
    settings: dict[str, Any]
    required: dict[str, Any] = {}  # noqa: RUF012 - nobody writes into it


TWINS = [
    Twins(losses.InfoNCELoss, contrastive, "info_nce", 2, CONTRASTIVE | {"in_batch": True, "decoupled": True}),
    Twins(losses.NTXentLoss, contrastive, "nt_xent", 2, CONTRASTIVE | {"negative_gradient": False}),
    Twins(losses.DCLLoss, contrastive, "dcl", 2, CONTRASTIVE | {"negative_gradient": False}),
    Twins(losses.SupConLoss, contrastive, "sup_con", 2, CONTRASTIVE | {"scope": "own", "negative_gradient": False}),
    Twins(losses.DenseInfoNCELoss, dense, "dense_info_nce", 2,
          CONTRASTIVE | {"negative_gradient": False, "normalize": True}),
    Twins(losses.HardNegativeMixing, hard_negatives, "mix_hard_negatives", 2,
          COUNTS | {"detach": False}, required=COUNTS),
    Twins(losses.ClassificationLoss, classification, "classification_loss", 2,
          {"kind": "contrastive", "negative_weight": 1.5, "temperature": 0.3}),
    Twins(losses.DiscriminatorLoss, gan, "discriminator_loss", 3, {"kind": "hinge", "fake_weight": 0.5}),
    Twins(losses.GeneratorLoss, gan, "generator_loss", 1, {"kind": "hinge"}),
    Twins(losses.DecoupledMixupLoss, mixed, "decoupled_mixup", 4, {"decoupled_weight": 0.3, "power": 2.0}),
    Twins(losses.CSILoss, one_class, "csi", 3, {"temperature": 0.3, "shift_weight": 0.5}),
    Twins(losses.UniCLRLoss, one_class, "uniclr", 2, {"temperature": 0.3, "aggregation_temperature": 0.4}),
    Twins(losses.RumiDiscriminatorLoss, rumi, "rumi_discriminator_loss", 3,
          {"kind": "least_squares", "positive_weight": 2.0, "negative_weight": 0.7, "labels": RumiLabels(3.0)}),
    Twins(losses.RumiGeneratorLoss, rumi, "rumi_generator_loss", 1, {"kind": "wasserstein"}),
    Twins(losses.RumiGeneratorLoss, rumi, "rumi_generator_loss", 1, {"labels": RumiLabels(3.0)}),
]  # fmt: skip


@pytest.fixture(params=TWINS, ids=lambda twins: twins.function)
def twins(request: pytest.FixtureRequest) -> Twins:
    return request.param


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch, twins: Twins) -> dict[str, Any]:
    """What the module says to its function, by the function's names."""
    signature = inspect.signature(getattr(twins.where, twins.function))
    arguments: dict[str, Any] = {}

    def listen(*args: Any, **kwargs: Any) -> None:
        arguments.update(signature.bind(*args, **kwargs).arguments)
        arguments.update(arguments.pop("options", {}))

    monkeypatch.setattr(twins.where, twins.function, listen)
    return arguments


def inputs(twins: Twins) -> list[torch.Tensor]:
    return [torch.full((2, 3), float(place)) for place in range(twins.inputs)]


def test_every_tensor_reaches_the_function_in_its_place(twins: Twins, heard: dict[str, Any]) -> None:
    given = inputs(twins)
    twins.cls(**twins.required)(*given)
    assert all(heard[name] is tensor for name, tensor in zip(heard, given, strict=False))


def test_every_setting_reaches_the_function(twins: Twins, heard: dict[str, Any]) -> None:
    twins.cls(**twins.settings)(*inputs(twins))
    assert {name: heard[name] for name in twins.settings} == twins.settings


def test_the_defaults_are_the_same(twins: Twins, heard: dict[str, Any]) -> None:
    twins.cls(**twins.required)(*inputs(twins))
    parameters = inspect.signature(getattr(losses, twins.function)).parameters
    defaults = {
        name: parameters[name].default for name in twins.settings if name not in twins.required and name in parameters
    }
    if "options" in parameters:
        # Whether the function takes the same, test_contrastive sees in the values.
        defaults |= complete({}, twins.cls.defaults)
    assert {name: heard[name] for name in defaults} == defaults


def test_the_generator_reaches_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(hard_negatives, "mix_hard_negatives", lambda *_, generator, **__: given.append(generator))
    losses.HardNegativeMixing(5, 4, 3)(torch.ones(2, 3), torch.ones(9, 3), SEEDED)
    assert given == [SEEDED]


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, labels: losses.info_nce(x, x, negatives=x),
        lambda x, labels: losses.info_nce(x, x, queue=x, negatives=x),
        lambda x, labels: losses.nt_xent(x, x, negatives=x),
        lambda x, labels: losses.dcl(x, x, negatives=x),
        lambda x, labels: losses.sup_con(x, labels, negatives=x),
        lambda x, labels: losses.negative_logits(x, x, temperature=1.0),
        lambda x, labels: losses.mix_hard_negatives(x, x, n_hardest=3, n_mix=2, n_mix_query=2),
        lambda x, labels: losses.mix_hard_negatives(
            x, x, n_hardest=3, n_mix=2, n_mix_query=2, generator=torch.Generator()
        ),
        lambda x, labels: losses.discriminator_loss(x, x, x),
        lambda x, labels: losses.generator_loss(x),
        lambda x, labels: losses.classification_loss(x, labels, negative_logits=x),
        lambda x, labels: losses.classification_loss(x, labels, features=x, negative_features=x, kind="contrastive"),
        lambda x, labels: losses.rumi_discriminator_loss(x, x, x),
        lambda x, labels: losses.uniclr(x[:, None].repeat(1, 2, 1), x[:, None].repeat(1, 2, 1)),
        lambda x, labels: losses.csi(x.view(2, 2, 4), x.view(2, 2, 4), x.view(2, 2, 4)[:, :, :2]),
    ],
    ids=range(15),
)
def test_nothing_is_read_back_from_the_device(loss: Any) -> None:
    """A tensor on the meta device has no values: whoever asks for one, or puts one elsewhere, fails."""
    images, labels = torch.ones(4, 4, device="meta"), torch.ones(4, dtype=torch.long, device="meta")
    assert loss(images, labels).device.type == "meta"
