import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from examples.common.settings import ConfigError
from examples.detection import files
from examples.detection.config import Data
from examples.detection.samples import Sample, check_boxes, flipped

OBJECT = "<object><name>{}</name><difficult>{}</difficult><bndbox>{}</bndbox></object>"


def picture(path: Path, width: int = 20, height: int = 10) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (200, 0, 0)).save(path)


def note(*objects: tuple[str, int, tuple[int, int, int, int]]) -> str:
    sides = ("xmin", "ymin", "xmax", "ymax")
    written = [
        OBJECT.format(name, difficult, "".join(f"<{s}>{at}</{s}>" for s, at in zip(sides, box, strict=True)))
        for name, difficult, box in objects
    ]
    size = "<size><width>20</width><height>10</height><depth>3</depth></size>"
    return f"<annotation>{size}{''.join(written)}</annotation>"


@pytest.fixture
def voc(tmp_path: Path) -> Data:
    """One image in each of the three parts of VOC07+12."""
    for year, part, name in (("2007", "trainval", "a"), ("2012", "trainval", "b"), ("2007", "test", "c")):
        root = tmp_path / "VOCdevkit" / f"VOC{year}"
        picture(root / "JPEGImages" / f"{name}.jpg")
        (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
        (root / "ImageSets" / "Main" / f"{part}.txt").write_text(f"{name}\n")
        (root / "Annotations").mkdir(exist_ok=True)
        objects = [("cat", 0, (1, 1, 20, 10)), ("tvmonitor", 1, (3, 2, 8, 9))]
        (root / "Annotations" / f"{name}.xml").write_text(note(*objects))
    return Data(name="voc", path=str(tmp_path))


def test_voc_is_read_with_pixels_from_zero_on(voc: Data) -> None:
    training, test = files.voc(voc)
    assert (len(training), len(test)) == (2, 1)
    assert len(training.classes) == 20
    sample = training[1]
    assert sample.image.shape == (3, 10, 20)
    assert sample.boxes.tolist() == [[0, 0, 20, 10], [2, 1, 8, 9]]
    assert [training.classes[label - 1] for label in sample.labels.tolist()] == ["cat", "tvmonitor"]
    assert sample.uncounted is not None
    assert sample.uncounted.tolist() == [False, True]


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([("cat", 0, (1, 1, 23, 10))], r"a.xml: box 0, .* reaches out of the image, which has 20x10 pixels. Mend"),
        ([("cat", 0, (1, 1, 20, 10)), ("dog", 0, (5, 6, 4, 9))], r"a.xml: box 1 is empty, .* Mend or remove it"),
        ([("kat", 0, (1, 1, 20, 10))], r"a.xml names 'kat', which is no class of VOC"),
        ([], r"a.xml: 1 images have no box, such as .*a.jpg. DATA.without_boxes=skip leaves them out"),
    ],
)
def test_what_is_wrong_in_voc_is_named(voc: Data, objects: Any, message: str) -> None:
    (Path(voc.path) / "VOCdevkit" / "VOC2007" / "Annotations" / "a.xml").write_text(note(*objects))
    with pytest.raises(ConfigError, match=message):
        files.voc(voc)


@pytest.fixture
def coco(tmp_path: Path) -> Data:
    """Two training images, of which one shows nothing, and a test image."""
    categories = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]
    for part, names in (("training", "ab"), ("test", "c")):
        for name in names:
            picture(tmp_path / part / f"{name}.png")
        content = {
            "images": [
                {"id": n, "file_name": f"{name}.png", "width": 20, "height": 10} for n, name in enumerate(names)
            ],
            "annotations": [{"id": 1, "image_id": 0, "category_id": 7, "bbox": [2, 3, 4, 5], "iscrowd": 0}],
            "categories": categories,
        }
        (tmp_path / f"{part}.json").write_text(json.dumps(content))
    return Data(
        name="coco",
        path=str(tmp_path / "training"),
        boxes=str(tmp_path / "training.json"),
        test_path=str(tmp_path / "test"),
        test_boxes=str(tmp_path / "test.json"),
        without_boxes="keep",
    )


def change(path: str, key: str, **values: Any) -> None:
    content = json.loads(Path(path).read_text())
    content[key][0].update(values)
    Path(path).write_text(json.dumps(content))


def test_coco_is_read_with_and_without_images_that_show_nothing(coco: Data) -> None:
    training, test = files.coco(coco)
    assert (len(training), len(test)) == (2, 1)
    assert training.classes == ("cat", "dog")
    assert training[0].boxes.tolist() == [[2, 3, 6, 8]]
    assert training[0].labels.tolist() == [2]
    assert training[1].boxes.shape == (0, 4)
    coco.without_boxes = "skip"
    assert len(files.coco(coco)[0]) == 1
    coco.without_boxes = "refuse"
    with pytest.raises(ConfigError, match=r"training.json: 1 images have no box, such as .*b.png"):
        files.coco(coco)


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("annotations", {"bbox": [2, 3, 20, 2]}, r"image a.png: box 0, \[2, 3, 22, 5\], reaches out of the image"),
        ("annotations", {"bbox": [2, 3, 4, 0]}, r"training.json: image a.png: box 0 is empty, \[2, 3, 6, 3\]"),
        ("annotations", {"image_id": 9}, r"annotation 1 is of image 9, which it does not list"),
        ("images", {"file_name": "z.png"}, r"training.json names 1 images that are not there, such as .*z.png"),
    ],
)
def test_what_is_wrong_in_coco_is_named(coco: Data, key: str, values: dict[str, Any], message: str) -> None:
    change(coco.boxes, key, **values)
    with pytest.raises(ConfigError, match=message):
        files.coco(coco)


def test_files_that_are_no_coco_are_named(coco: Data) -> None:
    Path(coco.test_boxes).write_text("[]")
    with pytest.raises(ConfigError, match=r"test.json is no JSON file of COCO's form"):
        files.coco(coco)
    Path(coco.test_boxes).write_text(Path(coco.boxes).read_text().replace('"dog"', '"horse"'))
    with pytest.raises(
        ConfigError, match=r"test.json has the classes \['horse'\], which the training images do not have"
    ):
        files.coco(coco)


def test_an_image_that_cannot_be_read_is_named(coco: Data) -> None:
    (Path(coco.path) / "a.png").write_bytes(b"no image")
    with pytest.raises(ConfigError, match=r"a.png "):
        files.coco(coco)[0][0]


def test_boxes_may_be_rounded_over_the_edge() -> None:
    check_boxes([[-0.4, 0, 20.9, 10]], 20, 10, "file")
    with pytest.raises(ConfigError, match=r"file: box 0, \[-2, 0, 20, 10\], reaches out"):
        check_boxes([[-2, 0, 20, 10]], 20, 10, "file")


def test_a_mirror_image_has_its_boxes_mirrored() -> None:
    image = torch.arange(24, dtype=torch.uint8).view(1, 4, 6).expand(3, -1, -1)
    sample = Sample(image, torch.tensor([[1.0, 0.0, 3.0, 2.0]]), torch.tensor([1]))
    mirrored = flipped(sample)
    assert mirrored.boxes.tolist() == [[3, 0, 5, 2]]
    assert torch.equal(mirrored.image[:, 0:2, 3:5], image[:, 0:2, 1:3].flip(2))
    assert torch.equal(flipped(mirrored).image, image)
