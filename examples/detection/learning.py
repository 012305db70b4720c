"""Fine-tuning a detector, and its average precision."""

import importlib.util
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from examples.common.data import check_batch
from examples.common.fitting import OnOwnImages, Results
from examples.common.optimizers import bare_optimizer
from examples.common.randomness import Share, batch_indices, generator, seeded
from examples.common.settings import ConfigError
from examples.detection.config import Config
from examples.detection.model import make_detector
from examples.detection.samples import Boxed, Sample, flipped, target_of

MEASURES = ("AP", "AP50", "AP75")
_KEYS = {"AP": "map", "AP50": "map_50", "AP75": "map_75"}

Targets = list[dict[str, Tensor]]
Batch = tuple[list[Tensor], Targets, int]


class Batches(Dataset[Batch]):
    """The batches of an epoch, or the share of a process; a function of the seed and of the number in the run."""

    def __init__(self, data: Boxed, settings: Config, epoch: int, share: Share) -> None:
        check_batch(data, settings.OPTIMIZATION.batch_size)
        self.data, self.settings, self.epoch, self.share = data, settings, epoch, share

    def __len__(self) -> int:
        return len(self.data) // self.settings.OPTIMIZATION.batch_size

    def __getitem__(self, place: int) -> Batch:
        """Return images as floats in [0, 1], their targets, and the number of the batch in the run."""
        size, seed = self.settings.OPTIMIZATION.batch_size, self.settings.RUN.seed
        number = self.epoch * len(self) + place
        indices = self.share.of(batch_indices(len(self.data), size, seed, number))
        samples = [self.data[index] for index in indices.tolist()]
        turned = self.share.of(torch.rand(size, generator=generator(seed, "flip", number)) < self.settings.AUG.flip)
        samples = [flipped(sample) if turn else sample for sample, turn in zip(samples, turned, strict=True)]
        return [sample.image / 255 for sample in samples], [target_of(sample) for sample in samples], number


class Detection(OnOwnImages):
    """A Faster R-CNN that is trained with the sum of its four losses."""

    settings: Config

    def __init__(self, settings: Config, data: Boxed) -> None:
        super().__init__()
        self.settings, self.data, self.fingerprint = settings, data, data.fingerprint()
        with seeded(settings.RUN.seed, "weights"):
            self.detector = make_detector(settings.MODEL, settings.DATA, len(data.classes))
        self.train()  # a Trainer leaves the modes as they are

    def train(self, mode: bool = True) -> "Detection":
        """Frozen parts keep the statistics of batch norm that they came with."""
        super().train(mode)
        for part in self.detector.backbone.modules():
            weights = list(part.parameters(recurse=False))
            if isinstance(part, nn.BatchNorm2d) and not any(weight.requires_grad for weight in weights):
                part.eval()
        return self

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, targets, number = batch
        # Proposals and regions are sampled with torch's global generators.
        with seeded(self.settings.RUN.seed, "proposals", number, self.global_rank, device=self.device):
            losses: dict[str, Tensor] = self.detector(images, targets)
        total = torch.stack(list(losses.values())).sum()
        self.log_dict(losses, batch_size=len(images))
        self.log("loss", total, prog_bar=True, batch_size=len(images))
        return total

    def train_dataloader(self) -> DataLoader[Any]:
        share = Share(self.global_rank, self.trainer.world_size)
        return DataLoader(Batches(self.data, self.settings, self.current_epoch, share), batch_size=None)

    def configure_optimizers(self) -> Any:
        settings = self.settings.OPTIMIZATION
        optimizer = bare_optimizer(self, settings)
        steps = len(self.data) // settings.batch_size
        rise = settings.warmup_epochs * steps
        falls = [at * settings.epochs * steps for at in settings.decay_at]

        def factor(step: int) -> float:
            return min(1.0, (step + 1) / (rise + 1)) / 10.0 ** sum(step >= fall for fall in falls)

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


@torch.no_grad()
def predict(detector: nn.Module, data: Boxed, batch_size: int) -> Iterator[tuple[list[Sample], Targets]]:
    """Samples, some at a time, and what a detector sees in them, on the CPU."""
    device, training = next(detector.parameters()).device, detector.training
    detector.eval()
    for start in range(0, len(data), batch_size):
        samples = [data[number] for number in range(start, min(start + batch_size, len(data)))]
        found = detector([(sample.image / 255).to(device) for sample in samples])
        yield samples, [{key: value.cpu() for key, value in each.items()} for each in found]
    detector.train(training)


def average_precision(detector: nn.Module, data: Boxed, batch_size: int) -> Results:
    """COCO's average precision in [0, 1], over overlaps from 0.5 to 0.95, and at 0.5 and 0.75."""
    from torchmetrics.detection import MeanAveragePrecision

    metric = MeanAveragePrecision(backend="pycocotools")
    for samples, found in predict(detector, data, batch_size):
        metric.update(found, [target_of(sample) for sample in samples])
    values = metric.compute()
    return {name: values[_KEYS[name]].item() for name in MEASURES}


def check_metric() -> None:
    """Refuse before the training what would fail after it.

    Raises:
        ConfigError: If torchmetrics has nothing to compute the average precision with.
    """
    if importlib.util.find_spec("pycocotools") is None:
        raise ConfigError('average precision is computed with pycocotools: pip install "nda-augment[examples]"')
