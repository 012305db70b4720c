"""Run arms of a setting, a few seeds of each: ``python -m examples.gan.study SETTING --arm NAME=SEEDS ...``."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer

from examples.gan.study import data
from examples.gan.study.measures import Judge
from examples.gan.study.settings import ARMS, SETTINGS
from examples.gan.study.train import run


def main(
    name: Annotated[str, typer.Argument(metavar="SETTING", help=f"One of {', '.join(SETTINGS)}")],
    folder: Annotated[Path, typer.Option("--data", help="Folder with mnist/ and cifar10/")],
    arm: Annotated[list[str], typer.Option(help=f"NAME=SEEDS, of {', '.join(ARMS)}")],
    output: Annotated[Path, typer.Option(help="Where a file per arm and number of seeds goes")] = Path("runs/study"),
) -> None:
    """Run arms of a setting with seeds from 1 on; what is done is not done again."""
    torch.set_num_threads(1)
    output.mkdir(parents=True, exist_ok=True)
    setting = SETTINGS[name]
    split = data.load(setting.data, folder)
    judge = Judge(split, output / f"judge-{setting.data}.pt")
    for which, seeds in (each.split("=") for each in arm):
        path = output / f"{name}.{which}.{seeds}.json"
        if path.exists():
            continue
        # Seed 0 is the one that the setting was chosen with.
        rows, samples = run(setting, ARMS[which], range(1, int(seeds) + 1), split, judge)
        settings = {"setting": asdict(setting), "arm": asdict(ARMS[which])}
        torch.save(samples.add(1).mul(127.5).round().byte(), path.with_suffix(".pt"))
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps({"name": name, "which": which} | settings | {"rows": rows}))
        partial.replace(path)
        print(name, which, *(f"{each[-1]['frechet']:.2f}" for each in rows.values()), flush=True)


if __name__ == "__main__":
    typer.run(main)
