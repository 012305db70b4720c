"""Dense predictive coding: features of the coming blocks of a clip are predicted, at every place, from those before.

Han, Xie and Zisserman, "Video Representation Learning by Dense Predictive Coding", ICCV workshops 2019. With negatives,
the features of the negated clip stand beside those that a prediction is compared with (Sinha et al. 2021).

Their batch norm keeps no running statistics. Here it does, which changes nothing in training, and makes what is read
from a clip afterwards independent of the clips beside it.
"""

from typing import Any

import torch
from torch import Tensor, nn

from examples.common.contrastive.methods import Contrastive, Parts, full_precision
from examples.common.data import Images
from examples.video.config import Config, Model
from examples.video.encoder import make_trunk
from nda_augment.batch_norm import frozen_batch_norm_stats
from nda_augment.losses import DenseInfoNCELoss, dense_probabilities


class ConvGRU(nn.Module):
    """A gated recurrent unit at every place of a map: its convolutions are 1x1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.proposal = nn.Conv2d(2 * channels, channels, 1)
        for name, weight in self.named_parameters():
            (nn.init.orthogonal_ if name.endswith("weight") else nn.init.zeros_)(weight)

    def forward(self, features: Tensor, state: Tensor) -> Tensor:
        """The next state ``(B, D, h, w)``, of features of this shape and the last state."""
        reset, update = self.gates(torch.cat([features, state], dim=1)).sigmoid().chunk(2, dim=1)
        proposed = self.proposal(torch.cat([features, reset * state], dim=1)).tanh()
        following: Tensor = (1 - update) * state + update * proposed
        return following


class Context(nn.Module):
    """What is known at the end of a clip: its blocks, encoded one by one and taken in by a recurrent unit.

    Args:
        trunk: From clips to maps, see ``encoder.py``; its features are not cut off at 0.
        channels: Number of its features.
        frames: Length of a block.
    """

    def __init__(self, trunk: nn.Module, channels: int, frames: int) -> None:
        super().__init__()
        self.trunk, self.frames = trunk, frames
        self.recurrent = ConvGRU(channels)

    def encode(self, clips: Tensor) -> Tensor:
        """Features of each block of clips ``(B, T, C, H, W)``, their mean over time: ``(B, N, D, h, w)``."""
        blocks = clips.reshape(-1, self.frames, *clips.shape[2:])
        features: Tensor = self.trunk(blocks).mean(dim=2)
        return features.view(len(clips), -1, *features.shape[1:])

    def take_in(self, features: Tensor) -> Tensor:
        """The state ``(B, D, h, w)`` after blocks of features ``(B, N, D, h, w)``."""
        state = torch.zeros_like(features[:, 0])
        for block in features.relu().unbind(dim=1):
            state = self.recurrent(block, state)
        return state

    def forward(self, clips: Tensor) -> Tensor:
        """The state after all blocks, its mean over places, ``(B, D)``."""
        return self.take_in(self.encode(clips)).mean(dim=(2, 3))


def make_context(settings: Model) -> tuple[Context, int]:
    """Return the encoder of a config, from clips to features ``(B, D)``, and ``D``."""
    trunk, channels = make_trunk(settings, final_relu=False)
    return Context(trunk, channels, settings.block_frames), channels


class DPC(Contrastive):
    """Predicts the last ``MODEL.predicted`` blocks, each from the one before and from what was predicted of it."""

    backbone: Context

    def __init__(self, settings: Config, data: Images, parts: Parts) -> None:
        super().__init__(settings, data, parts)
        self.steps = settings.MODEL.predicted
        self.predictor = nn.Sequential(
            nn.Conv2d(self.features, self.features, 1), nn.ReLU(), nn.Conv2d(self.features, self.features, 1)
        )
        loss = settings.LOSS
        self.scores: dict[str, Any] = {
            "temperature": loss.temperature,
            "negative_scale": loss.nda_scale,
            "scope": loss.nda_scope,
        }
        self.criterion = DenseInfoNCELoss(**self.scores, gather_distributed=settings.RUN.devices > 1)

    def loss(self, clips: Tensor, negatives: Tensor | None, number: int) -> Tensor:
        features = self.backbone.encode(clips)
        negated = None
        if negatives is not None:
            # Those of the steps that are predicted, as of the clip itself.
            with frozen_batch_norm_stats(self):
                negated = places_of(self.backbone.encode(negatives[:, -self.steps * self.backbone.frames :]))
        predictions, targets = places_of(self.predict(features)), places_of(features[:, -self.steps :])
        if number % self.settings.RUN.print_freq == 0:
            self.report(predictions, targets, negated)
        return full_precision(self.criterion, predictions, targets, negated)

    def predict(self, features: Tensor) -> Tensor:
        """Predictions ``(B, S, D, h, w)`` of the last blocks, from all before them."""
        state = self.backbone.take_in(features[:, : -self.steps])
        predictions = []
        for _ in range(self.steps):
            predictions.append(self.predictor(state))
            state = self.backbone.recurrent(predictions[-1].relu(), state)
        return torch.stack(predictions, dim=1)

    def report(self, predictions: Tensor, targets: Tensor, negated: Tensor | None) -> None:
        """Log which kinds of candidates are hard to tell."""
        negatives = None if negated is None else negated.float()
        kinds = dense_probabilities(predictions.float(), targets.float(), negatives=negatives, **self.scores)
        self.log_dict({f"share/{kind}": share for kind, share in kinds._asdict().items()}, batch_size=len(targets))


def places_of(maps: Tensor) -> Tensor:
    """Maps ``(B, S, D, h, w)`` as vectors ``(B, S, P, D)``."""
    return maps.flatten(3).mT
