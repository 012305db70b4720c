"""Fine-tune a detector: ``python -m examples.detection.train --config FILE [KEY=VALUE ...]``.

What a run writes, and how it goes on, is said in ``examples/common/fitting.py``.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from examples.common.fitting import Results, Training, fit
from examples.common.runs import command
from examples.detection import config, files, scenes
from examples.detection.config import SCENES, Config, Data
from examples.detection.learning import MEASURES, Detection, average_precision, check_metric
from examples.detection.samples import Boxed

console = Console()


def load(settings: Data) -> tuple[Boxed, Boxed]:
    """Return the training and the test images."""
    if settings.name == "scenes":
        return scenes.load(settings.scenes, settings.test_scenes, settings.img_size)
    return {"voc": files.voc, "coco": files.coco}[settings.name](settings)


def train(settings: Config) -> Results:
    """Fine-tune, or go on with a run that was stopped, and measure the average precision on test images."""
    check_metric()

    def begin() -> Training:
        training, test = load(settings.DATA)
        module = Detection(settings, training)
        return Training(module, lambda: average_precision(module.detector, test, settings.EVAL.batch_size))

    return fit(settings, begin)


@command
def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="SECTION.key=value, such as RUN.seed=1")] = None,
    path: Annotated[Path, typer.Option("--config", help="A YAML file")] = SCENES,
) -> None:
    """Fine-tune a detector, or go on with a run that was stopped, and measure it."""
    settings = config.load(path, overrides or ())
    results = train(settings)
    console.print(", ".join(f"{name} {results[name]:.1%}" for name in MEASURES))
    console.print(f"Logs, checkpoint and results are in {settings.RUN.save_dir}")


if __name__ == "__main__":
    typer.run(main)
