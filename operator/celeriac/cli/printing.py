"""How an answer is printed: for people, or whole for programs."""

import json
from typing import Any, Final

import click
import yaml
from rich.console import Console
from rich.table import Table

from celeriac.api.words import foreign

LONGEST_LINE: Final = 10_000
"""Characters of a line: a rule of an ACL has some hundreds."""
PIPE_COLUMNS: Final = 10_000
"""Width for output that is no terminal: a program that reads it wants one line for each row."""


def printable(text: str) -> str:
    """The text without what would steer a terminal: anybody may write to Redis, or to a log."""
    return foreign(text, LONGEST_LINE)


def print_table(made: Table) -> None:
    """Fit to a terminal, one line a row otherwise."""
    console = Console()
    if console.is_terminal:
        console.print(made)
        return
    console = Console(width=PIPE_COLUMNS)
    with console.capture() as printed:
        console.print(made)
    for line in printed.get().splitlines():
        click.echo(line.rstrip())


def print_whole(found: Any, form: str | None) -> bool:
    """Print it as JSON or YAML where that is asked for; whether it was. As by kubectl without managedFields."""
    if form in ("json", "yaml"):
        found = _shown(found)
    if form == "json":
        click.echo(json.dumps(found, indent=2))
    elif form == "yaml":
        click.echo(yaml.safe_dump(found, sort_keys=False, allow_unicode=True), nl=False)
    return form in ("json", "yaml")


def _shown(found: Any) -> Any:
    if isinstance(found, list):
        return [_shown(each) for each in found]
    if isinstance(found, dict):
        return {name: _shown(value) for name, value in found.items() if name != "managedFields"}
    return found
