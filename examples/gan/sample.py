"""Images of a trained generator: ``python -m examples.gan.sample RUN_FOLDER [--count 100] [--output samples.png]``."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from examples.common import pictures
from examples.common.runs import command
from examples.common.settings import ConfigError
from examples.common.training import CHECKPOINT
from examples.gan.generation import labels_of, load_generator, sample


@command
def main(
    folder: Annotated[Path, typer.Argument(help="The folder of a run")],
    count: Annotated[int, typer.Option(help="How many images; with classes they go through them in turn")] = 100,
    seed: Annotated[int, typer.Option(help="Of the latents")] = 0,
    output: Annotated[Path | None, typer.Option(help="A .png of all, or an .npz of 'images' and 'labels'")] = None,
) -> None:
    """Draw images from the averaged generator of a run."""
    if not (folder / CHECKPOINT).exists():
        raise ConfigError(f"{folder} is no folder of a run: it has no {CHECKPOINT}")
    if count < 1:
        raise ConfigError(f"--count must be at least 1, got {count}")
    output = output or folder / "samples.png"
    network = load_generator(folder)
    images = sample(network, count, seed, "sample").cpu()
    if output.suffix == ".npz":
        pixels = ((images + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
        labels = labels_of(count, network.classes)
        if labels is None:
            np.savez(output, images=pixels)
        else:
            np.savez(output, images=pixels, labels=labels.numpy())
    else:
        pictures.save_png(pictures.grid(images), output)
    print(output)


if __name__ == "__main__":
    typer.run(main)
