"""Brings the docstrings into the form that the reference reads: no roles, and examples as a section of code."""

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^(\s*)Example:$", re.MULTILINE)
_ROLE = re.compile(r":(?:class|func|meth|mod|attr):`(~?)([\w.]+)`")


class Docstrings(griffe.Extension):
    """Rewrites every docstring as it is read."""

    def on_instance(self, *, node: Any, obj: griffe.Object, **kwargs: Any) -> None:
        """Change the docstring of an object."""
        if obj.docstring:
            text = _ROLE.sub(_code, obj.docstring.value).replace("``", "`")
            obj.docstring.value = _EXAMPLE.sub(r"\1Examples:", text)


def _code(match: re.Match[str]) -> str:
    return f"`{match[2].rpartition('.')[2] if match[1] else match[2]}`"
