from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from examples.common.contrastive import methods
from examples.video import data, train
from examples.video.config import Config
from nda_augment.losses import info_nce, nt_xent
from tests.examples.video.conftest import Tiny

METHODS = ["simclr", "moco"]


def build(settings: Config) -> Any:
    training, _ = data.load(settings.DATA)
    method = methods.make(settings, training, lambda: train.parts(settings))
    method.trainer = SimpleNamespace(world_size=1, training=True, global_step=0, global_rank=0)  # type: ignore[assignment]
    return method


def views(count: int = 3) -> list[Tensor]:
    return list(torch.randn(count, 8, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0)))


def norms_only_in_train_mode(method: Any) -> None:
    """Statistics of a batch differ between one forward pass and two; the running ones do not."""
    for layer in method.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm3d):
            layer.eval()


@pytest.mark.parametrize("policy", ["jigsaw", "cutout", "stitch"])
def test_a_negative_is_one_draw_for_all_frames(tiny: Tiny, policy: str) -> None:
    still = views()[0][:, :1].expand(-1, 4, -1, -1, -1)
    negatives = build(tiny("run", f"AUG.nda_policy={policy}")).make_negatives(still)
    assert not torch.equal(negatives, still)
    assert torch.equal(negatives, negatives[:, :1].expand_as(negatives))


@pytest.mark.parametrize("policy", ["frameshuffle", "framereverse"])
def test_negatives_in_time_keep_every_frame(tiny: Tiny, policy: str) -> None:
    clips = views()[0]
    negatives = build(tiny("run", f"AUG.nda_policy={policy}")).make_negatives(clips)
    for clip, negative in zip(clips, negatives, strict=True):
        order = [next(t for t, frame in enumerate(clip) if torch.equal(frame, other)) for other in negative]
        assert sorted(order) == list(range(4))
        assert order != list(range(4))


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_gets_views_and_negatives_of_the_first(tiny: Tiny, method: str) -> None:
    built = build(tiny("run", f"MODEL.method={method}", "AUG.nda_policy=framereverse"))
    batch = [built.data.images[:8], built.data.labels[:8], 0]
    (x0, x1, negatives), labels, number = built.on_after_batch_transfer(batch, 0)
    assert x0.shape == x1.shape == (8, 4, 3, 8, 8)
    assert torch.equal(negatives, x0.flip(1))
    assert torch.equal(labels, batch[1])
    assert number == 0


def test_negatives_are_a_function_of_seed_and_step(tiny: Tiny) -> None:
    def negatives(seed: int, step: int) -> Tensor:
        method = build(tiny("run", f"RUN.seed={seed}"))
        method.trainer.global_step = step
        made: Tensor = method.make_negatives(views()[0])
        return made

    assert torch.equal(negatives(0, 5), negatives(0, 5))
    assert not torch.equal(negatives(0, 5), negatives(0, 6))
    assert not torch.equal(negatives(0, 5), negatives(1, 5))


@pytest.mark.parametrize("name", METHODS)
def test_arms_start_from_the_same_weights(tiny: Tiny, name: str) -> None:
    plain = build(tiny("plain", f"MODEL.method={name}", "AUG.apply_nda=false"))
    negative = build(tiny("negative", f"MODEL.method={name}"))
    other = build(tiny("other", f"MODEL.method={name}", "RUN.seed=1"))
    assert plain.nda_transform is None
    states = [each.state_dict() for each in (plain, negative, other)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(ours, states[1][key]) for key, ours in states[0].items())
    assert any(not torch.equal(ours, states[2][key]) for key, ours in states[0].items())


def test_simclr_has_the_loss_of_the_package(tiny: Tiny) -> None:
    method = build(tiny("run", "LOSS.nda_scale=2"))
    norms_only_in_train_mode(method)
    x0, x1, negatives = views()
    embed = nn.Sequential(method.backbone, method.head)
    expected = nt_xent(embed(x0), embed(x1), negatives=embed(negatives), temperature=0.2, negative_scale=2.0)
    torch.testing.assert_close(method.loss(x0, x1, negatives, 0), expected)


def test_moco_has_the_loss_of_the_package(tiny: Tiny) -> None:
    method = build(tiny("run", "MODEL.method=moco", "LOSS.nda_scale=2"))
    norms_only_in_train_mode(method)
    queue = method.criterion.memory_bank.bank.clone()
    x0, x1, negatives = views()
    loss = method.loss(x0, x1, negatives, 0)
    query, key, other = method.head(method.backbone(x0)), method.key_encoder(x1), method.key_encoder(negatives)
    expected = info_nce(query, key, queue=queue, negatives=other, temperature=0.2, negative_scale=2.0)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("name", METHODS)
def test_negatives_raise_the_loss_and_leave_the_statistics_alone(tiny: Tiny, name: str) -> None:
    x0, x1, negatives = views()
    losses, states = [], []
    for given in (None, negatives):
        method = build(tiny("run", f"MODEL.method={name}"))
        losses.append(method.loss(x0, x1, given, 0))
        states.append([value.clone() for value in method.state_dict().values()])
    assert losses[1] > losses[0]
    assert all(torch.equal(*pair) for pair in zip(*states, strict=True))


def test_the_encoder_is_that_of_clips_alone(tiny: Tiny) -> None:
    method = build(tiny("run"))
    assert not any(isinstance(layer, nn.Conv2d) for layer in method.modules())
    trained = {id(p) for group in method.configure_optimizers()[0][0].param_groups for p in group["params"]}
    assert {id(parameter) for parameter in method.backbone.parameters()} <= trained
