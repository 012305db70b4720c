"""Learn features of clips: ``python -m examples.video.train --config FILE [KEY=VALUE ...]``.

A run writes into ``RUN.save_dir``: ``config.yaml``, ``checkpoint.ckpt`` after every epoch, TensorBoard logs, and at the
end ``results.json``. Started again it goes on from its checkpoint, and on one machine ends with the same weights, bit
for bit, as if it had never stopped (on a GPU, as far as its kernels are deterministic).
"""

from pathlib import Path
from typing import Annotated

import typer

from examples.common.runs import command
from examples.contrastive.train import Results, fit, prepared, say
from examples.video import config, data, methods
from examples.video.config import DIGITS, Config
from examples.video.evaluate import KNNAccuracy, accuracies


def train(settings: Config) -> Results:
    """Train to ``OPTIMIZATION.epochs``, from the run's checkpoint if it has one, and evaluate.

    Args:
        settings: A checked config, see :func:`examples.video.config.load`.

    Returns:
        What ``results.json`` holds: accuracies in [0, 1], and the seconds of the last part of the training. Of several
        processes only the first evaluates.

    Raises:
        ConfigError: If the folder holds a run with other settings.
        ValueError: If the clips cannot be read, or do not fill one batch.
    """
    # How a run is trained is set as in examples.contrastive, under the same names.
    with prepared(settings) as finished:
        if finished:
            return finished
        training, test = data.load(settings.DATA)
        method = methods.make(settings, training)
        watch = KNNAccuracy(training, test, settings.EVAL)

        def evaluate() -> Results:
            return accuracies(method.backbone, training, test, settings.EVAL, settings.RUN.seed)

        return fit(settings, method, watch, evaluate)


@command
def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="SECTION.key=value, such as RUN.seed=1")] = None,
    path: Annotated[Path, typer.Option("--config", help="A YAML file")] = DIGITS,
) -> None:
    """Learn features of clips, or go on with a run that was stopped, and evaluate them."""
    settings = config.load(path, overrides or ())
    say(train(settings), settings)


if __name__ == "__main__":
    typer.run(main)
