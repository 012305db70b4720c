"""Negatives from a string: ``"jigsaw,stitch:2"``.

A policy is a comma-separated list of negatives. Each may have arguments in parentheses and a weight after a colon:
``"jigsaw(grid=3x3):2,cutout(side=0.3-0.5)"``. A policy in parentheses is a member itself. ``str`` of a transform or a
mixture writes the policy it was made from.
"""

import difflib
import re
from typing import Any

from nda_augment._policy_syntax import normalise, parse_value
from nda_augment.registry import NEGATIVES
from nda_augment.transforms import Corruption, Mixture, NegativeTransform, Random

_WORD = re.compile(r"[A-Za-z][\w-]*")

# Bounds on what is read, far beyond what a person writes.
_LONGEST = 10_000
_DEEPEST = 20


def from_policy(policy: str) -> Mixture:
    """Build a :class:`~nda_augment.Mixture` from a policy string.

    Args:
        policy: Words of :func:`~nda_augment.list_transforms`, ``random`` and ``corruption``, as the module describes;
            case, underscores and hyphens in words do not count. A grid is written ``3x3``, a range ``0.3-0.5``, a
            colour ``0.1/0.2/0.3``.

    Returns:
        A mixture of the named transforms; of one, if there is one.

    Raises:
        TypeError: If the policy is not a string.
        ValueError: If a word or an argument is unknown (the message names the nearest known one), a weight is not a
            number, or the policy is longer than 10,000 characters or nested deeper than 20 parentheses.

    Example:
        >>> str(from_policy("jigsaw(grid=3x3):2, stitch"))
        'jigsaw(grid=3x3):2,stitch'
    """
    if not isinstance(policy, str):
        raise TypeError(f"a policy is a string such as 'jigsaw,stitch:2', got {type(policy).__name__}")
    members: list[NegativeTransform] = []
    weights: list[float] = []
    if len(policy) > _LONGEST:
        raise ValueError(f"a policy has at most {_LONGEST} characters, got {len(policy)}")
    for item in _split(policy, policy):
        word, inside, weight = _parts(item.strip())
        if not (_WORD.fullmatch(word) if word else inside):
            raise ValueError(
                f"cannot read {item.strip()!r} in policy {policy!r}; write word, word(argument=value) or word:weight"
            )
        members.append(_member(word, inside, policy))
        weights.append(_weight(weight, policy))
    return Mixture(members, weights)


def _parts(item: str) -> tuple[str, str, str | None]:
    """Take ``word(inside):weight`` apart; each of the three may be missing."""
    weight: str | None = None
    before, colon, after = item.rpartition(":")
    if colon and not {"(", ")"} & set(after):
        item, weight = before.rstrip(), after
    word, opened, inside = item.partition("(")
    if not opened or not inside.endswith(")"):
        return item, "", weight
    return word.rstrip(), inside[:-1], weight


def _member(word: str, inside: str, policy: str) -> NegativeTransform:
    if not word:
        return from_policy(inside)
    words: tuple[type[NegativeTransform], ...] = (*NEGATIVES, Random, Corruption)
    known = {normalise(negative.word): negative for negative in words}
    name = _known(word, list(known), f"negative in policy {policy!r}")
    cls = known[name]
    parameters = {normalise(name): name for name in cls.defaults()}
    arguments: dict[str, Any] = {}
    for text in _split(inside, policy):
        key, separator, value = text.partition("=")
        if not separator:
            raise ValueError(
                f"cannot read argument {text.strip()!r} of {word!r} in policy {policy!r}; write name=value"
            )
        argument = parameters[_known(key, list(parameters), f"argument of {word!r}")]
        if argument in arguments:
            raise ValueError(f"argument {argument!r} of {word!r} is given twice in policy {policy!r}")
        arguments[argument] = parse_value(value)
    return cls(**arguments)


def _known(word: str, words: list[str], what: str) -> str:
    if normalise(word) in words:
        return normalise(word)
    nearest = difflib.get_close_matches(normalise(word), words, n=1, cutoff=0.0)[0]
    raise ValueError(f"unknown {what}: {word.strip()!r}; did you mean {nearest!r}? Known are {', '.join(words)}")


def _weight(text: str | None, policy: str) -> float:
    if text is None:
        return 1.0
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"weight {text.strip()!r} in policy {policy!r} is not a number") from None


def _split(text: str, policy: str) -> list[str]:
    """Split at the commas that stand outside parentheses."""
    parts, start, depth = [], 0, 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth < 0:
            break
        if depth > _DEEPEST:
            raise ValueError(f"a policy has at most {_DEEPEST} parentheses within each other")
        if character == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    if depth:
        raise ValueError(f"parentheses do not match in policy {policy!r}")
    return [*parts, text[start:]] if text.strip() else []
