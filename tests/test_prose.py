"""Docstrings that a reader understands whose English is not native: every argument line begins with a noun phrase."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for folder in ("nda_augment", "adapters", "docs") for path in (ROOT / folder).rglob("*.py"))
SECTIONS = ("Args", "Attributes")
# What no noun phrase begins with. "Whether" may: it is what a switch says.
_NO_NOUN = re.compile(
    r"(Of|How|As|See|In|With|To|From|By|At|On|If|Is|Are|What|Where|When|Which|Who|Whose|Called|Used|Yields|Ends|Takes|"
    r"Does|Has|Give|Also|Up|Per|Like|Not|So|Such|Let|Keep|Scale|Return|Take|Do|Add|Under|Beside|Between)\b"
)
_SHAPE_ALONE = re.compile(r"``\([^`]*``( or ``\([^`]*``)*( in\b|[,;.:]|$)|\W*$")
_WORDS = re.compile(r"\b(beside|anew|is no(?! (longer|more than)))\b", re.IGNORECASE)


def docstrings(path):
    """Yield the documented objects of a file: name, docstring."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield getattr(node, "name", path.stem), text


def arguments(docstring):
    """Yield what a docstring says of each argument and attribute: name, the first words."""
    section = ""
    for line in docstring.splitlines():
        if heading := re.fullmatch(r"(\w+):", line):
            section = heading[1]
        elif section in SECTIONS and (found := re.match(r"    (\*{0,2}\w+): (.*)", line)):
            yield found[1], found[2]


def tiring(path):
    """Return the argument lines of a file that do not begin with a noun phrase."""
    return [
        f"{name}: {argument}: {text}"
        for name, docstring in docstrings(path)
        for argument, text in arguments(docstring)
        if _NO_NOUN.match(text) or _SHAPE_ALONE.match(text)
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_argument_line_begins_with_a_noun_phrase(path):
    assert tiring(path) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_have_no_words_that_readers_stumble_over(path):
    found = [
        f"{name}: ...{text[max(0, m.start() - 20) : m.end() + 20]}..."
        for name, text in docstrings(path)
        for m in _WORDS.finditer(text)
    ]
    assert found == []


@pytest.mark.parametrize(
    "line", ["settings: How.", "weight_decay: Of AdamW.", "labels: ``(B,)``, int64.", "seed: See above."]
)
def test_what_has_no_noun_is_found(tmp_path, line):
    path = tmp_path / "module.py"
    path.write_text(
        f'def f(x):\n    """Do it.\n\n    Args:\n        images: Images ``(B, C)``.\n        {line}\n    """\n'
    )
    assert tiring(path) == [f"f: {line}"]
