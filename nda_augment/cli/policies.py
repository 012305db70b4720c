"""The command ``nda-augment policies``."""

import json
from typing import Annotated, Any

import typer

from nda_augment._policy_syntax import short_value
from nda_augment.cli import shell
from nda_augment.registry import NEGATIVES
from nda_augment.transforms import Mixture, NegativeTransform
from nda_augment.transforms.base import Common


def policies(
    policy: Annotated[
        str | None,
        typer.Argument(help='A policy to read, such as "jigsaw(grid=3x3):2,stitch"; all negatives if left out.'),
    ] = None,
    family: Annotated[str | None, typer.Option(help="List the negatives of one family only.")] = None,
    as_json: shell.Json = False,
) -> None:
    """List the negatives that a policy may name, or read a policy and say what it does.

    Example: nda-augment policies --family patch

    Example: nda-augment policies "jigsaw(grid=3x3):2,stitch" --json
    """
    if policy is None:
        rows = _catalogue(family)
    elif family is None:
        rows = _members(policy)
    else:
        raise typer.BadParameter("a policy names its negatives itself", param_hint="--family")
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    columns = [column for column in rows[0] if column not in ("guarantee", "source")]
    shell.print_table(columns, [[_text(row[column]) for column in columns] for row in rows])


def _catalogue(family: str | None) -> list[dict[str, Any]]:
    families = list(dict.fromkeys(negative.card.family for negative in NEGATIVES))
    if family is not None and family not in families:
        shell.fail(f"unknown family {family!r}; known are {', '.join(families)}")
    return [
        {
            "word": negative.word,
            "family": negative.card.family,
            "arguments": negative.defaults(),
            "breaks": negative.card.breaks,
            "keeps": negative.card.keeps,
            "guarantee": negative.card.guarantee,
            "source": negative.card.source,
        }
        for negative in NEGATIVES
        if family in (None, negative.card.family)
    ]


def _members(policy: str) -> list[dict[str, Any]]:
    mixture = shell.mixture(policy)
    return [
        {
            "member": str(member),
            "share": round(share, 4),
            "needs": ", ".join(_needs(member)),
            "arguments": {} if isinstance(member, Mixture) else member.arguments(),
        }
        for member, share in zip(mixture.members, mixture.probabilities, strict=True)
    ]


def _text(value: Any) -> str:
    """Write a cell; arguments as a policy has them, less those that every negative has."""
    if not isinstance(value, dict):
        return str(value)
    own = {name: argument for name, argument in value.items() if name not in Common.__annotations__}
    return ", ".join(f"{name}={short_value(argument)}" for name, argument in own.items())


def _needs(transform: NegativeTransform) -> list[str]:
    """Return what a transform needs apart from an image."""
    needs = {"other images": transform.uses_partners, "labels": transform.needs_labels, "clips": transform.needs_clips}
    return [name for name, needed in needs.items() if needed]
