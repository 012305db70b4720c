"""Feature maps of networks that people have: of torchvision, of timm, or of their own, with weights from a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nda_augment._checks import check_word

Library = Literal["torchvision", "timm"]


class Features(nn.Module):
    """The maps of several stages of a network, stacked at the resolution of the first one named.

    Each is the mean over neighbourhoods of three by three places, so that a vector knows what is around it; the coarser
    ones are enlarged.

    Args:
        network: Any network of images ``(B, C, H, W)``.
        stages: Names of its parts whose outputs, maps ``(B, D, h, w)``, are taken, as in ``network.named_modules()``;
            the finest first.

    Raises:
        ValueError: If a part is not there; the message names some that are.

    Shape:
        ``(B, C, H, W)`` to ``(B, D, h, w)``, ``D`` the sum over stages.

    Example:
        >>> from nda_augment.anomaly import Encoder
        >>> maps = Features(Encoder(channels=3, width=8), ["layers.3", "layers.5"])
        >>> maps(torch.rand(2, 3, 16, 16)).shape
        torch.Size([2, 40, 16, 16])

    Source: the patch features of Roth et al., PatchCore, CVPR 2022.
    """

    def __init__(self, network: nn.Module, stages: Sequence[str]) -> None:
        super().__init__()
        check_stages(network, stages)
        self.network, self.stages = network, list(stages)

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments by name."""
        return {"network": self.network, "stages": self.stages}

    def forward(self, images: Tensor) -> Tensor:
        """Feature maps of a batch of images."""
        maps = stage_maps(self.network, self.stages, images)
        size = maps[self.stages[0]].shape[-2:]
        smooth = [F.avg_pool2d(maps[stage], 3, stride=1, padding=1, count_include_pad=False) for stage in self.stages]
        return torch.cat([F.interpolate(each, size, mode="bilinear", align_corners=False) for each in smooth], dim=1)


def check_stages(network: nn.Module, stages: Sequence[str]) -> None:
    """Raise unless ``stages`` is a list of names of a network's parts, and there is one."""
    parts = dict(network.named_modules())
    if not stages or isinstance(stages, str) or any(stage not in parts for stage in stages):
        known = ", ".join(name for name in list(parts)[1:] if name.count(".") < 2)
        raise ValueError(f"stages must be a list of parts of the network, got {stages!r}; there are {known}")


def stage_maps(network: nn.Module, stages: Sequence[str], images: Tensor) -> dict[str, Tensor]:
    """Return the maps ``(B, D, h, w)`` that parts of a network yield for a batch of images, by name."""
    maps: dict[str, Tensor] = {}
    parts = dict(network.named_modules())
    hooks = [parts[stage].register_forward_hook(_keep(maps, stage)) for stage in stages]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return maps


def backbone(
    name: str, weights: str | Path | None = None, *, library: Library = "torchvision", **options: Any
) -> nn.Module:
    """Build a network of torchvision or timm, with weights from a file; nothing is downloaded.

    Args:
        name: Name of the network in its library, such as ``"resnet18"``.
        weights: File of a state dict, as the library publishes it or as you have saved it; ``None`` leaves the weights
            random. Its tensors alone are read.
        library: Library that knows the network.
        **options: Further arguments of ``torchvision.models.get_model`` or ``timm.create_model``.

    Returns:
        The network, in eval mode, for :class:`Features`.

    Raises:
        ImportError: If the library is missing.
        ValueError: If the file holds no state of this network.

    Example:
        >>> network = backbone("resnet18")
        >>> Features(network, ["layer1", "layer2"])(torch.rand(1, 3, 64, 64)).shape
        torch.Size([1, 192, 16, 16])
    """
    check_word(library, "library", ("torchvision", "timm"))
    network = _build(name, library, options)
    if weights is not None:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state)
        try:
            network.load_state_dict(state)
        except (RuntimeError, AttributeError) as error:
            raise ValueError(f"{weights} holds no weights of {library}'s {name}: {error}") from error
    return network.eval()


def _build(name: str, library: Library, options: dict[str, Any]) -> nn.Module:
    try:
        if library == "timm":
            import timm

            network: nn.Module = timm.create_model(name, pretrained=False, **options)
        else:
            from torchvision import models

            network = models.get_model(name, weights=None, **options)
    except (ImportError, OSError) as error:
        fix = "pip install timm" if library == "timm" else 'pip install "nda-augment[torchvision]"'
        raise ImportError(f"{library} could not be imported ({error}). Install it with: {fix}") from error
    return network


def _keep(maps: dict[str, Tensor], stage: str) -> Any:
    def hook(_: nn.Module, __: Any, output: Tensor) -> None:
        if output.ndim != 4:
            raise ValueError(f"stage {stage!r} yields {tuple(output.shape)}, but maps (B, D, h, w) are needed")
        maps[stage] = output

    return hook
