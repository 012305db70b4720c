"""The parts that networks are made of: residual blocks, conditional batch norm, attention; how weights begin."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

START = 4  # side of the feature map that generators start from
_WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.Embedding)


class Condition(nn.Module):
    """What a generator's layers are told: class, features of an instance, a share of the latent, some, or nothing.

    Args:
        z_dim: Length of a latent vector.
        levels: Number of layers that are told something.
        classes: Number of classes; 0 for a generator without.
        shared_dim: Length of the embedding of a class that all layers share (BigGAN); at 0 every layer has its own.
        hierarchical: Give the first layer and each level a piece of the latent (BigGAN); else the first has it all.
        features: How many describe an instance; 0 for a generator without. With classes it needs ``shared_dim``.
        instance_dim: Length of their embedding, which all layers share (IC-GAN).
    """

    def __init__(
        self,
        z_dim: int,
        levels: int,
        classes: int = 0,
        shared_dim: int = 0,
        hierarchical: bool = False,
        features: int = 0,
        instance_dim: int = 0,
    ):
        super().__init__()
        self.levels, self.classes = levels, classes
        self.piece = z_dim // (levels + 1) if hierarchical else 0
        self.first_dim = self.piece or z_dim
        self.shared = nn.Embedding(classes, shared_dim) if classes and shared_dim else None
        self.instance = nn.Linear(features, instance_dim) if features else None
        self.dim = self.piece + (shared_dim if self.shared else 0) + (instance_dim if self.instance else 0)

    def forward(
        self, latents: Tensor, labels: Tensor | None, features: Tensor | None = None
    ) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Return what the first layer gets, and what each level is told."""
        if not self.dim:
            return latents, [labels] * self.levels
        embedded = [(self.shared, labels), (self.instance, features)]
        told = [embed(known).to(latents.dtype) for embed, known in embedded if embed is not None]
        if not self.piece:
            return latents, [torch.cat(told, dim=1)] * self.levels
        first, *pieces = torch.split(latents, self.piece, dim=1)
        return first, [torch.cat([*told, piece], dim=1) for piece in pieces]

    def norm(self, features: int) -> "Norm":
        """Return a batch norm whose scale and shift depend on what its level is told."""
        if self.dim:
            return Norm(features, *(nn.Linear(self.dim, features, bias=False) for _ in range(2)))
        return Norm(features, *(nn.Embedding(self.classes, features) for _ in range(2 if self.classes else 0)))


class Norm(nn.Module):
    """Batch norm, its scale and shift learnt for all images, or given by modules that are told something."""

    def __init__(self, features: int, gain: nn.Module | None = None, bias: nn.Module | None = None) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(features, affine=gain is None)
        self.gain, self.bias = gain, bias
        for module in (gain, bias):
            if isinstance(module, nn.Embedding):
                nn.init.zeros_(module.weight)  # torch's N(0, 1) is no scale to start from

    def forward(self, features: Tensor, condition: Tensor | None) -> Tensor:
        normed: Tensor = self.norm(features)
        if self.gain is None or self.bias is None:
            return normed
        gain, bias = (module(condition)[:, :, None, None] for module in (self.gain, self.bias))
        conditioned: Tensor = normed * (1 + gain) + bias
        return conditioned


class UpBlock(nn.Module):
    """A residual block of a generator that doubles the side."""

    def __init__(self, in_channels: int, out_channels: int, condition: Condition, *, attend: bool = False) -> None:
        super().__init__()
        self.norm1 = condition.norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = condition.norm(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1)
        self.attention = SelfAttention(out_channels) if attend else nn.Identity()

    def forward(self, features: Tensor, condition: Tensor | None) -> Tensor:
        upsampled = self.conv1(F.interpolate(self.norm1(features, condition).relu(), scale_factor=2))
        residual: Tensor = self.conv2(self.norm2(upsampled, condition).relu())
        # A 1x1 convolution and nearest upsampling commute; this order costs a quarter.
        attended: Tensor = self.attention(residual + F.interpolate(self.shortcut(features), scale_factor=2))
        return attended


class DownBlock(nn.Module):
    """A residual block of a discriminator, without normalisation; ``pool`` halves the side."""

    def __init__(
        self, in_channels: int, out_channels: int, *, first: bool = False, pool: bool = True, attend: bool = False
    ) -> None:
        super().__init__()
        # Images come in as they are: a ReLU would throw their darker half away.
        self.activate = nn.Identity() if first else nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        same = in_channels == out_channels and not pool
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)
        self.pool = nn.AvgPool2d(2) if pool else nn.Identity()
        self.attention = SelfAttention(out_channels) if attend else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        residual: Tensor = self.pool(self.conv2(self.conv1(self.activate(features)).relu()))
        shortcut: Tensor = self.shortcut(self.pool(features))
        attended: Tensor = self.attention(residual + shortcut)
        return attended


class SelfAttention(nn.Module):
    """Every place looks at all others, at half their resolution (Zhang et al. 2019); starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 8), max(1, channels // 2)
        self.query = nn.Conv2d(channels, inner[0], 1, bias=False)
        self.key = nn.Sequential(nn.Conv2d(channels, inner[0], 1, bias=False), nn.MaxPool2d(2))
        self.value = nn.Sequential(nn.Conv2d(channels, inner[1], 1, bias=False), nn.MaxPool2d(2))
        self.out = nn.Conv2d(inner[1], channels, 1, bias=False)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        query, key, value = (part(features).flatten(2).mT for part in (self.query, self.key, self.value))
        looked = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        attended: Tensor = features + self.gain * self.out(looked.mT.reshape(len(features), -1, *features.shape[2:]))
        return attended


def initialise(network: nn.Module, word: str) -> None:
    """Draw the weights of a network anew: ``ortho`` (orthogonal), ``N02`` (normal, 0.02) or ``xavier``.

    ``default`` leaves them as torch made them.
    """
    if word == "default":
        return
    draws = {
        "ortho": nn.init.orthogonal_,
        "N02": lambda w: nn.init.normal_(w, 0, 0.02),
        "xavier": nn.init.xavier_uniform_,
    }
    for module in network.modules():
        if isinstance(module, _WEIGHTED):
            draws[word](module.weight)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]


def normalise_spectrally(network: nn.Module, *, embeddings: bool) -> None:
    """Divide the weights of every layer by their largest singular value (Miyato et al. 2018).

    Args:
        network: To change.
        embeddings: Whether those of classes are meant as well. A discriminator's logits depend on them directly; a
            generator's may be zero, and zero has no direction.
    """
    for module in list(network.modules()):
        if isinstance(module, _WEIGHTED) and (embeddings or not isinstance(module, nn.Embedding)):
            spectral_norm(module)
