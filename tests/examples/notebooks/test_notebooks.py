"""The notebooks run from top to bottom, show pictures, and are committed clean."""

import copy
import re

import nbformat
import pytest

from examples.notebooks import run

NAMES = ("01_gallery", "02_gan", "03_lightly", "04_torchvision_albumentations", "05_anomaly_and_audit", "06_diffusion")


def read(name):
    return nbformat.read(run.HERE / f"{name}.ipynb", as_version=4)


def test_all_are_here():
    assert tuple(path.stem for path in run.NOTEBOOKS) == NAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")  # of Jupyter's client, about its own event loop and sockets
def test_it_runs_and_shows_what_is_committed(name):
    committed, executed = read(name), run.execute(run.HERE / f"{name}.ipynb")
    assert run.pictures(executed) == run.pictures(committed) > 1
    assert [len(cell.get("outputs", ())) for cell in executed.cells] == [
        len(cell.get("outputs", ())) for cell in committed.cells
    ]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_committed_with_its_outputs_and_without_what_tells_of_a_machine(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert run.clean(copy.deepcopy(notebook)) == notebook
    assert notebook.cells[0].source.startswith("# ")
    printed = [str(output) for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [text for text in printed if re.search(r"(?<![\w.])/(home|root|tmp|Users)/|Traceback", text)]


def test_cleaning_takes_out_times_warnings_and_addresses():
    output = nbformat.v4.new_output
    cell = nbformat.v4.new_code_cell("1", execution_count=7, metadata={"time": "now"})
    cell.outputs = [
        output("stream", name="stderr", text="a warning"),
        output("execute_result", {"text/plain": "<Thing at 0x7f3a>", "text/html": "<b>it</b>"}, execution_count=7),
        output("display_data", {"text/plain": "<Thing at 0x7f3a>", "image/png": "abc"}),
        output("display_data", {"text/plain": "<Thing at 0x7f3a>"}),
    ]
    notebook = run.clean(nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": 1}))
    (cleaned,) = notebook.cells
    assert [output.data for output in cleaned.outputs] == [
        {"text/html": "<b>it</b>"},
        {"image/png": "abc"},
        {"text/plain": "<Thing>"},
    ]
    assert cleaned.execution_count is cleaned.outputs[0].execution_count is None
    assert not cleaned.metadata
    assert "widgets" not in notebook.metadata
