"""Each command that a page tells somebody to type is one that there is, and each block is run or read by a test.

kubectl, helm and celeriac are run from the pages on a real API server (tests/integration/test_documented_commands.py);
what needs more has a story of its own, and what else a command may get wrong its parser finds here.
"""

import ast
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from celeriac.cli.kubectl import celery
from celeriac.cli.main import main
from tests.doc_commands import ELSEWHERE, ROOT, RUN, Command, commands, elsewhere, in_sentences, pages
from tests.unit.docs.programs import PROGRAMS

pytestmark = pytest.mark.unit

TYPED = [command for page in pages() for command in commands(page)]
SAID = [command for page in pages() if page.name != "CHANGELOG.md" for command in in_sentences(page)]
"""What stood in a page once is no mistake in the list of changes."""

BLOCKS = """\
First:

    make demo      # a comment
    helm install a b \\
      --set c=d  # 2

```console
$ kubectl get cwp
NAME  READY
```

1. In a list, after

   a paragraph:

       kubectl apply -f pool.yaml

```sh
# nothing
make lint
```

```yaml
kind: Pool
```
"""


def named(story: str) -> bool:
    """Whether a file is there, and the function that is named in it."""
    path, _, function = story.partition("::")
    if not (ROOT / path).is_file():
        return False
    tree = ast.parse((ROOT / path).read_text()) if function else ast.Module(body=[], type_ignores=[])
    return not function or function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def lenient(words: list[str]) -> str | None:
    """What of these words the plugin or `celeriac` has not: a sentence may leave the rest open."""
    command: click.Command = celery if words[:2] == ["kubectl", "celery"] else main
    for word in words[2 if command is celery else 1 :]:
        if isinstance(command, click.Group) and not word.startswith("-"):
            verbs = word.split("|")
            if unknown := [verb for verb in verbs if verb not in command.commands]:
                return f"{command.name} has no verb {unknown[0]}"
            command = command.commands[verbs[0]]
        elif word.startswith("-") and not isinstance(command, click.Group):
            known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
            if word.split("=")[0] not in {*known, "--help", "-h"}:
                return f"{command.name} has no option {word}"
    return None


def test_there_are_many_on_many_pages() -> None:
    assert len(TYPED) > 150
    assert len({command.page for command in TYPED}) > 25
    assert len(SAID) > 150


def wrong(command: Command) -> Iterator[str]:
    for program, *words in command.programs():
        if known := PROGRAMS.get(program):
            if said := known(words):
                yield f"{command}: {said}"
        elif elsewhere(command) is None:
            yield f"{command}: {program} is no program: fence what is no command with its language"


def wrong_in_a_sentence(command: Command) -> Iterator[str]:
    program, *words = shlex.split(command.filled())
    ours = program == "celeriac" or words[:1] == ["celery"]
    if said := lenient([program, *words]) if ours else PROGRAMS[program](words):
        yield f"{command}: {said}"


def test_blocks_have_nothing_but_commands_that_are_there() -> None:
    assert [said for command in TYPED for said in wrong(command)] == []


def test_sentences_name_commands_that_are_there() -> None:
    assert [said for command in SAID for said in wrong_in_a_sentence(command)] == []


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("kubectl celery wyh ml", "No such command 'wyh'"),
        ("kubectl celery pin ml", "Missing argument 'REPLICAS'"),
        ("celeriac lint --file pool.yaml --hard", "No such option"),
        ("make tset", "the Makefile has no target tset"),
        ("make ledger CELL=solo", "the Makefile reads no CELL"),
        ("helm upgrade celeriac charts/celeriac --set image.repo=a", "the chart has no value image.repo"),
        ("kubectl get cpw", "there is no kind cpw"),
        ("docker build -f Dockerfile .", "there is no Dockerfile"),
        ("uv run python -m tests.demos", "there is no module tests/demos"),
        ("12 waiting + 4 running", "12 is no program"),
    ],
)
def test_a_slip_is_found(typed: str, said: str) -> None:
    assert said in "".join(wrong(Command("page.md", 1, typed)))


def test_lines_comments_and_transcripts_are_told_apart(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(BLOCKS)
    assert [(command.line, command.text) for command in commands(page, tmp_path)] == [
        (3, "make demo"),
        (4, "helm install a b   --set c=d"),
        (8, "kubectl get cwp"),
        (16, "kubectl apply -f pool.yaml"),
        (20, "make lint"),
    ]


def test_what_is_told_elsewhere_is_told_there_and_no_row_is_left_over() -> None:
    assert [start for start, story in ELSEWHERE.items() if "/" in story and not named(story)] == []
    assert [start for start in ELSEWHERE if not any(command.text.startswith(start) for command in TYPED)] == []


def test_most_of_what_can_be_run_without_a_node_is_run() -> None:
    can = [command for command in TYPED if {words[0] for words in command.programs()} & set(RUN)]
    assert len([command for command in can if elsewhere(command) is None]) > 0.7 * len(can)
