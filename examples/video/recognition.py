"""Action recognition on top of a learned encoder of clips: fine-tuning, or a linear layer on features that stay."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from examples.common import sections
from examples.common.contrastive.views import plain
from examples.common.data import Epoch, Images, labels_of
from examples.common.fitting import OnOwnImages, Results
from examples.common.optimizers import make_optimizer
from examples.common.randomness import seeded
from examples.common.settings import Section, at_least, one_of, positive
from examples.video.config import Augmentation, Data, Model, check_clips
from examples.video.views import Views


@dataclass
class Start(Section):
    """Where the encoder comes from, and what becomes of it."""

    run: str = ""  # folder of a run of examples.video.train
    weights: str = one_of("learned", ("learned", "random"))  # those of the run, or new ones of the same network
    frozen: bool = False  # a linear probe: the encoder stays as it is, batch norm included


@dataclass
class Optimization(sections.Optimization):
    """How the classifier is trained."""

    batch_size: int = at_least(32, 2)
    optimizer: str = one_of("adam", ("sgd", "adam"))
    lr: float = positive(1e-3)
    epochs: int = at_least(10, 1)


@dataclass
class Evaluation(Section):
    """Accuracy on test clips."""

    clips: int = at_least(5, 1)  # windows of a video, at even distances, whose probabilities are averaged
    batch_size: int = at_least(64, 1)


@dataclass
class Config(sections.EpochSettings):
    """A training run."""

    DATA: Data = field(default_factory=Data)
    MODEL: Model = field(default_factory=Model)
    START: Start = field(default_factory=Start)
    OPTIMIZATION: Optimization = field(default_factory=Optimization)
    AUG: Augmentation = field(default_factory=Augmentation)
    EVAL: Evaluation = field(default_factory=Evaluation)
    RUN: sections.EpochRun = field(default_factory=sections.EpochRun)

    def check(self) -> None:
        """Refuse clips that the encoder cannot take."""
        super().check()
        check_clips(self.DATA, self.MODEL)


class Recognition(OnOwnImages):
    """An encoder of clips with a linear layer.

    Args:
        settings: A checked config.
        data: Videos to learn from.
        encoder: Clips to features.
        features: Number of features.
    """

    settings: Config

    def __init__(self, settings: Config, data: Images, encoder: nn.Module, features: int) -> None:
        super().__init__()
        self.settings, self.data, self.encoder = settings, data, encoder
        self.fingerprint = data.fingerprint()
        self.views = Views(settings.AUG, settings.DATA.frames, settings.DATA.img_size, views=1)
        with seeded(settings.RUN.seed, "classifier"):
            self.classifier = nn.Sequential(nn.BatchNorm1d(features), nn.Linear(features, data.classes))
        self.encoder.requires_grad_(not settings.START.frozen)
        self.train()  # a Trainer leaves the modes as they are

    def train(self, mode: bool = True) -> "Recognition":
        """A frozen encoder keeps the statistics of batch norm that it came with."""
        super().train(mode)
        if self.settings.START.frozen:
            self.encoder.eval()
        return self

    def forward(self, clips: Tensor) -> Tensor:
        """Logits ``(B, classes)`` of normalised clips."""
        logits: Tensor = self.classifier(self.encoder(clips))
        return logits

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        videos, labels, number = batch
        with seeded(self.settings.RUN.seed, "views", number, self.global_rank, device=self.device), torch.no_grad():
            (clips,) = self.views(videos)
        loss = F.cross_entropy(self(clips), labels)
        self.log("loss", loss, prog_bar=True, on_step=True, on_epoch=True, batch_size=len(labels))
        return loss

    def train_dataloader(self) -> DataLoader[Any]:
        size, seed = self.settings.OPTIMIZATION.batch_size, self.settings.RUN.seed
        epoch = Epoch(self.data, size, seed, self.current_epoch, self.global_rank, self.trainer.world_size)
        return DataLoader(epoch, batch_size=None)

    def configure_optimizers(self) -> Any:
        return make_optimizer(self, self.settings.OPTIMIZATION, len(self.data))


def windows(videos: Tensor, frames: int, count: int) -> Tensor:
    """``count`` windows of each video ``(B, T, ...)``, at even distances: ``(B, count, frames, ...)``.

    Of a video that is no longer than a window there is one.
    """
    spare = videos.shape[1] - frames
    starts = torch.linspace(0, spare, count).round().long().tolist() if count > 1 else [spare // 2]
    return torch.stack([videos[:, start : start + frames] for start in sorted(set(starts))], dim=1)


@torch.no_grad()
def accuracy(module: Recognition, test: Images) -> Results:
    """Share of test videos whose label is the most probable one, of one window and on average over several."""
    settings = module.settings
    training, device = module.training, module.device
    module.eval()
    right = {"top1": 0, "top1 of one clip": 0}
    labels = labels_of(test)
    size = settings.EVAL.batch_size
    for videos, truth in zip(torch.split(test.images, size), torch.split(labels, size), strict=True):
        for name, count in (("top1", settings.EVAL.clips), ("top1 of one clip", 1)):
            clips = windows(videos, settings.DATA.frames, count)
            logits = module(plain(clips.flatten(0, 1).to(device))).cpu()
            found = logits.softmax(dim=1).unflatten(0, clips.shape[:2]).mean(dim=1).argmax(dim=1)
            right[name] += int((found == truth).sum())
    module.train(training)
    return {name: count / len(labels) for name, count in right.items()}
