"""A Faster R-CNN on a ResNet of examples.contrastive, of torchvision or of timm."""

from collections import OrderedDict
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign

from examples.common.settings import ConfigError
from examples.contrastive.backbone import make_backbone
from examples.detection.config import Data, Model

_STAGES = ("layer1", "layer2", "layer3", "layer4")
_ASPECTS = (0.5, 1.0, 2.0)
_SIZES = 5  # of anchors: a level of the pyramid has one, a single map has all
_BEFORE = 6  # boxes of which overlapping ones are left out, for each that is proposed
_NORMAL = {"plain": ((0.5,) * 3, (0.25,) * 3), "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}


def make_detector(settings: Model, data: Data, classes: int) -> FasterRCNN:
    """Return a detector of ``classes`` classes; its backbone begins with ``MODEL.weights`` if there are any.

    ``fpn`` is the form of Lin et al. 2017, ``c4`` that of Ren et al. 2015 and of He et al., "Momentum Contrast", 2020:
    boxes are proposed on the third stage, and the fourth looks at each.
    """
    network, _ = make_backbone(settings, data.img_size)
    if settings.rescale and settings.weights:
        with torch.random.fork_rng(devices=[]):  # what follows has the same weights as without
            rescale(network, make_backbone(replace(settings, weights="", rescale=False), data.img_size)[0])
    parts = stages_of(network, settings.backbone)
    channels = channels_of(parts, data.img_size)
    sides = [settings.anchor * 2**step for step in range(_SIZES)]
    mean, deviation = _NORMAL[settings.pixels]
    shared: dict[str, Any] = {
        "min_size": (*data.train_sizes, data.img_size),
        "max_size": max(data.max_size, *data.train_sizes, 0),
        "image_mean": mean,
        "image_std": deviation,
        "box_batch_size_per_image": settings.regions,
        **{f"rpn_post_nms_top_n_{mode}": settings.proposals for mode in ("train", "test")},
        **{f"rpn_pre_nms_top_n_{mode}": _BEFORE * settings.proposals for mode in ("train", "test")},
    }
    for number, part in enumerate(parts.values()):
        part.requires_grad_(number >= settings.frozen)
    if settings.form == "fpn":
        levels = {name: str(level) for level, name in enumerate(_STAGES)}
        pyramid = BackboneWithFPN(nn.Sequential(parts), levels, [channels[n] for n in _STAGES], settings.channels)
        anchors = AnchorGenerator(tuple((side,) for side in sides), (_ASPECTS,) * _SIZES)
        head = TwoMLPHead(settings.channels * 7**2, settings.head)
        predictor = FastRCNNPredictor(settings.head, classes + 1)
        return FasterRCNN(pyramid, rpn_anchor_generator=anchors, box_head=head, box_predictor=predictor, **shared)
    *below, last = parts.items()
    body: Any = nn.Sequential(OrderedDict(below))
    body.out_channels = channels["layer3"]
    return FasterRCNN(
        body,
        rpn_anchor_generator=AnchorGenerator((tuple(sides),), (_ASPECTS,)),
        box_roi_pool=MultiScaleRoIAlign(["0"], output_size=14, sampling_ratio=2),
        box_head=nn.Sequential(last[1], nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        box_predictor=FastRCNNPredictor(channels["layer4"], classes + 1),
        **shared,
    )


@torch.no_grad()
def rescale(network: nn.Module, fresh: nn.Module) -> None:
    """Give every convolution in front of a batch norm the norm of a fresh one, and the batch norm its statistics.

    What the network computes stays, since batch norm takes the scale away. A step of gradient descent turns such
    weights by an angle that falls with the square of their norm, so that long ones hardly learn.

    Source: van Laarhoven, "L2 Regularization versus Batch and Weight Normalization", 2017.
    """
    in_front, factor = None, 1.0
    for own, other in zip(network.modules(), fresh.modules(), strict=True):
        if isinstance(own, nn.Conv2d) and isinstance(other, nn.Conv2d):
            in_front, factor = own, float(other.weight.norm() / own.weight.norm())
        elif isinstance(own, nn.BatchNorm2d) and in_front is not None:
            for weights in in_front.parameters(recurse=False):
                weights.mul_(factor)
            for statistic, power in ((own.running_mean, 1), (own.running_var, 2)):
                if statistic is not None:
                    statistic.mul_(factor**power)
            in_front = None


def stages_of(network: nn.Module, name: str) -> "OrderedDict[str, nn.Module]":
    """The stem and the four stages of a ResNet, by torchvision's names.

    Raises:
        ConfigError: If the network is none.
    """
    if isinstance(network, nn.Sequential):  # of examples.contrastive: stem, stages, pooling
        *stem, first, second, third, fourth = list(network)[:-2]
        return OrderedDict(stem=nn.Sequential(*stem), layer1=first, layer2=second, layer3=third, layer4=fourth)
    children = dict(network.named_children())
    if not children.keys() >= set(_STAGES):
        raise ConfigError(f"MODEL.backbone={name} is no ResNet with {', '.join(_STAGES)}: it has {', '.join(children)}")
    names = list(children)
    stem = [children[each] for each in names[: names.index("layer1")]]
    return OrderedDict(stem=nn.Sequential(*stem), **{stage: children[stage] for stage in _STAGES})


@torch.no_grad()
def channels_of(parts: "OrderedDict[str, nn.Module]", size: int) -> dict[str, int]:
    """How many channels each part returns."""
    maps: Tensor = torch.zeros(1, 3, size, size)
    channels = {}
    for name, part in parts.items():
        training = part.training
        maps = part.eval()(maps)
        part.train(training)
        channels[name] = maps.shape[1]
    return channels
