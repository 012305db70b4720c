"""Compare detectors and negatives over several seeds: ``python -m examples.anomaly.compare PROTOCOL --arm ... ``.

An arm is a detector and its negatives, ``csi:rotation`` or ``density:none``; ``classes:jigsaw`` is a classifier with
negatives as outliers (out-of-distribution only). Every run leaves one file in ``RUN.save_dir``. Runs that are there are
not repeated, so the command may be stopped and started again; in the end ``PROTOCOL.md`` there holds the table.
"""

import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from examples.anomaly import config, outliers
from examples.anomaly.config import DIGITS, Config
from examples.anomaly.detectors import fit, scores
from examples.anomaly.metrics import MEASURES, Measures
from examples.anomaly.protocols import corrupted, one_class, out_of_distribution, photographs
from examples.common import data
from examples.common.data import Data, Images
from examples.common.runs import command, once
from examples.common.settings import ConfigError
from examples.common.tables import markdown, spread

console = Console(emoji=False)  # "classes:jigsaw:" would lose its jigsaw
Row = dict[str, Measures]


class Protocol(StrEnum):
    ONE_CLASS = "one-class"
    OOD = "ood"


def compare(
    protocol: Protocol,
    path: Path,
    overrides: Sequence[str],
    arms: Sequence[str],
    seeds: Sequence[int],
    normal: Sequence[int],
    outside: Mapping[str, Path],
) -> dict[str, list[Row]]:
    """Run all arms with all seeds and return, by arm, a row for each seed: measures by class or by set.

    Args:
        protocol: Which question is asked.
        path: The config of all runs.
        overrides: What changes it.
        arms: Words ``detector:negatives``.
        seeds: Of the runs.
        normal: one-class: the classes that are normal in turn.
        outside: ood: ``.npz`` files of images by name, beside photographs and corruptions.

    Raises:
        ConfigError: If a config is not valid, or a file holds a run with other settings.
    """
    base = config.load(path, overrides)
    if base.RUN.threads:
        torch.set_num_threads(base.RUN.threads)
    training, test = data.load_rgb(base.DATA)
    sets = _outside(base, test, outside) if protocol is Protocol.OOD else {}
    folder = Path(base.RUN.save_dir)
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[Row]] = {}
    for seed in seeds:
        for arm in arms:
            settings, is_classifier = settings_of(path, overrides, arm, seed)
            if protocol is Protocol.ONE_CLASS:
                row: Row = {}
                for each in normal:
                    file = _file(folder, f"{arm}-{each}-{seed}")
                    row |= _once(file, settings, _one_class, arm, settings, training, test, each)[arm]
                found = {arm: row}
            else:
                run = _classifier if is_classifier else _detector
                file = _file(folder, f"ood-{arm}-{seed}")
                found = _once(file, settings, run, arm, settings, training, test, sets)
            for name, row in found.items():
                rows.setdefault(name, []).append(row)
    return rows


def settings_of(path: Path, overrides: Sequence[str], arm: str, seed: int) -> tuple[Config, bool]:
    """The settings of a run, and whether it trains a classifier on labels."""
    detector, _, negatives = arm.partition(":")
    is_classifier = detector == "classes"
    words = [f"MODEL.detector={'density' if is_classifier else detector}", f"RUN.seed={seed}"]
    return config.load(path, [*overrides, *words, f"AUG.negatives='{negatives or 'none'}'"]), is_classifier


def table(rows: Mapping[str, Sequence[Row]], measures: Sequence[str] = MEASURES) -> str:
    """Markdown: a table for each measure, mean ± standard deviation over seeds, anomalies as positives."""
    columns = list(next(iter(rows.values()))[0])
    tables = []
    for measure in measures:
        rows_of = []
        for arm, by_seed in rows.items():
            values = [[row[column][measure] for column in columns] for row in by_seed]
            cells = [spread(each, 1) for each in (*zip(*values, strict=True), [statistics.mean(row) for row in values])]
            rows_of.append([arm, *cells])
        tables.append(markdown([f"{measure} %, anomalies positive", *columns, "mean"], rows_of))
    return "\n".join(tables)


def _one_class(arm: str, settings: Config, training: Images, test: Images, normal: int) -> dict[str, Row]:
    return {arm: {str(normal): one_class(settings, training, test, normal).measures}}


def _detector(arm: str, settings: Config, training: Images, test: Images, sets: Mapping[str, Any]) -> dict[str, Row]:
    detector = fit(settings, training.images)
    return {arm: out_of_distribution(lambda images: scores(detector, images), test.images, sets)}


def _classifier(arm: str, settings: Config, training: Images, test: Images, sets: Mapping[str, Any]) -> dict[str, Row]:
    model = outliers.train(settings, training)
    console.print(f"{arm}: accuracy {outliers.accuracy(model, test):.1f} %")
    ways = outliers.scorers(model, training, settings.OPTIMIZATION.batch_size)
    return {f"{arm}, {way}": out_of_distribution(score, test.images, sets) for way, score in ways.items()}


def _outside(settings: Config, test: Images, files: Mapping[str, Path]) -> dict[str, torch.Tensor]:
    size = settings.DATA.img_size
    sets = {}
    for name, file in files.items():
        sets[name] = data.load_rgb(Data(name="npz", path=str(file), img_size=size, holdout=0.0))[0].images
    return sets | {"tiles of photographs": photographs(size)} | corrupted(test.images)


def _file(folder: Path, name: str) -> Path:
    return folder / (re.sub(r"[^\w.-]+", "_", name) + ".json")


def _once(file: Path, settings: Config, run: Any, *arguments: Any) -> dict[str, Row]:
    """What a run found, from its file if it has one."""
    # Where the results lie is no part of what they are.
    given = {**settings.to_dict(), "RUN": {"seed": settings.RUN.seed}}
    found: dict[str, Row] = once(file, given, lambda: run(*arguments))
    console.print(f"{file.stem}: " + ", ".join(f"{arm} {_summary(row)}" for arm, row in found.items()))
    return found


def _summary(row: Row) -> str:
    return f"{statistics.mean(measures['AUROC'] for measures in row.values()):.1f}"


def _parse_outside(words: Sequence[str]) -> Iterator[tuple[str, Path]]:
    for word in words:
        name, separator, file = word.partition("=")
        if not separator or not Path(file).is_file():
            raise ConfigError(f"--outside is name=file.npz, and the file must be there; got {word!r}")
        yield name, Path(file)


@command
def main(
    protocol: Annotated[Protocol, typer.Argument()],
    overrides: Annotated[list[str] | None, typer.Argument(help="SECTION.key=value, the same for all runs")] = None,
    path: Annotated[Path, typer.Option("--config", help="A YAML file")] = DIGITS,
    arm: Annotated[list[str] | None, typer.Option(help="detector:negatives; may be repeated")] = None,
    seeds: Annotated[int, typer.Option(help="How many, from 0 on")] = 3,
    normal: Annotated[list[int] | None, typer.Option(help="one-class: a normal class; may be repeated")] = None,
    outside: Annotated[list[str] | None, typer.Option(help="ood: name=file.npz; may be repeated")] = None,
) -> None:
    """Compare detectors and negatives."""
    arms = arm or ["density:none", "csi:none", "csi:rotation"]
    others = dict(_parse_outside(outside or ()))
    rows = compare(protocol, path, overrides or (), arms, range(seeds), normal or [0], others)
    folder = Path(config.load(path, overrides or ()).RUN.save_dir)
    text = table(rows)
    (folder / f"{protocol.value}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    typer.run(main)
