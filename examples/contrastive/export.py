"""Write the backbone of a run to a file: ``python -m examples.contrastive.export RUN_FOLDER [--output backbone.pt]``.

A ResNet's weights have the names of torchvision's and timm's: ``resnet18(weights=None)`` takes them up, but for its
last layer, where the run had ``MODEL.width=1`` and ``MODEL.stem=large``. ``MODEL.weights=backbone.pt`` begins with it.
"""

from pathlib import Path
from typing import Annotated

import typer

from examples.common.runs import command
from examples.contrastive.backbone import load_backbone, weights_of
from nda_augment._files import save_checkpoint


def export(folder: Path, output: Path) -> None:
    """Write the backbone of a run as ``{"backbone": weights, "of": MODEL.backbone}``.

    Raises:
        ConfigError: If the folder holds no run.
        CheckpointError: If its checkpoint is damaged.
    """
    network, settings = load_backbone(folder)
    save_checkpoint({"backbone": weights_of(network, settings.MODEL), "of": settings.MODEL.backbone}, output)


@command
def main(
    folder: Annotated[Path, typer.Argument(help="The folder of a run")],
    output: Annotated[Path | None, typer.Option(help="The file; backbone.pt in the run's folder without")] = None,
) -> None:
    """Write the backbone of a run to a file."""
    output = output or folder / "backbone.pt"
    export(folder, output)
    print(output)


if __name__ == "__main__":
    typer.run(main)
