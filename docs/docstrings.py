"""Brings the docstrings into the form that the reference reads: roles as links, and examples as a section of code."""

import re
from collections.abc import Iterator
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^(\s*)Example:$", re.MULTILINE)
_ROLE = re.compile(r":(?:class|func|meth|mod|attr):`(~?)([\w.]+)`")


class Docstrings(griffe.Extension):
    """Rewrites every docstring of a package once it is read."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Change the docstrings of a package's objects."""
        for obj in _objects(pkg):
            if obj.docstring:
                text = _ROLE.sub(lambda match, obj=obj: _link(match, obj), obj.docstring.value)  # type: ignore[misc]
                obj.docstring.value = _EXAMPLE.sub(r"\1Examples:", text.replace("``", "`"))


def _objects(obj: griffe.Object) -> Iterator[griffe.Object]:
    yield obj
    for member in obj.members.values():
        if isinstance(member, griffe.Object):
            yield from _objects(member)


def _link(match: re.Match[str], obj: griffe.Object) -> str:
    """Write a role as a link to what it names, or as code where the site does not show that."""
    short, name = match.groups()
    shown = name.rpartition(".")[2] if short else name
    return f'<autoref identifier="{target(name, obj)}" optional>`{shown}`</autoref>'


def target(name: str, obj: griffe.Object) -> str:
    """Return the full name of what a docstring of ``obj`` names: in its class, in its module, or everywhere."""
    first, _, rest = name.partition(".")
    if first == obj.package.name:
        return name
    try:
        found = obj.resolve(first)
    except griffe.NameResolutionError:
        return name
    return f"{found}.{rest}" if rest else found
