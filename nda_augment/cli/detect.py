"""The commands ``nda-augment detect fit`` and ``nda-augment detect score``."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch.utils.data import DataLoader

from nda_augment.anomaly import Detector, SegmentationDetector, Training
from nda_augment.anomaly import load as load_detector
from nda_augment.anomaly.folders import ImageFiles, check_table, evaluate, predict, read_layout, write_table
from nda_augment.anomaly.page import write_page
from nda_augment.anomaly.segmentation import LR, STEPS
from nda_augment.cli import shell

detect = typer.Typer(no_args_is_help=True, help="Find defects: learn from a folder of good images, score any.")

Size = Annotated[int, typer.Option(min=16, help="Side in pixels that images are scaled to, as squares.")]
Channels = Annotated[int, typer.Option(help="1 for grey, 3 for colour.")]


@detect.command()
def fit(
    folder: Annotated[Path, typer.Argument(help="Folder in MVTec's layout: train/good, and test/* if there is one.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File of the detector.")] = Path("detector.pt"),
    size: Size = 256,
    channels: Channels = 3,
    steps: Annotated[int, typer.Option(min=1, help="Batches to learn from.")] = STEPS,
    batch_size: Annotated[int, typer.Option(min=2, help="Images in a batch.")] = 16,
    seed: Annotated[int, typer.Option(help="Seed of weights and draws.")] = 0,
    rate: Annotated[float, typer.Option("--false-positive-rate", help="Share of good images called defective.")] = 0.05,
    memory: Annotated[int, typer.Option(min=0, help="Megabytes for images that are read once.")] = 2000,
) -> None:
    """Learn from good images, set a threshold, and measure on test images if there are some.

    A fifth of the good images sets the threshold and is not learned from.

    Example: nda-augment detect fit mvtec/bottle -o bottle.pt
    """
    try:
        if not 0 < rate < 1:
            raise ValueError(f"--false-positive-rate must be a share in (0, 1), got {rate}")
        if output.is_dir():
            raise IsADirectoryError(f"{output} is a folder; name a file in it: -o {output / 'detector.pt'}")
        layout = read_layout(folder)
        order = torch.randperm(len(layout.training), generator=torch.Generator().manual_seed(seed)).tolist()
        apart = len(order) // 5
        held_out, learned = ([layout.training[place] for place in part] for part in (order[:apart], order[apart:]))
        torch.manual_seed(seed)
        training = Training(steps=steps, lr=LR, seed=seed)
        detector: Detector = SegmentationDetector(channels, training=training)
        side = (size, size)
        images = ImageFiles(learned, channels, side, memory=memory * 10**6)
        detector.fit(DataLoader(images, min(batch_size, len(learned)), shuffle=True))
        detector.save(output)  # whatever comes, what was learned is kept
        if apart < 1 / rate - 1:
            shell.err.print(f"no threshold: {apart} images held out are too few for a false positive rate of {rate}")
        else:
            detector.calibrate(DataLoader(ImageFiles(held_out, channels, side), batch_size), rate).save(output)
        shell.out.print(str(output))
        if {sample.anomalous for sample in layout.test} == {True, False}:
            found = evaluate(detector, layout.test, channels=channels, size=side)
            shell.print_table(["measure", "value"], [[name, f"{value:.4f}"] for name, value in found.items()])
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        shell.fail(str(error))


@detect.command()
def score(
    detector: Annotated[Path, typer.Argument(help="File that fit has written.")],
    images: Annotated[Path, typer.Argument(metavar="IMAGE_OR_FOLDER", help="An image, or a folder of images.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Table to write, .csv or .json.")] = None,
    overlays: Annotated[Path | None, typer.Option(help="Folder for pictures with the heat map.")] = None,
    page: Annotated[Path | None, typer.Option(help="Report to write, .html.")] = None,
    size: Annotated[int | None, typer.Option(min=16, help="Side that images are scaled to; that of fit.")] = None,
    as_json: shell.Json = False,
) -> None:
    """Score images: higher is more anomalous.

    Example: nda-augment detect score bottle.pt photos/ -o scores.csv --overlays overlays/
    """
    try:
        if output is not None:
            check_table(output)
        model = load_detector(detector)
        side = (size, size) if size else (int(model.size[0]), int(model.size[1]))
        channels = int(getattr(model, "channels", 3))
        found = predict(model, images, channels=channels, size=side, overlays=overlays)
        if output is not None:
            write_table(found, output)
        if page is not None:
            write_page(found, page, model, channels=channels, size=side)
    except (ValueError, OSError) as error:
        shell.fail(str(error))
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    decided = {None: "", True: "anomalous", False: "normal"}
    shell.print_table(["score", "", "file"], [[f"{e.score:.4g}", decided[e.anomalous], e.path] for e in found])
