"""Does the audit predict what training found? ``python -m examples.auditing.agreement OUTCOMES.json AUDIT.json ...``.

``OUTCOMES.json`` holds numbers by outcome and by negative: ``{"GAN, coverage": {"jigsaw": 0.55, "stitch": 0.5, ...}}``.
Several audits, such as one for each seed, are averaged. Prints Spearman's rank correlation of each outcome with the
audit's ranking and with the measures behind it, and p: exact, two-sided.
"""

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from scipy.stats import permutation_test, spearmanr

from examples.common.runs import command

MEASURES = ("broken", "realism", "shift", "overlap", "told_by_features", "told_by_pixels")
COLUMNS = ("ranking", "score", *MEASURES)
_MOST = 8
Numbers = dict[str, float]


def measured(reports: Iterable[Mapping[str, Any]]) -> dict[str, Numbers]:
    """By column and negative, the mean over audits as JSON has them; the higher in the ranking, the larger."""
    found: dict[str, dict[str, list[float]]] = {column: {} for column in COLUMNS}
    for report in reports:
        rows = {row["name"]: row for row in report["rows"]}
        for place, name in enumerate(report["ranking"]):
            values = {measure: rows[name]["measures"][measure]["value"] for measure in MEASURES}
            for column, value in {"ranking": -place, "score": rows[name]["score"], **values}.items():
                found[column].setdefault(name, []).append(value)
    return {column: {name: statistics.mean(of) for name, of in rows.items()} for column, rows in found.items()}


def agreement(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Spearman's ρ, and p from all orders.

    Raises:
        ValueError: If there are fewer than three numbers, or so many that their orders are too many to go through.
    """
    if not 3 <= len(first) == len(second) <= _MOST:
        raise ValueError(f"needs 3 to {_MOST} numbers on either side, got {len(first)} and {len(second)}")
    tested = permutation_test(
        (first,),
        lambda order: spearmanr(order, second).statistic,
        permutation_type="pairings",
        n_resamples=math.factorial(_MOST),
    )
    return float(tested.statistic), float(tested.pvalue)


def table(outcomes: Mapping[str, Numbers], audited: Mapping[str, Numbers]) -> str:
    """Markdown: a row for each outcome, ρ and p for each column.

    Raises:
        ValueError: If the audits lack a negative of an outcome.
    """
    lines = [f"| outcome | n | {' | '.join(COLUMNS)} |", "|" + " --- |" * (2 + len(COLUMNS))]
    for outcome, values in outcomes.items():
        if missing := sorted(set(values) - set(audited["ranking"])):
            raise ValueError(f"{outcome!r} has {', '.join(missing)}, which no audit has")
        pairs = (agreement([audited[column][name] for name in values], list(values.values())) for column in COLUMNS)
        cells = " | ".join(f"{correlation:+.2f} ({p:.2f})" for correlation, p in pairs)
        lines.append(f"| {outcome} | {len(values)} | {cells} |")
    return "\n".join(lines)


@command
def main(
    outcomes: Annotated[Path, typer.Argument(help="Numbers by outcome and negative")],
    audits: Annotated[list[Path], typer.Argument(help="Of nda-augment audit --json, or of examples.auditing")],
) -> None:
    """Print rank correlations of audits with what training found."""
    print(table(json.loads(outcomes.read_text()), measured(json.loads(path.read_text()) for path in audits)))


if __name__ == "__main__":
    typer.run(main)
