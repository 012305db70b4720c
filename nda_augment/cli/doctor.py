"""The command ``nda-augment doctor``."""

import json
from collections import Counter
from dataclasses import asdict

import typer

from nda_augment import doctor as installation
from nda_augment.cli import shell


def doctor(as_json: shell.Json = False) -> None:
    """Say which versions are installed, which adapters work, and how to mend what does not.

    Only what is broken is a failure; a library that is missing is one you may not need.

    Example: nda-augment doctor

    Example: nda-augment doctor --json > report.json
    """
    findings = list(installation.examine())
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        shell.print_table(["part", "name", "status", "found"], [_row(finding) for finding in findings])
        for finding in findings:
            if finding.fix:
                shell.out.print(f"{finding.name}: {finding.fix}")
    counts = Counter(finding.status for finding in findings)
    if counts["broken"]:
        shell.fail(f"broken: {', '.join(finding.name for finding in findings if finding.status == 'broken')}")


def _row(finding: installation.Finding) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in finding.versions.items())
    found = "; ".join(filter(None, (versions, finding.note)))
    return [finding.part, finding.name, finding.status, found]
