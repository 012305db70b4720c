"""The page of every adapter: its snippets run in the real library, and the pictures that it shows are there."""

import doctest
import re
from pathlib import Path
from typing import Any

import pytest

from tests.adapters import test_studiogan, test_stylegan

PAGES = Path(__file__).parents[2] / "docs" / "adapters"
RUN = sorted(page.stem for page in PAGES.glob("*.md") if ">>> " in page.read_text())

# The libraries of pages that are skipped without them, where their name is not that of the page.
LIBRARIES = {
    "albumentations": "albumentations",
    "anomalib": "anomalib",
    "densecl": "lightly",
    "diffusers": "diffusers",
    "lightly": "lightly",
    "plain_repositories": "lightly",
    "pytorch_metric_learning": "pytorch_metric_learning",
    "pytorch_ood": "pytorch_ood",
    "torchvision": "torchvision",
}


importable = test_stylegan.importable  # hides what another checkout left in sys.modules


@pytest.fixture
def names(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What a page takes for given: networks and workers of the code that it is about."""
    page = request.node.callspec.params["page"]
    if page == "studiogan":
        return {"worker": test_studiogan.make_worker(test_studiogan.configured())}
    if page == "stylegan":
        test_stylegan.install(request.getfixturevalue("importable"), "stylegan3", real=False)
        lab = test_stylegan.Lab("stylegan3", real=False)
        return {"networks": {"G": lab.G, "D": lab.D}}
    return {}


@pytest.mark.parametrize("page", RUN)
@pytest.mark.filterwarnings("default")  # of the libraries: what of ours may not warn is tested elsewhere
def test_the_snippets_of_a_page_run(page: str, names: dict[str, Any]) -> None:
    if page in LIBRARIES:
        pytest.importorskip(LIBRARIES[page], reason=f"{LIBRARIES[page]} is not installed")
    result = doctest.testfile(str(PAGES / f"{page}.md"), module_relative=False, raise_on_error=False, globs=names)
    assert result.attempted > 4
    assert result.failed == 0


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_pictures_are_there_and_code_that_is_not_run_compiles(page: Path) -> None:
    text = page.read_text()
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert (page.parent / picture).is_file()
    for snippet in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        if ">>> " not in snippet:
            compile(snippet, page.name, "exec")
