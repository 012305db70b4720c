"""Learn features of images: ``python -m examples.contrastive.train --config FILE [KEY=VALUE ...]``.

What a run writes, and how it goes on, is said in ``examples/common/fitting.py``.
"""

from pathlib import Path
from typing import Annotated

import typer

from examples.common import data
from examples.common.contrastive.learning import learn, say
from examples.common.contrastive.methods import Parts
from examples.common.fitting import Results
from examples.common.runs import command
from examples.contrastive import config
from examples.contrastive.backbone import make_backbone
from examples.contrastive.config import DIGITS, Config
from examples.contrastive.views import Views


def train(settings: Config) -> Results:
    """Train, or go on with a run that was stopped, and evaluate."""
    return learn(settings, lambda: data.load_rgb(settings.DATA, settings.DATA.originals), lambda: parts(settings))


def parts(settings: Config) -> Parts:
    """Make the encoder of images, and their views."""
    return Parts(Views(settings.AUG, settings.DATA.img_size), *make_backbone(settings.MODEL, settings.DATA.img_size))


@command
def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="SECTION.key=value, such as RUN.seed=1")] = None,
    path: Annotated[Path, typer.Option("--config", help="A YAML file")] = DIGITS,
) -> None:
    """Learn features of images, or go on with a run that was stopped, and evaluate them."""
    settings = config.load(path, overrides or ())
    say(train(settings), settings)


if __name__ == "__main__":
    typer.run(main)
