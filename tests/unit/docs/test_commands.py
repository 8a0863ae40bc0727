"""Each `kubectl celery` that a page tells somebody to type is one that there is."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from celeriac.cli.kubectl import celery

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
PAGES = sorted(page for page in (ROOT / "docs").rglob("*.md") if "decisions" not in page.parts)
TYPED = re.compile(r"kubectl celery ([a-z][^\n`#]*)")


def commands() -> Iterator[tuple[str, str]]:
    for page in (*PAGES, ROOT / "README.md"):
        for found in TYPED.finditer(page.read_text()):
            yield page.name, found[1].partition(" | ")[0].strip()


def wrong(words: list[str]) -> str | None:
    """What of these words there is not; words in capitals stand for what somebody puts there."""
    command: click.Command = celery
    for word in words:
        if isinstance(command, click.Group) and not word.startswith("-"):
            verbs = word.split("|")
            if unknown := [verb for verb in verbs if verb not in command.commands]:
                return f"{command.name} has no verb {unknown[0]}"
            command = command.commands[verbs[0]]
        elif word.startswith("-"):
            option = word.split("=")[0]
            known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
            if not isinstance(command, click.Group) and option not in known and option not in ("--help", "-h"):
                return f"{command.name} has no option {option}"
    return None


def test_pages_name_many_of_them() -> None:
    assert len(list(commands())) > 40


@pytest.mark.parametrize(("page", "typed"), sorted(set(commands())))
def test_it_is_there(page: str, typed: str) -> None:
    assert wrong(shlex.split(re.sub(r"[,.;:()]+(\s|$)", r"\1", typed.replace("'", "")))) is None
