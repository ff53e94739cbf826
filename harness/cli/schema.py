"""``harness schema``: prints the schema of what ``--json`` writes."""

from __future__ import annotations

import json

import click


@click.command("schema", short_help="print the JSON Schema of --json")
def command() -> None:
    """Print the JSON Schema (draft 2020-12) of what `--json FILE` and `--format json` write."""
    from harness.report.schema import schema

    click.echo(json.dumps(schema(), indent=1))
