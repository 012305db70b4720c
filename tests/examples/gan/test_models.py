from pathlib import Path

import pytest
import torch
from torch import nn

from examples.common.networks import biggan, sngan
from examples.common.networks.layers import Condition, DownBlock, Norm, SelfAttention, initialise
from examples.common.training import update_average
from examples.gan import config
from examples.gan.config import DIGITS, LEVELS, Model
from examples.gan.models import build_discriminator, build_generator

BACKBONES = ["deep_conv", "resnet", "big_resnet"]
SMALL = {"z_dim": 12, "g_conv_dim": 2, "d_conv_dim": 2, "d_embed_dim": 3}


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def rand(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", LEVELS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_networks_fit_every_size(backbone, size):
    settings = Model(backbone=backbone, **SMALL)
    images = build_generator(settings, size, 3, 0)(rand(2, 12))
    assert images.shape == (2, 3, size, size)
    assert images.abs().max() <= 1
    assert build_discriminator(settings, size, 3, 0)(images).logits.shape == (2,)


@pytest.mark.parametrize("method", ["AC", "PD", "2C", "D2DCE", "MH"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_networks_are_told_classes(backbone, method):
    settings = Model(backbone=backbone, g_cond_mtd="cBN", d_cond_mtd=method, **SMALL)
    generator, discriminator = (build(settings, 8, 1, 5) for build in (build_generator, build_discriminator))
    for module in generator.modules():
        if isinstance(module, nn.Embedding):  # starts at zero, where all classes are alike
            nn.init.normal_(module.weight)
    generator.eval(), discriminator.eval()
    latents, labels = rand(4, 12), torch.tensor([0, 1, 2, 4])
    images = generator(latents, labels)
    others = generator(latents, labels.roll(1))
    assert ((images - others).abs().amax(dim=(1, 2, 3)) > 1e-4).all()
    judged, otherwise = discriminator(images, labels), discriminator(images, labels.roll(1))
    assert judged.realness.shape == (4,)
    assert torch.equal(judged.logits, otherwise.logits) == (method != "PD")
    assert judged.logits.shape == ((4, 6) if method == "MH" else (4,))
    assert (judged.classes is not None) == (method == "AC")
    assert (judged.embeddings is not None) == (judged.proxies is not None) == (method in ("2C", "D2DCE"))


def test_the_published_biggan_has_the_size_of_the_authors():
    # Counted in their code: 4.28 and 4.21 million, of which 256 are a projection of the only class.
    settings = config.load(Path(DIGITS.parent / "cifar10_biggan.yaml"))
    assert settings.DATA.img_size == 32
    assert count(build_generator(settings.MODEL, 32, 3, 0)) == pytest.approx(4.28e6, abs=5e3)
    assert count(build_discriminator(settings.MODEL, 32, 3, 0)) + 256 == pytest.approx(4.21e6, abs=5.01e3)


def test_the_published_sngan_has_the_size_of_the_paper():
    # 32 pixels, 128 channels in all four blocks: three convolutions in the first two, two in the others, one linear.
    settings = Model(backbone="resnet", d_conv_dim=64)
    blocks = 3 * 128 * 9 + 128 + 128 * 128 * 9 + 128 + 3 * 128 + 128
    blocks += 3 * 2 * (128 * 128 * 9 + 128) + 128 * 128 + 128
    assert count(build_discriminator(settings, 32, 3, 0)) == blocks + 128 + 1


@pytest.mark.parametrize("tables", [sngan, biggan], ids=["sngan", "biggan"])
def test_tables_reach_from_four_pixels_to_the_image(tables):
    for size, widths in tables.GENERATOR.items():
        assert 4 * 2 ** (len(widths) - 1) == size
    for size, (widths, pools) in tables.DISCRIMINATOR.items():
        assert pools <= len(widths)
        assert size // 2**pools in (4, 8)


class TestCondition:
    def told(self, *args, **settings):
        condition = Condition(12, 2, *args, **settings)
        labels = torch.tensor([0, 1, 1]) if condition.classes else None
        return condition, *condition(rand(3, 12), labels)

    def test_nothing(self):
        condition, first, told = self.told()
        assert torch.equal(first, rand(3, 12))
        assert told == [None, None]
        assert isinstance(condition.norm(4).norm, nn.BatchNorm2d)
        assert condition.norm(4).norm.affine
        assert condition.norm(4).gain is None

    def test_a_class(self):
        condition, first, told = self.told(2)
        assert torch.equal(first, rand(3, 12))
        assert all(torch.equal(labels, torch.tensor([0, 1, 1])) for labels in told)
        assert isinstance(condition.norm(4).gain, nn.Embedding)

    def test_pieces_of_the_latent(self):
        _, first, told = self.told(hierarchical=True)
        assert torch.equal(torch.cat([first, *told], dim=1), rand(3, 12))
        assert first.shape == (3, 4)

    def test_a_shared_embedding_and_pieces(self):
        condition, first, told = self.told(2, shared_dim=5, hierarchical=True)
        assert first.shape == (3, 4)
        for number, each in enumerate(told, start=1):
            assert torch.equal(each[:, :5], condition.shared.weight[[0, 1, 1]])
            assert torch.equal(each[:, 5:], rand(3, 12)[:, 4 * number : 4 * number + 4])
        assert condition.norm(4).gain.weight.shape == (4, 9)


def test_a_conditional_norm_scales_and_shifts_by_class():
    norm = Norm(2, nn.Embedding(3, 2), nn.Embedding(3, 2))
    features, labels = rand(6, 2, 4, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    plain = nn.BatchNorm2d(2, affine=False)(features)
    assert torch.allclose(norm(features, labels), plain)  # so it starts
    nn.init.constant_(norm.gain.weight, 2.0)
    with torch.no_grad():
        norm.bias.weight[1] = 5
    expected = 3 * plain + 5 * (labels == 1).float()[:, None, None, None]
    assert torch.allclose(norm(features, labels), expected, atol=1e-6)


def test_attention_is_that_of_the_formula_and_starts_as_nothing():
    attention, features = SelfAttention(16), rand(2, 16, 4, 4)
    assert torch.equal(attention(features), features)
    nn.init.constant_(attention.gain, 0.5)
    for image, attended in zip(features, attention(features), strict=True):
        q = attention.query.weight.flatten(1) @ image.flatten(1)
        k = attention.key[1](attention.key[0](image[None]))[0].flatten(1)
        v = attention.value[1](attention.value[0](image[None]))[0].flatten(1)
        mixed = v @ torch.softmax(q.T @ k, dim=1).T
        expected = image + 0.5 * (attention.out.weight.flatten(1) @ mixed).view_as(image)
        assert torch.allclose(attended, expected, atol=1e-5)


def test_images_enter_a_discriminator_whole():
    # A ReLU before the first convolution would make all dark images alike.
    block = DownBlock(1, 4, first=True)
    assert not torch.allclose(block(-torch.ones(1, 1, 4, 4)), block(-2 * torch.ones(1, 1, 4, 4)))


@pytest.mark.parametrize("word", ["ortho", "N02", "xavier", "default"])
def test_weights_start_as_the_word_says(word):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(8, 16, 3), nn.Linear(40, 30))
    before = [parameter.clone() for parameter in network.parameters()]
    initialise(network, word)
    weight = network[1].weight
    if word == "default":
        assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
        return
    assert not network[1].bias.any()
    if word == "ortho":
        assert torch.allclose(weight @ weight.T, torch.eye(30), atol=1e-5)
        filters = network[0].weight.flatten(1)
        assert torch.allclose(filters @ filters.T, torch.eye(16), atol=1e-5)
    elif word == "N02":
        assert weight.std().item() == pytest.approx(0.02, rel=0.1)
    else:
        assert weight.abs().max() <= (6 / 70) ** 0.5


@pytest.mark.parametrize("backbone", BACKBONES)
def test_spectral_norms_bound_every_layer(backbone):
    torch.manual_seed(0)
    settings = Model(backbone=backbone, apply_g_sn=True, g_cond_mtd="cBN", d_cond_mtd="PD", d_init="ortho", **SMALL)
    generator, discriminator = (build(settings, 8, 1, 3) for build in (build_generator, build_discriminator))
    weighted = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    for network, kinds in ((generator, weighted), (discriminator, (*weighted, nn.Embedding))):
        layers = [module for module in network.modules() if isinstance(module, kinds)]
        assert all(hasattr(layer, "parametrizations") for layer in layers)
        with torch.no_grad():
            for layer in layers:
                for _ in range(30):
                    layer.weight  # noqa: B018 - each look is a step of the power iteration
                rows = layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
                assert torch.linalg.matrix_norm(rows.flatten(1), 2).item() < 1.01


def test_without_spectral_norms_only_dcgan_has_batch_norm():
    for backbone in BACKBONES:
        network = build_discriminator(Model(backbone=backbone, apply_d_sn=False, **SMALL), 16, 3, 0)
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        assert bool(norms) == (backbone == "deep_conv")


def test_the_average_moves_by_one_minus_decay_and_copies_buffers():
    average, model = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    torch.nn.init.constant_(average.weight, 1.0)
    torch.nn.init.constant_(model.weight, 3.0)
    model.running_mean += 5
    update_average(average, model, decay=0.75)
    assert average.weight.tolist() == [1.5, 1.5]
    assert average.running_mean.tolist() == [5, 5]
    update_average(average, model, decay=0.0)
    assert average.weight.tolist() == [3, 3]
