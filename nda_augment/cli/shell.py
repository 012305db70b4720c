"""What the commands share: consoles, tables, policies, and leaving with an error."""

from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from nda_augment.policy import from_policy
from nda_augment.transforms import Mixture

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def console(**options: Any) -> Console:
    """Return a console that prints text as it is."""
    # No markup: "nda-augment[cli]" is not a style.
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True, **options)


out, err = console(), console(stderr=True)


def fail(message: str) -> NoReturn:
    """Say what is wrong on standard error and leave."""
    err.print(message, style="red")
    raise typer.Exit(1)


def mixture(policy: str) -> Mixture:
    """Read a policy, or leave."""
    try:
        return from_policy(policy)
    except (ValueError, TypeError) as error:
        fail(str(error))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table for people, or lines separated by tabs into a pipe."""
    if not out.is_terminal:
        for line in (columns, *rows):
            typer.echo("\t".join(line))
        return
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    out.print(table, soft_wrap=False)
