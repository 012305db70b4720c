"""The page that says why: every test it names must be there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::([\w:]+)(?:\[([\w-]+)\])?`", (ROOT / "docs" / "why.md").read_text())


def names(path: Path) -> set[str]:
    """Functions of a module, and methods as ``Class::method``."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return found


def test_it_names_tests():
    assert len(NAMED) >= 10


@pytest.mark.parametrize(("path", "name", "part"), NAMED, ids=lambda word: word or "all")
def test_the_test_is_there(path, name, part):
    assert name in names(ROOT / path)
    assert name.rpartition("::")[2].startswith("test_")
    # A part of the guarantees is a property by name.
    assert not part or part in names(ROOT / "tests" / "properties.py")
