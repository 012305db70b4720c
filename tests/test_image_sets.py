import numpy as np
import pytest
import torch
from PIL import Image

from nda_augment import pictures
from nda_augment.image_sets import read_image_set as read


def archive(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("shape", "read_as"), [((5, 8, 9), (5, 1, 8, 9)), ((5, 8, 9, 3), (5, 3, 8, 9))], ids=["grey", "colour"]
)
def test_an_archive_is_read_as_it_is(tmp_path, shape, read_as):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = read(archive(tmp_path / "a.npz", images=pixels, labels=np.arange(5, dtype=np.uint8)), 64)
    assert found.images.shape == read_as
    assert np.array_equal(found.images.permute(0, 2, 3, 1).numpy().reshape(shape), pixels)
    assert found.labels.tolist() == [0, 1, 2, 3, 4]
    assert found.labels.dtype == torch.int64
    assert found.unreadable == []


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": np.zeros((4, 8, 8), np.uint8)}, "no array 'images', it holds pictures"),
        ({"images": np.zeros((4, 8, 8))}, "must be uint8"),
        ({"images": np.zeros((8, 8), np.uint8)}, "must be uint8"),
        ({"images": np.zeros((4, 8, 8), np.uint8), "labels": np.zeros(3, np.int64)}, "one integer per image"),
        ({"images": np.zeros((4, 8, 8), np.uint8), "labels": np.zeros(4)}, "one integer per image"),
    ],
    ids=["name", "type", "rank", "number of labels", "type of labels"],
)
def test_an_archive_of_something_else_is_refused(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message):
        read(archive(tmp_path / "a.npz", **arrays), 64)


@pytest.mark.parametrize("content", [b"PK\x03\x04 nothing", b"nothing", b""], ids=["cut", "text", "empty"])
def test_a_broken_archive_is_refused(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz is not a readable") as error:
        read(tmp_path / "a.npz", 64)
    assert "pickle" not in str(error.value)


def write_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 30), (255, 0, 0)).save(path)


def test_sub_folders_are_classes_and_unreadable_files_are_named(tmp_path):
    for name in ("cat/1.png", "cat/2.jpg", "dog/deep/3.png"):
        write_image(tmp_path / name)
    (tmp_path / "cat" / "broken.png").write_bytes(b"nothing")
    found = read(tmp_path, 16)
    assert found.images.shape == (3, 3, 16, 16)
    assert found.labels.tolist() == [0, 0, 1]
    assert [file.path.name for file in found.unreadable] == ["broken.png"]


def test_without_sub_folders_there_are_no_classes(tmp_path):
    write_image(tmp_path / "cat" / "1.png")
    assert read(tmp_path, 16).labels is None  # one class is none
    write_image(tmp_path / "dog" / "1.png")
    write_image(tmp_path / "2.png")
    assert read(tmp_path, 16).labels is None
    assert read(tmp_path / "2.png", 16).labels is None


def test_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no readable image"):
        read(tmp_path, 16)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read(tmp_path / "nowhere", 16)


def test_a_sample_is_drawn_before_anything_is_decoded(tmp_path, monkeypatch):
    for number in range(20):
        write_image(tmp_path / ("even" if number % 2 == 0 else "odd") / f"{number:02}.png")
    for number in (3, 4):
        (tmp_path / ("even" if number % 2 == 0 else "odd") / f"{number:02}.png").write_bytes(b"nothing")
    decoded = []
    whole = pictures.read_image
    monkeypatch.setattr(pictures, "read_image", lambda file, size: decoded.append(file) or whole(file, size))
    found = read(tmp_path, 8, limit=6, seed=1)
    assert len(found.images) == len(found.labels) == len(found.numbers) == 6
    assert len(decoded) == 6 + len(found.unreadable)
    assert found.given == 20 - len(found.unreadable)
    assert list(found.numbers) == sorted(found.numbers)
    assert found.labels.tolist() == [int(number >= 10) for number in found.numbers]
    assert list(read(tmp_path, 8, limit=6, seed=1).numbers) == list(found.numbers)
    assert list(read(tmp_path, 8, limit=6, seed=2).numbers) != list(found.numbers)
    everything = read(tmp_path, 8)
    assert len(everything.images) == 18
    assert [file.path.name for file in everything.unreadable] == ["04.png", "03.png"]
