"""Images with boxes from files: Pascal VOC through torchvision, and folders with a JSON file of COCO's form."""

import hashlib
import json
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from examples.common.settings import ConfigError
from examples.detection.config import Data
from examples.detection.samples import Boxed, Sample, check_boxes
from nda_augment.pictures import read_image

# fmt: off
VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)
# fmt: on


class Listed(Boxed):
    """Images that are read when they are asked for.

    Args:
        paths: The files.
        boxes: ``(x0, y0, x1, y1)`` in pixels, for each file.
        labels: Number of the class from 1 on, for each box.
        uncounted: Whether a box counts neither for a detector nor against it, for each box.
        classes: Names of the labels from 1 on.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        boxes: Sequence[Sequence[Sequence[float]]],
        labels: Sequence[Sequence[int]],
        uncounted: Sequence[Sequence[bool]],
        classes: Sequence[str],
    ) -> None:
        super().__init__((), classes)
        self.paths, self.boxes, self.labels, self.uncounted = paths, boxes, labels, uncounted

    def fingerprint(self) -> str:
        """A hash of names, boxes and labels; to read all files takes longer than an epoch."""
        names = [path.name for path in self.paths]
        return hashlib.sha256(repr((self.classes, names, self.boxes, self.labels)).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> Sample:
        try:
            image = read_image(self.paths[number])
        except ValueError as error:
            raise ConfigError(f"{self.paths[number]} {error}") from error
        boxes = torch.tensor(self.boxes[number], dtype=torch.float32).view(-1, 4)
        labels, uncounted = torch.tensor(self.labels[number]).long(), torch.tensor(self.uncounted[number]).bool()
        return Sample(image, boxes, labels, uncounted)


def voc(settings: Data) -> tuple[Boxed, Boxed]:
    """VOC07+12: trainval of 2007 and of 2012 to learn from, test of 2007 to test on, as the papers have it.

    Objects marked as difficult are learned from, and do not count in the test.

    Raises:
        ConfigError: If the files are not there and cannot be downloaded, or a box cannot be.
    """
    from torchvision.datasets import VOCDetection

    def read(*parts: tuple[str, str]) -> Boxed:
        paths: list[Path] = []
        notes: list[Path] = []
        for year, part in parts:
            there = (Path(settings.path) / "VOCdevkit" / f"VOC{year}" / "ImageSets" / "Main" / f"{part}.txt").is_file()
            try:
                found = VOCDetection(settings.path, year=year, image_set=part, download=not there)
            except (RuntimeError, OSError) as error:
                raise ConfigError(
                    f"VOC {year} {part} is not in DATA.path={settings.path} and was not downloaded ({error}). Put its "
                    f"VOCdevkit/VOC{year} there"
                ) from error
            paths += map(Path, found.images)
            notes += map(Path, found.annotations)
        objects = [_voc_objects(note) for note in notes]
        return _listed(settings, paths, notes, objects, VOC_CLASSES)

    return read(("2007", "trainval"), ("2012", "trainval")), read(("2007", "test"))


Object = tuple[list[float], int, bool]


def _voc_objects(note: Path) -> list[Object]:
    root = ElementTree.parse(note).getroot()
    width, height = (int(root.findtext(f"size/{side}", "0")) for side in ("width", "height"))
    objects: list[Object] = []
    for found in root.iter("object"):
        name = found.findtext("name", "")
        if name not in VOC_CLASSES:
            raise ConfigError(f"{note} names {name!r}, which is no class of VOC")
        x0, y0, x1, y1 = (float(found.findtext(f"bndbox/{side}", "nan")) for side in ("xmin", "ymin", "xmax", "ymax"))
        # VOC counts pixels from 1 and includes the last.
        objects.append(([x0 - 1, y0 - 1, x1, y1], VOC_CLASSES.index(name) + 1, found.findtext("difficult") == "1"))
    check_boxes([box for box, _, _ in objects], width, height, str(note))
    return objects


def coco(settings: Data) -> tuple[Boxed, Boxed]:
    """The images of two folders, with a JSON file each; the classes are those of the training images.

    Raises:
        ConfigError: If a file is missing or cannot be understood, or a box cannot be.
    """
    training, names = _coco(settings, settings.path, settings.boxes, None)
    return training, _coco(settings, settings.test_path, settings.test_boxes, names)[0]


def _coco(settings: Data, folder: str, boxes: str, classes: Sequence[str] | None) -> tuple[Boxed, Sequence[str]]:
    source = Path(boxes)
    try:
        content = json.loads(source.read_text())
        images = {image["id"]: image for image in content["images"]}
        names = {category["id"]: category["name"] for category in content["categories"]}
        notes: list[dict[str, Any]] = content["annotations"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{source} is no JSON file of COCO's form ({type(error).__name__}: {error})") from error
    known = list(classes) if classes is not None else [names[number] for number in sorted(names)]
    strange = sorted(set(names.values()) - set(known))
    if strange:
        raise ConfigError(f"{source} has the classes {strange}, which the training images do not have")
    objects: dict[Any, list[Object]] = defaultdict(list)
    for note in notes:
        if note["image_id"] not in images:
            raise ConfigError(
                f"{source}: annotation {note['id']} is of image {note['image_id']}, which it does not list"
            )
        x, y, width, height = note["bbox"]
        label = known.index(names[note["category_id"]]) + 1
        objects[note["image_id"]].append(([x, y, x + width, y + height], label, bool(note.get("iscrowd", 0))))
    paths = [Path(folder) / image["file_name"] for image in images.values()]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ConfigError(f"{source} names {len(missing)} images that are not there, such as {missing[0]}")
    for number, image in images.items():
        where = f"{source}: image {image['file_name']}"
        check_boxes([box for box, _, _ in objects[number]], image["width"], image["height"], where)
    places = [source] * len(paths)
    return _listed(settings, paths, places, [objects[number] for number in images], known), known


def _listed(
    settings: Data,
    paths: Sequence[Path],
    notes: Sequence[Path],
    objects: Sequence[Sequence[Object]],
    classes: Sequence[str],
) -> Listed:
    empty = [number for number, found in enumerate(objects) if not found]
    if empty and settings.without_boxes == "refuse":
        raise ConfigError(
            f"{notes[empty[0]]}: {len(empty)} images have no box, such as {paths[empty[0]]}. DATA.without_boxes=skip "
            "leaves them out, DATA.without_boxes=keep learns from them that there is nothing to see"
        )
    kept = [n for n in range(len(paths)) if objects[n] or settings.without_boxes == "keep"]
    return Listed(
        [paths[n] for n in kept],
        [[box for box, _, _ in objects[n]] for n in kept],
        [[label for _, label, _ in objects[n]] for n in kept],
        [[uncounted for _, _, uncounted in objects[n]] for n in kept],
        classes,
    )
