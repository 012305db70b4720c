from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from examples.common.contrastive import methods
from examples.video import data, train
from examples.video.dpc import DPC, ConvGRU
from nda_augment.losses import dense_info_nce
from tests.examples.video.conftest import METHODS, Tiny


def build(tiny: Tiny, *words: str) -> DPC:
    settings = tiny("run", *METHODS["dpc"], "LOSS.temperature=1", *words)
    method = methods.make(settings, data.load(settings.DATA)[0], lambda: train.parts(settings), train.KNOWN)
    method.trainer = SimpleNamespace(world_size=1, training=True, global_step=0, global_rank=0)  # type: ignore[assignment]
    assert isinstance(method, DPC)
    method.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    return method


def clips(count: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(count, 8, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def weights_of(layer: nn.Conv2d) -> tuple[Tensor, Tensor]:
    assert layer.bias is not None
    return layer.weight.flatten(1), layer.bias


def test_the_recurrent_unit_is_a_gru_at_every_place() -> None:
    torch.manual_seed(0)
    unit = ConvGRU(3)
    features, state = torch.randn(2, 3, 2, 2), torch.randn(2, 3, 2, 2)
    gates, proposal = weights_of(unit.gates), weights_of(unit.proposal)
    following = unit(features, state)
    for b, y, x in torch.cartesian_prod(torch.arange(2), torch.arange(2), torch.arange(2)).tolist():
        new, old = features[b, :, y, x], state[b, :, y, x]
        reset, update = torch.sigmoid(gates[0] @ torch.cat([new, old]) + gates[1]).chunk(2)
        proposed = torch.tanh(proposal[0] @ torch.cat([new, reset * old]) + proposal[1])
        torch.testing.assert_close(following[b, :, y, x], (1 - update) * old + update * proposed)


def plain(method: DPC, batch: Tensor) -> Tensor:
    """Dense predictive coding written out, without negatives."""
    context, steps = method.backbone, 3
    blocks = [context.trunk(batch[:, start : start + 2]).mean(dim=2) for start in range(0, 8, 2)]
    state = torch.zeros_like(blocks[0])
    for block in blocks[:-steps]:
        state = context.recurrent(block.relu(), state)
    predictions = []
    for _ in range(steps):
        predictions.append(method.predictor(state))
        state = context.recurrent(predictions[-1].relu(), state)
    rows, columns = (
        torch.stack(maps, dim=1).permute(0, 1, 3, 4, 2).flatten(0, 3) for maps in (predictions, blocks[-steps:])
    )
    return F.cross_entropy(rows @ columns.T, torch.arange(len(rows)))


def test_without_negatives_it_is_plain_dense_predictive_coding_bit_for_bit(tiny: Tiny) -> None:
    """In eval mode, where blocks can be encoded one by one; value and gradient."""
    found = []
    for written in (False, True):
        method = build(tiny, "AUG.apply_nda=false")
        method.eval()
        loss = plain(method, clips()) if written else method.loss(clips(), None, 1)
        loss.backward()
        found.append((loss, [weight.grad for weight in method.parameters()]))
    assert torch.equal(found[0][0], found[1][0])
    for ours, theirs in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_columns_of_the_negated_clip_join_the_matrix(tiny: Tiny) -> None:
    method = build(tiny, "LOSS.nda_scale=2", "LOSS.nda_scope=batch")
    method.eval()
    negated = clips(seed=1)
    encode = method.backbone.encode
    predictions, targets, negatives = (
        maps.permute(0, 1, 3, 4, 2).flatten(2, 3)
        for maps in (method.predict(encode(clips())), encode(clips())[:, -3:], encode(negated)[:, -3:])
    )
    expected = dense_info_nce(predictions, targets, negatives=negatives, negative_scale=2.0, scope="batch")
    torch.testing.assert_close(method.loss(clips(), negated, 1), expected)


def test_negatives_raise_the_loss_and_leave_the_statistics_alone(tiny: Tiny) -> None:
    losses, states = [], []
    for given in (None, clips(seed=1)):
        method = build(tiny)
        losses.append(method.loss(clips(), given, 1))
        states.append([value.clone() for value in method.state_dict().values()])
    assert losses[1] > losses[0]
    assert all(torch.equal(*pair) for pair in zip(*states, strict=True))


def test_a_batch_has_one_view_and_its_negative(tiny: Tiny) -> None:
    method = build(tiny, "AUG.nda_policy=framereverse", "DATA.length=10")
    assert method.data.images.shape[1] == 10
    batch = [method.data.images[:8], torch.zeros(8), 0]
    (view, negative), _, _ = method.on_after_batch_transfer(batch, 0)
    assert view.shape == (8, 8, 3, 8, 8)
    assert torch.equal(negative, view.flip(1))


def test_the_kinds_of_candidates_are_logged(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    method = build(tiny, "RUN.print_freq=2")
    logged: list[dict[str, Any]] = []
    monkeypatch.setattr(method, "log_dict", lambda values, **_: logged.append(values))
    for number in range(3):
        method.loss(clips(), clips(seed=1), number)
    assert len(logged) == 2
    assert list(logged[0]) == [f"share/{kind}" for kind in ("positive", "temporal", "spatial", "easy", "negative")]
    assert sum(logged[0].values()).item() == pytest.approx(1, abs=1e-5)  # type: ignore[attr-defined]
    assert logged[0]["share/negative"] > 0
