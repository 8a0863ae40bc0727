"""The commands that pages tell somebody to type, as they stand there.

A block of code is commands where it is indented and has no language, or is fenced as sh, bash or console; in a
transcript the lines behind `$ ` are. What is no command is fenced with its language.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from markdown_it import MarkdownIt

ROOT: Final = Path(__file__).parents[1]
LANGUAGES: Final = ("sh", "bash", "console")
PROGRAMS: Final = ("celeriac", "docker", "helm", "kubectl", "make")
"""Whose commands are looked for in sentences, too."""

RUN: Final = ("celeriac", "export", "helm", "kubectl")
"""Whose commands tests/integration/test_documented_commands.py runs from the pages, but for those of `ELSEWHERE`."""

FILLED: Final[Mapping[str, str]] = {
    "NAME": "reports",
    "POOL": "reports",
    "NAMESPACE": "shop",
    "POD": "reports-1",
    "QUEUE": "reports",
    "ID": "1",
    "REGISTRY": "registry.example",
    "VERSION": "0.1.0",
    "NEW_VERSION": "0.1.0",
    "YOUR_PROMETHEUS": "prometheus",
    "YOUR_DOCS": "docs.example",
}
"""What a reader puts in the place of words in capitals."""

_EDITOR: Final = "tests/e2e/test_kubectl.py::test_an_editor_follows_a_worker_lets_it_go_and_starts_all_anew"
_LETTERS: Final = "tests/integration/clusterwide/test_asking.py::test_dead_letters_are_listed_put_back_and_dropped"
_REHEARSAL: Final = "release/rehearsal.py"
_DEMO: Final = "tests/demo/__main__.py"
ELSEWHERE: Final[Mapping[str, str]] = {
    "kubectl celery logs": _EDITOR,
    "kubectl -n NAMESPACE wait --for=delete pod": _EDITOR,
    "kubectl celery dead-letters requeue": _LETTERS,
    "kubectl celery dead-letters drop": _LETTERS,
    "kubectl -n celeriac rollout status": "tests/e2e/system.py::installed",
    "helm test": "tests/e2e/system.py::installed",
    "kubectl wait --for=condition=Stalled": "tests/integration/test_status_table.py",
    "kubectl apply -f worker-image": "tests/integration/test_samples.py",
    "kubectl run": "a terminal's, in a pod",
    "kubectl exec": _DEMO,
    "helm install celeriac oci://": _REHEARSAL,
    "kubectl krew": _REHEARSAL,
    "cosign": _REHEARSAL,
    "sha256sum": _REHEARSAL,
    "gh release": "another's program, on GitHub",
    "kind load": "tests/cluster/target.py",
    "curl -i": _DEMO,
    "curl": "tests/integration/test_metrics_access.py",
    "kubectl -n celeriac top": "metrics-server's, which no test installs",
    "kubectl port-forward": "a node's",
    "kubectl -n celeriac port-forward": "a node's",
    "kubectl -n NAMESPACE port-forward": "a node's",
    "tests/cluster/install-packages": ".ci/run",
    "eval": "tests/cluster/cli.py",
    "for ": "a loop, for those who change the tests",
}
"""Where a command is run, by how it begins: a file, or a function in it. What is no file says why none runs it."""

_MARKDOWN: Final = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True)
class Command:
    """One command; `text` is what a shell reads, which may have several lines."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"

    def filled(self) -> str:
        """With a reader's own words in the place of those in capitals."""
        return re.sub(r"\b[A-Z_]+\b(?!=)", lambda found: FILLED.get(found[0], found[0]), self.text)

    def programs(self) -> Iterator[list[str]]:
        """The words of each program that it starts, a pipeline's one by one; ValueError where no shell reads it."""
        words: list[str] = []
        skip = False
        for word in _split(self.filled()):
            if set(word) <= set("|&;"):
                if words:
                    yield words
                words = []
            elif skip or set(word) <= set("<>"):
                skip = not skip  # a redirection and its file
            else:
                words.append(word)
                if within := re.fullmatch(r"\$\((.*)\)", word):
                    yield from Command(self.page, self.line, within[1]).programs()
        if words:
            yield words


def pages() -> list[Path]:
    """Every page of the project; those on decisions tell what was, not what to type."""
    found = [
        page for room in ("docs", "charts", "gitops", "tests", "worker-image") for page in (ROOT / room).rglob("*.md")
    ]
    return sorted([*ROOT.glob("*.md"), *(page for page in found if "decisions" not in page.parts)])


def commands(page: Path, root: Path = ROOT) -> Iterator[Command]:
    """Those of a page's blocks, from its top."""
    for token in _MARKDOWN.parse(page.read_text()):
        fenced = token.type == "fence"
        if token.map and (token.type == "code_block" or (fenced and token.info.split(" ")[0] in ("", *LANGUAGES))):
            for offset, text in _typed(token.content):
                yield Command(str(page.relative_to(root)), token.map[0] + 1 + fenced + offset, text)


def documents(page: Path) -> list[Any]:
    """Every document of YAML that a page shows."""
    tokens = _MARKDOWN.parse(page.read_text())
    blocks = [token.content for token in tokens if token.type == "fence" and token.info == "yaml"]
    return [document for block in blocks for document in yaml.safe_load_all(block)]


def manifests(page: Path) -> list[dict[str, Any]]:
    """Those of them that are whole Kubernetes objects."""
    whole = {"apiVersion", "kind", "metadata"}
    return [each for each in documents(page) if isinstance(each, dict) and whole <= set(each)]


def in_sentences(page: Path) -> Iterator[Command]:
    """Those that stand in a sentence or a table, of programs that we know; they may be left open at their end."""
    for token in _MARKDOWN.parse(page.read_text()):
        for child in token.children or ():
            if token.map and child.type == "code_inline" and child.content.startswith(tuple(f"{p} " for p in PROGRAMS)):
                yield Command(str(page.relative_to(ROOT)), token.map[0] + 1, child.content)


def elsewhere(command: Command) -> str | None:
    """Where it is run if not in the story of the pages."""
    return next((story for start, story in ELSEWHERE.items() if command.text.startswith(start)), None)


def _split(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    lexer.commenters = ""
    return list(lexer)


def _typed(block: str) -> Iterator[tuple[int, str]]:
    """What a block has to type, each with its line in there: without its comment, and with all its lines."""
    lines = block.splitlines()
    transcript = block.startswith("$ ")
    taken = ""
    start = 0
    for number, line in enumerate(lines):
        if not taken:
            start = number
            if transcript and not line.startswith("$ "):
                continue
        taken += re.sub(r"(^|\s+)#\s.*$", "", line.removeprefix("$ ") if transcript else line)
        if taken.endswith("\\"):
            taken = taken[:-1]
        elif taken.startswith("for ") and not taken.endswith("done"):
            taken += "\n"
        elif taken.strip():
            yield start, taken.strip()
            taken = ""
