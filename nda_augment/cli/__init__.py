"""What the ``nda-augment`` command does; a file for each of its commands.

Needs typer, rich, matplotlib and pillow: ``pip install "nda-augment[cli]"``.
"""

from typing import Annotated

import typer

from nda_augment._version import __version__
from nda_augment.cli import shell
from nda_augment.cli.audit import audit
from nda_augment.cli.detect import detect
from nda_augment.cli.doctor import doctor
from nda_augment.cli.gallery import gallery
from nda_augment.cli.policies import policies

EXIT_CODES = "Exit codes: 0 done; 1 it could not be done, and standard error says why; 2 wrong usage."

app = typer.Typer(no_args_is_help=True, add_completion=False)
for command in (gallery, policies, audit, doctor):
    app.command(epilog=EXIT_CODES)(command)
app.add_typer(detect, name="detect", epilog=EXIT_CODES)


@app.callback(epilog=EXIT_CODES, invoke_without_command=True)
def _nda_augment(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Negative data augmentation, from the shell."""
    if version:
        shell.out.print(__version__)
        raise typer.Exit
