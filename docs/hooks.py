"""Shows on the site what stands outside docs/, mends the links that lead there, and completes the navigation.

CONTRIBUTING.md, CHANGELOG.md, the tables of the benchmarks and the pages of the examples stay where they are read in
the repository; the site has them as pages. A link to another file becomes the name of that file: the site
does not know where the repository will be.
"""

import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS = Path(__file__).parent
ROOT = DOCS.parent

_FENCED = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
_IN_A_NUMBER = re.compile(r"(?<=\d) (?=[±%])|(?<=±) (?=\d)")
_PICTURES = (".jpg", ".png", ".svg", ".gif")


def pages() -> dict[str, str]:
    """Return the pages that stand outside docs/: path in the repository to path on the site."""
    found = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
    found |= {_name(path): _name(path) for path in sorted((ROOT / "benchmarks").glob("*.md"))}
    for path in sorted((ROOT / "examples").glob("*/README.md")):
        found[_name(path)] = f"examples/{path.parent.name}.md"
    return found


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let a folder in the navigation stand for its pages that are named nowhere else in it."""
    config.nav = expand(config.nav or [])
    return config


def expand(nav: list[Any]) -> list[Any]:
    """Return a navigation with its folders replaced by their pages."""
    known = {*pages().values(), *(_name(path).removeprefix("docs/") for path in DOCS.rglob("*.md"))}
    unnamed = sorted(known - set(leaves(nav)))

    def spread(nodes: list[Any]) -> Iterator[Any]:
        for node in nodes:
            if isinstance(node, dict):
                yield {title: below if isinstance(below, str) else list(spread(below)) for title, below in node.items()}
            elif node.endswith("/"):
                yield from (page for page in unnamed if posixpath.dirname(page) == node.rstrip("/"))
            else:
                yield node

    return list(spread(nav))


def leaves(nav: Any) -> Iterator[str]:
    """Yield the pages and folders that a navigation names."""
    if isinstance(nav, str):
        yield nav
    else:
        for node in nav.values() if isinstance(nav, dict) else nav:
            yield from leaves(node)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that stand outside docs/, and the pictures that they show."""
    for source, target in pages().items():
        files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
        for _, _, link, _ in _LINK.findall((ROOT / source).read_text(encoding="utf-8")):
            picture = ROOT / Path(source).parent / link
            if picture.suffix in _PICTURES and picture.is_file():
                path = _name(Path(os.path.normpath(picture)))
                if not path.startswith("docs/"):
                    files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to where their targets are on the site."""
    here = page.file.src_uri
    sources = {target: source for source, target in pages().items()}
    source = sources.get(here, f"docs/{here}")

    def mend(match: re.Match[str]) -> str:
        mark, text, link, anchor = match.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
        if "://" in link or not (ROOT / path).exists():
            return match[0]
        target = _on_site(path, files)
        if target is None:
            return text if path in text else f"{text} (`{path}`)"
        return f"{mark}[{text}]({posixpath.relpath(target, posixpath.dirname(here) or '.')}{anchor or ''})"

    parts = _FENCED.split(markdown)
    return "".join(part if part.startswith("```") else _together(_LINK.sub(mend, part)) for part in parts)


def _together(text: str) -> str:
    """Keep a number, its spread and its unit on one line."""
    return _IN_A_NUMBER.sub("\N{NO-BREAK SPACE}", text)


def _on_site(path: str, files: Files) -> str | None:
    for candidate in (pages().get(path), pages().get(f"{path}/README.md"), path.removeprefix("docs/"), path):
        if candidate and files.get_file_from_path(candidate):
            return candidate
    return None


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
