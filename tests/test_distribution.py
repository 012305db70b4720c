"""What is in the wheel and in the source distribution. `make test-wheel` installs them into empty environments."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from nda_augment._version import __version__

ROOT = Path(__file__).parents[1]
FOLDERS = ("adapters", "benchmarks", "docs", "examples", "nda_augment", "tests")
FILES = (
    ".pre-commit-config.yaml", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in", "Makefile",
    "README.md", "mkdocs.yml", "pyproject.toml",
)  # fmt: skip
TEMPLATES = list((ROOT / "nda_augment").rglob("*.html"))
BUILD = "import sys; from setuptools.build_meta import build_sdist, build_wheel; build_sdist('{0}'); build_wheel('{0}')"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build both in a copy, so that no old build leaks into a new one."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder, ignore=unwanted)
    for file in FILES:
        shutil.copy(ROOT / file, source)
    command = [sys.executable, "-W", "ignore", "-c", BUILD.format(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def wheel(built):
    with zipfile.ZipFile(built / f"nda_augment-{__version__}-py3-none-any.whl") as file:
        yield file


@pytest.fixture(scope="module")
def sdist(built):
    with tarfile.open(built / f"nda_augment-{__version__}.tar.gz") as file:
        yield file


def modules(folder):
    return {path.relative_to(ROOT / folder).as_posix() for path in (ROOT / folder).rglob("*.py")}


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    expected = {f"nda_augment/{path}" for path in modules("nda_augment")}
    expected |= {f"nda_augment/adapters/{path}" for path in modules("adapters")}
    expected |= {f"nda_augment/{path.relative_to(ROOT / 'nda_augment')}" for path in TEMPLATES}
    expected.add("nda_augment/py.typed")
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == expected


def test_the_wheel_says_what_it_is(wheel):
    folder = f"nda_augment-{__version__}.dist-info"
    metadata = message_from_string(wheel.read(f"{folder}/METADATA").decode())
    assert (metadata["Name"], metadata["Version"]) == ("nda-augment", __version__)
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (ROOT / "README.md").read_text()
    assert "nda-augment = nda_augment.__main__:main" in wheel.read(f"{folder}/entry_points.txt").decode()
    assert wheel.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_the_source_distribution_is_enough_to_test_it(sdist):
    held = {name.partition("/")[2] for name in sdist.getnames()}
    assert held >= set(FILES)
    for folder in FOLDERS:
        files = {path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        assert held >= {path.relative_to(ROOT).as_posix() for path in files}


def test_the_source_distribution_holds_nothing_that_is_made(sdist):
    held = [name.partition("/")[2] for name in sdist.getnames()]
    own = {"PKG-INFO", "setup.cfg", *FILES}  # setuptools writes the first two
    strangers = [name for name in held if name and name not in own and name.split("/")[0] not in FOLDERS]
    assert {name.split("/")[0] for name in strangers} <= {"nda_augment.egg-info"}
    assert not [name for name in held if "__pycache__" in name or name.endswith(".pyc")]
    assert sum(member.size for member in sdist.getmembers()) < 8e6


def test_both_pass_the_check_of_the_index(built):
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, built.iterdir())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_tests_that_a_command_or_a_setting_names_are_there():
    commands = subprocess.run(
        ["make", "--dry-run", "--always-make", "test-lowest"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    mutants = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
    named = {*re.findall(r"\stests/\S+", commands), *mutants["pytest_add_cli_args_test_selection"]}
    assert len(named) > 15
    for path, _, test in (name.strip().partition("::") for name in named):
        assert (ROOT / path).exists(), path
        assert f"def {test}" in (ROOT / path).read_text() if test else True, test
