"""Applies the patch of docs/adapters/diffusers.md to the script that it is for."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "adapters" / "diffusers.md"


def patch_of(page: str) -> list[tuple[str, str]]:
    """The pieces of a page's diff, as what is there and what is to be there."""
    (diff,) = re.findall(r"```diff\n(.*?)```", page, re.DOTALL)
    pieces = [piece.splitlines() for piece in re.split(r"^ \.\.\.\n", diff, flags=re.MULTILINE)]
    return [
        tuple("".join(f"{line[1:]}\n" for line in lines if line[0] in kept) for kept in (" -", " +"))
        for lines in pieces
    ]


def apply(patch: list[tuple[str, str]], script: str) -> str:
    """Change a script, piece by piece from top to bottom."""
    done = ""
    for before, after in patch:
        start, found, script = script.partition(before)
        assert found, f"the script has no longer\n{before}"
        done += start + after
    return done + script
