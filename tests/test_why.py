"""The page that says why: every test it names is there, every number it quotes is on the page it links to."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "why.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::([\w:]+)(?:\[([\w-]+)\])?`", PAGE)
ROWS = re.findall(r"^\| .*?\]\((results/[\w]+\.md)\).*? \| (.*?) \|", PAGE, re.MULTILINE)


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


def test_every_row_of_numbers_links_to_its_page():
    table = PAGE.split("## Our numbers")[1].split("## ")[0]
    assert len(ROWS) == sum(line.startswith("| ") for line in table.splitlines()) - 2


@pytest.mark.parametrize(("page", "numbers"), ROWS, ids=lambda word: word[:20])
def test_the_numbers_are_those_of_the_page(page, numbers):
    quoted = re.findall(r"[−+]?[\d.]+ ± [\d.]+", numbers)
    assert quoted
    found = (ROOT / "docs" / page).read_text()
    assert [number for number in quoted if number not in found] == []
