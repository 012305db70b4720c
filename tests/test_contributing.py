"""CONTRIBUTING's walk, walked: its negative is written into a copy of the project, and suites and pages take it up."""

import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# What `python -m docs.build` writes of a new negative, without the pictures and the table of what works with what.
PAGES = """
from docs.negatives import family_page, gallery, table
from nda_augment.registry import NEGATIVES
assert "| `mirror` | `Mirror` | one half of the scene |" in table()
assert "## Mirror" in family_page("geometry")
assert f"All [{len(NEGATIVES)} negatives]" in gallery()
"""


def snippets(until):
    """The code of CONTRIBUTING up to the example that begins so, that one included."""
    for example in doctest.DocTestParser().get_examples((ROOT / "CONTRIBUTING.md").read_text()):
        if not example.want:
            yield example.source
        if example.source.startswith(until):
            return


def write(folder, name, code):
    """Add a file with a public name to a folder of the package, and its line to the ``__init__.py`` beside it."""
    (folder / "mirror.py").write_text(f'__all__ = ["{name}"]\n\n{code}')
    init = folder / "__init__.py"
    package, lines = f"nda_augment.{folder.name}", init.read_text()
    line = f"from {package}.geometry import *\n"
    assert line in lines
    init.write_text(lines.replace(line, f"{line}from {package}.mirror import *\n"))


def test_a_negative_is_added_as_it_says(tmp_path):
    for part in ("nda_augment", "docs", "examples", "tests"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / part, tmp_path / part)
    kernel, everything = "".join(snippets("def mirror")), "".join(snippets("class Mirror"))
    write(tmp_path / "nda_augment" / "functional", "mirror", kernel)
    imported = "from nda_augment.functional.mirror import mirror\n"
    write(tmp_path / "nda_augment" / "transforms", "Mirror", imported + everything.removeprefix(kernel))

    def run(*arguments):
        command = [sys.executable, *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    run("-c", PAGES)
    suite = [
        "tests/test_guarantees.py",
        "tests/test_registry.py",
        "-k",
        "mirror and not compil",
        "-p",
        "no:cacheprovider",
    ]
    passed = re.search(r"(\d+) passed", run("-m", "pytest", "-q", *suite))
    assert int(passed[1]) > 25
