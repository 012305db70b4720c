import io
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch
from rich.console import Console

import nda_augment as nda
from nda_augment.auditing import save_html, table
from nda_augment.auditing.rendering.page import page
from tests.auditing.data import Pooled


@pytest.fixture(scope="module")
def report():
    torch.manual_seed(0)
    images = torch.rand(160, 3, 16, 16).cumsum(2).cumsum(3) / 256
    return nda.audit(images, {"jigsaw": nda.Jigsaw(), "a <b> & c": lambda x: x.flip(-1)}, encoder=Pooled())


class Outline(HTMLParser):
    """Collects tags and text, and checks that tags close."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_whole_and_needs_nothing_else(report):
    outline = Outline()
    outline.feed(page(report))
    assert outline.open == []
    sources = [attributes["src"] for tag, attributes in outline.tags if tag == "img"]
    assert len(sources) == 2 + 2 * 4 + 4
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not any("href" in attributes and not attributes["href"].startswith("#") for _, attributes in outline.tags)
    text = " ".join(outline.text)
    assert text.index(report.headline()) < text.index("Ranking") < text.index("Each transform")
    assert "a <b> & c" in text
    anchors = {attributes.get("id") for _, attributes in outline.tags}
    assert {attributes["href"][1:] for tag, attributes in outline.tags if tag == "a"} <= anchors
    for check in report["jigsaw"].checks:
        assert check.name in text
        assert check.why in text


def test_it_is_written_where_it_should_be(report, tmp_path):
    path = save_html(report, tmp_path / "deep" / "audit.html")
    assert path == tmp_path / "deep" / "audit.html"
    assert path.read_text(encoding="utf-8") == page(report)


@pytest.mark.parametrize("channels", [1, 2, 3, 5], ids=str)
def test_images_of_any_channels_have_pictures(channels):
    images = torch.rand(150, channels, 70, 90)
    report = nda.audit(images, "jigsaw", encoder=Pooled(), max_images=148)
    assert "data:image/png" in page(report)


def test_json_holds_all_numbers(report):
    found = json.loads(report.to_json())
    assert found["headline"] == report.headline()
    assert found["ranking"] == [row.name for row in report.ranking]
    row = next(row for row in found["rows"] if row["name"] == "jigsaw")
    assert row["measures"]["shift"] == vars(report["jigsaw"].measures.shift)
    assert set(row["measures"]["shift"]) == {"value", "low", "high", "n"}
    assert {check["name"] for check in row["checks"]} == {check.name for check in report["jigsaw"].checks}
    assert "NaN" not in report.to_json()
    assert "Infinity" not in report.to_json()


@pytest.mark.parametrize("width", [60, 180], ids=["narrow", "wide"])
def test_the_table_begins_with_the_verdict(report, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(table(report))
    text = console.file.getvalue()
    assert " ".join(text.split()).startswith(report.headline())
    assert max(map(len, text.splitlines())) <= width
    flat = re.sub(r"\s+", " ", text)
    assert "n = 80 on either side" in flat
    assert report["jigsaw"].reason.split()[0] in flat


def test_the_table_without_rich_names_the_extra(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "nda_augment.auditing.rendering.terminal", None)
    with pytest.raises(ImportError, match=r'pip install "nda-augment\[cli\]"'):
        table(report)


def test_the_page_without_matplotlib_names_the_extra(report, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "nda_augment.auditing.rendering.page", None)
    with pytest.raises(ImportError, match=r'matplotlib and pillow: pip install "nda-augment\[cli\]"'):
        save_html(report, tmp_path / "page.html")


def test_the_headline_says_that_images_were_too_few(report):
    unclear = replace(report, rows=tuple(replace(row, kind="unclear", verdict="warn") for row in report.rows))
    assert unclear.headline().endswith("; 2 too close to call with 160 of them.")
    harmless = replace(unclear, rows=tuple(replace(row, kind="harmless") for row in unclear.rows))
    assert harmless.headline().endswith("none is a clear negative for these images.")


def test_rows_are_found_by_name(report):
    assert report["jigsaw"].name == "jigsaw"
    with pytest.raises(KeyError, match="jigsaw"):
        report["jigsw"]
