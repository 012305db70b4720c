import builtins
import importlib.util

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2

import nda_augment as nda
from nda_augment.adapters.anomalib import AnomalyGenerator, synthetic_anomalies

needs_anomalib = pytest.mark.skipif(
    importlib.util.find_spec("anomalib") is None, reason='anomalib is missing: pip install "nda-augment[anomalib]"'
)
# It warns about its own dependencies and arguments.
theirs = pytest.mark.filterwarnings("default")


REGIONAL = [nda.CutPaste(), nda.CutPasteScar(), nda.Cutout(), nda.CutMix(), nda.PerlinBlend()]


@pytest.mark.parametrize("negative", REGIONAL, ids=str)
def test_the_mask_is_where_the_image_changed(negative) -> None:
    images = torch.rand(6, 3, 32, 32)
    anomalous, masks = AnomalyGenerator(negative)(images)
    assert anomalous.shape == images.shape
    assert masks.shape == (6, 1, 32, 32)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    changed = (anomalous != images).any(dim=1, keepdim=True)
    assert not (changed & (masks == 0)).any()
    assert masks.flatten(1).any(dim=1).all()


def test_p_is_the_share_of_images_with_an_anomaly() -> None:
    images = torch.rand(400, 3, 8, 8)
    anomalous, masks = AnomalyGenerator(nda.CutPaste(p=0.5))(images)
    chosen = masks.flatten(1).any(dim=1)
    assert 0.4 < chosen.float().mean() < 0.6
    assert torch.equal(anomalous[~chosen], images[~chosen])


def test_a_single_image() -> None:
    image = torch.rand(3, 16, 16)
    anomalous, mask = AnomalyGenerator(nda.CutPaste())(image)
    assert (anomalous.shape, mask.shape) == ((3, 16, 16), (1, 16, 16))


@pytest.mark.parametrize(
    ("images", "mask"), [(torch.float64, torch.float64), (torch.float16, torch.float16), (torch.uint8, torch.float32)]
)
def test_masks_are_floats_as_images_are(images, mask) -> None:
    anomalous, masks = AnomalyGenerator(nda.CutPaste())(torch.ones(2, 3, 16, 16).to(images))
    assert (anomalous.dtype, masks.dtype) == (images, mask)


def test_images_of_torchvisions_kind() -> None:
    anomalous, mask = AnomalyGenerator(nda.CutPaste())(tv_tensors.Image(torch.rand(2, 3, 16, 16)))
    assert type(anomalous) is type(mask) is torch.Tensor


def test_textures_come_from_the_pool() -> None:
    images, textures = torch.rand(4, 3, 16, 16), 5 + torch.rand(7, 3, 16, 16)
    generator = AnomalyGenerator(nda.PerlinBlend(weight=1.0), pool=textures)
    anomalous, masks = generator(images)
    assert anomalous[masks.expand_as(images) == 1].min() >= 5
    alone, mask = generator(images[0])
    assert alone[mask.expand_as(alone) == 1].min() >= 5
    assert not generator.state_dict()


def test_a_mixture_draws_one_for_each_image() -> None:
    generator = AnomalyGenerator(nda.Mixture([nda.CutPaste(), nda.CutPasteScar()], p=0.5))
    anomalous, masks = generator(torch.rand(8, 3, 32, 32))
    assert anomalous.shape == (8, 3, 32, 32)
    assert 0 < masks.sum() < masks.numel()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.nn.Identity(),), TypeError, "transform must be negatives of this package"),
        ((nda.Jigsaw(),), ValueError, "changes no region"),
        ((nda.CutMix(partner="other_class"),), ValueError, "needs labels"),
        ((nda.CutPaste(), torch.rand(2, 3, 8, 8)), ValueError, "leave out the pool"),
    ],
    ids=["identity", "jigsaw", "labels", "pool"],
)
def test_arguments_are_checked(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        AnomalyGenerator(*arguments)


@pytest.mark.parametrize(("images", "pool"), [(torch.float32, torch.uint8), (torch.uint8, torch.float32)])
def test_a_pool_of_another_dtype_is_refused(images, pool) -> None:
    """Bytes taken for floats would be anomalies of up to 255 beside images in [0, 1]."""
    generator = AnomalyGenerator(nda.PerlinBlend(), pool=torch.ones(5, 3, 16, 16).to(pool))
    with pytest.raises(ValueError, match=f"pool must hold images of .*{images} .*{pool}"):
        generator(torch.ones(2, 3, 16, 16).to(images))


@pytest.mark.parametrize("shape", [(8, 8), (1, 2, 3, 8, 8)])
def test_shapes_are_checked(shape) -> None:
    with pytest.raises(ValueError, match=r"must be \(C, H, W\) or \(B, C, H, W\)"):
        AnomalyGenerator(nda.CutPaste())(torch.rand(shape))


def test_synthetic_splits_need_an_anomaly_in_every_image() -> None:
    with (
        pytest.raises(ValueError, match=r"CutPaste\(.* has p=0.5 .*use p=1"),
        synthetic_anomalies(AnomalyGenerator(nda.CutPaste(p=0.5))),
    ):
        pass


def test_a_missing_anomalib_is_named(monkeypatch) -> None:
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name.split(".")[0] == "anomalib":
            raise ImportError("No module named 'anomalib'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with (
        pytest.raises(ImportError, match=r'pip install "nda-augment\[anomalib\]"'),
        synthetic_anomalies(AnomalyGenerator(nda.CutPaste())),
    ):
        pass


# ---------------------------------------------------------------------------------------------------------------------
# In the library itself
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def photographs(tmp_path):
    """A folder of twelve normal images, as anomalib's data modules read them."""
    folder = tmp_path / "normal"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number:02}.png")
    return tmp_path


@needs_anomalib
@theirs
def test_draem_trains_with_it(tmp_path) -> None:
    from anomalib.data import ImageBatch
    from anomalib.models import Draem

    model = Draem(dtd_dir=tmp_path, evaluator=False, visualizer=False)  # a folder that is there is not downloaded
    model.augmenter = AnomalyGenerator(nda.PerlinBlend(p=0.5))
    model.log = lambda *_, **__: None  # there is no Trainer here
    loss = model.training_step(ImageBatch(image=torch.rand(2, 3, 64, 64)))["loss"]
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.model.parameters())


@needs_anomalib
@theirs
@pytest.mark.parametrize("mode", ["test", "val"])
def test_synthetic_splits_are_made_of_it(photographs, mode) -> None:
    from anomalib.data import Folder
    from anomalib.data.utils import synthetic

    own = synthetic.PerlinAnomalyGenerator
    modes = (
        {"val_split_mode": "synthetic"} if mode == "val" else {"test_split_mode": "synthetic", "val_split_mode": "none"}
    )
    module = Folder(
        name="made", root=photographs, normal_dir="normal", num_workers=0, train_batch_size=2, eval_batch_size=4,
        augmentations=v2.Resize((64, 64)), **modes,
    )  # fmt: skip
    with synthetic_anomalies(AnomalyGenerator(nda.Cutout(side=0.5, fill=0.0))):
        module.setup()
    assert synthetic.PerlinAnomalyGenerator is own

    split = module.val_data if mode == "val" else module.test_data
    items = [split[number] for number in range(len(split))]
    anomalous = [item for item in items if item.gt_label == 1]
    assert 0 < len(anomalous) < len(items)
    for item in anomalous:
        inside = item.gt_mask.bool()
        assert inside.float().mean() == pytest.approx(0.25, abs=0.02)
        assert item.image[:, inside.squeeze()].max() <= 0.01  # the anomaly is a black box, and not anomalib's noise


@needs_anomalib
@theirs
def test_an_anomalib_that_works_in_another_way_is_named(monkeypatch) -> None:
    from anomalib.data.utils import synthetic

    monkeypatch.delattr(synthetic, "PerlinAnomalyGenerator")
    with (
        pytest.raises(RuntimeError, match="makes synthetic splits in a way that this package does not know"),
        synthetic_anomalies(AnomalyGenerator(nda.CutPaste())),
    ):
        pass


@needs_anomalib
@theirs
def test_its_generator_comes_back_after_an_error() -> None:
    from anomalib.data.utils import synthetic

    own = synthetic.PerlinAnomalyGenerator
    with pytest.raises(KeyError), synthetic_anomalies(AnomalyGenerator(nda.CutPaste())):
        raise KeyError
    assert synthetic.PerlinAnomalyGenerator is own


def test_loaders_take_it_as_a_transform() -> None:
    """Where anomalib's own generator stands in a pipeline, so does this one."""
    generator = v2.Compose([v2.ToDtype(torch.float32, scale=True), AnomalyGenerator(nda.CutPaste())])
    image, mask = next(iter(DataLoader([generator(torch.zeros(3, 16, 16, dtype=torch.uint8)) for _ in range(2)], 2)))
    assert (image.shape, mask.shape) == ((2, 3, 16, 16), (2, 1, 16, 16))
