"""Detectors on folders: MVTec's layout to learn from, tables of scores and overlays to look at.

Needs pillow: ``pip install "nda-augment[cli]"``.
"""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from nda_augment import pictures
from nda_augment._files import write_atomically, write_text
from nda_augment.anomaly.detector import Detector
from nda_augment.anomaly.measures import auroc, average_precision, per_region_overlap
from nda_augment.pictures import image_files

GOOD = "good"
_LUMA = torch.tensor([0.299, 0.587, 0.114])
_HEAT = torch.tensor([1.0, 0.15, 0.0])


@dataclass(frozen=True)
class Sample:
    """An image to test on.

    Attributes:
        path: File of the image.
        kind: Name of its folder: ``"good"``, or that of the defect.
        mask: File of the mask of the defect; ``None`` if there is none.
    """

    path: Path
    kind: str
    mask: Path | None = None

    @property
    def anomalous(self) -> bool:
        """Whether it shows a defect."""
        return self.kind != GOOD


@dataclass(frozen=True)
class Layout:
    """The files of a folder in MVTec's layout.

    Attributes:
        training: Good images to learn from.
        test: Images to test on.
    """

    training: list[Path]
    test: list[Sample]


@dataclass(frozen=True)
class Prediction:
    """What a detector says about a file.

    Attributes:
        path: The file.
        score: Its score; higher is more anomalous.
        anomalous: Whether the score is above the threshold; ``None`` without one.
        overlay: File of the picture with the heat map over it; ``None`` if none was written.
    """

    path: str
    score: float
    anomalous: bool | None = None
    overlay: str | None = None


class ImageFiles(Dataset[Tensor]):
    """Files as images in [0, 1], for a ``DataLoader``.

    Args:
        files: Paths of images.
        channels: 1 for grey, 3 for colour.
        size: Height and width that images are scaled to; ``None`` keeps their own.
        memory: Bytes for images that are kept once they were read, in each process that reads some; others are read
            from their files every time.

    Raises:
        ValueError: If there are other channels, or memory is below 0.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (6, 4)).save(f"{folder}/a.png")
        ...     ImageFiles([Path(folder, "a.png")], channels=1)[0].shape
        torch.Size([1, 4, 6])
    """

    def __init__(
        self, files: Sequence[Path], channels: int = 3, size: tuple[int, int] | None = None, *, memory: int = 0
    ) -> None:
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {channels}")
        if memory < 0:
            raise ValueError(f"memory must be at least 0 bytes, got {memory}")
        self.files, self.channels, self.size = list(files), channels, size
        self.memory, self._kept = memory, _Kept()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        index = range(len(self))[index]  # whatever kind of number it is
        how = index, self.channels, self.size
        if how in self._kept:
            return self._kept[how].clone()
        image = read_image(self.files[index], self.channels, self.size)
        if image.nbytes <= self.memory - sum(kept.nbytes for kept in self._kept.values()):
            self._kept[how] = image.clone()
        return image


class _Kept(dict[tuple[int, int, tuple[int, int] | None], Tensor]):
    """Images of a process, which no other one is sent."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return _Kept, ()


def read_image(file: Path, channels: int, size: tuple[int, int] | None = None) -> Tensor:
    """Read a file as an image ``(channels, H, W)`` in [0, 1], as :func:`nda_augment.pictures.read_image` reads it."""
    try:
        image = pictures.read_image(file).float() / 255
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    if channels == 1:
        image = (image * _LUMA.view(3, 1, 1)).sum(dim=0, keepdim=True)
    if size is None or image.shape[-2:] == size:
        return image
    return F.interpolate(image[None], size, mode="bilinear", antialias=True, align_corners=False)[0].clamp(0, 1)


def read_mask(file: Path | None, size: tuple[int, int]) -> Tensor:
    """Read a mask as bool ``(1, H, W)``; without a file nothing is marked."""
    if file is None:
        return torch.zeros(1, *size, dtype=torch.bool)
    with Image.open(file) as opened:
        mask = opened.convert("L").resize(size[::-1], Image.Resampling.NEAREST)
    return torch.frombuffer(bytearray(mask.tobytes()), dtype=torch.uint8).view(1, *size) > 0


def read_layout(folder: str | Path) -> Layout:
    """Find the files of a folder in MVTec's layout.

    Args:
        folder: It holds ``train/good``, and to test on ``test/good``, ``test/KIND`` and, with the masks,
            ``ground_truth/KIND/NAME_mask.png``.

    Raises:
        FileNotFoundError: If the folder ``train/good`` is missing, or no image in it, or a defect has masks but one
            image has none.
    """
    root = Path(folder)
    good = root / "train" / GOOD
    if not good.is_dir():
        there = ", ".join(sorted(each.name for each in root.iterdir() if each.is_dir())) if root.is_dir() else "nothing"
        raise FileNotFoundError(
            f"{good}: no such folder; good images to learn from belong there, and to test on test/good and test/KIND "
            f"(MVTec's layout). There is: {there or 'no folder'}"
        )
    training = _files_in(good)
    kinds = sorted(each for each in (root / "test").iterdir() if each.is_dir()) if (root / "test").is_dir() else []
    test = [Sample(file, kind.name, _mask(root, kind.name, file)) for kind in kinds for file in image_files(kind)]
    return Layout(training, test)


def predict(
    detector: Detector,
    files: str | Path | Iterable[Path],
    *,
    channels: int = 3,
    size: tuple[int, int] | None = None,
    overlays: str | Path | None = None,
) -> list[Prediction]:
    """Score files one by one, each at its own size.

    Args:
        detector: A detector that was fitted, on images in [0, 1].
        files: Folder of images, one image, or paths of images.
        channels: Channels of the images that it was fitted on.
        size: Height and width that images are scaled to; ``None`` keeps their own.
        overlays: Folder for pictures of the images with their heat maps, if the detector has one; missing ones are
            made. Red is where the map is higher than on nine tenths of all pixels of these files.

    Returns:
        A prediction for each file, in their order; :func:`write_table` writes them.

    Raises:
        FileNotFoundError: If the folder holds no image.
        ValueError: If a file cannot be read as an image; it is named.
    """
    has_threshold = not detector.threshold.isinf()
    maps, found = [], []
    for file in _files_in(Path(files)) if isinstance(files, str | Path) else files:
        image = read_image(Path(file), channels, size)[None]
        score, heat = detector.judge(image)
        anomalous = bool(score.double() > detector.threshold) if has_threshold else None
        found.append(Prediction(str(file), score.item(), anomalous))
        if overlays is not None and heat is not None:
            maps.append(heat[0].cpu())
    if not maps or overlays is None:
        return found
    folder = Path(overlays)
    folder.mkdir(parents=True, exist_ok=True)
    some = torch.cat([each.flatten()[:: max(1, each.numel() // 10_000)] for each in maps]).float()
    low, high = some.quantile(torch.tensor([0.9, 0.999])).tolist()
    drawn = []
    for number, (prediction, heat) in enumerate(zip(found, maps, strict=True)):
        target = folder / f"{number:05d}_{Path(prediction.path).stem}.png"
        image = read_image(Path(prediction.path), channels, size)
        share = ((heat - low) / max(high - low, 1e-12)).clamp(0, 1)
        write_picture(overlay(image, share), target)
        drawn.append(Prediction(prediction.path, prediction.score, prediction.anomalous, str(target)))
    return drawn


def overlay(image: Tensor, share: Tensor) -> Tensor:
    """Lay red over an image ``(C, H, W)`` where ``share`` ``(1, H, W)`` is high; returns ``(3, H, W)`` in [0, 1]."""
    grey = image.mean(dim=0, keepdim=True).expand(3, -1, -1)
    return torch.lerp(grey, _HEAT.view(3, 1, 1).expand_as(grey), 0.7 * share)


def write_picture(image: Tensor, path: Path) -> None:
    """Write an image ``(3, H, W)`` in [0, 1] as PNG."""
    picture = as_picture(image)
    write_atomically(path, lambda file: picture.save(file, "PNG"))


def as_picture(image: Tensor) -> Image.Image:
    """Return an image ``(3, H, W)`` in [0, 1] as Pillow has it."""
    values = (image.clamp(0, 1) * 255).round().to(torch.uint8).movedim(0, -1).contiguous()
    return Image.frombytes("RGB", (values.shape[1], values.shape[0]), values.numpy().tobytes())


def write_table(predictions: Sequence[Prediction], path: str | Path) -> None:
    """Write predictions as ``.csv`` or ``.json``, by the name of the file.

    Raises:
        ValueError: If the name ends in neither.
    """
    path = check_table(path)
    rows = [asdict(each) for each in predictions]
    if path.suffix == ".json":
        write_text(json.dumps(rows, indent=1) + "\n", path)
    else:
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(Prediction)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(text.getvalue(), path)


def check_table(path: str | Path) -> Path:
    """Return the path of a table, or raise if its name does not say of which kind it is."""
    path = Path(path)
    if path.suffix not in (".csv", ".json"):
        raise ValueError(f"a table is written to a file that ends in .csv or .json, got {path.name!r}")
    return path


def evaluate(
    detector: Detector, samples: Sequence[Sample], *, channels: int = 3, size: tuple[int, int] | None = None
) -> dict[str, float]:
    """Measure a detector on samples of both kinds.

    Returns:
        ``image_auroc`` and ``image_ap``; where the detector has heat maps and defects have masks, also ``pixel_auroc``,
        ``pixel_ap`` and ``pro`` (up to a false positive rate of 0.3). All in [0, 1]; defects are positive.

    Raises:
        ValueError: If a kind of images is missing, or images have several sizes where pixels are measured.
    """
    images = [read_image(each.path, channels, size)[None] for each in samples]
    judged = [detector.judge(image) for image in images]
    scores = torch.cat([score for score, _ in judged]).cpu()
    anomalous = torch.tensor([each.anomalous for each in samples])
    found = {"image_auroc": auroc(scores, anomalous), "image_ap": average_precision(scores, anomalous)}
    marked = [each.mask is not None or not each.anomalous for each in samples]
    if not detector.has_heatmap or not any(each.mask for each in samples):
        return found
    if len({image.shape for image in images}) > 1:
        raise ValueError("pixels are measured on images of one size; scale them, size=(H, W)")
    chosen = [number for number, each in enumerate(marked) if each]
    heat = torch.cat([heat for number in chosen if (heat := judged[number][1]) is not None]).cpu()
    side = (heat.shape[-2], heat.shape[-1])
    masks = torch.stack([read_mask(samples[number].mask, side) for number in chosen])
    return found | {
        "pixel_auroc": auroc(heat, masks),
        "pixel_ap": average_precision(heat, masks),
        "pro": per_region_overlap(heat, masks),
    }


def _files_in(path: Path) -> list[Path]:
    files = image_files(path)
    if not files:
        raise FileNotFoundError(f"{path}: no images in it")
    return files


def _mask(root: Path, kind: str, image: Path) -> Path | None:
    folder = root / "ground_truth" / kind
    if kind == GOOD or not folder.is_dir():
        return None
    for name in (f"{image.stem}_mask.png", f"{image.stem}.png"):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"{folder / f'{image.stem}_mask.png'}: no mask of {image}, though other {kind!r} have one")
