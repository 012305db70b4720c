"""MoCo-v2, SimCLR and BYOL as Lightning modules; with negatives and without differ in one argument of the loss."""

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import torch
from lightly.models.modules.heads import (
    BYOLPredictionHead,
    BYOLProjectionHead,
    MoCoProjectionHead,
    SimCLRProjectionHead,
)
from lightly.models.utils import batch_shuffle, batch_unshuffle, update_momentum

# Lightly's evaluation is built on the package of this name, and a Trainer of the package "lightning" refuses it.
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

import nda_augment as nda
from examples.common.contrastive.sections import Config
from examples.common.contrastive.views import undone_by_flips
from examples.common.data import Epoch, Images
from examples.common.fitting import OnOwnImages
from examples.common.negatives import mixture_of
from examples.common.optimizers import make_optimizer
from examples.common.randomness import generator, seeded
from nda_augment.adapters.lightly import NDANTXentLoss, NegativesOnDevice
from nda_augment.batch_norm import frozen_batch_norm_stats


class Parts(NamedTuple):
    """What differs between images and clips.

    Attributes:
        views: From a batch of uint8 images to random views, floats, of which most methods need two; drawn with torch's
            global generators.
        backbone: From views to features ``(B, features)``.
        features: How many they are.
    """

    views: nn.Module
    backbone: nn.Module
    features: int


class ViewsOnDevice(OnOwnImages):
    """Batches ``[images, labels, number]`` become ``[[x0, x1], labels, number]`` on the device, in training."""

    settings: Config

    def __init__(self, settings: Config, views: nn.Module) -> None:
        super().__init__()
        self.settings, self.views = settings, views

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        images, labels, number = super().on_after_batch_transfer(batch, dataloader_idx)
        with seeded(self.settings.RUN.seed, "views", number, self.global_rank, device=self.device), torch.no_grad():
            views = self.views(images)
        return [views, labels, number]


class Contrastive(NegativesOnDevice, ViewsOnDevice):  # type: ignore[misc]  # mypy sees adapters/ elsewhere
    """What the methods share: data, negatives, optimizer; a method says how views become a loss.

    Attributes:
        backbone: Images to features, the part that evaluation looks at.
        features: Number of features.
    """

    def __init__(self, settings: Config, data: Images, parts: Parts) -> None:
        super().__init__(settings, parts.views)
        self.data, self.fingerprint = data, data.fingerprint()
        aug = settings.AUG
        self.nda_transform = mixture_of(aug.nda_policy, aug.nda_learned) if aug.apply_nda else None
        for undone in undone_by_flips(self.nda_transform) if self.nda_transform and settings.AUG.flip else ():
            warnings.warn(
                f"{undone} is a view too, with AUG.flip={settings.AUG.flip}: an image would be pulled to what it is "
                "pushed away from. Leave one of the two out",
                stacklevel=2,
            )
        self.backbone, self.features = parts.backbone, parts.features

    def make_negatives(self, images: Tensor) -> Tensor:
        source = generator(
            self.settings.RUN.seed, "negatives", self.global_step, self.global_rank, device=images.device
        )
        negatives: Tensor = cast(nda.NegativeTransform, self.nda_transform)(images, generator=source)
        return negatives

    def learn(self, embeddings: Tensor, negatives: Tensor) -> None:
        """Tell weights that are learned how near each negative came to its image, both ``(B, D)``."""
        if isinstance(self.nda_transform, nda.LearnedMixture):
            similarity = F.cosine_similarity(embeddings.detach().float(), negatives.detach().float())
            self.nda_transform.update(similarity / self.settings.LOSS.temperature)

    def training_step(self, batch: list[Any], batch_idx: int) -> Tensor:
        views, _, number = batch
        loss = self.loss(*views, *(() if self.nda_transform else (None,)), number)
        self.log("loss", loss, prog_bar=True, on_step=True, on_epoch=True, sync_dist=True, batch_size=len(views[0]))
        return loss

    def loss(self, *args: Any, **kwargs: Any) -> Tensor:
        """Of the views, the negatives of the first or ``None``, and the number of the batch in the run."""
        raise NotImplementedError

    def train_dataloader(self) -> DataLoader[Any]:
        """The batches of the current epoch; the Trainer asks anew for each."""
        optimization, run = self.settings.OPTIMIZATION, self.settings.RUN
        processes = self.trainer.world_size
        epoch = Epoch(self.data, optimization.batch_size, run.seed, self.current_epoch, self.global_rank, processes)
        return DataLoader(epoch, batch_size=None)

    def configure_optimizers(self) -> Any:
        return make_optimizer(self, self.settings.OPTIMIZATION, len(self.data))

    def criterion_for(self, memory_bank_size: tuple[int, int] | int) -> NDANTXentLoss:
        settings = self.settings.LOSS
        return NDANTXentLoss(
            settings.temperature,
            memory_bank_size,
            gather_distributed=self.settings.RUN.devices > 1,
            negative_scale=settings.nda_scale,
            scope=cast(nda.losses.Scope, settings.nda_scope),
        )


class SimCLR(Contrastive):
    """Negatives pass through the encoder that is trained, and leave no trace in its batch norm statistics."""

    def __init__(self, settings: Config, data: Images, parts: Parts) -> None:
        super().__init__(settings, data, parts)
        self.head = SimCLRProjectionHead(self.features, self.features, settings.MODEL.dim)
        self.criterion = self.criterion_for(0)

    def loss(self, x0: Tensor, x1: Tensor, negatives: Tensor | None, number: int) -> Tensor:
        z0, z1, z_negative = self.embed(x0), self.embed(x1), None
        if negatives is not None:
            with frozen_batch_norm_stats(self):
                z_negative = self.embed(negatives)
            self.learn(z0, z_negative)
        return full_precision(self.criterion, z0, z1, z_negative)

    def embed(self, images: Tensor) -> Tensor:
        projected: Tensor = self.head(self.backbone(images))
        return projected


class MoCo(Contrastive):
    """Negatives pass through the key encoder in a batch of their own, without gradient, and are never enqueued."""

    def __init__(self, settings: Config, data: Images, parts: Parts) -> None:
        super().__init__(settings, data, parts)
        self.head = MoCoProjectionHead(self.features, self.features, settings.MODEL.dim)
        self.key_encoder = copy.deepcopy(nn.Sequential(self.backbone, self.head)).requires_grad_(False)
        self.criterion = self.criterion_for((settings.MODEL.queue, settings.MODEL.dim))

    def loss(self, x0: Tensor, x1: Tensor, negatives: Tensor | None, number: int) -> Tensor:
        momentum = self.settings.MODEL.momentum
        update_momentum(nn.Sequential(self.backbone, self.head), self.key_encoder, momentum)
        query = self.head(self.backbone(x0))
        key = self.embed_keys(x1, number)
        key_negative = None
        if negatives is not None:
            with frozen_batch_norm_stats(self.key_encoder):
                key_negative = self.embed_keys(negatives, number)
            self.learn(query, key_negative)
        return full_precision(self.criterion, query, key, self.joined_by_mixes(query, key_negative, number))

    def joined_by_mixes(self, query: Tensor, key_negative: Tensor | None, number: int) -> Tensor | None:
        """The negatives of each query, ``(B, D)``, and behind them those mixed of its hardest keys: ``(B, M, D)``."""
        loss = self.settings.LOSS
        if not loss.mochi_hardest or self.current_epoch < loss.mochi_start_epoch:
            return key_negative
        mixed = nda.losses.mix_hard_negatives(
            query.float(),
            self.criterion.memory_bank.bank.float(),
            n_hardest=loss.mochi_hardest,
            n_mix=loss.mochi_mix,
            n_mix_query=loss.mochi_mix_query,
            generator=generator(self.settings.RUN.seed, "mochi", number, self.global_rank, device=query.device),
        )
        return mixed if key_negative is None else torch.cat([key_negative[:, None].to(mixed), mixed], dim=1)

    @torch.no_grad()
    def embed_keys(self, images: Tensor, number: int) -> Tensor:
        """Embed in another order, so that batch norm does not tell which query belongs to which key."""
        several = self.trainer.world_size > 1
        with seeded(self.settings.RUN.seed, "shuffle", number, device=self.device):
            shuffled, order = batch_shuffle(images, distributed=several)
        keys: Tensor = batch_unshuffle(self.key_encoder(shuffled), order, distributed=several)
        return keys

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightly leaves the memory bank out of the state; without it a run would not resume as it was."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["memory_bank"] = dict(self.criterion.memory_bank.named_buffers())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        for name, buffer in self.criterion.memory_bank.named_buffers():
            buffer.copy_(checkpoint["memory_bank"][name])


class BYOL(Contrastive):
    """Predictions of the other view's target, both ways, which are pushed away from the target of the negative."""

    def __init__(self, settings: Config, data: Images, parts: Parts) -> None:
        super().__init__(settings, data, parts)
        dim = settings.MODEL.dim
        self.head = BYOLProjectionHead(self.features, self.features, dim)
        self.predictor = BYOLPredictionHead(dim, self.features, dim)
        self.target = copy.deepcopy(nn.Sequential(self.backbone, self.head)).requires_grad_(False)

    def loss(self, x0: Tensor, x1: Tensor, negatives: Tensor | None, number: int) -> Tensor:
        update_momentum(nn.Sequential(self.backbone, self.head), self.target, self.settings.MODEL.momentum)
        predictions = [self.predictor(self.head(self.backbone(view))).float() for view in (x0, x1)]
        with torch.no_grad():
            targets = [self.target(view).float() for view in (x1, x0)]
        views = torch.stack(predictions, dim=1)
        loss = 2 - 2 * F.cosine_similarity(views, torch.stack(targets, dim=1), dim=2).mean()
        if negatives is None:
            return loss
        with torch.no_grad(), frozen_batch_norm_stats(self.target):
            target_negative = self.target(negatives)
        self.learn(predictions[0], target_negative)
        weight, floor = self.settings.LOSS.nda_repulsion, self.settings.LOSS.nda_floor
        return loss + weight * nda.losses.repulsion(views, target_negative, floor=floor)


METHODS: dict[str, type[Contrastive]] = {"moco": MoCo, "simclr": SimCLR, "byol": BYOL}


def make(
    settings: Config, data: Images, parts: Callable[[], Parts], known: Mapping[str, type[Contrastive]] = METHODS
) -> Contrastive:
    """Build the method with weights and queue that depend on the seed only."""
    with seeded(settings.RUN.seed, "weights"):
        return known[settings.MODEL.method](settings, data, parts())


def full_precision(criterion: nn.Module, *embeddings: Tensor | None) -> Tensor:
    """Compute a loss outside autocast: divided by a small temperature, half precision rounds off what counts."""
    given = [None if each is None else each.float() for each in embeddings]
    device = next(each.device.type for each in given if each is not None)
    with torch.autocast(device, enabled=False):
        loss: Tensor = criterion(*given)
    return loss
