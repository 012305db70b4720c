"""How far two arms of a comparison are apart: ``python -m examples.video.paired FOLDER plain jigsaw --seeds 3``.

The folder is that of ``examples.video.compare``; the runs are evaluated anew, clip by clip.
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from examples.common.contrastive.compare import PLAIN
from examples.common.contrastive.evaluate import found_labels
from examples.common.data import labels_of
from examples.common.fitting import CHECKPOINT
from examples.common.paired import bootstrap, smallest_effect
from examples.common.runs import command, file_of
from examples.common.tables import markdown
from examples.video import config, data
from examples.video.recognize import take_up
from examples.video.train import make_network


def right(folder: Path) -> dict[str, Tensor]:
    """Which test clips a run is right about, ``(N,)`` 0 and 1, by measure.

    Raises:
        ConfigError: If the folder holds no run.
    """
    file_of(folder, CHECKPOINT)
    settings = config.load(folder / "config.yaml")
    training, test = data.load(settings.DATA)
    network, _ = make_network(settings.MODEL)
    take_up(network, folder)
    found = found_labels(network, training, test, settings.EVAL, settings.RUN.seed)
    return {measure: (labels == labels_of(test)).double() for measure, labels in found.items()}


def compare(folder: Path, first: str, second: str, seeds: range, planned: int) -> str:
    """Say by measure how much better the first arm is than the second, in percent of the test clips."""
    pairs = [(right(folder / f"{first}-{seed}"), right(folder / f"{second}-{seed}")) for seed in seeds]
    rows = []
    for measure in pairs[0][0]:
        apart = torch.stack([100 * (ours[measure] - theirs[measure]) for ours, theirs in pairs])
        each = apart.mean(dim=1).tolist()
        low, high = bootstrap(apart)
        seen = smallest_effect(each, planned) if len(each) > 1 else float("nan")
        values = ", ".join(f"{value:+.2f}" for value in each)
        rows.append([measure, f"{sum(each) / len(each):+.2f}", f"{low:+.2f} to {high:+.2f}", values, f"{seen:.2f}"])
    head = ["measure", f"{first} − {second}", "95 % interval", "each pair", f"smallest effect of {planned} pairs"]
    return markdown(head, rows)


@command
def main(
    folder: Annotated[Path, typer.Argument(help="The folder of examples.video.compare")],
    first: Annotated[str, typer.Argument(help="An arm")],
    second: Annotated[str, typer.Argument(help="The arm to compare it with")] = PLAIN,
    seeds: Annotated[int, typer.Option(help="How many pairs of runs there are, from --from on")] = 3,
    start: Annotated[int, typer.Option("--from", help="The first seed")] = 0,
    planned: Annotated[int, typer.Option(help="For how many pairs to say what could be seen; as many without")] = 0,
) -> None:
    """Say how far two arms are apart, with a bootstrap over seeds and test clips."""
    print(compare(folder, first, second, range(start, start + seeds), planned or seeds), end="")


if __name__ == "__main__":
    typer.run(main)
