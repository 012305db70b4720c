"""The pages of libraries that need no adapter: their snippets run against the real library."""

import doctest
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "adapters"


@pytest.mark.parametrize(
    ("page", "least"), [("pytorch_metric_learning", 12), ("densecl", 15), ("plain_repositories", 8)]
)
def test_snippets_of_the_page_run(page: str, least: int) -> None:
    result = doctest.testfile(str(PAGES / f"{page}.md"), module_relative=False, raise_on_error=False)
    assert result.attempted >= least
    assert result.failed == 0


def test_the_page_of_what_cannot_be_installed_compiles() -> None:
    text = (PAGES / "solo_learn.md").read_text()
    (snippet,) = (part.partition("```")[0] for part in text.split("```python\n")[1:])
    compile(snippet, "solo_learn.md", "exec")
