"""The pages of the docs: their snippets run, what is written by a program is current, and the site builds strictly."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from docs import hooks, negatives, support
from nda_augment.registry import NEGATIVES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Those of the adapters are run by the tests of the adapters.
PAGES = [*DOCS.glob("*.md"), *(DOCS / "start").glob("*.md"), ROOT / "CONTRIBUTING.md"]
WITH_SNIPPETS = sorted(str(page.relative_to(ROOT)) for page in PAGES if ">>> " in page.read_text())


@pytest.mark.parametrize("page", WITH_SNIPPETS)
@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # of Lightning, about this machine
def test_the_snippets_of_a_page_run(page):
    result = doctest.testfile(str(ROOT / page), module_relative=False, raise_on_error=False)
    assert result.attempted > 1
    assert result.failed == 0


def test_there_are_five_minutes_for_each_kind_of_user():
    uses = ("gan", "contrastive", "diffusion", "anomaly", "augmentation")
    assert {f"docs/start/{use}.md" for use in uses} <= set(WITH_SNIPPETS)


@pytest.mark.parametrize("family", negatives.FAMILIES)
def test_the_page_of_a_family_is_that_of_the_registry(family):
    page = DOCS / "transforms" / f"{family}.md"
    assert page.read_text() == negatives.family_page(family), "run `python -m docs.build`"


def test_the_first_page_shows_every_family():
    assert (DOCS / "index.md").read_text().endswith(negatives.gallery()), "run `python -m docs.build`"


def test_every_argument_is_explained():
    for negative in NEGATIVES:
        assert set(negatives.arguments(negative)) == set(negative.defaults()), negative.word


def test_the_table_of_what_works_has_a_row_for_every_negative_and_explains_every_failure():
    page = (DOCS / "support.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE)
    assert [word for word, _ in rows] == [negative.word for negative in NEGATIVES], "run `python -m docs.build`"
    cells = [cell for _, row in rows for cell in row.split(" | ")]
    assert len(cells) == len(NEGATIVES) * len(support.ATTEMPTS)
    explained = re.findall(r"^(\d+)\. ", page, re.MULTILINE)
    assert {cell for cell in cells if cell != "✓"} == set(explained)


@pytest.mark.parametrize("word", ["jigsaw", "stitch", "randomfieldcolor"])
def test_the_table_of_what_works_is_true(word):
    (negative,) = (negative for negative in NEGATIVES if negative.word == word)
    attempts = {name: attempt for name, attempt in support.ATTEMPTS.items() if not name.startswith("compile")}
    reasons = []
    works = [support._cell(negative, attempt, reasons) == "✓" for attempt in attempts.values()]
    (row,) = re.findall(rf"^\| `{word}` \| (.*) \|$", (DOCS / "support.md").read_text(), re.MULTILINE)
    assert works == [cell == "✓" for cell in row.split(" | ")[: len(works)]], "run `python -m docs.build`"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_builds_strictly_with_all_its_pages(site):
    assert (site / "index.html").is_file()
    for target in hooks.pages().values():
        assert (site / target.removesuffix(".md") / "index.html").is_file(), target
    assert not list(site.rglob("*.py"))


def test_the_site_loads_nothing_from_elsewhere(site):
    loads = re.compile(r"<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\"'\s>]+)")
    for page in site.rglob("*.html"):
        assert not loads.findall(page.read_text()), page.relative_to(site)
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:@import\s+[\"']|url\([\"']?)(?:https?:)?//", sheet.read_text()), sheet


def test_what_a_docstring_names_is_a_link_to_it(site):
    losses = (site / "reference" / "losses" / "index.html").read_text()
    assert re.search(r'href="#nda_augment\.losses\.discriminator_loss"[^>]*><code>discriminator_loss</code>', losses)
    audit = (site / "reference" / "audit" / "index.html").read_text()
    assert re.search(r'href="#nda_augment\.auditing\.audit"[^>]*><code>nda_augment\.audit</code>', audit)
    for page in (site / "reference").rglob("*.html"):
        assert ":class:" not in page.read_text()
        assert "<autoref" not in page.read_text()


def test_links_out_of_the_docs_become_names_of_files(site):
    page = (site / "results" / "contrastive" / "index.html").read_text()
    assert 'href="../../examples/contrastive/"' in page
    assert "cifar10-small.yaml (<code>examples/contrastive/configs/cifar10-small.yaml</code>)" in page


def test_a_number_and_its_spread_stay_together(site):
    page = (site / "results" / "anomaly" / "index.html").read_text()
    assert "74.5\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}0.7" in page


NAV = yaml.load((ROOT / "mkdocs.yml").read_text(), yaml.BaseLoader)["nav"]


def test_every_page_can_be_found():
    listed = sorted(hooks.leaves(hooks.expand(NAV)))
    there = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} | set(hooks.pages().values())
    assert listed == sorted(there)


def test_a_folder_in_the_navigation_stands_for_its_pages_that_are_named_nowhere_else():
    (adapters,) = hooks.expand([{"Adapters": ["adapters/", {"A function": "adapters/functional.md"}]}])
    *others, named = adapters["Adapters"]
    assert named == {"A function": "adapters/functional.md"}
    assert "adapters/lightly.md" in others
    assert "adapters/functional.md" not in others
    assert not [page for page in others if not page.startswith("adapters/")]
