"""Images of a trained generator: ``python -m examples.gan.sample RUN_FOLDER [--count 100] [--output samples.png]``."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from examples.common import pictures
from examples.common.runs import command
from examples.common.settings import ConfigError
from examples.gan.generation import instances_of, load_generator, sample, told_of


@command
def main(
    folder: Annotated[Path, typer.Argument(help="The folder of a run")],
    count: Annotated[int, typer.Option(help="How many images; with classes they go through them in turn")] = 100,
    seed: Annotated[int, typer.Option(help="Of the latents")] = 0,
    output: Annotated[Path | None, typer.Option(help="A .png of all, or an .npz of them and what they show")] = None,
) -> None:
    """Draw images from the averaged generator of a run; an .npz has the 'labels' and 'instances' that it was told."""
    if count < 1:
        raise ConfigError(f"--count must be at least 1, got {count}")
    output = output or folder / "samples.png"
    network, instances = load_generator(folder)
    draw = count, seed, "sample"
    images = sample(network, *draw, instances)
    if output.suffix == ".npz":
        arrays = {"images": ((images + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1)}
        labels = told_of(network, *draw, instances).labels
        arrays |= {} if labels is None else {"labels": labels}
        arrays |= {"instances": instances_of(instances, *draw)} if instances else {}
        np.savez(output, allow_pickle=False, **{name: array.numpy() for name, array in arrays.items()})
    else:
        pictures.save_png(pictures.grid(images), output)
    print(output)


if __name__ == "__main__":
    typer.run(main)
