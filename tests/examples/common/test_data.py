import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from examples.common import data
from examples.common.data import Data, Epoch, Images
from examples.common.photographs import load_photographs
from examples.common.settings import ConfigError


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
        training, held_out = data.load(Data(name="digits", holdout=0.5))
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
            ({"images": np.zeros((2, 8, 8), np.uint8), "labels": np.zeros(3, int)}, r"one per image, got int64 \(3,\)"),
            ({"images": np.zeros((2, 8, 8), np.uint8), "labels": np.array(["a", "b"])}, r"integers, .* got <U1 \(2,\)"),
            ({"images": np.zeros((2, 8, 8), np.uint8), "labels": np.zeros(2)}, r"integers, .* got float64 \(2,\)"),
        ],
    )
    def test_mistakes_are_named(self, tmp_path, arrays, message):
        with pytest.raises(ValueError, match=message):
            self.load(tmp_path, **arrays)

    def test_what_is_no_npz_is_told(self, tmp_path):
        (tmp_path / "a.npz").write_bytes(b"half of a file")
        for name in ("a.npz", "none.npz"):
            with pytest.raises(ConfigError, match=rf"{name} cannot be read as an \.npz"):
                data.read(Data(name="npz", path=str(tmp_path / name)))


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
        (sheets / "train_01.png").write_text("no sheet")
        with pytest.raises(ConfigError, match=r"train_01\.png: not a readable image"):
            self.load(sheets)
        np.savez(sheets / "labels.npz", test=np.arange(6))
        with pytest.raises(ConfigError, match=r"labels\.npz has no array 'train', only test"):
            self.load(sheets)
        (sheets / "labels.npz").write_bytes(b"half of a file")
        with pytest.raises(ConfigError, match=r"labels\.npz cannot be read as an \.npz"):
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
        data.Images(images, labels, originals=list(images)).fingerprint(),
        data.Images(images, labels, originals=list(images + 1)).fingerprint(),
    }
    assert len(prints) == 6


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
        assert self.load(folder / "cats").labels is None

    def test_an_image_beside_the_sub_folders_costs_the_labels_but_not_in_silence(self, folder):
        (folder / "cats" / "0.png").rename(folder / "0.png")
        with pytest.warns(UserWarning, match=r"images in sub-folders and 1 beside them \(0\.png\): none of them has"):
            assert self.load(folder).labels is None

    @pytest.fixture
    def broken(self, folder):
        whole = (folder / "cats" / "0.png").read_bytes()
        (folder / "cats" / "half.png").write_bytes(whole[: len(whole) // 2])
        (folder / "dogs" / "text.jpg").write_text("not a picture")
        return folder

    def test_unreadable_files_are_an_error_that_names_each(self, broken):
        with pytest.raises(ConfigError, match=r"2 of 8 files.*half\.png.*text\.jpg.*skip_unreadable"):
            self.load(broken)

    def test_they_can_be_left_out_but_never_in_silence(self, broken, pixels):
        with pytest.warns(UserWarning, match=r"2 of 8 files.*half\.png.*text\.jpg.*left out"):
            loaded = self.load(broken, skip_unreadable=True)
        assert as_set(loaded.images) == as_set(torch.from_numpy(pixels).permute(0, 3, 1, 2))
        assert torch.bincount(loaded.labels).tolist() == [3, 3]

    def test_a_folder_of_grey_images_has_one_channel(self, tmp_path, pixels):
        for i, image in enumerate(pixels):
            Image.fromarray(image[..., 0]).save(tmp_path / f"{i}.png")
        loaded = self.load(tmp_path)
        assert as_set(loaded.images) == as_set(torch.from_numpy(pixels[..., 0]).unsqueeze(1))

    def test_a_folder_without_images_is_an_error(self, tmp_path):
        with pytest.raises(ValueError, match="no readable image"):
            self.load(tmp_path)

    def test_a_missing_folder_is_an_error(self, tmp_path):
        with pytest.raises(ValueError, match="is not a folder"):
            self.load(tmp_path / "none")


class TestCifar10:
    @pytest.fixture
    def settings(self, monkeypatch):
        def double(root, train, download):
            assert (root, download) == ("somewhere", True)
            count = 6 if train else 2
            return types.SimpleNamespace(data=np.full((count, 32, 32, 3), count, np.uint8), targets=list(range(count)))

        stand_in = types.ModuleType("torchvision.datasets")
        stand_in.CIFAR10 = double
        monkeypatch.setitem(sys.modules, "torchvision.datasets", stand_in)
        return Data(name="cifar10", path="somewhere", img_size=16)

    def test_it_has_its_official_test_images(self, settings):
        training, test = data.load(settings)
        assert (training.images.shape, test.images.shape) == ((6, 3, 16, 16), (2, 3, 16, 16))
        assert (training.images == 6).all()
        assert (test.images == 2).all()
        assert training.labels.tolist() == [0, 1, 2, 3, 4, 5]
        assert test.labels.tolist() == [0, 1]

    def test_without_torchvision_the_error_names_the_extra(self, settings, monkeypatch):
        monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
        with pytest.raises(ImportError, match=r'pip install "nda-augment\[torchvision\]"'):
            data.load(settings)


def test_photographs_ship_with_the_libraries():
    photographs, names = load_photographs(size=32)
    assert photographs.shape == (6, 3, 32, 32) == (len(names), 3, 32, 32)
    assert (photographs.amin() >= 0) & (photographs.amax() <= 1)
    assert (photographs.std(dim=(1, 2, 3)) > 0.1).all()


def write(path, count, channels=3, labels=True):
    images = np.random.default_rng(count).integers(0, 256, (count, 8, 8, channels), dtype=np.uint8)
    np.savez(path, images=images, **({"labels": np.arange(count) % 3} if labels else {}))
    return str(path)


def test_grey_images_become_rgb():
    training, test = data.load_rgb(Data())
    assert len(training) + len(test) == 1797
    assert training.images.shape[1:] == (3, 16, 16)
    assert torch.equal(training.images[:, 0], training.images[:, 2])


class TestTestImages:
    def test_of_their_own_leave_all_others_to_learn_from(self, tmp_path):
        paths = {"path": write(tmp_path / "a.npz", 12), "test_path": write(tmp_path / "b.npz", 5)}
        training, test = data.load(Data(name="npz", img_size=8, **paths))
        assert (len(training), len(test)) == (12, 5)

    def test_of_other_classes_are_refused(self, tmp_path, pixels):
        for part, names in (("train", "ab"), ("test", "b")):
            for name in names:
                (tmp_path / part / name).mkdir(parents=True)
                Image.fromarray(pixels[0]).save(tmp_path / part / name / "0.png")
        folder = Data(name="folder", path=str(tmp_path / "train"), test_path=str(tmp_path / "test"))
        with pytest.raises(ValueError, match=r"the classes in DATA.test_path=.*test are b, those in .*train are a, b"):
            data.load(folder)

    def test_a_limit_keeps_some_training_images_and_all_test_images(self, tmp_path):
        settings = Data(name="npz", img_size=8, path=write(tmp_path / "a.npz", 12), holdout=0.25, limit=4)
        training, test = data.load(settings)
        assert (len(training), len(test)) == (4, 3)
        with pytest.raises(ValueError, match=r"DATA\.limit=10 is more than the 9 training images"):
            data.load(replace(settings, limit=10))


class TestOriginals:
    @pytest.fixture
    def photographs(self, tmp_path):
        """Each has its number in all of its pixels, and a size of its own."""
        for number in range(12):
            path = tmp_path / "photographs" / "ab"[number % 2] / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((9 + number, 20 - number, 3), number, np.uint8)).save(path)
        return Data(name="folder", path=str(tmp_path / "photographs"), img_size=8, limit=8)

    def test_lie_beside_their_squares_in_whatever_order(self, photographs):
        training, test = data.load_rgb(photographs, originals=True)
        assert test.originals is None
        for part in (training, training[torch.tensor([3, 1, 4])]):
            assert len(part) == len(part.originals)
            for square, label, stored in zip(part.images, part.labels, part.originals, strict=True):
                number = int(square[0, 0, 0])
                assert stored.shape == (3, 9 + number, 20 - number)
                assert (stored == number).all()
                assert label == number % 2
        batch, labels, _ = Epoch(training, 4, seed=0, epoch=0)[0]
        assert [int(image[0, 0, 0]) % 2 for image in batch] == labels.tolist()

    def test_are_kept_only_where_they_are_asked_for_and_differ(self, photographs, tmp_path):
        assert data.load(photographs)[0].originals is None
        settings = Data(name="npz", path=write(tmp_path / "a.npz", 12, channels=1), img_size=8)
        assert data.load(settings, originals=True)[0].originals is None
        training, _ = data.load_rgb(replace(settings, img_size=16), originals=True)
        assert {tuple(image.shape) for image in training.originals} == {(3, 8, 8)}

    def test_of_digits_are_whole_numbers(self):
        training, _ = data.load(Data(), originals=True)
        assert {(image.dtype, tuple(image.shape)) for image in training.originals} == {(torch.uint8, (1, 8, 8))}


def test_labels_that_are_needed_and_missing_are_told(tmp_path):
    images = data.read(Data(name="npz", img_size=8, path=write(tmp_path / "a.npz", 12, labels=False)))
    with pytest.raises(ValueError, match="evaluation needs labels"):
        data.labels_of(images)


def test_an_epoch_of_unlabelled_images_has_none_of_the_classes():
    images, labels, number = Epoch(Images(torch.zeros(4, 3, 2, 2, dtype=torch.uint8), None), 4, seed=0, epoch=0)[0]
    assert images.shape == (4, 3, 2, 2)
    assert labels.tolist() == [-1] * 4
    assert number == 0


def some_images(count):
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    return Images(images, torch.arange(count))


def test_an_epoch_shows_each_image_once_and_the_next_one_in_another_order():
    orders = []
    for epoch in range(2):
        batches = list(Epoch(some_images(12), 4, seed=0, epoch=epoch))
        assert [number for _, _, number in batches] == [3 * epoch, 3 * epoch + 1, 3 * epoch + 2]
        orders.append(torch.cat([labels for _, labels, _ in batches]))
        assert torch.equal(torch.cat([images[:, 0, 0, 0] for images, _, _ in batches]).long(), orders[-1])
        assert orders[-1].sort().values.tolist() == list(range(12))
    assert not torch.equal(*orders)


def test_processes_share_the_batch_of_one():
    whole = Epoch(some_images(12), 4, seed=1, epoch=0)
    parts = [Epoch(some_images(12), 4, 1, 0, rank, processes=2) for rank in range(2)]
    for place in range(len(whole)):
        joined = torch.cat([part[place][1] for part in parts])
        assert torch.equal(joined, whole[place][1])


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="3 training images do not fill a batch of 4; lower"):
        Epoch(some_images(3), 4, 0, 0)
