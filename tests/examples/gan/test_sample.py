import numpy as np
import typer
from PIL import Image
from typer.testing import CliRunner

from examples.gan import sample, train


def invoke(*words):
    app = typer.Typer()
    app.command()(sample.main)
    return CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": "200"})


def test_images_of_a_run_are_drawn_as_a_picture_or_as_arrays(tiny, tmp_path):
    folder = train.train(tiny("run", "OPTIMIZATION.total_steps=1"))
    result = invoke(folder, "--count", 12)
    assert result.exit_code == 0, result.output
    with Image.open(folder / "samples.png") as picture:
        assert picture.size == (169, 33)  # two rows of ten at most, 16 pixels each, lines between
    assert invoke(folder, "--count", 3, "--output", tmp_path / "s.npz").exit_code == 0
    arrays = dict(np.load(tmp_path / "s.npz"))
    assert {name: array.shape for name, array in arrays.items()} == {"images": (3, 8, 8, 1)}


def test_what_is_no_run_is_told(tmp_path):
    result = invoke(tmp_path)
    assert result.exit_code == 2
    assert "is no folder of a run" in result.output
