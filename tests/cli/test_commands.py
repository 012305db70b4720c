import json
import re
import subprocess
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from examples.common.photographs import load_photographs
from nda_augment import cli, doctor
from nda_augment._version import __version__
from nda_augment.cli import app, shell
from nda_augment.registry import NEGATIVES

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


def test_what_does_not_fit_the_size_is_left_out_by_default_and_an_error_if_asked_for(folder, tmp_path):
    picture = tmp_path / "out.png"
    result = run("gallery", folder, "-o", picture, "--size", "33", "--json")
    assert result.exit_code == 0, result.output
    assert "skipped jigsaw: grid=(2, 2) does not divide the image" in result.stderr
    drawn = json.loads(result.stdout)["negatives"]
    assert "cutout" in drawn
    assert "jigsaw" not in drawn
    assert run("gallery", folder, "-o", picture, "--size", "33", "--policy", "jigsaw").exit_code == 1


def test_the_gallery_says_what_it_drew_in_json(folder, tmp_path):
    result = run("gallery", folder, "-o", tmp_path / "out.png", "--policy", "jigsaw,flip", "--size", "32", "--json")
    drawn = json.loads(result.stdout)
    assert drawn == {"picture": str(tmp_path / "out.png"), "images": 3, "negatives": ["jigsaw", "flip"]}


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


def test_policies_lists_the_registry():
    result = run("policies")
    assert result.exit_code == 0
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert lines[0] == ["word", "family", "arguments", "breaks", "keeps"]
    assert [line[0] for line in lines[1:]] == [negative.word for negative in NEGATIVES]
    jigsaw = next(line for line in lines if line[0] == "jigsaw")
    assert jigsaw[1] == "patch"
    assert jigsaw[2].startswith("grid=2x2, ")


def test_policies_of_a_family():
    rows = json.loads(run("policies", "--family", "pair", "--json").stdout)
    assert [row["word"] for row in rows] == [negative.word for negative in NEGATIVES if negative.card.family == "pair"]
    assert all("the partner is another image" in row["guarantee"] for row in rows)
    result = run("policies", "--family", "pears")
    assert result.exit_code == 1
    assert "unknown family 'pears'; known are " in result.stderr


def test_policies_reads_a_policy():
    rows = json.loads(run("policies", "jigsaw(grid=3x3):3,(stitch,cutout),frameshuffle:0", "--json").stdout)
    assert [row["member"] for row in rows] == ["jigsaw(grid=3x3)", "stitch,cutout", "frameshuffle"]
    assert [row["share"] for row in rows] == [0.75, 0.25, 0]
    assert [row["needs"] for row in rows] == ["", "other images", "clips"]
    assert rows[0]["arguments"]["grid"] == [3, 3]
    text = run("policies", "cutout").stdout
    assert text.splitlines()[1] == "cutout\t1.0\t\tside=0.333-0.5, fill=patch_mean, square=false"


def test_policies_refuses_what_is_none():
    result = run("policies", "jigsw")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "did you mean 'jigsaw'" in result.stderr
    assert run("policies", "jigsaw", "--family", "patch").exit_code == 2


FINDINGS = [
    doctor.Finding("core", "torch", "ok", {"torch": "2.15.0"}, "built for the CPU"),
    doctor.Finding("extra", "cli", "missing", {}, "not installed: rich", 'pip install "nda-augment[cli]"'),
]
BROKEN = doctor.Finding("adapter", "torchvision", "broken", {"torchvision": "0.29.2"}, "two builds", "reinstall")


def test_doctor_is_content_with_what_is_missing(monkeypatch):
    monkeypatch.setattr(doctor, "examine", lambda: iter(FINDINGS))
    result = run("doctor")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "part\tname\tstatus\tfound",
        "core\ttorch\tok\ttorch 2.15.0; built for the CPU",
        "extra\tcli\tmissing\tnot installed: rich",
        'cli: pip install "nda-augment[cli]"',
    ]


def test_doctor_fails_on_what_is_broken(monkeypatch):
    monkeypatch.setattr(doctor, "examine", lambda: iter([*FINDINGS, BROKEN]))
    result = run("doctor", "--json")
    assert result.exit_code == 1
    assert result.stderr.strip() == "broken: torchvision"
    assert json.loads(result.stdout)[2] == {
        "part": "adapter",
        "name": "torchvision",
        "status": "broken",
        "versions": {"torchvision": "0.29.2"},
        "note": "two builds",
        "fix": "reinstall",
    }


def test_a_terminal_gets_a_table_in_colour_and_a_pipe_does_not(monkeypatch):
    monkeypatch.setattr(doctor, "examine", lambda: iter([*FINDINGS, BROKEN]))
    assert "\x1b" not in run("doctor").output
    terminal = shell.console(force_terminal=True, color_system="standard", width=60)
    monkeypatch.setattr(shell, "out", terminal)
    result = CliRunner().invoke(app, ["doctor"], color=True)
    assert "\x1b[" in result.output
    assert "nda-augment[cli]" in result.output
    assert max(map(len, re.sub("\x1b.*?m", "", result.stdout).splitlines())) <= 60
    assert "\t" not in result.output


def test_version():
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"{__version__}\n")


COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_that_is_real_and_the_exit_codes(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert cli.EXIT_CODES in result.stdout
    examples = re.findall(r"Example: nda-augment (\w+)", result.stdout)
    assert examples
    assert set(examples) == {command}
    assert "--json" in result.stdout


def test_help_without_a_command_is_wrong_usage():
    result = run()
    assert result.exit_code == 2
    assert all(command in result.output for command in COMMANDS)
