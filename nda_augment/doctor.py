"""What is installed with this package, whether it loads, and how to mend what does not.

Needs packaging: ``pip install "nda-augment[cli]"``.
"""

import importlib
import pkgutil
import platform
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import torch
from packaging.requirements import Requirement

import nda_augment.adapters as adapters

Status = Literal["ok", "missing", "broken"]

EXTRAS = ("cli", "examples", "numba")
"""The extras that are no adapter's and that users install."""

# Distributions that put themselves in another one's place, under the same import name.
_RIVALS = {"albumentations": "albumentationsx"}


@dataclass(frozen=True)
class Finding:
    """What was found of one part of the installation.

    Attributes:
        part: ``"core"``, ``"adapter"`` or ``"extra"``.
        name: Name of the library, the adapter or the extra.
        status: ``"ok"``; ``"missing"``: not installed; ``"broken"``: installed, and does not work.
        versions: Distribution to its version, of those that are there.
        note: Remark; for a broken part, what is wrong.
        fix: Command that mends it, empty if nothing is to be done.
    """

    part: Literal["core", "adapter", "extra"]
    name: str
    status: Status
    versions: dict[str, str]
    note: str = ""
    fix: str = ""


def examine() -> Iterator[Finding]:
    """Look at Python, torch, kornia, every adapter and the extras, one after another.

    Every adapter is imported, since a library that is there may still not load.

    Yields:
        One finding per part.

    Raises:
        importlib.metadata.PackageNotFoundError: If this package is on the path but not installed.

    Example:
        >>> findings = examine()
        >>> next(findings).name, next(findings).name, next(findings).name
        ('python', 'nda-augment', 'torch')
    """
    yield Finding("core", "python", "ok", {"python": platform.python_version()}, platform.platform())
    yield Finding("core", "nda-augment", "ok", {"nda-augment": metadata.version("nda-augment")})
    for requirement in requirements():
        note = _device() if requirement.name == "torch" else ""
        yield _installed("core", requirement.name, [requirement], str(requirement), note)
    for module in pkgutil.iter_modules(adapters.__path__):
        if not module.name.startswith("_"):
            yield _adapter(module.name)
    for extra in EXTRAS:
        yield _installed("extra", extra, requirements(extra), _with_extra(extra))


def requirements(extra: str = "") -> list[Requirement]:
    """Return what this package requires of others, or what one of its extras adds.

    Args:
        extra: Name of an extra; of the core if empty.

    Returns:
        Requirements with their version ranges; none for an extra that does not exist.

    Example:
        >>> [requirement.name for requirement in requirements()]
        ['torch', 'kornia']
    """
    found = []
    for line in metadata.requires("nda-augment") or []:
        requirement = Requirement(line)
        marker, requirement.marker = requirement.marker, None
        if marker is None:
            if not extra:
                found.append(requirement)
        elif extra and marker.evaluate({"extra": extra}):
            found.append(requirement)
    return found


def _installed(
    part: Literal["core", "adapter", "extra"], name: str, needed: list[Requirement], fix: str, note: str = ""
) -> Finding:
    """Compare the versions that are installed with those that are needed."""
    versions = {requirement.name: version for requirement in needed if (version := _version(requirement.name))}
    missing = [requirement.name for requirement in needed if requirement.name not in versions]
    if missing:
        absent = "" if missing == [name] else f"not installed: {', '.join(missing)}"
        return Finding(part, name, "missing", versions, absent, _install(fix))
    wrong = [one for one in needed if not one.specifier.contains(versions[one.name], prereleases=True)]
    if wrong:
        note = "; ".join(f"{one.name} {versions[one.name]} is outside {one.specifier}" for one in wrong)
        return Finding(part, name, "broken", versions, note, _install(*map(str, wrong)))
    return Finding(part, name, "ok", versions, note)


def _adapter(name: str) -> Finding:
    found = _installed("adapter", name, requirements(name.replace("_", "-")), _with_extra(name))
    rival = _RIVALS.get(name, "")
    if version := _version(rival):
        note = f"AlbumentationsX {version} imports under the same name, with other hooks for custom transforms"
        fix = f"pip uninstall {rival} && pip install --force-reinstall {_quoted(*map(str, requirements(name)))}"
        return Finding("adapter", name, "broken", {**found.versions, rival: version}, note, fix)
    if found.status != "ok":
        return found
    try:
        with _quietly():
            importlib.import_module(f"{adapters.__name__}.{name}")
    # A library that is broken may raise anything while it loads; it is named here, and nothing is hidden.
    except Exception as error:
        status: Status = "missing" if isinstance(_origin(error), ModuleNotFoundError) else "broken"
        note, fix = _builds_that_differ() or (_first_line(error), _advice(error) or _install(_with_extra(name)))
        return Finding("adapter", name, status, found.versions, note, fix)
    return found


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _origin(error: BaseException) -> BaseException:
    return _origin(error.__cause__) if error.__cause__ else error


def _advice(error: Exception) -> str:
    """Return the command that the error of an adapter names."""
    match = re.search(r"pip install .+", str(error))
    return match[0] if match else ""


def _builds_that_differ() -> tuple[str, str] | None:
    """Return what is wrong and how to mend it, if torch and torchvision were built for different devices."""
    own, other = _build(torch.__version__), _build(_torchvision())
    if not own or not other or own == other:
        return None
    return (
        f"torch is built for {own} and torchvision for {other}",
        "pip uninstall torch torchvision, then install both in one command, from the same index",
    )


def _build(version: str) -> str:
    """Return what a version of torch or torchvision was built for: ``"cpu"``, ``"cu132"``; empty if it does not say."""
    return version.partition("+")[2]


def _torchvision() -> str:
    """Return torchvision's version as its files have it, with the build; it may not be importable."""
    try:
        file = Path(str(metadata.distribution("torchvision").locate_file("torchvision/version.py")))
    except metadata.PackageNotFoundError:
        return ""
    match = re.search(r"__version__ = ['\"](.+?)['\"]", file.read_text(encoding="utf-8")) if file.is_file() else None
    return match[1] if match else ""


def _device() -> str:
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {torch.version.hip}"
    if not (torch.version.cuda or torch.version.hip):
        return "built for the CPU, and MPS" if torch.backends.mps.is_available() else "built for the CPU"
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return f"built for {built}; {', '.join(names) or 'no device is visible'}"


def _version(distribution: str) -> str:
    if not distribution:
        return ""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _with_extra(extra: str) -> str:
    return f"nda-augment[{extra.replace('_', '-')}]"


def _install(*requirements: str) -> str:
    return f"pip install {_quoted(*requirements)}"


def _quoted(*requirements: str) -> str:
    return " ".join(f'"{requirement}"' for requirement in requirements)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep what libraries say while they load out of a report that programs read."""
    with warnings.catch_warnings(), redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        yield
