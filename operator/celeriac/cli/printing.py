"""How an answer is printed: for people, or whole for programs."""

import json
from typing import Any

import click
import yaml
from rich.console import Console
from rich.table import Table

PIPE_COLUMNS = 10_000
"""Width for output that is no terminal: a program that reads it wants one line for each row."""


def print_table(made: Table) -> None:
    """Fit to a terminal, one line a row otherwise."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_COLUMNS)
    console.print(made)


def print_whole(found: Any, form: str | None) -> bool:
    """Print it as JSON or YAML where that is asked for; whether it was."""
    if form == "json":
        click.echo(json.dumps(found, indent=2))
    elif form == "yaml":
        click.echo(yaml.safe_dump(found, sort_keys=False, allow_unicode=True), nl=False)
    return form in ("json", "yaml")
