"""Imports of the package go down only: no module imports one that imports it, not even inside a function."""

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def imports(folders: dict[str, Path]) -> dict[str, set[str]]:
    """Return module to the modules of the same packages that it imports, anywhere in its text."""
    files = {
        ".".join((package, *path.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__"): path
        for package, folder in folders.items()
        for path in folder.rglob("*.py")
    }
    return {name: set(_named(ast.parse(path.read_text()), files)) - {name} for name, path in files.items()}


def _named(tree, known):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                yield below if below in known else node.module


def circle(graph):
    """Return a circle of modules, or nothing."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_there_is_no_circle():
    graph = imports({"nda_augment": ROOT / "nda_augment", "nda_augment.adapters": ROOT / "adapters"})
    assert "nda_augment.auditing" in graph["nda_augment"]
    assert circle(graph) == []


@pytest.mark.parametrize("where", ["", "def f():\n    "], ids=["at the top", "in a function"])
def test_a_circle_is_found(tmp_path, where):
    (tmp_path / "below").mkdir()
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "first.py").write_text("import house.below.second")
    (tmp_path / "below" / "second.py").write_text(f"{where}from house import first")
    assert set(circle(imports({"house": tmp_path}))) == {"house.first", "house.below.second"}


def test_report_is_below_measuring_and_rendering():
    graph = imports({"nda_augment": ROOT / "nda_augment"})

    def reached(name):
        return graph[name].union(*map(reached, graph[name]))

    assert not any("auditing" in name for name in reached("nda_augment.auditing.report"))
    measuring = reached("nda_augment.auditing.measuring.comparison")
    assert not any("rendering" in name or "verdicts" in name for name in measuring)
    assert not any("measuring" in name for name in reached("nda_augment.auditing.rendering.page"))
