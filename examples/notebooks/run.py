"""Runs the notebooks: `python -m examples.notebooks.run [NOTEBOOK ...]`, all of them by default.

Each is executed from top to bottom in a kernel of its own and written back with its outputs and without what tells of
the machine: times, paths, versions, progress. `--check` writes nothing.
"""

import argparse
import re
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

HERE = Path(__file__).parent
NOTEBOOKS = tuple(sorted(HERE.glob("*.ipynb")))
SECONDS = 180
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

_PICTURES = ("image/jpeg", "image/png")
_TEXTS = ("text/html", "text/plain")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path, default=NOTEBOOKS, metavar="NOTEBOOK")
    parser.add_argument("--check", action="store_true", help="run them and write nothing")
    arguments = parser.parse_args()
    for path in arguments.notebooks:
        start = time.perf_counter()
        notebook = execute(path)
        if not arguments.check:
            nbformat.write(notebook, path)
        print(f"{path.name}: {time.perf_counter() - start:.0f} s, {pictures(notebook)} pictures", flush=True)


def execute(path: Path) -> NotebookNode:
    """Return a notebook, executed in its own folder and cleaned.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell raises.
        nbclient.exceptions.CellTimeoutError: If the notebook runs longer than three minutes.
    """
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", resources=resources, coalesce_streams=True
    ).execute()
    return clean(notebook)


def clean(notebook: NotebookNode) -> NotebookNode:
    """Take out of a notebook what differs from machine to machine."""
    notebook.metadata = NotebookNode(METADATA)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
        cell.metadata = NotebookNode()
        if cell.cell_type != "code":
            continue
        cell.execution_count = None
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = None
            if "data" in output:
                output.metadata = NotebookNode()
                output.data = NotebookNode(_kept(output.data))
    return notebook


def pictures(notebook: NotebookNode) -> int:
    """Count the pictures that a notebook shows."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return sum(any(kind in output.get("data", {}) for kind in _PICTURES) for output in outputs)


def _kept(data: NotebookNode) -> dict[str, str]:
    """Keep the picture of an output, or else its text, without addresses in memory."""
    for kind in (*_PICTURES, *_TEXTS):
        if kind in data:
            return {kind: re.sub(r" at 0x[0-9a-f]+", "", data[kind])}
    return {}


if __name__ == "__main__":
    main()
