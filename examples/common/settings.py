"""Settings of a training: sections of keys with defaults, changed by a YAML file and by ``SECTION.key=value`` words.

A config is a dataclass whose fields are sections, dataclasses themselves. What a key is, of which type, and what its
values may be stands on its field and nowhere else; what does not go together stands in ``check`` of the section or of
the config. Whatever does not fit is an error that names the key and what would be right.
"""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from nda_augment._files import write_text


class ConfigError(ValueError):
    """A setting names something that does not exist, or has a value that cannot be."""


@dataclass(frozen=True)
class Bounds:
    """The numbers that a key may have: from ``least`` to ``most``, the ends left out where they are open."""

    least: float = -math.inf
    most: float = math.inf
    open_least: bool = False
    open_most: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number is within; NaN never is."""
        above = self.least < value if self.open_least else self.least <= value
        return above and (value < self.most if self.open_most else value <= self.most)

    def __str__(self) -> str:
        if self.most == math.inf:
            return f"{'above' if self.open_least else 'at least'} {self.least}"
        return f"in {'[('[self.open_least]}{self.least}, {self.most}{'])'[self.open_most]}"


def at_least(default: float, least: float) -> Any:
    """A number of ``least`` or more."""
    return field(default=default, metadata={"bounds": Bounds(least)})


def positive(default: float) -> Any:
    """A number above 0."""
    return field(default=default, metadata={"bounds": Bounds(0, open_least=True)})


def share(default: float, *, zero: bool = True, whole: bool = True) -> Any:
    """A number in [0, 1], without an end where it says so."""
    return field(default=default, metadata={"bounds": Bounds(0, 1, not zero, not whole)})


def one_of(default: Any, choices: Iterable[Any]) -> Any:
    """One of several words or numbers."""
    return field(default=default, metadata={"choices": tuple(choices)})


class Section:
    """Keys and values, a dataclass."""

    def check(self) -> None:
        """Refuse values that do not go together, with a :class:`ConfigError`."""


class Settings:
    """A config: a dataclass of sections."""

    @classmethod
    def load(cls, path: Path | None = None, overrides: Sequence[str] = ()) -> Self:
        """Read a config: the defaults, changed by a YAML file, changed by words such as ``RUN.seed=1``.

        Raises:
            ConfigError: If a key is unknown (the nearest known one is named), a value has the wrong type or is out of
                range, some do not go together, or the file cannot be read.
        """
        merged = OmegaConf.structured(cls)
        known = flat(cls())
        try:
            changes = [OmegaConf.load(path)] if path else []
            changes += [_parse(word) for word in overrides]
            for change in changes:
                understood = cls.understood(_sections(OmegaConf.to_container(change), known), known)
                _check_keys(understood, known)
                merged = OmegaConf.merge(merged, OmegaConf.create(understood))
            config = cast(Self, OmegaConf.to_object(merged))
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path} is not a text file") from error
        except (OSError, YAMLError, OmegaConfBaseException) as error:
            raise ConfigError(str(error)) from error
        _check_values(config)
        config.check()
        return config

    @classmethod
    def understood(cls, said: dict[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
        """Say in this config's words what a file says in those of another program; here, nothing is said in others."""
        return said

    def check(self) -> None:
        """Refuse values of several sections that do not go together, with a :class:`ConfigError`."""

    def save(self, path: Path) -> None:
        """Write the YAML file that :meth:`load` reads."""
        write_text(to_yaml(self), path)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Sections of plain values."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]  # what derives from it is a dataclass


def to_yaml(config: Any) -> str:
    """Return a config as the text of a file that :meth:`Settings.load` reads."""
    return OmegaConf.to_yaml(OmegaConf.create(asdict(config)))


def flat(config: Any) -> dict[str, Any]:
    """Return the values of a config by their full keys, ``SECTION.key``."""
    return flatten(asdict(config))


def differences(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, str]:
    """Say by key how flat settings differ from earlier ones."""
    return {
        key: f"was {theirs.get(key)!r}, now {mine.get(key)!r}"
        for key in sorted(mine.keys() | theirs.keys())
        if mine.get(key) != theirs.get(key)
    }


def flatten(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the values of sections by their full keys, ``SECTION.key``."""
    return {f"{section}.{key}": value for section, values in sections.items() for key, value in values.items()}


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that is most like ``word``."""
    return max(known, key=lambda other: difflib.SequenceMatcher(None, word.lower(), other.lower()).ratio())


def _check_values(config: Any) -> None:
    for place in fields(config):
        values = getattr(config, place.name)
        for each in fields(values):
            _check_value(f"{place.name}.{each.name}", getattr(values, each.name), each.metadata)
        if isinstance(values, Section):
            values.check()


def _check_value(key: str, value: Any, allowed: Mapping[str, Any]) -> None:
    bounds, choices = allowed.get("bounds"), allowed.get("choices")
    if bounds is not None and not bounds.holds(value):
        raise ConfigError(f"{key} must be {bounds}, got {value}")
    if choices is not None and value not in choices:
        hint = f"; did you mean {nearest(value, choices)!r}?" if isinstance(value, str) else ""
        raise ConfigError(f"{key} must be one of {', '.join(map(str, choices))}, got {value!r}{hint}")


def _parse(word: str) -> Any:
    if "=" not in word:
        raise ConfigError(f"{word!r} is no override; write SECTION.key=value, such as RUN.seed=1")
    return OmegaConf.from_dotlist([word])


def _sections(change: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    sections = list(dict.fromkeys(key.split(".")[0] for key in known))
    if not isinstance(change, dict) or not all(isinstance(v, dict) for k, v in change.items() if k in sections):
        raise ConfigError(f"a config is made of the sections {', '.join(sections)}, each with keys and values")
    return change


def _check_keys(change: dict[str, Any], known: Mapping[str, Any]) -> None:
    for key in _keys(change):
        if key not in known:
            raise ConfigError(f"unknown key {key!r}; the nearest known one is {nearest(key, known)!r}")


def _keys(change: dict[Any, Any]) -> Iterator[str]:
    for section, values in change.items():
        if isinstance(values, dict) and values:
            yield from (f"{section}.{key}" for key in values)
        else:
            yield str(section)
