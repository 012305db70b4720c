"""Learn features of clips: ``python -m examples.video.train --config FILE [KEY=VALUE ...]``.

What a run writes, and how it goes on, is said in ``examples/common/fitting.py``.
"""

from pathlib import Path
from typing import Annotated

import typer
from torch import nn

from examples.common.contrastive.learning import learn, say
from examples.common.contrastive.methods import METHODS, Parts
from examples.common.fitting import Results
from examples.common.runs import command
from examples.video import config, data
from examples.video.config import DIGITS, Config, Model
from examples.video.dpc import DPC, make_context
from examples.video.encoder import make_encoder
from examples.video.views import Views

KNOWN = {**METHODS, "dpc": DPC}


def train(settings: Config) -> Results:
    """Train, or go on with a run that was stopped, and evaluate."""
    return learn(settings, lambda: data.load(settings.DATA), lambda: parts(settings), KNOWN)


def parts(settings: Config) -> Parts:
    """Make the encoder of clips, and their views: two, but one where a clip is compared with itself."""
    views = 1 if settings.MODEL.method == "dpc" else 2
    return Parts(
        Views(settings.AUG, settings.DATA.frames, settings.DATA.img_size, views), *make_network(settings.MODEL)
    )


def make_network(settings: Model) -> tuple[nn.Module, int]:
    """Return the encoder of clips of a method, from ``(B, T, C, H, W)`` to features ``(B, D)``, and ``D``."""
    return make_context(settings) if settings.method == "dpc" else make_encoder(settings)


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
