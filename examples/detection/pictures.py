"""Test images with what a detector sees in them: ``python -m examples.detection.pictures RUN_FOLDER scenes.png``."""

from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor, nn
from torchvision.utils import draw_bounding_boxes

from examples.common.fitting import CHECKPOINT, STATE
from examples.common.pictures import grid, save_png
from examples.common.runs import command, file_of
from examples.detection import config, train
from examples.detection.learning import Detection, predict
from examples.detection.samples import Boxed
from nda_augment._files import load_checkpoint, restoring

_SCALE = 3


def load_run(folder: Path) -> tuple[nn.Module, Boxed]:
    """The detector of a run, and its test images.

    Raises:
        ConfigError: If the folder holds no run.
        CheckpointError: If its checkpoint is damaged.
    """
    saved = file_of(folder, CHECKPOINT)
    settings = config.load(folder / "config.yaml", ["MODEL.weights=''"])
    training, test = train.load(settings.DATA)
    module = Detection(settings, training)
    with restoring(saved):
        module.load_state_dict(load_checkpoint(saved, STATE)["state_dict"])
    return module.detector, test


def draw(image: Tensor, true: Tensor, found: dict[str, Tensor], classes: tuple[str, ...], score: float) -> Tensor:
    """An image ``(3, H, W)`` uint8, enlarged, with true boxes in white and those found with a score or more in red."""
    large = image.repeat_interleave(_SCALE, 1).repeat_interleave(_SCALE, 2)
    sure = found["scores"] >= score
    names = [classes[label - 1] for label in found["labels"][sure].tolist()]
    for boxes, titles, colour in ((true, None, "white"), (found["boxes"][sure], names, "red")):
        if len(boxes):
            large = draw_bounding_boxes(large, boxes * _SCALE, titles, colors=colour, width=2)
    return large


@command
def main(
    folder: Annotated[Path, typer.Argument(help="The folder of a run")],
    path: Annotated[Path, typer.Argument(help="Where to write the PNG")] = Path("detections.png"),
    count: Annotated[int, typer.Option(help="How many images")] = 8,
    score: Annotated[float, typer.Option(help="From which score on a box is drawn")] = 0.5,
) -> None:
    """Draw the first test images with the true boxes in white and those that a detector finds in red."""
    detector, test = load_run(folder)
    first = Boxed([test[number] for number in range(min(count, len(test)))], test.classes)
    pictures = [
        draw(sample.image, sample.boxes, found, test.classes, score)
        for samples, results in predict(detector, first, batch_size=8)
        for sample, found in zip(samples, results, strict=True)
    ]
    height, width = (max(picture.shape[side] for picture in pictures) for side in (1, 2))
    canvas = torch.full((len(pictures), 3, height, width), 255, dtype=torch.uint8)
    for place, picture in zip(canvas, pictures, strict=True):
        place[:, : picture.shape[1], : picture.shape[2]] = picture
    save_png(grid(canvas / 127.5 - 1, columns=4, scale=1), path)


if __name__ == "__main__":
    typer.run(main)
