"""A vision transformer small enough for the digits; patches are what its negatives shuffle."""

import torch
from torch import Tensor, nn


class VisionTransformer(nn.Module):
    """Patches, positions, pre-norm layers and the mean over patches.

    Args:
        size: Side of the images, a multiple of ``patch``.
        classes: How many.
        patch: Side of a patch.
        width: Features of a patch.
        depth: Layers.
        heads: Of attention.
    """

    def __init__(
        self, size: int, classes: int, patch: int = 4, width: int = 48, depth: int = 3, heads: int = 3
    ) -> None:
        super().__init__()
        if size % patch:
            raise ValueError(f"images of side {size} cannot be cut into patches of side {patch}")
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.positions = nn.Parameter(0.02 * torch.randn((size // patch) ** 2, width))
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.classify = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``(B, classes)`` and the features ``(B, width)`` that they are made of."""
        patches = self.patches(images).flatten(2).mT + self.positions
        features = self.layers(patches).mean(dim=1)
        return self.classify(features), features
