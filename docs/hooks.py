"""Shows on the site what stands outside docs/, and mends the links that lead there.

CONTRIBUTING.md, CHANGELOG.md, the tables of the benchmarks and the pages of the examples stay where they are read in
the repository; the site has them as pages. A link to another file becomes the name of that file: the site
does not know where the repository will be.
"""

import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]

_FENCED = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
_PICTURES = (".jpg", ".png", ".svg", ".gif")


def pages() -> dict[str, str]:
    """Return the pages that stand outside docs/: path in the repository to path on the site."""
    found = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
    found |= {_name(path): _name(path) for path in sorted((ROOT / "benchmarks").glob("*.md"))}
    for path in sorted((ROOT / "examples").glob("*/README.md")):
        found[_name(path)] = f"examples/{path.parent.name}.md"
    return found


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
    return "".join(part if part.startswith("```") else _LINK.sub(mend, part) for part in parts)


def _on_site(path: str, files: Files) -> str | None:
    for candidate in (pages().get(path), pages().get(f"{path}/README.md"), path.removeprefix("docs/"), path):
        if candidate and files.get_file_from_path(candidate):
            return candidate
    return None


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
