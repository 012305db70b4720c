"""The networks: ``dcgan``, ``sngan`` and ``biggan``, at 32, 64 and 128 pixels, and at 8 and 16 for small trials.

:func:`build_generator` and :func:`build_discriminator` make them from the settings of a run.
"""

from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor, nn

from examples.common.networks import biggan, dcgan, sngan
from examples.common.networks.generator import Generator
from examples.common.networks.layers import Condition, initialise, normalise_spectrally
from examples.gan.augself import AugmentationHead
from examples.gan.conditioning import Head, Judgement
from examples.gan.config import Model


class Discriminator(nn.Module):
    """Images ``(B, C, H, W)`` in [-1, 1], and what it is told of them, to a judgement of each.

    Args:
        body: From images to feature maps; their sum over all places is what the head sees.
        head: From features and what is told to the judgement.
        augmentation: Tells from features how images were augmented, if the run asks for that.
    """

    def __init__(self, body: nn.Module, head: Head, augmentation: AugmentationHead | None = None) -> None:
        super().__init__()
        self.body, self.head, self.augmentation = body, head, augmentation

    def forward(
        self,
        images: Tensor,
        labels: Tensor | None = None,
        plain: Tensor | None = None,
        instances: Tensor | None = None,
    ) -> Judgement:
        """Judge a batch of images; with ``plain``, the images before augmentation, say how they were augmented."""
        features = self._features(images)
        judgement: Judgement = self.head(features, labels, instances)
        if plain is None or self.augmentation is None:
            return judgement
        return judgement._replace(told=self.augmentation(features, self._features(plain)))

    def _features(self, images: Tensor) -> Tensor:
        features: Tensor = self.body(images).sum(dim=(2, 3))
        return features


def build_generator(settings: Model, size: int, channels: int, classes: int, features: int = 0) -> Generator:
    """Build the generator of a run.

    Args:
        settings: The section ``MODEL``.
        size: Side of the images: 8, 16, 32, 64 or 128.
        channels: Of the images.
        classes: How many the data have; a generator without classes does not need to know.
        features: How many describe an instance; 0 without instances.
    """
    table = biggan.GENERATOR if settings.backbone == "big_resnet" else sngan.GENERATOR
    widths = [settings.g_conv_dim * multiple for multiple in table[size]]
    if settings.backbone == "deep_conv":
        widths = dcgan.widths(size, settings.g_conv_dim)[::-1]
    levels = len(widths) - 1
    classes = classes if settings.g_cond_mtd == "cBN" else 0
    condition = Condition(
        settings.z_dim,
        levels,
        classes,
        settings.g_shared_dim,
        settings.hierarchical_z,
        features,
        settings.g_instance_dim,
    )
    if settings.backbone == "deep_conv":
        blocks: list[nn.Module] = [dcgan.UpLayer(i, o, condition) for i, o in pairwise(widths)]
        end = dcgan.end(widths[-1], channels)
    else:
        blocks = sngan.up_blocks(widths, condition, settings.attn_g_loc if settings.apply_attn else [])
        end = sngan.end(widths[-1], channels)
    network = Generator(settings.z_dim, condition, widths[0], blocks, end)
    initialise(network, settings.g_init)
    if settings.apply_g_sn:
        normalise_spectrally(network, embeddings=False)
    return network


def build_discriminator(
    settings: Model,
    size: int,
    channels: int,
    classes: int,
    augmentation: Mapping[str, int] | None = None,
    features: int = 0,
) -> Discriminator:
    """Build the discriminator of a run.

    Args:
        settings: The section ``MODEL``.
        size: Side of the images: 8, 16, 32, 64 or 128.
        channels: Of the images.
        classes: How many the data have; a discriminator without classes does not need to know.
        augmentation: How many numbers each family of augmentation draws, for a discriminator that is to tell them.
        features: How many describe an instance; 0 without instances.
    """
    if settings.backbone == "deep_conv":
        widths = dcgan.widths(size, settings.d_conv_dim)[:-1]
        body = dcgan.down_layers(channels, widths, batch_norm=not settings.apply_d_sn)
    else:
        table = biggan.DISCRIMINATOR if settings.backbone == "big_resnet" else sngan.DISCRIMINATOR
        multiples, pools = table[size]
        widths = [settings.d_conv_dim * multiple for multiple in multiples]
        body = sngan.down_blocks(channels, widths, pools, settings.attn_d_loc if settings.apply_attn else [])
    head = Head(widths[-1], settings.d_cond_mtd, classes, settings.d_embed_dim, features)
    network = Discriminator(body, head)
    initialise(network, settings.d_init)
    if settings.apply_d_sn:
        normalise_spectrally(network, embeddings=True)
    if augmentation:
        network.augmentation = AugmentationHead(widths[-1], augmentation)  # has its spectral norms already
    return network
