"""How a detector was built, in plain values: what a state belongs to, and what a saved detector is built from again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

_KIND = "module"
_HOUSES = ("nda_augment.anomaly.", "nda_augment.transforms.", "nda_augment._networks")


def recipe(value: Any) -> Any:
    """Return a value as JSON holds it; of a module its kind and, where it knows them, the constructor's arguments."""
    if isinstance(value, nn.Module):
        arguments = getattr(value, "arguments", None)
        return {_KIND: type(value).__name__, **({} if arguments is None else recipe(arguments()))}
    if isinstance(value, Mapping):
        return {str(name): recipe(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [recipe(each) for each in value]
    if value is None or isinstance(value, str | int | float):
        return value
    return repr(value)


def build(plan: Any, where: str, given: Mapping[str, Any]) -> Any:
    """Build what :func:`recipe` describes.

    Args:
        plan: The description.
        where: Name of the argument that it is, for the error.
        given: Modules that are there already, by the name of the argument.

    Raises:
        ValueError: If a module is of a kind that this package does not know, and is not given.
    """
    if isinstance(plan, list):
        return tuple(build(each, where, given) for each in plan)
    if not isinstance(plan, dict):
        return plan
    arguments = {name: given[name] if name in given else build(each, name, given) for name, each in plan.items()}
    kind = arguments.pop(_KIND)
    cls = _known().get(kind)
    if cls is None:
        raise ValueError(
            f"{where} is a {kind}, which is none of this package's; pass one that is built alike: {where}="
        )
    return cls(**arguments)


def names_in(plan: Any) -> set[str]:
    """Return the names of all arguments in a recipe."""
    parts = plan.values() if isinstance(plan, dict) else plan if isinstance(plan, list) else ()
    own = plan.keys() - {_KIND} if isinstance(plan, dict) else set()
    return own.union(*map(names_in, parts))


def as_tensor(plan: Any) -> Tensor:
    """Return a recipe as the bytes of its JSON, which any format of states can hold."""
    return torch.frombuffer(bytearray(json.dumps(plan).encode()), dtype=torch.uint8)


def from_tensor(state: Tensor) -> Any:
    """Return the recipe of such bytes."""
    return json.loads(bytes(state.tolist()).decode())


def differences(found: Any, wanted: Any, name: str = "") -> list[str]:
    """Name what is not the same in two recipes."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        names = sorted(found.keys() | wanted.keys())
        nested = [differences(found.get(each), wanted.get(each), f"{name}.{each}".strip(".")) for each in names]
        return [difference for part in nested for difference in part]
    return [] if found == wanted else [f"{name}: {found!r} there, {wanted!r} here"]


def _known() -> dict[str, Any]:
    """Return the modules of this package by name; found among those that are loaded, since they import this module."""
    found: dict[str, Any] = {}
    below = nn.Module.__subclasses__()
    while below:
        cls = below.pop()
        below += cls.__subclasses__()
        if cls.__module__.startswith(_HOUSES) and not cls.__name__.startswith("_"):
            found[cls.__name__] = cls
    return found


def as_path(path: str | Path) -> Path:
    """Return a path whose folder is there."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
