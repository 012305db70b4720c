import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import nda_augment as nda

api = pytest.importorskip("pytorch_ood.api", reason='pytorch-ood is missing: pip install "nda-augment[pytorch-ood]"')

from pytorch_ood.loss import OutlierExposureLoss  # noqa: E402
from pytorch_ood.metrics import OODMetrics  # noqa: E402

from nda_augment.adapters.pytorch_ood import Detector, NegativeCollate, NegativeDataset  # noqa: E402
from nda_augment.anomaly import DensityDetector  # noqa: E402


def samples(count: int = 12) -> list[tuple[torch.Tensor, int]]:
    images = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return [(image, number % 3) for number, image in enumerate(images)]


def test_negatives_follow_the_images_with_a_label_below_zero() -> None:
    data = NegativeDataset(samples(), nda.Rotate90(), seed=0)
    assert len(data) == 24
    for number, (image, label) in enumerate(samples()):
        same, kept = data[number]
        assert torch.equal(same, image)
        assert kept == label
        negative, outlier = data[12 + number]
        assert outlier == -1
        assert any(torch.equal(negative, image.rot90(turns, (1, 2))) for turns in (1, 2, 3))


def test_data_sets_count_from_the_end_and_stop_there() -> None:
    data = NegativeDataset(samples(), nda.Rotate90(), seed=0)
    assert torch.equal(data[-1][0], data[23][0])
    assert data[-24][1] == 0
    with pytest.raises(IndexError):
        data[24]


def test_labels_that_are_tensors_collate_with_those_of_negatives() -> None:
    images, labels = torch.rand(6, 3, 8, 8), torch.arange(6)
    data = NegativeDataset(TensorDataset(images, labels), nda.Rotate90())
    batches = list(DataLoader(data, 4))
    assert torch.cat([batch[1] for batch in batches]).tolist() == [0, 1, 2, 3, 4, 5, -1, -1, -1, -1, -1, -1]


@pytest.mark.parametrize("item", [torch.rand(3, 8, 8), (torch.rand(3, 8, 8), 1, 2)], ids=["image", "triple"])
def test_items_that_are_no_pairs_are_errors(item) -> None:
    data = NegativeDataset([item] * 3, nda.Jigsaw())
    with pytest.raises(TypeError, match=rf"pairs \(image, label\), got {type(item).__name__}"):
        data[0]


def test_a_data_set_borrows_from_the_pool_that_it_is_given() -> None:
    data = NegativeDataset(samples(), nda.Stitch(), pool=torch.full((2, 3, 8, 8), 7.0))
    assert all((data[12 + number][0] == 7).sum() == 96 for number in range(12))


def test_batches_are_doubled() -> None:
    torch.manual_seed(0)
    images, labels = NegativeCollate(nda.Stitch())(samples(4))
    assert labels.tolist() == [0, 1, 2, 0, -1, -1, -1, -1]
    assert torch.equal(images[:4], torch.stack([image for image, _ in samples(4)]))
    assert (images[4:] != images[:4]).flatten(1).any(dim=1).all()


def test_batches_of_one_borrow_from_a_pool() -> None:
    images, labels = NegativeCollate(nda.Stitch(), pool=torch.rand(5, 3, 8, 8))(samples(1))
    assert (len(images), labels.tolist()) == (2, [0, -1])


def test_batches_are_collated_as_they_are_told() -> None:
    collate = NegativeCollate(
        nda.Flip(), lambda pairs: [torch.stack([image for image, _ in pairs]), torch.tensor([5, 6])]
    )
    assert collate(samples(2))[1].tolist() == [5, 6, -1, -1]


@pytest.mark.parametrize("batch", [[torch.rand(3, 8, 8)] * 2, [(torch.rand(3, 8, 8), 1, 2)] * 2])
def test_batches_that_are_no_pairs_are_errors(batch) -> None:
    with pytest.raises(ValueError, match=r"^samples must be pairs \(image, label\)"):
        NegativeCollate(nda.Jigsaw())(batch)


def test_outlier_exposure_of_the_library_trains_on_them() -> None:
    """Cross-entropy of the known and uniform cross-entropy of the negatives, as our own loss has it."""
    model, criterion = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), OutlierExposureLoss(alpha=0.5)
    images, labels = next(iter(DataLoader(samples(), 6, collate_fn=NegativeCollate(nda.Jigsaw()))))
    logits = model(images)
    loss = criterion(logits, labels)
    ours = nda.losses.classification_loss(logits[:6], labels[:6], negative_logits=logits[6:], negative_weight=0.5)
    # The library takes both means over the whole batch.
    torch.testing.assert_close(loss, ours / 2)
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.fixture
def detector() -> Detector:
    return Detector(DensityDetector(nn.Flatten(), 192, normalize=False))


def test_the_librarys_metrics_take_our_scores(detector) -> None:
    loader = DataLoader(samples(60), 20)
    assert detector.fit(loader) is detector
    metrics = OODMetrics()
    known, labels = next(iter(loader))
    metrics.update(detector(known), labels)
    metrics.update(detector(known + 3), torch.full((20,), -1))
    assert metrics.compute()["AUROC"] == pytest.approx(1.0)


def test_outliers_are_not_learned(detector) -> None:
    images = torch.rand(40, 3, 8, 8)
    labels = torch.tensor([0, -1]).repeat(20)
    mixed = [(images[:20], labels[:20]), (images[20:], labels[20:]), (images[:2], torch.tensor([-1, -5]))]
    scores = detector.fit(mixed).predict(images[:3])
    for known in (images[labels >= 0], (images[labels >= 0],)):
        clean = Detector(DensityDetector(nn.Flatten(), 192, normalize=False)).fit([known])
        torch.testing.assert_close(scores, clean.predict(images[:3]))


def test_unfitted_it_raises_the_librarys_error(detector) -> None:
    with pytest.raises(api.RequiresFittingException):
        detector.predict(torch.rand(1, 3, 8, 8))


def test_a_loader_of_outliers_alone_is_an_error(detector) -> None:
    with pytest.raises(ValueError, match="loader yields no batch"):
        detector.fit([(torch.rand(4, 3, 8, 8), torch.full((4,), -1))])


def test_a_loader_that_can_be_read_only_once_is_refused(detector) -> None:
    with pytest.raises(TypeError, match="a loader is read many times, and a list_iterator only once"):
        detector.fit(iter([torch.rand(4, 3, 8, 8)] * 3))


def test_it_follows_to_another_device(detector, device) -> None:
    detector.fit(DataLoader(samples(60), 20)).to(device)
    assert detector.device.type == device.type
    assert detector.predict(torch.rand(2, 3, 8, 8, device=device)).device.type == device.type


def test_other_things_are_no_detectors() -> None:
    with pytest.raises(TypeError, match=r"one of nda_augment.anomaly, got Flatten"):
        Detector(nn.Flatten())
