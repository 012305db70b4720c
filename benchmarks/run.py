"""Run benchmarks and write their tables beside this file: `python -m benchmarks.run [TABLE ...] [--rounds N]`."""

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import adapters, chart, detectors, importing, peers, training, transforms
from benchmarks.memory import freed_memory_is

HERE = Path(__file__).parent

# What is said above each table.
TABLES = {
    "transforms": (
        "The limit is one read and one write of the batch, an `add` into an existing buffer. Memory is warm: the "
        "allocator keeps what was freed, as a GPU's does in training. Cold, every buffer pays for new pages, the clone "
        "and we alike, which flatters the multiple. Kernels and bytes are counted on fake CUDA tensors, one kernel per "
        "operation, a copy being a read and a write of the batch, a box a quarter of its image; host copies are those "
        "of a second call."
    ),
    "peers": "Memory is warm. Peers that do less work say so.",
    "detectors": "Memory is warm. A step is forward, backward and the optimizer's.",
    "training": "A step is a discriminator's.",
    "adapters": "",
    "import": "Each call is a process of its own.",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"{', '.join(TABLES)}; all of them by default")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of interleaved calls; medians are reported")
    arguments = parser.parse_args()
    tables, rounds = arguments.tables or TABLES, arguments.rounds
    if unknown := set(tables) - set(TABLES):
        parser.error(f"unknown table {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    torch.set_num_threads(2)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if "transforms" in tables:
        rows = list(transforms.rows(device, rounds))
        write("transforms", rows)
        chart.save(rows, HERE / "transforms.png")
    if "peers" in tables:
        with freed_memory_is(kept=True):
            write("peers", list(peers.rows(device, rounds)))
    if "detectors" in tables:
        with freed_memory_is(kept=True):
            write("detectors", list(detectors.rows(rounds)))
    torch.set_num_threads(1)
    if "training" in tables:
        write("training", list(training.rows(device, rounds)))
    if "adapters" in tables:
        write("adapters", list(adapters.rows(rounds)))
    if "import" in tables:
        write("import", list(importing.rows(rounds)))


def write(name: str, rows: list[dict[str, Any]]) -> None:
    """Print a table, and keep it as Markdown and JSON."""
    columns = list(rows[0])
    cells = [[_text(row[column]) for column in columns] for row in rows]
    table = Table(*columns, title=name)
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for line in cells:
        table.add_row(*line)
        lines.append("| " + " | ".join(line) + " |")
    Console().print(table)
    machine = f"{_machine()} {TABLES[name]}".strip()
    (HERE / f"{name}.md").write_text(f"# {name}\n\n{machine}\n\n" + "\n".join(lines) + "\n")
    (HERE / f"{name}.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def _machine() -> str:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return f"{device}, {torch.get_num_threads()} CPU threads, torch {torch.__version__}; medians of interleaved calls."


if __name__ == "__main__":
    main()
