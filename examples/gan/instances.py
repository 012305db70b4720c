"""The instances of IC-GAN: what describes an image, and which images are near it.

Source: Casanova et al., "Instance-Conditioned GAN", NeurIPS 2021. As there, an image is no neighbour of its own, a
generated image gets the label of one of its instance's neighbours, and features have length one.
"""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from examples.common import data, judging
from examples.common.data import Images
from examples.common.randomness import generator
from examples.common.settings import ConfigError
from examples.gan.conditioning import Told
from examples.gan.config import Config
from nda_augment._files import State, load_checkpoint, restoring, save_checkpoint
from nda_augment.anomaly import GaussianDensity

INSTANCES = "instances.pt"
_STATE = {"images": str, "made": dict, "weights": dict, "features": Tensor, "neighbours": Tensor}
_AT_ONCE = 512


class Encoder(nn.Module):
    """Images ``(B, C, H, W)``, in [-1, 1] or uint8, to features ``(B, D)`` of length one, frozen.

    Args:
        network: Images to features.
        channels: How many it takes; grey images are put into all.
        scale: By which its images differ from those in [-1, 1].
    """

    def __init__(self, network: nn.Module, channels: int, scale: float = 1.0) -> None:
        super().__init__()
        self.network, self.channels, self.scale = network.eval().requires_grad_(False), channels, scale

    def forward(self, images: Tensor) -> Tensor:
        """Features of a batch."""
        pixels = data.normalize(images) if images.dtype == torch.uint8 else images
        features: Tensor = self.network(self.scale * in_channels(pixels, self.channels))
        return F.normalize(features.float(), dim=1)


class Instances(NamedTuple):
    """The training images as instances.

    Attributes:
        encoder: What their features are of.
        features: ``(N, D)``.
        neighbours: int64 ``(N, k)``, the nearest first.
        labels: ``(N,)``, where the players are told classes.
    """

    encoder: Encoder
    features: Tensor
    neighbours: Tensor
    labels: Tensor | None

    def near(self, which: Tensor, *source: Any) -> Tensor:
        """Draw a neighbour of each instance, ``(B,)``, from the source that :func:`generator` makes of the rest."""
        places = torch.randint(self.neighbours.shape[1], (len(which),), generator=generator(*source))
        return self.neighbours[which, places]

    def told(self, which: Tensor, *source: Any) -> Told:
        """Return what the generator is told, to make neighbours of instances: with the label of a real one."""
        labels = None if self.labels is None else self.labels[self.near(which, *source)]
        return Told(labels, self.features[which])

    def draw(self, count: int, *source: Any) -> Tensor:
        """Draw instances, ``(count,)``; any may come again."""
        return torch.randint(len(self.features), (count,), generator=generator(*source))

    def spread(self, count: int, *source: Any) -> Tensor:
        """Draw instances, ``(count,)``; none comes again before all have."""
        order = torch.randperm(len(self.features), generator=generator(*source))
        return order[torch.arange(count) % len(order)]

    def nearness(self, images: Tensor, which: Tensor) -> float:
        """Share of pairs in which an image is nearer to the neighbours of its own instance than to those of another's.

        Cosines to the mean of the neighbours' features are compared; 0.5 is what chance gives.

        Args:
            images: ``(n, C, H, W)`` in [-1, 1].
            which: ``(n,)``, their instances.
        """
        centres = F.normalize(self.features[self.neighbours[which]].mean(dim=1), dim=1)
        cosines = describe(self.encoder, images) @ centres.T
        own = cosines.diagonal().unsqueeze(1)
        ahead = (own > cosines).double() + 0.5 * (own == cosines).double()
        return ((ahead.sum() - 0.5 * len(ahead)) / (len(ahead) * (len(ahead) - 1))).item()


def write_instances(settings: Config, images: Images) -> None:
    """Describe the training images of a run, and write that into its folder, unless it is there already."""
    path, k = Path(settings.RUN.save_dir) / INSTANCES, _made(settings)["neighbours"]
    if path.exists():
        return
    if k >= len(images):
        raise ConfigError(f"MODEL.instance_neighbours={k} must be below {len(images)}, the number of training images")
    encoder, backbone = _new_encoder(settings, images)
    features = describe(encoder, data.normalize(images.images))
    state = {
        "images": images.fingerprint(),
        "made": _made(settings) | {"channels": encoder.channels, "scale": encoder.scale, "backbone": backbone},
        "weights": encoder.state_dict(),
        "features": features,
        "neighbours": nearest(features, k),
        "labels": images.labels if settings.conditional else None,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(state, path)


def read_instances(folder: Path, settings: Config, images: Images | None = None) -> Instances:
    """Read the instances of a run.

    Args:
        folder: Of the run.
        settings: Its settings.
        images: The training images, to check that they are the ones.

    Raises:
        ConfigError: If they are of other images or settings.
        CheckpointError: If the file is damaged.
    """
    path = folder / INSTANCES
    state = load_checkpoint(path, _STATE)
    made = state["made"]
    if images is not None and (state["images"] != images.fingerprint() or not made.items() >= _made(settings).items()):
        raise ConfigError(f"{path} is of other images or another encoder than this run's; remove it to begin anew")
    with restoring(path):
        encoder = Encoder(_network(made), made["channels"], made["scale"])
        encoder.load_state_dict(state["weights"])
    return Instances(encoder, state["features"], state["neighbours"], state["labels"])


def density_of(instances: Instances) -> Callable[..., Tensor]:
    """Return what says how far images, ``(B, C, H, W)`` in [-1, 1], are from the real ones, ``(B,)``."""
    density = GaussianDensity(instances.features.shape[1]).fit(instances.features)

    def score(images: Tensor, _: Tensor | None = None) -> Tensor:
        return density.to(images.device).score(instances.encoder.to(images.device)(images))

    return score


@torch.no_grad()
def describe(encoder: Encoder, images: Tensor) -> Tensor:
    """Features ``(N, D)`` of images ``(N, C, H, W)`` in [-1, 1]."""
    return torch.cat([encoder(some) for some in torch.split(images, _AT_ONCE)])


def nearest(features: Tensor, k: int) -> Tensor:
    """Return of each row the ``k`` rows with the highest cosine, itself left out: int64 ``(N, k)``, nearest first.

    By faiss where it is installed, else by torch; both compare all rows with all.

    Args:
        features: ``(N, D)``, of length one.
        k: Below N.
    """
    numbers = torch.arange(len(features))
    try:
        import faiss  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return torch.cat([_nearest_of(rows, features, k) for rows in torch.split(numbers, _AT_ONCE)])
    index = faiss.IndexFlatIP(features.shape[1])
    index.add(features.numpy())
    found = torch.from_numpy(index.search(features.numpy(), k + 1)[1])
    itself = found == numbers.unsqueeze(1)
    itself[:, -1] |= ~itself.any(dim=1)  # one of many copies may not find itself
    return found[~itself].view(-1, k)


def in_channels(images: Tensor, channels: int) -> Tensor:
    """Images ``(B, C, H, W)``, grey ones as colours or colours as grey where another number of channels is asked."""
    if images.shape[1] == channels:
        return images
    return images.mean(dim=1, keepdim=True) if channels == 1 else images.expand(-1, channels, -1, -1)


def _nearest_of(rows: Tensor, features: Tensor, k: int) -> Tensor:
    cosines = features[rows] @ features.T
    cosines[torch.arange(len(rows)), rows] = -torch.inf
    return cosines.topk(k).indices


def _new_encoder(settings: Config, images: Images) -> tuple[Encoder, State | None]:
    """The encoder of a run of examples.contrastive; or else a classifier of classes, or of turns without them."""
    folder = settings.MODEL.instance_encoder
    if folder:
        from examples.contrastive.backbone import load_backbone  # Lightly is needed for nothing else here
        from examples.contrastive.config import Backbone

        network, run = load_backbone(Path(folder))
        words = {each.name: getattr(run.MODEL, each.name) for each in fields(Backbone)}
        return Encoder(network, 3, 2.0), words  # its images are twice as far from zero
    known = images if settings.conditional else judging.turned(images)
    return Encoder(judging.train_classifier(known).body, images.images.shape[1]), None


def _network(made: State) -> nn.Module:
    if made["backbone"] is None:
        return judging.Classifier(made["channels"], 1).body
    from examples.contrastive.backbone import make_backbone
    from examples.contrastive.config import Backbone

    return make_backbone(Backbone(**made["backbone"]), made["size"])[0]


def _made(settings: Config) -> State:
    """What of the settings the file depends on."""
    model = settings.MODEL
    k = model.instance_neighbours if model.instance_cond else 0
    return {"encoder": model.instance_encoder, "neighbours": k, "size": settings.DATA.img_size}
