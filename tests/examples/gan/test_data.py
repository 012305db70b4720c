import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image

from examples.gan import data
from examples.gan.config import Data
from examples.photographs import load_photographs


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)


def everything(settings):
    """All images, in their own order."""
    return data.load(settings)[0]


def as_set(images):
    return {tuple(image.flatten().tolist()) for image in images}


class TestSplit:
    def test_halves_are_disjoint_and_complete(self):
        training, held_out = data.load(Data(name="digits"))
        assert (len(training), len(held_out)) == (898, 899)
        assert training.images.shape[1:] == (1, 16, 16)
        assert training.images.dtype == torch.uint8
        assert not as_set(training.images) & as_set(held_out.images)
        assert sorted(training.labels.unique().tolist()) == list(range(10))

    def test_labels_stay_with_their_images(self, tmp_path):
        images = np.arange(9, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2)
        np.savez(tmp_path / "a.npz", images=images, labels=np.arange(9) * 2)
        for part in data.load(Data(name="npz", path=str(tmp_path / "a.npz"), img_size=8, holdout=0.4)):
            assert torch.equal(part.images[:, 0, 0, 0].long() * 2, part.labels)


def test_digits_are_digits():
    digits = everything(Data(holdout=0.0, img_size=8))
    from sklearn.datasets import load_digits

    assert as_set(digits.images) == as_set(torch.from_numpy(load_digits().images * 255 / 16).round().to(torch.uint8))


def test_normalize_spans_the_range_of_tanh():
    assert data.normalize(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1, 1]


class TestNpz:
    def load(self, tmp_path, **arrays):
        np.savez(tmp_path / "a.npz", **arrays)
        return everything(Data(name="npz", path=str(tmp_path / "a.npz"), img_size=16, holdout=0.0))

    def test_colour(self, tmp_path, pixels):
        loaded = self.load(tmp_path, images=pixels)
        assert as_set(loaded.images) == as_set(torch.from_numpy(pixels).permute(0, 3, 1, 2))
        assert loaded.labels is None

    @pytest.mark.parametrize("trailing", [(), (1,)])
    def test_grey(self, tmp_path, pixels, trailing):
        grey = pixels[..., 0]
        loaded = self.load(tmp_path, images=grey.reshape(*grey.shape, *trailing))
        assert loaded.images.shape == (6, 1, 16, 16)
        assert as_set(loaded.images) == as_set(torch.from_numpy(grey))

    def test_other_sizes_are_cropped_to_the_centre_and_resized(self, tmp_path):
        wide = np.zeros((2, 32, 48, 3), dtype=np.uint8)
        wide[:, :, 8:40] = 200
        assert (self.load(tmp_path, images=wide).images == 200).all()

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"x": np.zeros(3)}, "no array 'images', only x"),
            ({"images": np.zeros((2, 8, 8))}, "must be uint8.*float64"),
            ({"images": np.zeros((2, 8, 8, 4), np.uint8)}, r"got uint8 \(2, 8, 8, 4\)"),
            ({"images": np.zeros((2, 8), np.uint8)}, r"\(2, 8\)"),
            ({"images": np.zeros((2, 8, 8), np.uint8), "labels": np.zeros(3, int)}, r"one per image, got \(3,\)"),
        ],
    )
    def test_mistakes_are_named(self, tmp_path, arrays, message):
        with pytest.raises(ValueError, match=message):
            self.load(tmp_path, **arrays)


class TestSheets:
    @pytest.fixture
    def sheets(self, tmp_path, pixels):
        for number, some in enumerate(np.split(pixels, 3)):  # one row of two tiles each
            Image.fromarray(np.concatenate(some, axis=1)).save(tmp_path / f"train_{number:02}.png")
        np.savez(tmp_path / "labels.npz", train=np.arange(6, dtype=np.uint8), test=np.zeros(2, np.uint8))
        return tmp_path

    def load(self, folder, size=16):
        return everything(Data(name="sheets", path=str(folder), img_size=size, holdout=0.0))

    def test_tiles_in_reading_order_are_the_images(self, sheets, pixels):
        loaded = self.load(sheets)
        for image, label in zip(loaded.images, loaded.labels, strict=True):
            assert torch.equal(image, torch.from_numpy(pixels[label]).permute(2, 0, 1))
        assert self.load(sheets, size=8).images.shape == (6, 3, 8, 8)

    def test_rows_come_one_after_the_other(self, tmp_path, pixels):
        rows = [np.concatenate(row, axis=1) for row in np.split(pixels, 2)]
        Image.fromarray(np.concatenate(rows, axis=0)).save(tmp_path / "train_0.webp", lossless=True)
        np.savez(tmp_path / "labels.npz", train=np.arange(6))
        loaded = self.load(tmp_path)
        assert all((loaded.images[loaded.labels == k][0].permute(1, 2, 0).numpy() == pixels[k]).all() for k in range(6))

    def test_mistakes_are_named(self, sheets):
        np.savez(sheets / "labels.npz", train=np.arange(5))
        with pytest.raises(ValueError, match=r"cannot be cut into 5 square tiles, as labels.npz"):
            self.load(sheets)
        (sheets / "labels.npz").unlink()
        with pytest.raises(ValueError, match=r"needs sheets train_\*.webp"):
            self.load(sheets)


def test_a_fingerprint_is_of_images_and_labels():
    images, labels = torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.arange(4)
    prints = {
        data.Images(images, labels).fingerprint(),
        data.Images(images, labels).fingerprint(),
        data.Images(images, None).fingerprint(),
        data.Images(images, labels.flip(0)).fingerprint(),
        data.Images(images + 1, labels).fingerprint(),
    }
    assert len(prints) == 4


class TestFolder:
    @pytest.fixture
    def folder(self, tmp_path, pixels):
        for i, image in enumerate(pixels):
            path = tmp_path / ("cats" if i < 3 else "dogs") / f"{i}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(image).save(path)
        (tmp_path / "notes.txt").write_text("no image")
        return tmp_path

    def load(self, folder, **settings):
        return everything(Data(name="folder", path=str(folder), img_size=16, holdout=0.0, **settings))

    def test_images_and_classes(self, folder, pixels):
        loaded = self.load(folder)
        assert as_set(loaded.images) == as_set(torch.from_numpy(pixels).permute(0, 3, 1, 2))
        cats = as_set(torch.from_numpy(pixels[:3]).permute(0, 3, 1, 2))
        assert as_set(loaded.images[loaded.labels == 0]) == cats

    def test_a_flat_folder_has_no_classes(self, folder):
        (folder / "cats" / "0.png").rename(folder / "0.png")
        assert self.load(folder).labels is None

    @pytest.fixture
    def broken(self, folder):
        whole = (folder / "cats" / "0.png").read_bytes()
        (folder / "cats" / "half.png").write_bytes(whole[: len(whole) // 2])
        (folder / "dogs" / "text.jpg").write_text("not a picture")
        return folder

    def test_unreadable_files_are_an_error_that_names_each(self, broken):
        with pytest.raises(data.UnreadableImagesError, match=r"2 of 8 files.*half\.png.*text\.jpg.*skip_unreadable"):
            self.load(broken)

    def test_they_can_be_left_out_but_never_in_silence(self, broken, pixels):
        with pytest.warns(UserWarning, match=r"2 of 8 files.*half\.png.*text\.jpg.*left out"):
            loaded = self.load(broken, skip_unreadable=True)
        assert as_set(loaded.images) == as_set(torch.from_numpy(pixels).permute(0, 3, 1, 2))
        assert torch.bincount(loaded.labels).tolist() == [3, 3]

    def test_a_folder_without_images_is_an_error(self, tmp_path):
        with pytest.raises(ValueError, match="no readable image"):
            self.load(tmp_path)

    def test_a_missing_folder_is_an_error(self, tmp_path):
        with pytest.raises(ValueError, match="is not a folder"):
            self.load(tmp_path / "none")


class TestCifar10:
    settings = Data(name="cifar10", path="somewhere", img_size=16, holdout=0.0)

    def test_torchvision_is_asked_to_download_the_training_images(self, monkeypatch, pixels):
        def double(root, train, download):
            assert (root, train, download) == ("somewhere", True, True)
            return types.SimpleNamespace(data=pixels, targets=[0, 1, 2, 3, 4, 5])

        stand_in = types.ModuleType("torchvision.datasets")
        stand_in.CIFAR10 = double
        monkeypatch.setitem(sys.modules, "torchvision.datasets", stand_in)
        loaded = everything(self.settings)
        assert as_set(loaded.images) == as_set(torch.from_numpy(pixels).permute(0, 3, 1, 2))
        assert sorted(loaded.labels.tolist()) == [0, 1, 2, 3, 4, 5]

    def test_without_torchvision_the_error_names_the_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
        with pytest.raises(ImportError, match=r'pip install "nda-augment\[torchvision\]"'):
            everything(self.settings)


def test_photographs_ship_with_the_libraries():
    photographs, names = load_photographs(size=32)
    assert photographs.shape == (6, 3, 32, 32) == (len(names), 3, 32, 32)
    assert (photographs.amin() >= 0) & (photographs.amax() <= 1)
    assert (photographs.std(dim=(1, 2, 3)) > 0.1).all()
