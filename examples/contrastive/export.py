"""Write the backbone of a run to a file: ``python -m examples.contrastive.export RUN_FOLDER [--output backbone.pt]``.

A ResNet's weights have the names of torchvision's and timm's: ``resnet18(weights=None)`` takes them up, but for its
last layer, where the run had ``MODEL.width=1`` and ``MODEL.stem=large``. ``MODEL.weights=backbone.pt`` begins with it.
"""

from pathlib import Path
from typing import Annotated

import typer

from examples.common.fitting import CHECKPOINT, STATE
from examples.common.runs import command
from examples.common.settings import ConfigError
from examples.contrastive import config
from examples.contrastive.backbone import weights_of
from examples.contrastive.train import parts
from nda_augment._files import load_checkpoint, restoring, save_checkpoint


def export(folder: Path, output: Path) -> None:
    """Write the backbone of a run as ``{"backbone": weights, "of": MODEL.backbone}``.

    Raises:
        ConfigError: If the folder holds no run.
        CheckpointError: If its checkpoint is damaged.
    """
    saved = folder / CHECKPOINT
    if not saved.exists():
        raise ConfigError(f"{folder} is no folder of a run: it has no {CHECKPOINT}")
    settings = config.load(folder / "config.yaml", ["MODEL.weights=''"])
    network = parts(settings).backbone
    state = load_checkpoint(saved, STATE)["state_dict"]
    with restoring(saved):
        network.load_state_dict(
            {name.removeprefix("backbone."): value for name, value in state.items() if name.startswith("backbone.")}
        )
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
