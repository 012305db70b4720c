"""A generator, whatever it is built of."""

from collections.abc import Sequence

from torch import Tensor, nn

from examples.common.networks.layers import START, Condition


class Generator(nn.Module):
    """Latent vectors ``(B, z_dim)``, and what it is told, to images ``(B, C, H, W)`` in [-1, 1].

    It is told labels ``(B,)`` if it has classes, and features ``(B, D)`` if it has instances.

    Args:
        z_dim: Length of a latent vector.
        condition: What the blocks are told.
        width: Channels of the 4x4 feature map that it starts from.
        blocks: From coarse to fine, each called with features and what it is told.
        end: From the last features to pixels, before tanh.
    """

    def __init__(self, z_dim: int, condition: Condition, width: int, blocks: Sequence[nn.Module], end: nn.Module):
        super().__init__()
        self.z_dim, self.classes = z_dim, condition.classes
        self.condition = condition
        self.start = nn.Linear(condition.first_dim, width * START**2)
        self.blocks = nn.ModuleList(blocks)
        self.end = end

    def forward(self, latents: Tensor, labels: Tensor | None = None, features: Tensor | None = None) -> Tensor:
        """Images of a batch of latents."""
        first, told = self.condition(latents, labels, features)
        features = self.start(first).unflatten(1, (-1, START, START))
        for block, condition in zip(self.blocks, told, strict=True):
            features = block(features, condition)
        images: Tensor = self.end(features).tanh()
        return images
