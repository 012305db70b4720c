from pathlib import Path

import pytest
import torch
from torch import nn

from examples.common.settings import ConfigError
from examples.contrastive.backbone import make_backbone, weights_of
from examples.detection.config import Data, Model
from examples.detection.learning import Detection
from examples.detection.model import make_detector, rescale, stages_of
from examples.detection.samples import Boxed, Sample
from tests.examples.detection.conftest import Tiny

SMALL = {"backbone": "resnet-9", "width": 0.0625, "channels": 4, "head": 8, "anchor": 4}
DATA = Data(img_size=32, max_size=48)


def scene() -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    boxes = torch.tensor([[4.0, 4.0, 16.0, 20.0]])
    return list(torch.rand(2, 3, 32, 32)), [{"boxes": boxes, "labels": torch.tensor([1])} for _ in range(2)]


@pytest.mark.parametrize("form", ["fpn", "c4"])
@pytest.mark.parametrize("stem", ["small", "large"])
def test_every_part_of_a_detector_learns(form: str, stem: str) -> None:
    torch.manual_seed(0)
    detector = make_detector(Model(form=form, stem=stem, **SMALL), DATA, classes=3)
    losses = detector(*scene())
    assert set(losses) == {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}
    torch.stack(list(losses.values())).sum().backward()
    without = [name for name, weight in detector.named_parameters() if weight.grad is None]
    assert not without
    found, _ = detector.eval()(scene()[0])
    assert found["boxes"].shape[1] == 4
    assert found["labels"].max() <= 3


@pytest.mark.parametrize("backbone", ["torchvision:resnet18", "timm:resnet18"])
def test_a_file_of_weights_of_torchvision_or_timm_is_taken_up(backbone: str, tmp_path: Path) -> None:
    """As torch.save(resnet18(weights=...).state_dict(), FILE) writes it, with its last layer."""
    torch.manual_seed(0)
    if backbone.startswith("timm"):
        import timm

        whole: nn.Module = timm.create_model("resnet18")
    else:
        from torchvision.models import resnet18

        whole = resnet18()
    torch.save(whole.state_dict(), tmp_path / "weights.pt")
    settings = Model(backbone=backbone, stem=Model.stem, channels=4, head=8, weights=str(tmp_path / "weights.pt"))
    detector = make_detector(settings, DATA, classes=2)
    body = detector.backbone.body
    assert torch.equal(body["stem"][0].weight, whole.get_parameter("conv1.weight"))
    assert torch.equal(body["layer4"][1].conv2.weight, whole.get_parameter("layer4.1.conv2.weight"))


@pytest.mark.parametrize("backbone", ["resnet-9", "torchvision:resnet18", "timm:resnet18"])
def test_rescaled_weights_compute_the_same_with_the_norms_of_fresh_ones(backbone: str) -> None:
    torch.manual_seed(0)
    settings = Model(backbone=backbone) if ":" in backbone else Model(**SMALL)
    long, fresh = (make_backbone(settings, 32)[0].double() for _ in range(2))
    for layer in long.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.data.mul_(30.0)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.eps = 1e-30  # what is added to a variance does not scale
    images = torch.rand(4, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        for _ in range(50):
            long(images)  # the statistics of batch norm become those of these images
        learning, scoring = long.train()(images), long.eval()(images)
        rescale(long, fresh)
        assert torch.allclose(long.eval()(images), scoring)
        assert torch.allclose(long.train()(images), learning)
    for own, other in zip(long.modules(), fresh.modules(), strict=True):
        if isinstance(own, nn.Conv2d):
            assert own.weight.norm().item() == pytest.approx(other.weight.norm().item())


def test_rescaling_leaves_the_other_draws_alone(tmp_path: Path) -> None:
    network, _ = make_backbone(Model(**SMALL), 32)
    torch.save(weights_of(network, Model(**SMALL)), tmp_path / "weights.pt")
    detectors = []
    for scaled in (False, True):
        torch.manual_seed(0)
        settings = Model(weights=str(tmp_path / "weights.pt"), rescale=scaled, **SMALL)
        detectors.append(make_detector(settings, DATA, classes=2))
    plain, rescaled = detectors
    for name, weights in plain.roi_heads.state_dict().items():
        assert torch.equal(weights, rescaled.roi_heads.state_dict()[name])


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    from torchvision.models import resnet34

    torch.save(resnet34().state_dict(), tmp_path / "weights.pt")
    settings = Model(backbone="torchvision:resnet18", weights=str(tmp_path / "weights.pt"))
    with pytest.raises(ValueError, match=r"(?s)weights.pt holds a state that does not fit here .*layer1.2"):
        make_detector(settings, DATA, classes=2)


def test_the_stages_of_a_resnet_in_a_row_are_the_resnet() -> None:
    torch.manual_seed(0)
    for backbone in ("resnet-9", "torchvision:resnet18"):
        given = {"width": 0.0625, "stem": "large"} if ":" not in backbone else {}
        network = make_backbone(Model(backbone=backbone, **given), 32)[0].eval()
        images = torch.randn(2, 3, 32, 32)
        maps = nn.Sequential(stages_of(network, backbone))(images)
        torch.testing.assert_close(maps.mean(dim=(2, 3)), network(images))


def test_what_is_no_resnet_is_named() -> None:
    with pytest.raises(ConfigError, match=r"torchvision:mobilenet_v2 is no ResNet with layer1.* it has features"):
        make_detector(Model(backbone="torchvision:mobilenet_v2"), DATA, classes=2)


@pytest.mark.parametrize("frozen", [0, 2, 5])
def test_frozen_parts_keep_weights_and_statistics(tiny: Tiny, frozen: int) -> None:
    data = Boxed([Sample(torch.zeros(3, 32, 32, dtype=torch.uint8), torch.zeros(0, 4), torch.zeros(0).long())], "ab")
    module = Detection(tiny("run", f"MODEL.frozen={frozen}"), data)
    body = module.detector.backbone.body
    before = {name: value.clone() for name, value in body.state_dict().items()}
    optimizer = torch.optim.SGD([weight for weight in module.parameters() if weight.requires_grad], lr=0.1)
    torch.stack(list(module.detector(*scene()).values())).sum().backward()
    optimizer.step()
    for number, part in enumerate(("stem", "layer1", "layer2", "layer3", "layer4")):
        names = [name for name in before if name.startswith(f"{part}.") and not name.endswith("num_batches_tracked")]
        kept = [torch.equal(body.state_dict()[name], before[name]) for name in names]
        assert all(kept) == (number < frozen), part


def test_pixels_are_normalised_as_the_weights_expect() -> None:
    for pixels, mean in (("plain", 0.5), ("imagenet", 0.485)):
        detector = make_detector(Model(pixels=pixels, **SMALL), DATA, classes=1)
        assert detector.transform.image_mean[0] == mean
