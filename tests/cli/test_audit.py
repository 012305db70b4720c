import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from nda_augment.cli import app
from tests.auditing.data import digits


def run(*arguments):
    return CliRunner().invoke(app, ["audit", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    images, labels = digits(300)
    path = tmp_path_factory.mktemp("audit") / "digits.npz"
    np.savez(path, images=images[:, 0].numpy(), labels=labels.numpy())
    return path


def test_a_table_and_a_report(archive, tmp_path):
    result = run(archive, "-o", tmp_path / "audit.html", "--policy", "jigsaw,flip", "--limit", "160")
    assert result.exit_code == 0, result.output
    assert "a random sample of 160 of 300 images" in " ".join(result.stdout.split())
    assert "a linear classifier of 10 classes" in " ".join(result.stdout.split())
    assert (tmp_path / "audit.html").read_text().startswith("<!doctype html>")
    assert str(tmp_path / "audit.html") in result.stdout


def test_json_is_alone_on_standard_output_and_repeats(archive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = [run(archive, "--json", "--no-labels", "--policy", "flip", "--limit", "150") for _ in range(2)]
    found = json.loads(results[0].stdout)
    assert [row["name"] for row in found["rows"]][-1] == "flip"
    assert "clusters" in found["settings"]["structure"]
    assert results[0].stdout == results[1].stdout
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_an_unreadable_file(tmp_path):
    generator = np.random.default_rng(0)
    for number in range(149):
        pixels = generator.integers(0, 256, (12, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"nothing")
    result = run(tmp_path, "--json", "--policy", "jigsaw", "--size", "8")
    assert result.exit_code == 0, result.output
    assert "broken.png: not a readable image" in result.stderr
    assert json.loads(result.stdout)["settings"]["given"] == 149


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["few"], "3 images are too few for an audit: of fewer than 148"),
        (["nowhere"], "nowhere: no such file or folder"),
        (["digits.npz", "--policy", "jigsw"], "did you mean 'jigsaw'"),
    ],
    ids=["few", "path", "policy"],
)
def test_mistakes_are_named_and_fail(archive, tmp_path, monkeypatch, arguments, message):
    (tmp_path / "few").mkdir()
    for number in range(3):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "few" / f"{number}.png")
    (tmp_path / "digits.npz").write_bytes(archive.read_bytes())
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.output
