from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import nda_augment as nda
from examples.common import data
from examples.common.contrastive import methods
from examples.common.contrastive.methods import BYOL, MoCo, SimCLR
from examples.common.randomness import generator
from examples.contrastive import train
from examples.contrastive.backbone import make_backbone
from examples.contrastive.config import Config
from tests.examples.contrastive.conftest import Tiny


def build(settings: Config) -> Any:
    training, _ = data.load_rgb(settings.DATA)
    method = methods.make(settings, training, lambda: train.parts(settings))
    method.trainer = SimpleNamespace(world_size=1, training=True, global_step=0, global_rank=0, current_epoch=0)
    return method


def views(count: int = 3) -> list[Tensor]:
    return list(torch.randn(count, 8, 3, 8, 8, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("backbone", ["resnet-9", "resnet-18"])
@pytest.mark.parametrize("splits", [0, 2])
def test_the_backbone_is_a_resnet_with_a_small_stem(tiny: Tiny, backbone: str, splits: int) -> None:
    settings = tiny("run", f"MODEL.backbone={backbone}", f"MODEL.bn_splits={splits}")
    network, features = make_backbone(settings.MODEL, 32)
    assert features == 4 * 8
    assert network(torch.randn(4, 3, 32, 32)).shape == (4, 32)
    stem = network[0]
    assert (stem.kernel_size, stem.stride) == ((3, 3), (1, 1))
    assert not any(isinstance(layer, nn.MaxPool2d) for layer in network.modules())
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert sum(layer.kernel_size == (3, 3) for layer in convolutions) == {"resnet-9": 9, "resnet-18": 17}[backbone]


def test_a_large_stem_is_that_of_the_usual_resnet(tiny: Tiny) -> None:
    network, _ = make_backbone(tiny("run", "MODEL.stem=large").MODEL, 64)
    assert network[:4](torch.randn(2, 3, 64, 64)).shape == (2, 4, 16, 16)


def test_negatives_are_a_function_of_seed_and_step(tiny: Tiny) -> None:
    def negatives(seed: int, step: int) -> Tensor:
        method = build(tiny("run", f"RUN.seed={seed}"))
        method.trainer.global_step = step
        made: Tensor = method.make_negatives(views()[0])
        return made

    assert torch.equal(negatives(0, 5), negatives(0, 5))
    assert not torch.equal(negatives(0, 5), negatives(0, 6))
    assert not torch.equal(negatives(0, 5), negatives(1, 5))


def test_arms_start_from_the_same_weights_and_queue(tiny: Tiny) -> None:
    plain = build(tiny("plain", "AUG.apply_nda=false"))
    negative = build(tiny("negative", "AUG.nda_policy=cutout"))
    other = build(tiny("other", "RUN.seed=1"))
    assert plain.nda_transform is None
    assert str(negative.nda_transform) == "cutout"
    for (name, ours), theirs in zip(plain.state_dict().items(), negative.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
    assert torch.equal(plain.criterion.memory_bank.bank, negative.criterion.memory_bank.bank)
    assert not torch.equal(plain.backbone[0].weight, other.backbone[0].weight)


@pytest.mark.parametrize("policy", ["flip(direction=horizontal)", "jigsaw,(stitch,flip(direction=horizontal))"])
def test_a_negative_that_the_views_make_too_warns(tiny: Tiny, policy: str) -> None:
    with pytest.warns(UserWarning, match=r"flip.* is a view too, with AUG.flip=0.5"):
        build(tiny("run", f"AUG.nda_policy='{policy}'", "AUG.flip=0.5"))
    build(tiny("run", f"AUG.nda_policy='{policy}'", "AUG.flip=0"))  # warnings are errors
    build(tiny("run", "AUG.nda_policy='flip(direction=vertical)'", "AUG.flip=0.5"))


class TestMoCo:
    def test_negatives_raise_the_loss_and_are_neither_enqueued_nor_in_any_statistics(self, tiny: Tiny) -> None:
        x0, x1, negatives = views()
        losses, banks, statistics = [], [], []
        for given in (None, negatives):
            method: MoCo = build(tiny("run"))
            losses.append(method.loss(x0, x1, given, 0))
            banks.append(method.criterion.memory_bank.bank)
            statistics.append([value.clone() for value in method.state_dict().values()])
        assert losses[1] > losses[0]
        assert torch.equal(*banks)
        assert all(torch.equal(*pair) for pair in zip(*statistics, strict=True))

    def test_mixes_of_the_hardest_keys_join_the_negatives_once_their_epoch_has_come(self, tiny: Tiny) -> None:
        words = ("LOSS.mochi_hardest=6", "LOSS.mochi_mix=3", "LOSS.mochi_mix_query=2")
        x0, x1, negatives = views()
        for given in (None, negatives):
            plain: MoCo = build(tiny("plain"))
            mixing: MoCo = build(tiny("mixing", *words))
            late: MoCo = build(tiny("late", *words, "LOSS.mochi_start_epoch=1"))
            bank = plain.criterion.memory_bank.bank.clone()
            assert late.loss(x0, x1, given, 0) == plain.loss(x0, x1, given, 0)
            loss = mixing.loss(x0, x1, given, 0)
            query, key = mixing.head(mixing.backbone(x0)), mixing.embed_keys(x1, 0)
            source = generator(0, "mochi", 0, 0)
            mixed = nda.losses.mix_hard_negatives(query, bank, n_hardest=6, n_mix=3, n_mix_query=2, generator=source)
            if given is not None:
                mixed = torch.cat([mixing.embed_keys(given, 0)[:, None], mixed], dim=1)
            expected = nda.losses.info_nce(query, key, queue=bank, negatives=mixed, temperature=0.2, in_batch=False)
            torch.testing.assert_close(loss, expected, atol=1e-4, rtol=1e-4)

    def test_gradient_reaches_the_query_encoder_only(self, tiny: Tiny) -> None:
        method: MoCo = build(tiny("run"))
        x0, x1, negatives = (each.requires_grad_() for each in views())
        method.loss(x0, x1, negatives, 0).backward()
        assert x0.grad is not None
        assert x1.grad is None
        assert negatives.grad is None
        assert all(parameter.grad is not None for parameter in method.backbone.parameters())
        assert all(parameter.grad is None for parameter in method.key_encoder.parameters())
        optimized = {id(p) for group in method.configure_optimizers()[0][0].param_groups for p in group["params"]}
        assert not optimized & {id(parameter) for parameter in method.key_encoder.parameters()}

    def test_the_key_encoder_follows(self, tiny: Tiny) -> None:
        method: MoCo = build(tiny("run", "MODEL.momentum=0.75"))
        before = method.key_encoder[0][0].weight.clone()
        with torch.no_grad():
            method.backbone[0].weight.add_(1)
        method.loss(*views(), 0)
        torch.testing.assert_close(method.key_encoder[0][0].weight, before + 0.25)

    def test_keys_come_back_in_order(self, tiny: Tiny) -> None:
        method: MoCo = build(tiny("run"))
        method.key_encoder.eval()
        x0 = views()[0]
        torch.testing.assert_close(method.embed_keys(x0, 3), method.key_encoder(x0))

    def test_keys_are_shuffled_anew_for_each_batch(self, tiny: Tiny) -> None:
        orders: list[Tensor] = []
        for seed, number in ((0, 3), (0, 3), (0, 4), (1, 3)):
            method: MoCo = build(tiny("run", f"RUN.seed={seed}"))
            method.key_encoder = nn.Flatten()
            method.key_encoder.register_forward_hook(lambda _, inputs, __: orders.append(inputs[0]))
            method.embed_keys(views()[0], number)
        assert torch.equal(orders[0], orders[1])
        assert not torch.equal(orders[0], orders[2])
        assert not torch.equal(orders[0], orders[3])

    def test_the_loss_is_that_of_the_package(self, tiny: Tiny) -> None:
        from nda_augment.losses import info_nce

        method: MoCo = build(tiny("run", "LOSS.nda_scale=2"))
        method.eval().train(False)
        method.criterion.train()
        bank = method.criterion.memory_bank.bank.clone()
        x0, x1, negatives = views()
        loss = method.loss(x0, x1, negatives, 0)
        query, keys = method.head(method.backbone(x0)), method.key_encoder(torch.cat([x1, negatives])).chunk(2)
        expected = info_nce(query, keys[0], queue=bank, negatives=keys[1], temperature=0.2, negative_scale=2.0)
        torch.testing.assert_close(loss, expected)


class TestSimCLR:
    def test_negatives_raise_the_loss_and_leave_the_statistics_alone(self, tiny: Tiny) -> None:
        x0, x1, negatives = views()
        losses, statistics = [], []
        for given in (None, negatives):
            method: SimCLR = build(tiny("run", "MODEL.method=simclr"))
            losses.append(method.loss(x0, x1, given, 0))
            statistics.append([value.clone() for value in method.state_dict().values()])
        assert losses[1] > losses[0]
        assert all(torch.equal(*pair) for pair in zip(*statistics, strict=True))

    def test_negatives_carry_gradient(self, tiny: Tiny) -> None:
        method: SimCLR = build(tiny("run", "MODEL.method=simclr"))
        x0, x1, negatives = views()
        negatives.requires_grad_()
        method.loss(x0, x1, negatives, 0).backward()
        assert negatives.grad is not None
        assert negatives.grad.abs().sum() > 0


class TestBYOL:
    def test_negatives_add_their_similarity_and_leave_the_statistics_alone(self, tiny: Tiny) -> None:
        x0, x1, negatives = views()
        losses, statistics = [], []
        for given, weight in ((None, 1), (negatives, 0), (negatives, 1)):
            method: BYOL = build(tiny("run", "MODEL.method=byol", f"LOSS.nda_repulsion={weight}"))
            losses.append(method.loss(x0, x1, given, 0))
            statistics.append([value.clone() for value in method.state_dict().values()])
        assert losses[0] == losses[1]
        assert losses[2] != losses[0]
        assert all(torch.equal(*pair) for pair in zip(*statistics[1:], strict=True))

    def test_gradient_reaches_what_predicts_only(self, tiny: Tiny) -> None:
        method: BYOL = build(tiny("run", "MODEL.method=byol"))
        x0, x1, negatives = views()
        method.loss(x0, x1, negatives.requires_grad_(), 0).backward()
        assert negatives.grad is None
        assert all(parameter.grad is not None for parameter in method.predictor.parameters())
        assert all(parameter.grad is not None for parameter in method.backbone.parameters())
        assert all(parameter.grad is None for parameter in method.target.parameters())

    def test_the_loss_is_that_of_the_paper_and_the_penalty_of_the_package(self, tiny: Tiny) -> None:
        method: BYOL = build(tiny("run", "MODEL.method=byol", "LOSS.nda_floor=0"))
        method.eval()
        x0, x1, negatives = views()
        p0, p1 = (method.predictor(method.head(method.backbone(x))) for x in (x0, x1))
        t0, t1, other = (method.target(x) for x in (x0, x1, negatives))
        alike = torch.stack([F.cosine_similarity(p0, t1), F.cosine_similarity(p1, t0)])
        apart = torch.stack([F.cosine_similarity(p, other).clamp(min=0) for p in (p0, p1)])
        expected = (2 - 2 * alike).mean() + apart.mean()
        torch.testing.assert_close(method.loss(x0, x1, negatives, 0), expected, rtol=1e-4, atol=1e-4)


def test_the_loss_is_computed_in_full_precision_under_autocast(tiny: Tiny) -> None:
    seen: list[torch.dtype] = []

    def criterion(*embeddings: Tensor | None) -> Tensor:
        seen.extend(each.dtype for each in embeddings if each is not None)
        seen.append((embeddings[0] @ embeddings[1].T).dtype)
        return torch.zeros(())

    with torch.autocast("cpu", torch.bfloat16):
        methods.full_precision(criterion, torch.randn(2, 3).bfloat16(), torch.randn(2, 3).bfloat16(), None)
    assert seen == [torch.float32] * 3


@pytest.mark.parametrize("name", ["moco", "simclr", "byol"])
def test_learned_weights_hear_how_near_negatives_come_to_their_images(tiny: Tiny, name: str) -> None:
    method = build(tiny("run", f"MODEL.method={name}", "AUG.nda_learned=true"))
    method.trainer = SimpleNamespace(world_size=1, training=True, global_step=0, global_rank=0, current_epoch=0)
    x0, x1, _ = views()
    heard: list[Tensor] = []
    method.nda_transform.update = heard.append
    method.loss(x0, x1, method.make_negatives(x0), 0)
    (hardness,) = heard
    assert hardness.shape == (8,)
    assert not hardness.requires_grad
    assert (hardness.abs() <= 1 / method.settings.LOSS.temperature + 1e-4).all()
    heard.clear()
    method.loss(x0, x1, x0, 0)  # an image is as near to itself as can be
    if name == "simclr":
        assert (heard[0] > hardness.mean()).all()
