"""Images of a trained model: ``python -m examples.diffusion.sample RUN_FOLDER [SAMPLING.scale=1 ...]``."""

from pathlib import Path
from typing import Annotated

import typer

from examples.common import pictures
from examples.common.runs import command, file_of
from examples.common.settings import ConfigError
from examples.diffusion import config
from examples.diffusion.sampling import sample_run


@command
def main(
    folder: Annotated[Path, typer.Argument(help="The folder of a run")],
    overrides: Annotated[list[str] | None, typer.Argument(help="SAMPLING.key=value, such as SAMPLING.scale=1")] = None,
    count: Annotated[int, typer.Option(help="How many images; with classes they go through them in turn")] = 100,
    output: Annotated[Path | None, typer.Option(help="A .png of all; samples.png in the folder by default")] = None,
) -> None:
    """Draw images from the averaged denoiser of a run; the same noise for all settings."""
    if count < 1:
        raise ConfigError(f"--count must be at least 1, got {count}")
    settings = config.load(file_of(folder, "config.yaml"), overrides or ())
    output = output or folder / "samples.png"
    pictures.save_png(pictures.grid(sample_run(folder, settings.SAMPLING, count, "sample")), output)
    print(output)


if __name__ == "__main__":
    typer.run(main)
