import doctest
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "adapters"


@pytest.mark.parametrize("page", ["torchvision", "albumentations"])
def test_snippets_of_the_page_run_and_its_picture_is_there(page: str) -> None:
    result = doctest.testfile(str(PAGES / f"{page}.md"), module_relative=False, raise_on_error=False)
    assert result.attempted > 5
    assert result.failed == 0
    assert f"]({page}.jpg)" in (PAGES / f"{page}.md").read_text()
    assert (PAGES / f"{page}.jpg").is_file()
