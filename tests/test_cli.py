import re
import subprocess
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from examples.photographs import load_photographs
from nda_augment.cli import app

PNG = b"\x89PNG\r\n"


def run(*arguments):
    """Run the command; typer wraps its own errors to the terminal, so its width is fixed."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


@pytest.fixture
def folder(tmp_path):
    photographs, names = load_photographs(48)
    (tmp_path / "photos" / "deeper").mkdir(parents=True)
    for photograph, name in zip(photographs[:3], ("a.png", "b.jpg", "deeper/c.webp"), strict=True):
        pixels = (photograph * 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(tmp_path / "photos" / name)
    assert len(names) >= 3
    return tmp_path / "photos"


def size_of(path):
    with Image.open(path) as image:
        return image.size


def test_a_row_per_negative_and_a_column_per_photograph(folder, tmp_path):
    short, long = tmp_path / "short.png", tmp_path / "long.png"
    assert run("gallery", folder, "-o", short, "--policy", "jigsaw", "--size", "32").exit_code == 0
    result = run("gallery", folder, "-o", long, "--policy", "jigsaw,stitch,mixup", "--size", "32", "--columns", "2")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(long)
    (wide, low), (narrow, high) = size_of(short), size_of(long)
    assert high == 2 * low
    assert narrow < wide


def test_all_negatives_by_default_and_a_seed_repeats_them(folder, tmp_path):
    pictures = [tmp_path / f"{number}.png" for number in range(3)]
    for picture, seed in zip(pictures, (0, 0, 1), strict=True):
        assert run("gallery", folder, "-o", picture, "--size", "32", "--seed", seed).exit_code == 0
    same, again, other = (picture.read_bytes() for picture in pictures)
    assert same == again != other


def test_an_unreadable_file_is_named_and_skipped(folder, tmp_path):
    (folder / "broken.png").write_bytes(PNG + b"nothing")
    result = run("gallery", folder, "-o", tmp_path / "out.png", "--policy", "stitch", "--size", "32")
    assert result.exit_code == 0
    assert re.search(r"skipped .*broken\.png: not a readable image", result.stderr)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["photos", "--policy", "jigsw"], "did you mean 'jigsaw'"),
        (["photos", "--policy", "jigsaw(grid=5x5)", "--size", "32"], "30 or 35"),
        (["photos", "-o", "out.nonsense"], "nonsense"),
    ],
    ids=["path", "policy", "grid", "format"],
)
def test_mistakes_are_named_and_fail(folder, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(folder.parent)
    result = run("gallery", *arguments)
    assert result.exit_code == 1
    assert message in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.output


def test_a_folder_of_nothing_fails(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    result = run("gallery", tmp_path)
    assert result.exit_code == 1
    assert "no readable image" in result.stderr


def test_a_photograph_alone_has_no_partner(folder, tmp_path):
    picture = tmp_path / "out.png"
    result = run("gallery", folder / "a.png", "-o", picture, "--policy", "jigsaw,stitch", "--size", "32")
    assert result.exit_code == 0
    assert "one image has no partner: stitch" in result.stderr
    assert picture.exists()
    assert run("gallery", folder / "a.png", "-o", picture, "--policy", "stitch").exit_code == 1


def test_without_the_extra_one_line_says_what_to_install():
    program = "import sys; sys.modules['typer'] = None; from nda_augment.__main__ import main; main()"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert 'pip install "nda-augment[cli]"' in result.stderr
