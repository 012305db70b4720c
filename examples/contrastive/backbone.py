"""The encoder without its last layer: a ResNet of Lightly, a network of torchvision or timm, or one of your own."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from lightly.models import ResNetGenerator
from lightly.models.batchnorm import SplitBatchNorm
from torch import Tensor, nn

from examples.common.fitting import CHECKPOINT, STATE
from examples.common.runs import file_of
from examples.common.settings import ConfigError
from examples.contrastive.config import Backbone, Config, load
from nda_augment._files import load_checkpoint, restoring

_HEADS = ("fc", "classifier", "heads", "head")


def make_backbone(settings: Backbone, size: int) -> tuple[nn.Module, int]:
    """Return the encoder of a config, from images ``(B, 3, size, size)`` to features ``(B, D)``, and ``D``.

    It starts from the weights at ``MODEL.weights`` if there are any.

    Raises:
        ConfigError: If there is no such network, or it does not return features.
    """
    source, separator, name = settings.backbone.partition(":")
    network = _foreign(source, name) if separator else _resnet(settings)
    if settings.weights:
        path = Path(settings.weights)
        state = load_checkpoint(path, {})
        with restoring(path):
            # A file of examples.contrastive.export, or a state of torchvision or timm with its last layer.
            state = _without_head(state.get("backbone", state), network)
            state = state if separator else _to_lightly(state, settings.stem)
            network.load_state_dict(state | {name: state[name].repeat(n) for name, n in _split_statistics(network)})
    with torch.no_grad(), _named(settings.backbone, f"does not take images of DATA.img_size={size}"):
        features = network.eval()(torch.zeros(2, 3, size, size))
    if not isinstance(features, Tensor) or features.ndim != 2:
        raise ConfigError(f"MODEL.backbone={settings.backbone} must return features (B, D) of images")
    return network.train(), features.shape[1]


def load_backbone(folder: Path) -> tuple[nn.Module, Config]:
    """Return the trained encoder of a run, and the run's settings.

    Raises:
        ConfigError: If the folder holds no run.
        CheckpointError: If its checkpoint is damaged.
    """
    saved = file_of(folder, CHECKPOINT)
    settings = load(folder / "config.yaml", ["MODEL.weights=''"])
    network, _ = make_backbone(settings.MODEL, settings.DATA.img_size)
    state = load_checkpoint(saved, STATE)["state_dict"]
    with restoring(saved):
        network.load_state_dict(
            {name.removeprefix("backbone."): value for name, value in state.items() if name.startswith("backbone.")}
        )
    return network, settings


def weights_of(network: nn.Module, settings: Backbone) -> dict[str, Tensor]:
    """Return the weights of an encoder under the names that torchvision and timm have for those of a ResNet."""
    # Leaving train mode makes one set of statistics of those of all parts of a batch.
    state = dict(network.eval().state_dict())
    state |= {name: state[name].chunk(parts)[0].clone() for name, parts in _split_statistics(network)}
    if ":" in settings.backbone:
        return state
    return {_renamed(name, _places(settings.stem)): value for name, value in state.items()}


def _split_statistics(network: nn.Module) -> list[tuple[str, int]]:
    """Names of the statistics that a network keeps of each part of a batch, and the number of parts."""
    return [
        (f"{name}.{buffer}", layer.num_splits)
        for name, layer in network.named_modules()
        if isinstance(layer, SplitBatchNorm)
        for buffer in ("running_mean", "running_var")
    ]


def _resnet(settings: Backbone) -> nn.Module:
    resnet = ResNetGenerator(settings.backbone, width=settings.width, num_splits=settings.bn_splits)
    # Lightly's own recipe, all children in a row, would lose the activation between stem and first stage.
    stem = [resnet.conv1, resnet.bn1, nn.ReLU()]
    if settings.stem == "large":
        stem = [nn.Conv2d(3, resnet.base, 7, stride=2, padding=3, bias=False), *stem[1:], nn.MaxPool2d(3, 2, padding=1)]
    stages = [resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4]
    return nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _foreign(source: str, name: str) -> nn.Module:
    with _named(f"{source}:{name}", "cannot be made"):
        if source == "timm":
            network: nn.Module = import_module("timm").create_model(name, num_classes=0)
        elif source == "torchvision":
            network = _without_classes(import_module("torchvision.models").get_model(name, weights=None))
        else:
            network = getattr(import_module(source), name)()
    return network


@contextmanager
def _named(backbone: str, what: str) -> Iterator[None]:
    """Whatever another's code raises, it is the config that names it."""
    try:
        yield
    except Exception as error:
        raise ConfigError(f"MODEL.backbone={backbone} {what}: {type(error).__name__}: {error}") from error


def _without_classes(network: Any) -> nn.Module:
    """A network of torchvision whose last layer hands through what it gets."""
    if getattr(network, "aux_logits", False):
        raise ValueError("it returns more than features in training")
    for name in _HEADS:
        if hasattr(network, name):
            setattr(network, name, nn.Identity())
            break
    return nn.Sequential(network)[0]


def _without_head(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """A state without what the network has left of its last layer: nothing."""
    known = network.state_dict()
    return {name: value for name, value in state.items() if name in known or name.split(".")[0] not in _HEADS}


def _places(stem: str) -> dict[str, str]:
    first = 4 if stem == "large" else 3
    return {"0": "conv1", "1": "bn1"} | {str(first + stage): f"layer{stage + 1}" for stage in range(4)}


def _renamed(name: str, places: dict[str, str]) -> str:
    place, rest = name.split(".", 1)
    return f"{places[place]}.{rest}".replace(".shortcut.", ".downsample.")


def _to_lightly(state: dict[str, Tensor], stem: str) -> dict[str, Tensor]:
    places = {name: place for place, name in _places(stem).items()}
    names = {name: f"{places.get(name.split('.')[0], name)}.{name.split('.', 1)[1]}" for name in state}
    return {names[name].replace(".downsample.", ".shortcut."): value for name, value in state.items()}
