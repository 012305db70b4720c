"""Settings of a training: sections of keys with defaults, changed by a YAML file and by ``SECTION.key=value`` words.

A config is a dataclass whose fields are sections, dataclasses themselves; what its keys are and of which type is said
there and nowhere else. Whatever does not fit is an error that names the key and what would be right.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

Schema = TypeVar("Schema")


class ConfigError(ValueError):
    """A config names something that does not exist, or gives it a value that cannot be."""


def load(schema: type[Schema], path: Path | None = None, overrides: Sequence[str] = ()) -> Schema:
    """Read a config: the defaults of ``schema``, changed by a YAML file, changed by words such as ``RUN.seed=1``.

    Raises:
        ConfigError: If a key is unknown (the nearest known one is named), a value has the wrong type, or the file
            cannot be read.
    """
    merged = OmegaConf.structured(schema)
    known = flat(schema())
    try:
        changes = [OmegaConf.load(path)] if path else []
        changes += [_parse(word) for word in overrides]
        for change in changes:
            _check_keys(OmegaConf.to_container(change), known)
            merged = OmegaConf.merge(merged, change)
        return cast(Schema, OmegaConf.to_object(merged))
    except (OSError, YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(str(error)) from error


def to_yaml(config: Any) -> str:
    """Return a config as the text of a file that :func:`load` reads."""
    return OmegaConf.to_yaml(OmegaConf.create(asdict(config)))


def flat(config: Any) -> dict[str, Any]:
    """Return the values of a config by their full keys, ``SECTION.key``."""
    return flatten(asdict(config))


def differences(config: Any, earlier: Any) -> dict[str, str]:
    """Say by key how a config differs from an earlier one."""
    mine, theirs = flat(config), flat(earlier)
    return {key: f"was {theirs[key]!r}, now {value!r}" for key, value in mine.items() if value != theirs[key]}


def flatten(sections: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the values of sections by their full keys, ``SECTION.key``."""
    return {f"{section}.{key}": value for section, values in sections.items() for key, value in values.items()}


def check_words(values: Mapping[str, Any], known: Mapping[str, Sequence[str]]) -> None:
    """Refuse a value that is not one of its key's known words, naming the nearest."""
    for key, words in known.items():
        if values[key] not in words:
            near = nearest(values[key], words)
            raise ConfigError(f"{key} must be one of {', '.join(words)}, got {values[key]!r}; did you mean {near!r}?")


def check_smallest(values: Mapping[str, Any], smallest: Mapping[str, float]) -> None:
    """Refuse a number below its key's least, and NaN."""
    for key, least in smallest.items():
        if not values[key] >= least:
            raise ConfigError(f"{key} must be at least {least}, got {values[key]}")


def check_positive(values: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Refuse a number that is not above zero."""
    for key in keys:
        if not values[key] > 0:
            raise ConfigError(f"{key} must be above 0, got {values[key]}")


def check_shares(values: Mapping[str, Any], keys: Iterable[str], *, whole: bool = True) -> None:
    """Refuse a number outside [0, 1], or outside [0, 1) where the whole is too much."""
    for key in keys:
        if not (0 <= values[key] <= 1 if whole else 0 <= values[key] < 1):
            raise ConfigError(f"{key} must be in [0, 1{']' if whole else ')'}, got {values[key]}")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that is most like ``word``."""
    return max(known, key=lambda other: difflib.SequenceMatcher(None, word.lower(), other.lower()).ratio())


def _parse(word: str) -> Any:
    if "=" not in word:
        raise ConfigError(f"{word!r} is no override; write SECTION.key=value, such as RUN.seed=1")
    return OmegaConf.from_dotlist([word])


def _check_keys(change: Any, known: Mapping[str, Any]) -> None:
    sections = list(dict.fromkeys(key.split(".")[0] for key in known))
    if not isinstance(change, dict) or not all(isinstance(v, dict) for k, v in change.items() if k in sections):
        raise ConfigError(f"a config is made of the sections {', '.join(sections)}, each with keys and values")
    for key in _keys(change):
        if key not in known:
            raise ConfigError(f"unknown key {key!r}; the nearest known one is {nearest(key, known)!r}")


def _keys(change: dict[Any, Any]) -> Iterator[str]:
    for section, values in change.items():
        if isinstance(values, dict) and values:
            yield from (f"{section}.{key}" for key in values)
        else:
            yield str(section)
