"""The encoder: a ResNet of Lightly, without its last layer."""

from lightly.models import ResNetGenerator
from torch import nn

from examples.contrastive.config import Model


def make_backbone(settings: Model) -> tuple[nn.Module, int]:
    """Return Lightly's ResNet without its last layer, and the number of its features."""
    resnet = ResNetGenerator(settings.backbone, width=settings.width, num_splits=settings.bn_splits)
    # Lightly's own recipe, all children in a row, would lose the activation between stem and first stage.
    stem = [resnet.conv1, resnet.bn1, nn.ReLU()]
    if settings.stem == "large":
        stem = [nn.Conv2d(3, resnet.base, 7, stride=2, padding=3, bias=False), *stem[1:], nn.MaxPool2d(3, 2, padding=1)]
    stages = [resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4]
    return nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten()), resnet.linear.in_features
